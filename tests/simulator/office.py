"""What the operator does, beside a bot that may die over it: bonuses, card payments, disputes, refunds, switches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from handlers import cards
from handlers.bot import Bot
from handlers.cards import CardPayment, DisputeState
from handlers.refunds import plan_refunded
from relaybot.db.database import Row
from relaybot.errors import RelaybotError
from tests.simulator.cast import key_of
from tests.simulator.timeline import wait
from wallet.accounts import person
from wallet.ledger import Plan, Verdict
from wallet.money import Msat, from_sat
from wallet.switches import CLOSED, OPEN, OPERATOR, plan_pause, plan_resume, plan_withdrawals

if TYPE_CHECKING:
    from tests.simulator.script import Stage
    from tests.simulator.world import World

BONUS, PAYMENT, SMALL = from_sat(300), from_sat(1_500), from_sat(100)


@dataclass(slots=True)
class Payment:
    """A card payment, as the card company knows it."""

    name: str
    msat: int
    taken_msat: int = 0  # what it keeps, having taken it back
    busy: bool = False  # a dispute of it is not over


async def grant(world: World, name: str, number: int) -> None:
    """Have the operator give somebody promo money."""
    world.tell(f"{name} is given {BONUS} msat")
    world.facts.given[name] += BONUS
    to = person(key_of(name).pubkey)
    await until_done(world, lambda bot: cards.plan_bonus_given(bot, to, BONUS, f"test-{number}"))


async def buy_by_card(world: World, name: str, number: int, msat: Msat = PAYMENT) -> None:
    """Have somebody buy balance by card; not where referrers are, whose part then depends on the class."""
    if world.facts.referrers:
        return
    world.tell(f"{name} buys {msat} msat by card")
    payment = CardPayment(f"test-{number}", key_of(name).pubkey, msat, world.clock.now())
    world.facts.given[name] += msat
    world.facts.cards[payment.id] = Payment(name, msat, busy=True)
    await until_done(world, lambda bot: cards.plan_card_bought(bot, payment))
    world.facts.cards[payment.id].busy = False


async def dispute(stage: Stage) -> None:
    """Have somebody dispute a card payment or a part of it, and the card company decide; or refund it at once."""
    world, chance = stage.world, stage.chance
    good = [one for one, payment in world.facts.cards.items() if not payment.busy and not payment.taken_msat]
    if not good:
        stage.begin(buy_by_card(world, stage.somebody().name, chance.getrandbits(40)))
        return
    payment_id = max(good, key=world.auditor.spent_of) if chance.of(60) else chance.choice(good)
    payment = world.facts.cards[payment_id]
    part = Msat(payment.msat if chance.of(50) else chance.randrange(1, payment.msat))
    payment.busy = True
    stage.begin(_disputed(stage, payment_id, part, chance.seconds(60)))


async def _disputed(stage: Stage, payment_id: str, part: Msat, seconds: float) -> None:
    world, payment = stage.world, stage.world.facts.cards[payment_id]
    steps: tuple[DisputeState, ...] = stage.chance.choice(
        (
            (DisputeState.LOST,),
            (DisputeState.OPEN, DisputeState.LOST),
            (DisputeState.OPEN, DisputeState.WON),
            (DisputeState.OPEN, DisputeState.LOST, DisputeState.WON),
        )
    )
    for step in steps:
        world.tell(f"the card company of {payment.name}'s {payment_id}: {step.value}, {part} msat")
        await _followed(world, payment_id, step, part)
        if stage.chance.of(40):  # a debt is paid by what is bought by card, too
            await buy_by_card(world, payment.name, stage.chance.getrandbits(40), SMALL)
        await wait(seconds)
    if steps[-1] is DisputeState.LOST:
        if stage.chance.of(40):  # a second refund, or a part of the first that failed
            part = Msat(stage.chance.randrange(1, payment.msat + 1))
            world.tell(f"the card company of {payment.name}'s {payment_id}: in all it has taken {part} msat")
            await _followed(world, payment_id, DisputeState.LOST, part)
        payment.taken_msat = part
        if stage.chance.of(30):
            await until_done(world, lambda bot: _written_off(bot, payment_id))
    payment.busy = False


async def _followed(world: World, payment_id: str, seen: DisputeState, part: Msat) -> None:
    """Take one step after the other until there is none; what was done in a life that ended is not done again.

    No step takes more than is disputed now: a later one might give it back before anybody looks.
    """
    most = max(part, world.auditor.taken_of(payment_id))
    while await until_done(world, lambda bot: cards.plan_dispute(bot, payment_id, seen, part)) is Verdict.APPLIED:
        taken = world.auditor.taken_of(payment_id)
        if taken > most:
            world.auditor.found(f"of {payment_id} {taken} msat were taken, and {part} msat are disputed")


async def _written_off(bot: Bot, payment_id: str) -> Plan | None:
    try:
        return await cards.plan_written_off(bot, payment_id)
    except RelaybotError:  # nothing is owed for it
        return None


async def close_withdrawals(world: World, name: str, seconds: float) -> None:
    """Have the operator close every exit of somebody, and open them after a while."""
    if name in world.facts.closed:
        return
    world.facts.closed.add(name)
    for state in (CLOSED, OPEN):
        world.tell(f"{name}'s withdrawals: {state}")
        await until_done(world, partial(_switched, name, state))
        await world.outage(wait(seconds))
    world.facts.closed.discard(name)


async def _switched(name: str, state: str, bot: Bot) -> Plan | None:
    row = await bot.book.row("users", key_of(name).pubkey)
    if row is None or row["withdrawals"] == state:
        return None
    return plan_withdrawals(row, state=state, reason="a test", now=bot.clock.now())


async def refund(world: World, request_id: str) -> None:
    """Have the operator pay a delivered job back, out of the platform's own."""
    world.tell(f"the operator pays job {request_id[:6]} back")
    await until_done(world, lambda bot: plan_refunded(bot, request_id))
    world.facts.refunded.add(request_id)


async def pause(world: World, scope: str, seconds: float) -> None:
    """Have the operator pause something, and let it go on after a while."""
    if scope in world.facts.paused:
        return
    world.facts.paused.add(scope)

    async def paused(bot: Bot) -> Plan | None:
        return plan_pause(await _switch(bot, scope), reason="a test", by=OPERATOR, now=bot.clock.now())

    async def resumed(bot: Bot) -> Plan | None:
        return plan_resume(await _switch(bot, scope), by=OPERATOR, now=bot.clock.now())

    world.tell(f"the operator pauses {scope}")
    await until_done(world, paused)
    await world.outage(wait(seconds))
    await until_done(world, resumed)
    world.tell(f"the operator lets {scope} go on")
    world.facts.paused.discard(scope)


async def _switch(bot: Bot, scope: str) -> Row:
    row = await bot.book.row("pauses", scope)
    assert row is not None, f"{scope} cannot be paused"
    return row


async def until_done(world: World, decide: Callable[[Bot], Awaitable[Plan | None]]) -> Verdict:
    """Have the bot decide and apply something, in one life or another; return what the book says."""
    while True:
        life = world.life
        if life is not None and life.bot is not None and life.alive:
            try:
                answer = await life.visit(life.bot.book.decide(partial(decide, life.bot)))
            except RelaybotError:
                answer = None
            if answer is not None and answer.done:
                return answer.verdict
        await wait(2)
