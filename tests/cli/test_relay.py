"""The relay's events go out as JSON lines and come in again; what does not belong there stays out, with its line."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from relaybot.cli import cli
from relaybot.clock import SetClock
from relaybot.config import load_config
from relaybot.errors import RelaybotError, Unavailable
from relaybot.nostr.event import Event
from relaybot.operator import moving
from relaybot.relay.event_journal import Arrival
from relaybot.relay.event_pages import PAGE_EVENTS
from relaybot.relay.event_writes import Outcome
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import BOB, CAROL, NOW, note, raw
from tests.relay.writing import connect, writer_on

PAST = 1_700_000_000  # the commands have the real clock

GIFT = note("sealed", kind=1059, tags=[["p", CAROL.pubkey]], at=PAST)
PROTECTED = note("mine", tags=[["-"]], at=PAST)
GONE = note("said too much", at=PAST)
DELETION = note(kind=5, tags=[["e", GONE.id]], at=PAST)
VANISHED = note("forget me", by=BOB, at=PAST)
VANISH = note(kind=62, by=BOB, tags=[["relay", "ALL_RELAYS"]], at=PAST + 1)
PROFILE = note("{}", kind=0, at=PAST + 1)
OLD_PROFILE = note("{}", kind=0, at=PAST)
EXPIRED = note("too late", tags=[["expiration", str(PAST + 1)]], at=PAST)
KEPT = [GIFT, PROTECTED, DELETION, VANISH, PROFILE]


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def service(directory: Path, **relay: Any) -> Path:
    """Return the configuration of a service with a directory of its own."""
    directory.mkdir()
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump({"relay": relay}))
    return config


def lines(*events: Event) -> bytes:
    return b"".join(raw(event) + b"\n" for event in events)


async def invoke(config: Path, *words: str, given: bytes = b"") -> Result:
    arguments = ["relay", *words, "--config", str(config)]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, input=given)


async def imported(config: Path, given: bytes) -> Any:
    result = await invoke(config, "import", "--json", given=given)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


async def opened(config: Path) -> EventStore:
    return await EventStore.open(load_config(config, {}).relay.database, RelayLimits())


async def stored_by_a_running_relay(config: Path, events: Sequence[Event]) -> EventStore:
    store = await opened(config)
    written: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    store.write([Arrival(raw(event), event) for event in events], written.set_result)
    assert set(await written) == {Outcome.STORED}
    return store


async def test_what_one_relay_exports_another_imports_with_all_that_was_asked_of_the_first(tmp_path: Path) -> None:
    first, second, file = service(tmp_path / "a"), service(tmp_path / "b"), tmp_path / "events.jsonl"
    given = [GONE, VANISHED, OLD_PROFILE, GIFT, PROTECTED, DELETION, VANISH, PROFILE, EXPIRED]
    running = await stored_by_a_running_relay(first, given)
    told = await invoke(first, "export", str(file), "--json")
    await running.close()
    assert json.loads(told.stdout) == {"file": str(file), "events": len(KEPT)}
    assert file.read_bytes() == lines(*KEPT)
    words = await invoke(second, "import", str(file))
    assert [line.split() for line in words.stdout.splitlines()] == [
        ["accepted", "5"],
        ["duplicate", "0"],
        ["refused", "0"],
    ]
    assert (await invoke(second, "export")).stdout_bytes == lines(*KEPT)
    again = await imported(second, lines(*given))
    assert (again["accepted"], again["duplicate"], again["refused"]) == (0, 6, 3)
    assert [(one["line"], one["reason"]) for one in again["refusals"]] == [
        (1, "blocked: its author asked for its deletion"),
        (2, "blocked: its author asked to be forgotten"),
        (9, f"invalid: the event has expired (expiration={PAST + 1})"),
    ]


async def test_an_export_has_what_a_running_relay_has_not_put_in_its_place_yet(tmp_path: Path) -> None:
    config = service(tmp_path / "a")
    await (await stored_by_a_running_relay(config, [PROFILE])).close()
    path = load_config(config, {}).relay.database
    with contextlib.closing(connect(path)) as connection, writer_on(path, connection) as writer:
        events = [note(str(number), at=PAST) for number in range(PAGE_EVENTS)]
        writer.write([Arrival(raw(event), event) for event in events])
        assert (await invoke(config, "export")).stdout_bytes == lines(PROFILE, *events)


async def test_each_line_is_checked_and_the_first_refusals_are_told_by_their_lines(tmp_path: Path) -> None:
    config = service(tmp_path / "a", message_bytes_max=1_000, kinds_refused=[7], kinds_allowed=["0-10000", 20_001])
    good, forged = note("good", at=PAST), raw(note("forged", at=PAST))[:-4] + b'00"}'
    given = [
        b"",
        raw(good),
        b"not JSON",
        b"[" * 100_000,
        forged,
        raw(note("altered", at=PAST)).replace(b"altered", b"ALTERED"),
        raw(note("like", kind=7, at=PAST)),
        raw(note("passing", kind=20_001, at=PAST)),
        raw(note(kind=62, tags=[["relay", "wss://elsewhere.example"]], at=PAST)),
        raw(note("from the future", at=2**40)),
    ]
    found = await imported(config, b"\r\n".join(given) + b"\n" * 3 + raw(note("no end of line", at=PAST)))
    assert (found["accepted"], found["duplicate"], found["refused"]) == (2, 0, 8)
    told = {one["line"]: one["reason"].partition(" (")[0] for one in found["refusals"]}
    assert told == {
        3: "invalid: event is not strict JSON",
        4: "invalid: the line is too long",
        5: "invalid: the signature does not fit",
        6: "invalid: id does not match the event",
        7: "blocked: this kind is not taken here",
        8: "invalid: ephemeral events are not stored",
        9: "invalid: the request to vanish does not name this relay",
        10: told[10],
    }
    assert told[10].startswith("invalid: created_at is in the future")


async def test_an_import_asks_nothing_about_who_sends_and_tells_only_the_first_refusals(tmp_path: Path) -> None:
    hard = {"authors_allowed": [BOB.pubkey], "auth_required": True, "pow_bits_min": 20, "kinds_of_members": [1]}
    config = service(tmp_path / "a", past_seconds=60, events_per_key_minute_max=1, **hard)
    assert (await imported(config, lines(PROTECTED, GONE)))["accepted"] == 2
    found = await invoke(config, "import", given=b"[]\n" * 50)
    assert found.stdout.splitlines()[2].split() == ["refused", "50"]
    assert found.stdout.splitlines()[3].startswith("line 1: invalid: event has a wrong shape")
    assert len(found.stdout.splitlines()) == 3 + moving.REFUSALS_TOLD


async def test_an_import_beside_a_running_relay_is_refused_and_says_so(tmp_path: Path) -> None:
    config = service(tmp_path / "a")
    running = await opened(config)
    refused = await invoke(config, "import", given=lines(GIFT))
    await running.close()
    assert isinstance(refused.exception, RelaybotError)
    assert "a relay is running on" in str(refused.exception)


async def test_an_export_of_nothing_leaves_the_file_that_is_there(tmp_path: Path) -> None:
    config, file = service(tmp_path / "a"), tmp_path / "backup.jsonl"
    file.write_bytes(lines(GIFT))
    for damage, reason in ((None, "no events at"), (b"no database" * 100, "cannot be read"), (b"", "of version 0")):
        if damage is not None:
            database = load_config(config, {}).relay.database
            database.parent.mkdir(exist_ok=True)
            database.write_bytes(damage)
        refused = await invoke(config, "export", str(file))
        assert isinstance(refused.exception, RelaybotError)
        assert reason in str(refused.exception)
    assert file.read_bytes() == lines(GIFT)


async def test_an_import_ends_at_the_first_line_that_cannot_be_stored_and_is_simply_repeated(tmp_path: Path) -> None:
    full = True

    def disk(border: str) -> None:
        if full and border == "store:before":
            raise sqlite3.OperationalError("database or disk is full")

    store = await EventStore.open(tmp_path / "relay.sqlite3", RelayLimits(), disk)
    hub = Hub(store, RelayLimits(), SetClock(NOW))
    given = b"[]\n" + lines(GIFT, PROTECTED)
    with pytest.raises(Unavailable, match="line 2 could not be stored"):
        await moving._import(io.BytesIO(given), hub, frozenset(), lambda _: None)
    full = False
    tally = await moving._import(io.BytesIO(given), hub, frozenset(), lambda _: None)
    await hub.close()
    await store.close()
    assert (tally.accepted, tally.duplicate, tally.refused) == (2, 0, 1)


async def test_a_long_import_goes_piece_by_piece_and_says_how_far_it_is() -> None:
    source = io.BytesIO(b"x" * 2_000_000 + b"\n" + b"y\n" * (moving.BATCH_LINES + 5))
    first = moving._next_lines(source, 1_000)
    assert [len(first[0]), first[1:3], len(first)] == [1_002, [b"y\n", b"y\n"], moving.BATCH_LINES]
    assert len(moving._next_lines(source, 1_000)) == 6
    assert moving._next_lines(source, 1_000) == []
    long = io.BytesIO(b"z" * 1_000_000 + b"\n" + (b"z" * 999_999 + b"\n") * 9)
    assert len(moving._next_lines(long, 1_000_000)) == 5
