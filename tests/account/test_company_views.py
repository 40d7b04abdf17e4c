"""Every way in which a company is looked at: its owner sees all, a member what is their own, a stranger nothing."""

from __future__ import annotations

from functools import partial

from relaybot.nostr import nip19
from tests.account.browser import Browser, browsing
from tests.account.test_api import Api, api, served
from tests.flows.harness import World

COMPANY = "/account/companies/acme"
OWNER, MEMBER, OTHER, STRANGER = "bob", "eve", "heidi", "mallory"
LEFT = ("52,000", "52000")  # sats that the company has after two jobs, as people and as programs read it


async def founded(w: World) -> dict[str, str]:
    """Let Bob found a company with two members, each of whom has a job that it pays; return their jobs."""
    await w.fund(OWNER, 1)
    jobs = {}
    bob = await w.join(OWNER)
    await bob.ask(w.bot, "org create acme")
    bill = next(word for word in (await bob.ask(w.bot, "org topup acme 76000")).split() if word.startswith("ln"))
    await bob.pay(bill)
    await w.until(partial(has_arrived, w))
    for name in (MEMBER, OTHER):
        await bob.ask(w.bot, f"org add acme {nip19.encode_npub(w.keys[name].pubkey)}")
        await (await w.join(name)).ask(w.bot, "org accept acme")
        request = await w.request(name, f"for {name}", tags=[["param", "org", "acme"]])
        await w.feedback(name, request, "processing")
        jobs[name] = request.id
    return jobs


async def has_arrived(w: World) -> bool:
    return await w.account("org/acme/sats") == 76_000_000


async def views(w: World, name: str, browser: Browser, caller: Api, org: str = "acme") -> dict[str, str]:
    """Look at a company in every way there is; return what each shows."""
    person = await w.join(name)
    page, csv = f"/account/companies/{org}", f"/account/companies/{org}/statement.csv"
    found = {words: await person.ask(w.bot, words) for words in ("org", f"org show {org}", f"org statement {org}")}
    found |= {
        path: (await browser.get(path)).html for path in ("/account/companies", page, csv, "/account/history.csv")
    }
    found |= {
        f"API {path}": str(await caller.call("GET", path)) for path in ("/companies", f"/companies/{org}", "/history")
    }
    return {way.replace(org, "acme"): text for way, text in found.items()}


async def test_the_owner_sees_all_a_member_their_own_and_a_stranger_nothing_on_every_way() -> None:
    seen: dict[str, dict[str, str]] = {}
    async with served() as w:
        jobs = await founded(w)
        for name in (OWNER, MEMBER, STRANGER):
            async with browsing(w) as browser, api(w, name) as caller:
                await browser.sign_in(w.keys[name])
                seen[name] = await views(w, name, browser, caller)
                if name == STRANGER:
                    seen["nobodys"] = await views(w, name, browser, caller, org="nobodys")
    marks = {
        name: (w.keys[name].pubkey, nip19.encode_npub(w.keys[name].pubkey), jobs[name][:8]) for name in (MEMBER, OTHER)
    }
    of_all = ("org show acme", "org statement acme", COMPANY, f"{COMPANY}/statement.csv", "API /companies/acme")
    for way in of_all:
        assert all(any(mark in seen[OWNER][way] for mark in marks[name]) for name in marks), way
    for way in ("org show acme", COMPANY, "API /companies/acme"):
        assert any(sats in seen[OWNER][way] for sats in LEFT), way
    for way, text in seen[MEMBER].items():
        assert not [mark for mark in (*marks[OTHER], *LEFT) if mark in text], way
    for way in ("org statement acme", f"{COMPANY}/statement.csv", "API /companies/acme"):
        assert any(mark in seen[MEMBER][way] for mark in marks[MEMBER]), way
    for way, text in seen[STRANGER].items():
        assert not [mark for each in marks.values() for mark in (*each, *LEFT) if mark in text], way
        assert w.keys[OWNER].pubkey not in text, way
    assert (
        seen[STRANGER]["org show acme"] == seen["nobodys"]["org show acme"]
    )  # not even whether there is such a company
    assert seen[STRANGER]["org statement acme"] == seen["nobodys"]["org statement acme"]
    assert seen[STRANGER]["API /companies/acme"].startswith("(404")
