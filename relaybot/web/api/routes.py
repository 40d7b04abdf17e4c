"""Every endpoint of the API, in one table, from which both the routes and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from relaybot.errors import Rejected, Unavailable
from relaybot.web.account.desk import Desk
from relaybot.web.api import companies, company_models, models, money, work
from relaybot.web.api.door import Call, Tokens, key_of, signed_by
from relaybot.web.api.problems import BASE, malformed, problem, refused

OPENAPI_PATH = f"{BASE}/openapi.json"

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint: what it takes, what it answers, and what does it."""

    method: str
    path: str
    summary: str
    run: Callable[[Desk, Call], Awaitable[BaseModel]]
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None

    @property
    def changes(self) -> bool:
        """Tell whether it does something: then a key makes it happen once."""
        return self.method != "GET" and self.run is not money.quote


OPERATIONS = (
    Operation("GET", "/balance", "What you have, by class, and what is held", money.balance, models.Balance),
    Operation("GET", "/history", "Every entry and its cause", money.history, models.History, query=models.HistoryQuery),
    Operation("GET", "/earnings", "What you earn by agent and role", money.earnings, models.Earnings),
    Operation("GET", "/earnings/why", "Why an entry is so large", money.explained, models.Why, query=models.WhyQuery),
    Operation("GET", "/payout", "Where your earnings go", money.payout_settings, models.Payout),
    Operation("PUT", "/payout", "Change that", money.change_payout, models.Payout, body=models.PayoutChange),
    Operation("POST", "/topups", "Add to your balance", money.make_topup, models.Topup, body=models.TopupOrder),
    Operation("GET", "/topups/{id}", "Whether an invoice is paid", money.one_topup, models.Topup),
    Operation("GET", "/deposits", "What arrived on the chain", money.deposits, models.Deposits),
    Operation("GET", "/payouts", "What went out, or shall", money.payouts, models.Payouts),
    Operation(
        "POST", "/withdrawals/quote", "What it would take", money.quote, models.Quote, body=models.WithdrawalOrder
    ),
    Operation("POST", "/withdrawals", "Send it", money.make_withdrawal, models.Withdrawal, body=models.WithdrawalOrder),
    Operation("GET", "/withdrawals/{id}", "How a withdrawal goes on", money.one_withdrawal, models.Withdrawal),
    Operation("GET", "/withdraw-links", "Links that withdraw", money.links, models.Links),
    Operation("POST", "/withdraw-links", "Make one", money.make_withdraw_link, models.Link, body=models.LinkOrder),
    Operation("DELETE", "/withdraw-links/{id}", "End one", money.end_withdraw_link, models.Done),
    Operation("GET", "/agents", "Whom you can ask", work.agents, models.Agents),
    Operation("GET", "/jobs", "Your newest jobs", work.jobs, models.Jobs),
    Operation("POST", "/jobs", "Ask an agent for a job", work.ask, models.Job, body=models.JobOrder),
    Operation("GET", "/jobs/{id}", "How a job goes on, and its result", work.one_job, models.Job),
    Operation("GET", "/connections", "Apps that use your balance", work.connections, models.Connections),
    Operation(
        "POST", "/connections", "Connect an app", work.make_connection, models.Connection, body=models.ConnectionOrder
    ),
    Operation("DELETE", "/connections/{name}", "Disconnect it", work.end_connection, models.Done),
    Operation("GET", "/companies", "Companies you have to do with", companies.companies, company_models.Companies),
    Operation("GET", "/companies/{org}", "One, as far as it is your affair", companies.company, company_models.Company),
    Operation(
        "POST",
        "/companies/{org}/members",
        "Ask somebody to join",
        companies.invite,
        models.Done,
        body=company_models.MemberOrder,
    ),
    Operation(
        "PUT",
        "/companies/{org}/members",
        "Change a budget",
        companies.change_budget,
        models.Done,
        body=company_models.MemberOrder,
    ),
    Operation("DELETE", "/companies/{org}/members/{npub}", "Take somebody out", companies.remove_member, models.Done),
    Operation(
        "POST",
        "/companies/{org}/approvals",
        "Decide on a job",
        companies.decide,
        models.Done,
        body=company_models.ApprovalOrder,
    ),
    Operation("POST", "/referrer", "Name who referred you, once", work.refer, models.Done, body=models.Referrer),
)


def api_routes(desk: Desk, tokens: Tokens) -> list[web.RouteDef]:
    """Return the routes, each behind the door."""
    return [web.route(one.method, BASE + one.path, _answering(desk, tokens, one)) for one in OPERATIONS]


def _answering(desk: Desk, tokens: Tokens, operation: Operation) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            call = await _let_in(desk, tokens, operation, request)
            told = await operation.run(desk, call)
        except Rejected as refusal:
            return refused(refusal)
        except ValidationError as error:
            return malformed(error)
        except web.HTTPNotFound:
            return problem(404, "not-found", "Not found", "nothing of yours has this id")
        except web.HTTPRequestEntityTooLarge:
            return problem(413, "invalid", "Too large", "the body is too large")
        except Unavailable:
            headers = {"Retry-After": "5"}
            return problem(503, "unavailable", "Not now", "something outside does not answer now", headers=headers)
        return web.Response(text=told.model_dump_json(), content_type=_JSON)

    return answer


async def _let_in(desk: Desk, tokens: Tokens, operation: Operation, request: web.Request) -> Call:
    raw = await request.read()
    event = await signed_by(desk, tokens, request, raw, changes=operation.changes)
    if operation.body is not None and request.content_type != _JSON:
        raise Rejected("invalid", "Content-Type: a body is sent as application/json")
    if operation.body is None and raw:
        raise Rejected("invalid", "body: nothing is sent here")
    return Call(
        event.pubkey,
        event.id,
        key_of(request, event),
        dict(request.match_info),
        body=operation.body.model_validate_json(raw) if operation.body is not None else None,
        query=operation.query.model_validate(dict(request.query)) if operation.query is not None else None,
    )
