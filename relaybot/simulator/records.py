"""How a node lists its outgoing payments: `listpays` by attempt, `listsendpays` by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relaybot.errors import Rejected
from relaybot.simulator import params
from relaybot.simulator.channels import page
from relaybot.simulator.orders import read_written
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.store import Row, Store

_STATUSES = ("pending", "complete", "failed")
_OF_ONE_HASH = """
    SELECT p.*, a.destination, a.created_at, a.label, a.bolt11 FROM parts p JOIN attempts a USING (groupid)
    WHERE p.node = :node AND p.payment_hash = :hash AND p.created_index >= :start
    ORDER BY p.created_index LIMIT :limit
"""
_BY_CREATION = """
    SELECT p.*, a.destination, a.created_at, a.label, a.bolt11 FROM parts p JOIN attempts a USING (groupid)
    WHERE p.node = :node AND p.created_index >= :start ORDER BY p.created_index LIMIT :limit
"""
_BY_UPDATE = """
    SELECT p.*, a.destination, a.created_at, a.label, a.bolt11 FROM parts p JOIN attempts a USING (groupid)
    WHERE p.node = :node AND p.updated_index >= :start ORDER BY p.updated_index LIMIT :limit
"""


def listsendpays(store: Store, node: str, given: Params) -> dict[str, Any]:
    """Return the parts, oldest first."""
    status = params.one_of(given, "status", _STATUSES)
    return {"payments": [_part(row) for row in _parts(store, node, given) if status in (None, row["status"])]}


def listpays(store: Store, node: str, given: Params) -> dict[str, Any]:
    """Return one entry per attempt. With paging the amounts are wrong, as the node's are: it pages the parts."""
    status = params.one_of(given, "status", _STATUSES)
    groups: dict[int, list[Row]] = {}
    for row in _parts(store, node, given):
        groups.setdefault(row["groupid"], []).append(row)
    pays = [_attempt(parts) for parts in groups.values()]
    return {"pays": [each for each in pays if status in (None, each["status"])]}


def _parts(store: Store, node: str, given: Params) -> list[Row]:
    """Return the parts that are asked for: of one hash, of one invoice, or all."""
    start, limit = page(given)
    values = {"node": node, "start": start, "limit": limit, "hash": _wanted_hash(given)}
    if values["hash"] is not None:
        return store.rows(_OF_ONE_HASH, values)
    return store.rows(_BY_UPDATE if given.get("index") == "updated" else _BY_CREATION, values)


def _wanted_hash(given: Params) -> str | None:
    payment_hash, bolt11 = params.payment_hash(given), params.text(given, "bolt11")
    if payment_hash is not None and bolt11 is not None:
        raise Fault(BAD_PARAMETERS, "Can only specify one of {bolt11} or {payment_hash}")
    if bolt11 is None:
        return payment_hash
    try:
        return read_written(bolt11).payment_hash
    except Rejected:
        raise Fault(BAD_PARAMETERS, "Invalid invstring: Bad bech32 string") from None


def _part(row: Row) -> dict[str, Any]:
    return _present(
        {
            "created_index": row["created_index"],
            "id": row["created_index"],
            "payment_hash": row["payment_hash"],
            "groupid": row["groupid"],
            "updated_index": row["updated_index"],
            "partid": row["partid"],
            "destination": row["destination"],
            "amount_msat": row["amount_msat"],
            "amount_sent_msat": row["sent_msat"],
            "created_at": row["created_at"],
            "completed_at": row["completed_at"],
            "status": row["status"],
            "payment_preimage": row["preimage"],
            "label": row["label"],
            _form(row): row["bolt11"],
            "erroronion": row["erroronion"],
        }
    )


def _attempt(parts: Sequence[Row]) -> dict[str, Any]:
    """Return the entry of one attempt. A failed one has no amount, and nothing sent."""
    statuses = {part["status"] for part in parts}
    status = next(each for each in ("complete", "pending", "failed") if each in statuses)
    going = [part for part in parts if part["status"] != "failed"]
    complete = [part for part in parts if part["status"] == "complete"]
    updated = [part["updated_index"] for part in parts if part["updated_index"] is not None]
    first = parts[0]
    return _present(
        {
            _form(first): first["bolt11"],
            "destination": first["destination"],
            "payment_hash": first["payment_hash"],
            "status": status,
            "created_at": first["created_at"],
            "completed_at": complete[0]["completed_at"] if complete else None,
            "label": first["label"],
            "preimage": complete[0]["preimage"] if complete else None,
            "amount_msat": sum(part["amount_msat"] for part in going) if going else None,
            "amount_sent_msat": sum(part["sent_msat"] for part in going),
            "number_of_parts": len(going) if len(going) > 1 else None,
            "created_index": min(part["created_index"] for part in parts),
            "updated_index": max(updated) if updated else None,
        }
    )


def _form(row: Row) -> str:
    return "bolt12" if row["bolt11"].startswith("lni1") else "bolt11"


def _present(said: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not there."""
    return {name: value for name, value in said.items() if value is not None}
