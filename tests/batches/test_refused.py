"""One payment that the node refuses to prepare stops itself, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relaybot.errors import Rejected
from tests.batches.conftest import ADDRESSES, SEGWIT, Counter
from tests.settlements.conftest import ALICE, BOB
from wallet.accounts import user
from wallet.batch_preparing import CROWDED, REFUSED
from wallet.batches import Batches
from wallet.chain import REFUSED_PAYMENT, Chain, Payment, Prepared
from wallet.money import from_sat

BAD = ADDRESSES["p2wsh"]


class Choosy:
    """The node's wallet, which refuses certain transactions for their outputs, and says no more than that."""

    def __init__(self, chain: Chain, *, addresses: Sequence[str] = (), outputs_max: int = 100) -> None:
        self._chain = chain
        self._addresses = set(addresses)
        self._outputs_max = outputs_max
        self.asked: list[list[str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._chain, name)

    async def prepare(self, payments: Sequence[Payment], *, feerate: int, confirmations: int) -> Prepared:
        self.asked.append([payment.address for payment in payments])
        if self._addresses.intersection(self.asked[-1]) or len(payments) > self._outputs_max:
            raise Rejected("invalid", REFUSED_PAYMENT)
        return await self._chain.prepare(payments, feerate=feerate, confirmations=confirmations)


def with_chain(counter: Counter, choosy: Choosy) -> Choosy:
    """Let the batches see the chain through `choosy`."""
    bot = counter.bot
    chain: Chain = choosy  # type: ignore[assignment]  # it hands on what it does not know
    counter.batches = Batches(
        bot.book, bot.lightning, chain, bot.clock, rules=counter.rules, batch_rules=bot.batch_rules, tell=bot.tell
    )
    return choosy


@pytest.mark.parametrize("place", range(4))
async def test_e5_the_one_that_the_node_refuses_is_balance_again_and_the_others_are_paid(
    counter: Counter, place: int
) -> None:
    with_chain(counter, Choosy(counter.bot.chain, addresses=[BAD]))
    await counter.grant(900_000)
    await counter.grant(900_000, ALICE)
    for number in range(4):
        address = BAD if number == place else SEGWIT
        await counter.say(f"withdraw 50000 {address}", ALICE if number == place else BOB, number=number)
    await counter.go_on()
    assert counter.received() == 150_000
    assert await counter.bot.book.balance(user(ALICE.pubkey)) == from_sat(900_000)
    states = await counter.states()
    assert sorted(state for state, _ in states) == ["paying", "paying", "paying", "stopped"]
    assert REFUSED in {reason for _, reason in states}
    reserved = "SELECT COUNT(*) AS n FROM coins WHERE reserved_to IS NOT NULL AND spent_by IS NULL"
    assert dict(counter.network._store.row(reserved) or {}) == {"n": 0}
    await counter.finish()
    await counter.sound()


async def test_e5_a_node_that_refuses_whatever_it_is_asked_convicts_nobody(counter: Counter) -> None:
    chain = with_chain(counter, Choosy(counter.bot.chain, outputs_max=0))
    await counter.grant(900_000)
    await counter.say(f"withdraw 50000 {SEGWIT}")
    await counter.go_on()
    assert await counter.states() == [("paying", "")]
    assert len(chain.asked) == 2  # what was wanted, and a payment to itself
    with_chain(counter, Choosy(counter.bot.chain))
    await counter.finish()
    assert counter.received() == 50_000


async def test_e5_where_each_alone_is_fine_half_of_them_go(counter: Counter) -> None:
    with_chain(counter, Choosy(counter.bot.chain, outputs_max=2))
    await counter.grant(900_000)
    for number in range(4):
        await counter.say(f"withdraw 50000 {SEGWIT}", number=number)
    await counter.go_on()
    assert counter.received() == 100_000
    assert sorted(reason for _, reason in await counter.states()) == ["", "", CROWDED, CROWDED]
    await counter.later(3_600)
    assert counter.received() == 200_000
