"""The pages `/agents` and `/agents/<id>`: who can be asked for what, at which price, and how to ask."""

from __future__ import annotations

import json

from relaybot.nostr.nip19 import decode_npub
from relaybot.web.charts import share_bar, share_strip
from relaybot.web.html import Child, Html, el, joined
from relaybot.web.layout import page
from relaybot.web.site import AgentCard, Input, Site
from relaybot.web.words import amount, cell_name, exact_percent

_WHOLE = 1_000_000  # millionths, and the msat of 1,000 sat
_RESULT_OFFSET = 1_000  # NIP-90: the result's kind is the request's plus 1000
_EXAMPLE_WORDS = "what you want done"


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
    about = "Who can be asked for a job, and what it costs."
    return page(site, opening, cards, how_to_ask(site), title="Agents", here="/agents", about=about)


def agent_page(agent: AgentCard, site: Site) -> str:
    """Return everything a customer wants to know of one agent."""
    opening = el(
        "div",
        el("p", el("a", "Agents", href="/agents"), class_="quiet"),
        el("h1", agent.name),
        el("p", agent.about, class_="lede") if agent.about else None,
        class_="opening",
    )
    return page(
        site,
        opening,
        el("div", _price(agent), _facts(agent), class_="side-by-side"),
        _split(agent),
        _inputs(agent.inputs),
        how_to_ask(site, agent),
        _by_message(agent, site),
        title=agent.name,
        here="/agents",
        path=f"/agents/{agent.id}",
        about=f"{agent.about} For {agent.price}.",
    )


def how_to_ask(site: Site, agent: AgentCard | None = None) -> Html:
    """Show how to ask for a job, with this agent or the first one as the example."""
    heading = el("h2", "How to ask for a job", id="ask")
    if not site.agents:
        return el("section", heading, el("p", "No agent takes jobs here at the moment.", class_="quiet"))
    agent = agent or site.agents[0]
    kind = agent.kinds[0]
    steps = (
        joined("Add the relay ", el("code", site.relay_url), " to your Nostr client."),
        joined(
            f"Publish a job request (NIP-90, kind {kind}) to ",
            el("strong", el("bdi", agent.name)),
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
        el("pre", el("code", _example(agent, kind, site)), tabindex=0),
    )


def _example(agent: AgentCard, kind: int, site: Site) -> str:
    needed = [["param", one.name, one.values[0] if one.values else "…"] for one in agent.inputs if one.required]
    tags = (["i", _EXAMPLE_WORDS, "text"], *needed, ["p", decode_npub(agent.npub)], ["relays", site.relay_url])
    lines = ",\n".join(f"    {json.dumps(tag, ensure_ascii=False)}" for tag in tags)
    return f'{{\n  "kind": {kind},\n  "content": "",\n  "tags": [\n{lines}\n  ]\n}}'


def _by_message(agent: AgentCard, site: Site) -> Html:
    needed = "".join(f" {one.name}={one.values[0] if one.values else '…'}" for one in agent.inputs if one.required)
    return el(
        "section",
        el("h2", "Or in a conversation"),
        el(
            "p",
            "Write this to ",
            el("code", site.npub),
            " in a private message (NIP-17). Bill, progress and result come back in the conversation, "
            "and nothing of it is published.",
        ),
        el("pre", el("code", f"job {agent.id}{needed} {_EXAMPLE_WORDS}"), tabindex=0),
    )


def _price(agent: AgentCard) -> Html:
    return el(
        "section",
        el("h2", "Price"),
        el("p", el("strong", agent.price, class_="figure")),
        el("p", agent.metered or "for each finished job; nothing for one that fails", class_="quiet"),
        class_="card",
    )


def _facts(agent: AgentCard) -> Html:
    kinds = ", ".join(str(kind) for kind in agent.kinds)
    results = ", ".join(str(kind + _RESULT_OFFSET) for kind in agent.kinds)
    return el(
        "section",
        el("h2", "On Nostr"),
        el(
            "dl",
            el("div", el("dt", "Key"), el("dd", el("a", el("code", agent.npub), href=f"nostr:{agent.npub}"))),
            el("div", el("dt", "Requests"), el("dd", "kind ", el("code", kinds))),
            el("div", el("dt", "Results"), el("dd", "kind ", el("code", results))),
            class_="facts",
        ),
        class_="card",
    )


def _card(agent: AgentCard) -> Html:
    kinds = ", ".join(str(kind) for kind in agent.kinds)
    return el(
        "article",
        el("h2", el("a", agent.name, href=f"/agents/{agent.id}")),
        el("p", agent.about),
        el(
            "dl",
            el("div", el("dt", "Price"), el("dd", el("strong", agent.price))),
            el("div", el("dt", "Job kind"), el("dd", el("code", kinds))),
            el("div", el("dt", "Parameters"), el("dd", _listed(agent.inputs))) if agent.inputs else None,
            el("div", el("dt", "Key"), el("dd", el("code", agent.npub))),
            el("div", el("dt", "By"), el("dd", el("code", agent.author))) if agent.author else None,
            class_="facts",
        ),
        share_strip([part for _, part in agent.parts], _WHOLE) if agent.parts else None,
        _parts(agent),
        id=f"agent-{agent.id}",
        class_="card",
    )


def _split(agent: AgentCard) -> Html | None:
    if not agent.parts:
        return None
    return el(
        "section",
        el("h2", "Who is paid for a job"),
        el(
            "p",
            "The price is split by a rule that stands in a file, to a thousandth of a sat, at the moment the result is "
            "delivered. A part for a referrer stays with the rest where there is none.",
        ),
        share_strip([part for _, part in agent.parts], _WHOLE),
        _parts(agent),
    )


def _parts(agent: AgentCard) -> Html | None:
    """Show what each role earns, in percent, and of 1,000 sat that a customer pays."""
    if not agent.parts:
        return None
    rows = [
        el(
            "tr",
            el("th", cell_name(("earned", role)), share_bar(part, _WHOLE), scope="row"),
            el("td", exact_percent(part, _WHOLE), class_="number"),
            el("td", amount(part), class_="number"),
        )
        for role, part in agent.parts
    ]
    head = el(
        "tr",
        el("th", "Role", scope="col"),
        el("th", "Share", scope="col", class_="number"),
        el("th", "Of 1,000 sat", scope="col", class_="number"),
    )
    caption = el("caption", "Who earns what; a part without a referrer stays with the rest")
    return el("table", caption, el("thead", head), el("tbody", rows), class_="roles earned")


def _listed(inputs: tuple[Input, ...]) -> list[Child]:
    """Say in a line which parameters a request may have: `repo; language (en, de), if you like`."""
    return [
        ("; " if place else "", one.name, _either(one.values, " (", ")"), "" if one.required else ", if you like")
        for place, one in enumerate(inputs)
    ]


def _either(values: tuple[str, ...], start: str = "", end: str = "") -> list[Child]:
    """Return values beside each other; words that run from right to left turn nothing around but themselves."""
    shown: list[Child] = [(", " if place else start, el("bdi", value)) for place, value in enumerate(values)]
    return [*shown, end] if values else []


def _inputs(inputs: tuple[Input, ...]) -> Html | None:
    if not inputs:
        return None
    rows = [
        el(
            "tr",
            el("th", el("code", one.name), scope="row"),
            el("td", "yes" if one.required else "no"),
            el("td", _either(one.values) if one.values else "any"),
            el("td", one.about),
        )
        for one in inputs
    ]
    head = el("tr", *(el("th", name, scope="col") for name in ("Name", "Needed", "Values", "What it is")))
    table = el(
        "table",
        el("caption", joined("Each a tag ", el("code", '["param", name, value]'), " of the request")),
        el("thead", head),
        el("tbody", rows),
    )
    region = el("div", table, class_="scroll", tabindex=0, role="region", aria_label="Parameters")
    return el("section", el("h2", "Parameters"), region)
