"""The made-up chain: the real nodes of `make test-cln` stand on it, so it must refuse what a Bitcoin node refuses."""

from __future__ import annotations

import pytest

from tests.regtest.chain import ANYONE_MAY, PURSE, REPLACEABLE, Chain, Refused
from tests.regtest.transactions import Input, Outpoint, Output, build_transaction, read_transaction, script_of

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"  # BIP-173's program, on regtest
TAPROOT = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"


@pytest.fixture
def chain() -> Chain:
    chain = Chain()
    chain.mine(3)
    return chain


def spending(txid: str, sat: int, *, sequence: int = REPLACEABLE, lock_time: int = 0) -> bytes:
    """Spend the purse's part of a gift."""
    inputs = [Input(Outpoint(txid, 1), b"", sequence)]
    return build_transaction(inputs, [Output(sat, PURSE)], witness=[ANYONE_MAY], lock_time=lock_time).raw


def test_the_first_block_is_the_one_of_regtest(chain: Chain) -> None:
    assert chain.blocks[0].hash == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


def test_each_block_names_the_one_before(chain: Chain) -> None:
    for before, block in zip(chain.blocks, chain.blocks[1:], strict=False):
        assert block.raw[4:36][::-1].hex() == before.hash


@pytest.mark.parametrize("address", [ADDRESS, TAPROOT])
def test_a_gift_is_at_its_address_once_it_is_sent(chain: Chain, address: str) -> None:
    txid = chain.give(address, 50_000)
    assert chain.unspent(Outpoint(txid, 0)) == Output(50_000, script_of(address))
    chain.mine()
    assert chain.unspent(Outpoint(txid, 0)) == Output(50_000, script_of(address))
    assert chain.waiting == {}
    assert chain.blocks[-1].transactions[1].txid == txid


def test_an_address_of_another_network_gets_nothing(chain: Chain) -> None:
    with pytest.raises(ValueError, match="not a regtest address"):
        chain.give("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 50_000)


def test_a_transaction_is_written_as_it_is_read(chain: Chain) -> None:
    chain.give(ADDRESS, 50_000)
    [sent] = chain.waiting.values()
    assert read_transaction(sent.raw) == sent
    assert sent.virtual_size < len(sent.raw)


def test_a_reorganisation_brings_what_was_mined_back_to_waiting(chain: Chain) -> None:
    chain.give(ADDRESS, 50_000)
    chain.mine(2)
    before = chain.blocks[-1].hash
    chain.reorganise(2)
    assert (chain.height, len(chain.waiting)) == (3, 1)
    chain.mine(3)
    assert chain.waiting == {}
    assert before not in {block.hash for block in chain.blocks}


def test_a_deposit_that_is_forgotten_after_a_reorganisation_never_comes(chain: Chain) -> None:
    txid = chain.give(ADDRESS, 50_000)
    chain.mine()
    chain.reorganise(1)
    chain.forget(txid)
    chain.mine(2)
    assert chain.unspent(Outpoint(txid, 0)) is None


def test_a_replacement_must_pay_more(chain: Chain) -> None:
    gift = chain.give(ADDRESS, 50_000)
    rest = chain.waiting[gift].outputs[1].sat
    first = chain.send(spending(gift, rest - 500))
    with pytest.raises(Refused, match="insufficient fee"):
        chain.send(spending(gift, rest - 400))
    second = chain.send(spending(gift, rest - 900))
    assert first not in chain.waiting
    assert second in chain.waiting


def test_what_a_bitcoin_node_refuses_is_refused(chain: Chain) -> None:
    gift = chain.give(ADDRESS, 50_000)
    rest = chain.waiting[gift].outputs[1].sat
    for raw, words in (
        (b"garbage", "TX decode failed"),
        (spending("11" * 32, 50_000), "missingorspent"),
        (spending(gift, rest + 1), "in-belowout"),
        (spending(gift, rest - 10), "min relay fee"),
        (spending(gift, 100), "dust"),
        (spending(gift, rest - 900, sequence=10), "non-final"),
        (spending(gift, rest - 900, lock_time=chain.height + 1), "non-final"),
    ):
        with pytest.raises(Refused, match=words):
            chain.send(raw)


def test_a_purse_that_is_too_small_says_so(chain: Chain) -> None:
    with pytest.raises(Refused, match="mine more"):
        chain.give(ADDRESS, 5_000_000_000)
