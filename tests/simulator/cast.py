"""Who plays in a simulated story: their keys, the configuration they live under, and what each job must come to.

The sums are reckoned here a second time, by hand and without the product's rules: the audit compares the two.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relaybot.config import Config, parse_config
from relaybot.keyring import Keyring
from relaybot.nostr.keys import KeyPair
from tests.simulator.relays import FAR

KEYRING = Keyring(bytes(31) + b"\x07")
CUSTOMERS = ("bob", "frank", "mallory")
WORKERS = ("carol", "ivan")
CONTRIBUTORS = ("alice", "dave", "grace", "heidi")
REFERRER = "eve"
NAMES = (*CUSTOMERS, *WORKERS, *CONTRIBUTORS, REFERRER)

SCRIBE, METER = "scribe", "meter"
SCRIBE_KIND, METER_KIND = 5050, 5100
SCRIBE_MSAT = 1_000_000
METER_BASE_MSAT, METER_MOST_MSAT = 100_000, 500_000
PLATFORM = "the platform"

JOB_SECONDS = {
    "ttl_seconds": 120,
    "payment_seconds": 60,
    "claim_seconds": 8,
    "lease_seconds": 30,
    "queue_seconds": 40,
    "attempts_max": 2,
}
ACME = "acme"  # the company of some stories: bob's, who asks frank to join
OWNER, MEMBER = "bob", "frank"
LIMIT_MSAT, BUDGET_MSAT = 600_000, 1_300_000  # above which the owner is asked; what the member may spend in a month
CONFIRMATIONS = ((0, 1), (1_000, 2), (2_000, 3))  # how many a sum needs, from so many sat on
ONCHAIN: dict[str, object] = {
    "confirmations": [[f"{sat} sat" if sat else 0, blocks] for sat, blocks in CONFIRMATIONS],
    "poll_seconds": 10,
    "batch_seconds": 25,
    "batch_outputs_max": 4,
    "payout_minimum": "546 sat",
    "spend_confirmations": 1,
    "withdrawal_seconds": 600,
    "watch_blocks": 6,
}
LONGEST_JOB_SECONDS = 60 + 2 * (40 + 30)  # asked and paid at the last moment, then two nodes that never deliver


@cache
def key_of(name: str) -> KeyPair:
    """Return somebody's key."""
    return KeyPair(hashlib.sha256(name.encode()).digest())


@cache
def names() -> dict[str, str]:
    """Return everybody's name by pubkey."""
    return {key_of(name).pubkey: name for name in NAMES} | {
        KEYRING.key("service").pubkey: "the service",
        KEYRING.key(f"agent/{SCRIBE}").pubkey: SCRIBE,
        KEYRING.key(f"agent/{METER}").pubkey: METER,
    }


def name_of(pubkey: str) -> str:
    """Return somebody's name, or the beginning of an unknown pubkey."""
    return names().get(pubkey, pubkey[:8])


@cache
def config(*, onchain: bool = False) -> Config:
    """Return the configuration of all stories: short times, small sums; some have a chain."""
    pubkeys = {name: key_of(name).pubkey for name in (*CONTRIBUTORS, *WORKERS)}
    return parse_config(
        {
            "service": {"data_dir": "."},
            "relays": [FAR],
            "web": {"domain": "bot.test"},
            "people": pubkeys,
            "agents": {SCRIBE: _SCRIBE, METER: _METER},
            "onchain": {"enabled": onchain, **ONCHAIN},
            "companies": {"approval_seconds": 40},
            "jobs": JOB_SECONDS,
            "workers": {"admission": "closed", "allowed": list(WORKERS), "open_jobs_max": 2},
            "payouts": {
                "retry_seconds": 5,
                "retry_seconds_max": 60,
                "poll_seconds": 5,
                "confirm_seconds": 5,
                "empty_seconds": 20,
                "failed_after_expiry_seconds": 60,
                "withdrawal_seconds": 120,
                "target_cooldown_seconds": 30,
                "attempts_max": 3,
            },
            "accounting": {"publish": False},
            "limits": {"inbox_max": 30},
        },
        config_dir=Path(),
    )


_SCRIBE = {
    "name": "Scribe",
    "about": "writes",
    "kinds": [SCRIBE_KIND],
    "price": "1000 sat",
    "payer_referrer": "12 sat",
    "shares": [
        {"to": "alice", "role": "algorithm", "amount": "200 sat", "referrer": "12 sat"},
        {"to": "$worker", "role": "compute", "amount": "400 sat"},
        {"to": "dave", "role": "data", "percent": "10%"},
    ],
}
_METER = {
    "name": "Meter",
    "about": "counts",
    "kinds": [METER_KIND],
    "open": True,
    "price": {"base": "100 sat", "per": "10 tokens", "amount": "1 sat", "at_most": "500 sat"},
    "shares": [
        {"to": "$worker", "role": "compute", "percent": "50%"},
        {"to": "grace", "role": "model", "per": "10 tokens", "amount": "100 msat", "at_most": "10 sat"},
        {"to": "$platform", "role": "platform", "percent": "5%"},
    ],
    "rest": "heidi",
}


@dataclass(frozen=True, slots=True)
class Delivered:
    """What an outsider knows of a job that was delivered."""

    agent: str
    introduced: str  # whose referrer has earned by it
    worker: str
    tokens: int
    bid_msat: int | None


def dues(job: Delivered, referrers: dict[str, str]) -> tuple[int, Counter[str]]:
    """Return what the customer is charged, and who gets what of it, in msat."""
    shares: Counter[str] = Counter()
    if job.agent == SCRIBE:
        charge = SCRIBE_MSAT
        shares["alice"] += 200_000
        shares[job.worker] += 400_000
        shares["dave"] += 100_000
        for referred in ("alice", job.introduced):  # 12 sat each, out of the rest
            if referred in referrers:
                shares[referrers[referred]] += 12_000
        rest = PLATFORM
    else:
        charge = min(METER_BASE_MSAT + job.tokens * 100, METER_MOST_MSAT, job.bid_msat or METER_MOST_MSAT)
        shares[job.worker] += charge // 2
        shares["grace"] += min(job.tokens * 10, 10_000)
        shares[PLATFORM] += charge // 20
        rest = "heidi"
    shares[rest] += charge - sum(shares.values())
    return charge, shares
