"""What a payment on the chain costs, and how a transaction is read: pure, without a node."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.simulator.transactions import Made, read_psbt
from tests.batches.conftest import ADDRESSES
from tests.lightning.wire import recording
from wallet.batch_rules import BatchRules, FeePolicy, format_feerate, quote, shares
from wallet.chain_address import parse_chain_address
from wallet.money import Msat
from wallet.onchain import DepositRules
from wallet.transaction import read_unsigned

SCRIPTS = {
    "p2wpkh": "00144239d8814cf0fca4ebf3433110d72f9628352786",
    "p2tr": "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "p2pkh": "76a914243f1394f44554f4ce3fd68649c19adc483ce92488ac",
    "p2wsh": "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
}


@given(fee=st.integers(0, 10**12), weights=st.lists(st.integers(1, 10**4), min_size=1, max_size=50))
def test_c2_parts_of_a_fee_are_never_less_than_the_fee_and_each_is_fair_to_the_msat(
    fee: int, weights: list[int]
) -> None:
    parts = shares(fee, weights)
    assert 0 <= sum(parts) - fee < len(parts)
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part - Fraction(fee * weight, sum(weights)) < 1


def rules(fees: FeePolicy) -> BatchRules:
    depth = DepositRules(((Msat(0), 1),), Msat(1), Msat(0), watch_blocks=6)
    return BatchRules(0, 1, Msat(10_000_000), 50_000, 1, 60, 60, depth, fees=fees)


def test_the_operator_s_bounds_decide_what_a_transaction_offers_and_when_none_is_made() -> None:
    fees = FeePolicy(feerate_min=500, feerate_max=2_000)
    assert [fees.offered(estimate) for estimate in (253, 500, 1_999, 2_001)] == [500, 500, 1_999, 2_001]
    assert [fees.is_high(estimate) for estimate in (253, 2_000, 2_001)] == [False, False, True]
    assert not FeePolicy().is_high(10**9)
    assert [format_feerate(feerate) for feerate in (250, 253, 300_000)] == ["1 sat/vB", "2 sat/vB", "1,200 sat/vB"]


def test_a_quote_is_made_at_what_is_offered_and_says_when_fees_are_too_high_for_anything() -> None:
    policy, script = rules(FeePolicy(feerate_min=500, feerate_max=2_000)), SCRIPTS["p2tr"]
    low, at_least, high = (quote(script, feerate=feerate, rules=policy) for feerate in (253, 500, 2_001))
    assert low == at_least
    assert low.reserve_msat == 1_000 * -(-2 * 500 * (44 + 2 * 272 + 172 + 172) // 1_000)
    low.check(Msat(10_000_000))
    assert not low.is_dear(Msat(10**9))
    assert high.is_dear(Msat(10**12))
    with pytest.raises(Rejected, match="on-chain, fees are 9 sat/vB now, and this service pays at most 8 sat/vB"):
        high.check(Msat(10**12))


@pytest.mark.parametrize("form", SCRIPTS)
def test_an_address_is_paid_by_its_script(form: str) -> None:
    address = parse_chain_address(ADDRESSES[form], currency="bcrt")
    assert (address.form, address.script) == (form, SCRIPTS[form])


def test_a_script_hash_is_paid_by_its_script() -> None:  # BIP-16
    address = parse_chain_address("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", currency="bcrt")
    assert address.script == "a9144e9f39ca4688ff102128ea4ccda34105324305b087"


def test_what_a_real_node_prepared_is_read_as_it_says() -> None:
    said = recording("txprepare-ok")
    made = read_unsigned(said["result"]["unsigned_tx"])
    assert made.txid == said["result"]["txid"]
    assert made.inputs == ("e85fa9827142f071453a20ad3b7f03fab31af2c63dbf286c6bbd5f58c197abeb:1",)
    assert (10_000, SCRIPTS["p2wpkh"]) in made.outputs


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("zz", "not hex"),
        ("", "ends too soon"),
        ("02000000" + "ff" * 40, "ends too soon"),
        (recording("txsend-ok")["result"]["tx"], "signed"),
        (recording("txprepare-ok")["result"]["unsigned_tx"] + "00", "longer than it says"),
        ("02000000" + "00" * 2 + "00" * 4, "empty"),
    ],
)
def test_what_is_no_unsigned_transaction_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        read_unsigned(text)


def test_a_transaction_of_the_simulator_is_a_real_one_whatever_its_size() -> None:
    made = Made([("ab" * 32, 7)], [(1_000, SCRIPTS["p2wsh"])] * 300, lock_time=5)
    read = read_unsigned(made.raw(signed=False).hex())
    assert (read.txid, read.inputs, read.outputs) == (made.txid, (f"{'ab' * 32}:7",), tuple(made.outputs))
    for signed in (False, True):
        again, is_signed = read_psbt(made.psbt(signed=signed))
        assert (again.txid, again.lock_time, is_signed) == (made.txid, 5, signed)
    with pytest.raises(Rejected, match="not a PSBT"):
        read_psbt("")
