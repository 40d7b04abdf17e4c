"""What the operator can stop and decide, beside a running service."""

from __future__ import annotations

import time

from relaybot.nostr import nip19
from relaybot.simulator.scripts import Outcome, Script
from tests.cli.test_cli import answer, invoke
from tests.flows.harness import World, world
from tests.lightning.situations_of_chain import STRANGER
from wallet.money import from_sat
from wallet.payouts import ORPHAN


async def sent(w: World) -> str:
    """Let Bob withdraw 1,000 sat that stay pending; return the payout's id."""
    w.network.scripts.add(Script(outcome=Outcome.HOLD))
    bob = await w.join("bob")
    await bob.ask(w.bot, f"withdraw {w.network.people.invoice('alice', from_sat(1_000))}")
    await w.until(lambda: _is_sent(w))
    (row,) = await w.rows("SELECT id FROM payouts")
    return str(row["id"])


async def _is_sent(w: World) -> bool:
    return bool(await w.rows("SELECT id FROM attempts WHERE state = 'sent'"))


async def test_withdrawals_of_one_user_are_closed_and_opened_and_jobs_stay_open() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.fund("bob", 20_000)
        bob, npub = await w.join("bob"), nip19.encode_npub(w.keys["bob"].pubkey)
        found = await answer(w, "users", "withdrawals", "off", npub, "--reason", "we are asking a question")
        assert found["withdrawals"] == "closed"
        refused = await bob.ask(w.bot, f"withdraw {w.network.people.invoice('alice', from_sat(1_000))}")
        assert "withdrawals are closed for you: we are asking a question" in refused
        await w.feedback("bob", await w.request("bob"), "processing")
        await answer(w, "users", "withdrawals", "on", npub)
        assert "go to" in await bob.ask(w.bot, f"withdraw {w.network.people.invoice('alice', from_sat(500))}")
        nobody = await invoke(w, "users", "withdrawals", "off", nip19.encode_npub("ab" * 32))
        assert nobody.exit_code != 0
        assert "nobody with this key was ever here" in str(nobody.exception)


async def test_a_rail_is_paused_and_goes_on() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.fund("bob", 5_000)
        bob = await w.join("bob")
        paused = await answer(w, "pause", "lightning", "--reason", "the node is moved")
        assert (paused["state"], paused["by"]) == ("paused", "operator")
        refused = await bob.ask(w.bot, f"withdraw {w.network.people.invoice('alice', from_sat(1_000))}")
        assert "paused by the operator (lightning): the node is moved" in refused
        assert (await answer(w, "resume", "lightning"))["state"] == "open"
        assert "go to" in await bob.ask(w.bot, f"withdraw {w.network.people.invoice('alice', from_sat(500))}")


async def test_a_payout_that_was_sent_is_not_given_up_while_it_may_arrive() -> None:
    async with world(payouts={"enabled": False}) as w:
        await w.fund("bob", 5_000)
        payout = await sent(w)
        assert "only --i-have-checked" in str((await invoke(w, "payouts", "give-up", payout)).exception)
        assert "a channel holds it" in str(
            (await invoke(w, "payouts", "give-up", payout, "--i-have-checked")).exception
        )
        assert (await answer(w, "payouts", "retry", payout))["next"] == "now"
        assert await answer(w, "payouts", "list", "--stuck") == []
        assert "there is no such payout" in str((await invoke(w, "payouts", "retry", "nothing")).exception)
        await w.sound()


async def test_c17_a_payment_whose_end_is_not_known_is_shown_with_its_age_and_what_to_do() -> None:
    async with world(payouts={"enabled": False, "stuck_seconds": 600}) as w:
        await w.fund("bob", 5_000)
        payout, now = await sent(w), int(time.time())
        for change, what_to_do in (
            ("expires_at = 9999999999", "wait: the invoice has not expired"),
            ("expires_at = 0", "wait while the node says pending"),
            (f"reason = '{ORPHAN}'", "make sure that no channel holds it"),
            ("doubt = 'paid'", "the node says it was paid after it had counted as failed: relaybot books check"),
        ):
            await w.tamper(f"UPDATE attempts SET sent_at = {now - 601}, {change}")  # noqa: S608  our own words
            (stuck,) = await answer(w, "payouts", "list", "--stuck")
            assert (stuck["id"], stuck["kind"], stuck["amount_msat"]) == (payout, "withdrawal", 1_000_000)
            assert stuck["age_seconds"] >= 601
            assert stuck["what_to_do"].startswith(what_to_do)
        told = await invoke(w, "payouts", "list", "--stuck")
        assert "relaybot books check" in told.output
        await w.tamper("UPDATE attempts SET state = 'failed'")  # a contradiction is shown whatever the book made of it
        assert len(await answer(w, "payouts", "list", "--stuck")) == 1
        await w.tamper("UPDATE attempts SET doubt = ''")
        assert await answer(w, "payouts", "list", "--stuck") == []
        await w.tamper("UPDATE attempts SET state = 'sent'")


async def test_a_payment_on_the_chain_is_shown_with_its_transaction_and_is_not_given_up() -> None:
    onchain = {"batch_seconds": 0, "spend_confirmations": 1}
    async with world(start=False, payouts={"enabled": False}, onchain=onchain) as w:
        made = await w.network.nodes["service"].answer("newaddr", {"addresstype": "p2tr"})
        w.network.chain.send(made["p2tr"], from_sat(5_000_000))
        w.network.chain.mine()
        await w.start()  # what the node holds at our first look is the operator's
        await w.fund("bob", 50_000)
        bob = await w.join("bob")
        assert "20,000 sat go to" in await bob.ask(w.bot, f"withdraw 20000 {STRANGER}")
        await w.until(lambda: _is_seen(w))
        batch = await answer(w, "payouts", "batches", "--unfinished")
        assert (batch[0]["state"], batch[0]["outputs"], batch[0]["height"]) == ("sent", 1, 0)
        (payout,) = await answer(w, "payouts", "list", "--unfinished")
        assert (payout["rail"], payout["state"], payout["txid"]) == ("onchain", "paying", batch[0]["txid"])
        refused = await invoke(w, "payouts", "give-up", payout["id"], "--i-have-checked")
        assert "one version only" in str(refused.exception)
        await w.tamper("UPDATE batches SET created_at = 0")
        (stuck,) = await answer(w, "payouts", "list", "--stuck")
        assert (stuck["id"], stuck["payment_hash"]) == ("batch 1", batch[0]["txid"])


async def _is_seen(w: World) -> bool:
    return bool(await w.rows("SELECT id FROM batches WHERE seen = 1"))
