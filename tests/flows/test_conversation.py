"""The conversation over private messages: what a person can say, and what they are answered."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

from websockets.asyncio.server import ServerConnection, serve

from relaybot.demo.people import Person
from relaybot.demo.stage import HOST
from relaybot.nostr import nip04, nip17, nip19, nip59, nip89
from relaybot.nostr.event import Event, event_from
from relaybot.nostr.keys import KeyPair
from tests.flows.harness import PRICE, world


async def test_help_names_every_command() -> None:
    async with world() as w:
        answer = await (await w.join("bob")).ask(w.bot, "help")
        assert all(name in answer for name in ("balance", "topup", "payout", "refer"))


ANSWERS = {
    "balance": "0 sat",
    "BALANCE": "0 sat",
    "balanse": "Did you mean: balance",
    "history": "Nothing has moved",
    "history 51": "1 to 50",
    "statement": "time,account,amount_msat",
    "xyzzy": "Write help",
    "topup": "Pay this invoice with what you like",
    "topup 5000 card": "this service takes no cards",
    "topup 5000 gold": "by lightning, onchain, or card",
    "topup 5000 onchain now": "too many words",
    "topup 999 onchain": "at least 1,000 sat",
    "topup many": "whole number",
    "topup -5": "whole number",
    "topup 1e3": "whole number",
    "topup 0": "a top-up is",
    "topup 99999999": "a top-up is",
    "payout": "Nothing was paid out",
    "payout nonsense": "Usage: payout",
    "payout a b c": "too many words",
    "payout threshold lots": "whole number",
    "refer": "who referred you",
    "refer nobody": "Usage: refer",
}


async def test_what_is_said_is_answered_with_what_to_do() -> None:
    async with world() as w:
        bob = await w.join("bob")
        found = {said: await bob.ask(w.bot, said) for said in ANSWERS}
        assert [said for said, answered in ANSWERS.items() if answered not in found[said]] == []


async def test_amounts_stand_in_the_money_of_a_state_too_where_somebody_knows_the_price() -> None:
    async with world(rates={"bitcoin": "95000 EUR"}) as w:
        bob = await w.join("bob")
        assert "add 10,000 sat (about 9.50 EUR) to" in await bob.ask(w.bot, "topup 10000")
        assert "12,000 sat (about 11.40 EUR): job autodev" in await bob.ask(w.bot, "agents")
        assert await bob.ask(w.bot, "balance") == "Your balance is 0 sat."


async def test_a_topup_that_would_exceed_the_limit_of_a_balance_is_refused() -> None:
    async with world(limits={"topup_max": "1000 sat", "balance_max": "1000 sat"}) as w:
        await w.fund("bob", 600)
        assert "at most 1,000 sat" in await (await w.join("bob")).ask(w.bot, "topup 500")


async def test_a_referrer_is_named_once_and_not_oneself_and_in_no_circle() -> None:
    async with world() as w:
        bob, frank, eve = await w.join("bob"), await w.join("frank"), await w.join("eve")
        assert "circle" in await bob.ask(w.bot, f"refer {bob.pubkey}")
        assert "Thank you" in await bob.ask(w.bot, f"refer {nip19.encode_npub(frank.pubkey)}")
        assert "already" in await bob.ask(w.bot, f"refer {eve.pubkey}")
        assert "Thank you" in await frank.ask(w.bot, f"refer {eve.pubkey}")
        assert "circle" in await eve.ask(w.bot, f"refer {bob.pubkey}")


async def test_a_referrer_is_named_early_or_not_at_all() -> None:
    async with world(referrals={"window_days": 0}) as w:
        await w.fund("bob", 100)
        bob = await w.join("bob")
        await w.tamper("UPDATE users SET first_funded_at = first_funded_at - 1")
        assert "within 0 days" in await bob.ask(w.bot, f"refer {w.keys['eve'].pubkey}")


async def test_i7_a_command_in_a_second_wrap_is_done_once() -> None:
    async with world() as w:
        bob, now = await w.join("bob"), int(time.time())
        rumor = nip17.build_message(bob.pubkey, [w.bot], "topup 100", now=now)
        wraps = [
            nip59.wrap(
                rumor,
                bob.keypair,
                w.bot,
                ephemeral=KeyPair(secrets.token_bytes(32)),
                nonces=(secrets.token_bytes(32), secrets.token_bytes(32)),
                seal_created_at=now,
                wrap_created_at=now,
            )
            for _ in range(2)
        ]
        for wrap in wraps:
            await bob.send(wrap)
            await w.handled(wrap)
        assert len(await w.rows("SELECT id FROM invoices")) == 1
        assert len(await w.rows("SELECT id FROM outbox WHERE event LIKE '%\"kind\":1059%'")) == 1


async def test_an_empty_message_and_a_wrap_that_is_not_for_us_are_left_alone() -> None:
    async with world() as w:
        bob = await w.join("bob")
        junk = await bob.publish(1059, "not encrypted", [["p", w.bot]])
        assert "refused" in await w.handled(junk)


async def test_what_somebody_earns_stays_balance_if_they_say_keep_and_is_sent_when_they_change_their_mind() -> None:
    async with world() as w:
        alice = await w.join("alice")
        assert "stays your balance" in await alice.ask(w.bot, "payout keep")
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.deliver(await w.assignment())
        await w.feedback("bob", request, "success")
        assert await w.balance("alice") == 2_000_000
        assert "5,000 sat" in await alice.ask(w.bot, "payout threshold 5000")
        assert "is sent to" in await alice.ask(w.bot, f"payout {alice.address}")
        assert await w.balance("alice") == 2_000_000
        assert "1,000 sat" in await alice.ask(w.bot, "payout threshold 1000")

        async def paid() -> bool:
            return bool(await w.rows("SELECT id FROM payouts WHERE state = 'paid'"))

        await w.until(paid)
        assert await alice.received_msat() == 1_980_000
        assert "1,980 sat to alice@wallets.test: paid" in await alice.ask(w.bot, "payout")
        await w.sound()


async def test_private_messages_can_be_turned_off() -> None:
    async with world(dm={"enabled": False}) as w:
        bob = await w.join("bob")
        junk = await bob.publish(1059, "whatever", [["p", w.bot]])
        request = await w.request("bob")
        await w.feedback("bob", request, "payment-required")
        assert await w.rows("SELECT id FROM inbox WHERE id = :id", id=junk.id) == []


async def test_d4_money_that_comes_after_its_job_has_ended_is_balance_and_a_message_says_so() -> None:
    async with world() as w:
        bob = await w.join("bob")
        request = await w.request("bob")
        asked = await w.feedback("bob", request, "payment-required")
        await bob.publish(5, "", [["e", request.id]])
        await w.feedback("bob", request, "error")
        await bob.pay(asked.bolt11 or "")

        async def arrived() -> bool:
            return await w.balance("bob") == PRICE

        await w.until(arrived)
        told = await bob.wait_for("a message", lambda event: event.kind == 1059)
        assert "your balance now" in nip17.parse_message(nip59.unwrap(told, bob.keypair)).text
        await w.sound()


MALFORMED: list[tuple[int, str, list[list[str]]]] = [
    (0, "not json", []),
    (0, "[" * 20_000, []),
    (0, '{"lud16": 5}', []),
    (0, '{"lud16": "nonsense"}', []),
    (0, "x" * 40_000, []),
    (10133, "", [["payto", "lightning"]]),
    (10133, "", [["payto", "lightning", "a@127.0.0.1"]]),
    (31990, "{}", [["d", "bee"], ["t", "workerbee"], ["k", "5050"]]),
    (11998, "", [["status", "sleepy"]]),
]


async def test_a_malformed_statement_of_a_contributor_changes_nothing() -> None:
    async with world() as w:
        carol, began = await w.join("carol"), int(time.time()) - 60
        for number, (kind, content, tags) in enumerate(MALFORMED):  # each newer than the one it takes the place of
            said = [*tags, ["p", w.bot]]
            event = carol.keypair.sign(kind=kind, content=content, tags=said, created_at=began + number)
            await carol.send(event)
            await w.handled(event)
            assert await w.rows("SELECT id FROM targets WHERE target <> ''") == [], content[:80]
            assert await w.rows("SELECT id FROM workers WHERE announced_until > 0 AND beat_until > 0") == []


async def test_an_older_statement_from_another_relay_does_not_undo_a_newer_one() -> None:
    async with world() as other, world(start=False) as w:
        w.config = w.config.model_copy(update={"relays": (f"ws://127.0.0.1:{other.port}",)})
        other.keys = w.keys
        await w.start()
        alice, now = await w.join("alice"), int(time.time())
        for where, created_at, name in ((alice, now, "new"), (await other.join("alice"), now - 100, "old")):
            tags = [["payto", "lightning", f"{name}@wallets.test"]]
            event = alice.keypair.sign(kind=10133, content="", tags=tags, created_at=created_at)
            await where.send(event)
            await w.handled(event)
        assert [row["target"] for row in await w.rows("SELECT target FROM targets")] == ["new@wallets.test"]


async def test_an_older_heartbeat_or_announcement_from_another_relay_changes_nothing() -> None:
    async with world() as other, world(start=False) as w:
        w.config = w.config.model_copy(update={"relays": (f"ws://127.0.0.1:{other.port}",)})
        other.keys = w.keys
        await w.start()
        carol, now = await w.node_joins(), int(time.time())
        elsewhere = await other.join("carol")
        old = [
            nip89.build_heartbeat(carol.keypair, service=w.bot, status="busy", expiration=now + 900, now=now - 50),
            nip89.build_worker_announcement(
                carol.keypair,
                identifier="bee",
                service=w.bot,
                kinds=[5999],
                name="",
                about="",
                expiration=now + 900,
                now=now - 50,
            ),
        ]
        for event in old:
            await elsewhere.send(event)
            assert "an older" in await w.handled(event)
        rows = await w.rows("SELECT status, kinds FROM workers")
        assert [(row["status"], row["kinds"]) for row in rows] == [("idle", "[5050]")]


async def test_an_answer_is_also_brought_to_where_its_receiver_reads() -> None:
    got: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def inbox_of_bob(visitor: ServerConnection) -> None:
        event = event_from(json.loads(await visitor.recv())[1])
        await visitor.send(json.dumps(["OK", event.id, True, ""]))
        if not got.done():
            got.set_result(event)

    async with serve(inbox_of_bob, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with world(outgoing={"hosts": {"inbox.test": f"http://{HOST}:{port}"}}) as w:
            bob = await w.join("bob")
            await bob.ask(w.bot, "help")
            await w.handled(
                await bob.publish(10050, "", [["relay", f"ws://{HOST}:{w.port}"], ["relay", "wss://inbox.test"]])
            )
            await bob.ask(w.bot, "balance")
            async with asyncio.timeout(20):
                answer = nip59.unwrap(await got, bob.keypair)
            assert "0 sat" in nip17.parse_message(answer).text


async def test_i7_a_stranger_is_answered_so_often_a_day_and_whoever_has_money_always() -> None:
    async with world(dm={"stranger_answers_per_day": 1}) as w:
        mallory, bob = await w.join("mallory"), await w.join("bob")
        await mallory.ask(w.bot, "help")
        unanswered, _ = await mallory.say(w.bot, "help me")
        assert "often enough" in await w.handled(unanswered)
        w.clock.advance(86_400)
        await mallory.ask(w.bot, "help again")
        await w.fund("bob", 100)
        for _ in range(2):
            await bob.ask(w.bot, "balance")


async def test_who_still_writes_in_the_old_way_is_answered_in_it_and_only_if_the_operator_wants_that() -> None:
    async with world(dm={"nip04": True}) as w:
        bob = await w.join("bob")

        async def ask(text: str) -> str:
            content = nip04.encrypt(text, bob.keypair, w.bot, secrets.token_bytes(16))
            asked = await bob.publish(4, content, [["p", w.bot]])
            answer = await bob.wait_for("an answer", lambda one: one.kind == 4 and one.tag("e") == asked.id)
            return nip04.decrypt(answer.content, bob.keypair, w.bot)

        assert "0 sat" in await ask("balance")
        assert "AutoDev is asked" in await ask("job autodev Fix issue 42")
        bill = await bob.wait_for("the bill", lambda one: one.kind == 4 and "lnbc" in text_of(one, bob, w.bot))
        assert bill.pubkey == w.bot
    async with world() as w:
        bob = await w.join("bob")
        ignored = await bob.publish(4, "x", [["p", w.bot]])
        await bob.ask(w.bot, "balance")
        assert await w.rows("SELECT id FROM inbox WHERE id = :id", id=ignored.id) == []


def text_of(event: Event, reader: Person, other: str) -> str:
    return nip04.decrypt(event.content, reader.keypair, other)
