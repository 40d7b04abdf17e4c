"""The operator's commands about top-ups that wait, and the simulated company as a process and over its levers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from aiohttp import ClientSession
from click.testing import CliRunner, Result

from relaybot.cardsim.server import CardCompany
from relaybot.cli import cli
from relaybot.config import parse_config
from relaybot.desk import card_desk
from relaybot.errors import BadConfig
from relaybot.nostr import nip19
from tests.book.stores import SqliteStore, opened, person
from tests.cards.test_rules import OFFER
from wallet.accounts import Account
from wallet.ledger import Insert, Plan, Put

BOB = person("bob")


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RELAYBOT_SECRET", "5e" * 32)
    yield
    structlog.reset_defaults()


class Shop:
    """A service's directory, with a card company beside it."""

    def __init__(self, directory: Path, company: CardCompany) -> None:
        self.directory, self.company = directory, company
        card = {"provider": "simulated", "embedded": False, "simulator_port": int(company.url.rsplit(":", 1)[1])}
        (directory / "config.yaml").write_text(yaml.safe_dump({"card": card, "rates": {"bitcoin": "95000 EUR"}}))

    async def put(self, offer_id: str, **values: str | int | None) -> None:
        async with opened(self._store) as book:
            row = {name: getattr(OFFER, name) for name in OFFER.__slots__ if name not in {"id", "version", "state"}}
            row |= {"pubkey": BOB, "account": Account(f"user/{BOB}/card"), "state": "held", "accepted_at": 0, **values}
            assert (await book.apply(Plan(f"test/{offer_id}", changes=(Insert("card_offers", offer_id, row),)))).done

    async def row(self, table: str, row_id: str) -> Any:
        async with opened(self._store) as book:
            return await book.row(table, row_id)

    async def suspect(self) -> None:
        async with opened(self._store) as book:
            warned = Put("card_customers", BOB, {"warned_at": 5}, fresh={"verified_at": None})
            assert (await book.apply(Plan("test/warned", changes=(warned,)))).done

    async def invoke(self, *words: str) -> Result:
        config = str(self.directory / "config.yaml")
        return await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--config", config])

    async def answer(self, *words: str) -> Any:
        result = await self.invoke(*words, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    @property
    def _store(self) -> SqliteStore:
        return SqliteStore(self.directory / "data" / "book.sqlite3")


@pytest.fixture
async def shop(tmp_path: Path) -> Any:
    company = CardCompany(tmp_path / "cards", webhook_url="http://127.0.0.1:9/card/webhook")
    await company.start()
    async with opened(SqliteStore(tmp_path / "data" / "book.sqlite3")):
        pass
    yield Shop(tmp_path, company)
    await company.close()


async def test_what_is_held_is_listed_approved_verified_or_given_back(shop: Shop) -> None:
    a, b, c = "a" * 32, "b" * 32, "c" * 32
    await shop.put(a, doubts="late", checkout="cs_a", payment="pi_a")
    await shop.put(b, doubts="amount", checkout="cs_b", payment="pi_b")
    await shop.put(c, state="quoted", checkout=None, payment=None)
    held = await shop.answer("cards", "offers", "--state", "held")
    assert sorted((one["doubts"], one["price"]) for one in held) == [("amount", "19.76 EUR"), ("late", "19.76 EUR")]
    assert len(await shop.answer("cards", "offers")) == 3
    assert (await shop.answer("cards", "approve", a))["done_now"] is True
    assert (await shop.answer("cards", "approve", a))["done_now"] is False
    for other in (b, c):
        assert "cannot be approved" in str((await shop.invoke("cards", "approve", other)).exception)
    assert "there is no such top-up" in str((await shop.invoke("cards", "approve", "d" * 32)).exception)
    assert "was not paid" in str((await shop.invoke("cards", "refund", c)).exception)
    assert "refuses" in str((await shop.invoke("cards", "refund", b)).exception)  # the company knows no pi_b
    await shop.suspect()
    npub = nip19.encode_npub(BOB)
    verified = await shop.answer("users", "verify", npub)
    assert verified == {"npub": npub, "verified": True, "held": [a, b]}
    row = await shop.row("card_customers", BOB)
    assert row["verified_at"] is not None
    assert row["warned_at"] is None
    await shop.answer("users", "verify", npub, "--off")
    assert (await shop.row("card_customers", BOB))["verified_at"] is None


async def test_a_payment_is_given_back_once_and_the_company_remembers(shop: Shop, tmp_path: Path) -> None:
    world = shop.company.world
    form = {
        "mode": "payment",
        "line_items[0][price_data][unit_amount]": "1976",
        "line_items[0][price_data][currency]": "eur",
        "expires_at": str(2**33),
    }
    session = world.create_session(form, "key", "http://pay")
    assert world.create_session(form, "key", "http://pay")["id"] == session["id"]
    world.give_card(session["id"], "4242424242424242")
    payment = session["payment_intent"]
    await shop.put("a" * 32, checkout=session["id"], payment=payment)
    for _ in range(2):
        assert (await shop.answer("cards", "refund", "a" * 32))["refunded"] == "19.76 EUR"
    assert world.intent(payment)["latest_charge"]["refunded"] is True
    await shop.company.close()
    again = CardCompany(tmp_path / "cards", webhook_url="http://127.0.0.1:9/")
    url = await again.start()
    async with ClientSession() as http, http.get(f"{url}/control/payments") as answer:
        assert [one["refunded"] for one in await answer.json()] == [1_976]
    await again.close()
    await shop.company.start()


async def test_the_levers_move_what_the_api_says_then(shop: Shop) -> None:
    world, url = shop.company.world, shop.company.url
    form = {
        "mode": "payment",
        "line_items[0][price_data][unit_amount]": "1000",
        "line_items[0][price_data][currency]": "eur",
        "expires_at": str(2**33),
        "cancel_url": "http://shop/back",
        "success_url": "http://shop/back",
    }
    session = world.create_session(form, "", f"{url}/pay")
    async with ClientSession() as http:
        for card, words in (("4000002760003184", "Your bank wants to know"), ("1234", "was declined")):
            async with http.post(session["url"], data={"card": card}) as answer:
                assert words in await answer.text()
        page_url = session["url"]
        async with http.get(page_url) as answer:
            assert "10.00 EUR" in await answer.text()
        async with http.get(f"{url}/pay/cs_nothing") as answer:
            assert answer.status == 404
        world.give_card(session["id"], "4242 4242 4242 4242")
        async with http.get(page_url) as answer:
            assert "This checkout is over" in await answer.text()
        levers = f"{url}/control/payments/{session['payment_intent']}"
        for lever, told in (
            ("dispute", {"status": "warning_needs_response"}),
            ("dispute", {"status": "won", "amount": 5}),
            ("warn", None),
            ("review", {"open": True}),
            ("refund", {"amount": 100}),
        ):
            async with http.post(f"{levers}/{lever}", json=told) as answer:
                assert answer.status == 204
        async with http.post(f"{url}/control/webhooks", json={"manner": "lost"}) as answer:
            assert answer.status == 204
        async with http.get(f"{url}/v1/events", headers={"Authorization": "Bearer sk_guessed"}) as answer:
            assert answer.status == 401
    written = yaml.safe_load((shop.directory / "config.yaml").read_text())
    desk = card_desk(parse_config(written, config_dir=shop.directory))
    assert desk is not None
    payment = await desk.provider.payment(session["payment_intent"])
    assert (payment.refunded_minor, payment.fraud_warning, payment.in_review) == (100, True, True)
    assert payment.dispute.value == "won"
    await desk.provider.close()


def test_stripe_is_spoken_to_with_the_secrets_in_its_files(tmp_path: Path) -> None:
    rates, service = {"bitcoin": "95000 EUR"}, {"data_dir": str(tmp_path)}
    config = parse_config({"card": {"provider": "stripe"}, "rates": rates, "service": service}, config_dir=tmp_path)
    key, secret = tmp_path / "stripe.key", tmp_path / "stripe-webhook.secret"
    for text in (None, "whsec_1", "sk_live_1 2"):
        if text is not None:
            key.write_text(text)
        with pytest.raises(BadConfig, match=r"card\.secret_key_file"):
            card_desk(config)
    key.write_text("rk_live_1\n")
    with pytest.raises(BadConfig, match=r"card\.webhook_secret_file"):
        card_desk(config)
    secret.write_text("whsec_1\n")
    desk = card_desk(config)
    assert desk is not None
    assert (desk.live, desk.webhook_secret, desk.provider.pay_origin) == (
        True,
        "whsec_1",
        "https://checkout.stripe.com",
    )
    assert "whsec_1" not in repr(desk)
    assert card_desk(parse_config({}, config_dir=tmp_path)) is None


async def test_a_port_that_is_taken_is_told(shop: Shop) -> None:
    taken = CardCompany(None, webhook_url="http://127.0.0.1:9/", port=int(shop.company.url.rsplit(":", 1)[1]))
    with pytest.raises(BadConfig, match=r"card\.simulator_port"):
        await taken.start()
    await taken.close()
