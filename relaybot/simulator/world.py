"""The world around the simulated nodes, over HTTP on a loopback port.

Lightning Addresses of simulated people, their wallets, the scripts that make payments
fail, hang or get lost, and (`controls.py`) the chain. For demos and tests; nothing of it is secret or safe.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import Field, ValidationError

from relaybot.errors import BadConfig, Rejected
from relaybot.simulator.controls import Body, Controls, read_body
from relaybot.simulator.params import BAD_PARAMETERS, Fault
from relaybot.simulator.payments import ConnectionLost, Payments
from relaybot.simulator.people import GRANTED_MSAT_DEFAULT, SENDABLE_MSAT, People, Wanted
from relaybot.simulator.scripts import Ending, Script, Scripts
from wallet.money import MAX_MSAT

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BODY_BYTES_MAX = 65_536
_LOCAL = frozenset(_LOOPBACK)


class NewWallet(Body):
    """POST /wallets."""

    name: str
    granted_msat: int = Field(default=GRANTED_MSAT_DEFAULT, ge=0, le=MAX_MSAT)


class Payment(Body):
    """POST /wallets/<name>/pay."""

    bolt11: str
    amount_msat: int | None = Field(default=None, gt=0, le=MAX_MSAT)
    maxfee_msat: int | None = Field(default=None, ge=0, le=MAX_MSAT)


class Release(Body):
    """POST /scripts/release: which held payments go on, and how they end."""

    payment_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    ending: Ending | None = None


class World:
    """The HTTP side."""

    def __init__(
        self,
        *,
        people: People,
        payments: Payments,
        scripts: Scripts,
        controls: Controls,
        overview: Callable[[], dict[str, Any]],
    ) -> None:
        self._people = people
        self._payments = payments
        self._scripts = scripts
        self._controls = controls
        self._overview = overview
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen and return the address; BadConfig if `host` is not this machine alone."""
        if host not in _LOCAL:
            raise BadConfig("lightning.http_host", host, "a loopback address: " + ", ".join(_LOOPBACK))
        app = web.Application(client_max_size=_BODY_BYTES_MAX, middlewares=[_with_clear_errors])
        app.add_routes(
            [
                web.get("/", self._on_overview),
                web.get("/.well-known/lnurlp/{name}", self._on_address),
                web.get("/lnurlp/{name}/callback", self._on_callback),
                web.post("/wallets", self._on_new_wallet),
                web.get("/wallets/{name}", self._on_wallet),
                web.post("/wallets/{name}/pay", self._on_payment),
                web.post("/scripts", self._on_script),
                web.post("/scripts/release", self._on_release),
                *self._controls.routes(),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return f"http://{shown}:{bound[1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _on_overview(self, request: web.Request) -> web.Response:
        del request
        wallets = [{"name": name, "balance_msat": self._people.balance_msat(name)} for name in self._people.names()]
        scripts = [script.model_dump(mode="json") for script in self._scripts.waiting()]
        return web.json_response(self._overview() | {"wallets": wallets, "scripts": scripts})

    async def _on_address(self, request: web.Request) -> web.Response:
        """Say what an address takes. LUD-06, LUD-16; the wallet opens at first use."""
        name = request.match_info["name"]
        try:
            self._people.open(name)
        except Rejected as error:
            return _lnurl_error(error.reason)
        origin = request.url.origin()
        if origin.host not in _LOCAL:
            origin = origin.with_scheme("https")  # LUD-06: https for every name of the clear net
        return web.json_response(
            {
                "tag": "payRequest",
                "callback": str(origin / "lnurlp" / name / "callback"),
                "minSendable": SENDABLE_MSAT.start,
                "maxSendable": SENDABLE_MSAT.stop - 1,
                "metadata": self._people.metadata(name),
            }
        )

    async def _on_callback(self, request: web.Request) -> web.Response:
        amount = request.query.get("amount", "")
        if not (amount.isascii() and amount.isdigit() and len(amount) < 20 and int(amount) in SENDABLE_MSAT):  # noqa: PLR2004 — digits of an int64
            return _lnurl_error(f"amount must be {SENDABLE_MSAT.start} to {SENDABLE_MSAT.stop - 1} msat")
        try:
            bolt11 = self._people.invoice(request.match_info["name"], int(amount))
        except Rejected as error:
            return _lnurl_error(error.reason)
        return web.json_response({"pr": bolt11, "routes": []})

    async def _on_new_wallet(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, NewWallet)
        self._people.open(wanted.name, wanted.granted_msat)
        return web.json_response(self._people.describe(wanted.name), status=201)

    async def _on_wallet(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._people.names():
            return web.json_response({"error": "no such wallet", "field": "name"}, status=404)
        return web.json_response(self._people.describe(name))

    async def _on_payment(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, Payment)
        try:
            paid = await self._people.pay(
                request.match_info["name"], Wanted(wanted.bolt11, wanted.amount_msat, wanted.maxfee_msat)
            )
        except Fault as fault:
            if fault.code == BAD_PARAMETERS:
                return web.json_response({"error": fault.message, "field": "bolt11"}, status=400)
            return web.json_response({"error": fault.message, "code": fault.code}, status=409)
        except ConnectionLost:
            return web.json_response({"error": "connection lost; the payment goes on"}, status=504)
        return web.json_response(
            {
                "status": "complete",
                "payment_hash": paid.payment_hash,
                "preimage": paid.preimage,
                "amount_msat": paid.amount_msat,
                "amount_sent_msat": paid.sent_msat,
            }
        )

    async def _on_script(self, request: web.Request) -> web.Response:
        script = await read_body(request, Script)
        self._scripts.add(script)
        return web.json_response(script.model_dump(mode="json"), status=201)

    async def _on_release(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, Release)
        released = self._payments.release(payment_hash=wanted.payment_hash, ending=wanted.ending)
        return web.json_response({"released": released})


@web.middleware
async def _with_clear_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 400 with the field and the reason where a body or a name is wrong."""
    try:
        return await handler(request)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        return web.json_response({"error": first["msg"], "field": field}, status=400)
    except Rejected as error:
        return web.json_response({"error": error.reason, "field": "name"}, status=400)


def _lnurl_error(reason: str) -> web.Response:
    # LUD-06: an error is an answer of its own, with status 200
    return web.json_response({"status": "ERROR", "reason": reason})
