"""What an outsider knows of a story: what was asked for and paid, and what went wrong; no bug of ours changes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from relaybot.nostr.event import Event
from tests.simulator.apps import Asking
from tests.simulator.gifts import Gift
from tests.simulator.office import Payment


@dataclass(slots=True)
class Request:
    """A job that somebody asked for, as far as outsiders know of it."""

    event: Event
    customer: str
    agent: str
    payer: str  # the customer, or a company
    fate: str  # what must become of it: `usual`, `refused`, `ignored`; an `open` one is refused in silence
    bid_msat: int | None = None
    by_message: bool = False  # asked for by private message: no relay has it
    asked_at: float = 0.0  # when a relay had it first
    ended_at: float = 0.0


@dataclass(slots=True)
class Facts:
    """What happened outside, which no bug of the bot can change."""

    requests: dict[str, Request] = field(default_factory=dict)  # by event id
    commands: dict[str, tuple[str, str]] = field(default_factory=dict)  # sender and text, by rumor id
    gifts: dict[str, Gift] = field(default_factory=dict)  # by invoice
    given: Counter[str] = field(default_factory=Counter)  # promo and card money, by name
    refunded: set[str] = field(default_factory=set)  # jobs that the operator has paid back
    by_message: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # customer, agent, payer, by rumor id
    withdrawn_to: dict[str, str] = field(default_factory=dict)  # whose wallet a withdrawal goes to, by rumor id
    paid_inside: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # payer, invoice, msat, by rumor id
    cards: dict[str, Payment] = field(default_factory=dict)  # card payments, by id
    app_payments: dict[str, Asking] = field(default_factory=dict)  # what wallet apps asked for, by request
    closed: set[str] = field(default_factory=set)  # whose withdrawals are being closed and opened
    paused: set[str] = field(default_factory=set)  # what the operator has paused
    referrers: dict[str, str] = field(default_factory=dict)  # who named whom, before anything was earned
    heard_at: dict[str, float] = field(default_factory=dict)  # when an event was first heard on any relay
    cancelled: set[str] = field(default_factory=set)  # requests that their own customers took back
    leases: dict[str, tuple[str, int]] = field(default_factory=dict)  # whose an assignment was, until when
    clock_was_ahead: bool = False  # by more than a relay is read again
    outage_seconds: float = 0.0  # in which the bot, its disk, its node or a relay was away
