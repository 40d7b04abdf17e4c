"""Some stories have a company: its owner, a member with a budget, jobs on its account, and a word for the dear ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from handlers.companies import MEMBER as JOINED
from handlers.companies import plan_created
from tests.simulator.cast import ACME, BUDGET_MSAT, LIMIT_MSAT, MEMBER, OWNER, SCRIBE, SCRIBE_MSAT, dues, key_of
from tests.simulator.office import until_done
from tests.simulator.timeline import wait
from wallet.accounts import CAPITAL, company, of
from wallet.ledger import Insert, Plan, Transfer
from wallet.money import Msat, from_sat

if TYPE_CHECKING:
    from handlers.bot import Bot
    from tests.simulator.people import Person
    from tests.simulator.script import Stage
    from tests.simulator.world import World

FUNDS = from_sat(3_000)
ASKED = re.compile(r"org approve ([0-9a-f]{8})")


async def begin(stage: Stage) -> None:
    """Have a company that has money, a limit and a member, as if all had been said long ago; its owner listens."""
    world = stage.world
    world.tell(f"{ACME} is {OWNER}'s company, with {FUNDS} msat; {MEMBER} may spend {BUDGET_MSAT} msat")
    world.facts.given[ACME] += FUNDS
    world.facts.given["the operator"] -= FUNDS
    await until_done(world, _plan_founded)
    world.spawn(_listens(stage.people[OWNER]))


async def _plan_founded(bot: Bot) -> Plan:
    owner, member, now = key_of(OWNER).pubkey, key_of(MEMBER).pubkey, bot.clock.now()
    if await bot.book.row("plans", "test/founded") is not None:
        return Plan("test/founded")
    created, counted = await plan_created(bot, ACME, "", owner)
    assert isinstance(created, Insert), created
    limited = Insert(created.table, created.id, {**created.values, "limit_msat": LIMIT_MSAT})
    joined = Insert(
        "members",
        f"{ACME}/{member}",
        {
            "company": ACME,
            "pubkey": member,
            "state": JOINED,
            "budget_msat": BUDGET_MSAT,
            "stated_at": now,
            "created_at": now,
        },
    )
    return Plan(
        "test/founded", (Transfer(CAPITAL, of(company(ACME)), Msat(FUNDS), "test"),), (limited, counted, joined)
    )


async def _listens(owner: Person) -> None:
    """Have the owner answer each question, or forget it, for ever."""
    world, seen = owner.world, set[str]()

    def asked() -> str | None:
        found = [digits for text in world.auditor.letters[OWNER] for digits in ASKED.findall(text)]
        return next((digits for digits in found if digits not in seen), None)

    while True:
        digits = await world.until(asked, 1e9)
        seen.add(digits)
        world.spawn(_decides(owner, digits)).set_name("person")


async def _decides(owner: Person, digits: str) -> None:
    chance = owner.chance
    await wait(chance.seconds(50))
    word = chance.choices(("approve", "refuse", ""), (70, 15, 15))[0]
    if word:
        await owner.command(f"org {word} {digits}", twice=chance.of(15))


async def acts(stage: Stage) -> None:
    """Have member or owner ask for jobs on its account, or the owner pay something in; now and then a stranger asks."""
    chance, people = stage.chance, stage.people
    match chance.choices(("member", "two", "owner", "topup", "stranger"), (50, 20, 12, 12, 6))[0]:
        case "two":  # at once, against one budget
            for _ in range(2):
                stage.begin(_asks(people[MEMBER]))
        case "topup":
            stage.begin(people[OWNER].top_up(chance.choice((500, 1_500)), org=ACME))
        case word:
            stage.begin(_asks(people[{"member": MEMBER, "owner": OWNER, "stranger": "mallory"}[word]]))


async def _asks(person: Person) -> None:
    if person.chance.of(50):
        await person.order(org=ACME)
    else:
        await person.asks_by_message(org=ACME)


def check(world: World) -> Iterator[str]:
    """Prove that the budget was kept, that the owner's word counted, and that no stranger was paid for."""
    spent = 0
    said = {text for rumor, (name, text) in world.facts.commands.items() if name == OWNER and _done(world, rumor)}
    for request_id, content in world.auditor.delivered():
        request = world.facts.requests[request_id]
        if request.payer != ACME:
            continue
        name = f"job {request_id[:6]} of {request.customer}"
        if request.customer not in {OWNER, MEMBER}:
            yield f"{name} was paid by a company that is not theirs"
        if request.customer != MEMBER:
            continue
        approved = f"org approve {request_id[:8]}" in said
        if request.agent == SCRIBE and SCRIBE_MSAT > LIMIT_MSAT and not approved:
            yield f"{name} went on without the owner's word"
        if f"org refuse {request_id[:8]}" in said:
            yield f"{name} went on although the owner refused it"
        if request_id not in world.facts.refunded:
            spent += dues(world.auditor.delivery(request_id, content), {})[0]
    if spent > BUDGET_MSAT:
        yield f"{MEMBER} has spent {spent} msat of {ACME}'s, and may spend {BUDGET_MSAT}"


def _done(world: World, rumor: str) -> bool:
    return any(text.endswith(("goes on.", "is refused.")) for text in world.auditor.answers[rumor])
