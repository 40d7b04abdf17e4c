"""One story, played through the product's own handlers and book, with nothing left to chance.

It gives the documents their example events and their journals. Keys, time and the node are
scripted (`scripted.py`), so it ends the same every time, to the last digit.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handlers import announcements, assignments
from handlers.assigning import Assigning
from handlers.bot import Bot
from handlers.settlements import Settlements
from relaybot.accounting.closing import Rules
from relaybot.accounting.owing import publish_liabilities
from relaybot.accounting.publishing import publish_day
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.db.migrations import load_migrations
from relaybot.db.sqlite import open_sqlite
from relaybot.demo.stage import AGENTS, SKILLS
from relaybot.errors import Rejected
from relaybot.keyring import Keyring
from relaybot.nostr import nip17, nip59, nip89, nip90
from relaybot.nostr.encryption import NIP44, Encryption, decrypt
from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.workings import build_bot, build_inbox
from tests.documents import incoming, selling
from tests.documents.cast import DAY, MASTER, MORNING, PEOPLE, RELAY, SCRIBE, Chance, Told, key_of
from tests.documents.scripted import WALLETS_NODE, ScriptedChain, ScriptedNode, signed_invoice
from tests.payouts.desk import nothing_on_chain
from wallet.book import Book, running
from wallet.ledger import Plan, Verdict
from wallet.lightning import DecodedInvoice
from wallet.money import Msat
from wallet.opening import PayoutRules
from wallet.payout_checks import PayoutChecks
from wallet.payouts import Payouts, RequestInvoice

RULES = PayoutRules(
    threshold_msat=Msat(100_000),
    fee_ppm_max=10_000,
    fee_minimum_msat=Msat(5_000),
    retry_seconds=30,
    retry_seconds_max=3_600,
    poll_seconds=10,
    confirm_seconds=10,
    empty_seconds=60,
    failed_after_expiry_seconds=600,
    attempts_max=10,
)


def tell() -> Told:
    """Play the whole story and return what it left."""
    with tempfile.TemporaryDirectory(prefix="rb-") as directory:
        return asyncio.run(_tell(Path(directory)))


async def _tell(directory: Path) -> Told:
    clock = SetClock(MORNING)
    node = ScriptedNode(clock)
    database = await open_sqlite(directory / "book.sqlite3", load_migrations(), now=MORNING)
    try:
        async with running(Book(database, clock)) as book:
            people = {name: key_of(name).pubkey for name in PEOPLE}
            config = parse_config(
                {
                    "people": people,
                    "skills": SKILLS,
                    "agents": {**AGENTS, "scribe": SCRIBE},
                    "workers": {"allowed": ["carol"]},
                    "marketplace": "approved",
                },
                config_dir=directory,
            )
            keyring = Keyring(MASTER)
            chain = ScriptedChain()
            bot = build_bot(config, keyring, book, node, clock, chain=chain, chance=Chance())
            story = _Story(bot, keyring, node, chain, clock)
            await story.play()
            story.told.plans = [row["id"] for row in await database.fetch("SELECT id FROM plans")]
            return story.told
    finally:
        await database.close()


class _Story:
    def __init__(self, bot: Bot, keyring: Keyring, node: ScriptedNode, chain: ScriptedChain, clock: SetClock) -> None:
        self.told = Told()
        self._bot = bot
        self._keyring = keyring
        self._node = node
        self._chain = chain
        self._clock = clock
        self._inbox = build_inbox(bot)
        self._chance = Chance()
        self._agent = {agent.id: agent for agent in bot.agents.values()}
        self._seq = 0  # the last transfer that is in a journal
        self._owed = 0  # the last outbox row that was looked at
        self.told.names |= {key_of(name).pubkey: name for name in PEOPLE}
        self.told.names |= {bot.service.pubkey: "service", keyring.key("books").pubkey: "books"}
        self.told.names |= {agent.keypair.pubkey: agent.id for agent in self._agent.values()}

    async def play(self) -> None:
        await self._everybody_is_there()
        await self._job_by_invoice()
        await self._top_up()
        await self._job_from_balance()
        await self._cancelled_job()
        await self._job_by_usage()
        await self._late_payment()
        await self._payouts()
        await self._money_nobody_asked_for()
        await incoming.play_deposits(self)
        await incoming.play_internal_payment(self)
        await self._the_day()
        await selling.play_market(self)
        await selling.play_pay_slip(self)

    # ---- the acts

    async def _everybody_is_there(self) -> None:
        await announcements.announce(self._bot, RELAY)
        service, autodev = self._bot.service.pubkey, self._agent["autodev"].keypair.pubkey
        rows = await self._bot.book.database.fetch("SELECT event FROM outbox")
        known = {(event.kind, event.pubkey): event for event in (parse_event(row["event"]) for row in rows)}
        self.told.events["service-profile"] = known[0, service]
        self.told.events["relay-list"] = known[10002, service]
        self.told.events["dm-relays"] = known[10050, service]
        self.told.events["agent-announcement"] = known[31990, autodev]
        await self._said()
        now, carol = self._clock.now(), key_of("carol")
        await self._hear(
            "worker-announcement",
            nip89.build_worker_announcement(
                carol,
                identifier=nip89.WORKER_TOPIC,
                service=service,
                kinds=[5050],
                name="Carol's workerbee",
                about="",
                expiration=now + 86_400,
                now=now,
            ),
        )
        beat = nip89.build_heartbeat(carol, service=service, status="idle", expiration=now + 900, now=now)
        await self._hear("heartbeat", beat)
        payto = [("payto", "lightning", "grace@wallets.test")]
        await self._hear("payto", key_of("grace").sign(kind=10133, content="", tags=payto, created_at=now))
        profile = '{"name":"Dave","lud16":"dave@wallets.test"}'
        await self._hear("profile", key_of("dave").sign(kind=0, content=profile, tags=[], created_at=now))
        await self._ask("bob", f"refer {key_of('frank').pubkey}")
        await self._ask("alice", f"refer {key_of('eve').pubkey}")
        for name in ("alice", "heidi"):
            await self._ask(name, f"payout {name}@wallets.test")

    async def _job_by_invoice(self) -> None:
        request = nip90.build_job_request(
            key_of("bob"),
            kind=5050,
            inputs=[nip90.Input("Fix issue 42 and open the pull request", "text")],
            params=[("branch", "main")],
            bid_msat=12_000_000,
            provider=self._agent["autodev"].keypair.pubkey,
            expiration=self._clock.now() + 3_600,
            now=self._clock.now(),
        )
        self._name(request.id, "job1")
        await self._hear("job-request", request)
        self.told.events["payment-required"] = (await self._said())["7000 payment-required"]
        self._node.settle(f"job/{request.id}", 12_000_000)
        await Settlements(self._bot).follow()
        self.told.events["processing"] = (await self._said())["7000 processing"]
        await self._note("paid-by-invoice")
        child = await self._assignment()
        self.told.events["assignment"] = child
        self._open("assignment", child, key_of("carol"))
        await self._deliver(child, "Resolved: pull request #7 is open.", remember=True)
        said = await self._said()
        self.told.events |= {"result": said["6050"], "success": said["7000 success"]}
        await self._note("captured")

    async def _top_up(self) -> None:
        rumor, wrap = self._wrapped("bob", "topup 24000")
        await self._hear("private-message", wrap)
        self.told.inside["private-message"] = _rumor(rumor)
        answer = (await self._said())["1059"]
        self.told.events["private-answer"] = answer
        self.told.inside["private-answer"] = _rumor(nip59.unwrap(answer, key_of("bob")))
        self._node.settle(f"topup/{rumor.id}", 24_000_000)
        await Settlements(self._bot).follow()
        await self._said()
        await self._note("top-up")

    async def _job_from_balance(self) -> None:
        request = self._private_request("bob", "Fix issue 43 as well")
        self._name(request.id, "job2")
        self._open("job-request-encrypted", request, self._agent["autodev"].keypair)
        await self._hear("job-request-encrypted", request)
        self.told.events["processing-encrypted"] = (await self._said())["7000 processing"]
        self._open("processing-encrypted", self.told.events["processing-encrypted"], key_of("bob"))
        await self._deliver(await self._assignment(), "Resolved: pull request #8 is open.")
        result = (await self._said())["6050"]
        self.told.events["result-encrypted"] = result
        self._open("result-encrypted", result, key_of("bob"))
        await self._note("from-balance")

    async def _cancelled_job(self) -> None:
        autodev = self._agent["autodev"].keypair.pubkey
        now = self._clock.now()
        request = key_of("bob").sign(
            kind=5050, content="", tags=[("i", "Fix issue 44", "text"), ("p", autodev)], created_at=now
        )
        self._name(request.id, "job3")
        await self._hear("job-request-small", request)
        await self._said()
        child = await self._assignment()
        tags = [("e", request.id), ("k", "5050")]
        cancel = key_of("bob").sign(kind=5, content="not needed any more", tags=tags, created_at=now)
        await self._hear("cancel", cancel)
        said = await self._said()
        assert said["5"].tag("e") == child.id, "the assignment is taken back"
        self.told.events |= {"error": said["7000 error"], "assignment-withdrawn": said["5"]}
        await self._note("released")

    async def _job_by_usage(self) -> None:
        scribe = self._agent["scribe"].keypair.pubkey
        tags = [("i", "Write a page about hedgehogs", "text"), ("p", scribe)]
        request = key_of("bob").sign(kind=5050, content="", tags=tags, created_at=self._clock.now())
        self._name(request.id, "job4")
        await self._hear("job-request-usage", request)
        await self._said()
        child = await self._assignment()
        await self._deliver(child, "Hedgehogs are …", usage=[("tokens", 500_000)])
        await self._said()
        await self._note("unused-hold")

    async def _late_payment(self) -> None:
        request = self._private_request("frank", "Fix issue 45")
        self._name(request.id, "job5")
        await self._hear("job-request-of-frank", request)
        asked = (await self._said())["7000 payment-required"]
        self.told.events["payment-required-encrypted"] = asked
        self._open("payment-required-encrypted", asked, key_of("frank"))
        self._clock.advance(3_601)
        await assignments.release_due(self._bot)
        await self._said()
        self._node.settle(f"job/{request.id}", 12_000_000)
        await Settlements(self._bot).follow()
        await self._said()
        await self._note("late-payment")

    async def _payouts(self) -> None:
        self._node.fee_msat = 1_198
        await self._pay_out("alice", RULES, self._invoice)
        await self._note("payout")

        async def refuses(target: str, amount: Msat) -> DecodedInvoice:
            raise Rejected("invalid", "wallet refuses", says=f"no {amount} msat for {target}")

        await self._pay_out("dave", replace(RULES, attempts_max=1), refuses)
        await self._note("payout-stopped")
        self._node.fee_msat = 8_000
        await self._pay_out("grace", RULES, self._invoice)
        await self._note("fee-above-reserve")
        self._node.fee_msat = -200_000  # the wallet took a part of it and gave the preimage all the same
        await self._pay_out("heidi", RULES, self._invoice)
        await self._note("paid-in-part")

    async def _money_nobody_asked_for(self) -> None:
        self._node.settle("keysend-1", 5_000_000)
        await Settlements(self._bot).follow()
        await self._note("unknown-invoice")

    async def _the_day(self) -> None:
        self._clock.advance(86_400)
        rules = Rules(k=1, dominance_percent=100, round_msat=1_000, demo=True)  # eight people: nothing else would stand
        await publish_day(self._bot.book, self._keyring.key("books"), rules, DAY, now=self._clock.now())
        self.told.events["summary"] = (await self._said())["37170"]
        books, chance = self._keyring.key("books"), self._bot.chance
        assert await publish_liabilities(self._bot.book, books, rules, chance, now=self._clock.now())
        self.told.events["liabilities"] = (await self._said())["37171"]

    # ---- what they are made of

    async def _hear(self, name: str, event: Event) -> None:
        """Let the bot handle `event`, and keep it under `name`."""
        self.told.events[name] = event
        self._name(event.id, name)
        decision = await self._inbox._handler(event.kind)(event)
        if isinstance(decision, Plan):
            answer = await self._bot.book.apply(decision)
            assert answer.verdict is Verdict.APPLIED, f"{name}: {answer}"
        else:
            assert name in {"cancel", "listing-withdrawn"}, f"{name}: {decision}"  # ends each job by a Plan of its own

    async def _said(self) -> dict[str, Event]:
        """Return what the bot owed the world since the last look, by kind and status: `7000 processing`."""
        rows = await self._bot.book.database.fetch(
            "SELECT rowid AS number, event FROM outbox WHERE rowid > :last", last=self._owed
        )
        self._owed = max([self._owed, *(row["number"] for row in rows)])
        events = [parse_event(row["event"]) for row in rows]
        return {f"{event.kind} {event.tag('status') or ''}".strip(): event for event in events}

    async def _note(self, journal: str) -> None:
        """Keep the transfers since the last journal, and what they left on each account they moved."""
        rows = await self._bot.book.database.fetch("SELECT * FROM transfers WHERE seq > :last", last=self._seq)
        self._seq = rows[-1]["seq"]
        left: dict[str, int] = {}
        for row in rows:
            left |= {row["debit"]: row["debit_after"], row["credit"]: row["credit_after"]}
        self.told.journals[journal], self.told.balances[journal] = rows, left

    async def _assignment(self) -> Event:
        await Assigning(self._bot).step()
        return (await self._said())["5050"]

    async def _deliver(
        self, child: Event, content: str, *, usage: Sequence[tuple[str, int]] = (), remember: bool = False
    ) -> None:
        """Let Carol's node claim and deliver."""
        carol, now = key_of("carol"), self._clock.now()
        claim = nip90.build_feedback(carol, request=child, status="processing", encrypt=self._secret(), now=now)
        result = nip90.build_result(carol, request=child, content=content, encrypt=self._secret(), usage=usage, now=now)
        await self._hear("claim" if remember else f"claim {child.id}", claim)
        if remember:
            self.told.events["processing-claimed"] = (await self._said())["7000 processing"]
            self._open("worker-result", result, self._bot.service)
        else:
            await self._said()
        await self._hear("worker-result" if remember else f"result {child.id}", result)

    async def _ask(self, name: str, words: str) -> None:
        _, wrap = self._wrapped(name, words)
        await self._hear(f"message of {name}: {words}", wrap)
        await self._said()

    def _wrapped(self, name: str, words: str) -> tuple[nip59.Rumor, Event]:
        now = self._clock.now()
        rumor = nip17.build_message(key_of(name).pubkey, [self._bot.service.pubkey], words, now=now)
        wrap = nip59.wrap(
            rumor,
            key_of(name),
            self._bot.service.pubkey,
            ephemeral=KeyPair(self._chance(32)),
            nonces=(self._chance(32), self._chance(32)),
            seal_created_at=now - 4_000,
            wrap_created_at=now - 9_000,
        )
        self._name(rumor.id, f"rumor {words.split(maxsplit=1)[0]}")
        return rumor, wrap

    def _private_request(self, name: str, words: str) -> Event:
        return nip90.build_job_request(
            key_of(name),
            kind=5050,
            inputs=[nip90.Input(words, "text")],
            provider=self._agent["autodev"].keypair.pubkey,
            encrypt=self._secret(),
            now=self._clock.now(),
        )

    def _secret(self) -> Encryption:
        return Encryption(NIP44, self._chance(32))

    def _open(self, name: str, event: Event, reader: KeyPair) -> None:
        """Remember what an encrypted event says to its reader."""
        self.told.inside[name] = decrypt(event.content, reader, event.pubkey, NIP44)

    async def _pay_out(self, name: str, rules: PayoutRules, request_invoice: RequestInvoice) -> None:
        payouts = Payouts(self._bot.book, self._node, self._clock, rules, request_invoice=request_invoice)
        checks = PayoutChecks(self._bot.book, self._clock, rules, look_up=_nobody, quote=nothing_on_chain)
        pubkey = key_of(name).pubkey
        await self._bot.book.decide(lambda: checks._decide_open(pubkey))
        for _ in ("prepare", "send"):
            await payouts.step(f"{pubkey}/1")

    async def _invoice(self, target: str, amount: Msat) -> DecodedInvoice:
        return signed_invoice(target, WALLETS_NODE, amount, now=self._clock.now())

    def _name(self, text: str, name: str) -> None:
        self.told.names.setdefault(text, name)


async def _nobody(_pubkey: str) -> None:
    """Look nothing up: everybody has said before where to be paid."""


def _rumor(rumor: nip59.Rumor) -> str:
    return nip59._ENCODER.encode(rumor).decode()
