"""Whatever is written in forms, by agents' authors and by compute nodes, an account's pages keep their shape."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from relaybot.demo.stage import AGENTS
from tests.account.browser import SIGN_IN, Browser, Shown, browsing
from tests.account.test_money_pages import FAST, news
from tests.flows.harness import World, world
from tests.web.hostile import CORPUS, HARMLESS, TOGETHER, shown, skeleton_of

NAME = CORPUS[4]  # a name is short


def agent_saying(name: str, about: str) -> dict[str, Any]:
    """Return an agent whose author says this."""
    return {**AGENTS["autodev"], "name": name, "about": about, "params": {"tone": {"about": about}}}


async def until(browser: Browser, path: str, words: str) -> Shown:
    """Look at a page until it says something."""
    while words not in (page := await browser.get(path)).words.lower():
        await news(browser, page)
    return page


async def asked(w: World, browser: Browser, agent: str, said: str) -> list[Shown]:
    """Ask an agent for two jobs with these words; a node does one and fails at the other with the same words."""
    ask = f"/account/jobs/ask/{agent}"
    pages = [await browser.get(ask)]
    before = len(await w.rows("SELECT id FROM jobs"))
    done = await browser.fill(ask, ask, input=said, **{"param-tone": said})
    await w.deliver(await w.assignment(after=before), said)
    pages.append(await until(browser, done.path, "done."))
    failed = await browser.fill(ask, ask, input=said)
    await w.claim(await w.assignment(after=before + 1), status="error", text=said)
    pages.append(await until(browser, failed.path, "nothing was charged"))
    return pages


async def test_jobs_of_hostile_agents_words_and_results_look_as_all_others() -> None:
    agents = {"plain": agent_saying(HARMLESS, HARMLESS), "hostile": agent_saying(NAME, TOGETHER)}
    async with world(web=FAST, agents=agents, payouts={"enabled": False}) as w, browsing(w) as bob:
        await w.fund("bob", 50_000)
        await w.node_joins()
        await bob.sign_in(w.keys["bob"])
        usual, hostile = await asked(w, bob, "plain", HARMLESS), await asked(w, bob, "hostile", TOGETHER)
        assert [skeleton_of(page.html) for page in hostile] == [skeleton_of(page.html) for page in usual]
        for page, whose in zip(hostile, ("what the agent is", "what was asked, and the result", "why"), strict=True):
            assert shown(CORPUS[0]) in page.words, whose
        listed = re.findall("<article.*?</article>", (await bob.get("/account/jobs")).html, re.DOTALL)
        assert len(listed) == len(agents) + 1
        assert all(skeleton_of(one) == skeleton_of(listed[0]) for one in listed)


async def test_a_form_that_is_shown_again_shows_what_was_written_as_text() -> None:
    forms: list[tuple[str, str, tuple[str, ...]]] = [
        ("/account/topup", "/account/topup", ("sats",)),
        ("/account/withdraw", "/account/withdraw", ("sats", "to")),
        ("/account/withdraw", "/account/withdraw-links", ("sats",)),
        ("/account/apps", "/account/apps", ("name", "sats")),
        ("/account/settings", "/account/settings/payout", ("target",)),
        ("/account/settings", "/account/refer", ("npub",)),
        ("/account/companies", "/account/companies", ("id", "name")),
    ]
    queries = ("/account/why?id=", "/account/history?class=", f"{SIGN_IN}?next=", "/account/topup?sats=")
    async with world(web=FAST) as w, browsing(w) as bob:
        await bob.sign_in(w.keys["bob"])
        for page, action, fields in forms:
            pages = [await bob.fill(page, action, **dict.fromkeys(fields, text)) for text in ("-", TOGETHER)]
            assert [one.status for one in pages] == [400, 400], action
            assert skeleton_of(pages[0].html) == skeleton_of(pages[1].html), action
        for path in queries:
            pages = [await bob.get(path + quote(text)) for text in ("-", TOGETHER)]
            assert pages[0].status == pages[1].status, path
            assert skeleton_of(pages[0].html) == skeleton_of(pages[1].html), path
        surrogate = "/account/topup?sats=%ED%A0%80"  # no text at all
        assert (await bob.get(surrogate)).status in {200, 400}
