"""Every way to write where bitcoin shall be sent, and what is said to those who wrote it wrongly."""

from __future__ import annotations

import pytest
from bech32 import bech32_encode
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from tests.destinations.written import ISSUER, REGTEST, USUAL, lnurl, offer, raw_offer
from tests.lightning.wire import recording
from tests.lnurl.test_lnurl import NOW, invoice
from wallet.bolt12_offer import Offer
from wallet.chain_address import ChainAddress
from wallet.destinations import (
    Destination,
    LightningAddress,
    PayLink,
    parse_destination,
    parse_lightning_address,
    parse_pay_link,
    parse_target,
)
from wallet.lightning import DecodedInvoice

ALICE = LightningAddress("alice", "wallets.test")


def read(text: str, currency: str = "bcrt") -> Destination:
    return parse_destination(text, currency=currency, now=NOW)


def refusal(text: str, currency: str = "bcrt") -> str:
    with pytest.raises(Rejected) as refused:
        read(text, currency)
    return str(refused.value)


# --- addresses and links


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("alice@wallets.test", ALICE),
        ("  Alice@Wallets.TEST\n", ALICE),
        ("a.b-c_1+tag@pay.wallets.test", LightningAddress("a.b-c_1+tag", "pay.wallets.test")),
        ("..a@wallets.test", LightningAddress("..a", "wallets.test")),
    ],
)
def test_a_lightning_address_is_a_name_and_a_host(text: str, address: LightningAddress) -> None:
    assert parse_lightning_address(text) == address
    assert read(text) == address
    assert read(f"lightning:{text.strip()}") == address


def test_a_lightning_address_leads_to_its_well_known_place() -> None:
    assert ALICE.url == "https://wallets.test/.well-known/lnurlp/alice"
    assert str(ALICE) == "alice@wallets.test"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "@wallets.test",
        "alice@",
        "alice@localhost",
        "alice@169.254.169.254",
        "alice@127.0.0.1:9200/_x#",
        "alice@[::ffff:127.0.0.1]",
        "alice@2130706433",
        "alice@0x7f.1",
        "alice@wallets.test:8080",
        "alice@wallets.test/x",
        "alice@bob@wallets.test",
        "a/../b@wallets.test",
        "..@wallets.test",
        "a%2fb@wallets.test",
        "a?b@wallets.test",
        "ålice@wallets.test",
        "a b@wallets.test",
        "a" * 65 + "@wallets.test",
    ],
)
def test_what_is_no_lightning_address_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_lightning_address(text)
    with pytest.raises(Rejected):
        read(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (lnurl("https://wallets.test/pay?id=1"), "https://wallets.test/pay?id=1"),
        (lnurl("https://wallets.test/pay").upper(), "https://wallets.test/pay"),
        ("lightning:" + lnurl("https://wallets.test/pay"), "https://wallets.test/pay"),
        ("LIGHTNING:" + lnurl("https://wallets.test/pay").upper(), "https://wallets.test/pay"),
        ("lnurlp://wallets.test/pay?id=1", "https://wallets.test/pay?id=1"),
        ("LNURLP://wallets.test/pay", "https://wallets.test/pay"),
        ("lnurlp://wallets.test", "https://wallets.test"),
    ],
)
def test_an_lnurl_stands_for_an_https_url(text: str, url: str) -> None:
    assert read(text) == PayLink(url)
    assert read(str(PayLink(url))) == PayLink(url)


def test_an_lnurl_of_the_specification_is_read() -> None:
    example = (  # LUD-01
        "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXE"
        "JXXEPNXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
    )
    url = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
    assert parse_pay_link(example) == PayLink(url)


@pytest.mark.parametrize(
    "text",
    [
        "lnurl1",
        "lnurl1qqqqqqq",
        lnurl("https://wallets.test/pay")[:-1] + "q",
        lnurl("https://wallets.test/" + "a" * 2000),
        lnurl("https://wallets.test/pay", prefix="lnurlp"),
        bech32_encode("lnurl", [31, 31, 31]),
        lnurl("http://wallets.test/pay"),
        lnurl("HTTPS://wallets.test/pay"),
        lnurl("https://127.0.0.1/pay"),
        lnurl("https://wallets.test:81/pay"),
        lnurl("https://u:p@wallets.test/pay"),
        lnurl("https://bücher.test/pay"),
        lnurl("ftp://wallets.test"),
        lnurl(""),
        "lnurlp://",
        "lnurlp:///pay",
        "lnurlp://[",
        "lnurlp://[::1/pay",
        "lnurlp://127.0.0.1/pay",
        "lnurlp://alice@wallets.test/pay",
        "lnurlw://wallets.test/withdraw",
        "https://wallets.test/pay",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    ],
)
def test_what_is_no_lnurl_to_pay_to_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        read(text)
    with pytest.raises(Rejected):
        parse_pay_link(text)


@given(st.text(max_size=80))
def test_reading_a_destination_never_breaks(text: str) -> None:
    for start in ("", "lnurl1", "lnurlp://", "lightning:", "a@", "lno1", "bitcoin:", "bc1", "bcrt1q", "lnbcrt1", "02"):
        try:
            read(start + text)
        except Rejected:
            continue


# --- invoices, and what stands before them


@pytest.mark.parametrize("before", ["", "lightning:", "LIGHTNING:", "lightning://"])
def test_an_invoice_is_read_with_and_without_its_scheme(before: str) -> None:
    destination = read(before + invoice())
    assert isinstance(destination, DecodedInvoice)
    assert destination.amount_msat == 2_000_000
    assert read((before + invoice()).upper()) == destination


def test_an_invoice_without_an_amount_is_read() -> None:
    destination = read(invoice(amount_msat=None))
    assert isinstance(destination, DecodedInvoice)
    assert destination.amount_msat is None


def test_c14_an_invoice_that_cannot_be_paid_from_here_is_refused() -> None:
    assert "expired" in refusal(invoice(date=NOW - 601))
    assert "another network" in refusal(invoice(currency="bc"))
    assert "not a readable invoice" in refusal(invoice()[:-1])


def test_an_invoice_is_paid_once_and_registered_never() -> None:
    with pytest.raises(Rejected, match="paid once"):
        parse_target(invoice(), currency="bcrt", now=NOW)


@pytest.mark.parametrize("text", ["alice@wallets.test", "lnurlp://wallets.test/pay", offer(USUAL)])
def test_what_can_be_paid_again_and_again_is_registered(text: str) -> None:
    assert str(parse_target(text, currency="bcrt", now=NOW)) == text


# --- what is no destination


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("02" + "ab" * 32, "a node's key is no destination: a keysend"),
        ("03" + "AB" * 32 + "@10.0.0.1:9735", "keysend"),
        ("keysend:02" + "ab" * 32, "keysend"),
        ("keyauth://site.test?tag=login&k1=00", "signs you in"),
        (lnurl("https://site.test/login?tag=login&k1=00"), "signs you in"),
        ("lnurlw://site.test/w", "pays out"),
        ("lnurlc://site.test/c", "opens a channel"),
        ("lni1qqg26", "give the offer"),
        ("lnr1qqg26", "asks for money"),
        ("sp1qqtest", "silent payments"),
        ("₿alice@wallets.test", "BIP-353"),
        ("alice@" + "a" * 56 + ".onion", "Tor"),
        ("lnurlp://" + "a" * 56 + ".onion/pay", "Tor"),
        ("nonsense", "not an invoice, a Lightning Address, an LNURL, an offer or a bitcoin address"),
        ("", "not an invoice"),
        ("a" * 8193, "too long"),
        ("bitcoin:?req-thing=1", "requires something"),
        ("bitcoin:?amount=1", "not an invoice"),
    ],
)
def test_what_cannot_be_paid_is_refused_with_the_reason(text: str, says: str) -> None:
    assert says in refusal(text)


# --- bitcoin addresses: BIP-173, BIP-350, and base58

BECH32 = {
    "bc": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "tb": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "bcrt": "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt",
}
TAPROOT = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
SCRIPT = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"


@pytest.mark.parametrize(
    ("text", "currency", "form"),
    [
        *((text, currency, "p2wpkh") for currency, text in BECH32.items()),
        (BECH32["tb"], "tbs", "p2wpkh"),
        (TAPROOT, "bc", "p2tr"),
        (SCRIPT, "bc", "p2wsh"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bc", "p2pkh"),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "bc", "p2sh"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "bcrt", "p2pkh"),
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "tb", "p2sh"),
    ],
)
def test_an_address_of_our_network_is_read_in_every_form(text: str, currency: str, form: str) -> None:
    assert read(text, currency) == ChainAddress(text, form)
    assert read(f"bitcoin:{text}?amount=0.1&label=x", currency) == ChainAddress(text, form)
    assert str(read(text, currency)) == text


def test_a_segwit_address_in_upper_case_is_the_same_one() -> None:
    assert read(TAPROOT.upper(), "bc") == ChainAddress(TAPROOT, "p2tr")


def test_a_link_with_an_invoice_and_no_address_is_the_invoice() -> None:
    assert read(f"bitcoin:?lightning={invoice()}") == read(invoice())
    assert read(f"BITCOIN:?lno={offer(USUAL)}") == read(offer(USUAL))


@pytest.mark.parametrize(
    ("text", "currency", "says"),
    [
        (BECH32["bc"], "bcrt", "another network"),
        (BECH32["bcrt"], "bc", "another network"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bcrt", "another network"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "bc", "another network"),
        (BECH32["bc"][:-1] + "p", "bc", "wrong checksum"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "bc", "wrong checksum"),
        (BECH32["bc"][:10] + BECH32["bc"][10:].upper(), "bc", "mixes upper and lower"),
        (BECH32["bc"] + "q" * 60, "bc", "too long"),
        ("bc1qb", "bc", "a character that no address has"),
        ("bc1qqqqqq", "bc", "a character that no address has"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "bc", "wrong checksum"),  # version 0 in bech32m (BIP-350)
        ("bc1pw5dgrnzv", "bc", "nobody can spend from"),  # a program of one byte (BIP-350)
        ("bc1sw50qgdz25j", "bc", "nobody can spend from"),  # version 16 (BIP-350)
        ("bc1pfeessrawgf", "bc", "nobody can spend from"),  # pay to anchor: anybody can
        ("1111111111111111111114oLvT2", "tb", "another network"),
        ("3R2e7gNMbRpjEZu5DCiLWBH8siHBC8immQ", "bc", "not a bitcoin address"),  # another coin's version
        ("n" * 34, "bcrt", "wrong checksum"),
        ("1Wh4bh", "bc", "not an invoice"),
        ("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", "bc", "not an invoice"),  # a private key
    ],
)
def test_c14_an_address_that_money_would_be_lost_on_is_refused_with_the_reason(
    text: str, currency: str, says: str
) -> None:
    assert says in refusal(text, currency)


# --- offers: BOLT 12


def test_a_recorded_offer_is_read() -> None:
    said = recording("decode-bolt12-offer")
    text = said["params"]["string"]
    assert read(text) == Offer(text, said["result"]["offer_amount_msat"], None, said["result"]["offer_issuer_id"])


def test_an_offer_is_read_in_every_form_it_is_written() -> None:
    text = offer(USUAL)
    read_once = Offer(text, None, None, ISSUER.hex())
    assert read(text) == read_once
    assert read(text.upper()) == read_once
    assert read(f"{text[:20]}+{text[20:40]}+ \n {text[40:]}") == read_once
    assert read(f"lightning:{text}") == read_once


def test_an_offer_says_what_it_costs_and_until_when() -> None:
    said = read(offer(USUAL | {8: b"\x07\xd0", 14: (NOW + 1).to_bytes(4, "big")}))
    assert isinstance(said, Offer)
    assert (said.amount_msat, said.expires_at) == (2_000, NOW + 1)
    with pytest.raises(Rejected, match="fixed amount"):
        parse_target(offer(USUAL | {8: b"\x01"}), currency="bcrt", now=NOW)


def test_an_offer_that_names_paths_needs_no_issuer() -> None:
    fields = {number: value for number, value in USUAL.items() if number != 22}
    said = read(offer(fields | {16: bytes(60)}))
    assert isinstance(said, Offer)
    assert said.issuer_id is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({22: ISSUER, 10: b"x"}, "another network"),  # without a chain it is bitcoin's
        (USUAL | {2: bytes(32)}, "another network"),
        (USUAL | {2: REGTEST[:-1]}, "damaged"),
        (USUAL | {22: ISSUER[:-1]}, "damaged"),
        (USUAL | {6: b"EUR", 8: b"\x01"}, "another currency"),
        (USUAL | {20: b"\x05"}, "how many"),
        (USUAL | {12: b"\x01"}, "a feature we do not have"),
        ({2: REGTEST, 10: b"x"}, "leads to no node"),
        ({2: REGTEST, 8: b"\x01", 22: ISSUER}, "no description"),
        (USUAL | {8: b""}, "amount of zero"),
        (USUAL | {8: b"\x00\x01"}, "damaged"),
        (USUAL | {8: b"\x01" * 9}, "damaged"),
        (USUAL | {8: b"\x7f" * 8}, "out of range"),
        (USUAL | {14: NOW.to_bytes(4, "big")}, "expired"),
        (USUAL | {24: b"x"}, "field we do not know"),
        (USUAL | {80: b"x"}, "damaged"),
    ],
)
def test_an_offer_that_cannot_be_paid_is_refused_with_the_reason(fields: dict[int, bytes], says: str) -> None:
    assert says in refusal(offer(fields))


def test_an_odd_field_or_feature_is_passed_over() -> None:
    assert isinstance(read(offer(USUAL | {12: b"\x02", 25: b"x", 1_000_000_001: b"x"})), Offer)


def test_an_offer_on_several_chains_is_for_ours_if_it_is_among_them() -> None:
    assert isinstance(read(offer(USUAL | {2: bytes(32) + REGTEST})), Offer)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x0a",  # a number without a length
        b"\x0a\x05x",  # shorter than it says
        b"\x0a\x01x\x0a\x01x",  # the same number again
        b"\xfd\x00\x0a\x01x",  # longer than it need be
        b"\xfd\x0a",
    ],
)
def test_a_damaged_offer_is_refused(octets: bytes) -> None:
    assert "copy it again" in refusal(raw_offer(octets)) or not octets


@pytest.mark.parametrize("text", ["lno1", "lno1b", "lno1q", "Lno1" + offer(USUAL)[4:], "lno1" + "q" * 9000])
def test_what_is_no_offer_is_refused(text: str) -> None:
    assert refusal(text)
