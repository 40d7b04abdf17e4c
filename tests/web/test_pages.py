"""The pages as a browser gets them: figures, withheld figures, headers, errors."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from relaybot.nostr.flow_of_funds import CELLS
from relaybot.nostr.nip19 import decode_nevent, encode_npub
from relaybot.web.published import PublishedAccounts
from splits.schema import schema_of, whole_schema
from tests.web.conftest import (
    AGENT,
    AUTODEV,
    BOOKS,
    STORY,
    Outline,
    Serve,
    accounts_of,
    read,
    site_with,
    told,
)

PATHS = ("/", "/accounts", "/accounts/2026-11-22", "/agents", "/nowhere")
MONTH = tuple(told(f"2026-{month:02}-{day:02}", STORY) for month, day in ((9, 30), (11, 15), (11, 21), (11, 22)))


async def test_the_front_page_says_in_one_sentence_what_came_in_was_earned_and_paid_out(serve: Serve) -> None:
    page = await read(await serve(accounts_of(*MONTH)), "/")
    assert (
        "From 30 September 2026 to 22 November 2026, 96,000 sat came in, 96,000 sat were shared among contributors "
        "and the platform, and 34,402 sat were paid out." in page.words
    )


async def test_the_front_page_tells_the_last_day_the_week_and_all_time(serve: Serve) -> None:
    words = (await read(await serve(accounts_of(*MONTH)), "/")).words
    assert "Came inwhat customers paid insince 30 Sep96,000 satlast 7 days48,000 satlast day, 22 Nov24,000 sat" in words
    assert "since 30 Sep34,402 satlast 7 days17,201 satlast day, 22 Nov8,600.5 sat" in words


async def test_the_front_page_tells_who_earned_with_the_share_of_each_role(serve: Serve) -> None:
    page = await read(await serve(accounts_of(told("2026-11-22", {**STORY, ("earned", "data"): 500}))), "/")
    assert "The platform64 %15,320 sat" in page.words
    assert "Several roles together19 %4,680 sat" in page.words
    assert "Data< 1 %0.5 sat" in page.words
    assert page.words.index("The platform64 %") < page.words.index("Several roles together19 %")
    assert "No figure stands for: Compute nodes, Models, APIs" in page.words


async def test_where_every_figure_stands_none_is_listed_as_missing(serve: Serve) -> None:
    everything = dict.fromkeys(CELLS, 500)
    page = await read(await serve(accounts_of(told("2026-11-22", everything))), "/")
    assert "No figure stands for" not in page.words
    assert "Came in" in page.words


async def test_one_day_alone_is_told_once(serve: Serve) -> None:
    words = (await read(await serve(accounts_of(told("2026-11-22", STORY))), "/")).words
    assert words.startswith("Public accounts · relaybot")
    assert "On 22 November 2026, 24,000 sat came in" in words
    assert "last 7 days" not in words


async def test_withheld_is_shown_as_withheld_with_the_reason_and_never_as_zero(serve: Serve) -> None:
    client = await serve(accounts_of(told("2026-11-22")))
    for path in ("/", "/accounts", "/accounts/2026-11-22"):
        page = await read(client, path)
        assert "withheld" in page.words
        assert "#withheld" in page.links
        assert "at least 5 people, none of whom has more than 80 % of it" in page.words
        assert not re.search(r"\b0 sat", page.words)


async def test_a_flow_withheld_among_others_is_named_so_in_the_sentence(serve: Serve) -> None:
    words = (await read(await serve(accounts_of(told("2026-11-22", {("out", "other"): 1_000}))), "/")).words
    assert "what came in is withheld" in words
    assert "what was shared among contributors and the platform is withheld, and 1 sat were paid out" in words
    assert "What was earned is withheld so far." in words


async def test_the_charts_have_a_column_a_day_and_a_low_mark_where_it_is_withheld(serve: Serve) -> None:
    client = await serve(accounts_of(told("2026-11-20", STORY), told("2026-11-22", {("in", "card"): 12_000_000})))
    text = await (await client.get("/")).text()
    came_in, earned, _ = re.findall(r'<svg class="columns".*?</svg>', text, re.DOTALL)
    assert re.findall(r'class="(bar|gap)"[^>]*height="(\d+)"', came_in) == [("bar", "100"), ("bar", "50")]
    assert re.findall(r'class="(bar|gap)"[^>]*height="(\d+)"', earned) == [("bar", "100"), ("gap", "2")]
    assert "A low grey mark is a day whose figure is withheld" in text


async def test_where_nothing_is_withheld_no_mark_is_explained(serve: Serve) -> None:
    text = await (await (await serve(accounts_of(told("2026-11-22", STORY)))).get("/")).text()
    assert "low grey mark" not in text


async def test_a_day_shows_every_cell_of_its_event(serve: Serve) -> None:
    words = (await read(await serve(accounts_of(*MONTH)), "/accounts/2026-11-21")).words
    for shown in (
        "21 November 2026",
        "over Lightning24,000 sat",
        "by cardwithheld",
        "Algorithms and skills4,000 sat",
        "over Lightning8,600.5 sat",
        "Jobs done1,234",
        "Charged for them24,000 sat",
        "Published2026-11-22 01:00 UTC",
        encode_npub(BOOKS.pubkey),
    ):
        assert shown in words


async def test_each_day_leads_to_its_event_and_to_its_neighbours(serve: Serve) -> None:
    client = await serve(accounts_of(*MONTH))
    for path in ("/", "/accounts", "/accounts/2026-11-21"):
        links = (await read(client, path)).links
        pointers = [decode_nevent(link.removeprefix("nostr:")) for link in links if link.startswith("nostr:")]
        assert MONTH[2].id in {pointer.event_id for pointer in pointers}
        assert {(pointer.author, pointer.kind, pointer.relays) for pointer in pointers} == {
            (BOOKS.pubkey, 37170, ("ws://127.0.0.1:7777",))
        }
    around = (await read(client, "/accounts/2026-11-21")).links
    assert {"/accounts/2026-11-15", "/accounts/2026-11-22"} <= set(around)


async def test_a_day_alone_has_no_neighbours(serve: Serve) -> None:
    page = await read(await serve(accounts_of(told("2026-11-22", STORY))), "/accounts/2026-11-22")
    assert page.elements.count("nav") == 1


async def test_the_list_has_every_day_the_newest_first(serve: Serve) -> None:
    page = await read(await serve(accounts_of(*MONTH)), "/accounts")
    days = [link for link in page.links if link.startswith("/accounts/")]
    assert days == [f"/accounts/{day}" for day in ("2026-11-22", "2026-11-21", "2026-11-15", "2026-09-30")]


async def test_a_new_day_appears_without_a_restart(serve: Serve) -> None:
    accounts = accounts_of(*MONTH)
    client = await serve(accounts)
    assert (await client.get("/accounts/2026-11-23")).status == 404
    assert "2026-11-23" not in (await read(client, "/accounts")).words
    accounts.add(told("2026-11-23", STORY))
    assert (await client.get("/accounts/2026-11-23")).status == 200
    assert "2026-11-23" in (await read(client, "/accounts")).words
    for _ in range(2):
        assert "to 23 November 2026, 120,000 sat came in" in (await read(client, "/")).words


async def test_the_empty_page_explains_itself_and_how_to_ask_for_a_job(serve: Serve) -> None:
    client = await serve(PublishedAccounts(BOOKS.pubkey))
    page = await read(client, "/")
    for shown in ("Nothing is published yet", "ws://127.0.0.1:7777", "kind 5050", "12,000 sat", "kind 6050"):
        assert shown in page.words
    assert "Nothing is published yet" in (await read(client, "/accounts")).words


async def test_the_example_request_can_be_pasted(serve: Serve) -> None:
    text = await (await (await serve(PublishedAccounts(BOOKS.pubkey))).get("/agents")).text()
    match = re.search(r"<pre tabindex=\"0\"><code>(.*?)</code></pre>", text, re.DOTALL)
    assert match
    example = json.loads("".join(Outline(f"<p>{match[1]}</p>").text))
    assert example["kind"] == 5050
    assert ["p", AUTODEV.pubkey] in example["tags"]


async def test_without_agents_nobody_is_promised(serve: Serve) -> None:
    client = await serve(PublishedAccounts(BOOKS.pubkey), site_with(agents=()))
    for path in ("/", "/agents"):
        assert "No agent takes jobs here at the moment." in (await read(client, path)).words


async def test_agents_are_listed_with_price_kinds_and_key(serve: Serve) -> None:
    words = (await read(await serve(PublishedAccounts(BOOKS.pubkey)), "/agents")).words
    for shown in ("AutoDev", "Resolves a GitHub issue", "Price12,000 sat", "5050, 5051", AGENT.npub):
        assert shown in words


@pytest.mark.parametrize("path", PATHS)
async def test_every_page_says_whether_money_is_real(serve: Serve, path: str) -> None:
    status = 404 if path == "/nowhere" else 200
    play = await read(await serve(accounts_of(*MONTH)), path, status=status)
    real = await read(await serve(accounts_of(*MONTH), site_with(simulated=False)), path, status=status)
    assert "simulated: no real money moves" in play.words
    assert "no real money" not in real.words


async def test_a_relay_address_that_fits_no_pointer_is_left_out_of_it(serve: Serve) -> None:
    for address in ("wss://" + "x" * 250, "wss://b\u00fccher.example"):
        page = await read(await serve(accounts_of(*MONTH), site_with(relay_url=address)), "/accounts")
        pointers = [decode_nevent(link.removeprefix("nostr:")) for link in page.links if link.startswith("nostr:")]
        assert {pointer.relays for pointer in pointers} == {()}


async def test_a_demonstration_says_that_it_is_one(serve: Serve) -> None:
    client = await serve(accounts_of(told("2026-11-22", STORY, demo=True, k=1)))
    for path in ("/", "/accounts/2026-11-22"):
        page = await read(client, path)
        assert "A demonstration. Figures may stand on one person here" in page.words
        assert "rests on at least one person. Roles" in page.words
    real = await read(await serve(accounts_of(*MONTH)), "/")
    assert "demonstration" not in real.words


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_a_strict_policy_and_loads_nothing_from_elsewhere(serve: Serve, path: str) -> None:
    answer = await (await serve(accounts_of(*MONTH))).get(path)
    text = await answer.text()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "aiohttp" not in answer.headers["Server"].lower()
    page = Outline(text)
    assert all(link.startswith(("/", "#", "nostr:")) and not link.startswith("//") for link in page.links)
    assert not page.attributes & {"style", "onclick", "onload"}
    assert "url(" not in style[1]
    assert "@import" not in style[1]


@pytest.mark.parametrize("path", PATHS)
async def test_pages_can_be_read_aloud(serve: Serve, path: str) -> None:
    text = await (await (await serve(accounts_of(*MONTH))).get(path)).text()
    page = Outline(text)
    assert '<html lang="en">' in text
    assert page.elements.count("h1") == page.elements.count("main") == 1
    assert page.elements.count("table") == page.elements.count("caption")
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", text))
    assert all("alt=" in image for image in re.findall(r"<img\b[^>]*>", text))
    assert all(re.search(r'aria-hidden="true"|role="img"', chart) for chart in re.findall(r"<svg\b[^>]*>", text))
    identities = re.findall(r'\bid="([^"]*)"', text)
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize(
    "day", ["2026-11-20", "2026-02-31", "yesterday", "%3Cscript%3E", "2026-11-22%00", "22", "x" * 500]
)
async def test_a_day_that_was_not_published_is_not_found(serve: Serve, day: str) -> None:
    page = await read(await serve(accounts_of(*MONTH)), f"/accounts/{day}", status=404)
    assert "No accounts were published for that day." in page.words
    assert "script" not in page.elements


async def test_a_wrong_path_is_answered_with_a_page_and_a_wrong_method_with_the_right_ones(serve: Serve) -> None:
    client = await serve(accounts_of(*MONTH))
    assert "There is no such page." in (await read(client, "/wallet", status=404)).words
    answer = await client.post("/")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (await client.head("/")).status == 200


async def test_the_front_page_closes_its_connection_for_a_later_upgrade(serve: Serve) -> None:
    client = await serve(accounts_of(*MONTH))
    assert (await client.get("/")).headers["Connection"] == "close"


async def test_pages_may_be_kept_for_a_minute_and_errors_not_at_all(serve: Serve) -> None:
    client = await serve(accounts_of(*MONTH))
    assert (await client.get("/accounts")).headers["Cache-Control"] == "public, max-age=60"
    for path in ("/nowhere", "/healthz", "/readyz"):
        assert (await client.get(path)).headers["Cache-Control"] == "no-store"


async def test_the_service_tells_that_it_lives_and_whether_it_is_ready(serve: Serve) -> None:
    state = {"ready": False}
    client = await serve(PublishedAccounts(BOOKS.pubkey), ready=lambda: state["ready"])
    alive = await client.get("/healthz")
    assert (alive.status, await alive.text()) == (200, "ok\n")
    waiting = await client.get("/readyz")
    assert (waiting.status, await waiting.text()) == (503, "not ready\n")
    state["ready"] = True
    ready = await client.get("/readyz")
    assert (ready.status, await ready.text()) == (200, "ready\n")
    assert (await (await serve(PublishedAccounts(BOOKS.pubkey))).get("/readyz")).status == 200


async def test_the_mark_is_a_picture_of_ours(serve: Serve) -> None:
    answer = await (await serve(PublishedAccounts(BOOKS.pubkey))).get("/icon.svg")
    assert answer.content_type == "image/svg+xml"
    assert "script" not in await answer.text()


async def test_the_agents_page_says_who_earns_what_of_a_thousand_sats(serve: Serve) -> None:
    agent = replace(AGENT, parts=(("platform", 638_300), ("model", 25_000)))
    page = await read(await serve(accounts_of(), site_with(agents=(agent,))), "/agents")
    assert "The platform63.83 %638.3 sat" in page.words
    assert "Models2.5 %25 sat" in page.words


async def test_the_schema_of_skills_and_agents_is_published(serve: Serve) -> None:
    client = await serve(accounts_of())
    whole, skill = await client.get("/schema"), await client.get("/schema/skill")
    assert (whole.status, whole.content_type) == (200, "application/schema+json")
    assert whole.headers["Access-Control-Allow-Origin"] == "*"
    assert await whole.json(content_type=None) == whole_schema()
    assert await skill.json(content_type=None) == schema_of("skill")
    assert (await client.get("/schema/nothing")).status == 404
