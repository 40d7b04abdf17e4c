"""What the operator can stop and decide, beside a running service."""

from __future__ import annotations

from relaybot.nostr import nip19
from relaybot.simulator.scripts import Outcome, Script
from tests.cli.test_cli import answer, invoke
from tests.flows.harness import World, world
from wallet.money import from_sat


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
