"""People's wallets on real nodes, over HTTP as the simulated ones: paid into at `far`, paid from at `wallets`."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from typing import Any

from aiohttp import web

from relaybot.demo.stage import HOST
from relaybot.simulator.people import ADDRESS_HOST
from tests.regtest.rig import NodeRefused, Rig

PAID_INTO, PAID_FROM = "far", "wallets"
SENDABLE_MSAT = (1_000, 10_000_000_000)


class WalletServer:
    """Lightning Addresses (LUD-06, LUD-16) and a way to pay invoices. Every name is somebody's."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._prefix = f"wallet/{secrets.token_hex(4)}"  # of all labels: the nodes outlive this server
        self._sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._runner: web.AppRunner | None = None
        self.asked = 0  # how many invoices were given out
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/lnurlp/{name}", self._on_address),
                web.get("/lnurlp/{name}/callback", self._on_callback),
                web.get("/wallets/{name}", self._on_wallet),
                web.post("/wallets/{name}/pay", self._on_payment),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _on_address(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        least, most = SENDABLE_MSAT
        said = {
            "tag": "payRequest",
            "callback": f"https://{ADDRESS_HOST}/lnurlp/{name}/callback",
            "metadata": _metadata(name),
        }
        return web.json_response(said | {"minSendable": least, "maxSendable": most})

    async def _on_callback(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.asked += 1
        asked = {
            "amount_msat": int(request.query["amount"]),
            "label": f"{self._prefix}/{name}/{self.asked}",
            "description": _metadata(name),
            "deschashonly": True,
            "expiry": 600,
        }
        made = await self._rig.call(PAID_INTO, "invoice", asked)
        said = await self._rig.call(PAID_INTO, "decode", {"string": made["bolt11"]})
        assert said["description_hash"] == hashlib.sha256(_metadata(name).encode()).hexdigest()
        return web.json_response({"pr": made["bolt11"], "routes": []})

    async def _on_wallet(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        received = [{"amount_msat": row["amount_received_msat"]} for row in await self.received(name)]
        return web.json_response({"received": received, "sent": self._sent[name]})

    async def received(self, name: str) -> list[dict[str, Any]]:
        """Return the paid invoices of a name, in the order of their payment."""
        rows = (await self._rig.call(PAID_INTO, "listinvoices"))["invoices"]
        ours = [row for row in rows if row["label"].startswith(f"{self._prefix}/{name}/") and row["status"] == "paid"]
        return sorted(ours, key=lambda row: int(row["pay_index"]))

    async def _on_payment(self, request: web.Request) -> web.Response:
        bolt11 = (await request.json())["bolt11"]
        try:
            paid = await self._rig.call(PAID_FROM, "xpay", {"invstring": bolt11})
        except NodeRefused as refusal:
            return web.json_response({"error": str(refusal)}, status=409)
        self._sent[request.match_info["name"]].append({"status": "complete"})
        return web.json_response(paid)


def _metadata(name: str) -> str:
    return json.dumps([["text/plain", f"Pay {name}"], ["text/identifier", f"{name}@{ADDRESS_HOST}"]])
