"""A user at the window: commands as the conversation runs them, on a desk with a real book and a simulated node."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import cast

from handlers import commands
from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.keyring import Keyring
from relaybot.simulator.invoices import Asked as AskedInvoice
from relaybot.simulator.people import WALLETS_NODE
from relaybot.workings import build_bot
from tests.payouts.desk import Life, person
from wallet.chain import Chain
from wallet.ledger import Plan
from wallet.payees import Payees

NO_CHAIN = cast("Chain", None)  # nothing here asks it


class NoWeb:
    """No document is to be had: destinations here are no Lightning Addresses, or their wallets are asked directly."""

    async def get_json(self, url: str) -> object:
        raise AssertionError(url)


class Window:
    """The conversation of one life."""

    def __init__(self, life: Life, directory: Path) -> None:
        self.life = life
        self.desk = life.desk
        self.bot = _bot(life, directory)
        payees = Payees(life.node, NoWeb(), life.desk.clock)
        life.payouts._request_invoice = payees.request_invoice  # as in the service: invoices and offers too
        self._said = 0

    async def say(self, name: str, words: str, *, rumor: str | None = None) -> str:
        """Let somebody say something; return the answer. The same `rumor` is the same message again."""
        self._said += 1
        rumor = rumor or hashlib.sha256(f"{name} {self._said}".encode()).hexdigest()
        command, *rest = words.split()
        asked = Asked(person(name), rumor, self.desk.clock.now(), rest)
        answered: list[Reply] = []

        async def decide() -> Plan:
            answered.append(await commands._run(self.bot, command, asked))
            return Plan(f"dm/{rumor}", answered[-1].transfers, answered[-1].changes)

        answer = await self.life.book.decide(decide)
        assert answer.done, answer
        return answered[-1].text

    async def grant(self, name: str, sat: int) -> None:
        """Give somebody a balance that nothing is paid out of by itself."""
        await self.life.earn(name, sat, target="")

    async def finish(self, rounds: int = 300) -> None:
        """Bring on what is due until nothing is open, moving the clock."""
        await self.life.go_on(rounds=rounds)

    def invoice(self, name: str, msat: int | None, *, seconds: int = 600) -> str:
        """Return an invoice of a simulated person; `None`: without an amount."""
        people = self.desk.network.people
        people.open(name)
        label = f"wallet/{name}/{secrets.token_hex(4)}"
        asked = AskedInvoice(label, msat, "a coffee", expiry_seconds=seconds)
        return str(self.desk.network.nodes[WALLETS_NODE].invoices.create(asked)["bolt11"])


def _bot(life: Life, directory: Path) -> Bot:
    clock = life.desk.clock
    assert isinstance(clock, SetClock)
    config = parse_config({}, config_dir=directory)
    return build_bot(
        config, Keyring(bytes(31) + b"\1"), life.book, life.node, clock, chain=NO_CHAIN, chance=secrets.token_bytes
    )
