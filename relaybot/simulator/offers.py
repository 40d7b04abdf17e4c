"""BOLT12 offers of the simulated nodes: made, listed, disabled, and asked for an invoice by whoever wants to pay.

An offer without blinded paths is the same whenever it is made with the same words, and has
the same id; the node then answers with the one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import coincurve

from relaybot.clock import Clock
from relaybot.errors import Rejected
from relaybot.simulator import bolt12, params
from relaybot.simulator.invoices import Invoices
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.store import Row, Store

_UNKNOWN_OFFER, _INACTIVE_OFFER = 1000, 1001
_REMOTE_FAILURE = 1004


class Offers:
    """The offers of all nodes."""

    def __init__(
        self, store: Store, clock: Clock, invoices: Mapping[str, Invoices], *, chance: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._invoices = invoices  # by the node's name

    def find(self, node: str, offer_id: str) -> Row | None:
        """Return an offer of a node."""
        return self._store.row("SELECT * FROM offers WHERE node = ? AND offer_id = ?", (node, offer_id))

    def request(self, text: str, *, amount_msat: int | None, payer_note: str | None = None) -> str:
        """Return the invoice for an offer, as its node makes it on request; Fault as `fetchinvoice` answers."""
        try:
            offered, offer_id = bolt12.read_offer(text), bolt12.offer_id(text)
        except (Rejected, IndexError):
            words = f"offer: Unparsable offer: invalid offer data: invalid token '\"{text}\"'"
            raise Fault(BAD_PARAMETERS, words) from None
        if offered.amount_msat is None and amount_msat is None:
            raise Fault(BAD_PARAMETERS, "amount_msat parameter required")
        issuer = self._store.row("SELECT name FROM nodes WHERE pubkey = ?", (offered.issuer_id,))
        offer = None if issuer is None else self.find(issuer["name"], offer_id)
        if offer is None or not offer["active"] or (offered.expires_at or self._clock.now() + 1) <= self._clock.now():
            data = {"error": "Failed invreq: Offer no longer available"}
            raise Fault(_REMOTE_FAILURE, "Remote node sent failure message", data)
        amount = max(amount_msat or 0, offered.amount_msat or 0)  # BOLT 12: at least what the offer asks for
        payer_id = coincurve.PrivateKey(self._chance(32)).public_key.format().hex()  # a new one for each payment
        return self._invoices[offer["node"]].create_for_offer(
            offer, amount_msat=amount, payer_id=payer_id, payer_note=payer_note
        )

    # The commands, each for one node.

    def offer(self, node: str, given: Params) -> dict[str, Any]:
        """`offer`."""
        amount = params.msat_or_any(given, "amount")
        row = self._store.row("SELECT pubkey FROM nodes WHERE name = ?", (node,))
        assert row is not None, f"no node {node}"
        offered = bolt12.Offered(
            amount_msat=amount,
            description=params.text(given, "description") or "",
            issuer=params.text(given, "issuer"),
            issuer_id=row["pubkey"],
            expires_at=params.integer(given, "absolute_expiry"),
        )
        offer_id, text = bolt12.build_offer(offered)
        known = self.find(node, offer_id)
        if known is not None and not known["active"]:
            raise Fault(_UNKNOWN_OFFER, "Duplicate offer, already disabled")
        if known is None:
            self._store.run(
                "INSERT INTO offers (node, offer_id, bolt12, amount_msat, description, label, single_use)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    node,
                    offer_id,
                    text,
                    amount,
                    offered.description,
                    params.text(given, "label"),
                    params.flag(given, "single_use"),
                ),
            )
        made = self.find(node, offer_id)
        assert made is not None, "it is stored"
        said = _describe(made)
        said.pop("description")
        return said | {"created": known is None}

    def listoffers(self, node: str, given: Params) -> dict[str, Any]:
        """`listoffers`."""
        wanted, active = params.payment_hash(given, "offer_id"), params.flag(given, "active_only")
        rows = self._store.rows("SELECT * FROM offers WHERE node = ? ORDER BY offer_id", (node,))
        chosen = (row for row in rows if wanted in (None, row["offer_id"]) and (row["active"] or not active))
        return {"offers": [_describe(row) for row in chosen]}

    def disableoffer(self, node: str, given: Params) -> dict[str, Any]:
        """`disableoffer`: no more invoices are made for it."""
        offer_id = params.payment_hash(given, "offer_id")
        assert offer_id is not None, "a required parameter is there"
        offer = self.find(node, offer_id)
        if offer is None:
            raise Fault(_UNKNOWN_OFFER, "Unknown offer")
        if not offer["active"]:
            raise Fault(_INACTIVE_OFFER, "offer is not active")
        self._store.run("UPDATE offers SET active = 0 WHERE node = ? AND offer_id = ?", (node, offer_id))
        disabled = self.find(node, offer_id)
        assert disabled is not None, "offers are kept"
        return _describe(disabled)

    def fetchinvoice(self, given: Params) -> dict[str, Any]:
        """`fetchinvoice`."""
        text = params.text(given, "offer") or ""
        amount, note = params.msat(given, "amount_msat"), params.text(given, "payer_note")
        return {"invoice": self.request(text, amount_msat=amount, payer_note=note), "changes": {}}


def _describe(row: Row) -> dict[str, Any]:
    said = {
        "offer_id": row["offer_id"],
        "active": bool(row["active"]),
        "single_use": bool(row["single_use"]),
        "bolt12": row["bolt12"],
        "force_paths": False,
        "used": bool(row["used"]),
        "label": row["label"],
        "description": row["description"],
    }
    return {name: value for name, value in said.items() if value is not None}
