"""How a configuration is read: what comes out, and how everything that is wrong is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from relaybot.config import Config, load_config, parse_config
from relaybot.nostr.nip19 import encode_npub
from splits.problems import BadConfigs
from tests.splits.written import AUTODEV, PEOPLE, SKILL, agent

HERE = Path("/srv/bot")


def parse(data: object = None, **env: str) -> Config:
    return parse_config(data or {}, config_dir=HERE, env=env)


def refusals(data: object = None, **env: str) -> dict[str, tuple[object, str]]:
    with pytest.raises(BadConfigs) as caught:
        parse(data, **env)
    return {problem.path: (problem.found, problem.allowed) for problem in caught.value.problems}


def load(tmp_path: Path, text: str | bytes, **env: str) -> Config:
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(file, env)


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config == load(tmp_path, "people:\njobs:\ndatabase:\nrelays:\n") == parse_config({}, config_dir=tmp_path)
    assert config.jobs.ttl_seconds == 3_600


def test_values_come_out_parsed() -> None:
    npub = encode_npub(PEOPLE["carol"])
    config = parse(
        {
            "people": {"carol": npub, "dave": PEOPLE["dave"]},
            "workers": {"allowed": ["carol", PEOPLE["eve"], encode_npub(PEOPLE["dave"])]},
            "payouts": {"threshold": "1,000 sat", "fee_percent_max": "0.5%"},
            "relays": ["wss://relay.example.com/path", "ws://[::1]:7448"],
        }
    )
    assert config.people == {"carol": PEOPLE["carol"], "dave": PEOPLE["dave"]}
    assert config.workers.allowed == (PEOPLE["carol"], PEOPLE["eve"], PEOPLE["dave"])
    assert (config.payouts.threshold, config.payouts.fee_percent_max) == (1_000_000, 5_000)
    assert config.relays == ("wss://relay.example.com/path", "ws://[::1]:7448")


def test_paths_are_relative_to_the_data_directory_and_that_to_the_file() -> None:
    config = parse({"service": {"data_dir": "state"}, "keys": {"file": "/run/key"}, "database": "money/book"})
    assert config.service.data_dir == HERE / "state"
    assert (config.keys.file, config.database) == (Path("/run/key"), HERE / "state/money/book")
    assert config.relay.database == HERE / "state/relay.sqlite3"
    assert config.lightning.socket == HERE / "state/lightning/service/lightning-rpc"
    assert parse().database == HERE / "data/book.sqlite3"
    server = parse({"database": "postgresql://bob:hunter2@db:5433/money?sslmode=require"}).database
    assert isinstance(server, SecretStr)
    assert server.get_secret_value() == "postgresql://bob:hunter2@db:5433/money?sslmode=require"
    assert "hunter2" not in repr(server) + str(server)
    written = "{name: A, kinds: [5050], price: 1 sat, nsec_file: a}"
    assert parse(RELAYBOT_SERVICE__DATA_DIR="/x", RELAYBOT_AGENTS__A=written).agents["a"].nsec_file == Path("/x/a")


def test_a_file_is_relative_to_where_it_lies(tmp_path: Path) -> None:
    assert load(tmp_path, "keys: {file: k}").keys.file == tmp_path / "data/k"


def test_splits_are_resolved_by_agent() -> None:
    config = parse({"people": PEOPLE, "skills": {"resolve-github-pr": SKILL}, "agents": {"autodev": AUTODEV}})
    assert config.splits["autodev"].pot.shares[0].to == PEOPLE["alice"]
    assert config.splits is config.splits


def test_what_was_read_cannot_be_changed() -> None:
    config = parse({"people": PEOPLE})
    with pytest.raises(ValidationError, match="frozen"):
        config.jobs.ttl_seconds = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.people["mallory"] = PEOPLE["bob"]  # type: ignore[index]
    with pytest.raises(TypeError):
        config.outgoing.hosts["a"] = "b"  # type: ignore[index]


def test_the_public_address_of_the_relay_is_what_is_written_or_where_it_listens() -> None:
    assert parse().relay.public_url == "ws://127.0.0.1:7447"
    assert parse({"relay": {"host": "::1", "port": 1}}).relay.public_url == "ws://[::1]:1"
    assert parse({"relay": {"url": "wss://r.example"}}).relay.public_url == "wss://r.example"


def test_the_simulators_wallets_are_pinned_while_it_plays_the_node() -> None:
    simulated = parse(
        {"lightning": {"simulator_port": 7500}, "outgoing": {"hosts": {"shop.test": "http://127.0.0.1:1"}}}
    )
    assert simulated.pinned_hosts == {"wallets.test": "http://127.0.0.1:7500", "shop.test": "http://127.0.0.1:1"}
    assert parse({"lightning": {"backend": "core-lightning"}}).pinned_hosts == {}


def test_pinned_hosts_and_real_money_do_not_go_together() -> None:
    data = {"lightning": {"backend": "core-lightning"}, "outgoing": {"hosts": {"shop.test": "http://127.0.0.1:1"}}}
    assert refusals(data)["outgoing.hosts"][0] == "shop.test"


def test_one_source_says_the_price_of_a_bitcoin_and_in_which_money() -> None:
    source = {"url": "https://rates.test/btc", "currency": "EUR"}
    assert parse({"rates": source}).rates.currency == "EUR"
    assert parse({"rates": {"bitcoin": "95000.5 EUR"}}).rates.bitcoin == ("EUR", 9_500_050)
    assert "one of them" in refusals({"rates": {**source, "bitcoin": "95000 EUR"}})["rates.url"][1]


@pytest.mark.parametrize(
    ("data", "path", "found", "allowed"),
    [
        ({"jobs": {"ttl": 5}}, "jobs.ttl", "an unknown key", "one of attempts_max, claim_seconds, "),
        ({"onions": {}}, "onions", "an unknown key", "one of accounting, agents, card, "),
        ({"jobs": {"ttl_seconds": "3600"}}, "jobs.ttl_seconds", "3600", "a valid integer"),
        ({"jobs": {"ttl_seconds": True}}, "jobs.ttl_seconds", True, "a valid integer"),
        ({"jobs": {"ttl_seconds": 1.5}}, "jobs.ttl_seconds", 1.5, "a valid integer"),
        ({"jobs": {"ttl_seconds": 0}}, "jobs.ttl_seconds", 0, "greater than or equal to 1"),
        ({"jobs": {"ttl_seconds": 10**30}}, "jobs.ttl_seconds", 10**30, "less than or equal to 31622400"),
        ({"jobs": []}, "jobs", "a list of 0", "a mapping"),
        ({"jobs": {"ttl_seconds": None}}, "jobs.ttl_seconds", None, "a valid integer"),
        ({"dm": {"enabled": "yes"}}, "dm.enabled", "yes", "a valid boolean"),
        ({"log": {"level": "loud"}}, "log.level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ({"lightning": {"backend": "lnd"}}, "lightning.backend", "lnd", "'simulated' or 'core-lightning'"),
        ({"payouts": {"threshold": 100}}, "payouts.threshold", 100, "an amount with its unit"),
        ({"payouts": {"fee_percent_max": 0.01}}, "payouts.fee_percent_max", 0.01, "a percentage above 0 %"),
        ({"relays": ["https://r.example"]}, "relays[0]", "https://r.example", "an address such as ws://host:port"),
        ({"relays": ["ws://u:p@r.example"]}, "relays[0]", "ws://(not shown)@r.example", "an address such as ws://"),
        ({"relays": ["ws://r.example:99999"]}, "relays[0]", "ws://r.example:99999", "an address such as ws://"),
        ({"relays": [f"ws://{'ab' * 28}.onion"]}, "relays[0]", f"ws://{'ab' * 28}.onion", "none of Tor's without"),
        (
            {"relays": ["ws://a.example", "ws://b.onion"], "outgoing": {"onion_proxy": "socks5://127.0.0.1:9050"}},
            "relays[1]",
            "ws://b.onion",
            "an onion host of 56 letters",
        ),
        ({"relays": ["ws://"]}, "relays[0]", "ws://", "an address such as ws://"),
        ({"relays": ["ws://" + "r" * 3000]}, "relays[0]", "ws://" + "r" * 75, "an address such as ws://"),
        ({"relays": "ws://r.example"}, "relays", "ws://r.example", "a list"),
        ({"database": "mysql://bob:pw@db/x"}, "database", "mysql://(not shown)@db/x", "the path of a file"),
        (
            {"database": "postgresql://bob:pw@db"},
            "database",
            "postgresql://(not shown)@db",
            "the path of a file, or po",
        ),
        (
            {"database": "postgresql://bob:pw@db:99999/x"},
            "database",
            "postgresql://(not shown)@db:99999/x",
            "the path of a",
        ),
        ({"database": "postgres://b:p@db/x y"}, "database", "postgres://(not shown)@db/x y", "the path of a file"),
        ({"database": ""}, "database", "", "the path of a file"),
        ({"database": 5}, "database", 5, "the path of a file"),
        ({"keys": {"file": "~/key"}}, "keys.file", "~/key", "the path of a file"),
        ({"service": {"data_dir": ["x"]}}, "service.data_dir", "a list of 1", "the path of a file"),
        ({"people": {"Alice": PEOPLE["bob"]}}, "people.Alice", "Alice", "up to 64 small letters, digits and hyphens"),
        ({"people": {"alice": "npub1xyz"}}, "people.alice", "npub1xyz", "an npub or 64 hex digits"),
        ({"people": {"alice": 5}}, "people.alice", 5, "an npub or 64 hex digits"),
        ({"people": []}, "people", "a list of 0", "a mapping"),
        ({"people": {"alice": "nsec1" + "q" * 58}}, "people.alice", "nsec1(not shown)", "an npub or 64 hex digits"),
        ({"workers": {"allowed": ["carol"]}}, "workers.allowed[0]", "carol", "a name of people, an npub or 64 hex"),
        ({"workers": {"allowed": [5]}}, "workers.allowed[0]", 5, "a name of people, an npub or 64 hex digits"),
        ({"outgoing": {"hosts": {"Shop": "http://a:1"}}}, "outgoing.hosts.Shop", "Shop", "match pattern"),
        ({"outgoing": {"hosts": {"a": "ftp://a"}}}, "outgoing.hosts.a", "ftp://a", "an address such as http://host"),
        ({"agents": {"a": agent() | {"nsec_file": "nsec1abc"}}}, "agents.a.nsec_file", "(not shown)", "the path of a"),
        ({"agents": {"a": {}}}, "agents.a.name", "nothing", "a value: this key is required"),
        (
            {"agents": {"a": agent({"to": "b", "amount": "1 sat", "x": 1})}},
            "agents.a.shares[0].x",
            "an unknown key",
            "one",
        ),
        ({"agents": {"a": agent(rest="bob")}}, "agents.a.rest", "bob", "$owner, $platform, a name of people"),
        ({"relay": {"ping_seconds": 99}}, "relay.idle_seconds", "90", "at least relay.ping_seconds, which is 99"),
        ({"outgoing": {"onion_proxy": "http://a:1"}}, "outgoing.onion_proxy", "http://a:1", "a SOCKS5 proxy such as"),
        (
            {"outgoing": {"onion_proxy": "socks5://a:0"}},
            "outgoing.onion_proxy",
            "socks5://a:0",
            "a SOCKS5 proxy such as",
        ),
        ({"onchain": {"feerate_max": 50}}, "onchain.feerate_max", 50, "1 to 10000 sat/vB"),
        ({"onchain": {"feerate_min": "0 sat/vB"}}, "onchain.feerate_min", "0 sat/vB", "1 to 10000 sat/vB"),
        (
            {"onchain": {"feerate_min": "9 sat/vB", "feerate_max": "8 sat/vB"}},
            "onchain.feerate_max",
            "8 sat/vB",
            "at least onchain.feerate_min, which is 9 sat/vB",
        ),
        ({"onchain": {"minimum": "500 sat"}}, "onchain.minimum", "500 sat", "at least onchain.dust, which is 546 sat"),
        (
            {"limits": {"topup_max": "1 msat"}},
            "limits.topup_max",
            "0.001 sat",
            "at least limits.topup_min, which is 1",
        ),
    ],
)
def test_what_is_wrong_is_told_with_path_and_value_and_what_is_allowed(
    data: dict[str, Any], path: str, found: object, allowed: str
) -> None:
    refused = refusals(data)
    assert refused[path][0] == found
    assert refused[path][1].startswith(allowed)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    data = {
        "jobs": {"ttl_seconds": "x", "lease_seconds": 0, "speed": 1},
        "payouts": {"retry_seconds": 9_000},
        "relays": ["r.example"],
        "people": {"carol": PEOPLE["carol"]},
        "workers": {"allowed": ["carol"]},
        "agents": {"a": agent({"to": "carol", "amount": "1001 msat"}, rest="nobody")},
        "colour": "blue",
    }
    told = refusals(data, RELAYBOT_LOG__LEVEL="loud", RELAYBOT_X____Y="1")
    assert set(told) == {
        "jobs.ttl_seconds",
        "jobs.lease_seconds",
        "jobs.speed",
        "payouts.retry_seconds_max",
        "relays[0]",
        "agents.a.rest",
        "agents.a.shares[0]",
        "colour",
        "log.level",
        "RELAYBOT_X____Y",
    }


def test_a_wrong_name_hides_no_problem_elsewhere_and_makes_none() -> None:
    people, agents = {"carol": "x", "dave": PEOPLE["dave"]}, {"a": agent(rest="carol")}
    told = refusals({"people": people, "agents": agents, "workers": {"allowed": ["dave"]}, "log": {"a": 1}})
    assert set(told) == {"people.carol", "log.a"}


def test_what_stands_in_skills_is_named_where_it_stands() -> None:
    data = {"skills": {"s": {"name": "S", "shares": [{"to": "nobody", "percent": "1%"}]}}}
    assert set(refusals(data)) == {"skills.s.shares[0].to"}


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("jobs: {ttl_seconds: 1}\njobs: {}\n", ":2", "'jobs' twice"),
        ("jobs:\n  ttl_seconds: 1\n  ttl_seconds: 2\n", ":3", "'ttl_seconds' twice"),
        ("people:\n  on: x\n", ":2", "a key that is not a word"),
        ("a: b: c", ":1", "mapping values are not allowed here"),
        ("a: !!python/object:os.system x", ":1", "could not determine a constructor for the tag"),
        ("a: [1, 2", ":1", "expected ',' or ']', but got '<stream end>'"),
        ("a: \x00", "", "a control character"),
        ("a: &a [*a]", "", "a value that cannot be read"),
        ("a: " + "[" * 1_000, "", "a value that cannot be read"),
        ("a: " + "9" * 5_000, "", "a value that cannot be read"),
        (b"\xff\xfe\xfd", "", "UnicodeDecodeError"),
    ],
)
def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path, text: str | bytes, path: str, found: str) -> None:
    with pytest.raises(BadConfigs) as caught:
        load(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.path == f"{tmp_path / 'config.yaml'}{path}"
    assert str(problem.found).startswith(found)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfigs, match=r"nowhere\.yaml: found 'no such file'"):
        load_config(tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "5"])
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadConfigs, match=r"the whole: found .*; allowed: a mapping of sections"):
        load(tmp_path, text)


def test_text_that_no_json_can_hold_is_refused() -> None:
    assert list(refusals({"service": {"name": "\ud800"}})) == ["the whole"]
