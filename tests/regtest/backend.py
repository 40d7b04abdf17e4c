"""A node's Bitcoin backend: each question goes on to the chain, whose socket is the argument.

When the chain ends, this plugin does, and with it the node that cannot live without it.
"""

from __future__ import annotations

import json
import socket
import sys
from functools import partial

from tests.regtest.plugin import Answer, Params, Plugin

QUESTIONS = ("getchaininfo", "getrawblockbyheight", "estimatefees", "sendrawtransaction", "getutxout")


def main(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as chain:
        chain.connect(path)
        lines = chain.makefile("rw", encoding="utf-8")

        def ask(method: str, params: Params, answer: Answer) -> None:
            lines.write(json.dumps({"method": method, "params": params}) + "\n")
            lines.flush()
            answer(json.loads(lines.readline() or sys.exit("the chain has ended")))

        Plugin({name: partial(ask, name) for name in QUESTIONS}).run()


if __name__ == "__main__":
    main(sys.argv[1])
