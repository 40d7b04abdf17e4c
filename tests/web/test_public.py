"""An agent's own page, how the money flows, feeds for programs, and what others show of a link."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

from relaybot.nostr.nip19 import decode_nevent
from relaybot.web.site import Input
from tests.web.conftest import AGENT, STORY, Serve, accounts_of, read, site_with, told
from wallet.money import format_sat

ATOM = "{http://www.w3.org/2005/Atom}"
WHOLE = replace(
    AGENT,
    parts=(("platform", 638_333), ("model", 25_000)),
    inputs=(Input("repo", "Where the issue is", required=True), Input("language", "", False, ("en", "de"))),
    metered="2,000 sat, and 3 sat for each 1,000 tokens used; never more than the price",
)


async def test_an_agent_has_a_page_with_price_split_inputs_and_how_to_ask(serve: Serve) -> None:
    client = await serve(accounts_of(), site_with(agents=(WHOLE,), url="http://shop.test"))
    page = await read(client, "/agents/autodev")
    for words in (
        "12,000 sat",
        "3 sat for each 1,000 tokens",
        "The platform63.83 %638.333 sat",
        "Models2.5 %25 sat",
        "repoyesanyWhere the issue is",
        "languagenoen, de",
        "job autodev repo=… what you want done",
        '["param", "repo", "…"]',
        "kind 6050, 6051",
    ):
        assert words in page.words, words
    assert f"nostr:{AGENT.npub}" in page.links
    assert "/agents/autodev" in (await read(client, "/agents")).links
    nobody = await read(client, "/agents/nobody", status=404)
    assert "No agent of this name takes jobs here now." in nobody.words
    assert nobody.links.count("/agents") == 2  # in the navigation, and as what to look at instead


async def test_an_agent_without_parts_or_inputs_has_a_page_too(serve: Serve) -> None:
    page = await read(await serve(accounts_of()), "/agents/autodev")
    assert "Parameters" not in page.words
    assert "Who is paid" not in page.words


async def test_how_the_money_flows_is_told_in_words_and_drawn(serve: Serve) -> None:
    page = await read(await serve(accounts_of()), "/how")
    assert "The price is split" in page.words
    assert "pays for jobs only" not in page.words
    assert page.elements.count("svg") == 2  # one is for phones
    with_cards = await read(await serve(accounts_of(), site_with(cards=True)), "/how")
    assert "What is bought by card pays for jobs only" in with_cards.words


async def test_every_figure_of_a_day_leads_to_its_signed_event(serve: Serve) -> None:
    event = told("2026-11-22", STORY)
    client = await serve(accounts_of(event))
    for path in ("/", "/accounts", "/accounts/2026-11-22"):
        page = await read(client, path)
        pointers = [
            decode_nevent(link.removeprefix("nostr:")) for link in page.links if link.startswith("nostr:nevent")
        ]
        assert len(pointers) >= 4, path
        assert all(one.event_id == event.id for one in pointers)


async def test_the_days_are_there_for_programs(serve: Serve) -> None:
    first, second = told("2026-11-21", STORY), told("2026-11-22", {("in", "lightning"): 5_000_000})
    client = await serve(accounts_of(first, second), site_with(url="http://shop.test"))
    answer = await client.get("/accounts.json")
    assert (answer.content_type, answer.headers["Access-Control-Allow-Origin"]) == ("application/json", "*")
    days = json.loads(await answer.text())["days"]
    assert [(day["day"], day["event"]) for day in days] == [("2026-11-21", first.id), ("2026-11-22", second.id)]
    assert days[1]["figures"]["in"] == {"lightning": 5_000_000, "onchain": None, "card": None, "other": None}
    answer = await client.get("/accounts.atom")
    assert answer.content_type == "application/atom+xml"
    feed = ET.fromstring(await answer.text())  # noqa: S314  our own words
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["22 November 2026", "21 November 2026"]
    assert entries[0].findtext(f"{ATOM}summary") == "came in: 5,000 sat; earned: withheld; paid out: withheld"
    links = [link.get("href") for link in entries[0].findall(f"{ATOM}link")]
    assert links == ["http://shop.test/accounts/2026-11-22"]
    assert feed.findtext(f"{ATOM}updated") == entries[0].findtext(f"{ATOM}updated")


async def test_before_the_first_day_the_feeds_are_empty(serve: Serve) -> None:
    client = await serve(accounts_of())
    assert json.loads(await (await client.get("/accounts.json")).text())["days"] == []
    assert "<entry>" not in await (await client.get("/accounts.atom")).text()


async def test_others_can_show_what_a_link_leads_to(serve: Serve) -> None:
    client = await serve(accounts_of(), site_with(agents=(WHOLE,), url="http://shop.test"))
    text = await (await client.get("/agents/autodev")).text()
    for said in (
        '<meta property="og:title" content="AutoDev">',
        '<meta property="og:url" content="http://shop.test/agents/autodev">',
        '<meta property="og:image" content="http://shop.test/preview.png">',
        f"For {format_sat(12_000_000)}.",
    ):
        assert said in text
    answer = await client.get("/preview.png")
    assert (answer.content_type, (await answer.read())[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
