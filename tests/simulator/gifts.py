"""Money that comes by other ways: zaps and payments to our Lightning Addresses, promo money and card payments.

They come in where the pages and the operator do: at the handlers and the book of the bot as it lives now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handlers import pay_requests
from handlers.pay_requests import Asked
from relaybot.errors import RelaybotError
from relaybot.nostr import nip19, nip57, nip90
from relaybot.nostr.event import Event, encode_event
from tests.simulator.cast import CONTRIBUTORS, CUSTOMERS, KEYRING, PLATFORM, SCRIBE, key_of

if TYPE_CHECKING:
    from tests.simulator.people import Person
    from tests.simulator.world import World

SERVICE = "service"  # the name by which the service itself is paid


@dataclass(frozen=True, slots=True)
class Gift:
    """What an invoice for a gift was asked for: whose it is when it is paid, and whether a receipt is owed."""

    kind: str  # `person`, `agent`, or `result`: then `to` is who delivered it
    to: str
    zap: bool

    def shares(self, msat: int) -> Counter[str]:
        """Return who gets what of it; an agent's tip goes to those its split names, as 200 to 100."""
        if self.kind == "person":
            return Counter({self.to: msat})
        if self.kind == "result":
            alice, worker, dave = msat * 200 // 700, msat * 400 // 700, msat * 100 // 700
            return Counter({"alice": alice, self.to: worker, "dave": dave, PLATFORM: msat - alice - worker - dave})
        alice, dave = msat * 200 // 300, msat * 100 // 300
        return Counter({"alice": alice, "dave": dave, PLATFORM: msat - alice - dave})


async def give(giver: Person) -> None:
    """Zap or pay somebody, and pay the invoice, or not."""
    world, chance = giver.world, giver.chance
    sat = chance.choice((30, 210, 1_050))
    asking, result = _asks_for_payment(world), _result(world)
    ways = ("service", "user", "zap user", "agent", "job" if asking else "user", "result" if result else "agent")
    what, zapped = chance.choice(ways), None
    to = chance.choice((*CUSTOMERS, *CONTRIBUTORS))
    match what:
        case "service":
            name, gift, recipient = SERVICE, Gift("person", giver.name, zap=True), KEYRING.key("service").pubkey
        case "agent":
            name, gift, recipient = SCRIBE, Gift("agent", "", zap=False), ""
        case "job":
            assert asking is not None
            request = world.facts.requests[asking.tag("e") or ""]
            name, gift, recipient = request.agent, Gift("person", request.customer, zap=True), asking.pubkey
            zapped = asking
        case "result":
            assert result is not None
            worker = nip90.parse_result(result, giver.key).content.split()[0]
            name, gift, recipient, zapped = SCRIBE, Gift("result", worker, zap=True), result.pubkey, result
        case _:
            recipient = key_of(to).pubkey
            name, gift = nip19.encode_npub(recipient), Gift("person", to, zap=what == "zap user")
    await _pay(giver, name, gift, sat, _zap(giver, recipient, sat, zapped) if gift.zap else "")


def _zap(giver: Person, recipient: str, sat: int, zapped: Event | None) -> str:
    request = nip57.build_zap_request(
        giver.key,
        recipient=recipient,
        relays=["wss://zaps.test"],
        amount_msat=sat * 1_000,
        zapped=zapped,
        now=giver.world.clock.now(),
    )
    return encode_event(request)


async def _pay(giver: Person, name: str, gift: Gift, sat: int, zap: str) -> None:
    world, life = giver.world, giver.world.life
    if life is None or life.bot is None or not life.alive:
        return
    world.tell(f"{giver.name} wants to give {sat} sat: {name[:12]}, {'zap' if zap else 'plain'}")
    try:
        answer = await life.visit(pay_requests.request(life.bot, name, Asked(str(sat * 1_000), nostr=zap)))
    except RelaybotError as error:
        world.tell(f"the gift is refused: {error}")
        return
    if answer is not None:
        world.facts.gifts[answer["pr"]] = gift
        await giver.pay_somehow(answer["pr"], sat * 1_000)


def _asks_for_payment(world: World) -> Event | None:
    """Return the newest 7000 that asks for payment in the open, if there is one."""
    for request_id in reversed(world.facts.requests):
        for event in world.heard.get(request_id, []):
            if event.kind == nip90.FEEDBACK_KIND and event.tag("status") == "payment-required":
                return event
    return None


def _result(world: World) -> Event | None:
    """Return the newest result that everybody can read of the agent whose shares are the same for every job."""
    for request_id, results in reversed(world.auditor.results.items()):
        request = world.facts.requests[request_id]
        if request.agent == SCRIBE and all(tag[0] != "encrypted" for tag in results[0].tags):
            return results[0]
    return None
