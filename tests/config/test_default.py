"""config.yaml, docs/config.md and the code say the same of every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from relaybot.config import Config, load_config, parse_config
from relaybot.relay.settings import RelayLimits
from tests.config.keys import all_keys, value_at

ROOT = Path(__file__).parents[2]
FILE = ROOT / "config.yaml"
PAGE = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
WRITTEN: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
NAMED = (
    "people.",
    "skills.",
    "agents.",
    "shares[]",
    "relay.retention[]",
)  # have no default values: the file shows them in its example
PLAIN = [key for key in all_keys() if not key.startswith(NAMED)]

_ROW = re.compile(
    r"^\| `(?P<key>[^`]+)` \| (?P<type>.+?) \| (?P<default>.+?) \| (?P<meaning>.+) \| `(?P<example>.+)` \|$",
    re.MULTILINE,
)
ROWS = {row["key"]: row for row in _ROW.finditer(PAGE)}


def uncommented() -> str:
    """Return the file with its example switched on."""
    return re.sub(r"^#(  .*)$", r"\1", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_default_file_is_what_no_file_means(tmp_path: Path) -> None:
    copy = tmp_path / "config.yaml"
    copy.write_text(FILE.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_config(copy, {}) == parse_config({}, config_dir=tmp_path)


def test_the_default_file_shows_every_key() -> None:
    missing = []
    for key in PLAIN:
        try:
            value_at(WRITTEN, key)
        except KeyError:
            missing.append(key)
    assert not missing


def test_every_default_has_its_reason_beside_it() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    silent = [
        line for line in lines if re.match(r"  \w+(_seconds\w*|_max|_min|_bytes\w*): ", line) and "  # " not in line
    ]
    assert not silent


def test_the_example_in_the_default_file_works() -> None:
    config = parse_config(yaml.safe_load(uncommented()), config_dir=ROOT)
    split = config.splits["autodev"]
    assert (split.price_max, split.worker_part_max()) == (12_000_000, 1_000_000)
    assert [share.referrer_msat for share in split.pot.shares] == [120_000, 0, 0, 0, 0]
    assert len(split.people()) == 4


def test_every_key_is_documented_and_no_other() -> None:
    assert set(ROWS) == set(all_keys())


@pytest.mark.parametrize("key", PLAIN)
def test_the_documented_default_is_the_real_one(key: str) -> None:
    assert yaml.safe_load(ROWS[key]["default"].strip("`")) == value_at(WRITTEN, key)


def written_with(key: str, value: object) -> dict[str, Any]:
    section, _, rest = key.partition(".")
    return {section: written_with(rest, value) if rest else value}


WITH = {"card.provider": {"rates": {"bitcoin": "95000 EUR"}}}  # what an example needs beside it


@pytest.mark.parametrize("key", PLAIN)
def test_the_documented_example_is_accepted_and_is_no_default(key: str) -> None:
    example = yaml.safe_load(ROWS[key]["example"])
    assert example != value_at(WRITTEN, key)
    config = parse_config({**WITH.get(key, {}), **written_with(key, example)}, config_dir=ROOT)
    assert config != parse_config({}, config_dir=ROOT)


def test_the_documented_examples_of_agents_skills_and_shares_are_accepted() -> None:
    def example(key: str) -> Any:
        return yaml.safe_load(ROWS[key]["example"])

    def examples(prefix: str) -> dict[str, Any]:
        rest = [key.removeprefix(prefix) for key in ROWS if key.startswith(prefix)]
        return {key: example(prefix + key) for key in rest if "." not in key}

    people = {name: example("people.<name>") for name in ("alice", "bob", "dave", "grace")}
    skill, agent, share = examples("skills.<id>."), examples("agents.<id>."), examples("shares[].")
    metered = {key: share.pop(key) for key in ("per", "amount", "at_most")}
    split = {"split": share.pop("split"), "percent": share.pop("percent")}
    of_rest = {key: share[key] for key in ("to", "percent_of_rest", "until", "role", "referrer")}
    data = {
        "people": people,
        "skills": {"resolve-github-pr": skill | {"skills": ["read-repository"]}, "read-repository": {"name": "Read"}},
        "agents": {
            "autodev": agent,
            "by-usage": agent
            | {
                "price": examples("agents.<id>.price."),
                "skills": [],
                "shares": [{"to": share["to"], **metered}, split, of_rest],
            },
        },
    }
    config = parse_config(data, config_dir=ROOT)
    assert list(config.splits) == ["autodev", "by-usage"]
    assert config.splits["by-usage"].price_max == 12_000_000


def test_the_relay_has_the_same_limits_here_and_there() -> None:
    ours, theirs = parse_config({}, config_dir=ROOT).relay.model_dump(), RelayLimits()
    listed = {"kinds_allowed", "kinds_refused", "kinds_of_members", "authors_allowed", "authors_denied"}
    assert not any(ours[key] for key in listed)
    shared = [key for key in ours if hasattr(theirs, key) and key not in listed]
    assert {key: ours[key] for key in shared} == {key: getattr(theirs, key) for key in shared}
    assert len(shared) >= 15


def test_the_sections_are_those_of_the_design() -> None:
    assert list(Config.model_fields) == [key for key in WRITTEN if key in Config.model_fields]
