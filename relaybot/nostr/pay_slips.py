"""Pay slips: what a service tells a compute node of its earnings, encrypted, in feedback (kind 7000).

`{"kind": 7000, "tags": [["t","payslip"], ["p",<node>], ["encrypted"]]}`, and inside
`[["earned","12000000"], ["jobs","12"]]`: msat and jobs since the beginning. So the newest
slip says all: one that is lost is made up for by the next, and one that comes twice adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr import encryption, job_tags
from relaybot.nostr.encryption import Encryption
from relaybot.nostr.event import Event, Tags
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip90 import FEEDBACK_KIND
from relaybot.nostr.strict_json import UNREADABLE
from wallet.money import Msat

TOPIC = "payslip"
_TAGS = msgspec.json.Decoder(Tags)


@dataclass(frozen=True, slots=True)
class PaySlip:
    """What a node has earned since the service knows it, by how many jobs."""

    jobs: int
    earned_msat: Msat


def build_pay_slip(keypair: KeyPair, worker: str, slip: PaySlip, *, encrypt: Encryption, now: int) -> Event:
    """Return the event that tells the node with the pubkey `worker`, and nobody else."""
    inside = msgspec.json.encode([("earned", str(slip.earned_msat)), ("jobs", str(slip.jobs))]).decode()
    content = encryption.encrypt(inside, keypair, worker, encrypt)
    tags = [("t", TOPIC), ("p", worker), ("encrypted",)]
    return keypair.sign(kind=FEEDBACK_KIND, content=content, tags=tags, created_at=now)


def parse_pay_slip(event: Event, reader: KeyPair) -> PaySlip:
    """Read a slip that the service `event.pubkey` sent to us; Rejected names what is wrong."""
    text = encryption.decrypt(event.content, reader, event.pubkey, encryption.scheme_of(event.content))
    try:
        tags = _TAGS.decode(text)
    except UNREADABLE:
        raise Rejected("invalid", "content: not a JSON array of tags") from None
    jobs = job_tags.single(tags, "jobs") or ""
    if not (jobs.isascii() and jobs.isdigit() and len(jobs) <= job_tags.USAGE_DIGITS_MAX):
        raise Rejected("invalid", "jobs: no count")
    return PaySlip(int(jobs), job_tags.msat("earned", job_tags.single(tags, "earned") or ""))
