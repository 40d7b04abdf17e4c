"""The lives of a payout, of its attempts and batches, of a deposit, a card top-up and a card payment, as tables."""

from __future__ import annotations

from enum import Enum

from relaybot.lifecycle import Lifecycle


class PayoutKind(Enum):
    """Why money goes out."""

    PAYOUT = "payout"  # a balance reached its threshold
    WITHDRAWAL = "withdrawal"  # its owner asked for it, once


class Rail(Enum):
    """On which way money goes out."""

    LIGHTNING = "lightning"
    ONCHAIN = "onchain"


class PayoutState(Enum):
    """Where a payout stands. Its money is held in all states but the last two."""

    OPEN = "open"
    PAYING = "paying"  # an attempt is prepared or sent
    WAITING = "waiting"  # the last attempt definitely failed, or none could be made: later again
    PAID = "paid"
    STOPPED = "stopped"  # given up: the money is the user's balance again


class PayoutStep(Enum):
    """What can happen to a payout."""

    PREPARE = "prepare"
    WAIT = "wait"
    PAY = "pay"
    STOP = "stop"


class AttemptState(Enum):
    """Where an attempt stands. Unknown is SENT, and stays SENT until the node's records end it."""

    PREPARED = "prepared"  # invoice and payment hash are stored; nothing has left
    SENT = "sent"  # stored before the call: from here on it may have been paid
    PAID = "paid"
    FAILED = "failed"


class AttemptStep(Enum):
    """What can happen to an attempt."""

    SEND = "send"
    PAY = "pay"
    FAIL = "fail"


class BatchState(Enum):
    """Where a batch of payments on the chain stands: one transaction, of which there is never a second version."""

    GATHERED = "gathered"  # who is in it is stored; nothing is prepared
    PREPARED = "prepared"  # the transaction is stored, unsigned; it was certainly not broadcast
    SENT = "sent"  # stored before the call: from here on it may be in the world
    CONFIRMED = "confirmed"  # deep enough: booked
    BURIED = "buried"  # so deep that nothing undoes it
    DISCARDED = "discarded"  # nobody is left in it, or it was not sent in time


class BatchStep(Enum):
    """What can happen to a batch."""

    PREPARE = "prepare"
    SEND = "send"
    CONFIRM = "confirm"
    BURY = "bury"
    DISCARD = "discard"


class DepositState(Enum):
    """Where a card payment stands."""

    GOOD = "good"
    DISPUTED = "disputed"  # the card company has taken it back, for now
    LOST = "lost"  # it stays taken back


class DepositStep(Enum):
    """What can happen to a card payment."""

    DISPUTE = "dispute"
    WIN = "win"
    LOSE = "lose"
    WRITE_OFF = "write_off"


class OfferState(Enum):
    """Where a top-up by card stands, from its quote on."""

    QUOTED = "quoted"
    ACCEPTED = "accepted"  # the customer has taken price and terms; the card company may know of it
    OPEN = "open"  # it can be paid
    HELD = "held"  # paid, and not credited yet
    CREDITED = "credited"
    RETURNED = "returned"  # the money went back before it was credited; a dispute that is won brings it again
    EXPIRED = "expired"  # nobody paid in time


class OfferStep(Enum):
    """What can happen to a top-up by card."""

    ACCEPT = "accept"
    OPEN = "open"
    HOLD = "hold"
    CREDIT = "credit"
    GIVE_BACK = "give_back"
    EXPIRE = "expire"


class CoinState(Enum):
    """Where a deposit on the chain stands."""

    PENDING = "pending"  # in a block, and not deep enough yet
    CREDITED = "credited"
    KEPT = "kept"  # below the minimum: nobody's balance
    LOST = "lost"  # taken out of the chain before it counted
    REVERSED = "reversed"  # taken out of the chain after it counted
    BURIED = "buried"  # so deep that nothing undoes it


class CoinStep(Enum):
    """What can happen to a deposit."""

    CREDIT = "credit"
    KEEP = "keep"
    LOSE = "lose"
    REVERSE = "reverse"
    RETURN = "return"
    BURY = "bury"


COIN = Lifecycle(
    "coin",
    {
        (CoinState.PENDING, CoinStep.CREDIT): CoinState.CREDITED,
        (CoinState.PENDING, CoinStep.KEEP): CoinState.KEPT,
        (CoinState.PENDING, CoinStep.LOSE): CoinState.LOST,
        (CoinState.CREDITED, CoinStep.REVERSE): CoinState.REVERSED,
        (CoinState.CREDITED, CoinStep.BURY): CoinState.BURIED,
        (CoinState.KEPT, CoinStep.REVERSE): CoinState.REVERSED,
        (CoinState.KEPT, CoinStep.BURY): CoinState.BURIED,
        (CoinState.LOST, CoinStep.RETURN): CoinState.PENDING,
        (CoinState.REVERSED, CoinStep.RETURN): CoinState.PENDING,
    },
)

PAYOUT = Lifecycle(
    "payout",
    {
        (PayoutState.OPEN, PayoutStep.PREPARE): PayoutState.PAYING,
        (PayoutState.OPEN, PayoutStep.WAIT): PayoutState.WAITING,
        (PayoutState.OPEN, PayoutStep.STOP): PayoutState.STOPPED,
        (PayoutState.PAYING, PayoutStep.PAY): PayoutState.PAID,
        (PayoutState.PAYING, PayoutStep.WAIT): PayoutState.WAITING,
        (PayoutState.WAITING, PayoutStep.PREPARE): PayoutState.PAYING,
        (PayoutState.WAITING, PayoutStep.WAIT): PayoutState.WAITING,
        (PayoutState.WAITING, PayoutStep.STOP): PayoutState.STOPPED,
    },
)

ATTEMPT = Lifecycle(
    "attempt",
    {
        (AttemptState.PREPARED, AttemptStep.SEND): AttemptState.SENT,
        (AttemptState.PREPARED, AttemptStep.FAIL): AttemptState.FAILED,
        (AttemptState.SENT, AttemptStep.PAY): AttemptState.PAID,
        (AttemptState.SENT, AttemptStep.FAIL): AttemptState.FAILED,
    },
)

BATCH = Lifecycle(
    "batch",
    {
        (BatchState.GATHERED, BatchStep.PREPARE): BatchState.PREPARED,
        (BatchState.GATHERED, BatchStep.DISCARD): BatchState.DISCARDED,
        (BatchState.PREPARED, BatchStep.SEND): BatchState.SENT,
        (BatchState.PREPARED, BatchStep.DISCARD): BatchState.DISCARDED,
        (BatchState.SENT, BatchStep.CONFIRM): BatchState.CONFIRMED,
        (BatchState.CONFIRMED, BatchStep.BURY): BatchState.BURIED,
    },
)

DEPOSIT = Lifecycle(
    "deposit",
    {
        (DepositState.GOOD, DepositStep.DISPUTE): DepositState.DISPUTED,
        (DepositState.DISPUTED, DepositStep.DISPUTE): DepositState.DISPUTED,
        (DepositState.LOST, DepositStep.DISPUTE): DepositState.DISPUTED,
        (DepositState.DISPUTED, DepositStep.WIN): DepositState.GOOD,
        (DepositState.DISPUTED, DepositStep.LOSE): DepositState.LOST,
        (DepositState.DISPUTED, DepositStep.WRITE_OFF): DepositState.LOST,
        (DepositState.LOST, DepositStep.WRITE_OFF): DepositState.LOST,
        (DepositState.LOST, DepositStep.WIN): DepositState.GOOD,
    },
)

OFFER = Lifecycle(
    "offer",
    {
        (OfferState.QUOTED, OfferStep.ACCEPT): OfferState.ACCEPTED,
        (OfferState.QUOTED, OfferStep.EXPIRE): OfferState.EXPIRED,
        (OfferState.ACCEPTED, OfferStep.OPEN): OfferState.OPEN,
        (OfferState.ACCEPTED, OfferStep.EXPIRE): OfferState.EXPIRED,
        (OfferState.OPEN, OfferStep.HOLD): OfferState.HELD,
        (OfferState.OPEN, OfferStep.CREDIT): OfferState.CREDITED,
        (OfferState.OPEN, OfferStep.GIVE_BACK): OfferState.RETURNED,
        (OfferState.OPEN, OfferStep.EXPIRE): OfferState.EXPIRED,
        (OfferState.HELD, OfferStep.HOLD): OfferState.HELD,
        (OfferState.HELD, OfferStep.CREDIT): OfferState.CREDITED,
        (OfferState.HELD, OfferStep.GIVE_BACK): OfferState.RETURNED,
        (OfferState.RETURNED, OfferStep.HOLD): OfferState.HELD,
        (OfferState.RETURNED, OfferStep.CREDIT): OfferState.CREDITED,
    },
)
