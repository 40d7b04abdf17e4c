"""Asking whoever made an offer for an invoice: what a real node answered, and what the adapter makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from relaybot.errors import Rejected, Unavailable
from tests.lightning.conftest import Connect, Script
from tests.lightning.wire import Answer, recording, reply
from wallet.lightning import DecodedInvoice
from wallet.money import Msat

OFFER = recording("fetchinvoice-ok")["params"]["offer"]
SAID = recording("decode-bolt12-invoice")["result"]


def answering(fetched: str | dict[str, Any], **changed: object) -> Any:
    """Return a node that answers fetchinvoice as recorded, and decode as recorded but for what is changed."""

    def answer(method: str, _params: Mapping[str, Any]) -> Answer:
        if method == "decode":
            return {"result": SAID | changed}
        return reply(fetched) if isinstance(fetched, str) else fetched

    return answer


async def fetch(scripted: Script, connect: Connect, answers: Any, amount_msat: int = 10_000) -> DecodedInvoice:
    node = await scripted(answers)
    return await connect(node.path).fetch_invoice(OFFER, amount_msat=Msat(amount_msat))


async def test_a_fetched_invoice_is_what_the_node_says_of_it(scripted: Script, connect: Connect) -> None:
    node = await scripted(answering("fetchinvoice-ok"))
    invoice = await connect(node.path).fetch_invoice(OFFER, amount_msat=Msat(10_000))
    assert invoice.bolt11 == recording("fetchinvoice-ok")["result"]["invoice"]
    assert invoice.payment_hash == SAID["invoice_payment_hash"]
    assert invoice.payee == SAID["invoice_node_id"]
    assert invoice.amount_msat == 10_000
    assert invoice.expires_at == SAID["invoice_created_at"] + SAID["invoice_relative_expiry"]
    assert node.heard[0] == ("fetchinvoice", {"offer": OFFER, "amount_msat": 10_000, "timeout": 30})


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"invoice_amount_msat": 10_001}, "another amount"),
        ({"valid": False}, "no valid invoice"),
        ({"type": "bolt12 offer"}, "no valid invoice"),
        ({"invoice_payment_hash": ""}, "no valid invoice"),
    ],
)
async def test_f2_a_fetched_invoice_that_is_anything_else_is_refused(
    scripted: Script, connect: Connect, changed: dict[str, object], reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        await fetch(scripted, connect, answering("fetchinvoice-ok", **changed))


@pytest.mark.parametrize(
    ("fetched", "reason"),
    [
        ("fetchinvoice-disabled-offer", "refuses to give an invoice"),
        ("fetchinvoice-bad-offer", "cannot read this offer"),
        ("fetchinvoice-any-without-amount", "cannot read this offer"),
        ({"error": {"code": 1002, "message": "Offer has expired"}}, "offer has expired"),
    ],
)
async def test_an_offer_that_gives_no_invoice_is_refused(
    scripted: Script, connect: Connect, fetched: str | dict[str, Any], reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        await fetch(scripted, connect, answering(fetched))


@pytest.mark.parametrize(
    ("code", "reason"), [(1003, "no way"), (1005, "does not answer"), (-1, "node answered error -1")]
)
async def test_an_offer_whose_maker_cannot_be_reached_is_asked_again_later(
    scripted: Script, connect: Connect, code: int, reason: str
) -> None:
    with pytest.raises(Unavailable, match=reason):
        await fetch(scripted, connect, answering({"error": {"code": code, "message": "x"}}))
