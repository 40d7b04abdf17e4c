"""What a batch of payments on the chain turns into: the Plan of each step. Pure: rows and the time in, a Plan out.

The theory of operation stands in `batches.py`. Each payout's row is guarded by its version
from when it is gathered until it is paid, so it is in one batch at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from relaybot.db.database import Row
from wallet.accounts import person
from wallet.batch_rules import BatchRules, shares
from wallet.chain import Prepared
from wallet.journals import Output, plan_onchain_batch
from wallet.ledger import Change, Insert, Journal, Plan, Put, Update, Values
from wallet.money import Msat
from wallet.opening import cause_of
from wallet.payout_plans import switches
from wallet.states import BATCH, PAYOUT, BatchState, BatchStep, PayoutState, PayoutStep


def plan_gathered(batch_id: str, payouts: Sequence[tuple[Row, str]], rules: BatchRules, now: int) -> Plan:
    """Take payouts, each with the address it goes to, into a new batch."""
    amount = Msat(sum(payout["amount_msat"] for payout, _ in payouts))
    values: Values = {
        "state": BatchState.GATHERED.value,
        "txid": "",
        "psbt": "",
        "inputs": "[]",
        "outputs": len(payouts),
        "amount_msat": amount,
        "fee_msat": 0,
        "needs": rules.depth.needed(amount),
        "height": 0,
        "seen": 0,
        "reason": "",
        "sent_at": 0,
        "created_at": now,
        "updated_at": now,
    }
    taken = (
        _moved(payout, PayoutStep.PREPARE, {"attempt": batch_id, "target": address, "reason": ""}, now)
        for payout, address in payouts
    )
    return Plan(f"batch/{batch_id}/gathered", changes=(Insert("batches", batch_id, values), *taken))


def plan_prepared(batch: Row, prepared: Prepared, now: int) -> Plan:
    """Store the transaction before anything of it can leave: its id, its coins, and with what it is sent again."""
    values: Values = {
        "txid": prepared.txid,
        "psbt": prepared.psbt,
        "inputs": json.dumps(prepared.inputs),
        "fee_msat": prepared.fee_msat,
        "reason": "",
    }
    return Plan(f"batch/{batch['id']}/prepared", changes=(_stepped(batch, BatchStep.PREPARE, values, now),))


def plan_left_out(
    batch: Row, stay: Sequence[Row], leave: Sequence[Row], *, reason: str, pause_seconds: int, now: int
) -> Plan:
    """Let some go from a batch of which nothing was sent; it is over if nobody stays in it."""
    waiting: Values = {"reason": reason, "next_at": now + pause_seconds}
    gone = (_moved(payout, PayoutStep.WAIT, waiting, now) for payout in leave)
    if stay:
        left: Values = {"outputs": len(stay), "amount_msat": sum(payout["amount_msat"] for payout in stay)}
        change = _changed(batch, left, now)
    else:
        change = _stepped(batch, BatchStep.DISCARD, {"reason": reason}, now)
    return Plan(f"batch/{batch['id']}/left/{batch['version']}", changes=(change, *gone))


def plan_sent(batch: Row, payouts: Sequence[Row], now: int) -> Plan:
    """Note that it is sent: from this commit on it may be in the world. Guarded by every switch that is on."""
    guards = {(one.table, one.id): one for payout in payouts for one in switches(payout)}
    sent = _stepped(batch, BatchStep.SEND, {"sent_at": now}, now)
    return Plan(f"transaction/{batch['txid']}/sent", changes=(*guards.values(), sent))


def plan_sent_again(batch: Row, now: int) -> Plan:
    """Note that the same transaction is sent once more."""
    return Plan(
        f"transaction/{batch['txid']}/again/{batch['version']}", changes=(_changed(batch, {"sent_at": now}, now),)
    )


def plan_seen(batch: Row, told: Sequence[Change], now: int) -> Plan:
    """Note that the node lists it; `told` are the messages with its id."""
    return Plan(f"transaction/{batch['txid']}/seen", changes=(_changed(batch, {"seen": 1}, now), *told))


def plan_moved(batch: Row, height: int, now: int) -> Plan:
    """Note in which block it stands now; 0: the chain has taken it back."""
    moved = _changed(batch, {"height": height}, now)
    return Plan(f"transaction/{batch['txid']}/moved/{batch['version']}", changes=(moved,))


def plan_settled(
    batch: Row, payouts: Sequence[Row], scripts: Mapping[str, int], told: Sequence[Change], now: int
) -> Plan:
    """Book a transaction that lies deep enough: what each got, and each one's part of its fee.

    `scripts` has the weight of each payout's output, by its id.
    """
    weights = [scripts[payout["id"]] for payout in payouts]
    outputs = [
        Output(
            cause_of(payout["id"]),
            person(payout["pubkey"]),
            Msat(payout["amount_msat"]),
            weight,
            Msat(payout["reserve_msat"]),
        )
        for payout, weight in zip(payouts, weights, strict=True)
    ]
    fee = Msat(batch["fee_msat"])
    journal = plan_onchain_batch(outputs, fee_msat=fee)
    changes: list[Change] = [_stepped(batch, BatchStep.CONFIRM, {}, now)]
    for payout, charged in zip(payouts, shares(fee, weights), strict=True):
        values: Values = {"paid_msat": payout["amount_msat"], "fee_msat": charged, "next_at": None, "reason": ""}
        changes.append(_moved(payout, PayoutStep.PAY, values, now))
    owners = sorted({payout["pubkey"] for payout in payouts})
    changes += [Put("users", pubkey, {"payout_check_at": now}) for pubkey in owners]
    return (journal + Journal(changes=tuple(changes))).plan(f"transaction/{batch['txid']}/settled", *told)


def plan_buried(batch: Row, now: int) -> Plan:
    """Note that nothing undoes it any more: it is looked at no more."""
    return Plan(f"transaction/{batch['txid']}/buried", changes=(_stepped(batch, BatchStep.BURY, {}, now),))


def _stepped(batch: Row, step: BatchStep, values: Values, now: int) -> Update:
    return _changed(batch, {"state": BATCH.after(BatchState(batch["state"]), step).value, **values}, now)


def _changed(batch: Row, values: Values, now: int) -> Update:
    return Update("batches", batch["id"], {**values, "updated_at": now}, expect={"version": batch["version"]})


def _moved(payout: Row, step: PayoutStep, values: Values, now: int) -> Update:
    state = PAYOUT.after(PayoutState(payout["state"]), step).value
    after: Values = {"state": state, "updated_at": now, **values}
    return Update("payouts", payout["id"], after, expect={"version": payout["version"]})
