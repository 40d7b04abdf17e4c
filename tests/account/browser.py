"""A browser without scripts: it keeps cookies, reads forms, and sends them as they stand."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from relaybot.nostr import nip98
from relaybot.nostr.event import encode_event
from relaybot.nostr.keys import KeyPair
from tests.flows.harness import World
from tests.web.conftest import Outline

SIGN_IN = "/account/sign-in"


class Forms(HTMLParser):
    """The forms of a page: each one's attributes, and its fields with their values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[tuple[dict[str, str], dict[str, str]]] = []
        self._area = ""
        self._select = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self.forms.append((given, {}))
            case "input" if self.forms and "name" in given:
                if given.get("type") not in {"checkbox", "radio"} or "checked" in given:
                    self.forms[-1][1][given["name"]] = given.get("value", "")
            case "textarea":
                self._area = given["name"]
                self.forms[-1][1][self._area] = ""
            case "select":
                self._select = given["name"]
            case "option" if self._select not in self.forms[-1][1] or "selected" in given:
                self.forms[-1][1][self._select] = given.get("value", "")
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1][1][self._area] += data

    def to(self, action: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form that is sent to this address."""
        return next(form for form in reversed(self.forms) if form[0].get("action") == action)


@dataclass(slots=True)
class Shown:
    """What a browser shows."""

    status: int
    path: str
    headers: CIMultiDictProxy[str]
    html: str

    @property
    def words(self) -> str:
        """What a person reads, each piece apart from its neighbours."""
        return " ".join(" ".join(Outline(self.html).text).split())

    def form(self, action: str) -> dict[str, str]:
        """Return the fields of the form that is sent to this address."""
        return Forms(self.html).to(action)[1]


@dataclass(slots=True)
class Browser:
    """One person's browser."""

    session: aiohttp.ClientSession
    url: str
    keypair: KeyPair | None = None
    shown: list[Shown] = field(default_factory=list)

    async def get(self, path: str, **more: Any) -> Shown:
        """Open a page."""
        async with self.session.get(self.url + path, **more) as answer:
            return await self._seen(answer)

    async def post(
        self, path: str, form: dict[str, str] | None = None, *, origin: str | None = None, **more: Any
    ) -> Shown:
        """Send a form, from our own page unless another `origin` is said."""
        headers = {"Origin": self.url if origin is None else origin}
        async with self.session.post(self.url + path, data=form or {}, headers=headers, **more) as answer:
            return await self._seen(answer)

    async def fill(self, page: str | Shown, action: str, **fields: str) -> Shown:
        """Open a page, fill in the form that goes to `action`, and send it."""
        shown = page if isinstance(page, Shown) else await self.get(page)
        return await self.post(action.partition("#")[0], shown.form(action) | fields)

    async def _seen(self, answer: aiohttp.ClientResponse) -> Shown:
        self.shown.append(Shown(answer.status, answer.url.path_qs, answer.headers, await answer.text()))
        return self.shown[-1]

    def take_cookie(self, token: str) -> None:
        """Have a session's cookie, from wherever."""
        self.session.cookie_jar.update_cookies({"relaybot": token}, URL(self.url))

    @property
    def cookie(self) -> str:
        """The session's cookie; '' if there is none."""
        return next((one.value for one in self.session.cookie_jar if one.key == "relaybot"), "")

    async def sign_in(self, keypair: KeyPair) -> Shown:
        """Sign in as the page's script does with an extension."""
        self.keypair = keypair
        page = await self.get(SIGN_IN)
        return await self.post(SIGN_IN, {"event": signed(keypair, page, url=f"{self.url}{SIGN_IN}")})


def signed(keypair: KeyPair, page: Shown, *, url: str, now: int | None = None, **changes: Any) -> str:
    """Return the signed challenge of a sign-in page as JSON."""
    found = re.search(r'data-challenge="([^"]+)"', page.html)
    assert found is not None, page.words
    event = nip98.build_http_auth(
        keypair,
        url=url,
        method=changes.get("method", "POST"),
        challenge=str(changes.get("challenge", found[1])),
        now=int(time.time()) if now is None else now,
    )
    return (
        encode_event(event)
        if "forged" not in changes
        else json.dumps(json.loads(encode_event(event)) | changes["forged"])
    )


@asynccontextmanager
async def browsing(world: World) -> AsyncIterator[Browser]:
    """Open a fresh browser."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Browser(session, f"http://127.0.0.1:{world.port}")
