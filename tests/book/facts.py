"""The lines of a story that are no job: money that comes in, goes out, is given, taken back, or matures.

top-up bob 12000 sat                    (a debt is paid first)
card bob 5000 sat as d1                 (`for acme`: it buys for a company)
bonus acme 500 sat
dissolve acme to bob
pay bob alice 100 sat
mature / advance 1000 sat a day
dispute d1 / collect d1 / win d1 / write-off d1      (`dispute d1 7`, `win d1 3`: so much of it is disputed now)
owes bob 30 sat                         (a referral of his for a job that was paid back)
reverse bob 5000 sat                    (a deposit that the chain has undone)
hold-out alice 1000 sat reserve 40      (what a payout holds)
batch fee 301 alice 1000 dave 2000      (what is held for both is paid in one transaction)
settle-card 10000 fee 300 bank 9650
fund onchain 500000 sat
open-channel 400000 fee 200 pushed 0 / close-channel 400000 fee 150 / routed 1005 on 1000
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.book.names import COMPANIES, account, owner_of
from tests.book.stores import NOW, person
from wallet.accounts import NODE_LIGHTNING, NODE_ONCHAIN, Class, Owner, hold, of, user
from wallet.book import Book
from wallet.chain import ChainMove
from wallet.charges import plan_referrals_back
from wallet.companies import Topup, plan_dissolved, plan_topped_up
from wallet.deposits import (
    CardDeposit,
    plan_bought,
    plan_cleared,
    plan_collected,
    plan_deposit_reversed,
    plan_dispute_lost,
    plan_dispute_won,
    plan_disputed,
    plan_part_back,
    plan_written_off,
)
from wallet.feed import Feed, Sums, opening_journal, rule_journals
from wallet.journals import (
    BulkTier,
    Output,
    bulk_bonus,
    plan_bonus,
    plan_card_settlement,
    plan_onchain_batch,
)
from wallet.ledger import Journal, Plan, Transfer
from wallet.lightning import Move
from wallet.lots import Lot
from wallet.maturing import COUNTER, Cover, next_advanced, next_matured
from wallet.money import Msat, from_sat
from wallet.purses import card_payment_of, debt_of, purse_of
from wallet.states import DepositState

DAY = "2026-11-22"


class Facts:
    """What happens beside the jobs, as Plans on one book."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._held_out: dict[str, Msat] = {}  # the reserves of payouts
        self._topups: list[Topup] = []  # of companies

    def members(self, payer: Owner) -> Sequence[str]:
        """Return who belongs to this company; nobody, if it is a person."""
        return COMPANIES.get(payer.removeprefix("org/"), ())

    async def plan(self, words: Sequence[str], line: int) -> Plan:  # noqa: PLR0911  each sort of line has its own
        """Return what one line of a story does."""
        match words:
            case ["mature"]:
                return await self._next_lot()
            case ["advance", amount, "sat", "a", "day"]:
                return await self._next_lot(advance=_sat(amount))
            case ["card", name, amount, "sat", "as", deposit, *rest]:
                who = rest[1] if rest else name
                bought = CardDeposit(
                    id=deposit,
                    version=0,
                    account=of(owner_of(who), Class.CARD),
                    pubkey=person(name),
                    amount_msat=_sat(amount),
                    state=DepositState.GOOD,
                    written_off_msat=Msat(0),
                    created_at=NOW + line,
                )
                return plan_bought(bought, await debt_of(self._book.database, person(name))).plan(
                    f"card/{deposit}/bought"
                )
            case ["dispute" | "collect" | "win" | "lose" | "write-off" as what, deposit, *part]:
                return await self._taken_back(what, deposit, line, _sat(part[0]) if part else None)
            case ["reverse", name, amount, "sat"]:
                has = Msat(await self._book.balance(user(person(name))))
                journal = plan_deposit_reversed(NODE_ONCHAIN, person(name), _sat(amount), has)
                return journal.plan(f"deposit/{line}/reversed")
            case ["owes", name, amount, "sat"]:
                paid = {person(name): _sat(amount)}
                return plan_referrals_back(paid, {person(name): 0}).plan(f"owes/{line}")
            case ["batch", "fee", fee, *pairs]:
                return self._batch(_sat(fee), pairs).plan(f"transaction/{line}/settled")
            case ["dissolve", name, "to", to]:
                purse = await purse_of(self._book.database, owner_of(name))
                return plan_dissolved(name, person(to), purse.has, self._topups).plan(f"dissolve/{line}")
            case ["top-up", name, amount, "sat"]:
                return (await self._top_up(name, _sat(amount))).plan(f"topup/{line}")
            case _:
                return self._simple(words).plan(f"{words[0]}/{line}")

    def _simple(self, words: Sequence[str]) -> Journal:  # noqa: PLR0911  each sort of line has its own
        match words:
            case ["bulk-top-up", name, amount, "sat", "bonus", percent, "from", least]:
                tiers = [BulkTier(_sat(least), int(percent) * 10_000)]
                bonus = bulk_bonus(_sat(amount), tiers)
                self._topups.append(Topup(f"topup/{len(self._topups)}", name, person("bob"), _sat(amount), bonus))
                return Journal(plan_topped_up(self._topups[-1], NODE_LIGHTNING, NOW).transfers)
            case ["bonus", name, amount, "sat"]:
                return plan_bonus(owner_of(name), _sat(amount), "bonus")
            case ["pay", payer, payee, amount, "sat"]:
                return Journal((Transfer(of(owner_of(payer)), of(owner_of(payee)), _sat(amount), "payment"),))
            case ["hold-out", name, amount, "sat", "reserve", reserve]:
                self._held_out[name] = _sat(reserve)
                total = Msat(_sat(amount) + _sat(reserve))
                return Journal((Transfer(account(name), hold(f"payout/{person(name)}/1"), total, "hold"),))
            case ["settle-card", gross, "fee", fee, "bank", bank]:
                return plan_card_settlement(
                    gross_msat=int(gross) * 1_000, fee_msat=_sat(fee), bank_msat=int(bank) * 1_000
                )
            case ["fund", "node", amount, "sat"]:
                return opening_journal(Sums(lightning=_sat(amount)))
            case ["fund", "onchain", amount, "sat"]:
                return opening_journal(Sums(onchain=_sat(amount)))
            case _:
                return _by_rule(_of_node(words))

    async def _top_up(self, name: str, amount: Msat) -> Journal:
        arrived = Journal((Transfer(NODE_LIGHTNING, account(name), amount, "topup"),))
        if name in COMPANIES:
            return arrived
        return arrived + plan_cleared(person(name), await debt_of(self._book.database, person(name)), amount)

    def _batch(self, fee: Msat, pairs: Sequence[str]) -> Journal:
        outputs = [
            Output(f"payout/{person(name)}/1", owner_of(name), _sat(amount), 43, self._held_out[name])
            for name, amount in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return plan_onchain_batch(outputs, fee_msat=fee)

    async def _next_lot(self, *, advance: Msat | None = None) -> Plan:
        database = self._book.database
        rows = await database.fetch(
            "SELECT lots.* FROM lots JOIN card_deposits AS paid ON paid.id = deposit AND paid.state <> 'disputed'"
            " WHERE matures_at > 0 AND lots.amount_msat > 0 ORDER BY lots.id"
        )
        lots = [Lot.of_row(row) for row in rows]
        balances = {row["id"]: row["balance_msat"] for row in await database.fetch("SELECT * FROM accounts")}
        ours = sum(
            msat for name, msat in balances.items() if name.endswith("/sats") and not name.startswith("platform")
        )
        cover = Cover(Msat(-sum(balances.get(node, 0) for node in (NODE_LIGHTNING, NODE_ONCHAIN))), Msat(ours))
        counter, today = await self._book.row("cursors", COUNTER), await self._book.row("cursors", f"advances/{DAY}")
        if advance is None:
            plan = next_matured(lots, cover, counter, now=NOW + 120 * 86_400)
        else:
            plan = next_advanced(lots, cover, counter, today, day=DAY, per_day=advance)
        assert plan is not None, "no lot is due and covered"
        return plan

    async def _taken_back(self, what: str, deposit_id: str, line: int, part: Msat | None) -> Plan:
        database = self._book.database
        found = await card_payment_of(database, deposit_id)
        assert found is not None, f"no deposit {deposit_id}"
        deposit, lots, debt = found
        journal = {
            "dispute": lambda: plan_disputed(deposit, lots, part, now=self._book._clock.now()),
            "collect": lambda: plan_collected(deposit, lots, debt),
            "win": lambda: plan_part_back(deposit, lots, debt, part) if part else plan_dispute_won(deposit, lots, debt),
            "lose": lambda: plan_dispute_lost(deposit),
            "write-off": lambda: plan_written_off(deposit, lots, debt),
        }[what]()
        return journal.plan(f"card/{deposit_id}/{what}/{line}")


def _coins(amount: int, account: str = "wallet") -> ChainMove:
    return ChainMove(1, "cc" * 32, f"{'cc' * 32}:0", Msat(max(amount, 0)), Msat(max(-amount, 0)), "any", account)


def _of_node(words: Sequence[str]) -> Feed:
    """Return the node's own records of a line about it."""
    feed = Feed()
    match words:
        case ["open-channel", amount, "fee", fee, "pushed", pushed]:
            feed.add_moves([Move(1, None, Msat(0), _sat(pushed), Msat(0), "pushed")])
            feed.add_chain_moves([_coins(-_sat(amount) - _sat(fee)), _coins(_sat(amount), "19de67ae")])
        case ["close-channel", amount, "fee", fee]:
            feed.add_chain_moves([_coins(_sat(amount) - _sat(fee)), _coins(-_sat(amount), "19de67ae")])
        case ["routed", came, "on", went]:
            sides = ((_sat(came), Msat(0)), (Msat(0), _sat(went)))
            feed.add_moves([Move(2, "aa" * 32, credit, debit, Msat(0), "routed") for credit, debit in sides])
        case _:
            raise AssertionError(f"nobody understands: {' '.join(words)}")
    return feed


def _by_rule(feed: Feed) -> Journal:
    journal = Journal()
    for _, one in rule_journals(feed, {}):
        journal += one
    return journal


def _sat(amount: str) -> Msat:
    return from_sat(int(amount))
