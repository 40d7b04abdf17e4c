"""The lives of a job, and of a version of a listing, as tables. Whoever changes a state asks its table first."""

from __future__ import annotations

from enum import Enum

from relaybot.lifecycle import Lifecycle


class JobState(Enum):
    """Where a job stands. A finished one (captured, released) holds no money and has nothing due."""

    RECEIVED = "received"  # a request was read; nothing is stored yet
    AWAITING_PAYMENT = "awaiting_payment"
    AWAITING_APPROVAL = "awaiting_approval"  # of the owner of the company that shall pay
    HELD = "held"  # the price is in escrow; a node is wanted
    ASSIGNED = "assigned"  # a node was asked and has not claimed yet
    WORKING = "working"
    DELIVERED = "delivered"  # passed through within the Plan that captures
    CAPTURED = "captured"
    RELEASED = "released"


class JobStep(Enum):
    """What can happen to a job."""

    ASK = "ask"
    SUBMIT = "submit"  # to the owner of the company
    HOLD = "hold"
    ASSIGN = "assign"
    CLAIM = "claim"
    LOSE = "lose"  # the node did not claim, or did not deliver in time
    DELIVER = "deliver"
    CAPTURE = "capture"
    RELEASE = "release"


JOB = Lifecycle(
    "job",
    {
        (JobState.RECEIVED, JobStep.ASK): JobState.AWAITING_PAYMENT,
        (JobState.RECEIVED, JobStep.SUBMIT): JobState.AWAITING_APPROVAL,
        (JobState.RECEIVED, JobStep.HOLD): JobState.HELD,
        (JobState.AWAITING_PAYMENT, JobStep.HOLD): JobState.HELD,
        (JobState.AWAITING_PAYMENT, JobStep.RELEASE): JobState.RELEASED,
        (JobState.AWAITING_APPROVAL, JobStep.HOLD): JobState.HELD,
        (JobState.AWAITING_APPROVAL, JobStep.RELEASE): JobState.RELEASED,
        (JobState.HELD, JobStep.ASSIGN): JobState.ASSIGNED,
        (JobState.HELD, JobStep.RELEASE): JobState.RELEASED,
        (JobState.ASSIGNED, JobStep.CLAIM): JobState.WORKING,
        (JobState.ASSIGNED, JobStep.LOSE): JobState.HELD,
        (JobState.ASSIGNED, JobStep.DELIVER): JobState.DELIVERED,
        (JobState.ASSIGNED, JobStep.RELEASE): JobState.RELEASED,
        (JobState.WORKING, JobStep.LOSE): JobState.HELD,
        (JobState.WORKING, JobStep.DELIVER): JobState.DELIVERED,
        (JobState.WORKING, JobStep.RELEASE): JobState.RELEASED,
        (JobState.DELIVERED, JobStep.CAPTURE): JobState.CAPTURED,
    },
)


class ListingState(Enum):
    """Where one version of a skill or an agent stands that its author registered."""

    WAITING = "waiting"  # for the operator
    APPROVED = "approved"  # in service
    REFUSED = "refused"
    REPLACED = "replaced"  # by a newer version
    WITHDRAWN = "withdrawn"  # by its author


class ListingStep(Enum):
    """What can happen to it."""

    APPROVE = "approve"
    REFUSE = "refuse"  # of an approved one: it is taken out of service
    REPLACE = "replace"
    WITHDRAW = "withdraw"


LISTING = Lifecycle(
    "listing",
    {
        (ListingState.WAITING, ListingStep.APPROVE): ListingState.APPROVED,
        (ListingState.WAITING, ListingStep.REFUSE): ListingState.REFUSED,
        (ListingState.WAITING, ListingStep.REPLACE): ListingState.REPLACED,
        (ListingState.WAITING, ListingStep.WITHDRAW): ListingState.WITHDRAWN,
        (ListingState.APPROVED, ListingStep.REFUSE): ListingState.REFUSED,
        (ListingState.APPROVED, ListingStep.REPLACE): ListingState.REPLACED,
        (ListingState.APPROVED, ListingStep.WITHDRAW): ListingState.WITHDRAWN,
    },
)
