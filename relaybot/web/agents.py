"""The page `/agents`: who can be asked for what, at which price, and how to ask from a Nostr client."""

from __future__ import annotations

import json

from relaybot.nostr.nip19 import decode_npub
from relaybot.web.charts import share_bar
from relaybot.web.html import Html, el, joined
from relaybot.web.layout import page
from relaybot.web.site import AgentCard, Site
from relaybot.web.words import cell_name
from wallet.money import format_sat

_WHOLE = 1_000_000  # millionths, and the msat of 1,000 sat
_RESULT_OFFSET = 1_000  # NIP-90: the result's kind is the request's plus 1000


def agents_page(site: Site) -> str:
    """Return the list of agents."""
    opening = el(
        "div",
        el("h1", "Agents"),
        el(
            "p",
            "Ask one for a job from any Nostr client that speaks NIP-90. You see the price before you pay.",
            class_="lede",
        ),
        class_="opening",
    )
    cards = el("div", [_card(agent) for agent in site.agents], class_="agents") if site.agents else None
    return page(site, opening, cards, how_to_ask(site), title="Agents", here="/agents")


def how_to_ask(site: Site) -> Html:
    """Show how to ask for a job, with the first agent as the example."""
    heading = el("h2", "How to ask for a job", id="ask")
    if not site.agents:
        return el("section", heading, el("p", "No agent takes jobs here at the moment.", class_="quiet"))
    agent = site.agents[0]
    kind = agent.kinds[0]
    steps = (
        joined("Add the relay ", el("code", site.relay_url), " to your Nostr client."),
        joined(
            f"Publish a job request (NIP-90, kind {kind}) to ",
            el("strong", agent.name),
            ", with your input and your own signature, as below.",
        ),
        joined(
            "The agent answers with a Lightning invoice of ",
            el("strong", agent.price),
            " (kind 7000, ",
            el("code", "payment-required"),
            "). Pay it from any wallet; what you pay too much stays yours as balance.",
        ),
        joined(
            f"The result comes as kind {kind + _RESULT_OFFSET}, and everybody who contributed is paid at once. "
            "If the job fails, nothing is charged."
        ),
    )
    return el(
        "section",
        heading,
        el("ol", [el("li", step) for step in steps], class_="steps"),
        el("pre", el("code", _example(agent, kind, site))),
    )


def _example(agent: AgentCard, kind: int, site: Site) -> str:
    tags = (["i", "what you want done", "text"], ["p", decode_npub(agent.npub)], ["relays", site.relay_url])
    lines = ",\n".join(f"    {json.dumps(tag, ensure_ascii=False)}" for tag in tags)
    return f'{{\n  "kind": {kind},\n  "content": "",\n  "tags": [\n{lines}\n  ]\n}}'


def _card(agent: AgentCard) -> Html:
    kinds = ", ".join(str(kind) for kind in agent.kinds)
    return el(
        "article",
        el("h2", agent.name),
        el("p", agent.about),
        el(
            "dl",
            el("div", el("dt", "Price"), el("dd", el("strong", agent.price))),
            el("div", el("dt", "Job kind"), el("dd", el("code", kinds))),
            el("div", el("dt", "Key"), el("dd", el("code", agent.npub))),
            el("div", el("dt", "By"), el("dd", el("code", agent.author))) if agent.author else None,
            class_="facts",
        ),
        _parts(agent),
        id=f"agent-{agent.id}",
        class_="card",
    )


def _parts(agent: AgentCard) -> Html | None:
    """Show what each role earns of 1,000 sat that a customer pays."""
    if not agent.parts:
        return None
    rows = [
        el(
            "tr",
            el("th", cell_name(("earned", role)), share_bar(part, _WHOLE), scope="row"),
            el("td", format_sat(part), class_="number"),
        )
        for role, part in agent.parts
    ]
    caption = el("caption", "Who earns what of 1,000 sat; a part without a referrer stays with the rest")
    return el("table", caption, el("tbody", rows), class_="roles")
