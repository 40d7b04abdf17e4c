"""Signatures of a flood, checked by a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from relaybot.nostr.event import Event
from relaybot.relay import signatures
from relaybot.relay.event_journal import Arrival
from relaybot.relay.signature_process import RECORD_BYTES, serve
from relaybot.relay.signatures import SignatureChecks, Verdict
from tests.relay.authors import BOB, note, raw

FORGED = replace(note("mine"), sig=note("another").sig)
NO_POINT = replace(note("nobody's"), pubkey="f" * 64)


class Told:
    """What was found, and a way to wait for it."""

    def __init__(self, expected: int) -> None:
        self.verdicts: list[tuple[str, Verdict]] = []
        self._expected = expected
        self.all = asyncio.Event()

    def __call__(self, offers: Sequence[Arrival], verdicts: Sequence[Verdict]) -> None:
        self.verdicts += [(offer.event.content, verdict) for offer, verdict in zip(offers, verdicts, strict=True)]
        if len(self.verdicts) == self._expected:
            self.all.set()


async def test_each_of_a_flood_is_judged_and_told_in_order() -> None:
    events = [note(str(n)) if n % 2 else note(str(n), by=BOB) for n in range(100)]
    events[40], events[41] = FORGED, NO_POINT
    told = Told(len(events))
    checks = SignatureChecks[Arrival](told)

    checks.check([_offer(event) for event in events[:70]])  # while the process starts
    checks.check([_offer(event) for event in events[70:]])
    await told.all.wait()
    await checks.close()

    expected = [(event.content, Verdict.FORGED if event in (FORGED, NO_POINT) else Verdict.GOOD) for event in events]
    assert told.verdicts == expected


@pytest.mark.parametrize("program", [(sys.executable, "-c", ""), ("/no/such/program",)], ids=["dies", "cannot start"])
async def test_without_an_answer_nothing_counts_as_checked_and_the_next_flood_is(
    program: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(2)
    checks = SignatureChecks[Arrival](told)
    with monkeypatch.context() as patched:
        patched.setattr(signatures, "PROGRAM", program)
        checks.check([_offer(note("one"))])
        checks.check([_offer(FORGED)])
        await told.all.wait()
    assert told.verdicts == [("one", Verdict.FAILED), (FORGED.content, Verdict.FAILED)]

    again = Told(1)
    checks = SignatureChecks[Arrival](again)
    checks.check([_offer(note("one"))])
    await again.all.wait()
    await checks.close()
    assert again.verdicts == [("one", Verdict.GOOD)]


def test_a_record_may_come_in_pieces() -> None:
    records = b"".join([bytes.fromhex(event.id + event.pubkey + event.sig) for event in (note("one"), FORGED)])
    source, to_source = os.pipe()
    from_sink, sink = os.pipe()
    serving = threading.Thread(target=serve, args=(source, sink))
    serving.start()

    said = b""
    for piece in (records[: RECORD_BYTES - 1], records[RECORD_BYTES - 1 : RECORD_BYTES + 5]):
        os.write(to_source, piece)
    said += os.read(from_sink, 1)
    os.write(to_source, records[RECORD_BYTES + 5 :])
    said += os.read(from_sink, 1)
    os.close(to_source)
    serving.join()

    assert said == bytes([True, False])
    for end in (source, from_sink, sink):
        os.close(end)


def _offer(event: Event) -> Arrival:
    return Arrival(raw(event), event)
