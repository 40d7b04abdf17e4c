"""Lightning Addresses and LNURLs: reading them, and refusing what a wallet answers wrongly (attack F2)."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from bolt11 import Bolt11, MilliSatoshi, Tag, TagChar, Tags, encode
from coincurve import PrivateKey

from relaybot.errors import Rejected, Unavailable
from wallet.destinations import LightningAddress, PayLink, PayTarget, parse_pay_link
from wallet.lightning import DecodedInvoice
from wallet.lnurl import (
    INVOICE_SECONDS_MIN,
    OWN_NODE,
    Asked,
    Asking,
    callback_url,
    lnurl_of,
    parse_pay_params,
    request_invoice,
    request_zap_invoice,
    zap_url,
)
from wallet.money import MAX_MSAT, Msat

NOW = 1_790_000_000
ASKED = Msat(2_000_000)
METADATA = '[["text/plain","Pay alice ☕"],["text/identifier","alice@wallets.test"],["x",{"y":1}]]'
WALLET_SECRET = "11" * 32
OUR_SECRET = "22" * 32
OUR_NODE = PrivateKey(bytes.fromhex(OUR_SECRET)).public_key.format().hex()
ALICE = LightningAddress("alice", "wallets.test")
ASKING = Asking(ASKED, "bcrt", OUR_NODE, NOW)


def params(**changed: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "tag": "payRequest",
        "callback": "https://wallets.test/pay/alice",
        "minSendable": 1_000,
        "maxSendable": 100_000_000_000,
        "metadata": METADATA,
    }
    fields.update(changed)
    return {name: value for name, value in fields.items() if value is not ...}


def invoice(
    *,
    amount_msat: int | None = ASKED,
    currency: str = "bcrt",
    date: int = NOW,
    expiry: int = 600,
    secret: str = WALLET_SECRET,
    description_hash: str | None = hashlib.sha256(METADATA.encode()).hexdigest(),
) -> str:
    words = (
        Tag(TagChar.description, "coffee")
        if description_hash is None
        else Tag(TagChar.description_hash, description_hash)
    )
    tags = Tags([Tag(TagChar.payment_hash, "33" * 32), Tag(TagChar.payment_secret, "44" * 32), words])
    tags.add(TagChar.expire_time, expiry)
    amount = None if amount_msat is None else MilliSatoshi(amount_msat)
    return encode(Bolt11(currency=currency, date=date, tags=tags, amount_msat=amount), secret)


class Wallet:
    """Answers for every URL it knows, and notes what was asked."""

    def __init__(self, first: object, second: object) -> None:
        self.answers = {
            ALICE.url: first,
            f"https://wallets.test/pay/alice?amount={ASKED}": second,
        }
        self.asked: list[str] = []

    async def get_json(self, url: str) -> object:
        self.asked.append(url)
        if url not in self.answers:
            raise Unavailable(url)
        return self.answers[url]


async def ask(second: object, first: object = None, target: PayTarget = ALICE) -> DecodedInvoice:
    wallet = Wallet(first or params(), second)
    return await request_invoice(wallet, target, ASKING)


# --- what a wallet takes


def test_pay_parameters_are_read_as_they_were_sent() -> None:
    read = parse_pay_params(params(commentAllowed=140, payerData={"name": {"mandatory": False}, "x": 1}))
    assert (read.callback, read.min_msat, read.max_msat) == ("https://wallets.test/pay/alice", 1_000, 100_000_000_000)
    assert (read.metadata, read.comment_allowed) == (METADATA, 140)


def test_a_limit_beyond_all_money_is_cut_to_all_money() -> None:
    assert parse_pay_params(params(maxSendable=2**63)).max_msat == MAX_MSAT
    assert parse_pay_params(params()).comment_allowed == 0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tag": "withdrawRequest"}, "tag"),
        ({"tag": ...}, "tag"),
        ({"minSendable": 0}, "minSendable"),
        ({"minSendable": -1}, "minSendable"),
        ({"minSendable": 1.5}, "minSendable"),
        ({"minSendable": True}, "minSendable"),
        ({"minSendable": "1000"}, "minSendable"),
        ({"minSendable": None}, "minSendable"),
        ({"minSendable": 2_000, "maxSendable": 1_000}, "minSendable"),
        ({"minSendable": 2**63, "maxSendable": 2**64}, "minSendable"),
        ({"maxSendable": ...}, "maxSendable"),
        ({"maxSendable": 1e11}, "maxSendable"),
        ({"callback": ...}, "callback"),
        ({"callback": ""}, "callback"),
        ({"callback": ["https://wallets.test"]}, "callback"),
        ({"metadata": ...}, "metadata"),
        ({"metadata": [["text/plain", "x"]]}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": "{}"}, "metadata"),
        ({"metadata": '["text/plain","x"]'}, "metadata"),
        ({"metadata": "[" * 100_000}, "metadata"),
        ({"metadata": "[]"}, "metadata"),
        ({"metadata": '[[],["text/long-desc","x"]]'}, "metadata"),
        ({"metadata": '[["text/plain","x"],["text/plain","y"]]'}, "metadata"),
        ({"commentAllowed": -1}, "commentAllowed"),
        ({"commentAllowed": "140"}, "commentAllowed"),
        ({"payerData": {"name": {"mandatory": True}}}, "payerData.name"),
    ],
)
def test_a_wrong_parameter_is_named(changed: dict[str, object], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_pay_params(params(**changed))
    assert refused.value.fields["field"] == field


@pytest.mark.parametrize("answer", [None, 1, "x", [], [params()]])
def test_an_answer_that_is_no_object_is_refused(answer: object) -> None:
    with pytest.raises(Rejected, match="answer is not an object"):
        parse_pay_params(answer)


def test_a_wallets_refusal_is_told_in_plain_short_words() -> None:
    with pytest.raises(Rejected, match="wallet refuses") as refused:
        parse_pay_params({"status": "error", "reason": "no\x1b[31m\nsuch user" + "!" * 500})
    assert refused.value.fields["says"] == ("no [31m such user" + "!" * 500)[:100]


@pytest.mark.parametrize(
    ("callback", "url"),
    [
        ("https://wallets.test/pay", "https://wallets.test/pay?amount=2000000"),
        ("https://wallets.test/pay?id=1", "https://wallets.test/pay?id=1&amount=2000000"),
    ],
)
def test_the_amount_is_added_to_the_callback(callback: str, url: str) -> None:
    assert callback_url(parse_pay_params(params(callback=callback)), ASKED) == url


# --- the invoice


async def test_an_invoice_that_is_exactly_what_was_asked_for_is_returned() -> None:
    wallet = Wallet(params(), {"pr": invoice(), "routes": []})
    got = await request_invoice(wallet, ALICE, ASKING)
    assert (got.amount_msat, got.payment_hash, got.network) == (ASKED, "33" * 32, "bcrt")
    assert wallet.asked == [ALICE.url, f"https://wallets.test/pay/alice?amount={ASKED}"]


async def test_a_pay_link_is_asked_in_the_same_way() -> None:
    got = await ask({"pr": invoice()}, target=PayLink(ALICE.url))
    assert got.amount_msat == ASKED


async def test_what_a_wallet_says_of_its_own_payments_is_never_asked() -> None:
    """LUD-21's `verify` is the payee's word; whether something was paid only our own node says."""
    wallet = Wallet(params(), {"pr": invoice(), "verify": "https://wallets.test/verify/" + "33" * 32})
    await request_invoice(wallet, ALICE, ASKING)
    assert wallet.asked == [ALICE.url, f"https://wallets.test/pay/alice?amount={ASKED}"]


async def test_an_invoice_with_a_plain_description_is_accepted() -> None:
    assert (await ask({"pr": invoice(description_hash=None)})).description == "coffee"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"amount_msat": ASKED + 1_000}, "invoice is for another amount"),
        ({"amount_msat": ASKED - 1}, "invoice is for another amount"),
        ({"amount_msat": None}, "invoice is for another amount"),
        ({"currency": "bc"}, "invoice is for another network"),
        ({"currency": "tb"}, "invoice is for another network"),
        ({"date": NOW - 601}, "invoice has expired"),
        ({"expiry": INVOICE_SECONDS_MIN - 1}, "invoice expires too soon"),
        ({"description_hash": "55" * 32}, "invoice commits to another description"),
        ({"secret": OUR_SECRET}, OWN_NODE),
        ({"secret": OUR_SECRET, "date": NOW - 601}, OWN_NODE),
    ],
)
async def test_f2_an_invoice_that_is_anything_else_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        await ask({"pr": invoice(**changed)})
    assert refused.value.reason == reason


async def test_an_invoice_that_lasts_just_long_enough_is_accepted() -> None:
    assert (await ask({"pr": invoice(expiry=INVOICE_SECONDS_MIN)})).expires_at == NOW + INVOICE_SECONDS_MIN


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"pr": None}, {"pr": 1}, {"pr": "lnbcrt1garbage"}, {"pr": invoice()[:-1] + "q"}, {"status": "ERROR"}],
)
async def test_an_answer_without_a_readable_invoice_is_refused(answer: object) -> None:
    with pytest.raises(Rejected) as refused:
        await ask(answer)
    assert invoice() not in str(refused.value)


@pytest.mark.parametrize("limits", [{"minSendable": ASKED + 1}, {"maxSendable": ASKED - 1}])
async def test_an_amount_the_wallet_does_not_take_is_not_asked_for(limits: dict[str, int]) -> None:
    wallet = Wallet(params(**limits), {"pr": invoice()})
    with pytest.raises(Rejected, match="outside what the wallet takes"):
        await request_invoice(wallet, ALICE, ASKING)
    assert wallet.asked == [ALICE.url]


async def test_a_wallet_that_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await ask(None, target=PayLink("https://elsewhere.test/pay"))


async def test_the_metadata_is_hashed_as_its_bytes_were_sent() -> None:
    spaced = json.dumps(json.loads(METADATA))
    assert spaced != METADATA
    with pytest.raises(Rejected, match="another description"):
        await ask({"pr": invoice()}, first=params(metadata=spaced))


# --- zaps (NIP-57): the same invoice, with a request beside it where that is possible

ZAPS = {"allowsNostr": True, "nostrPubkey": "66" * 32}
REQUEST = '{"kind":9734,"content":"☕ & more"}'


async def zap(second: object, first: object, plain: object = None) -> tuple[Asked, Wallet]:
    wallet = Wallet(first, {"pr": invoice()} if plain is None else plain)
    read = parse_pay_params(first)
    wallet.answers[zap_url(read, ASKED, request=REQUEST, lnurl=lnurl_of(ALICE))] = second

    async def make(zapper: str, lnurl: str) -> str:
        assert (zapper, lnurl) == ("66" * 32, lnurl_of(ALICE))
        return REQUEST

    return await request_zap_invoice(wallet, ALICE, ASKING, make), wallet


async def test_a_zap_is_asked_for_with_the_request_as_it_is_and_the_lnurl() -> None:
    asked, wallet = await zap(
        {"pr": invoice(description_hash=hashlib.sha256(REQUEST.encode()).hexdigest())}, params(**ZAPS)
    )
    assert asked.zapped
    query = parse_qs(urlsplit(wallet.asked[1]).query)
    assert query == {"amount": [str(ASKED)], "nostr": [REQUEST], "lnurl": [lnurl_of(ALICE)]}
    assert parse_pay_link(lnurl_of(ALICE)) == PayLink(ALICE.url)


@pytest.mark.parametrize("description_hash", [None, "55" * 32, hashlib.sha256(METADATA.encode()).hexdigest()])
async def test_a_zap_s_description_hash_is_noted_and_no_more(description_hash: str | None) -> None:
    asked, _ = await zap({"pr": invoice(description_hash=description_hash)}, params(**ZAPS))
    assert asked.zapped


@pytest.mark.parametrize(
    "says",
    [
        {"allowsNostr": False},
        {"allowsNostr": "true"},
        {"allowsNostr": ...},
        {"nostrPubkey": None},
        {"nostrPubkey": "AB" * 32},
        {"nostrPubkey": "ab" * 31},
        {"callback": f"https://wallets.test/{'x' * 2_000}"},  # with the request in it, the URL is too long
    ],
)
async def test_a_wallet_that_takes_no_zap_is_asked_plainly(says: dict[str, object]) -> None:
    first = params(**{**ZAPS, **says})
    wallet = Wallet(first, {"pr": invoice()})
    wallet.answers[callback_url(parse_pay_params(first), ASKED)] = {"pr": invoice()}

    async def make(_zapper: str, _lnurl: str) -> str:
        return REQUEST

    asked = await request_zap_invoice(wallet, ALICE, ASKING, make)
    assert (asked.zapped, len(wallet.asked)) == (False, 2)


async def test_a_wallet_that_refuses_the_zap_is_asked_plainly() -> None:
    asked, wallet = await zap({"status": "ERROR", "reason": "no zaps today"}, params(**ZAPS))
    assert (asked.zapped, len(wallet.asked)) == (False, 3)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"amount_msat": ASKED + 1_000}, "invoice is for another amount"),
        ({"expiry": INVOICE_SECONDS_MIN - 1}, "invoice expires too soon"),
        ({"currency": "bc"}, "invoice is for another network"),
        ({"secret": OUR_SECRET}, OWN_NODE),
    ],
)
async def test_f2_what_is_refused_of_a_plain_invoice_is_refused_of_a_zap(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        await zap({"pr": invoice(**changed)}, params(**ZAPS))
    assert refused.value.reason == reason
