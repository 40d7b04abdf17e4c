"""Bitcoin that arrives on the chain: an address for each user, and what is seen there, block by block.

Theory of operation. The node's list of outputs says what is in the chain now, and is all that
is believed. After each block it is read whole: an output to an address of ours becomes a row
in `deposits`, and each row takes the steps that `wallet/onchain.py` decides:

    seen in a block ──► pending ──► credited ──► buried
                           │ ▲           │
                     lost ◄┘ └── reversed ◄─ (the chain took it back; it may return)

Each step is one Plan that guards the row's version, so an output that is seen by two
processes, or again after a restart, is credited once. The list is read between two looks
at the height: if a block came or went meanwhile, or the node lags, it is read again later.
A reorganisation is over when the chain is as long as it ever was (the cursor `chain`);
before that, blocks are only missing and nothing is reversed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from handlers.bot import Bot, check_payouts, written
from handlers.credits import clear_debts, plan_company_fed, plan_fed
from relaybot.db.database import Row
from relaybot.errors import Rejected
from wallet.accounts import NODE_ONCHAIN, company, owed, user
from wallet.book import Decide
from wallet.chain import Output, OutputState
from wallet.companies import Topup, plan_topup_reversed
from wallet.ledger import Change, Insert, Plan, Update, Values, Verdict
from wallet.money import Msat, format_sat
from wallet.onchain import (
    Deposit,
    Received,
    confirmations,
    next_step,
    plan_fee,
    plan_fee_reversed,
    plan_kept,
    plan_reversed,
    plan_unkept,
)
from wallet.purses import purse_of
from wallet.states import COIN, CoinState, CoinStep

log = structlog.get_logger()

CURSOR = "chain"  # the greatest height that was seen


class Deposits:
    """Follow the chain, block by block."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._rules = bot.deposit_rules

    async def follow(self) -> bool:
        """Take in what the chain shows now, then wait for the next block; always asks to be called again."""
        height = await self.look()
        seconds = self._bot.config.onchain.poll_seconds  # a reorganisation to the same height wakes nobody
        await self._bot.chain.wait_for_block(height + 1, timeout_seconds=seconds)
        return True

    async def look(self) -> int:
        """Take in what the chain shows now; return its height."""
        bot = self._bot
        before = await bot.lightning.info()
        outputs = await bot.chain.outputs()
        after = await bot.lightning.info()
        if before != after or not after.synced:
            log.info("chain_moving", height=after.block_height, synced=after.synced)
            return before.block_height
        tip = after.block_height
        cursor = await bot.book.row("cursors", CURSOR)
        is_whole = cursor is None or tip >= cursor["value"]
        await self._take_in(outputs, tip, is_whole=is_whole)
        if cursor is None or tip > cursor["value"]:
            moved = written("cursors", CURSOR, cursor, {"value": tip, "mark": ""})
            version = cursor["version"] if cursor is not None else 0
            await bot.book.apply(Plan(f"cursors/{CURSOR}/{version}", changes=(moved,)))
        await clear_debts(bot)
        return tip

    async def _take_in(self, outputs: Sequence[Output], tip: int, *, is_whole: bool) -> None:
        database = self._bot.book.database
        addresses = await database.rows_by_id("addresses", {output.address for output in outputs})
        ours = [output for output in outputs if output.address in addresses]
        known = await database.rows_by_id("deposits", [output.outpoint for output in ours])
        heights = {
            output.outpoint: _height_of(output, known.get(output.outpoint), tip)
            for output in ours
            if output.state is not OutputState.UNCONFIRMED
        }
        needs = confirmations(_received(ours, heights, known), tip=tip, rules=self._rules)
        for output in ours:
            row, height = known.get(output.outpoint), heights.get(output.outpoint)
            if row is not None and row["state"] == CoinState.BURIED.value:
                continue
            if row is None and height is None:
                continue  # it was never in the chain while we looked
            count = needs[height] if height is not None else 0
            await self._bring_forward(partial(self._decide, output, needs=count, tip=tip, is_whole=is_whole))
        await self._report_forgotten({output.outpoint for output in outputs})

    async def _bring_forward(self, decide: Decide) -> None:
        """Take one step after the other, until there is none left to take."""
        while True:
            answer = await self._bot.book.decide(decide)
            assert answer.done, answer.reason
            if answer.verdict is not Verdict.APPLIED:
                return

    async def _report_forgotten(self, listed: set[str]) -> None:
        """Tell the operator of deposits that the node does not list any more: it was set back, perhaps."""
        rows = await self._bot.book.database.fetch(
            "SELECT id FROM deposits WHERE state NOT IN ('buried', 'lost', 'reversed') ORDER BY id"
        )
        forgotten = [row["id"] for row in rows if row["id"] not in listed]
        problem = f"the node lists {len(forgotten)} deposits no more, such as {forgotten[0]}" if forgotten else None
        self._bot.alarms.report("deposits", problem)

    async def _decide(self, output: Output, *, needs: int, tip: int, is_whole: bool) -> Plan | None:
        row = await self._bot.book.row("deposits", output.outpoint)
        if row is None:
            return await self._plan_seen(output, needs=needs, tip=tip)
        deposit = Deposit.of_row(row)
        in_chain = output.state is not OutputState.UNCONFIRMED
        needs_more = deposit.state is CoinState.PENDING and needs > deposit.needs
        if output.height is not None and (output.height != deposit.height or needs_more):
            values: Values = {"height": output.height, "needs": max(needs, deposit.needs)}
            return Plan(f"{deposit.cause}/moved/{deposit.version}", changes=(self._changed(deposit, **values),))
        step = next_step(deposit, in_chain=in_chain, tip=tip, is_whole=is_whole, rules=self._rules)
        return None if step is None else await self._plan_step(deposit, step, tip)

    async def _plan_seen(self, output: Output, *, needs: int, tip: int) -> Plan | None:
        bot = self._bot
        address = await bot.book.row("addresses", output.address)
        assert address is not None, f"{output.address} is ours"
        now, owner = bot.clock.now(), address["owner"]
        height = tip if output.height is None else output.height  # spent before we saw it: it counts from here
        deposit = Deposit(
            output.outpoint,
            0,
            owner,
            output.address,
            output.amount_msat,
            Msat(0),
            CoinState.PENDING,
            height,
            needs,
            now,
            address["company"],
        )
        row: Values = {
            "owner": owner,
            "company": deposit.company,
            "address": output.address,
            "amount_msat": output.amount_msat,
            "fee_msat": 0,
            "state": deposit.state.value,
            "height": height,
            "needs": needs,
            "created_at": now,
            "updated_at": now,
        }
        changes: list[Change] = [Insert("deposits", output.outpoint, row)]
        if address["used_at"] is None:
            changes.append(Update("addresses", address["id"], {"used_at": now}, expect={"version": address["version"]}))
        if deposit.depth(tip) < needs and output.amount_msat >= self._rules.minimum_msat:
            arriving = (
                f"{format_sat(output.amount_msat)} are arriving on-chain: they are yours after {needs} confirmations,"
                f" {deposit.depth(tip)} so far."
            )
            changes.append(bot.message(owner, arriving))
        log.info("deposit_seen", deposit=output.outpoint, owner=owner, amount_msat=output.amount_msat, needs=needs)
        return Plan(f"{deposit.cause}/seen", changes=tuple(changes))

    async def _plan_step(self, deposit: Deposit, step: CoinStep, tip: int) -> Plan:
        bot, amount = self._bot, format_sat(deposit.amount_msat)
        log.info("deposit", deposit=deposit.id, owner=deposit.owner, step=step.value, height=tip)
        key = f"{deposit.cause}/{step.value}/{deposit.version}"
        match step:
            case CoinStep.CREDIT:
                return await self._plan_credit(deposit, key)
            case CoinStep.KEEP:
                minimum = format_sat(self._rules.minimum_msat)
                kept = bot.message(
                    deposit.owner,
                    f"{amount} arrived on-chain, less than the minimum of {minimum}: they cannot be credited.",
                )
                told = (kept,) if self._is_told(deposit) else ()
                return plan_kept(deposit).plan(key, self._stepped(deposit, step), *told)
            case CoinStep.LOSE:
                lost = bot.message(
                    deposit.owner,
                    f"The {amount} that were arriving on-chain are in no block any more, and count no more.",
                )
                told = (lost,) if self._is_told(deposit) else ()
                return Plan(key, changes=(self._stepped(deposit, step), *told))
            case CoinStep.REVERSE:
                return await self._plan_reverse(deposit, key)
            case CoinStep.RETURN | CoinStep.BURY:  # pragma: no branch  (the type checker knows no other)
                return Plan(key, changes=(self._stepped(deposit, step),))

    async def _plan_credit(self, deposit: Deposit, key: str) -> Plan:
        bot, fee = self._bot, self._rules.fee_msat
        amount = Msat(deposit.amount_msat - fee)
        if deposit.company:
            fed = await plan_company_fed(
                bot, deposit.cause, deposit.company, deposit.owner, amount, source=NODE_ONCHAIN
            )
        else:
            fed = await plan_fed(bot, deposit.owner, amount, "deposit", source=NODE_ONCHAIN)
        journal = fed + plan_fee(fee)
        arrived = format_sat(amount)
        less = f", {format_sat(fee)} of fee taken off" if fee else ""
        whose = deposit.company or "your balance"
        told = bot.message(deposit.owner, f"{arrived} arrived on-chain{less}: {whose} is topped up.")
        return journal.plan(key, self._stepped(deposit, CoinStep.CREDIT, fee_msat=fee), told)

    async def _plan_reverse(self, deposit: Deposit, key: str) -> Plan:
        """Take back what was booked. What is left of the balance goes, and not a msat below zero: the rest is owed."""
        bot, stepped = self._bot, self._stepped(deposit, CoinStep.REVERSE)
        if deposit.state is CoinState.KEPT:
            return plan_unkept(deposit).plan(key, stepped)
        if deposit.company:
            topup = await bot.book.row("company_topups", deposit.cause)
            assert topup is not None, f"{deposit.cause} was credited to {deposit.company}"
            purse = await purse_of(bot.book.database, company(deposit.company))
            journal = plan_topup_reversed(Topup.of_row(topup), NODE_ONCHAIN, purse.has) + plan_fee_reversed(deposit)
        else:
            journal = plan_reversed(deposit, has_msat=Msat(await bot.book.balance(user(deposit.owner))))
        debt = sum(move.amount_msat for move in journal.transfers if move.debit == owed(deposit.owner))
        spent = (
            f" {format_sat(debt)} of them were spent: you owe them, and your account rests until they are there again."
            " A top-up clears it."
            if debt
            else ""
        )
        text = f"The chain has taken back the {format_sat(deposit.amount_msat)} that had arrived on-chain.{spent}"
        log.warning("deposit_reversed", deposit=deposit.id, owner=deposit.owner, owed_msat=debt)
        # their row is written, too: a withdrawal that was decided before is decided again
        owner = check_payouts([deposit.owner], bot.clock.now())
        return journal.plan(key, stepped, *owner, bot.message(deposit.owner, text))

    def _is_told(self, deposit: Deposit) -> bool:
        """Tell whether its owner hears of a deposit that is no balance: of dust nobody does."""
        return deposit.amount_msat >= self._rules.dust_msat

    def _stepped(self, deposit: Deposit, step: CoinStep, **values: int) -> Update:
        return self._changed(deposit, state=COIN.after(deposit.state, step).value, **values)

    def _changed(self, deposit: Deposit, **values: int | str | None) -> Update:
        now = self._bot.clock.now()
        return Update("deposits", deposit.id, {**values, "updated_at": now}, expect={"version": deposit.version})


# ---- addresses, and what is on its way


async def deposit_address(bot: Bot, owner: str, org: str = "") -> tuple[str, tuple[Change, ...]]:
    """Return the address at which `owner` may deposit now, for themselves or for a company, and the row of a new one.

    Rejected if deposits are switched off, Unavailable if the node gives no address now.
    """
    if not bot.config.onchain.enabled:
        raise Rejected("invalid", "this service takes no bitcoin on-chain: top up by Lightning")
    rows = await bot.book.database.fetch(
        "SELECT id FROM addresses WHERE owner = :owner AND company = :org AND used_at IS NULL"
        " ORDER BY created_at, id LIMIT 1",
        owner=owner,
        org=org,
    )
    if rows:
        return rows[0]["id"], ()
    address = await bot.chain.new_address()
    values: Values = {"owner": owner, "company": org, "used_at": None, "created_at": bot.clock.now()}
    return address, (Insert("addresses", address, values),)


async def arriving(bot: Bot, owner: str) -> list[str]:
    """Return, in words, each deposit for somebody's own balance that does not count yet."""
    rows = await bot.book.database.fetch(
        "SELECT * FROM deposits WHERE owner = :owner AND company = '' AND state = 'pending' ORDER BY created_at, id",
        owner=owner,
    )
    cursor = await bot.book.row("cursors", CURSOR)
    tip = cursor["value"] if cursor is not None else 0
    deposits = [Deposit.of_row(row) for row in rows]
    return [
        f"{format_sat(deposit.amount_msat)} ({deposit.depth(tip)} of {deposit.needs} confirmations)"
        for deposit in deposits
    ]


def _height_of(output: Output, row: Row | None, tip: int) -> int:
    """Return the block of an output that is in the chain; spent before we saw it, it counts from now."""
    if output.height is not None:
        return output.height
    return int(row["height"]) if row is not None else tip


def _received(
    outputs: Sequence[Output], heights: Mapping[str, int], known: Mapping[str, Row]
) -> defaultdict[int, Received]:
    """Return what each block pays our users; what falls, if the chain takes it back."""
    blocks: defaultdict[int, Received] = defaultdict(Received)
    for output in outputs:
        if output.outpoint in heights:
            received, row = blocks[heights[output.outpoint]], known.get(output.outpoint)
            received.msat += output.amount_msat
            if row is not None and row["state"] == CoinState.CREDITED.value:
                received.credited_msat += output.amount_msat
    return blocks
