"""What a node is told of its earnings, and what is no such word."""

from __future__ import annotations

import pytest

from relaybot.errors import Rejected
from relaybot.nostr.encryption import NIP44, Encryption, encrypt
from relaybot.nostr.event import encode_event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.pay_slips import PaySlip, build_pay_slip, parse_pay_slip
from wallet.money import Msat

SERVICE, CAROL, MALLORY = (KeyPair(bytes([number]) * 32) for number in (3, 4, 5))
SLIP = PaySlip(12, Msat(12_000_001))
HOW = Encryption(NIP44, bytes(32))


def test_a_slip_is_read_by_its_node_alone() -> None:
    event = build_pay_slip(SERVICE, CAROL.pubkey, SLIP, encrypt=HOW, now=1)
    assert parse_pay_slip(event, CAROL) == SLIP
    assert "12000001" not in encode_event(event)
    with pytest.raises(Rejected, match="content"):
        parse_pay_slip(event, MALLORY)


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        ("{}", "content: not a JSON array of tags"),
        ('[["earned","1"]]', "jobs: no count"),
        ('[["earned","1"],["jobs","-1"]]', "jobs: no count"),
        ('[["earned","1"],["jobs","1"],["jobs","2"]]', "jobs: given more than once"),
        ('[["jobs","1"]]', "earned: amount must be"),
        ('[["jobs","1"],["earned","1.5"]]', "earned: amount must be"),
    ],
)
def test_what_is_no_slip_is_refused(inside: str, problem: str) -> None:
    content = encrypt(inside, SERVICE, CAROL.pubkey, HOW)
    event = SERVICE.sign(kind=7000, content=content, tags=[("p", CAROL.pubkey), ("encrypted",)], created_at=1)
    with pytest.raises(Rejected, match=problem):
        parse_pay_slip(event, CAROL)
