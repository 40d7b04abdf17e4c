"""What a card company's record says, told by hand: a payment's whole life by commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from relaybot.cli import cli
from relaybot.nostr import nip19
from tests.book.scenario import Scenario
from tests.book.stores import SqliteStore, opened, person
from wallet.audit import unsound

BOB = nip19.encode_npub(person("bob"))


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RELAYBOT_SECRET", "5e" * 32)
    yield
    structlog.reset_defaults()


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A service's directory with an empty book."""
    async with opened(SqliteStore(tmp_path / "data" / "book.sqlite3")):
        pass
    path = tmp_path / "config.yaml"
    path.write_text("{}")
    return path


async def played(config: Path, story: str) -> None:
    async with opened(SqliteStore(config.parent / "data" / "book.sqlite3")) as book:
        await Scenario(book).play(story)
        assert await unsound(book.database) == []


async def invoke(config: Path, *words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--config", str(config)])


async def answer(config: Path, *words: str) -> Any:
    result = await invoke(config, *words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


async def test_a_payment_is_credited_disputed_lost_and_written_off(config: Path) -> None:
    bought = await answer(config, "cards", "credit", "pi_1", BOB, "20000")
    assert (bought["done_now"], bought["to"]) == (True, [f"user/{person('bob')}/card: 20000000 msat"])
    assert not (await answer(config, "cards", "credit", "pi_1", BOB, "20000"))["done_now"]
    await played(config, "hold bob 12000 sat for job1 / capture job1 alice 4000 platform 8000")
    [lot] = await answer(config, "cards", "lots")
    assert (lot["deposit"], lot["payment"], lot["amount_msat"]) == ("pi_1", "good", 4_000_000)
    assert (await answer(config, "cards", "disputed", "pi_1"))["state"] == "disputed"
    assert (await answer(config, "cards", "lost", "pi_1"))["state"] == "lost"
    assert (await answer(config, "users", "show", BOB))["owed_msat"] == 8_000_000
    assert (await answer(config, "cards", "write-off", "pi_1"))["written_off_msat"] == 8_000_000
    assert "nothing is owed" in str((await invoke(config, "cards", "write-off", "pi_1")).exception)
    await played(config, "expect bob:owed 0 bob:card 0 alice:maturing 0 losses -8000 receivable 0")


async def test_a_part_is_disputed_and_won_and_the_rest_is_settled_to_the_bank(config: Path) -> None:
    await answer(config, "org", "create", "acme", BOB)
    await answer(config, "cards", "credit", "pi_1", BOB, "20000", "--company", "acme")
    found = await answer(config, "cards", "disputed", "pi_1", "--amount", "1500 msat")
    assert (found["state"], found["disputed_msat"]) == ("disputed", 1_500)
    [listed] = await answer(config, "cards", "list")
    assert (listed["pubkey"], listed["left_msat"]) == (BOB, 19_998_500)
    assert (await answer(config, "cards", "won", "pi_1"))["state"] == "good"
    amounts = ("--gross", "20000", "--fee", "650", "--bank", "19400")
    settled = await answer(config, "cards", "settled", "po_1", *amounts)
    assert (settled["done_now"], len(settled["booked"])) == (True, 3)
    assert not (await answer(config, "cards", "settled", "po_1", *amounts))["done_now"]
    await played(config, "expect acme:card 20000 receivable 0 bank -19400 fx-expense 50")


async def test_a_bonus_is_given_once_under_each_name(config: Path) -> None:
    assert (await answer(config, "users", "bonus", BOB, "500", "welcome"))["given_msat"] == 500_000
    assert not (await answer(config, "users", "bonus", BOB, "900", "welcome"))["done_now"]
    await played(config, "expect bob:promo 500 promotions -500")


@pytest.mark.parametrize("amount", ["0 sat", "-1", "1.5", "1e3", "much"])
async def test_what_is_no_amount_is_no_amount(config: Path, amount: str) -> None:
    found = await invoke(config, "cards", "disputed", "pi_1", f"--amount={amount}")
    assert (found.exit_code, "Invalid value for '--amount'" in found.output) == (2, True)
