"""A plugin at the payee's door: payments that come in are let in, held, or refused, as the test has ordered.

An order is an empty file in the directory that is the argument, named `<number>-hold` or
`<number>-refuse`; the lowest number is for the payment that comes next, at whichever node.
`doorman-release end=settle|fail` ends those that are held here and says how many they were.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.regtest.plugin import Answer, Params, Plugin

LET_IN, REFUSE = {"result": "continue"}, {"result": "reject"}
HELD: list[Answer] = []


def on_payment(orders: Path, _: Params, answer: Answer) -> None:
    match _next(orders):
        case "hold":
            HELD.append(answer)
        case "refuse":
            answer(REFUSE)
        case _:
            answer(LET_IN)


def _next(orders: Path) -> str:
    """Return the oldest order, and take it away: whoever unlinks it has it."""
    for each in sorted(orders.iterdir()):
        try:
            each.unlink()
        except FileNotFoundError:  # another node was faster
            continue
        return each.name.partition("-")[2]
    return ""


def on_release(params: Params, answer: Answer) -> None:
    released = len(HELD)
    for each in HELD:
        each(LET_IN if params["end"] == "settle" else REFUSE)
    HELD.clear()
    answer({"released": released})


def on_count(_: Params, answer: Answer) -> None:
    answer({"held": len(HELD)})


if __name__ == "__main__":
    Plugin(
        {"doorman-release": on_release, "doorman-held": on_count},
        {"invoice_payment": partial(on_payment, Path(sys.argv[1]))},
    ).run()
