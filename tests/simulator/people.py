"""What customers do: top up, ask for jobs in good and bad ways, pay well and badly, cancel, say where they are paid."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from relaybot.nostr import nip17, nip59, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import SERVICE_NODE
from relaybot.simulator.orders import Order
from relaybot.simulator.params import Fault
from relaybot.simulator.payments import ConnectionLost
from relaybot.simulator.people import WALLETS_NODE
from tests.simulator.apps import App, connected, pays
from tests.simulator.cast import (
    CUSTOMERS,
    KEYRING,
    METER,
    METER_KIND,
    METER_MOST_MSAT,
    SCRIBE,
    SCRIBE_KIND,
    SCRIBE_MSAT,
    key_of,
)
from tests.simulator.facts import Request
from tests.simulator.timeline import wait

if TYPE_CHECKING:
    from tests.simulator.world import World

INVOICE = re.compile(r"lnbcrt\w+")
PATIENCE_SECONDS = 120.0  # for an answer
ENDED = ("success", "error")
WAYS = ("now", "later", "late", "over", "twice", "other", "inside", "both", "never")  # to pay an invoice
KINDS = {SCRIBE: SCRIBE_KIND, METER: METER_KIND}


class Person:
    """A customer, and whoever else writes to the bot."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.key = key_of(name)
        self.chance = world.chance(f"person/{name}")
        self._asked = 0
        self._withdrawn: tuple[str, str] | None = None
        self._app: App | None = None

    # ---- private messages

    async def command(self, text: str, *, twice: bool = False, to: str = "", inside: int = 0) -> str:
        """Send a command and return the answer; '' if none comes.

        `twice`: the same rumor in two wraps. `to`: whose wallet gets what is withdrawn. `inside`: over how
        much the bot's own invoice is that it names.
        """
        return await self._answer(self._write(text, twice=twice, to=to, inside=inside))

    def _write(self, text: str, *, twice: bool = False, to: str = "", inside: int = 0) -> str:
        """Send a command and return its id."""
        world, service = self.world, KEYRING.key("service").pubkey
        self._asked += 1
        rumor = nip17.build_message(self.key.pubkey, [service], text, now=world.clock.now(), subject=str(self._asked))
        world.facts.commands[rumor.id] = (self.name, text)
        world.facts.withdrawn_to[rumor.id] = to
        if inside:
            world.facts.paid_inside[rumor.id] = self.name, text.rsplit(maxsplit=1)[-1], inside
        world.tell(f"{self.name} writes: {text[:60]}")
        for _ in range(1 + twice):
            world.spawn(world.say(self._wrapped(rumor, service)))
        return rumor.id

    async def _answer(self, rumor: str) -> str:
        answer = await self.world.until(lambda: self.world.auditor.answers.get(rumor), PATIENCE_SECONDS)
        return str(answer[0]) if answer else ""

    def _wrapped(self, rumor: nip59.Rumor, to: str) -> Event:
        chance, now = self.chance, self.world.clock.now()
        return nip59.wrap(
            rumor,
            self.key,
            to,
            ephemeral=KeyPair(chance.randbytes(32)),
            nonces=(chance.randbytes(32), chance.randbytes(32)),
            seal_created_at=now - chance.randrange(1_000),
            wrap_created_at=now - chance.randrange(1_000),
        )

    async def top_up(self, sat: int, *, org: str = "") -> None:
        """Ask for an invoice, for oneself or a company, and pay it, or not."""
        asking = f"org topup {org} {sat}" if org else f"topup {sat}"
        found = INVOICE.search(await self.command(asking, twice=self.chance.of(8)))
        if found is not None:
            await self.pay_somehow(found[0], sat * 1_000)

    async def withdraw(self) -> None:
        """Send some of the balance to a wallet, by address or by invoice."""
        chance, wallets = self.chance, self.world.wallets
        to, sat = chance.choice((self.name, self.name, "grace")), chance.choice((120, 300, 900))
        match chance.choice(("all", "address", "invoice", "alone", "odd")):
            case "all":
                where = f"all {to}@wallets.test"
            case "address":
                where = f"{sat} {to}@wallets.test"
            case "invoice":
                where = f"{sat} {wallets.invoice(to, sat * 1_000)}"
            case "alone":
                where = wallets.invoice(to, sat * 1_000)
            case _:
                where = f"{sat + 1} {wallets.invoice(to, sat * 1_000)}"
        if self._withdrawn and chance.of(15):
            where, to = self._withdrawn  # the same once more
        self._withdrawn = where, to
        await self.command(f"withdraw {where}", twice=chance.of(15), to=to)

    async def withdraws_by_invoice(self, sat: int, *, seconds: int) -> None:
        """Send some of the balance to their own wallet, by an invoice that is valid for so long."""
        invoice = self.world.wallets.invoice(self.name, sat * 1_000, seconds=seconds)
        await self.command(f"withdraw {sat} {invoice}", to=self.name)

    async def pays_by_app(self, times: int = 1) -> None:
        """Have a connected app pay something; connect one first."""
        app = self._app = self._app or await connected(self)
        if app is not None:
            for _ in range(times):
                await pays(self, app)

    # ---- paying

    async def pay_somehow(self, bolt11: str, amount_msat: int) -> None:
        """Pay an invoice over so much, as people do."""
        chance = self.chance
        match chance.choices(WAYS, (56, 10, 6, 8, 5, 5, 7, 3, 6))[0]:
            case "now":
                await self.pay(bolt11)
            case "later":
                await wait(chance.uniform(5, 50))
                await self.pay(bolt11)
            case "late":
                await wait(chance.uniform(55, 90))
                await self.pay(bolt11)
            case "over":
                await self.pay(bolt11, amount_msat + chance.randrange(1, 300_000))
            case "twice":
                await asyncio.gather(self.pay(bolt11), self.pay(bolt11))
            case "other":
                await Person(self.world, chance.choice(CUSTOMERS)).pay(bolt11)
            case "inside":
                await Person(self.world, self.world.auditor.richest(CUSTOMERS)).pays_inside(bolt11, amount_msat)
            case "both":
                await asyncio.gather(self.pay(bolt11), self.pays_inside(bolt11, amount_msat))
            case _:
                self.world.tell(f"{self.name} does not pay")

    async def pays_inside(self, bolt11: str, amount_msat: int) -> None:
        """Pay an invoice of the bot's out of their balance with it."""
        await self.command(f"withdraw {bolt11}", twice=self.chance.of(15), inside=amount_msat)

    async def pay(self, bolt11: str, amount_msat: int | None = None) -> None:
        """Pay from their own wallet; what it would read in the invoice is looked up, for reading is slow."""
        network = self.world.network
        row = network._store.row("SELECT * FROM invoices WHERE bolt11 = ?", (bolt11,))
        if row is None:
            known = self.world.auditor.rows("SELECT 1 FROM invoices WHERE bolt11 = ? AND cancel_at IS NULL", bolt11)
            assert known, f"{self.name} was given an invoice that our node never made"
            return self.world.tell(f"{self.name} cannot pay: the invoice was paid inside")
        amount, payee = amount_msat or row["amount_msat"], network.nodes[SERVICE_NODE].pubkey
        order = Order(bolt11, row["payment_hash"], payee, amount, amount // 100 + 5_000, None)
        try:
            if row["expires_at"] < self.world.clock.now():
                raise Fault(207, "the invoice has expired")  # noqa: TRY301  as a wallet says it
            paid = await network.payments.pay(WALLETS_NODE, order)
        except (Fault, ConnectionLost) as error:
            self.world.tell(f"{self.name}'s payment is not confirmed: {error}")
        else:
            self.world.tell(f"{self.name} has paid {paid.amount_msat} msat")
        return None

    # ---- jobs

    async def asks_by_message(self, *, org: str = "") -> None:
        """Ask for a job by private message, and see it through."""
        world, chance = self.world, self.chance
        agent, bought = chance.choices((SCRIBE, METER), (60, 40))[0], f"org={org} " if org else ""
        rumor = self._write(f"job {agent} {bought}something, please", twice=chance.of(15))
        world.facts.by_message[rumor] = self.name, agent, org or self.name
        if "is asked: job" not in await self._answer(rumor):
            return
        said = world.auditor
        await world.until(lambda: rumor in said.asked_to_pay or rumor in said.ended_by_message, PATIENCE_SECONDS)
        if rumor in said.asked_to_pay:
            await self.pay_somehow(said.asked_to_pay[rumor], SCRIBE_MSAT if agent == SCRIBE else METER_MOST_MSAT)
        await world.until(lambda: rumor in said.ended_by_message, PATIENCE_SECONDS)

    async def order(self, *, hurry: bool = False, org: str = "") -> None:
        """Ask for a job and see it through; a company may pay."""
        world, chance = self.world, self.chance
        request = self._request(org)
        if request is None:
            return
        sender = world.say(
            request, own=hurry or chance.of(85), far=chance.of(85), tries=chance.choice((1, 40)), hurry=hurry
        )
        world.spawn(sender)
        if chance.of(15):
            world.spawn(self._cancel(request, chance.seconds(70)))
        asking = await world.until(lambda: self._said(request, "payment-required", *ENDED), PATIENCE_SECONDS)
        if asking is not None and asking.status == "payment-required":
            assert asking.bolt11 is not None
            assert asking.amount_msat is not None
            await self.pay_somehow(asking.bolt11, asking.amount_msat)
        await world.until(lambda: self._said(request, *ENDED), PATIENCE_SECONDS)

    def _request(self, org: str) -> Event | None:
        """Return a request, made in one of many ways, and note what must become of it."""
        world, chance = self.world, self.chance
        agent = chance.choices((SCRIBE, METER), (60, 40))[0]
        self._asked += 1
        fate, now, kind, bid = "usual", world.clock.now(), KINDS[agent], None
        provider: str | None = KEYRING.key(f"agent/{agent}").pubkey
        flaw = chance.choices(("", "bid", "future", "stale", "kind", "stranger", "nobody"), (84, 4, 2, 3, 2, 2, 3))[0]
        if agent == METER and chance.of(50):
            bid = chance.randrange(100_000, 600_000)
        match flaw:
            case "bid":
                fate, bid = "refused", 50_000
            case "future":
                fate, now = "refused", now + 10_000
            case "stale":
                fate, now = "refused", now - 500
            case "kind":
                fate, kind = "refused", KINDS[METER if agent == SCRIBE else SCRIBE]
            case "stranger":
                fate, provider = "ignored", key_of("eve").pubkey
            case "nobody":
                fate, provider = ("open" if agent == METER else "ignored"), None
            case _:
                pass
        secret = provider is not None and fate == "usual" and chance.of(12)
        request = nip90.build_job_request(
            self.key,
            kind=kind,
            inputs=[nip90.Input(f"{self.name} {self._asked}", "text")],
            params=[("org", org)] if org else [],
            bid_msat=bid,
            provider=provider,
            encrypt=Encryption(NIP44, chance.randbytes(32)) if secret else None,
            now=now,
        )
        world.tell(f"{self.name} asks {agent} for job {request.id[:6]}{f' ({flaw})' if flaw else ''}")
        world.auditor.asked(Request(request, self.name, agent, org or self.name, fate, bid))
        return request

    def _said(self, request: Event, *statuses: str) -> nip90.Feedback | None:
        """Return the newest 7000 of one of these statuses on a request."""
        for event in reversed(self.world.heard.get(request.id, [])):
            if event.kind == nip90.FEEDBACK_KIND:
                said = self.world.auditor.feedback(event, self.key)
                if said is not None and said.status in statuses:
                    return said
        return None

    async def _cancel(self, request: Event, seconds: float) -> None:
        await wait(seconds)
        if self.chance.of(20):
            return await Person(self.world, "eve").cancels(request)
        self.world.facts.cancelled.add(request.id)
        return await self.cancels(request)

    async def cancels(self, request: Event) -> None:
        """Take a request back, be it one's own or not."""
        self.world.tell(f"{self.name} cancels job {request.id[:6]}")
        tags = [["e", request.id], ["k", str(request.kind)]]
        await self.world.say(self.key.sign(kind=5, content="", tags=tags, created_at=self.world.clock.now()))

    # ---- where they are paid

    async def states_target(self, way: str) -> None:
        """Say where they want to be paid, in one of three ways."""
        address, now = f"{self.name}@wallets.test", self.world.clock.now()
        match way:
            case "command":
                await self.command(f"payout {address}")
            case "keep":
                await self.command("payout keep")
            case "10133":
                event = self.key.sign(kind=10133, content="", tags=[["payto", "lightning", address]], created_at=now)
                await self.world.say(event)
            case _:
                content = f'{{"lud16": "{address}"}}'
                await self.world.say(self.key.sign(kind=0, content=content, tags=[], created_at=now))
