"""One simulated node: who it is, and its commands by name.

The commands' parameters stand in the table at the end of this file, in the order
Core Lightning takes them; what they do stands in `invoices.py`, `channels.py`,
`records.py`, `payments.py`, `wallet.py` and `spending.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from relaybot.clock import Clock
from relaybot.errors import Rejected
from relaybot.simulator import bolt12, orders, params, records
from relaybot.simulator.chain import Chain
from relaybot.simulator.channels import Channels
from relaybot.simulator.invoices import Invoices
from relaybot.simulator.offers import Offers
from relaybot.simulator.params import Fault, Params, Signature
from relaybot.simulator.payments import Paid, Payments
from relaybot.simulator.signing import describe_bolt11
from relaybot.simulator.store import Store
from relaybot.simulator.waiting import Changes
from relaybot.simulator.wallet import Wallet

VERSION = "v26.06-simulated"
UNKNOWN_COMMAND = -32601

_SUBSYSTEMS = ("invoices", "sendpays", "channelmoves", "chainmoves", "forwards")
_CHANGED_INVOICE = {
    "created": "SELECT status, label FROM invoices WHERE node = ? AND created_index = ?",
    "updated": "SELECT status, label FROM invoices WHERE node = ? AND updated_index = ?",
}

Command = Callable[[Params], Awaitable[dict[str, Any]]]


class SimulatedNode:
    """One node, answering commands."""

    def __init__(
        self,
        name: str,
        pubkey: str,
        *,
        directory: str,
        invoices: Invoices,
        channels: Channels,
        payments: Payments,
        offers: Offers,
        chain: Chain,
        wallet: Wallet,
        store: Store,
        clock: Clock,
        changes: Changes,
    ) -> None:
        self.name = name
        self.pubkey = pubkey
        self.invoices = invoices
        self._directory = directory
        self._channels = channels
        self._payments = payments
        self._offers = offers
        self._chain = chain
        self.wallet = wallet
        self._store = store
        self._clock = clock
        self._changes = changes
        self._commands: dict[str, Command] = {
            "getinfo": self._getinfo,
            "invoice": invoices.invoice,
            "listinvoices": invoices.listinvoices,
            "waitanyinvoice": invoices.waitanyinvoice,
            "waitinvoice": invoices.waitinvoice,
            "delinvoice": invoices.delinvoice,
            "pay": self._pay,
            "xpay": self._xpay,
            "listpays": self._listpays,
            "listsendpays": self._listsendpays,
            "listhtlcs": self._listhtlcs,
            "listpeerchannels": self._listpeerchannels,
            "listfunds": self._listfunds,
            "listchannelmoves": self._listchannelmoves,
            "listchainmoves": wallet.listchainmoves,
            "newaddr": wallet.newaddr,
            "listaddresses": wallet.listaddresses,
            "waitblockheight": wallet.waitblockheight,
            **{name: getattr(wallet.spending, name) for name in SPENDING},
            "offer": self._offer,
            "listoffers": self._listoffers,
            "disableoffer": self._disableoffer,
            "fetchinvoice": self._fetchinvoice,
            "decode": self._decode,
            "wait": self._wait,
        }
        self._withdrawn: set[str] = set()

    def withdraw_command(self, name: str) -> None:
        """Forget a command, as the node does when the plugin that brought it has stopped."""
        self._withdrawn.add(name)

    async def answer(self, method: str, given: object) -> dict[str, Any]:
        """Return the result of a command; Fault if it fails."""
        command = self._commands.get(method)
        if command is None or method in self._withdrawn:
            raise Fault(UNKNOWN_COMMAND, f"Unknown command '{method}'")
        return await command(params.bind(SIGNATURES[method], given))

    async def _getinfo(self, given: Params) -> dict[str, Any]:
        del given
        mine = [edge for edge in self._channels.edges() if edge.sender == self.name]
        said: dict[str, Any] = {
            "id": self.pubkey,
            "alias": f"simulated-{self.name}",
            "color": self.pubkey[:6],
            "num_peers": len({edge.receiver for edge in mine if edge.connected}),
            "num_pending_channels": 0,
            "num_active_channels": sum(edge.connected for edge in mine),
            "num_inactive_channels": sum(not edge.connected for edge in mine),
            "address": [],
            "binding": [],
            "version": VERSION,
            "blockheight": self._chain.height(self.name),
            "network": "regtest",
            "fees_collected_msat": self._store.number(
                "SELECT sum(fees_msat) FROM moves WHERE node = ? AND tag = 'routed' AND credit_msat > 0", (self.name,)
            ),
            "lightning-dir": self._directory,
            "our_features": {
                "init": "800898880a8a59a1",
                "node": "808898880a8a59a1",
                "channel": "",
                "invoice": "02000002024100",
            },
        }
        if self._chain.lags(self.name):
            said["warning_bitcoind_sync"] = "Bitcoind is not up-to-date with network."
        return said

    async def _pay(self, given: Params) -> dict[str, Any]:
        paid = await self._payments.pay(self.name, orders.read_pay(given, now=self._clock.now()))
        return {
            "payment_preimage": paid.preimage,
            "amount_msat": paid.amount_msat,
            "amount_sent_msat": paid.sent_msat,
            "parts": paid.parts,
            "destination": paid.destination,
            "payment_hash": paid.payment_hash,
            "status": "complete",
            # The node answers a float for a payment it has just made, and an integer for one it remembers.
            "created_at": float(paid.created_at) if paid.fresh else paid.created_at,
        }

    async def _xpay(self, given: Params) -> dict[str, Any]:
        text = params.text(given, "invstring") or ""
        if text.lower().startswith("lno1"):  # xpay asks the offer for an invoice by itself; pay does not
            invoice = self._offers.request(text, amount_msat=params.msat(given, "amount_msat"))
            given = {**given, "invstring": invoice, "amount_msat": None}
        paid: Paid = await self._payments.pay(self.name, orders.read_xpay(given, now=self._clock.now()))
        if not paid.fresh:  # pay succeeds again, xpay does not
            raise Fault(219, "Already paid this invoice successfully")
        return {
            "payment_preimage": paid.preimage,
            "amount_msat": paid.amount_msat,
            "amount_sent_msat": paid.sent_msat,
            "failed_parts": 0,
            "successful_parts": paid.parts,
        }

    async def _listpays(self, given: Params) -> dict[str, Any]:
        return records.listpays(self._store, self.name, given)

    async def _listsendpays(self, given: Params) -> dict[str, Any]:
        return records.listsendpays(self._store, self.name, given)

    async def _listhtlcs(self, given: Params) -> dict[str, Any]:
        return self._channels.listhtlcs(self.name, given)

    async def _listpeerchannels(self, given: Params) -> dict[str, Any]:
        return self._channels.listpeerchannels(self.name, given)

    async def _listfunds(self, given: Params) -> dict[str, Any]:
        outputs = self.wallet.outputs(spent=params.flag(given, "spent"))
        return {"outputs": outputs, "channels": self._channels.funds(self.name)}

    async def _listchannelmoves(self, given: Params) -> dict[str, Any]:
        return self._channels.listchannelmoves(self.name, given)

    async def _offer(self, given: Params) -> dict[str, Any]:
        return self._offers.offer(self.name, given)

    async def _listoffers(self, given: Params) -> dict[str, Any]:
        return self._offers.listoffers(self.name, given)

    async def _disableoffer(self, given: Params) -> dict[str, Any]:
        return self._offers.disableoffer(self.name, given)

    async def _fetchinvoice(self, given: Params) -> dict[str, Any]:
        return self._offers.fetchinvoice(given)

    async def _decode(self, given: Params) -> dict[str, Any]:
        text = params.text(given, "string") or ""
        try:
            return bolt12.describe(text) if text.lower().startswith(("lno1", "lni1")) else describe_bolt11(text)
        except Rejected:
            raise Fault(params.BAD_PARAMETERS, f"string: Unparsable string: invalid token '\"{text}\"'") from None

    async def _wait(self, given: Params) -> dict[str, Any]:
        """Wait until a counter has reached a value; at once for a value of 0."""
        subsystem, name = given["subsystem"], params.one_of(given, "indexname", ("created", "updated", "deleted"))
        if subsystem not in _SUBSYSTEMS:
            raise Fault(params.BAD_PARAMETERS, f"subsystem: unknown subsystem: invalid token '\"{subsystem}\"'")
        wanted, counter = params.integer(given, "nextvalue"), f"{subsystem}/{name}"
        assert wanted is not None, "a required parameter is there"

        def reached() -> int | None:
            value = self._store.index(self.name, counter)
            return value if value >= wanted else None

        value = await self._changes.first(reached, seconds=None)
        said: dict[str, Any] = {"subsystem": subsystem, str(name): value}
        if subsystem == "chainmoves":
            moved = self.wallet.moved(value) if wanted else None
            return said | ({} if moved is None else {"chainmoves": moved})
        details = self._changed(str(subsystem), str(name), value) if wanted else None
        return said | ({} if details is None else {"details": details, str(subsystem): details})

    def _changed(self, subsystem: str, name: str, value: int | None) -> dict[str, Any] | None:
        """Return what changed at this index, for the subsystems whose rows say something."""
        sql = _CHANGED_INVOICE.get(name) if subsystem == "invoices" else None
        row = None if sql is None else self._store.row(sql, (self.name, value))
        return None if row is None else {"status": row["status"], "label": row["label"]}


SPENDING = {
    "txprepare": Signature(("outputs", "feerate", "minconf", "utxos"), required=1),
    "txsend": Signature(("txid",), required=1),
    "txdiscard": Signature(("txid",), required=1),
    "reserveinputs": Signature(("psbt", "exclusive", "reserve"), required=1),
    "signpsbt": Signature(("psbt", "signonly"), required=1),
    "sendpsbt": Signature(("psbt", "reserve"), required=1),
    "sendrawtransaction": Signature(("tx", "allowhighfees"), required=2),
    "listtransactions": Signature(),
    "feerates": Signature(("style",), required=1),
}
SIGNATURES = {
    "getinfo": Signature(),
    "invoice": Signature(
        (
            "amount_msat",
            "label",
            "description",
            "expiry",
            "fallbacks",
            "preimage",
            "exposeprivatechannels",
            "cltv",
            "deschashonly",
        ),
        required=3,
    ),
    "listinvoices": Signature(("label", "invstring", "payment_hash", "offer_id", "index", "start", "limit")),
    "waitanyinvoice": Signature(("lastpay_index", "timeout")),
    "waitinvoice": Signature(("label",), required=1),
    "delinvoice": Signature(("label", "status", "desconly"), required=2),
    "pay": orders.PAY,
    "xpay": orders.XPAY,
    "listpays": Signature(("bolt11", "payment_hash", "status", "index", "start", "limit")),
    "listsendpays": Signature(("bolt11", "payment_hash", "status", "index", "start", "limit")),
    "listhtlcs": Signature(("id", "index", "start", "limit")),
    "listpeerchannels": Signature(("id", "short_channel_id", "channel_id")),
    "listfunds": Signature(("spent",)),
    "listchannelmoves": Signature(("index", "start", "limit")),
    "listchainmoves": Signature(("index", "start", "limit")),
    "newaddr": Signature(("addresstype",)),
    "listaddresses": Signature(("address", "start", "limit")),
    "waitblockheight": Signature(("blockheight", "timeout"), required=1),
    **SPENDING,
    "offer": Signature(
        ("amount", "description", "issuer", "label", "quantity_max", "absolute_expiry", "single_use"), required=1
    ),
    "listoffers": Signature(("offer_id", "active_only")),
    "disableoffer": Signature(("offer_id",), required=1),
    "fetchinvoice": Signature(("offer", "amount_msat", "quantity", "timeout", "payer_note"), required=1),
    "decode": Signature(("string",), required=1),
    "wait": Signature(("subsystem", "indexname", "nextvalue"), required=3),
}
