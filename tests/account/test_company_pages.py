"""Companies on the pages: the owner decides, members see what is their own, and all of it by the commands."""

from __future__ import annotations

import csv
import io

from handlers.states import JobState
from relaybot.nostr import nip19
from relaybot.web.account import jobs, topups, withdrawals
from tests.account.browser import browsing
from tests.account.test_money_pages import FAST, news
from tests.flows.harness import world
from wallet.states import CoinState, PayoutState

ACME, ASK = "/account/companies/acme", "/account/jobs/ask/autodev"


async def test_an_owner_invites_and_tops_up_and_a_member_works_within_a_budget() -> None:
    bulk = [{"from": "40000 sat", "bonus": "5%"}]
    async with world(web=FAST, companies={"bulk": bulk}) as w, browsing(w) as olga, browsing(w) as mia:
        await w.fund("bob", 1)
        await w.node_joins()
        await olga.sign_in(w.keys["bob"])
        await mia.sign_in(w.keys["eve"])
        npub = nip19.encode_npub(w.keys["eve"].pubkey)
        made = await olga.fill("/account/companies", "/account/companies", id="acme", name="Acme & Sons")
        assert (made.path, "acme, open." in made.words) == (ACME, True)
        bill = await olga.fill(ACME, f"{ACME}/topup", sats="50000")
        assert "From 40,000 sat on 5 % more, for our own part of jobs." in olga.shown[-2].words
        assert "to the balance of acme" in bill.words
        assert "It brings 2,500 sat more" in bill.words
        await (await w.join("bob")).pay(bill.html.partition('id="payable">')[2].partition("<")[0])
        while "50,000 sat arrived" not in (shown := await olga.get(bill.path)).words:
            await news(olga, shown)
        await olga.fill(ACME, f"{ACME}/add", npub=npub, sats="20000")
        await olga.fill(ACME, f"{ACME}/limit", sats="5000")
        assert (await mia.get(ASK)).words.count("Who pays") == 0
        assert "you are asked to join" in (await mia.get("/account/companies")).words
        await mia.fill(ACME, f"{ACME}/accept")
        assert "You have used 0 sat of 20,000 sat this month." in (await mia.get(ACME)).words
        job = await mia.fill(ASK, ASK, **{"param-org": "acme", "input": "Fix it"})
        while "waits for the word of" not in (shown := await mia.get(job.path)).words.lower():
            await news(mia, shown)
        await olga.fill(ACME, f"{ACME}/approve")
        await w.deliver(await w.assignment(), "fixed")
        while "fixed" not in (shown := await mia.get(job.path)).words:
            await news(mia, shown)
        seen = await olga.get(ACME)
        assert f"{npub} member 12,000 sat 20,000 sat" in seen.words
        assert "You are asked above 5,000 sat" in seen.words
        for browser in (olga, mia):
            rows = list(csv.DictReader(io.StringIO((await browser.get(f"{ACME}/statement.csv")).html)))
            assert {row["member"] for row in rows} - {""} == {npub}
        assert (await mia.get(ACME)).words.count("Invite") == 0
        assert (await mia.post(f"{ACME}/limit", mia.shown[-1].form(f"{ACME}/leave"))).status == 403
        assert (await olga.fill(ACME, f"{ACME}/add", npub="nobody")).status == 400
        assert (await olga.post(f"{ACME}/dissolve", olga.shown[-1].form(f"{ACME}/add"))).status == 404
        await mia.fill(ACME, f"{ACME}/leave")
        gone = await mia.get(ACME)
        assert (gone.status, "This is no page of yours" in gone.words) == (404, True)
        await w.sound()


def test_every_state_has_its_words() -> None:
    assert {one.value for one in JobState} - {"received", "delivered"} == set(jobs._STATES)
    assert {one.value for one in PayoutState} == set(withdrawals._STATES)
    assert {one.value for one in CoinState} == set(topups._DEPOSIT_WORDS)
