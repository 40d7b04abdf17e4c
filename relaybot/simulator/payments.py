"""Payments of the simulated nodes, from the call to the end.

Flow: the order is read and checked; a path is found; `_send` writes the attempt, its
parts and their HTLCs in one transaction, and from there on the payment is on its way
whoever still listens; `resolve` ends it in one transaction: all balances, the
recipient's invoice and the parts, or the failure. A process killed before `_send`
has sent nothing; killed after it, `resume` goes on at the next start. An orphan is a
part without an HTLC that nothing ever ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from relaybot.clock import Clock
from relaybot.simulator.channels import Channels
from relaybot.simulator.invoices import Invoices
from relaybot.simulator.memory import Memory
from relaybot.simulator.orders import Order
from relaybot.simulator.params import Fault
from relaybot.simulator.routes import Hop, NoPath, Path, find_paths
from relaybot.simulator.scripts import USUAL, Ending, Outcome, Script, Scripts
from relaybot.simulator.store import Row, Store
from relaybot.simulator.waiting import Changes

_GROUPID_BYTES = 7  # the real ones exceed 2^53 as well
_ONION_BYTES = 292  # of an error that came back: unreadable for all but the payer
_REFUSED = "Destination said it doesn't know invoice: incorrect_or_unknown_payment_details"
_WORDS = {
    203: _REFUSED,
    205: "Failed: We could not find a usable set of paths.",
    206: "Failed: Could not find route without excessive cost",
    207: "Invoice expired 1 seconds ago",
    209: "Failed after 1 attempts. We got temporary_channel_failure for the invoice's route hint, assuming it can't"
    " carry the amount. Then routing failed: We could not find a usable set of paths.",
}
_AFTER_SENDING = frozenset({203, 209})  # the other errors come before anything is sent


class ConnectionLost(Exception):
    """The caller hears nothing more, whatever becomes of its payment."""


@dataclass(frozen=True, slots=True)
class Paid:
    """A completed payment, as pay and xpay tell it in their own ways."""

    payment_hash: str
    preimage: str
    destination: str
    amount_msat: int
    sent_msat: int
    created_at: int
    parts: int
    fresh: bool  # False: it was complete before this call


class Payments:
    """All payments of the network."""

    def __init__(
        self,
        *,
        store: Store,
        channels: Channels,
        scripts: Scripts,
        invoices: Mapping[str, Invoices],
        clock: Clock,
        changes: Changes,
        delay_seconds: float,
        chance: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._channels = channels
        self._scripts = scripts
        self._invoices = invoices  # by the payee's name; filled before the first payment
        self._clock = clock
        self._memory = Memory(store, clock)
        self._changes = changes
        self._delay_seconds = delay_seconds
        self._chance = chance
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def pay(self, node: str, order: Order) -> Paid:
        """Pay `order` from `node` and wait for the end.

        Fault with the node's code if it fails or is refused; ConnectionLost if a script wants that.
        """
        self._require_connected(node)
        complete = self.completed(node, order.payment_hash)
        if complete is not None:
            return complete
        self._require_not_pending(node, order.payment_hash)
        wallet = self.wallet_of(order)
        script = self._scripts.take(node=node, payment_hash=order.payment_hash, wallet=wallet) or USUAL
        if script.outcome is Outcome.FAIL and script.code not in _AFTER_SENDING:
            await asyncio.sleep(script.seconds)
            raise Fault(script.code, _WORDS.get(script.code, "Failed by script"))
        groupid = self._send(node, order, self._paths(node, order, script), script)
        match script.outcome:
            case Outcome.LOST_CONNECTION | Outcome.ORPHAN:
                raise ConnectionLost
            case Outcome.ERROR_WHILE_PENDING:
                raise Fault(209, _WORDS[209])
            case Outcome.HOLD | Outcome.FAIL | Outcome.DELAY | Outcome.WHOLE_MAXFEE | Outcome.REMEMBERED:
                await self._changes.first(lambda: self._ended(groupid), seconds=None)
        paid = self.completed(node, order.payment_hash)
        if paid is None:
            code = {Outcome.FAIL: script.code, Outcome.REMEMBERED: 209}.get(script.outcome, 203)
            raise Fault(code, _WORDS[code])
        return replace(paid, fresh=True)

    def completed(self, node: str, payment_hash: str) -> Paid | None:
        """Return the completed payment of this hash, if there is one."""
        rows = self._store.rows(
            "SELECT p.*, a.destination, a.created_at FROM parts p JOIN attempts a USING (groupid)"
            " WHERE p.node = ? AND p.payment_hash = ? AND p.status = 'complete'",
            (node, payment_hash),
        )
        if not rows:
            return None
        return Paid(
            payment_hash=payment_hash,
            preimage=rows[0]["preimage"],
            destination=rows[0]["destination"],
            amount_msat=sum(row["amount_msat"] for row in rows),
            sent_msat=sum(row["sent_msat"] for row in rows),
            created_at=rows[0]["created_at"],
            parts=len(rows),
            fresh=False,
        )

    def wallet_of(self, order: Order) -> str | None:
        """Return the simulated person whose invoice this is."""
        row = self._store.row(
            "SELECT label FROM invoices WHERE payment_hash = ? AND bolt11 = ?", (order.payment_hash, order.bolt11)
        )
        prefix, _, rest = ("" if row is None else str(row["label"])).partition("/")
        return rest.partition("/")[0] if prefix == "wallet" and rest else None

    def release(self, *, payment_hash: str | None, ending: Ending | None) -> int:
        """Let held payments go on, all or those of one hash, to their own ending or to another; return how many."""
        rows = self._store.rows(
            "SELECT groupid, ending FROM attempts"
            " WHERE open = 1 AND held = 1 AND payment_hash = coalesce(?, payment_hash)",
            (payment_hash,),
        )
        for row in rows:
            end = row["ending"] if ending is None else ending.value
            self._store.run("UPDATE attempts SET held = 0, ending = ? WHERE groupid = ?", (end, row["groupid"]))
            self.resolve(row["groupid"])
        return len(rows)

    def resume(self) -> None:
        """Go on with what was on its way when the process ended."""
        for row in self._store.rows("SELECT groupid, seconds FROM attempts WHERE open = 1 AND held = 0"):
            self._start(row["groupid"], row["seconds"])

    async def close(self) -> None:
        """Stop working; what is on its way goes on at the next start."""
        tasks = list(self._on_their_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Sending.

    def _require_connected(self, node: str) -> None:
        ours = [edge for edge in self._channels.edges() if edge.sender == node]
        if ours and not any(edge.connected for edge in ours):
            words = f"All {len(ours)} channels to the source are disabled."
            raise Fault(205, f"Failed: We could not find a usable set of paths. {words}")

    def _require_not_pending(self, node: str, payment_hash: str) -> None:
        row = self._store.row(
            "SELECT groupid FROM parts WHERE node = ? AND payment_hash = ? AND status = 'pending'",
            (node, payment_hash),
        )
        if row is not None:
            words = f"Payment with groupid={row['groupid']} still in progress, cannot retry before that completes."
            raise Fault(-3, f'Unexpected injectpaymentonion error 200: {{"code":200,"message":"{words}"}}')

    def _paths(self, node: str, order: Order, script: Script) -> list[Path]:
        """Return the paths to take; none to oneself. Fault 205 without a way, 206 if every way is too dear."""
        row = self._store.row("SELECT name FROM nodes WHERE pubkey = ?", (order.payee,))
        if row is None:
            raise Fault(205, f"Failed: Unknown destination node {order.payee}")
        if row["name"] == node:
            return []  # an invoice of one's own succeeds at no fee
        edges = self._memory.narrowed(node, self._channels.edges())
        try:
            paths = find_paths(edges, source=node, destination=row["name"], amount_msat=order.amount_msat)
        except NoPath as error:
            words = f"The simulated channels carry at most {error.largest_msat}msat at once"
            raise Fault(205, f"Failed: We could not find a usable set of paths. {words}") from None
        fee = sum(path.sent_msat for path in paths) - order.amount_msat
        if fee > order.maxfee_msat:
            raise Fault(206, _WORDS[206])
        if script.outcome is Outcome.REMEMBERED:
            self._memory.remember(node, [edge for edge in edges if edge.receiver == row["name"]], order.amount_msat)
        if script.outcome is Outcome.WHOLE_MAXFEE:
            paths[0] = _dearer(paths[0], order.maxfee_msat - fee)
        return paths

    def _send(self, node: str, order: Order, paths: list[Path], script: Script) -> int:
        """Write the attempt, its parts and HTLCs: from here on it is on its way."""
        groupid = int.from_bytes(self._chance(_GROUPID_BYTES))
        held = script.outcome in (Outcome.HOLD, Outcome.ERROR_WHILE_PENDING)
        with self._store.transaction():
            self._store.run(
                "INSERT INTO attempts (groupid, node, payment_hash, bolt11, label, destination, amount_msat,"
                " created_at, ending, held, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    groupid,
                    node,
                    order.payment_hash,
                    order.bolt11,
                    order.label,
                    order.payee,
                    order.amount_msat,
                    self._clock.now(),
                    _ending(script).value,
                    held,
                    script.seconds,
                ),
            )
            shares = [(path.delivered_msat, path.sent_msat, path.hops) for path in paths]
            for partid, (amount, sent, hops) in enumerate(shares or [(order.amount_msat, order.amount_msat, ())], 1):
                self._write_part(node, groupid, partid, order.payment_hash, (amount, sent))
                if script.outcome is not Outcome.ORPHAN:
                    self._write_htlcs(groupid, partid, order.payment_hash, hops)
            if script.outcome is Outcome.ERROR_WHILE_PENDING:
                self._fail_parts(groupid, after=1)
        self._changes.ring()
        if not held:
            self._start(groupid, script.seconds)
        return groupid

    def _write_part(self, node: str, groupid: int, partid: int, payment_hash: str, amounts: tuple[int, int]) -> None:
        self._store.run(
            "INSERT INTO parts (node, created_index, groupid, partid, payment_hash, amount_msat, sent_msat)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (node, self._store.next_index(node, "sendpays/created"), groupid, partid, payment_hash, *amounts),
        )

    def _write_htlcs(self, groupid: int, partid: int, payment_hash: str, hops: tuple[Hop, ...]) -> None:
        for number, hop in enumerate(hops):
            self._store.run(
                "INSERT INTO htlcs (channel, sender, groupid, partid, hop, amount_msat, payment_hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (hop.channel, hop.sender, groupid, partid, number, hop.amount_msat, payment_hash),
            )

    def _start(self, groupid: int, seconds: float) -> None:
        """Resolve later, in a task of its own: the payment does not depend on its caller."""
        task = asyncio.create_task(self._resolve_after(groupid, seconds + self._delay_seconds))
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def _resolve_after(self, groupid: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.resolve(groupid)

    # Ending.

    def resolve(self, groupid: int) -> None:
        """End an attempt: it settles if the payee takes it, else it fails. Does nothing to one that has ended."""
        with self._store.transaction():
            attempt = self._store.row("SELECT * FROM attempts WHERE groupid = ? AND open = 1", (groupid,))
            if attempt is None or attempt["ending"] == Ending.NEVER.value:
                return
            self._store.run("UPDATE attempts SET open = 0 WHERE groupid = ?", (groupid,))
            if attempt["ending"] == Ending.SETTLE.value and self._settled(attempt):
                self._store.run("UPDATE htlcs SET state = 'settled' WHERE groupid = ? AND state = 'live'", (groupid,))
            else:
                self._fail_parts(groupid)
        self._changes.ring()

    def _settled(self, attempt: Row) -> bool:
        """Move the money and mark the invoice paid, if the payee takes the payment."""
        payee = self._store.row("SELECT name FROM nodes WHERE pubkey = ?", (attempt["destination"],))
        assert payee is not None, "a path was found to it"
        invoices = self._invoices[payee["name"]]
        parts = self._store.rows(
            "SELECT * FROM parts WHERE groupid = ? AND status = 'pending' ORDER BY partid", (attempt["groupid"],)
        )
        delivered = sum(part["amount_msat"] for part in parts)
        invoice = invoices.payable(attempt["payment_hash"], delivered)
        if invoice is None:
            return False
        for part in parts:
            hops = self._hops(attempt["groupid"], part["partid"])
            if hops:
                self._channels.move(hops, attempt["payment_hash"])
            self._end_part(part, "complete", invoice["preimage"])
        invoices.mark_paid(attempt["payment_hash"], delivered)
        return True

    def _hops(self, groupid: int, partid: int) -> list[Hop]:
        rows = self._store.rows(
            "SELECT h.*, CASE h.sender WHEN c.opener THEN c.peer ELSE c.opener END AS receiver"
            " FROM htlcs h JOIN channels c ON c.id = h.channel WHERE groupid = ? AND partid = ? ORDER BY hop",
            (groupid, partid),
        )
        return [Hop(row["channel"], row["sender"], row["receiver"], row["amount_msat"]) for row in rows]

    def _fail_parts(self, groupid: int, *, after: int = 0) -> None:
        """Fail the pending parts with a partid above `after`, and free what their HTLCs reserved."""
        self._store.run(
            "UPDATE htlcs SET state = 'failed' WHERE groupid = ? AND partid > ? AND state = 'live'", (groupid, after)
        )
        for part in self._store.rows(
            "SELECT * FROM parts WHERE groupid = ? AND partid > ? AND status = 'pending'", (groupid, after)
        ):
            self._end_part(part, "failed", None)

    def _end_part(self, part: Row, status: str, preimage: str | None) -> None:
        self._store.run(
            "UPDATE parts SET status = ?, preimage = ?, completed_at = ?, updated_index = ?, erroronion = ?"
            " WHERE node = ? AND created_index = ?",
            (
                status,
                preimage,
                self._clock.now(),
                self._store.next_index(part["node"], "sendpays/updated"),
                self._chance(_ONION_BYTES).hex() if status == "failed" else None,
                part["node"],
                part["created_index"],
            ),
        )

    def _ended(self, groupid: int) -> bool | None:
        return True if self._store.number("SELECT open FROM attempts WHERE groupid = ?", (groupid,)) == 0 else None


def _ending(script: Script) -> Ending:
    match script.outcome:
        case Outcome.FAIL | Outcome.REMEMBERED:
            return Ending.FAIL
        case Outcome.ORPHAN:
            return Ending.NEVER
        case Outcome.HOLD | Outcome.ERROR_WHILE_PENDING | Outcome.LOST_CONNECTION | Outcome.DELAY:
            return script.ending
        case Outcome.WHOLE_MAXFEE:
            return Ending.SETTLE


def _dearer(path: Path, more_msat: int) -> Path:
    """Return the path with `more_msat` sent into its first channel, which the first forwarding node keeps."""
    first, *rest = path.hops
    return Path((Hop(first.channel, first.sender, first.receiver, first.amount_msat + more_msat), *rest))
