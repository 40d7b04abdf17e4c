"""What the API takes and answers about companies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from relaybot.web.api.models import Id, Line, Sats, Taken, Told


class Belonging(Told):
    """A company that one has to do with."""

    id: str
    name: str
    role: Literal["owner", "member", "invited"]
    state: str


class Companies(Told):
    """The companies that one owns, belongs to, or is asked to join."""

    companies: list[Belonging]


class CompanyMember(Told):
    """A member, and what their jobs have cost this month."""

    pubkey: str
    state: str
    budget_msat: int | None = Field(description="a month; null: no limit of their own")
    used_msat: int


class Approval(Told):
    """A job that waits for the owner's word."""

    job: str
    customer: str
    agent: str
    price_msat: int
    due_at: int


class Company(Told):
    """A company: all of it to its owner; a member sees themselves only, and no balance."""

    id: str
    role: Literal["owner", "member", "invited"]
    sats_msat: int | None = None
    card_msat: int | None = None
    promo_msat: int | None = None
    held_msat: int | None = None
    limit_msat: int | None = Field(default=None, description="above it a member's job waits for the owner")
    members: list[CompanyMember]
    approvals: list[Approval] = Field(default_factory=list)


class MemberOrder(Taken):
    """Whom to ask to join, and how much they may spend in a month; or a member's new budget."""

    npub: Line
    sats_a_month: Sats | None = Field(default=None, description="null: no limit of their own")


class ApprovalOrder(Taken):
    """The owner's word on a job."""

    job: Id
    approve: bool
