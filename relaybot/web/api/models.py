"""What the API takes and answers. Amounts that are told are in msat, those that are asked for in whole sats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Sats = Annotated[int, Field(strict=True, ge=1, le=2_100_000_000_000_000)]
Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2_000)]
EntryId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]  # of a transfer
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Period = Literal["day", "week", "month"]
MoneyClass = Literal["sats", "card", "promo", "maturing", "owed"]


class Taken(BaseModel):
    """What is sent: nothing beside what is named, and numbers as numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Told(BaseModel):
    """What is answered."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Problem(Told):
    """Why something was not done (RFC 9457)."""

    type: str = Field(description="urn:relaybot: and the kind of the problem")
    title: str
    status: int
    detail: str = Field(description="the reason, for people; docs/errors.md explains each")
    field: str | None = Field(default=None, description="what of the request is wrong, if one part is")


class Held(Told):
    """Something for which money is held."""

    what: Literal["job", "payout"]
    id: str
    amount_msat: int
    state: str
    created_at: int


class Balance(Told):
    """What somebody has: sats for everything, card and promo for jobs only, maturing later, owed first."""

    sats_msat: int
    card_msat: int
    promo_msat: int
    maturing_msat: int
    owed_msat: int
    held_msat: int
    held: list[Held]


class HistoryQuery(Taken):
    """Which entries."""

    limit: int = Field(default=50, ge=2, le=500)
    before: int | None = Field(default=None, ge=0, description="the `next` of the page before")
    money: MoneyClass | None = Field(default=None, description="one class of money only")
    way: Literal["in", "out"] | None = None


class Entry(Told):
    """One change of a balance, and why."""

    id: str
    money: str
    amount_msat: int
    balance_msat: int
    what: str
    created_at: int


class History(Told):
    """Entries, newest first."""

    entries: list[Entry]
    next: int | None = Field(description="`before` of the next page; null: there is none")


class EarningsSum(Told):
    """What one role in one agent's jobs has brought."""

    agent: str
    role: str
    amount_msat: int
    count: int


class Earning(Told):
    """One part of one charge or gift."""

    id: str
    agent: str
    role: str
    money: str
    amount_msat: int
    created_at: int


class Earnings(Told):
    """What somebody has earned: by agent and role, and the newest one by one."""

    sums: list[EarningsSum]
    newest: list[Earning]


class WhyQuery(Taken):
    """Which entry."""

    id: EntryId


class Why(Told):
    """Why an entry is as large as it is."""

    id: str
    amount_msat: int
    words: list[str]
    share: str = Field(description="the share's path in the split; empty if it is no share")
    split: str = Field(description="the split's hash")
    created_at: int


class Payout(Told):
    """Where and from which sum on earnings are sent by themselves."""

    targets: list[str] = Field(description="the first is used; none, or `keep`: they stay balance")
    threshold_msat: int


class PayoutChange(Taken):
    """What shall change of that."""

    target: Line | None = Field(default=None, description="Lightning Address, offer, bitcoin address, or `keep`")
    threshold_sats: Sats | None = None


class TopupOrder(Taken):
    """How much to add, and by which way."""

    sats: Sats
    way: Literal["lightning", "onchain"] = "lightning"


class Topup(Told):
    """An invoice, or an address on the chain, whose payment is one's balance."""

    id: str
    way: Literal["lightning", "onchain"]
    state: Literal["waiting", "paid", "expired"] | None = Field(description="null on the chain: see deposits")
    amount_msat: int
    received_msat: int
    bolt11: str | None = None
    address: str | None = None
    expires_at: int | None = None


class Deposit(Told):
    """What arrived on the chain."""

    id: str
    address: str
    amount_msat: int
    state: str
    confirmations: int
    needs: int
    created_at: int


class Deposits(Told):
    """The newest deposits, newest first."""

    deposits: list[Deposit]


class WithdrawalOrder(Taken):
    """How much to send, and where to."""

    to: Line = Field(description="BOLT11 invoice, Lightning Address, offer (BOLT12) or bitcoin address")
    sats: Sats | Literal["all"] | None = Field(default=None, description="null: what the invoice says")


class Quote(Told):
    """What a withdrawal would take; nothing is done."""

    amount_msat: int
    reserve_msat: int = Field(description="kept ready for the way; what it does not need comes back")
    words: str


class Withdrawal(Told):
    """A withdrawal; `state` is null where nothing had to leave, for it was paid inside the book."""

    id: str
    words: str
    state: Literal["open", "paying", "waiting", "paid", "stopped"] | None = None
    amount_msat: int | None = None
    fee_msat: int | None = None
    to: str | None = None
    reason: str = ""


class OnePayout(Told):
    """Money that went out, or shall."""

    id: str
    kind: Literal["payout", "withdrawal"]
    rail: str
    state: str
    amount_msat: int
    fee_msat: int
    to: str
    reason: str
    created_at: int


class Payouts(Told):
    """The newest payouts and withdrawals, newest first."""

    payouts: list[OnePayout]


class LinkOrder(Taken):
    """How much a link may withdraw, exactly."""

    sats: Sats


class Link(Told):
    """A link that withdraws; `lnurl` is told once, to who makes it."""

    id: str
    amount_msat: int
    expires_at: int
    lnurl: str | None = None


class Links(Told):
    """The links that are good now."""

    links: list[Link]


class Param(Told):
    """An input parameter of an agent."""

    name: str
    about: str
    required: bool
    values: list[str] = Field(description="the allowed ones; none: any")


class Agent(Told):
    """Whom one can ask."""

    id: str
    name: str
    about: str
    pubkey: str
    kinds: list[int]
    price_min_msat: int
    price_max_msat: int
    params: list[Param]


class Agents(Told):
    """Everybody one can ask."""

    agents: list[Agent]


class JobOrder(Taken):
    """What an agent shall do; it is published nowhere. For a signed request use any relay."""

    agent: Line
    input: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=60_000)]
    params: dict[Line, Line] = Field(default_factory=dict, max_length=64)


class Job(Told):
    """A job: `state` is `received` until it was looked at, `refused` if nothing came of it."""

    id: str
    agent: str
    state: str
    reason: str
    price_msat: int | None
    charged_msat: int
    bolt11: str | None = Field(default=None, description="the bill, while it waits for payment")
    result: str | None = None
    created_at: int


class Jobs(Told):
    """The newest jobs, newest first, without their results."""

    jobs: list[Job]


class ConnectionOrder(Taken):
    """A wallet connection for an app."""

    name: Line
    sats: Sats | None = Field(default=None, description="null: no limit but the balance")
    period: Period = "day"


class Connection(Told):
    """A wallet connection; `uri` holds its secret and is told once, to who makes it."""

    name: str
    budget_msat: int | None
    spent_msat: int
    period: Period
    created_at: int
    uri: str | None = None


class Connections(Told):
    """The open connections."""

    connections: list[Connection]


class Referrer(Taken):
    """Who referred somebody."""

    npub: Line


class Done(Told):
    """That something was done, in words."""

    words: str
