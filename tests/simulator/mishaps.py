"""What goes wrong: deaths, full disks, bad nodes, lost relays, odd wallets, jumping clocks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from relaybot.reader import OVERLAP_SECONDS
from relaybot.simulator.network import SERVICE_NODE
from relaybot.simulator.people import WALLETS_NODE
from relaybot.simulator.scripts import Ending, Outcome, Script
from tests.simulator.coins import FEERATE
from tests.simulator.timeline import wait

if TYPE_CHECKING:
    from tests.simulator.script import Stage
    from tests.simulator.world import World

Mishap = Callable[["Stage"], Awaitable[None]]

PAYMENTS: tuple[tuple[Outcome, dict[str, Any]], ...] = (
    (Outcome.FAIL, {"code": 203}),
    (Outcome.FAIL, {"code": 205}),
    (Outcome.FAIL, {"code": 209}),
    (Outcome.LOST_CONNECTION, {"seconds": 5}),
    (Outcome.LOST_CONNECTION, {"seconds": 5, "ending": "fail"}),
    (Outcome.ERROR_WHILE_PENDING, {}),
    (Outcome.ERROR_WHILE_PENDING, {"ending": "fail"}),
    (Outcome.WHOLE_MAXFEE, {}),
    (Outcome.HOLD, {}),
    (Outcome.HOLD, {"ending": "fail"}),
    (Outcome.DELAY, {"seconds": 40}),
    (Outcome.ORPHAN, {}),
)


async def _killed(stage: Stage) -> None:
    stage.world.kill()


async def _fuse(stage: Stage) -> None:
    """Die at one of the next borders, whichever it is."""
    life = stage.world.life
    if life is not None and life.alive:
        life.borders.fuse = stage.chance.choice((1, 3, 8, 20, 60, 150)) + stage.chance.randrange(20)


async def _stopped(stage: Stage) -> None:
    if stage.world.life is not None:
        stage.world.life.stop()


async def _killed_over_a_payment(stage: Stage) -> None:
    """Die while a payment is on its way, for a moment, or until invoices expire."""
    world, calls = stage.world, len(stage.world.node.called_at)
    hold_payments(stage)
    stage.begin(stage.people[world.auditor.richest(tuple(stage.people))].withdraw())
    for _ in range(20):  # until a call is made, or none will be
        await wait(stage.chance.seconds(1))
        if len(world.node.called_at) > calls:
            break
    world.down_seconds = stage.chance.choice((2.0, 15.0, 150.0, 310.0))
    world.kill()


def _for_a_while(stage: Stage, what: str, seconds: float, end: Callable[[], None]) -> None:
    """Have something that was begun end by itself; nobody may hold the bot to its times meanwhile."""
    world, lasts = stage.world, stage.chance.seconds(seconds)

    async def over() -> None:
        await wait(lasts)
        end()
        world.tell(f"{what}: over")

    world.tell(f"{what}, for {lasts:.0f} s")
    world.spawn(world.outage(over())).set_name("mishap")


async def _disk_full(stage: Stage) -> None:
    disk = stage.world.disk
    disk.fails_percent = stage.chance.choice((20.0, 100.0))

    def end() -> None:
        disk.fails_percent = 0.0

    _for_a_while(stage, "the disk is full", 25, end)


async def _node_down(stage: Stage) -> None:
    node = stage.world.node
    node.down = True

    def end() -> None:
        node.down = False

    _for_a_while(stage, "the node is down", 40, end)


async def _node_catching_up(stage: Stage) -> None:
    world = stage.world
    knows_nothing(world)

    def end() -> None:
        world.network.set_synced(SERVICE_NODE, synced=True)
        world.node.catching_up = False

    _for_a_while(stage, "the node knows nothing and catches up", 60, end)


async def _node_alone(stage: Stage) -> None:
    world = stage.world
    world.network.set_connected(SERVICE_NODE, connected=False)
    _for_a_while(stage, "the node has no peers", 60, lambda: world.network.set_connected(SERVICE_NODE, connected=True))


async def _node_rude(stage: Stage) -> None:
    node = stage.world.node
    node.slow_seconds = stage.chance.choice((0.05, 4.0, 12.0))
    node.loses_percent = stage.chance.choice((0.0, 20.0, 50.0))
    node.lies_percent = stage.chance.choice((0.0, 80.0))
    stage.world.tell(
        f"the node: up to {node.slow_seconds} s slow, loses {node.loses_percent} %, lies {node.lies_percent} %"
    )
    stage.world.facts.outage_seconds += 60


async def _payment_odd(stage: Stage) -> None:
    outcome, more = stage.chance.choice(PAYMENTS)
    node = stage.chance.choices((SERVICE_NODE, WALLETS_NODE), (85, 15))[0]
    if node == WALLETS_NODE and outcome is Outcome.ORPHAN:
        return
    stage.world.network.scripts.add(Script(outcome=outcome, node=node, **more))
    stage.world.tell(f"the next payment from {node}: {outcome.value} {more or ''}")


async def _payments_end(stage: Stage) -> None:
    let_payments_end(stage.world, stage.chance.choice((None, None, Ending.FAIL)))


async def _far_down(stage: Stage) -> None:
    far = stage.world.far_manners
    far.down, far.generation = True, far.generation + 1

    def end() -> None:
        far.down = False

    _for_a_while(stage, "the far relay is down", 40, end)


async def _far_rude(stage: Stage) -> None:
    far, chance = stage.world.far_manners, stage.chance
    far.slow_seconds = chance.choice((0.3, 5.0))
    far.doubles_percent = chance.choice((0.0, 30.0))
    far.loses_ok_percent = chance.choice((0.0, 30.0))
    far.refuses_percent = chance.choice((0.0, 30.0))
    far.swaps_percent = chance.choice((0.0, 40.0))
    stage.world.tell("the far relay doubles, swaps, refuses and loses what it likes")


async def _wallets_down(stage: Stage) -> None:
    wallets = stage.world.wallets
    wallets.down = True

    def end() -> None:
        wallets.down = False

    _for_a_while(stage, "the wallets' host is down", 40, end)


def wallets_repeat(stage: Stage) -> None:
    """Have the wallets' host give out an invoice again that it has given out over the same sum."""
    wallets = stage.world.wallets
    wallets.repeats = True

    def end() -> None:
        wallets.repeats = False

    _for_a_while(stage, "the wallets' host gives out invoices again", 90, end)


async def _wallets_odd(stage: Stage) -> None:
    wallets = stage.world.wallets
    wallets.odd_percent = stage.chance.choice((0.0, 40.0, 80.0))
    stage.world.tell(f"the wallets' host answers oddly {wallets.odd_percent} % of the time")


async def _clock_jumps(stage: Stage) -> None:
    clock = stage.world.bot_clock
    clock.ahead += stage.chance.choice((-400, -30, 30, 400, 7_200))
    stage.world.facts.outage_seconds += 8_000
    stage.world.facts.clock_was_ahead |= clock.ahead > OVERLAP_SECONDS / 2
    stage.world.tell(f"the bot's clock is {clock.ahead} s ahead now")


MISHAPS: dict[Mishap, float] = {
    _killed: 3,
    _fuse: 8,
    _killed_over_a_payment: 4,
    _stopped: 1,
    _disk_full: 3,
    _node_down: 3,
    _node_catching_up: 3,
    _node_alone: 2,
    _node_rude: 4,
    _payment_odd: 9,
    _payments_end: 3,
    _far_down: 3,
    _far_rude: 3,
    _wallets_down: 2,
    _wallets_odd: 5,
    _clock_jumps: 0.4,
}


def hold_payments(stage: Stage) -> None:
    """Have the next payments stay on their way, of which the records may say something else."""
    stage.world.node.lies_percent = 80.0
    stage.world.network.scripts.add(Script(outcome=Outcome.HOLD, node=SERVICE_NODE, times=3))


def knows_nothing(world: World) -> None:
    """Have the node forget what it knows until it has caught up."""
    world.node.catching_up = True
    world.network.set_synced(SERVICE_NODE, synced=False)


def let_payments_end(world: World, ending: Ending | None = None) -> None:
    """Let everything that is held on its way go on."""
    world.network.payments.release(payment_hash=None, ending=ending)


def end_all(stage: Stage) -> None:
    """Let all mishaps end: the evening is quiet."""
    world = stage.world
    world.disk.fails_percent = 0.0
    world.network.chain.set_feerate(FEERATE)
    world.node.down = world.node.catching_up = False
    world.node.slow_seconds, world.node.loses_percent, world.node.lies_percent = 0.0, 0.0, 0.0
    world.network.set_synced(SERVICE_NODE, synced=True)
    world.network.set_connected(SERVICE_NODE, connected=True)
    world.network._store.run("DELETE FROM scripts")
    far = world.far_manners
    far.down, far.slow_seconds = False, 0.0
    far.doubles_percent = far.loses_ok_percent = far.refuses_percent = far.swaps_percent = 0.0
    world.wallets.down, world.wallets.odd_percent, world.wallets.slow_seconds = False, 0.0, 0.0
    world.wallets.repeats = False
    if world.life is not None:
        world.life.borders.fuse = None
    let_payments_end(world)
