"""Asking an agent for a job in a form made from what it takes, watching it, and reading its result.

Who has an extension signs the request in the browser, encrypted to the agent; it is published
as any client's is. Without one, the request is made as the command `job` makes it: nobody
signs it, and it is published nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from aiohttp import web

from handlers.answers import UNSIGNED
from handlers.asking import ask_for, named_agent
from handlers.bot import Agent
from handlers.companies import ORG
from handlers.conversation import Reply
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip19, nip90
from relaybot.nostr.event import HEX32_LENGTH, is_hex, parse_event
from relaybot.nostr.keys import verify
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, choice, field, form, hidden_field, text_area
from relaybot.web.account.frame import heading, led_to, scrolled
from relaybot.web.account.history import when
from relaybot.web.account.live import RELOAD_SECONDS, Stamp, live_mark
from relaybot.web.account.qr import qr_code
from relaybot.web.html import Html, el
from wallet.company_pages import belongings_of
from wallet.ledger import Insert
from wallet.money import format_sat

JOBS_PATH = "/account/jobs"

_LISTED = 30
_PARAM = "param-"
_STATES = {
    "awaiting_approval": "waits for the word of the company's owner",
    "awaiting_payment": "waits for your payment",
    "held": "paid; looking for a compute node",
    "assigned": "given to a compute node",
    "working": "a compute node works on it",
    "captured": "done",
    "released": "ended; nothing was charged",
}


async def jobs_page(desk: Desk, visit: Visit) -> web.Response:
    """List one's own jobs, and whom one can ask."""
    rows = await jobs_of(desk, visit.me)
    agents = sorted(desk.bot.agents.values(), key=lambda agent: agent.id)
    return desk.shown(
        visit,
        heading("Jobs", "Ask an agent. You see the price before you pay; what fails costs nothing."),
        el("div", [_card(agent) for agent in agents], class_="agents") or None,
        el("section", el("h2", "Your jobs"), _table(rows) if rows else el("p", "None yet.", class_="quiet")),
        title="Jobs",
        here=JOBS_PATH,
    )


async def ask_page(desk: Desk, visit: Visit) -> web.Response:
    """Show the form of one agent."""
    agent = agent_of(desk, visit)
    signs = visit.session is not None and visit.session.way == "nip07"
    signing: dict[str, str | None] = (
        {"data_sign": "job", "data_agent": agent.keypair.pubkey, "data_kind": str(min(agent.kinds))} if signs else {}
    )
    asks = form(
        desk,
        visit,
        f"{JOBS_PATH}/ask/{agent.id}",
        hidden_field("event", ""),
        [_param(visit, name, agent) for name in agent.params],
        await _payers(desk, visit),
        text_area("What shall be done", "input", visit.form.get("input", "")),
        button(f"Ask for {price_of(agent)}"),
        **signing,
    )
    private = (
        "Your extension signs the request, encrypted to the agent." if signs else "Your request is published nowhere."
    )
    return desk.shown(
        visit,
        heading(agent.name, agent.about),
        asks,
        el("p", private, class_="quiet"),
        title=agent.name,
        here=JOBS_PATH,
    )


async def do_ask(desk: Desk, visit: Visit) -> web.Response:
    """Ask: by the signed event if there is one, else as the command `job` does."""
    agent = agent_of(desk, visit)
    if visit.said("event"):
        return led_to(f"{JOBS_PATH}/{await publish_request(desk, visit.me, visit.said('event'))}")
    said = {name: visit.said(_PARAM + name) for name in agent.params}
    said[ORG] = visit.said(_PARAM + ORG)
    params = [(name, value) for name, value in said.items() if value]
    text = visit.said("input")
    done = await act(
        desk,
        visit,
        "job",
        partial(ask_for, agent=agent, params=params, text=text),
        [agent.id, *(f"{name}={value}" for name, value in params)],
        text=text,
        resource=request_in,
    )
    return led_to(f"{JOBS_PATH}/{done.resource}")


async def job_page(desk: Desk, visit: Visit) -> web.Response:
    """Show one job of one's own: where it stands, its bill, its result."""
    job_id = visit.request.match_info["id"]
    stamp = await job_stamp(desk, visit.me, job_id)  # first: what is shown is never older than what is waited from
    row = await job_of(desk, visit.me, job_id)
    content: tuple[Html | None, ...]
    if row is None:
        words = await _note(desk, job_id)
        content = (heading("Job", words),)
    else:
        state = _STATES[row["state"]] + (f": {row['reason']}" if row["reason"] else "")
        content = (heading(f"Job {job_id[:8]}", state[0].upper() + state[1:] + "."), *await _shown(desk, row))
    return desk.shown(
        visit,
        *content,
        el("p", el("a", "All jobs", href=JOBS_PATH)),
        live_mark(f"{JOBS_PATH}/{job_id}/live", stamp),
        title="Job",
        here=JOBS_PATH,
        refresh=0 if stamp.over else RELOAD_SECONDS,
    )


async def job_live(desk: Desk, visit: Visit) -> web.StreamResponse:
    """Say when a job of one's own goes on."""
    job_id = visit.request.match_info["id"]
    return await desk.live.answer(visit.request, visit.me, partial(job_stamp, desk, visit.me, job_id))


async def jobs_of(desk: Desk, pubkey: str, limit: int = _LISTED) -> Sequence[Row]:
    """Return the newest jobs of somebody, newest first."""
    return await desk.bot.book.database.fetch(
        "SELECT * FROM jobs WHERE customer = :pubkey ORDER BY created_at DESC, id LIMIT :limit",
        pubkey=pubkey,
        limit=limit,
    )


async def job_of(desk: Desk, pubkey: str, job_id: str) -> Row | None:
    """Return the row of somebody's own job; None while its request is only in the inbox. 404 if it is not theirs."""
    row = await desk.bot.book.row("jobs", job_id) if is_hex(job_id, HEX32_LENGTH) else None
    if row is not None and row["customer"] == pubkey:
        return row
    waiting = await desk.bot.book.row("inbox", job_id) if row is None and is_hex(job_id, HEX32_LENGTH) else None
    if waiting is None or waiting["kind"] not in nip90.REQUEST_KINDS or parse_event(waiting["event"]).pubkey != pubkey:
        raise web.HTTPNotFound
    return None


async def job_stamp(desk: Desk, pubkey: str, job_id: str) -> Stamp:
    """Return what a job shows now."""
    waiting = await desk.bot.book.row("inbox", job_id)  # before the job, which there is once this is dealt with
    row = await job_of(desk, pubkey, job_id)
    if row is not None:
        return Stamp(f"{row['version']}", over=row["due_at"] is None)
    return Stamp(f"new-{waiting['state']}", over=waiting["state"] != "new") if waiting is not None else Stamp("new-")


async def result_of(desk: Desk, job: Row) -> str | None:
    """Return what the node delivered for a job that was charged; None if there is nothing."""
    row = await desk.bot.book.row("inbox", job["delivery"]) if job["delivery"] else None
    return nip90.parse_result(parse_event(row["event"]), desk.bot.service).content if row is not None else None


async def publish_request(desk: Desk, pubkey: str, text: str) -> str:
    """Publish a request that the browser has signed; return its id. Rejected if it is not one's own, or no request."""
    event = parse_event(text)
    if event.pubkey != pubkey or not verify(event):
        raise Rejected("invalid", "this request is not signed by who is signed in")
    if event.kind not in nip90.REQUEST_KINDS or event.tag("p") not in desk.bot.agents:
        raise Rejected("invalid", "this event asks none of our agents for a job")
    said = await desk.publish(event)
    if not said.accepted:
        raise Rejected("invalid", f"the relay refused the request: {said.message}")
    return event.id


def agent_of(desk: Desk, visit: Visit) -> Agent:
    """Return the agent that the address names. 404 if there is none."""
    try:
        return named_agent(desk.bot, visit.request.match_info["agent"])
    except Rejected:
        raise web.HTTPNotFound from None


def price_of(agent: Agent) -> str:
    """Return what an agent costs, in words."""
    low, high = agent.split.price_min, agent.split.price_max
    return format_sat(high) if low == high else f"{format_sat(low)} to {format_sat(high)}"


def request_in(reply: Reply) -> str:
    """Return the id of the request that the command `job` has made."""
    return next(one.id for one in reply.changes if isinstance(one, Insert) and one.table == "inbox")


async def _note(desk: Desk, job_id: str) -> str:
    row = await desk.bot.book.row("inbox", job_id)
    if row is None or row["state"] == "new":
        return "Your request has arrived and is looked at."
    if row["note"].endswith("/refuse"):
        return "Your request was refused; a private message says why."
    return f"Nothing came of it: {row['note']}."


async def _shown(desk: Desk, job: Row) -> tuple[Html | None, ...]:
    facts: list[tuple[str, Html | str]] = [("Agent", job["agent"]), ("Asked", when(job["created_at"]))]
    charged = format_sat(job["charged_msat"]) if job["charged_msat"] else f"at most {format_sat(job['price_msat'])}"
    facts.append(("Charged" if job["charged_msat"] else "Price", charged))
    facts.append(("Request", el("code", job["id"])))
    listed = el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts")
    return await _bill(desk, job), await _result(desk, job), listed, _input(desk, job)


async def _bill(desk: Desk, job: Row) -> Html | None:
    invoice = await desk.bot.book.row("invoices", job["invoice"]) if job["state"] == "awaiting_payment" else None
    if invoice is None:
        return None
    link = f"lightning:{invoice['bolt11']}"
    return el(
        "section",
        el("h2", f"Pay {format_sat(invoice['amount_msat'])}, and it begins"),
        el("a", qr_code(invoice["bolt11"].upper(), "The invoice as a QR code"), href=link),
        el("p", el("a", "Open in your wallet", href=link, class_="button")),
        el("p", el("code", invoice["bolt11"], id="payable"), class_="wide"),
        el("button", "Copy", type="button", class_="plain", hidden=True, data_copy="payable"),
    )


async def _result(desk: Desk, job: Row) -> Html | None:
    if job["state"] != "captured":
        return None
    content = await result_of(desk, job)
    if content is None:
        words = "The result went to you as an event." if job["result"] else "The result went to you by private message."
        return el("section", el("h2", "Result"), el("p", words))
    return el("section", el("h2", "Result"), el("pre", content, class_="result", tabindex=0))


def _input(desk: Desk, job: Row) -> Html | None:
    request = parse_event(job["request"])
    agent = next((one for one in desk.bot.agents.values() if one.id == job["agent"]), None)
    try:
        asked = nip90.parse_job_request(request, agent.keypair if agent is not None else None)
    except Rejected:  # of an agent whose key has changed
        return None
    lines = [*(f"{name}: {' '.join(values)}" for name, *values in asked.params), *(one.data for one in asked.inputs)]
    way = "in private" if asked.encrypted or request.sig == UNSIGNED else "in the open"
    return el("section", el("h2", f"What you asked, {way}"), el("pre", "\n".join(lines), class_="result", tabindex=0))


def _card(agent: Agent) -> Html:
    return el(
        "article",
        el("h2", agent.name),
        el("p", agent.about),
        el(
            "dl",
            el("div", el("dt", "Price"), el("dd", price_of(agent))),
            el("div", el("dt", "Key"), el("dd", el("code", nip19.encode_npub(agent.keypair.pubkey)))),
            class_="facts",
        ),
        el("p", el("a", f"Ask {agent.name}", href=f"{JOBS_PATH}/ask/{agent.id}", class_="button")),
        class_="card",
    )


def _table(rows: Sequence[Row]) -> Html:
    head = [el("th", name, scope="col") for name in ("When (UTC)", "Job", "Agent", "State")]
    head.append(el("th", "Charged", scope="col", class_="number"))
    body = [
        el(
            "tr",
            el("td", when(row["created_at"]), class_="nowrap"),
            el("td", el("a", row["id"][:8], href=f"{JOBS_PATH}/{row['id']}")),
            el("td", row["agent"]),
            el("td", _STATES[row["state"]]),
            el("td", format_sat(row["charged_msat"]), class_="number"),
        )
        for row in rows
    ]
    table = el("table", el("caption", "Newest first"), el("thead", el("tr", head)), el("tbody", body))
    return scrolled(table, "Your jobs")


async def _payers(desk: Desk, visit: Visit) -> Html | None:
    """Offer the companies that pay for one's jobs."""
    mine = await belongings_of(desk.bot.book.database, visit.me)
    open_ones = [(one.id, one.name or one.id) for one in mine if one.role != "invited" and one.state == "open"]
    if not open_ones:
        return None
    return choice("Who pays", _PARAM + ORG, [("", "I do"), *open_ones], visit.said(_PARAM + ORG))


def _param(visit: Visit, name: str, agent: Agent) -> Html:
    param, said = agent.params[name], visit.said(_PARAM + name)
    hint = param.about or None if param.required else f"{param.about} (if you like)".strip()
    if param.values:
        nothing = [] if param.required else [("", "—")]
        return choice(name, _PARAM + name, [*nothing, *((value, value) for value in param.values)], said, hint=hint)
    return field(name, _PARAM + name, said, hint=hint, required=param.required)
