"""A provider of Lightning Addresses that takes zap requests: wallets of the simulator, and a key for receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from relaybot.errors import Rejected
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import SimulatedNetwork

DOMAIN = "zaps.test"
ZAPPER = KeyPair(b"\x07" * 32)


class Provider:
    """Answers as an LNURL server does (NIP-57, Appendices C to E); `says` changes what it tells of itself."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        self.says: dict[str, object] = {"allowsNostr": True, "nostrPubkey": ZAPPER.pubkey}
        self.hashes = True  # invoices commit to the zap request
        self.refuses = False  # every zap request
        self.zapped: list[tuple[str, str]] = []  # requests and invoices, in the order in which they were asked for
        self.plain = 0  # invoices asked for without a request

    async def get_json(self, url: str) -> object:
        """Answer what is asked at `url`."""
        parts = urlsplit(url)
        return self.answer(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})

    def answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Tell of a name, or make its invoice."""
        people, name = self._network.people, path.rsplit("/", maxsplit=1)[-1]
        if path.startswith("/.well-known/"):
            metadata = people.metadata(name)
            limits = {"minSendable": 1_000, "maxSendable": 10**12}
            callback = f"https://{DOMAIN}/pay/{name}"
            return {"tag": "payRequest", "callback": callback, "metadata": metadata, **limits, **self.says}
        amount, text = int(query["amount"]), query.get("nostr")
        if text is None:
            self.plain += 1
            return {"pr": people.invoice(name, amount)}
        if self.refuses:
            return {"status": "ERROR", "reason": "no zaps today"}
        try:
            request = nip57.parse_zap_request(text, amount_msat=amount, zapper=ZAPPER.pubkey)  # Appendix D
        except Rejected as refusal:
            return {"status": "ERROR", "reason": str(refusal)}
        assert query["lnurl"] == request.lnurl
        bolt11 = people.invoice(name, amount, described=text if self.hashes else None)
        self.zapped.append((text, bolt11))
        return {"pr": bolt11}

    def receipt(self, now: int, *, zapper: KeyPair = ZAPPER, text: str = "", bolt11: str = "") -> Event:
        """Return the receipt of the newest zap; or a wrong one."""
        asked, given = self.zapped[-1]
        request = nip57.parse_zap_request(text or asked)
        return nip57.build_zap_receipt(zapper, request, bolt11=bolt11 or given, preimage=None, paid_at=now)
