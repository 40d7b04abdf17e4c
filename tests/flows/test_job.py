"""The main job over real sockets: asked, paid, done, split, paid out, and every way it can end without a charge."""

from __future__ import annotations

import time

from relaybot.demo.stage import AGENTS
from relaybot.nostr import nip90
from relaybot.nostr.encryption import NIP44, Encryption
from tests.flows.harness import PRICE, World, world
from wallet.bolt11_invoice import parse_bolt11

EARNED = {"alice": 2_000, "carol": 1_000, "dave": 500, "grace": 300, "heidi": 300}


async def referred(w: World) -> None:
    """Let Eve have referred Alice, and Frank Bob."""
    for name, referrer in (("alice", "eve"), ("bob", "frank")):
        person = await w.join(name)
        assert (await person.ask(w.bot, f"refer {w.keys[referrer].pubkey}")).startswith("Thank you")


async def test_the_worked_example_comes_out_to_the_sat() -> None:
    async with world() as w:
        await referred(w)
        await w.node_joins()
        request = await w.request("bob")
        asked = await w.feedback("bob", request, "payment-required")
        assert asked.amount_msat == PRICE
        await (await w.join("bob")).pay(asked.bolt11 or "")
        child = await w.assignment()
        await w.claim(child)
        await w.deliver(child, "the pull request is open")
        result = await w.result("bob", request)
        await w.feedback("bob", request, "success")
        assert result.content == "the pull request is open"
        assert result.tag("amount") is None
        order = [event.id for event in (await w.join("bob")).seen() if event.tag("e") == request.id]
        assert order[-2] == result.id  # then `success`, and nothing after it
        earned = {name: await w.balance(name) for name in (*EARNED, "eve", "frank")}
        assert earned == {name: sats * 1000 for name, sats in (EARNED | {"eve": 120, "frank": 120}).items()}
        assert await w.account("platform/revenue/sats") == 7_660_000
        assert await w.balance("bob") == 0
        await w.sound()


async def test_a_request_without_a_parameter_the_agent_needs_is_refused_and_told_which() -> None:
    params = {"language": {"required": True, "values": ["en", "de"]}, "tone": {}}
    async with world(agents={"autodev": {**AGENTS["autodev"], "params": params}}) as w:
        missing = await w.feedback("bob", await w.request("bob"), "error")
        assert missing.text == "invalid: param: AutoDev needs language"
        other = await w.feedback("bob", await w.request("bob", tags=[["param", "language", "fr"]]), "error")
        assert "language has another value" in other.text
        assert "allowed=en, de" in other.text
        await w.feedback("bob", await w.request("bob", tags=[["param", "language", "de"]]), "payment-required")


async def test_without_referrers_their_parts_fall_to_the_platform() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        await w.deliver(await w.assignment())
        await w.feedback("bob", request, "success")
        assert await w.account("platform/revenue/sats") == 7_900_000
        await w.sound()


async def test_a_balance_that_covers_the_price_is_asked_for_no_invoice() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        assert await w.rows("SELECT id FROM invoices WHERE job = :job", job=request.id) == []
        assert await w.account(f"hold/job/{request.id}/sats") == PRICE
        await w.sound()


async def test_an_encrypted_job_is_answered_encrypted_and_shows_no_amount() -> None:
    async with world() as w:
        await w.node_joins()
        bob = await w.join("bob")
        request = nip90.build_job_request(
            bob.keypair,
            kind=5050,
            inputs=[nip90.Input("a secret issue", "text")],
            provider=w.agent,
            encrypt=Encryption(NIP44, bytes(range(32))),
            now=int(time.time()),
        )
        await bob.send(request)
        asked = await w.feedback("bob", request, "payment-required")
        raw = next(one for one in bob.seen() if one.id == asked.event_id)
        assert raw.tag("amount") is None
        assert asked.bolt11 is not None
        assert asked.bolt11 not in raw.content
        await bob.pay(asked.bolt11)
        child = await w.assignment()
        carol = await w.join("carol")
        assert nip90.parse_job_request(child, carol.keypair).inputs[0].data == "a secret issue"
        assert "secret" not in str(child.tags) + child.content
        await w.deliver(child, "a secret answer")
        result = await w.result("bob", request)
        assert "secret" not in result.content
        assert nip90.parse_result(result, bob.keypair).content == "a secret answer"


async def test_the_node_is_told_its_part_and_its_lease() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        await w.request("bob")
        child = await w.assignment()
        asked = nip90.parse_job_request(child, (await w.join("carol")).keypair)
        assert asked.bid_msat == 1_000_000
        assert asked.expiration is not None
        assert asked.expiration > child.created_at


async def test_a_node_that_fails_releases_everything() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.claim(await w.assignment(), status="error", text="out of memory")
        refused = await w.feedback("bob", request, "error")
        assert "out of memory" in refused.text
        assert await w.balance("bob") == PRICE
        assert (await w.job(request))["state"] == "released"
        await w.sound()


async def test_a_cancel_before_delivery_releases_everything() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        child = await w.assignment()
        await (await w.join("bob")).publish(5, "", [["e", request.id], ["k", "5050"]])
        refused = await w.feedback("bob", request, "error")
        assert "cancelled" in refused.text
        assert await w.balance("bob") == PRICE
        late = await w.deliver(child)
        assert "pays nobody" in await w.handled(late)
        assert await w.balance("carol") == 0
        await w.sound()


async def test_somebody_else_cannot_cancel_a_job() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        cancel = await (await w.join("mallory")).publish(5, "", [["e", request.id]])
        assert "nothing of ours" in await w.handled(cancel)
        assert (await w.job(request))["state"] == "held"


async def test_a_job_nobody_pays_ends_when_its_time_is_over() -> None:
    async with world(jobs={"payment_seconds": 60}) as w:
        request = await w.request("bob")
        await w.feedback("bob", request, "payment-required")
        w.clock.advance(60)
        refused = await w.feedback("bob", request, "error")
        assert "not paid in time" in refused.text
        await w.sound()


async def test_a_job_no_node_takes_is_released() -> None:
    async with world(jobs={"queue_seconds": 1}) as w:
        await w.fund("bob", 12_000)
        request = await w.request("bob")
        refused = await w.feedback("bob", request, "error")
        assert "no compute node" in refused.text
        assert await w.balance("bob") == PRICE
        await w.sound()


async def test_a_node_that_does_not_claim_loses_the_job_to_the_next() -> None:
    async with world(jobs={"claim_seconds": 60}) as w:
        await w.fund("bob", 12_000)
        await w.node_joins("carol")
        request = await w.request("bob")
        first = await w.assignment("carol")
        await w.node_joins("dave")
        w.clock.advance(60)
        second = await w.assignment("dave")
        await w.deliver(second, name="dave")
        await w.feedback("bob", request, "success")
        late = await w.deliver(first, name="carol")
        assert "pays nobody" in await w.handled(late)
        assert await w.balance("dave") == 1_500_000
        assert await w.balance("carol") == 0
        await w.sound()


async def test_a_contributor_is_paid_to_the_wallet_of_their_profile_even_if_it_was_published_before() -> None:
    async with world() as w:
        frank = await w.join("frank")
        await frank.publish(0, '{"name": "Frank", "lud16": "frank@wallets.test"}')
        await referred(w)
        await w.fund("bob", 12_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.deliver(await w.assignment())
        await w.feedback("bob", request, "success")

        async def paid() -> bool:
            rows = await w.rows("SELECT state FROM payouts WHERE pubkey = :key", key=w.keys["frank"].pubkey)
            return [row["state"] for row in rows] == ["paid"]

        await w.until(paid)
        assert await frank.received_msat() == 115_000
        await w.sound()


async def test_an_invoice_asked_for_and_given_is_real() -> None:
    async with world() as w:
        request = await w.request("bob")
        asked = await w.feedback("bob", request, "payment-required")
        invoice = parse_bolt11(asked.bolt11 or "")
        assert (invoice.amount_msat, invoice.network) == (PRICE, "bcrt")
