"""The wallets of those who are paid: a Lightning Address server without HTTP, which now and then answers badly."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from relaybot.errors import Unavailable
from relaybot.simulator.invoices import Asked
from relaybot.simulator.network import SERVICE_NODE, SimulatedNetwork
from relaybot.simulator.people import ADDRESS_HOST, WALLETS_NODE
from tests.simulator.borders import Borders
from tests.simulator.timeline import Chance, wait


class WalletHost:
    """The host of all addresses. It outlives every life of the bot."""

    def __init__(self, network: SimulatedNetwork, chance: Chance) -> None:
        self._network = network
        self.chance = chance
        self.down = False
        self.odd_percent = 0.0  # of invoices that are not what was asked for
        self.slow_seconds = 0.3
        self.repeats = False  # an invoice over a sum is given out again, as long as it is valid
        self._given: dict[tuple[str, int], str] = {}  # the newest invoice, by whose it is and over what

    def answer(self, url: str) -> object:
        """Return the document at `url`. LUD-06, LUD-16."""
        parts = urlsplit(url)
        name = parts.path.rsplit("/", 1)[-1]
        metadata = self._network.people.metadata(name)
        if "amount" not in parts.query:
            callback = f"https://{ADDRESS_HOST}/callback/{name}"
            return {
                "tag": "payRequest",
                "callback": callback,
                "minSendable": 1_000,
                "maxSendable": 10**10,
                "metadata": metadata,
            }
        amount = int(parse_qs(parts.query)["amount"][0])
        if self.repeats and (name, amount) in self._given:
            return {"pr": self._given[name, amount], "routes": []}
        return self._odd_answer(name, amount) if self.chance.of(self.odd_percent) else self._invoice(name, amount)

    def invoice(self, name: str, amount: int, *, seconds: int = 0) -> str:
        """Return a fresh invoice of somebody's, valid for so long or for a time of its own choice."""
        label = f"wallet/{name}/{self.chance.getrandbits(40)}"
        seconds = seconds or self.chance.choice((90, 90, 120, 300))
        asked = Asked(label, amount, self._network.people.metadata(name), only_hash=True, expiry_seconds=seconds)
        self._given[name, amount] = str(self._network.nodes[WALLETS_NODE].invoices.create(asked)["bolt11"])
        return self._given[name, amount]

    def _invoice(self, name: str, amount: int) -> dict[str, object]:
        return {"pr": self.invoice(name, amount), "routes": []}

    def _odd_answer(self, name: str, amount: int) -> dict[str, object]:
        match self.chance.choice((0, 1, 2, 2, 2, 3, 4)):
            case 0:
                return {"status": "ERROR", "reason": "no"}
            case 1:
                return self._invoice(name, amount + 1_000)
            case 2 if (name, amount) in self._given:
                return {"pr": self._given[name, amount], "routes": []}  # it has been given out before
            case 3:
                label = f"wallet/{name}/short-{self.chance.getrandbits(40)}"
                asked = Asked(label, amount, self._network.people.metadata(name), only_hash=True, expiry_seconds=30)
                wallets = self._network.nodes[WALLETS_NODE].invoices
                return {"pr": str(wallets.create(asked)["bolt11"])}
            case _:
                label = f"wallet/{name}/own-{self.chance.getrandbits(40)}"
                asked = Asked(label, amount, self._network.people.metadata(name), only_hash=True)
                return {"pr": str(self._network.nodes[SERVICE_NODE].invoices.create(asked)["bolt11"])}


class Wallets:
    """How one life of the bot asks the host: the product's `Fetcher`."""

    def __init__(self, host: WalletHost, borders: Borders) -> None:
        self._host = host
        self._borders = borders

    async def get_json(self, url: str) -> object:
        """Return the document at `url`. Unavailable if the host does not answer."""
        await self._borders.yielding("a wallet is asked")
        await wait(self._host.chance.seconds(self._host.slow_seconds))
        if self._host.down:
            raise Unavailable(f"{ADDRESS_HOST}: no answer")
        answer = self._host.answer(url)
        self._borders.at("a wallet has answered")
        return answer
