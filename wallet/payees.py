"""Asking whoever shall be paid for an invoice: the one way from a destination's text to what our node can pay.

The text is read again each time, for it may have been registered long ago. Nothing is
paid and nothing is stored here.
"""

from __future__ import annotations

from relaybot.clock import Clock
from relaybot.errors import Rejected
from wallet.bolt11_invoice import CURRENCIES
from wallet.bolt12_offer import Offer
from wallet.chain_address import ChainAddress
from wallet.destinations import Destination, LightningAddress, parse_destination
from wallet.lightning import DecodedInvoice, Lightning, NodeInfo
from wallet.lnurl import OWN_NODE, Fetcher, request_invoice
from wallet.money import Msat


def read_destination(
    text: str, node: NodeInfo, now: int, *, domain: str | None = None, onions: bool = False
) -> Destination:
    """Return what `text` stands for in the network of `node`, ours; Rejected if nothing, OWN_NODE if it leads here.

    `domain` is the one of our own Lightning Addresses; `onions` says that hosts of Tor are reached.
    """
    destination = parse_destination(text, currency=CURRENCIES[node.network], now=now, onions=onions)
    match destination:
        case DecodedInvoice(payee=payee) | Offer(issuer_id=payee) if payee == node.node_id:
            raise Rejected("invalid", OWN_NODE)  # the node would call it paid, and nothing would have gone out
        case LightningAddress(host=host) if host == domain:
            raise Rejected("invalid", OWN_NODE)
        case _:
            return destination


class Payees:
    """Reads destinations for our node's network, and asks them for invoices."""

    def __init__(
        self,
        lightning: Lightning,
        outgoing: Fetcher,
        clock: Clock,
        *,
        domain: str | None = None,
        onions: bool = False,
    ) -> None:
        self._lightning = lightning
        self._outgoing = outgoing
        self._clock = clock
        self._domain = domain
        self._onions = onions
        self._node: NodeInfo | None = None  # key and network are a node's for life

    async def read(self, text: str) -> Destination:
        """Return what `text` stands for; Rejected says what is wrong, OWN_NODE if it is our own node."""
        node, now = await self._own_node(), self._clock.now()
        return read_destination(text, node, now, domain=self._domain, onions=self._onions)

    async def request_invoice(self, text: str, amount_msat: Msat) -> DecodedInvoice:
        """Return an invoice over exactly `amount_msat` of whoever `text` stands for.

        Rejected if they refuse or what they say is wrong, with OWN_NODE if we would pay
        ourselves; Unavailable if they do not answer.
        """
        destination, node = await self.read(text), await self._own_node()
        match destination:
            case DecodedInvoice(amount_msat=asked):
                if asked not in (None, amount_msat):
                    raise Rejected("invalid", "invoice is for another amount", found=asked, allowed=amount_msat)
                return destination
            case Offer():
                invoice = await self._lightning.fetch_invoice(destination.text, amount_msat=amount_msat)
                if invoice.payee == node.node_id:
                    raise Rejected("invalid", OWN_NODE)
                return invoice
            case ChainAddress():
                raise Rejected("invalid", "a bitcoin address gives no invoice")
            case target:
                return await request_invoice(
                    self._outgoing,
                    target,
                    amount_msat=amount_msat,
                    node_network=CURRENCIES[node.network],
                    own_node_id=node.node_id,
                    now=self._clock.now(),
                )

    async def _own_node(self) -> NodeInfo:
        if self._node is None:
            self._node = await self._lightning.info()
        return self._node
