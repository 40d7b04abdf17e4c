"""The worked example as a story: what each person does, what each must see, and every figure at the end.

The people speak websockets and HTTP only. The operator looks into the books, publishes
the day, and a stranger reads it back from the relay.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from relaybot.config import Config, load_config
from relaybot.connection import RelayConnection
from relaybot.demo.people import Person, StoryBroken, until
from relaybot.demo.stage import HOST, Cast, Stage
from relaybot.demo.work import FAIL_WORDS
from relaybot.keyring import open_keyring
from relaybot.nostr import flow_of_funds, nip19, nip90
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import KeyPair, verify
from relaybot.operator import checking, listing, publishing
from wallet.accounts import REVENUE, Class, user
from wallet.bolt11_invoice import parse_bolt11
from wallet.money import Msat, format_sat, from_sat

T = TypeVar("T")

PRICE = from_sat(12_000)
JOB_KIND = 5050
EARNED = {  # what the first job pays whom: the worked example
    "alice": from_sat(2_000),
    "carol": from_sat(1_000),
    "dave": from_sat(500),
    "eve": from_sat(120),
    "frank": from_sat(120),
    "grace": from_sat(300),
    "heidi": from_sat(300),
}
PLATFORM_MSAT = from_sat(7_660)
ROLES = {
    "bob": "customer",
    "alice": "algorithm",
    "carol": "compute",
    "dave": "api",
    "eve": "referrer",
    "frank": "referrer",
    "grace": "model",
    "heidi": "data",
}
TOP_UP_SAT = 24_000
CARD_SAT = 20_000

Tell = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """Everything the story found, as `--json` prints it."""

    people: list[dict[str, Any]] = field(default_factory=list)
    customer: list[dict[str, Any]] = field(default_factory=list)
    platform_revenue_msat: int = 0
    request: str = ""
    feedbacks: list[str] = field(default_factory=list)
    result: str = ""
    day: str = ""
    summary: str = ""
    card_page: str = ""
    books: dict[str, Any] = field(default_factory=dict)
    totals: list[dict[str, Any]] = field(default_factory=list)
    ok: bool = False


class Story:
    """One performance on one stage."""

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self.outcome = Outcome()
        self.relay_url = f"ws://{HOST}:{stage.port}"
        self._stage = stage
        self._tell = tell
        self._people: dict[str, Person] = {}
        self._loaded: Config | None = None
        self._service = ""
        self._agent = ""

    async def perform(self) -> Outcome:
        """Play everything from the first key to the published day. StoryBroken names what went wrong."""
        async with asyncio.TaskGroup() as tasks:
            await self._set_up(tasks)
            await self._introduce()
            await self._first_job()
            await self._job_from_balance()
            await self._failing_job()
            await self._publish_the_day(tasks)
            await self._check_the_books()
            await self._offer_by_card()
            for task in list(tasks._tasks):  # noqa: SLF001  the clients' connections: the story is over
                task.cancel()
        self.outcome.ok = True
        return self.outcome

    async def _set_up(self, tasks: asyncio.TaskGroup) -> None:
        await self._stage.start_node()
        self._tell(f"A simulated Lightning network runs: wallets at {self._stage.wallets_url}")
        keys = {name: secrets.token_bytes(32) for name in ROLES}
        for name, secret in keys.items():
            self._people[name] = await self._join(tasks, name, KeyPair(secret))
        cast = Cast(**{name: self._people[name].pubkey for name in ("alice", "carol", "dave", "grace", "heidi")})
        await self._stage.start_service(cast)
        keyring = open_keyring(self._config().keys.file, {}, b"")
        self._service = keyring.key("service").pubkey
        self._agent = keyring.key("agent/autodev").pubkey
        self._tell(f"The service runs: relay {self.relay_url}, page http://{HOST}:{self._stage.port}/")
        carol = self._people["carol"]
        await self._stage.start_worker(keys["carol"].hex(), nip19.encode_npub(self._service), carol.address)
        await until("Carol's node has announced itself", self._worker_is_known)
        self._tell("Carol's compute node has announced itself (31990) and beats (11998)")

    async def _join(self, tasks: asyncio.TaskGroup, name: str, keypair: KeyPair) -> Person:
        relay = RelayConnection(self.relay_url, jitter=random.random, keypair=keypair)
        tasks.create_task(relay.run(), name=name)
        person = Person(name, ROLES[name], keypair, relay, self._stage.wallets_url)
        await person.listen()
        return person

    async def _introduce(self) -> None:
        people = self._people
        for name, referrer in (("alice", "eve"), ("bob", "frank")):
            answer = await people[name].ask(self._service, f"refer {nip19.encode_npub(people[referrer].pubkey)}")
            self._must(answer.startswith("Thank you"), f"{name} names {referrer}: {answer}")
        await people["alice"].ask(self._service, f"payout {people['alice'].address}")
        await people["grace"].publish(10133, "", [["payto", "lightning", people["grace"].address]])
        for name in ("dave", "eve", "frank", "heidi"):
            await people[name].publish(0, f'{{"name": "{name.title()}", "lud16": "{people[name].address}"}}')
        self._tell("Eve referred Alice, Frank referred Bob; everybody has said where to be paid")

    async def _first_job(self) -> None:
        bob = self._people["bob"]
        before = await self._balance("bob")
        request = await self._request("Fix issue 42 and open the pull request")
        self._tell(f"Bob asks AutoDev for a job, with a balance of {format_sat(before)}")
        asked = await self._feedback(request, "payment-required")
        invoice = parse_bolt11(asked.bolt11 or "")
        self._must(invoice.amount_msat == PRICE, f"the invoice is for {invoice.amount_msat} msat")
        self._tell(f"AutoDev asks for {format_sat(PRICE)} (7000 payment-required, BOLT11); Bob pays from his wallet")
        await bob.pay(invoice.bolt11)
        await self._feedback(request, "processing")
        result = await self._result(request)
        await self._feedback(request, "success")
        self._tell("The job went on by itself; Carol's node did it, and the result reached Bob")
        self.outcome.request, self.outcome.result = request.id, result.id
        self.outcome.feedbacks = [one.id for one in bob.seen() if one.kind == nip90.FEEDBACK_KIND]
        await until("everybody is paid out", self._all_paid_out)
        await self._note_job("first, paid by invoice", before, request)
        await self._check_first_split()

    async def _check_first_split(self) -> None:
        self.outcome.people = await self._figures()
        self.outcome.platform_revenue_msat = await self._platform()
        for person in self.outcome.people:
            name, earned = person["name"], person["earned_msat"]
            self._must(earned == EARNED[name], f"{name} earned {earned} msat, not {EARNED[name]}")
            self._must(person["payout_state"] == "paid", f"{name}'s payout is {person['payout_state']}")
            received = await self._people[name].received_msat()
            self._must(received == person["paid_out_msat"], f"{name}'s wallet received {received} msat")
        revenue = self.outcome.platform_revenue_msat
        self._must(revenue == PLATFORM_MSAT, f"the platform keeps {revenue} msat, not {PLATFORM_MSAT}")
        self._tell("The split is right to the msat, and everybody has the money in their own wallet")

    async def _job_from_balance(self) -> None:
        bob = self._people["bob"]
        answer = await bob.ask(self._service, f"topup {TOP_UP_SAT}")
        await bob.pay(answer.split()[-1])
        expected = from_sat(TOP_UP_SAT)
        await until("Bob's top-up is there", lambda: self._is("bob", expected))
        request = await self._request("Fix issue 43 as well")
        await self._feedback(request, "processing")
        await self._result(request)
        asked = [event for event in bob.seen() if self._is_feedback(event, request, "payment-required")]
        self._must(not asked, "a job that the balance covers asks for no payment")
        await self._note_job("second, from balance", expected, request)
        self._must(await self._is("bob", Msat(expected - PRICE)), "the second job costs its price")
        self._tell(f"Bob tops up {format_sat(expected)}; a second job is paid from balance at once")

    async def _failing_job(self) -> None:
        before = await self._balance("bob")
        request = await self._request(f"Fix issue 44; {FAIL_WORDS}")
        refused = await self._feedback(request, "error")
        await until("the hold is released", lambda: self._is("bob", before))
        await self._note_job("third, failed at the node", before, request)
        self._tell(f"A third job fails ({refused.text}); everything is released, nothing is charged")

    async def _publish_the_day(self, tasks: asyncio.TaskGroup) -> None:
        await until("everybody is paid out again", self._all_paid_out)
        config = self._config()
        keyring = open_keyring(config.keys.file, {}, b"")
        published = await publishing.publish_accounts(config, keyring, None)
        stranger = RelayConnection(self.relay_url, jitter=random.random)
        tasks.create_task(stranger.run(), name="stranger")
        found: dict[str, Event] = {}

        async def read(event: Event) -> None:
            found[event.id] = event

        async def is_whole() -> bool:
            return published["event"] in found and charged_in(found.values()) == 2 * PRICE

        wanted = Filter(kinds=frozenset({flow_of_funds.KIND}), authors=frozenset({keyring.key("books").pubkey}))
        await stranger.subscribe("summary", lambda: [wanted], read)
        charged = format_sat(Msat(2 * PRICE))
        await until(f"a stranger reads that {charged} were charged", is_whole)
        self.outcome.day, self.outcome.summary = published["day"], published["event"]
        self._tell(f"The day is published (37170), and a stranger verified it: {charged} charged")

    async def _check_the_books(self) -> None:
        books = await checking.check_books(self._config())
        self.outcome.books = books
        self.outcome.totals = await self._figures()
        self._must(books["sound"], f"the books are sound: {books}")
        self._must(books["node"] == "agrees", f"the node's books agree with ours: {books['node']}")
        self._tell("All balances sum to zero, all escrows are empty, the node's books agree with ours")

    async def _offer_by_card(self) -> None:
        """Let Bob ask what balance costs by card: whoever watches the demo may pay it."""
        answer = await self._people["bob"].ask(self._service, f"topup {CARD_SAT} card")
        self.outcome.card_page = answer.split()[-1]
        self._must("/topup/card/" in self.outcome.card_page, f"Bob is told a page to pay at: {answer}")
        self._tell(f"Bob asks for {format_sat(from_sat(CARD_SAT))} by card; the page stands for an hour")

    # What the people do and see

    async def _request(self, text: str) -> Event:
        bob = self._people["bob"]
        tags = [["i", text, "text"], ["p", self._agent]]
        return await bob.publish(JOB_KIND, "", tags)

    async def _feedback(self, request: Event, status: str) -> nip90.Feedback:
        event = await self._people["bob"].wait_for(
            f"7000 {status}", lambda event: self._is_feedback(event, request, status)
        )
        return nip90.parse_feedback(event)

    def _is_feedback(self, event: Event, request: Event, status: str) -> bool:
        return (
            event.kind == nip90.FEEDBACK_KIND
            and event.pubkey == self._agent
            and event.tag("e") == request.id
            and event.tag("status") == status
        )

    async def _result(self, request: Event) -> Event:
        return await self._people["bob"].wait_for(
            "the result", lambda event: event.kind == JOB_KIND + nip90.RESULT_OFFSET and event.tag("e") == request.id
        )

    async def _note_job(self, job: str, before: int, request: Event) -> None:
        after = await self._balance("bob")
        self.outcome.customer.append(
            {"job": job, "request": request.id, "balance_before_msat": before, "balance_after_msat": after}
        )

    # What the operator sees

    def _config(self) -> Config:
        if self._loaded is None:
            self._loaded = load_config(self._stage.config, {})
        return self._loaded

    async def _figures(self) -> list[dict[str, Any]]:
        return await listing.earnings(self._config(), [(p.name, p.role, p.pubkey) for p in self._contributors()])

    async def _platform(self) -> int:
        return await listing.balance(self._config(), REVENUE[Class.SATS])

    async def _balance(self, name: str) -> int:
        return await listing.balance(self._config(), user(self._people[name].pubkey))

    async def _is(self, name: str, expected: int) -> bool:
        return await self._balance(name) == expected

    async def _worker_is_known(self) -> bool:
        return await listing.worker_is_ready(self._config(), self._people["carol"].pubkey)

    async def _all_paid_out(self) -> bool:
        return all(one["payout_state"] == "paid" for one in await self._figures())

    def _contributors(self) -> Sequence[Person]:
        return [self._people[name] for name in EARNED]

    def _must(self, condition: bool, what: str) -> None:  # noqa: FBT001  reads as a sentence
        if not condition:
            raise StoryBroken(what)


def charged_in(days: Iterable[Event]) -> int:
    """Return what these published days say was charged, in msat; StoryBroken if a signature is not good.

    A story that runs over midnight has two days: the service publishes the first by itself.
    """
    total = 0
    for event in days:
        if not verify(event):
            raise StoryBroken(f"the signature of the published day {event.id} is not good")
        total += flow_of_funds.parse_summary(event).figures["jobs", "charged"] or 0
    return total
