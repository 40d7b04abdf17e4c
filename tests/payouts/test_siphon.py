"""C2: whoever pays in and out in a loop, through a node that takes every fee it can get, takes nothing of ours."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.payouts.desk import NOW, RULES, person
from wallet.accounts import NODE_LIGHTNING, user
from wallet.ledger import Plan, State, Transfer, Verdict, judge
from wallet.lightning import DecodedInvoice, PaymentReport, PaymentState
from wallet.money import Msat, from_sat
from wallet.opening import plan_opened, whole_balance
from wallet.payout_plans import Finding, plan_prepared, plan_sent, plan_settled
from wallet.states import Rail

THIEF, TARGET = person("thief"), "thief@wallets.test"
ROUNDS = 1_000


class Siphon:
    """The book in memory, judged as the real one is, and what the thief's own node has taken."""

    def __init__(self) -> None:
        self.state = State(balances={user(THIEF): 0, NODE_LIGHTNING: 0})
        for scope in ("payouts", "lightning"):
            self.state.rows["pauses", scope] = {"state": "open", "version": 1}
        self.state.rows["users", THIEF] = {"version": 1, "payouts": 0, "withdrawals": "open"}
        self.received = 0

    def apply(self, plan: Plan) -> None:
        """Judge one Plan; what it needs and is not there is not there."""
        for change in plan.changes:
            self.state.rows.setdefault((change.table, change.id), None)
        for move in plan.transfers:
            for account in (move.debit, move.credit):
                self.state.balances.setdefault(account, 0)
        answer = judge(self.state, plan)
        assert answer.verdict is Verdict.APPLIED, (plan.key, answer)

    def row(self, table: str, row_id: str) -> Any:
        found = self.state.rows[table, row_id]
        assert found is not None, f"{table} {row_id}"
        return {"id": row_id, **found}

    def pay_in(self, number: int, msat: int) -> None:
        arrived = Transfer(NODE_LIGHTNING, user(THIEF), Msat(msat), "topup")
        self.apply(Plan(f"invoice/{number:064x}/settled", (arrived,)))

    def pay_out(self, number: int, *, fee_of: Random) -> None:
        """Send all there is; the route takes the whole reserve, or nearly so, and keeps it."""
        amount, reserve = whole_balance(RULES, self.state.balances[user(THIEF)])
        self.apply(
            plan_opened(self.row("users", THIEF), TARGET, rail=Rail.LIGHTNING, amount=amount, reserve=reserve, now=NOW)
        )
        payout = f"{THIEF}/{self.row('users', THIEF)['payouts']}"
        invoice = DecodedInvoice("lnbc1", f"{number:064x}", "02", amount, None, None, NOW, NOW + 600, "bc")
        self.apply(plan_prepared(self.row("payouts", payout), invoice, TARGET, NOW))
        self.apply(plan_sent(self.row("payouts", payout), self.row("attempts", invoice.payment_hash), RULES, NOW))
        sent = amount + reserve - fee_of.choice((0, 0, 0, 1, 999, reserve))
        report = PaymentReport(PaymentState.SETTLED, Msat(sent), "00" * 32)
        rows = self.row("payouts", payout), self.row("attempts", invoice.payment_hash)
        self.apply(plan_settled(*rows, Finding(report, ""), RULES, NOW))
        self.received += sent  # what arrived, and what the thief's own route kept

    @property
    def equity_msat(self) -> int:
        return sum(msat for account, msat in self.state.balances.items() if account.startswith("platform/"))


def test_c2_a_thousand_rounds_of_paying_in_and_out_leave_the_platform_what_it_had() -> None:
    siphon, chance = Siphon(), Random(2)
    paid_in = 0
    for number in range(ROUNDS):
        msat = chance.randrange(from_sat(106), from_sat(500_000))
        paid_in += msat
        siphon.pay_in(number, msat)
        siphon.pay_out(number, fee_of=chance)
        assert siphon.equity_msat >= 0, f"round {number}"
    left = siphon.state.balances[user(THIEF)]
    assert siphon.received + left == paid_in  # all of it is the thief's own
    assert siphon.state.balances[NODE_LIGHTNING] == -left
    assert sum(siphon.state.balances.values()) == 0
