"""What a payment on the chain costs: the reserve before, and each one's part of the fee after. Pure.

The fee of a transaction is shared by the weight of its outputs, each part rounded up, so
what somebody is charged is never below what was paid for them (C2). What is kept ready
beforehand is what it would cost to be alone in a transaction, twice: fees may rise until
the batch is made. Whoever's part would be more than that is left out of it, and waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relaybot.errors import Rejected
from wallet.money import MSAT_PER_SAT, Msat, format_sat
from wallet.onchain import DepositRules

PPM = 1_000_000
STUCK_SECONDS = 86_400
# Units of weight (BIP-141): a transaction without anything, two coins of the dearest form, change.
ALONE_WEIGHT = 44 + 2 * 272 + 172
_OUTPUT_BYTES = 9  # its amount, and how long its script is
_UNITS_PER_BYTE = 4
CAUTION = 2  # times as much as it costs now


@dataclass(frozen=True, slots=True)
class BatchRules:
    """The operator's rules (`onchain:`)."""

    batch_seconds: int  # payments are gathered for so long
    outputs_max: int  # in one transaction
    minimum_msat: Msat  # of a payment
    fee_ppm_max: int  # of what is paid by itself: more, and it waits for lower fees
    spend_confirmations: int  # of the coins it is paid with
    withdrawal_seconds: int  # for so long a withdrawal waits for its batch; then the money is balance again
    poll_seconds: int
    depth: DepositRules  # how many confirmations a sum needs, and how long it is watched
    send_seconds: int = 600  # what was prepared so long ago is not sent any more
    resend_seconds: int = 600  # what is in no block is sent again so often: mempools forget
    unseen_seconds: int = 60  # what the node does not list is sent again after so long
    stuck_seconds: int = STUCK_SECONDS  # sent so long ago and in no block: the operator is told


@dataclass(frozen=True, slots=True)
class Quote:
    """What is kept ready for the fee of a payment to one address, at the fees of now."""

    reserve_msat: Msat
    minimum_msat: Msat
    fee_ppm_max: int

    def check(self, amount: Msat) -> None:
        """Raise Rejected for a payment that is too small to be sent on the chain."""
        if amount < self.minimum_msat:
            least = format_sat(self.minimum_msat)
            raise Rejected("invalid", f"on-chain, at least {least} can be sent: smaller sums go by Lightning")

    def is_dear(self, amount: Msat) -> bool:
        """Tell whether a payment that nobody asked for now had better wait for lower fees."""
        return self.reserve_msat * PPM > amount * self.fee_ppm_max


def weight_of(script: str) -> int:
    """Return the weight of an output with this script, in hex."""
    return _UNITS_PER_BYTE * (_OUTPUT_BYTES + len(script) // 2)


def quote(script: str, *, feerate: int, rules: BatchRules) -> Quote:
    """Return what is kept ready for a payment; `feerate` is in sat per 1,000 units of weight."""
    sat = -(-CAUTION * feerate * (ALONE_WEIGHT + weight_of(script)) // 1_000)
    return Quote(Msat(sat * MSAT_PER_SAT), rules.minimum_msat, rules.fee_ppm_max)


def shares(fee_msat: int, weights: Sequence[int]) -> list[Msat]:
    """Return what each output is charged of a transaction's fee, rounded up."""
    whole = sum(weights)
    return [Msat(-(-fee_msat * weight // whole)) for weight in weights]
