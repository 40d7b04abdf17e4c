"""Payouts that are public zaps, for whoever wants it: the request, the way back to a plain payment, the receipt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from handlers.bot import Bot
from handlers.zap_payouts import TRIES_MAX, ZapPayouts, see_receipts
from relaybot.config import parse_config
from relaybot.db.database import Row
from relaybot.errors import Unavailable
from relaybot.keyring import Keyring
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome
from relaybot.workings import build_bot
from tests.documents.cast import MASTER, RELAY, Chance
from tests.documents.scripted import ScriptedChain
from tests.payouts.desk import Life, person
from tests.payouts.provider import DOMAIN, ZAPPER, Provider
from wallet.destinations import LightningAddress
from wallet.ledger import Insert, Plan, Values
from wallet.lnurl import lnurl_of
from wallet.payees import Payees

ADDRESS, ALICE = f"alice@{DOMAIN}", person("alice")
THEIRS = "wss://relay.alice.example"
PAID = 1_980_000


class Relays:
    """What the relays have."""

    def __init__(self) -> None:
        self.events_there: list[Event] = []
        self.asked: list[Sequence[str]] = []

    async def events(self, wanted: Filter, relays: Sequence[str]) -> list[Event]:
        """Return what meets `wanted`."""
        self.asked.append(relays)
        return [event for event in self.events_there if matches(wanted, event)]


class Scene:
    """Alice's payouts, at a provider that does zaps, and what is looked for afterwards."""

    def __init__(self, life: Life, provider: Provider, bot: Bot) -> None:
        self.life = life
        self.provider = provider
        self.bot = bot
        self.relays = Relays()
        payees = Payees(life.node, provider, life.desk.clock)
        life.payouts._request_zap = ZapPayouts(bot, payees).request
        life.payouts._request_invoice = payees.request_invoice

    async def open(self, *, wish: str = "on", target: str = ADDRESS) -> None:
        """Let Alice earn, say where and how she is paid, and open her payout."""
        await self.life.earn("alice", 2_000, target=target)
        await self.life.set_user("alice", payout_zaps=wish)
        await self.life.checks.open_due()

    async def zap(self) -> Row:
        """Return the row of her payout's zap."""
        row = await self.life.book.row("zap_payouts", (await self.life.payout())["id"])
        assert row is not None
        return row

    async def look(self, *there: Event, after: int = 0) -> Row:
        """Look for the receipt, with these events on the relays."""
        self.relays.events_there = list(there)
        self.life.desk.clock.advance(after)
        await see_receipts(self.bot, self.relays)
        return await self.zap()

    @property
    def received(self) -> list[int]:
        """What has reached Alice's wallet."""
        return self.life.desk.received("alice")


@pytest.fixture
async def scene(life: Life, network: SimulatedNetwork, tmp_path: Path) -> Scene:
    config = parse_config({"relay": {"url": RELAY}}, config_dir=tmp_path)
    bot = build_bot(
        config, Keyring(MASTER), life.book, life.node, life.desk.clock, chain=ScriptedChain(), chance=Chance()
    )
    return Scene(life, Provider(network), bot)


async def test_who_wants_it_is_paid_as_a_zap_of_the_service(scene: Scene) -> None:
    reads: Values = {
        "relays": json.dumps([THEIRS, RELAY, "wss://b.example", "wss://c.example"]),
        "stated_at": 0,
        "event": "",
    }
    await scene.life.book.apply(Plan("10050", changes=(Insert("dm_relays", ALICE, reads),)))
    await scene.open()
    payout = await scene.life.looks_until("paid")
    (asked,) = scene.provider.zapped
    request = nip57.parse_zap_request(asked[0])
    assert (request.sender, request.recipient) == (scene.bot.service.pubkey, ALICE)
    assert (request.amount_msat, request.lnurl) == (PAID, lnurl_of(LightningAddress("alice", DOMAIN)))
    assert request.relays == (RELAY, THEIRS, "wss://b.example")
    assert (request.zapped_event, request.zapped_address) == (None, None)
    assert (payout["paid_msat"], scene.received, scene.provider.plain) == (PAID, [PAID], 0)
    assert await scene.life.differences() == []


async def test_who_did_not_ask_for_it_is_paid_in_private(scene: Scene) -> None:
    await scene.open(wish="off")
    await scene.life.looks_until("paid")
    assert (scene.received, scene.provider.zapped, scene.provider.plain) == ([PAID], [], 1)


async def test_a_wallet_that_refuses_the_request_is_paid_plainly(scene: Scene) -> None:
    scene.provider.refuses = True
    await scene.open()
    await scene.life.looks_until("paid")
    assert (scene.received, scene.provider.plain, (await scene.zap())["attempt"]) == ([PAID], 1, "")


async def test_a_repeated_try_sends_the_same_request_and_a_new_attempt_another(scene: Scene) -> None:
    scene.life.desk.script(Outcome.FAIL, code=203)
    real, lost = scene.provider.get_json, [True]

    async def answer_lost(url: str) -> object:
        answer = await real(url)
        if "nostr=" in url and lost:
            lost.pop()
            raise Unavailable("the answer was lost")
        return answer

    scene.provider.get_json = answer_lost  # type: ignore[method-assign]
    await scene.open()
    await scene.life.looks_until("paid")
    first, again, another = [text for text, _ in scene.provider.zapped]
    assert first == again  # the wallet may have made an invoice for it
    assert another != again  # the attempt has failed: the same request might bring the same invoice
    assert scene.received == [PAID]
    assert (await scene.zap())["attempt"] == (await scene.life.attempt())["id"]


async def test_closed_withdrawals_close_zaps_too(scene: Scene) -> None:
    await scene.open()
    await scene.life.set_user("alice", withdrawals="closed")
    assert (await scene.life.step())["state"] == "stopped"
    assert scene.provider.zapped == []


async def test_the_receipt_is_seen_when_it_is_there_and_noted(scene: Scene) -> None:
    await scene.open()
    await scene.life.looks_until("paid")
    assert (await scene.look())["receipt"] == ""
    receipt = scene.provider.receipt(scene.life.desk.clock.now())
    assert (await scene.look(receipt))["tries"] == 1  # not before the pause is over
    zap = await scene.look(receipt, after=2)
    assert (zap["receipt"], zap["next_at"]) == (receipt.id, None)
    await scene.look(receipt, after=60)
    assert len(scene.relays.asked) == 2


def _another_request(scene: Scene, now: int) -> Event:
    """Return the receipt of a request that somebody else has made for the same payment."""
    event = nip57.build_zap_request(KeyPair(b"\x09" * 32), recipient=ALICE, relays=[], amount_msat=PAID, now=now)
    return scene.provider.receipt(now, text=nip57.request_text(event))


def _another_amount(scene: Scene, now: int) -> Event:
    return scene.provider.receipt(now, bolt11=scene.life.desk.network.people.invoice("alice", PAID + 1_000))


def _another_payment(scene: Scene, now: int) -> Event:
    return scene.provider.receipt(now, bolt11=scene.life.desk.network.people.invoice("alice", PAID))


def _another_key(scene: Scene, now: int) -> Event:
    return scene.provider.receipt(now, zapper=KeyPair(b"\x08" * 32))


def _no_request(scene: Scene, now: int) -> Event:
    return ZAPPER.sign(kind=9735, content="", tags=[("p", ALICE), ("description", "{}")], created_at=now)


async def test_wrong_receipts_are_not_noted_and_none_is_given_up_and_neither_moves_anything(scene: Scene) -> None:
    """NIP-57, Appendix F; attack D6."""
    await scene.open()
    before, balance, now = await scene.life.looks_until("paid"), await scene.life.balance(), scene.life.desk.clock.now()
    for wrong in (_another_request, _another_amount, _another_payment, _another_key, _no_request):
        assert (await scene.look(wrong(scene, now), after=1_000))["receipt"] == ""
    await scene.look(after=20_000)
    zap = await scene.look(after=20_000)
    assert (zap["tries"], zap["next_at"]) == (TRIES_MAX, None)
    assert (await scene.life.payout(), await scene.life.balance()) == (before, balance)


async def test_of_an_attempt_that_failed_no_receipt_is_looked_for(scene: Scene) -> None:
    await scene.open()
    await scene.life.step()
    assert (await scene.life.look(after=600))["reason"] == "the invoice expired before it was sent"
    zap = await scene.look()
    assert (zap["next_at"], scene.relays.asked) == (None, [])
