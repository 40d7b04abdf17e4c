"""Environment variables over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.config import Config, parse_config
from splits.problems import BadConfigs
from tests.splits.written import PEOPLE, agent


def parse(data: object = None, **env: str) -> Config:
    return parse_config(data or {}, config_dir=Path("/srv"), env=env)


def refusal(data: object = None, **env: str) -> tuple[str, object, str]:
    with pytest.raises(BadConfigs) as caught:
        parse(data, **env)
    (problem,) = caught.value.problems
    return problem.path, problem.found, problem.allowed


def test_a_variable_overrides_one_key_and_leaves_the_others() -> None:
    config = parse({"jobs": {"ttl_seconds": 5, "lease_seconds": 6}}, RELAYBOT_JOBS__TTL_SECONDS="600")
    assert (config.jobs.ttl_seconds, config.jobs.lease_seconds) == (600, 6)
    assert parse(RELAYBOT_JOBS__TTL_SECONDS="600").jobs.ttl_seconds == 600
    assert parse({"jobs": None}, RELAYBOT_JOBS__TTL_SECONDS="600").jobs.ttl_seconds == 600


def test_the_data_that_was_given_is_not_changed() -> None:
    data = {"jobs": {"ttl_seconds": 5}}
    parse(data, RELAYBOT_JOBS__TTL_SECONDS="600")
    assert data == {"jobs": {"ttl_seconds": 5}}


def test_values_are_what_yaml_takes_them_for() -> None:
    config = parse(
        {"relay": {"url": "ws://x"}},
        RELAYBOT_DM__ENABLED="true",
        RELAYBOT_RELAY__URL="null",
        RELAYBOT_RELAYS="[ws://a.example, wss://b.example]",
        RELAYBOT_PAYOUTS__THRESHOLD="1 btc",
        RELAYBOT_WEB="{enabled: false}",
        RELAYBOT_DATABASE="book",
    )
    assert (config.dm.enabled, config.relay.url, config.web.enabled) == (True, None, False)
    assert config.relays == ("ws://a.example", "wss://b.example")
    assert (config.payouts.threshold, config.database) == (100_000_000_000, Path("/srv/data/book"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bob: the bot #1", "Bob: the bot #1"),
        ("- a dash", "- a dash"),
        ("@bob", "@bob"),
        ('"123"', "123"),
        ("'quoted'", "quoted"),
        ("2026-11-22", "2026-11-22"),
        ("plain # words", "plain # words"),
        ("a: b: c", "a: b: c"),
    ],
)
def test_text_is_itself(text: str, name: str) -> None:
    assert parse(RELAYBOT_SERVICE__NAME=text).service.name == name


def test_names_of_agents_have_hyphens_for_underscores() -> None:
    config = parse(
        {"people": {"alice-b": PEOPLE["alice"]}, "agents": {"my-agent": agent()}},
        RELAYBOT_AGENTS__MY_AGENT__PRICE="5 sat",
        RELAYBOT_AGENTS__MY_AGENT__PAYER_REFERRER="1 sat",
        RELAYBOT_PEOPLE__CAROL_C=PEOPLE["carol"],
    )
    assert (config.agents["my-agent"].price.base, config.agents["my-agent"].payer_referrer) == (5_000, 1_000)
    assert set(config.people) == {"alice-b", "carol-c"}


def test_sections_are_laid_before_what_is_in_them() -> None:
    config = parse(RELAYBOT_JOBS__TTL_SECONDS="7", RELAYBOT_JOBS="{ttl_seconds: 5, lease_seconds: 6}")
    assert (config.jobs.ttl_seconds, config.jobs.lease_seconds) == (7, 6)


def test_the_secret_and_the_place_of_the_file_are_no_keys() -> None:
    assert parse(RELAYBOT_SECRET="ab" * 32, RELAYBOT_CONFIG="/etc/x.yaml", HOME="/root", RELAY="x") == parse()


def test_a_wrong_value_names_its_variable() -> None:
    assert refusal(RELAYBOT_JOBS__TTL_SECONDS="soon") == (
        "jobs.ttl_seconds",
        "soon",
        "a valid integer (set by RELAYBOT_JOBS__TTL_SECONDS)",
    )
    assert refusal(RELAYBOT_RELAYS="[x]")[2].endswith("(set by RELAYBOT_RELAYS)")
    assert refusal(RELAYBOT_PAYOUTS__RETRY_SECONDS="9000")[0] == "payouts.retry_seconds_max"


def test_a_variable_that_names_no_key_is_refused() -> None:
    for variable, path in (("RELAYBOT_COLOUR", "colour"), ("RELAYBOT_JOBS__SPEED", "jobs.speed")):
        found, allowed = refusal(**{variable: "1"})[1:]
        assert found == "an unknown key"
        assert allowed.endswith(f"(set by {variable})")
        assert refusal(**{variable: "1"})[0] == path


def test_variables_that_cannot_be_keys_are_refused() -> None:
    assert refusal(RELAYBOT_="1")[:2] == ("RELAYBOT_", "an empty key")
    assert refusal(RELAYBOT_JOBS__="1")[:2] == ("RELAYBOT_JOBS__", "an empty key")
    assert refusal(RELAYBOT_DATABASE__FILE="1")[:2] == ("database", "a mapping of file")
    assert refusal({"database": "x"}, RELAYBOT_DATABASE__FILE="1")[:2] == (
        "RELAYBOT_DATABASE__FILE",
        "database is no mapping",
    )


def test_brackets_that_do_not_close_are_refused_and_not_repeated() -> None:
    path, found, _ = refusal(RELAYBOT_RELAYS="[ws://secret")
    assert path == "RELAYBOT_RELAYS:1"
    assert "secret" not in str(found)


def test_a_token_that_could_be_guessed_is_refused_and_no_token_is_ever_shown() -> None:
    path, found, allowed = refusal(RELAYBOT_WEB__METRICS_TOKEN="hunter2")
    assert path == "web.metrics_token"
    assert "hunter2" not in str(found)
    assert allowed.startswith("20 to 200 letters, digits or -._~+/")
    for wrong in ("a" * 19, "a" * 201, "a token with spaces in it", "ä" * 20, 12345678901234567890):
        assert refusal({"web": {"metrics_token": wrong}})[2] in allowed
    token = parse({"web": {"metrics_token": "Zk3vQ8w1XyT5mB7nR2pL"}}).web.metrics_token
    assert token is not None
    assert (token.get_secret_value(), "Zk3v" in repr(token)) == ("Zk3vQ8w1XyT5mB7nR2pL", False)
