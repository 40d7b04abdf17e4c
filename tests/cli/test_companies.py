"""The operator's commands about companies, beside a running service."""

from __future__ import annotations

from relaybot.errors import RelaybotError
from relaybot.nostr import nip19
from tests.cli.test_cli import _own_logging, answer, invoke
from tests.flows.harness import World, world

__all__ = ["_own_logging"]


def npub(w: World, name: str) -> str:
    return nip19.encode_npub(w.keys[name].pubkey)


async def refused(w: World, *words: str) -> str:
    result = await invoke(w, *words)
    assert isinstance(result.exception, RelaybotError), result.output
    return str(result.exception)


async def test_a_company_is_made_filled_spent_and_ended_at_the_command_line() -> None:
    async with world(companies={"bulk": [{"from": "100000 sat", "bonus": "5%"}]}) as w:
        bob, eve = await w.join("bob"), await w.join("eve")
        assert (await answer(w, "org", "create", "acme", npub(w, "bob"), "--name", "Acme Ltd."))["done_now"] is True
        assert "this id is taken" in await refused(w, "org", "create", "acme", npub(w, "bob"))
        assert "a company's id" in await refused(w, "org", "create", "Acme", npub(w, "bob"))
        assert [one["id"] for one in await answer(w, "org", "list")] == ["acme"]
        assert (await answer(w, "org", "add", "acme", npub(w, "eve"), "--budget", "20000/month"))["done_now"] is True
        assert "belong to the company" in await refused(w, "org", "budget", "acme", npub(w, "frank"), "none")
        assert "You belong to acme" in await eve.ask(w.bot, "org accept acme")
        bill = await answer(w, "org", "topup", "acme", "100000")
        assert (bill["amount_msat"], bill["bonus_msat"]) == (100_000_000, 5_000_000)
        assert "a top-up is" in await refused(w, "org", "topup", "acme", "99000000")
        assert (await answer(w, "org", "topup", "acme", "100000"))["invoice"] != bill["invoice"]
        await bob.pay(bill["invoice"])

        async def topped_up() -> bool:
            return await w.account("org/acme/promo") == 5_000_000

        await w.until(topped_up)
        assert (await answer(w, "org", "limit", "acme", "5000"))["done_now"] is True
        request = await w.request("eve", tags=[["param", "org", "acme"]])
        assert "waits for the company" in (await w.feedback("eve", request, "processing")).text
        shown = await answer(w, "org", "show", "acme")
        assert [one.split(":")[0] for one in shown["waiting"]] == [request.id]
        assert await answer(w, "org", "approve", "acme", request.id[:8]) == {"job": request.id, "state": "held"}
        assert "waits for nobody's word" in await refused(w, "org", "refuse", "acme", request.id[:8])
        await w.node_joins()
        await w.deliver(await w.assignment())
        await w.result("eve", request)
        rows = await answer(w, "org", "statement", "acme")
        assert {row["member"] for row in rows} == {"", npub(w, "eve")}
        text = (await invoke(w, "org", "statement", "acme", "--csv")).stdout
        assert len(text.splitlines()) == len(rows) + 1
        assert await answer(w, "org", "statement", "acme", "--month", "2020-01") == []
        assert (await answer(w, "org", "budget", "acme", npub(w, "eve"), "1/month"))["done_now"] is True
        assert (await answer(w, "org", "limit", "acme", "none"))["done_now"] is True
        assert (await answer(w, "org", "remove", "acme", npub(w, "eve")))["done_now"] is True
        assert "do not belong" in await refused(w, "org", "owner", "acme", npub(w, "eve"))
        left = await w.account("org/acme/sats")
        ended = await answer(w, "org", "dissolve", "acme")
        assert 0 < ended["to_owner_msat"] < left
        assert await w.account("org/acme/sats") == 0
        assert "this company is dissolved" in await refused(w, "org", "topup", "acme", "100")
        assert "no company has this id" in await refused(w, "org", "show", "nonsense")
        await w.sound()
