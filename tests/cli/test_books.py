"""The operator's tools over a book with every class of money in it: why, whole, and for one person."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from relaybot.cli import cli
from relaybot.errors import RelaybotError
from relaybot.nostr import nip19
from splits.wording import rule_in_words
from tests.book.journals import JOURNALS
from tests.book.scenario import Scenario
from tests.book.stores import SqliteStore, opened, person
from tests.splits.written import agent, resolved, story
from wallet.ledger import Insert, Plan

JOB = "job1"


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    """A service's directory with a book in which a job was paid by promo, card and sats, and its configuration."""
    async with opened(SqliteStore(tmp_path / "data" / "book.sqlite3")) as book:
        await Scenario(book).play(JOURNALS["job-by-all"])
        split = resolved(agent({"to": "alice", "amount": "2000 sat"}, price="12000 sat"))
        job: dict[str, Any] = {
            "agent": "autodev",
            "customer": person("bob"),
            "request": "{}",
            "state": "captured",
            "reason": "",
            "split": "s1",
            "price_msat": 12_000_000,
            "charged_msat": 12_000_000,
            "invoice": "",
            "attempt": 1,
            "assignment": "",
            "worker": "",
            "result": "",
            "due_at": None,
            "created_at": 1,
            "updated_at": 1,
        }
        rows = (Insert("jobs", JOB, job), Insert("splits", "s1", {"body": split.to_json()}))
        await book.apply(Plan("test/job", changes=rows))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"people": {"alice": person("alice")}}))
    return config


async def invoke(config: Path, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--config", str(config)])


async def answer(config: Path, *words: str) -> Any:
    result = await invoke(config, *words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


async def test_a_job_is_explained_in_words_by_share_class_and_who_asked(books: Path) -> None:
    words = (await answer(books, "books", "explain", JOB))["words"]
    assert words[0].startswith(f"{nip19.encode_npub(person('bob'))} asked the agent autodev for job {JOB}: 12,000 sat")
    assert words[1] == "Held: 5,000 sat of promo money, 4,000 sat of card money, 3,000 sat of sats."
    alice = f"alice ({nip19.encode_npub(person('alice'))})"
    assert f"536.585 sat of card money, which matures to {alice} as compute: shares.alice (shares.alice)." in words
    assert "2,900 sat of card money to the platform as platform: shares.platform (shares.platform)." in words
    assert words[-1].startswith("No referrer was paid")
    shown = await invoke(books, "books", "explain", JOB)
    assert words[0] in shown.output


async def test_one_transfer_is_explained_with_the_job_it_belongs_to(books: Path) -> None:
    found = await answer(books, "books", "explain", f"job/{JOB}/capture/1")
    assert found["words"][0].startswith("1,463.415 sat went from hold/job/job1/sats to alice (")
    assert found["words"][0].endswith("earned as compute in job job1.")
    assert len(found["words"]) == 3
    held = await answer(books, "books", "explain", f"job/{JOB}/hold/2")
    assert held["words"][0].endswith("held for job job1.")
    refused = await invoke(books, "books", "explain", "nonsense")
    assert isinstance(refused.exception, RelaybotError)


async def test_the_book_is_exported_whole_to_hledger_with_its_running_balances(books: Path, tmp_path: Path) -> None:
    out = tmp_path / "book.journal"
    assert (await answer(books, "books", "export", "--out", str(out)))["transfers"] == 18
    text = out.read_text()
    assert text.count("\n\n") == 18
    assert f"    node:lightning  10000000 msat = 10000000 msat\n    user:{person('bob')}:sats  -10000000 msat" in text
    assert {sum(amounts(one)) for one in text.split("\n\n")[1:]} == {0}


def amounts(transaction: str) -> list[int]:
    return [int(line.split()[1]) for line in transaction.splitlines() if line.startswith("    ")]


async def test_the_book_is_exported_whole_to_csv(books: Path) -> None:
    shown = await invoke(books, "books", "export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert len(rows) == 18
    assert rows[0]["debit"] == "platform/promotions"
    assert (await invoke(books, "books", "export", "--json")).exit_code == 2


async def test_a_statement_tells_everything_of_one_person(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npub = nip19.encode_npub(person("bob"))
    monkeypatch.setattr("wallet.statements.HISTORY_MAX", 3)
    entries = await answer(books, "books", "statement", npub)
    assert [(entry["class"], entry["amount_msat"]) for entry in entries] == [
        ("promo", 5_000_000),
        ("card", 4_000_000),
        ("sats", 10_000_000),
        ("promo", -5_000_000),
        ("card", -4_000_000),
        ("sats", -3_000_000),
    ]
    as_csv = await invoke(books, "books", "statement", npub, "--csv")
    assert len(as_csv.stdout.splitlines()) == 7
    assert (await invoke(books, "books", "statement", "nobody")).exit_code == 2


async def test_a_transfer_between_two_accounts_of_one_person_is_two_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(SqliteStore(tmp_path / "data" / "book.sqlite3")) as book:
        await Scenario(book).play(JOURNALS["dispute-lost"])
    config = tmp_path / "config.yaml"
    config.write_text("{}")
    monkeypatch.setattr("wallet.statements.HISTORY_MAX", 3)
    entries = await answer(config, "books", "statement", nip19.encode_npub(person("bob")))
    cleared = [entry for entry in entries if entry["what"] == "debt paid"]
    assert sorted((entry["class"], entry["amount_msat"]) for entry in cleared) == [
        ("owed", 5_000_000),
        ("sats", -5_000_000),
    ]
    assert len(entries) == 8


async def test_a_user_is_shown_with_everything_that_is_theirs(books: Path) -> None:
    found = await answer(books, "users", "show", nip19.encode_npub(person("alice")))
    assert (found["sats_msat"], found["maturing_msat"], found["held"]) == (1_463_415, 536_585, [])
    assert "earned as compute in job job1" in found["newest"][0]
    assert found["known"] is False
    assert "npub1" in (await invoke(books, "users", "show", person("alice"))).output


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("agents.a.skills[0].shares[0]", "a fixed 2,000 sat"),
        ("agents.a.skills[0].shares[0].referrer", "120 sat for whoever referred that contributor"),
        ("agents.a.payer_referrer", "120 sat for whoever referred the customer"),
        ("agents.a.rest", "the rest, which all other parts left"),
        ("agents.a.nowhere", "agents.a.nowhere"),
    ],
)
def test_every_part_s_rule_is_told(path: str, words: str) -> None:
    assert rule_in_words(story(), path) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ({"to": "alice", "percent": "2.5%"}, "2.5 % of the charge, rounded down to the msat"),
        (
            {"to": "alice", "percent": "10%", "at_most": "1 sat"},
            "10 % of the charge, rounded down to the msat, at most 1 sat",
        ),
        (
            {"to": "alice", "percent_of_rest": "50%"},
            "50 % of what fixed, metered and percent shares left, rounded down to the msat",
        ),
        (
            {"to": "alice", "per": "1000 tokens", "amount": "1 msat", "at_most": "5 msat"},
            "0.001 sat for each 1000 tokens, rounded down, at most 0.005 sat",
        ),
    ],
)
def test_every_rule_is_told_with_its_rounding(share: dict[str, str], words: str) -> None:
    assert rule_in_words(resolved(agent(share, price="100 sat")), "agents.a.shares[0]") == words


def test_a_rule_inside_a_split_is_found() -> None:
    inner = {"shares": [{"to": "bob", "percent": "10%"}], "rest": "alice"}
    split = resolved(agent({"amount": "10 sat", "split": inner}, price="100 sat"))
    assert rule_in_words(split, "agents.a.shares[0].split.shares[0]").startswith("10 %")
