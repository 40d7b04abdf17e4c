"""Reading BOLT11: what strangers send is an invoice or Rejected, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bolt11
import pytest
from bech32 import CHARSET, bech32_decode, bech32_encode
from bitstring import BitArray
from bolt11 import Bolt11, Feature, FeatureExtra, Features, FeatureState, MilliSatoshi, Signature, TagChar, Tags
from bolt11.bit_utils import bitarray_to_u5, u5_to_bitarray
from hypothesis import given, settings
from hypothesis import strategies as st

from relaybot.errors import Rejected
from tests.lightning.wire import recording
from wallet.bolt11_invoice import CURRENCIES, parse_bolt11, require_payable

RECORDED = recording("invoice-ok")["result"]["bolt11"]
MAINNET = recording("decode-bolt11-mainnet-expired")["params"]["string"]
KEY = "11" * 32
HASH, SECRET = "22" * 32, "33" * 32


def signed(
    *,
    amount_msat: int | None = 1_000,
    expiry: int | None = 600,
    currency: str = "bcrt",
    features: Features | None = None,
    more: tuple[tuple[TagChar, object], ...] = ((TagChar.description, "x"),),
) -> str:
    tags = Tags()
    tags.add(TagChar.payment_secret, SECRET)
    tags.add(TagChar.payment_hash, HASH)
    if expiry is not None:
        tags.add(TagChar.expire_time, expiry)
    if features is not None:
        tags.add(TagChar.features, features)
    for char, data in more:
        tags.add(char, data)
    amount = None if amount_msat is None else MilliSatoshi(amount_msat)
    invoice = Bolt11(currency=currency, date=1_795_438_000, tags=tags, amount_msat=amount)
    return str(bolt11.encode(invoice, KEY, ignore_exceptions=True))


def test_a_recorded_invoice_is_read_as_the_node_itself_decodes_it() -> None:
    decoded = recording("decode-bolt11")["result"]
    invoice = parse_bolt11(RECORDED)
    assert invoice.bolt11 == RECORDED
    assert invoice.payment_hash == decoded["payment_hash"]
    assert invoice.payee == decoded["payee"]
    assert invoice.amount_msat == decoded["amount_msat"]
    assert invoice.description == decoded["description"]
    assert invoice.description_hash is None
    assert invoice.created_at == decoded["created_at"]
    assert invoice.expires_at == decoded["created_at"] + decoded["expiry"]
    assert invoice.network == "bcrt" == CURRENCIES["regtest"]


def test_a_description_hash_stands_in_place_of_a_description() -> None:
    decoded = recording("decode-bolt11-deschash")
    invoice = parse_bolt11(decoded["params"]["string"])
    assert (invoice.description, invoice.description_hash) == (None, decoded["result"]["description_hash"])


@pytest.mark.parametrize("form", ["lightning:{}", "LIGHTNING:{}", "  {}\n"])
def test_a_uri_and_white_space_around_it_are_taken_off(form: str) -> None:
    assert parse_bolt11(form.format(RECORDED)).bolt11 == RECORDED


def test_upper_case_as_in_qr_codes_is_the_same_invoice() -> None:
    assert parse_bolt11(RECORDED.upper()) == parse_bolt11(RECORDED)


def test_an_amountless_invoice_has_no_amount() -> None:
    assert parse_bolt11(signed(amount_msat=None)).amount_msat is None


def test_without_an_expiry_it_is_an_hour() -> None:
    invoice = parse_bolt11(signed(expiry=None))
    assert invoice.expires_at - invoice.created_at == 3_600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "lightning:",
        "lnbcrt1",
        "lnbcrt" + "1" * 40,
        RECORDED[:-1],
        RECORDED[:-1] + ("q" if RECORDED[-1] != "q" else "p"),
        RECORDED.replace("lnbcrt1u", "lnbcrt2u"),
        RECORDED.replace("lnbcrt", "lnbc"),
        "lnxx" + RECORDED[6:],
        RECORDED[:20].upper() + RECORDED[20:],
        "lno1qgsqvgnwgcg35z6ee2h3yczraddm72xrfua9uve2rlrm9deu7xyfzrc",
        "ünïcödé" * 10,
        "lnbcrt\x001u1" + "q" * 200,
        RECORDED + "q" * 5_000,
    ],
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_bolt11(text)
    assert refusal.value.prefix == "invalid"


def test_c14_an_invoice_for_another_network_is_refused() -> None:
    invoice = parse_bolt11(MAINNET)
    assert invoice.network == "bc"
    with pytest.raises(Rejected, match="another network"):
        require_payable(invoice, currency="bcrt", now=invoice.created_at)


def test_c14_an_expired_invoice_is_refused_to_the_second() -> None:
    invoice = parse_bolt11(RECORDED)
    require_payable(invoice, currency="bcrt", now=invoice.expires_at - 1)
    with pytest.raises(Rejected, match="expired"):
        require_payable(invoice, currency="bcrt", now=invoice.expires_at)


def test_the_payee_is_who_signed() -> None:
    mine, other = parse_bolt11(signed()), bolt11.decode(signed())
    assert mine.payee == other.payee
    claimed = _with_tag(other, TagChar.payee, recording("getinfo")["result"]["id"])
    named = bolt11.encode(claimed, KEY, ignore_exceptions=True, keep_payee=True)
    with pytest.raises(Rejected):  # a payee is named, and did not sign
        parse_bolt11(named)


def _with_tag(invoice: Bolt11, char: TagChar, data: object) -> Bolt11:
    tags = Tags([tag for tag in invoice.tags if tag.char != char])
    tags.add(char, data)
    return Bolt11(currency=invoice.currency, date=invoice.date, tags=tags, amount_msat=invoice.amount_msat)


def test_amounts_that_are_no_msat_are_refused() -> None:
    # 1 pico-bitcoin is a tenth of a msat; the checksum is right, the amount is not
    pico = _resigned("lnbcrt11p")
    with pytest.raises(Rejected, match="whole number of msat"):
        parse_bolt11(pico)
    assert parse_bolt11(_resigned("lnbcrt10p")).amount_msat == 1


@pytest.mark.parametrize("prefix", ["lnbcrt0u", "lnbcrt99999999"])
def test_zero_and_more_than_all_bitcoin_are_refused(prefix: str) -> None:
    with pytest.raises(Rejected):
        parse_bolt11(_resigned(prefix))


def _resigned(prefix: str) -> str:
    """Return an invoice whose human-readable part is `prefix`, signed over it."""

    _, data = bech32_decode(signed())
    assert data is not None
    bits = u5_to_bitarray(data)[: -65 * 8]
    signature = Signature.from_private_key(hrp=prefix, private_key=KEY, signing_data=bits.tobytes())
    return str(bech32_encode(prefix, bitarray_to_u5(bits + signature.signature_data)))  # type: ignore[no-untyped-call]


def test_an_expiry_beyond_a_century_is_refused() -> None:
    with pytest.raises(Rejected, match="expiry out of range"):
        parse_bolt11(signed(expiry=2**40))


def test_an_invoice_that_requires_what_we_do_not_know_is_refused() -> None:
    unknown = Features.from_feature_list({FeatureExtra(50): FeatureState.required})
    with pytest.raises(Rejected, match="unknown feature") as refusal:
        parse_bolt11(signed(features=unknown))
    assert refusal.value.fields["bit"] == 100


def test_an_unknown_feature_that_is_optional_is_fine() -> None:
    features = Features.from_feature_list(
        {Feature.payment_secret: FeatureState.required, FeatureExtra(50): FeatureState.supported}
    )
    assert parse_bolt11(signed(features=features)).payment_hash == HASH


@pytest.mark.parametrize("more", [(), ((TagChar.description, "x"), (TagChar.description_hash, HASH))])
def test_exactly_one_of_description_and_hash_must_be_there(more: tuple[tuple[TagChar, object], ...]) -> None:
    text = signed(more=more)
    if more:  # the package reads the first and skips the second, as BOLT 11 lets a reader do
        assert parse_bolt11(text).description == "x"
    else:
        with pytest.raises(Rejected):
            parse_bolt11(text)


def test_no_refusal_repeats_the_invoice() -> None:
    for text in (RECORDED[:-1] + "q", RECORDED + "q" * 5_000):
        with pytest.raises(Rejected) as refusal:
            parse_bolt11(text)
        assert "lnbcrt" not in str(refusal.value)


@given(text=st.text(max_size=300) | st.text(alphabet="lnbcrt1qpzry9x8gf2tvdw0s3jn54khce6mua7lup", max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_text_raises_anything_but_rejected(text: str) -> None:
    for each in (text, f"lnbcrt1{text}", f"lightning:{text}"):
        with pytest.raises(Rejected):
            parse_bolt11(each)


@given(data=st.binary(max_size=120), currency=st.sampled_from(["bc", "tb", "tbs", "bcrt"]))
@settings(max_examples=60, deadline=None)
def test_well_summed_nonsense_raises_nothing_but_rejected(data: bytes, currency: str) -> None:

    words = [byte & 31 for byte in data] + [1] * 104
    try:
        parse_bolt11(str(bech32_encode(f"ln{currency}", words)))
    except Rejected:
        return
    pytest.fail("nonsense was taken for an invoice")


LETTERS = st.sampled_from("pshdnx9cmz")
FIELDS = st.lists(
    st.tuples(LETTERS, st.sampled_from([0, 1, 4, 51, 52, 53, 54]) | st.integers(0, 70), st.integers(0, 31)), max_size=6
)


@given(fields=FIELDS, cut=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_whatever_stands_in_the_fields_is_read_as_the_package_reads_it(
    fields: list[tuple[str, int, int]], cut: int
) -> None:
    words = [0] * 6 + [5]
    for letter, length, word in [("p", 52, 1), ("s", 52, 2), *fields]:
        words += [CHARSET.index(letter), length >> 5, length & 31, *[word] * length]
    text = _with_words(words[: len(words) - cut])
    ours, theirs = outcome(parse_bolt11, text), outcome(bolt11.decode, text)
    if ours is None or theirs is None:  # the package leaves out checks of ours, and stumbles over some fields
        return
    assert (ours.payment_hash, ours.payee, ours.description, ours.description_hash) == (
        theirs.payment_hash,
        theirs.payee,
        theirs.description,
        theirs.description_hash,
    )
    assert (ours.created_at, ours.expires_at) == (theirs.date, theirs.date + theirs.expiry)


def outcome(read: Callable[[str], Any], text: str) -> Any:
    """Return what is read, or None if it is refused; of ours nothing else may be raised."""
    try:
        return read(text)
    except Rejected:
        return None
    except Exception:
        if read is parse_bolt11:
            raise
        return None


@given(
    amount=st.none() | st.integers(1, 10**15),
    expiry=st.none() | st.integers(1, 10**9),
    said=st.text(max_size=80).filter(lambda text: text and text.isprintable()),
    named=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_good_invoice_is_read_as_the_package_reads_it(
    amount: int | None, expiry: int | None, said: str, *, named: bool
) -> None:
    text = signed(amount_msat=amount, expiry=expiry, more=((TagChar.description, said),))
    theirs = bolt11.decode(text)
    if named:
        text = bolt11.encode(
            _with_tag(theirs, TagChar.payee, theirs.payee), KEY, ignore_exceptions=True, keep_payee=True
        )
    ours = parse_bolt11(text)
    assert (ours.amount_msat, ours.payee, ours.description) == (theirs.amount_msat, theirs.payee, said)
    assert (ours.expires_at - ours.created_at, ours.network) == (theirs.expiry, theirs.currency)


def test_a_field_that_reaches_beyond_the_end_is_refused() -> None:
    for words in ([1, 31, 31, 0], [1, 0], [1]):
        with pytest.raises(Rejected, match="not a readable invoice"):
            parse_bolt11(_with_words([0] * 7 + words))


def _with_words(words: list[int]) -> str:
    """Return the text of these words, their checksum and signature right."""
    data = bitarray_to_u5(u5_to_bitarray(words))  # type: ignore[no-untyped-call]
    bits = u5_to_bitarray(data)
    signature = Signature.from_private_key(hrp="lnbcrt", private_key=KEY, signing_data=bits.tobytes())
    return str(bech32_encode("lnbcrt", [*data, *bitarray_to_u5(BitArray(signature.signature_data))]))  # type: ignore[no-untyped-call]


@given(position=st.integers(min_value=0, max_value=len(RECORDED) - 1), character=st.characters(codec="ascii"))
@settings(max_examples=60, deadline=None)
def test_no_changed_character_passes(position: int, character: str) -> None:
    changed = RECORDED[:position] + character + RECORDED[position + 1 :]
    if changed.strip() in (RECORDED, RECORDED.upper()):
        return
    with pytest.raises(Rejected):
        parse_bolt11(changed)
