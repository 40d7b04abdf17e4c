"""The transaction of a batch: made once, by the node, or the word of who cannot be in it.

The node makes it of all payments or of none. Where it has too few coins, the largest payment
waits; where fees have risen, whoever would pay more than was kept ready. Where it refuses a
payment, that one is searched for and must not stop the others: it is tried alone, and so is a
payment to the node itself, for a node that refuses whatever it is asked proves nothing. What
is tried out is discarded at once; nothing of it was signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from wallet.batch_rules import BatchRules, shares, weight_of
from wallet.bolt11_invoice import CURRENCIES
from wallet.chain import TOO_FEW_COINS, Chain, Payment, Prepared
from wallet.chain_address import parse_chain_address
from wallet.lightning import Lightning
from wallet.money import Msat

log = structlog.get_logger()

NO_COINS = "the node's wallet has too few coins now: it goes on when there are some"
DEAR = "fees are higher than what is kept ready for them: it goes on when they fall"
HIGH = "fees are higher than this service pays: it goes on when they fall"
REFUSED = "the node refuses to pay to this address"
CROWDED = "the node refuses the transaction as a whole: it goes into another one"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Who cannot be in the transaction, and why; `is_final` says that waiting helps nobody."""

    payouts: Sequence[Row]
    reason: str
    is_final: bool = False


class Scripts:
    """Reads addresses of our node's network as scripts; the network is asked for once."""

    def __init__(self, lightning: Lightning) -> None:
        self._lightning = lightning
        self._currency = ""

    async def of(self, address: str) -> str:
        """Return what an output to this address, which was read before, says."""
        if not self._currency:
            self._currency = CURRENCIES[(await self._lightning.info()).network]
        return parse_chain_address(address, currency=self._currency).script


class Preparing:
    """Lets the node make one transaction for several payouts."""

    def __init__(self, lightning: Lightning, chain: Chain, rules: BatchRules) -> None:
        self._lightning = lightning
        self._chain = chain
        self._rules = rules

    async def prepare(self, payouts: Sequence[Row]) -> Prepared | LeftOut:
        """Return the transaction that pays all of them, or who cannot be in it. Unavailable: nobody knows now."""
        scripts, fees = Scripts(self._lightning), self._rules.fees
        estimate = await self._chain.feerate(fees.blocks)
        if fees.is_high(estimate):  # they rose since it was gathered
            return LeftOut(payouts, HIGH)
        feerate = fees.offered(estimate)
        payments = [
            Payment(one["target"], await scripts.of(one["target"]), Msat(one["amount_msat"])) for one in payouts
        ]
        try:
            prepared = await self._made(payments, feerate)
        except Rejected as refusal:
            if refusal.reason == TOO_FEW_COINS:
                largest = max(payouts, key=lambda one: (one["amount_msat"], one["id"]))
                log.warning("coins_low", amount_msat=sum(payment.amount_msat for payment in payments))
                return LeftOut([largest], NO_COINS)
            return await self._refused(payouts, payments, feerate)
        charges = shares(prepared.fee_msat, [weight_of(payment.script) for payment in payments])
        dear = [one for one, part in zip(payouts, charges, strict=True) if part > one["reserve_msat"]]
        if dear:
            await self._chain.discard(prepared.txid)
            return LeftOut(dear, DEAR)
        return prepared

    async def _made(self, payments: Sequence[Payment], feerate: int) -> Prepared:
        return await self._chain.prepare(payments, feerate=feerate, confirmations=self._rules.spend_confirmations)

    async def _is_refused(self, payments: Sequence[Payment], feerate: int) -> bool:
        """Tell whether the node refuses these; for want of coins is no such refusal."""
        try:
            prepared = await self._made(payments, feerate)
        except Rejected as refusal:
            return refusal.reason != TOO_FEW_COINS
        await self._chain.discard(prepared.txid)
        return False

    async def _refused(self, payouts: Sequence[Row], payments: Sequence[Payment], feerate: int) -> LeftOut:
        """Return the one that the node refuses; where each alone is fine, half of them."""
        own = await self._chain.new_address()
        script = await Scripts(self._lightning).of(own)
        if await self._is_refused([Payment(own, script, self._rules.minimum_msat)], feerate):
            raise Unavailable("lightning node: txprepare: it refuses whatever it is asked")
        first, behind = 0, len(payments)
        while behind - first > 1:  # half of what is left, as long as the refused one is in it
            middle = (first + behind) // 2
            if await self._is_refused(payments[first:middle], feerate):
                behind = middle
            else:
                first = middle
        if await self._is_refused(payments[first:behind], feerate):
            log.warning("address_refused", payout=payouts[first]["id"])
            return LeftOut([payouts[first]], REFUSED, is_final=True)
        return LeftOut(payouts[len(payouts) // 2 :], CROWDED)
