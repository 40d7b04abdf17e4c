"""The simulator answers as the real node did: the same keys, the same types, the same codes, the same words.

Every recording of a method the simulator serves is brought about again and compared.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.lightning import situations_of_chain, situations_of_invoices, situations_of_look_ups, situations_of_payments
from tests.lightning.lab import Lab
from tests.lightning.situations import AS_RECORDED, NOT_SERVED
from tests.lightning.wire import RECORDINGS, recording

SITUATIONS = {
    **AS_RECORDED,
    **situations_of_invoices.SITUATIONS,
    **situations_of_payments.SITUATIONS,
    **situations_of_look_ups.SITUATIONS,
    **situations_of_chain.SITUATIONS,
}
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))

# Optional in the node's own schemas, and nothing a caller of ours may depend on.
LEFT_OUT = frozenset(
    {
        "offer_paths",  # the simulated nodes are public: nothing leads to them blindly
        "invoice_paths",
        "warning_deadends",
        "alias",
        "close_to",
        "close_to_addr",
        "last_stable_connection",  # there only after a minute
        "min_to_us_msat",
        "max_to_us_msat",
        "psbt",
    }
)
NOT_COMPARED = frozenset({"outputs", "state_changes", "binding"})  # outputs: in their situations; no ports, no history
SAID_ALIKE = frozenset({"status", "state", "type", "code", "primary_tag", "network", "currency"})

# The code is the same; the words name what only the real node has: layers, reservations, its own channels.
OTHER_WORDS = frozenset(
    {
        "pay-205-leaked-reservation",
        "pay-205-remembered-constraint",
        "pay-error-while-a-part-is-still-pending",
        "pay-insufficient",
        "pay-plugin-terminated",
        "pay-recipient-offline",
        "xpay-insufficient",
    }
)


def not_served(name: str) -> str | None:
    return next((reason for part, reason in NOT_SERVED.items() if part in name), None)


SERVED = [name for name in NAMES if not_served(name) is None]


def test_every_recording_has_its_situation_or_a_reason_for_none() -> None:
    assert sorted(SITUATIONS) == SERVED


@pytest.mark.parametrize("name", SERVED)
async def test_the_answer_has_the_recorded_shape(lab: Lab, name: str) -> None:
    lab.name = name
    recorded, answer = recording(name), await SITUATIONS[name](lab)
    if "error" in recorded:
        assert "error" in answer, answer
        compare(recorded["error"], answer["error"], "error")
        assert answer["error"]["code"] == recorded["error"]["code"]
        if name not in OTHER_WORDS:
            assert plain(answer["error"]["message"]) == plain(recorded["error"]["message"])
    else:
        assert "result" in answer, answer
        if name == "listpays-failed-then-pending":  # its first row says pending for a moment more than it is
            recorded["result"]["pays"].pop(0)
        compare(recorded["result"], answer["result"], "result")


def compare(recorded: Any, answer: Any, where: str) -> None:
    """Fail unless both have the same keys and types; of lists of different lengths the last rows are compared."""
    assert type(answer) is type(recorded), f"{where}: {answer!r} in place of {recorded!r}"
    if isinstance(recorded, dict):
        assert set(answer) == set(recorded) - LEFT_OUT | (set(answer) & LEFT_OUT), where
        for name in set(answer) & set(recorded) - NOT_COMPARED:
            compare(recorded[name], answer[name], f"{where}.{name}")
            if name in SAID_ALIKE and isinstance(recorded[name], str | int):
                assert answer[name] == recorded[name], f"{where}.{name}"
    elif isinstance(recorded, list):
        assert bool(answer) == bool(recorded), f"{where}: {len(answer)} rows in place of {len(recorded)}"
        last = 0 if len(recorded) == len(answer) else -1
        for number, (one, other) in enumerate(zip(recorded[last:], answer[last:], strict=True)):
            compare(one, other, f"{where}[{number}]")


def plain(words: str) -> str:
    """Return a message without what differs each time: keys, hashes, invoices, numbers, labels."""
    words = re.sub(r"ln(bc|[oir]1)\w+", "INVOICE", words)
    words = re.sub(r"\b[0-9a-f]{64,66}\b", "HEX", words)
    return re.sub(r"'[\w-]*label[\w-]*'|\d+", "N", words)
