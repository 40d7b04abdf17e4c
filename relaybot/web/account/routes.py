"""Every address of the account, in one table; what needs no session says so."""

from __future__ import annotations

from aiohttp import web

from handlers.sessions import LINK_PATH, SIGN_IN_PATH
from relaybot.web.account import apps, companies, earnings, history, jobs, settings, signing, topups, withdrawals
from relaybot.web.account.balance import balance_page
from relaybot.web.account.desk import Desk, Route
from relaybot.web.account.frame import SCRIPT_PATH, script

ROUTES = (
    Route("GET", SIGN_IN_PATH, signing.sign_in_page, open=True),
    Route("POST", SIGN_IN_PATH, signing.do_sign_in, again=signing.sign_in_page, open=True),
    Route("GET", f"{LINK_PATH}/{{token}}", signing.link_page, open=True),
    Route("POST", f"{LINK_PATH}/{{token}}", signing.do_link, open=True),
    Route("POST", "/account/sign-out", signing.do_sign_out),
    Route("GET", "/account", balance_page),
    Route("GET", "/account/history", history.show_history),
    Route("GET", "/account/history.csv", history.download_history),
    Route("GET", "/account/earnings", earnings.show_earnings),
    Route("GET", "/account/why", earnings.show_why),
    Route("GET", "/account/topup", topups.topup_page),
    Route("POST", "/account/topup", topups.do_topup, again=topups.topup_page),
    Route("GET", "/account/topups/{id}", topups.invoice_page),
    Route("GET", "/account/topups/{id}/live", topups.invoice_live),
    Route("GET", "/account/onchain", topups.onchain_page),
    Route("GET", "/account/onchain/live", topups.onchain_live),
    Route("GET", "/account/withdraw", withdrawals.withdraw_page),
    Route("POST", "/account/withdraw", withdrawals.preview_withdrawal, again=withdrawals.withdraw_page),
    Route("POST", "/account/withdraw/confirm", withdrawals.do_withdrawal, again=withdrawals.withdraw_page),
    Route("GET", "/account/withdrawals/{id}", withdrawals.withdrawal_page),
    Route("GET", "/account/withdrawals/{id}/live", withdrawals.withdrawal_live),
    Route("POST", "/account/withdraw-links", withdrawals.do_link, again=withdrawals.withdraw_page),
    Route("POST", "/account/withdraw-links/end", withdrawals.do_end_link, again=withdrawals.withdraw_page),
    Route("GET", "/account/jobs", jobs.jobs_page),
    Route("GET", "/account/jobs/ask/{agent}", jobs.ask_page),
    Route("POST", "/account/jobs/ask/{agent}", jobs.do_ask, again=jobs.ask_page),
    Route("GET", "/account/jobs/{id}", jobs.job_page),
    Route("GET", "/account/jobs/{id}/live", jobs.job_live),
    Route("GET", "/account/apps", apps.apps_page),
    Route("POST", "/account/apps", apps.do_connect, again=apps.apps_page),
    Route("POST", "/account/apps/end", apps.do_disconnect, again=apps.apps_page),
    Route("GET", "/account/companies", companies.companies_page),
    Route("POST", "/account/companies", companies.do_create, again=companies.companies_page),
    Route("GET", "/account/companies/{org}", companies.company_page),
    Route("GET", "/account/companies/{org}/statement.csv", companies.statement),
    Route("POST", "/account/companies/{org}/{command}", companies.do_company, again=companies.company_page),
    Route("GET", "/account/settings", settings.settings_page),
    Route("POST", "/account/settings/payout", settings.do_payout, again=settings.settings_page),
    Route("POST", "/account/settings/threshold", settings.do_threshold, again=settings.settings_page),
    Route("POST", "/account/settings/name", settings.do_name, again=settings.settings_page),
    Route("GET", "/account/refer/{npub}", settings.refer_page),
    Route("POST", "/account/refer", settings.do_refer, again=settings.settings_page),
)


def account_routes(desk: Desk) -> list[web.RouteDef]:
    """Return the routes of the account's pages, and of their script."""
    return [web.get(SCRIPT_PATH, _script), *(desk.route(route) for route in ROUTES)]


async def _script(_: web.Request) -> web.Response:
    return web.Response(text=script(), content_type="text/javascript", headers={"Cache-Control": "public, max-age=300"})
