"""Jobs on the pages: asked for in a form, or signed in the browser; watched, paid and read."""

from __future__ import annotations

import asyncio
import json
import secrets
import time

from relaybot.demo.stage import AGENTS
from relaybot.nostr import nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import encode_event
from tests.account.browser import browsing
from tests.account.test_money_pages import FAST, news
from tests.flows.harness import world

PARAMS = {"language": {"required": True, "values": ["en", "de"]}, "tone": {"about": "of the text"}}
ASK = "/account/jobs/ask/autodev"


async def test_a_job_is_asked_for_in_a_form_paid_by_its_bill_and_read_on_its_page() -> None:
    async with world(web=FAST, agents={"autodev": {**AGENTS["autodev"], "params": PARAMS}}) as w, browsing(w) as bob:
        await w.node_joins()
        await bob.sign_in(w.keys["bob"])
        form = await bob.get(ASK)
        assert form.form(ASK) | {"once": "", "csrf": ""} == {
            "csrf": "", "once": "", "event": "", "param-language": "en", "param-tone": "", "input": "",
        }  # fmt: skip
        words = {"param-language": "de", "param-tone": "dry as dust", "input": "Fix x=y\n  and <b>test</b> it"}
        asked = await bob.fill(form, ASK, **words)
        assert (await bob.fill(form, ASK, **words)).path == asked.path
        while "waits for your payment" not in (shown := await bob.get(asked.path)).words.lower():
            await news(bob, shown)
        bolt11 = shown.html.partition('id="payable">')[2].partition("<")[0]
        waiting = asyncio.create_task(news(bob, shown))
        await (await w.join("bob")).pay(bolt11)
        assert await waiting == "changed"
        await w.deliver(await w.assignment(), "Two lines.\n<script>alert(1)</script>")
        while "Done" not in (shown := await bob.get(asked.path)).words:
            await news(bob, shown)
        assert "Two lines.\n&lt;script&gt;alert(1)&lt;/script&gt;" in shown.html
        assert "language: de\ntone: dry as dust\nFix x=y" in shown.html
        assert "autodev done 12,000 sat" in (await bob.get("/account/jobs")).words
        assert (await bob.fill(ASK, ASK, input=" ")).status == 400
        (request,) = await w.rows("SELECT request FROM jobs")
        assert json.loads(request["request"])["sig"] == "0" * 128
        assert {event.kind for event in (await w.join("bob")).seen()} <= {1059}  # nothing of it is public
        await w.sound()


async def test_a_request_that_the_browser_signed_is_published_and_answered_as_any_other() -> None:
    async with world(web=FAST) as w, browsing(w) as bob:
        await w.fund("bob", 12_000)
        await w.node_joins()
        await bob.sign_in(w.keys["bob"])
        form = await bob.get(ASK)
        assert f'data-agent="{w.agent}"' in form.html
        assert 'data-kind="5050"' in form.html

        def request(name: str, agent: str) -> str:
            event = nip90.build_job_request(
                w.keys[name],
                kind=5050,
                inputs=[nip90.Input("Fix it", "text")],
                provider=agent,
                encrypt=Encryption(NIP44, secrets.token_bytes(32)),
                now=int(time.time()),
            )
            return encode_event(event)

        for wrong in (request("eve", w.agent), request("bob", w.keys["eve"].pubkey), "{}"):
            assert (await bob.fill(form, ASK, event=wrong)).status == 400
        shown = await bob.fill(form, ASK, event=request("bob", w.agent))
        await w.deliver(await w.assignment(), "a secret result")
        while "Done" not in (shown := await bob.get(shown.path)).words:
            await news(bob, shown)
        assert "a secret result" in shown.words
        assert "Fix it" in shown.words
        assert "in private" in shown.words


async def test_a_job_that_is_refused_says_so_and_one_that_fails_says_why() -> None:
    async with world(web=FAST) as w, browsing(w) as bob:
        await w.fund("bob", 12_000)
        await w.node_joins()
        await bob.sign_in(w.keys["bob"])
        shown = await bob.fill(ASK, ASK, input="x" * 40_000)
        while "was refused" not in (shown := await bob.get(shown.path)).words:
            await news(bob, shown)
        failed = await bob.fill(ASK, ASK, input="Fix it")
        await w.claim(await w.assignment(), status="error", text="<i>no such issue</i>")
        while "nothing was charged" not in (shown := await bob.get(failed.path)).words:
            await news(bob, shown)
        assert "the compute node failed: <i>no such issue</i>" in shown.words
        assert (await bob.get("/account/jobs/ask/nobody")).status == 404
