"""Money on its way out on the chain: payouts and withdrawals, gathered and paid in one transaction.

Theory of operation. A payment to a bitcoin address holds its amount and a reserve for its
part of the fee first (`opening.py`), and waits for the next batch. Then, step by step:

    gather    Plan: a batch, and who is in it; nobody is in two
    prepare   one call (`txprepare`); Plan: its id, its coins and its PSBT are stored
    send      Plan: the batch is `sent`; commit; only then the call that signs and broadcasts
    look      the node's list says in which block it stands; deep enough: it is booked, paid

There is one transaction for a batch and never a second one: whatever is not known, the
same PSBT is signed and sent again, out of the same coins, and has the same id. So nothing
can be paid twice, and a crash anywhere costs nothing but time. Before `send` is committed
nothing can have left, for only the call after it signs: such a batch may be put aside, its
coins freed (`txdiscard`) and its payments gathered anew. After it a batch is never given up
by itself. What the chain takes back is sent again; what is booked stays booked, as in the
node's own books: nobody but us can spend these coins otherwise.

A crash between `txprepare` and its Plan leaves coins reserved at the node for 72 blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from relaybot.clock import Clock
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles
from wallet.batch_plans import (
    plan_buried,
    plan_gathered,
    plan_left_out,
    plan_moved,
    plan_prepared,
    plan_seen,
    plan_sent,
    plan_sent_again,
    plan_settled,
)
from wallet.batch_preparing import DEAR, HIGH, LeftOut, Preparing, Scripts
from wallet.batch_rules import CAUTION, BatchRules, Quote, quote, shares, weight_of
from wallet.bolt11_invoice import CURRENCIES
from wallet.book import Book
from wallet.chain import Chain
from wallet.chain_address import parse_chain_address
from wallet.ledger import Change, Plan, Put, Verdict
from wallet.lightning import Lightning
from wallet.money import Msat
from wallet.obstacles import Obstacles
from wallet.opening import PayoutRules
from wallet.payout_notices import Tell, confirmed_notice, notice_of, sent_notice, stuck_notice, tell_nobody
from wallet.payout_plans import plan_paused, plan_stopped
from wallet.states import BatchState, PayoutKind, Rail
from wallet.targets import rail_of, targets_of

log = structlog.get_logger()

PUT_ASIDE = "the transaction was put aside before it was sent: it goes into the next one"
DAY_FULL = "the day's limit of all payouts is reached: it goes on later"
NO_TARGET = "there is no payout target"
OWN = "the address is one of this service: it stays balance"
_SENT = {BatchState.SENT.value, BatchState.CONFIRMED.value}
_OPEN = "SELECT * FROM batches WHERE state NOT IN ('buried', 'discarded') ORDER BY created_at, id"
_MEMBERS = (
    "SELECT * FROM payouts WHERE attempt = :batch AND rail = 'onchain' AND state = :state ORDER BY created_at, id"
)
_WAITING = """
SELECT * FROM payouts WHERE (next_at <= :now OR next_at > :latest) AND rail = 'onchain' AND state IN ('open', 'waiting')
ORDER BY created_at, id LIMIT :limit
"""


class Quotes:
    """What a payment to an address would cost now."""

    def __init__(self, lightning: Lightning, chain: Chain, rules: BatchRules) -> None:
        self._lightning = lightning
        self._chain = chain
        self._rules = rules

    async def quote(self, address: str) -> Quote:
        """Return what must be kept ready. Unavailable if nobody knows what fees are now."""
        currency = CURRENCIES[(await self._lightning.info()).network]
        script = parse_chain_address(address, currency=currency).script
        return quote(script, feerate=await self._chain.feerate(self._rules.fees.blocks), rules=self._rules)


@dataclass(frozen=True, slots=True)
class _Chain:
    """Where transactions of ours stand, as it was in one moment; those that the node does not list are left out."""

    tip: int
    heights: Mapping[str, int]


class Batches:
    """The life of batches; `step` is called by the service's loop, in one process at a time."""

    def __init__(
        self,
        book: Book,
        lightning: Lightning,
        chain: Chain,
        clock: Clock,
        *,
        rules: PayoutRules,
        batch_rules: BatchRules,
        tell: Tell = tell_nobody,
        stumbles: Stumbles | None = None,
    ) -> None:
        self._stumbles = stumbles or Stumbles(clock)
        self._book = book
        self._lightning = lightning
        self._chain = chain
        self._clock = clock
        self._rules = replace(rules, withdrawal_seconds=batch_rules.withdrawal_seconds)
        self._batch = batch_rules
        self._tell = tell
        self._obstacles = Obstacles(book, lightning, clock, rules)
        self._preparing = Preparing(lightning, chain, batch_rules)
        self._later: dict[str, int] = {}  # when to look at a batch again: a pause, no fact

    async def step(self) -> bool:
        """Bring on every batch by one step, and gather a new one if it is time; tell whether there is more to do."""
        now, longest = self._clock.now(), self._batch.poll_seconds
        batches = await self._book.database.fetch(_OPEN)
        due = [batch for batch in batches if not now < self._later.get(batch["id"], 0) <= now + longest]
        chain = await self._seen_now([batch["txid"] for batch in due if batch["state"] in _SENT])
        moved = [await self._bring_on_or_wait(batch, chain) for batch in due]
        return any(moved) or await self._stumbles.past("batches", "gather", self._gather, otherwise=False)

    async def _seen_now(self, txids: Sequence[str]) -> _Chain | None:
        """Return where transactions stand, asked for once for all of them; None if nothing is proved now."""
        if not txids:
            return None
        try:
            before = await self._lightning.info()
            heights = await self._chain.heights(txids)
            after = await self._lightning.info()
        except Unavailable as error:  # what is sent stays sent, and is asked about again
            log.warning("batch_unavailable", reason=str(error))
            return None
        is_still = before == after and after.synced  # else a block came or went meanwhile
        return _Chain(after.block_height, heights) if is_still else None

    async def _bring_on_or_wait(self, batch: Row, chain: _Chain | None) -> bool:
        try:
            work = partial(self._bring_on, batch, chain)
            moved = await self._stumbles.past("batches", batch["id"], work, otherwise=False)
        except Unavailable as error:
            log.warning("batch_unavailable", batch=batch["id"], reason=str(error))
            moved = False
        if not moved:
            self._later[batch["id"]] = self._clock.now() + self._batch.poll_seconds
        return moved

    async def _bring_on(self, batch: Row, chain: _Chain | None) -> bool:
        match BatchState(batch["state"]):
            case BatchState.GATHERED:
                return await self._prepare(batch)
            case BatchState.PREPARED:
                return await self._send(batch)
            case BatchState.SENT | BatchState.CONFIRMED:
                return chain is not None and await self._look(batch, chain)
            case BatchState.BURIED | BatchState.DISCARDED:  # pragma: no branch  (the type checker knows no other)
                return False

    # Gathering

    async def _gather(self) -> bool:
        """Take who waits into a new batch, if the oldest has waited long enough or there are enough of them."""
        now, limit = self._clock.now(), self._batch.outputs_max
        open_ones = await self._book.database.fetch(_OPEN)
        if any(row["state"] in {BatchState.GATHERED.value, BatchState.PREPARED.value} for row in open_ones):
            return False
        latest = now + max(self._rules.retry_seconds_max, self._batch.batch_seconds)  # beyond: the clock was ahead
        waiting = await self._book.database.fetch(_WAITING, now=now, latest=latest, limit=limit)
        oldest = min((row["created_at"] for row in waiting), default=now)
        if not waiting or (len(waiting) < limit and oldest + self._batch.batch_seconds > now):
            return False
        chosen = await self._chosen(waiting)
        if not chosen:
            return False
        count = (await self._book.database.fetch("SELECT COUNT(*) AS n FROM batches"))[0]["n"]
        answer = await self._book.apply(plan_gathered(str(count + 1), chosen, self._batch, now))
        log.info("batch_gathered", batch=str(count + 1), payments=len(chosen), answer=answer.verdict.value)
        return answer.verdict is Verdict.APPLIED

    async def _chosen(self, waiting: Sequence[Row]) -> list[tuple[Row, str]]:
        """Return which payouts may go now, each with its address; the others are stopped or wait, and say why."""
        chosen: list[tuple[Row, str]] = []
        room, scripts = await self._obstacles.room_today(), Scripts(self._lightning)
        feerate = await self._chain.feerate(self._batch.fees.blocks)
        is_high = self._batch.fees.is_high(feerate)
        if is_high:
            log.warning("fees_high", feerate=feerate, allowed=self._batch.fees.feerate_max, payments=len(waiting))
        for payout in waiting:
            address = await self._address(payout)
            end = await self._end(payout, address)
            if end is not None or address is None:
                await self._stop(payout, end or NO_TARGET)
                continue
            alone = quote(await scripts.of(address), feerate=feerate, rules=self._batch)
            obstacle = HIGH if is_high else await self._obstacle_now(payout, alone, room)
            if obstacle is not None:
                await self._pause(payout, obstacle)
                continue
            room = Msat(room - payout["amount_msat"])
            chosen.append((payout, address))
        return chosen

    async def _end(self, payout: Row, address: str | None) -> str | None:
        """Return why a payout is given up before anything of it was sent."""
        closed = await self._obstacles.closed(payout["pubkey"])
        if closed is not None:
            return closed
        return OWN if address is not None and await self._book.row("addresses", address) is not None else None

    async def _obstacle_now(self, payout: Row, alone: Quote, room: Msat) -> str | None:
        """Return why a payout waits; `alone` is what it would cost now, `room` what may go out today."""
        obstacle = await self._obstacles.switched_off(payout) or await self._obstacles.cooling(payout)
        if obstacle is not None:
            return obstacle
        if payout["amount_msat"] > room:
            return DAY_FULL
        return DEAR if alone.reserve_msat > CAUTION * payout["reserve_msat"] else None

    async def _address(self, payout: Row) -> str | None:
        """Return where it goes: a withdrawal where it was said, a payout where its owner wants to be paid first."""
        if PayoutKind(payout["kind"]) is PayoutKind.WITHDRAWAL:
            return str(payout["target"])
        targets = await targets_of(self._book, payout["pubkey"])
        return targets[0] if targets and rail_of(targets[0]) is Rail.ONCHAIN else None

    async def _stop(self, payout: Row, reason: str) -> None:
        log.warning("payout_stopped", payout=payout["id"], reason=reason)
        plan = plan_stopped(payout, reason, self._clock.now())
        if reason == NO_TARGET:  # they may want it by Lightning now
            look = Put("users", payout["pubkey"], {"payout_check_at": self._clock.now()})
            plan = replace(plan, changes=(*plan.changes, look))
        await self._apply_told(payout, plan)

    async def _pause(self, payout: Row, reason: str) -> None:
        log.info("payout_waits", payout=payout["id"], reason=reason)
        await self._apply_told(payout, plan_paused(payout, reason, self._rules, self._clock.now()))

    # Preparing and sending

    async def _members(self, batch: Row) -> Sequence[Row]:
        state = "paid" if batch["state"] == BatchState.CONFIRMED.value else "paying"
        return await self._book.database.fetch(_MEMBERS, batch=batch["id"], state=state)

    async def _prepare(self, batch: Row) -> bool:
        payouts = await self._members(batch)
        if not (await self._lightning.info()).synced:
            return False
        prepared = await self._preparing.prepare(payouts)
        if isinstance(prepared, LeftOut):
            return await self._leave_out(batch, prepared.payouts, self._rules.retry_seconds_max, prepared.reason) and (
                not prepared.is_final or await self._give_up(prepared)
            )
        answer = await self._book.apply(plan_prepared(batch, prepared, self._clock.now()))
        if answer.verdict is not Verdict.APPLIED:  # another process was faster: its transaction is the one
            await self._chain.discard(prepared.txid)
        return answer.done

    async def _give_up(self, left: LeftOut) -> bool:
        """Stop those that no waiting helps: the money is balance again."""
        rows = await self._book.database.rows_by_id("payouts", [payout["id"] for payout in left.payouts])
        for payout in rows.values():
            await self._stop(payout, left.reason)
        return True

    async def _leave_out(self, batch: Row, leave: Sequence[Row], pause: int, reason: str) -> bool:
        for payout in leave:
            log.info("payout_waits", payout=payout["id"], reason=reason)
        gone = {payout["id"] for payout in leave}
        stay = [one for one in await self._members(batch) if one["id"] not in gone]
        plan = plan_left_out(batch, stay, leave, reason=reason, pause_seconds=pause, now=self._clock.now())
        return (await self._book.apply(plan)).done

    async def _send(self, batch: Row) -> bool:
        now, payouts = self._clock.now(), await self._members(batch)
        if not (await self._lightning.info()).synced:
            return False
        late = not 0 <= now - batch["updated_at"] < self._batch.send_seconds
        if late or any([await self._obstacle(one) for one in payouts]):
            await self._chain.discard(batch["txid"])  # nothing has left, for nothing was signed: it is certain
            return await self._leave_out(batch, payouts, 0, PUT_ASIDE)
        answer = await self._book.apply(plan_sent(batch, payouts, now))
        if answer.verdict is Verdict.APPLIED:  # `already`: another process did it, and makes the call
            await self._broadcast(batch)
        return answer.verdict is Verdict.APPLIED

    async def _obstacle(self, payout: Row) -> str | None:
        if await self._address(payout) != payout["target"]:
            return "the target was changed before it was sent"
        return await self._obstacles.closed(payout["pubkey"]) or await self._obstacles.switched_off(payout)

    async def _broadcast(self, batch: Row) -> None:
        """Make the call that signs and sends; the batch is `sent`, and that is committed, before."""
        said = await self._chain.send(batch["txid"], batch["psbt"])
        log.info("transaction_sent", batch=batch["id"], txid=batch["txid"], fee_msat=batch["fee_msat"], said=said)

    # Looking

    async def _look(self, batch: Row, chain: _Chain) -> bool:
        """Take what the node says of a transaction: the one finish after the call, after a restart and by asking."""
        height, now = chain.heights.get(batch["txid"]), self._clock.now()
        if height is None:
            return await self._again(batch, after_seconds=self._batch.unseen_seconds)
        if not batch["seen"]:
            told: list[Change] = []
            for payout in await self._members(batch):
                told += await self._tell(sent_notice(payout, batch["txid"]))
            return (await self._book.apply(plan_seen(batch, told, now))).done
        if height != batch["height"]:
            if batch["height"]:
                log.warning("transaction_moved", batch=batch["id"], txid=batch["txid"], height=height)
            return (await self._book.apply(plan_moved(batch, height, now))).done
        if height == 0:
            await self._tell_if_stuck(batch)
            return await self._again(batch, after_seconds=self._batch.resend_seconds)
        return await self._deeper(batch, chain.tip - height + 1)

    async def _deeper(self, batch: Row, depth: int) -> bool:
        now = self._clock.now()
        if batch["state"] == BatchState.SENT.value and depth >= batch["needs"]:
            return await self._settle(batch)
        if batch["state"] == BatchState.CONFIRMED.value and depth > self._batch.depth.watch_blocks:
            return (await self._book.apply(plan_buried(batch, now))).done
        return False

    async def _settle(self, batch: Row) -> bool:
        payouts, scripts = await self._members(batch), Scripts(self._lightning)
        weights = {one["id"]: weight_of(await scripts.of(one["target"])) for one in payouts}
        charges = shares(batch["fee_msat"], list(weights.values()))
        told: list[Change] = []
        for payout, charged in zip(payouts, charges, strict=True):
            told += await self._tell(confirmed_notice(payout, charged, batch["txid"]))
        log.info("transaction_confirmed", batch=batch["id"], txid=batch["txid"], payments=len(payouts))
        return (await self._book.apply(plan_settled(batch, payouts, weights, told, self._clock.now()))).done

    async def _again(self, batch: Row, *, after_seconds: int) -> bool:
        """Send the same transaction again if it was not for a while; always the answer that there is no more to do."""
        now = self._clock.now()
        if 0 <= now - batch["sent_at"] < after_seconds:
            return False
        answer = await self._book.apply(plan_sent_again(batch, now))
        if answer.verdict is Verdict.APPLIED:
            await self._broadcast(batch)
        return False

    async def _tell_if_stuck(self, batch: Row) -> None:
        """Tell owners and operator, once, of a transaction that is in no block for too long."""
        key, age = f"transaction/{batch['txid']}/stuck", self._clock.now() - batch["created_at"]
        if batch["state"] != BatchState.SENT.value or age < self._batch.stuck_seconds:
            return
        if await self._book.row("plans", key) is not None:
            return
        log.warning("transaction_stuck", batch=batch["id"], txid=batch["txid"], seconds=age)
        told = [change for one in await self._members(batch) for change in await self._tell(stuck_notice(one))]
        await self._book.apply(Plan(key, changes=tuple(told)))

    async def _apply_told(self, payout: Row, plan: Plan) -> None:
        notice = notice_of(payout, plan)
        told = () if notice is None else await self._tell(notice)
        await self._book.apply(replace(plan, changes=(*plan.changes, *told)))
