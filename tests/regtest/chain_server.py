"""The chain, for the plugins of the nodes to ask: JSON lines over a Unix socket, served by a thread of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any, TypeVar

from tests.regtest.chain import Chain, Refused
from tests.regtest.transactions import Outpoint

FLOOR_SAT_PER_KVB = 1_000
ESTIMATED_BLOCKS = (2, 6, 12, 100)

Answer = TypeVar("Answer")


class ChainServer:
    """One chain for everybody: the nodes ask over the socket, the tests through `do`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._chain = Chain()
        self._one_by_one = threading.Lock()
        self._server: ThreadingUnixStreamServer | None = None

    def start(self) -> None:
        answer = self._answer

        class Conversation(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionError):  # the node has ended
                    for line in self.rfile:
                        self.wfile.write(json.dumps(answer(json.loads(line))).encode() + b"\n")

        self._server = ThreadingUnixStreamServer(str(self.path), Conversation)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="chain", daemon=True).start()

    def close(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def do(self, work: Callable[[Chain], Answer]) -> Answer:
        """Read or change the chain while nobody else does."""
        with self._one_by_one:
            return work(self._chain)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        questions = {
            "getchaininfo": _chain_info,
            "getrawblockbyheight": _block,
            "estimatefees": _estimates,
            "sendrawtransaction": _send,
            "getutxout": _unspent,
        }
        return self.do(lambda chain: questions[request["method"]](chain, request["params"]))


# What a node's Bitcoin backend is asked: the five methods of Core Lightning's bcli plugin.


def _chain_info(chain: Chain, _: dict[str, Any]) -> dict[str, Any]:
    headers = chain.height + chain.headers_ahead
    return {"chain": "regtest", "headercount": headers, "blockcount": chain.height, "ibd": False}


def _block(chain: Chain, params: dict[str, Any]) -> dict[str, Any]:
    height = int(params["height"])
    if height > chain.height:
        return {"blockhash": None, "block": None}
    return {"blockhash": chain.blocks[height].hash, "block": chain.blocks[height].raw.hex()}


def _estimates(chain: Chain, _: dict[str, Any]) -> dict[str, Any]:
    rates = [{"blocks": blocks, "feerate": chain.sat_per_kvb} for blocks in ESTIMATED_BLOCKS if chain.sat_per_kvb]
    return {"feerate_floor": FLOOR_SAT_PER_KVB, "feerates": rates}


def _send(chain: Chain, params: dict[str, Any]) -> dict[str, Any]:
    try:
        chain.send(bytes.fromhex(params["tx"]))
    except Refused as refusal:
        return {"success": False, "errmsg": f"error code: -26\nerror message:\n{refusal}"}
    return {"success": True, "errmsg": ""}


def _unspent(chain: Chain, params: dict[str, Any]) -> dict[str, Any]:
    found = chain.unspent(Outpoint(params["txid"], int(params["vout"])))
    if found is None:
        return {"amount": None, "script": None}
    return {"amount": found.sat, "script": found.script.hex()}
