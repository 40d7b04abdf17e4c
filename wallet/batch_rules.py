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
VBYTES_PER_1000_UNITS = 250  # BIP-141: four units of weight are one virtual byte
FEERATE_BLOCKS = {"urgent": 6, "normal": 12, "slow": 100}  # as Core Lightning's `feerate` parameters say it


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """What the operator pays for a place in a block; feerates are in sat per 1,000 units of weight."""

    blocks: int = 12  # within about so many a transaction shall be in a block
    feerate_min: int = 0  # less is not offered, however empty blocks are
    feerate_max: int | None = None  # above it nothing is made, and who waits goes on waiting

    def offered(self, estimate: int) -> int:
        """Return the feerate of a transaction where the node says `estimate`."""
        return max(estimate, self.feerate_min)

    def is_high(self, estimate: int) -> bool:
        """Tell whether nothing is sent at such fees."""
        return self.feerate_max is not None and self.offered(estimate) > self.feerate_max


def format_feerate(feerate: int) -> str:
    """Return a feerate for people, in sat per virtual byte, rounded up."""
    return f"{-(-feerate // VBYTES_PER_1000_UNITS):,} sat/vB"


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
    fees: FeePolicy = FeePolicy()
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
    feerate: int
    feerate_max: int | None  # where fees are higher: what they may be

    def check(self, amount: Msat) -> None:
        """Raise Rejected for a payment that is too small for the chain, or while fees are too high for any."""
        if self.feerate_max is not None:
            now, most = format_feerate(self.feerate), format_feerate(self.feerate_max)
            raise Rejected(
                "invalid",
                f"on-chain, fees are {now} now, and this service pays at most {most}: try later, or by Lightning",
            )
        if amount < self.minimum_msat:
            least = format_sat(self.minimum_msat)
            raise Rejected("invalid", f"on-chain, at least {least} can be sent: smaller sums go by Lightning")

    def is_dear(self, amount: Msat) -> bool:
        """Tell whether a payment that nobody asked for now had better wait for lower fees."""
        return self.feerate_max is not None or self.reserve_msat * PPM > amount * self.fee_ppm_max


def weight_of(script: str) -> int:
    """Return the weight of an output with this script, in hex."""
    return _UNITS_PER_BYTE * (_OUTPUT_BYTES + len(script) // 2)


def quote(script: str, *, feerate: int, rules: BatchRules) -> Quote:
    """Return what is kept ready for a payment; `feerate` is the node's, in sat per 1,000 units of weight."""
    offered = rules.fees.offered(feerate)
    sat = -(-CAUTION * offered * (ALONE_WEIGHT + weight_of(script)) // 1_000)
    too_high = rules.fees.feerate_max if rules.fees.is_high(feerate) else None
    return Quote(Msat(sat * MSAT_PER_SAT), rules.minimum_msat, rules.fee_ppm_max, offered, too_high)


def shares(fee_msat: int, weights: Sequence[int]) -> list[Msat]:
    """Return what each output is charged of a transaction's fee, rounded up."""
    whole = sum(weights)
    return [Msat(-(-fee_msat * weight // whole)) for weight in weights]
