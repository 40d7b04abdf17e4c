"""Wallet apps that customers have connected: they ask the bot to pay invoices (NIP-47), within a budget."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relaybot.nostr import encryption
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair

if TYPE_CHECKING:
    from tests.simulator.people import Person

BUDGET_SAT = 700
CONNECTED = re.compile(r"nostr\+walletconnect://([0-9a-f]{64})\?\S*secret=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class App:
    """One connection: whose it is, its own key, and the bot's for it."""

    owner: str
    key: KeyPair
    service: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A payment that an app has asked for, and to whose wallet it goes."""

    app: App
    to: str


async def connected(person: Person) -> App | None:
    """Connect an app; None if no answer comes, or the name is taken by a connection whose answer was never heard."""
    answer = await person.command(f"connect app {BUDGET_SAT}/day")
    found = CONNECTED.search(answer)
    return None if found is None else App(person.name, KeyPair(bytes.fromhex(found[2])), found[1])


async def pays(person: Person, app: App) -> None:
    """Have an app ask for a payment, now and then twice, to both relays, or of the bot's own invoice."""
    world, chance = person.world, person.chance
    to, sat = chance.choice((person.name, "grace")), chance.choice((60, 200, 450))
    invoice = world.wallets.invoice(to, sat * 1_000)
    for number in range(1 + chance.of(20)):
        request = _request(app, invoice, chance.randbytes(32), world.clock.now() - number)
        world.facts.app_payments[request.id] = Asking(app, to)
        world.tell(f"{person.name}'s app asks to pay {sat} sat to {to}: {request.id[:6]}")
        for _ in range(1 + chance.of(20)):  # the same event once more
            world.spawn(world.say(request, own=chance.of(90), far=chance.of(60), tries=4))


def _request(app: App, invoice: str, nonce: bytes, now: int) -> Event:
    text = json.dumps({"method": "pay_invoice", "params": {"invoice": invoice}})
    content = encryption.encrypt(text, app.key, app.service, Encryption(NIP44, nonce))
    tags = [["p", app.service], ["encryption", "nip44_v2"]]
    return app.key.sign(kind=23194, content=content, tags=tags, created_at=now)
