"""Published days, sites of every kind, and a client of the pages on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from html.parser import HTMLParser
from typing import Protocol, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from relaybot.nostr.event import Event
from relaybot.nostr.flow_of_funds import CELLS, CellName, DaySummary, Period, build_summary, day_period
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip19 import encode_npub
from relaybot.web.app import build_app
from relaybot.web.published import PublishedAccounts
from relaybot.web.site import AgentCard, Site

BOOKS = KeyPair(bytes(31) + b"\x07")
SERVICE = KeyPair(bytes(31) + b"\x08")
AUTODEV = KeyPair(bytes(31) + b"\x09")

AGENT = AgentCard(
    id="autodev",
    name="AutoDev",
    about="Resolves a GitHub issue",
    price="12,000 sat",
    kinds=(5050, 5051),
    npub=encode_npub(AUTODEV.pubkey),
)
SITE = Site(
    name="relaybot",
    about="Agent jobs that pay everybody",
    npub=encode_npub(SERVICE.pubkey),
    relay_url="ws://127.0.0.1:7777",
    lightning="simulated",
    simulated=True,
    agents=(AGENT,),
)
STORY: dict[CellName, int] = {
    ("in", "lightning"): 24_000_000,
    ("earned", "platform"): 15_320_000,
    ("earned", "algorithm"): 4_000_000,
    ("earned", "other"): 4_680_000,
    ("out", "lightning"): 8_600_500,
    ("jobs", "count"): 1_234,
    ("jobs", "charged"): 24_000_000,
}


def told(
    day: str, figures: dict[CellName, int] | None = None, *, demo: bool = False, k: int = 5, previous: str = ""
) -> Event:
    """Return the signed summary of a day with these figures, all others withheld."""
    period = day_period(day)
    if demo:
        period = Period(period.start, period.start + 3_600)
    cells: dict[CellName, int | None] = {**dict.fromkeys(CELLS), **(figures or {})}
    summary = DaySummary(period, k, 100 if demo else 80, 500, cells, demo=demo)
    return build_summary(BOOKS, summary, period.end + 3_600, previous=previous)


def accounts_of(*events: Event) -> PublishedAccounts:
    """Return accounts that hold these events."""
    accounts = PublishedAccounts(BOOKS.pubkey)
    for event in events:
        assert accounts.add(event)
    return accounts


def site_with(**changes: object) -> Site:
    """Return the usual site with some of it changed."""
    return replace(SITE, **changes)  # type: ignore[arg-type]


class Outline(HTMLParser):
    """The elements of a page in their order, and its text."""

    def __init__(self, page: str) -> None:
        """Read the page to its end."""
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in {"meta", "link", "img", "br", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        """Return the text a person reads, with single spaces."""
        return " ".join("".join(self.text).split())


Client: TypeAlias = TestClient[web.Request, web.Application]


class Serve(Protocol):
    """Start the pages on loopback."""

    async def __call__(
        self, accounts: PublishedAccounts, site: Site = SITE, *, ready: Callable[[], bool] = ...
    ) -> Client:
        """Return a client of the pages over these accounts."""
        ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve pages on loopback and return clients of them; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def start(
            accounts: PublishedAccounts, site: Site = SITE, *, ready: Callable[[], bool] = lambda: True
        ) -> Client:
            return await stack.enter_async_context(TestClient(TestServer(build_app(accounts, site, ready=ready))))

        yield start


async def read(client: Client, path: str, *, status: int = 200) -> Outline:
    """Get a page and read it."""
    answer = await client.get(path)
    assert answer.status == status
    assert answer.content_type == "text/html"
    return Outline(await answer.text())
