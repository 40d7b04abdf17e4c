"""Whatever strangers write, a page or a feed that shows it has the shape it has with a harmless word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from relaybot.web.agents import agent_page, agents_page
from relaybot.web.days import day_page, days_page
from relaybot.web.feeds import accounts_json, atom_feed
from relaybot.web.home import home_page
from relaybot.web.how import how_page
from relaybot.web.site import Input, Site
from tests.web.conftest import AGENT, SITE, STORY, accounts_of, told
from tests.web.hostile import CORPUS, HARMLESS, TOGETHER, feed_of, shape_of
from wallet.money import format_sat

DAY = told("2026-11-22", STORY)


def site_saying(text: str) -> Site:
    """Return a site that says `text` wherever an author or an operator may say something."""
    inputs = (Input("plain", text, required=True, values=(text, text)), Input("other", text, required=False))
    agent = replace(AGENT, name=text, about=text, inputs=inputs, parts=(("model", 25_000),), metered=text)
    return replace(
        SITE, name=text, about=text, lightning=text, agents=(agent, replace(agent, id="second")), url="http://shop.test"
    )


def pages_of(site: Site) -> dict[str, str]:
    """Return every public page that is made of words of others."""
    accounts = accounts_of(DAY)
    published = accounts.days()[0]
    return {
        "/": home_page(accounts, site),
        "/ before the first day": home_page(accounts_of(), site),
        "/accounts": days_page(accounts, site),
        "/accounts/<day>": day_page(published, accounts, site),
        "/agents": agents_page(site),
        "/agents/<id>": agent_page(site.agents[0], site),
        "/how": how_page(site),
    }


USUAL = {path: shape_of(page) for path, page in pages_of(site_saying(HARMLESS)).items()}


@pytest.mark.parametrize("text", [*CORPUS, TOGETHER])
def test_public_pages_and_their_previews_keep_their_shape(text: str) -> None:
    for path, page in pages_of(site_saying(text)).items():
        assert shape_of(page, text) == USUAL[path], path


@pytest.mark.parametrize("text", [*CORPUS, TOGETHER])
def test_feeds_keep_theirs(text: str) -> None:
    accounts, usual, site = accounts_of(DAY), site_saying(HARMLESS), site_saying(text)
    assert feed_of(atom_feed(accounts, site), text) == feed_of(atom_feed(accounts, usual))
    assert json.loads(accounts_json(accounts, site)) == json.loads(accounts_json(accounts, usual)) | {"service": text}


def test_words_that_run_backwards_turn_nothing_around_beside_them() -> None:
    # UAX 9: an override that is not ended runs on to the end of what is isolated; in a sentence that is a <strong>.
    page = agent_page(site_saying("\u202e").agents[0], site_saying("\u202e"))
    assert "<bdi>\u202e</bdi>, <bdi>\u202e</bdi>" in page
    assert "<strong><bdi>\u202e</bdi></strong>, with your input" in page
    assert format_sat(12_000_000) in page
