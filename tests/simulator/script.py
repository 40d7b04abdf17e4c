"""The script of a story: what people do and what goes wrong, drawn from the seed, then a quiet evening.

Every seed has its own taste: some mishaps never happen in it, others often (so rare mixtures are met at all).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from relaybot.nostr import nip19
from relaybot.simulator.network import SERVICE_NODE
from relaybot.simulator.scripts import Outcome, Script
from tests.simulator import coins, company, evening, gifts, mishaps, office
from tests.simulator.cast import CUSTOMERS, NAMES, REFERRER, WORKERS, key_of
from tests.simulator.people import Person
from tests.simulator.timeline import Chance, wait
from tests.simulator.workers import Worker

if TYPE_CHECKING:
    from tests.simulator.world import World

GAP_SECONDS = 6.0  # the longest pause between two things that happen
QUIET_LOOK_SECONDS = 15.0
QUIET_SECONDS_MAX = 4_000.0
QUIET_GRAIN = 12.0
DUSK_SECONDS = 240.0

Action = Callable[["Stage"], Awaitable[None]]


class Stage:
    """The world, and who acts in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance("script")
        self.people = {name: Person(world, name) for name in NAMES}
        self.has_company = world.chance("company").of(35)

    def somebody(self, names: tuple[str, ...] = CUSTOMERS) -> Person:
        """Return one of `names` by chance."""
        return self.people[self.chance.choice(names)]

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let somebody do something while the story goes on."""
        self.world.spawn(work).set_name("person")


async def play(world: World, steps: int) -> None:
    """Play a story of so many steps, then wait for quiet and look at everything."""
    stage = Stage(world)
    world.spawn(world.keep_alive())
    for name in WORKERS:
        world.spawn(Worker(world, name).run())
    await _prologue(stage)
    taste = world.chance("taste")
    actions = {action: weight * taste.choice((0, 0.5, 1, 1, 2.5)) for action, weight in ACTIONS.items()}
    actions |= ALWAYS
    if world.coins.there:
        actions |= COINS
    if stage.has_company:
        actions |= COMPANY
    for number in range(steps):
        await wait(stage.chance.seconds(GAP_SECONDS))
        action = stage.chance.choices(list(actions), list(actions.values()))[0]
        await action(stage)
        if world.auditor.broken:
            world.tell(f"the story ends at step {number + 1}")
            return
    await _quiet(stage)


async def _prologue(stage: Stage) -> None:
    """Name referrers before anything is earned, pay by card, found a company, or have coins, in some stories."""
    if stage.world.coins.there:
        await coins.begin(stage)
    if stage.has_company:
        await company.begin(stage)
    referrer = nip19.encode_npub(key_of(REFERRER).pubkey)
    for name in ("alice", "bob"):
        if stage.chance.of(30):
            answer = await stage.people[name].command(f"refer {referrer}")
            if answer.startswith("Thank you"):
                stage.world.facts.referrers[name] = REFERRER
    if stage.chance.of(40):
        for name in CUSTOMERS:
            stage.begin(office.buy_by_card(stage.world, name, stage.chance.getrandbits(40)))
    for name, way in (("alice", "profile"), ("carol", "10133"), ("dave", "command"), ("heidi", "command")):
        if stage.chance.of(50):
            stage.begin(stage.people[name].states_target(way))


async def _quiet(stage: Stage) -> None:
    """Let all mishaps end, wait until nothing is left over, and prove everything; then once more after a restart."""
    world = stage.world
    if stage.chance.of(20):
        await _dusk(stage)
    mishaps.end_all(stage)
    world.tell("the evening is quiet")
    while world.life is None or not world.life.alive:  # it may have to stay dead until invoices have expired
        await wait(QUIET_LOOK_SECONDS)
    await _settled(world)
    if not world.auditor.broken:
        evening.check(world)
    if not world.auditor.broken and stage.chance.of(25):
        world.kill()
        await wait(30)
        await _settled(world)
        evening.check(world)


async def _dusk(stage: Stage) -> None:
    """Leave the node as it is for long, so that invoices expire and patience ends while a payment is unknown."""
    world = stage.world
    world.tell("a long dusk: the node stays as it is")
    mishaps.hold_payments(stage)
    for name in CUSTOMERS:
        stage.begin(stage.people[name].withdraw())
    await wait(12)
    world.loop.grain = QUIET_GRAIN / 2
    world.node.slow_seconds = 0.0
    if stage.chance.of(50):
        mishaps.knows_nothing(world)
    await wait(DUSK_SECONDS)


async def _settled(world: World) -> None:
    world.quiet, world.loop.grain = True, QUIET_GRAIN
    until = world.loop.time() + QUIET_SECONDS_MAX
    while not world.auditor.broken:
        await wait(QUIET_LOOK_SECONDS)
        mishaps.let_payments_end(world)
        if world.coins.there:
            world.network.chain.mine()
        left = list(evening.left_over(world))
        if not left and not world.busy():
            return
        if world.loop.time() > until:
            world.auditor.found(f"stuck: {'; '.join(left) or 'somebody still waits'}")


# ---- what people do


async def _order(stage: Stage) -> None:
    stage.begin(stage.somebody().order())


async def _asks_by_message(stage: Stage) -> None:
    stage.begin(stage.somebody().asks_by_message())


async def _two_orders(stage: Stage) -> None:
    """Ask for two jobs at once, perhaps against a balance that covers one (A8)."""
    customer = stage.somebody()
    stage.begin(customer.order(hurry=True))
    stage.begin(customer.order(hurry=True))


async def _top_up(stage: Stage) -> None:
    stage.begin(stage.somebody().top_up(stage.chance.choice((150, 700, 1_000, 2_500))))


async def _states_target(stage: Stage) -> None:
    ways = ("command", "command", "10133", "profile", "keep")
    stage.begin(stage.somebody(NAMES).states_target(stage.chance.choice(ways)))


async def _gives(stage: Stage) -> None:
    stage.begin(gifts.give(stage.somebody()))


async def _is_granted(stage: Stage) -> None:
    how = stage.chance.choice((office.grant, office.buy_by_card))
    stage.begin(how(stage.world, stage.somebody().name, stage.chance.getrandbits(40)))


async def _refunds(stage: Stage) -> None:
    done = [request_id for request_id, _ in stage.world.auditor.delivered()]
    if done:
        stage.begin(office.refund(stage.world, stage.chance.choice(done)))


async def _pauses(stage: Stage) -> None:
    scope = stage.chance.choice(("payouts", "withdrawals", "lightning"))
    stage.begin(office.pause(stage.world, scope, stage.chance.seconds(40)))


async def _closes(stage: Stage) -> None:
    """Close every exit of somebody for a while."""
    auditor, names = stage.world.auditor, (*CUSTOMERS, "alice", "carol")
    name = auditor.richest(names) if stage.chance.of(60) else stage.chance.choice(names)
    stage.begin(office.close_withdrawals(stage.world, name, stage.chance.seconds(60)))
    if stage.chance.of(70):  # who meant to be faster, or tries all the same
        stage.begin(stage.people[name].withdraw())
        stage.begin(stage.people[name].withdraw())


async def _app_pays(stage: Stage) -> None:
    """Have somebody's app pay, or several times, for as much as there is."""
    if stage.chance.of(50):
        return stage.begin(stage.somebody().pays_by_app())
    return stage.begin(stage.people[stage.world.auditor.richest(CUSTOMERS)].pays_by_app(times=4))


async def _withdraws(stage: Stage) -> None:
    stage.begin(stage.somebody((*CUSTOMERS, "alice", "carol")).withdraw())


async def _withdraws_in_vain(stage: Stage) -> None:
    """Have the next payment fail for good, and somebody pay an invoice that is valid for long after that."""
    stage.world.network.scripts.add(Script(outcome=Outcome.FAIL, code=203, node=SERVICE_NODE))
    stage.begin(stage.people[stage.world.auditor.richest(CUSTOMERS)].withdraws_by_invoice(120, seconds=600))


async def _withdraws_twice(stage: Stage) -> None:
    """Have somebody withdraw the same sum twice to an address whose host gives out one invoice for both."""
    mishaps.wallets_repeat(stage)
    person = stage.people[stage.world.auditor.richest(CUSTOMERS)]
    for _ in range(2):
        stage.begin(person.command(f"withdraw 120 {person.name}@wallets.test", to=person.name))


async def _says_something(stage: Stage) -> None:
    text = stage.chance.choice(("balance", "payout", "topup -3", "topup 0.5", "blance", "payout threshold 300"))
    stage.begin(stage.somebody(NAMES).command(text, twice=stage.chance.of(20)))


ALWAYS: dict[Action, float] = {_order: 36, _top_up: 14}
COINS: dict[Action, float] = {coins.withdraws: 18, coins.reorganised: 6, coins.forgotten: 8, coins.fees_change: 3}
COMPANY: dict[Action, float] = {company.acts: 20}
ACTIONS: dict[Action, float] = {
    _two_orders: 4,
    _asks_by_message: 9,
    _gives: 8,
    _is_granted: 5,
    _refunds: 3,
    _withdraws: 8,
    _withdraws_in_vain: 3,
    _withdraws_twice: 3,
    _app_pays: 5,
    _closes: 4,
    office.dispute: 6,
    _pauses: 2,
    _states_target: 6,
    _says_something: 4,
    **mishaps.MISHAPS,
}

__all__ = ["Chance", "play"]
