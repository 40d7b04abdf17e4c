"""What a node prints of its earnings: each slip once, whatever comes twice, late, or after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.pay_slips import PaySlip, build_pay_slip
from tests.connection.conftest import NOW, until
from tests.worker.conftest import CAROL, SERVICE, Office
from wallet.money import from_sat


def slip(jobs: int, sat: int) -> Event:
    how = Encryption(NIP44, jobs.to_bytes(32, "big"))
    return build_pay_slip(SERVICE, CAROL.pubkey, PaySlip(jobs, from_sat(sat)), encrypt=how, now=NOW + jobs)


def said(logs: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    names = {"earned", "earned_so_far", "pay_slip_malformed"}
    found = [one for one in logs if one["event"] in names]
    return [(one["event"], one.get("jobs"), one.get("amount"), one.get("in_all")) for one in found]


async def test_a_node_prints_what_it_earned_once_and_knows_it_after_a_restart(office: Office) -> None:
    relay = office.relays[0]
    malformed = SERVICE.sign(kind=7000, content="?", tags=[("t", "payslip"), ("p", CAROL.pubkey)], created_at=NOW)
    with structlog.testing.capture_logs() as logs:
        async with office.open():
            await until(lambda: any(one[1] == "earnings" for one in relay.requests()))
            for event in (malformed, slip(2, 2_000), slip(2, 2_000), slip(1, 1_000), slip(3, 2_500)):
                await relay.send(relay.sockets[-1], "earnings", event)
            await until(lambda: len(said(logs)) == 3)
    assert said(logs) == [
        ("pay_slip_malformed", None, None, None),
        ("earned", 2, "2,000 sat", "2,000 sat"),
        ("earned", 1, "500 sat", "2,500 sat"),
    ]
    relay.events, relay.frames = [slip(3, 2_500), slip(5, 4_500)], []  # the last came while the node was away
    with structlog.testing.capture_logs() as logs:
        async with office.open():
            await until(lambda: len(said(logs)) == 2)
    assert said(logs) == [("earned_so_far", 3, "2,500 sat", None), ("earned", 2, "2,000 sat", "4,500 sat")]
    (asked,) = [one[2] for one in relay.requests() if one[1] == "earnings"]
    assert asked["limit"] == 1  # type: ignore[index]  # the newest says all
