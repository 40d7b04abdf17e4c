"""The evening: when all is quiet, nothing may be left over, and every msat must be where an outsider expects it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relaybot.simulator.network import SERVICE_NODE
from relaybot.simulator.people import WALLETS_NODE
from tests.simulator import company
from tests.simulator.apps import BUDGET_SAT
from tests.simulator.cast import ACME, CUSTOMERS, LONGEST_JOB_SECONDS, NAMES, PLATFORM, dues, key_of, name_of
from tests.simulator.timeline import START
from wallet.accounts import CAPITAL, NODE_LIGHTNING

if TYPE_CHECKING:
    from tests.simulator.world import World

SLACK_SECONDS = 60.0  # for pauses between tries, on both sides

_LEFT_OVER = {
    "events are not handled": "SELECT id || ' of kind ' || kind FROM inbox WHERE state = 'new'",
    "events failed": "SELECT id || ' of kind ' || kind FROM inbox WHERE state = 'failed'",
    "events are not sent": "SELECT id || ': ' || note FROM outbox WHERE state <> 'sent'",
    "jobs are not ended": "SELECT substr(id, 1, 6) || ' ' || state FROM jobs WHERE due_at IS NOT NULL",
    "money of a disputed payment is not collected": (
        "SELECT lots.id FROM lots JOIN card_deposits AS paid ON paid.id = deposit AND paid.state <> 'good'"
        " JOIN accounts ON accounts.id = 'user/' || pubkey || '/owed' AND balance_msat < 0"
        " WHERE lots.amount_msat > 0 AND lots.account NOT LIKE 'hold/%' AND disputed_msat >"
        " (SELECT SUM(taken_msat) FROM lots AS one WHERE one.deposit = paid.id)"
    ),
    "batches are not booked": "SELECT id || ' ' || state FROM batches WHERE state IN ('gathered', 'prepared', 'sent')",
    "users are not looked at": "SELECT substr(id, 1, 6) FROM users WHERE payout_check_at IS NOT NULL",
}
_OPEN_PAYOUTS = "SELECT id, attempt, state, reason FROM payouts WHERE next_at IS NOT NULL"
_ORPHANS = "SELECT payment_hash FROM attempts WHERE node = ? AND open = 1 AND ending = 'never'"
_ENDED_FOR_APP = (  # of what never ends, for the node has lost it, there is no end to tell
    "SELECT 1 FROM inbox WHERE id = ? AND NOT EXISTS (SELECT 1 FROM wallet_payments AS asked"
    " JOIN payouts ON payouts.id = asked.payout WHERE asked.id = ? AND next_at IS NOT NULL)"
)
_RECEIVED = "SELECT label, received_msat, bolt11 FROM invoices WHERE node = ? AND status = 'paid' ORDER BY pay_index"
_HELD = (
    "SELECT COALESCE(SUM(balance_msat), 0) FROM payouts"
    " JOIN accounts ON accounts.id = 'hold/payout/' || payouts.id || '/sats' WHERE pubkey = ?"
)
_SENT = (
    "SELECT i.label AS label, p.sent_msat AS sent_msat, a.label AS payout, p.payment_hash AS payment_hash,"
    " a.groupid AS groupid FROM parts p JOIN attempts a USING (groupid)"
    " JOIN invoices i ON i.node = ? AND i.payment_hash = p.payment_hash"
    " WHERE p.node = ? AND p.status = 'complete'"
)

_SWITCHES = "SELECT number, id FROM plans WHERE id LIKE 'users/%/withdrawals/%' ORDER BY number"
_LEFT_BETWEEN = (
    "SELECT plans.id FROM plans JOIN attempts ON plans.id = 'payment/' || attempts.id || '/sent'"
    " JOIN payouts ON payouts.id = attempts.payout WHERE plans.number BETWEEN ? AND ? AND pubkey = ?"
    " UNION ALL SELECT transfers.plan FROM transfers JOIN plans ON plans.id = transfers.plan"
    " WHERE plans.number BETWEEN ? AND ? AND debit = ? AND reason = 'internal'"
)
_HELD_BY_CARD = (
    "SELECT COALESCE(SUM(CASE WHEN debit = 'card/receivable' THEN amount_msat ELSE -amount_msat END), 0)"
    " FROM transfers WHERE plan LIKE ? AND 'card/receivable' IN (debit, credit)"
)
_DISPUTED = "(reason LIKE 'disputed:%' OR reason LIKE 'won:%' OR reason LIKE 'written off:%')"
_TAKEN_SATS = f"SELECT plan, debit FROM transfers WHERE {_DISPUTED} AND debit LIKE 'user/%/sats'"  # noqa: S608  our own
_SATS_BACK = (
    "SELECT credit, SUM(amount_msat), (SELECT COALESCE(SUM(amount_msat), 0) FROM transfers AS paid"
    " WHERE paid.debit = won.credit AND paid.credit LIKE 'user/%/owed') FROM transfers AS won"
    " WHERE reason LIKE 'won:%' AND credit LIKE 'user/%/sats' GROUP BY credit"
)
_DISPUTES = f"SELECT debit, credit, amount_msat FROM transfers WHERE {_DISPUTED}"  # noqa: S608  our own words


_NOT_PAID_OUT = (
    "SELECT users.id, balance_msat FROM users JOIN accounts ON accounts.id = 'user/' || users.id || '/sats'"
    " WHERE withdrawals = 'open' AND balance_msat >= COALESCE(threshold_msat, 100000) + 100000"
    " AND EXISTS (SELECT 1 FROM targets WHERE pubkey = users.id AND target LIKE '%@%')"
    " AND NOT EXISTS (SELECT 1 FROM targets WHERE pubkey = users.id AND target NOT LIKE '%@%')"
    " AND NOT EXISTS (SELECT 1 FROM payouts WHERE pubkey = users.id AND state <> 'paid')"
    " AND NOT EXISTS (SELECT 1 FROM accounts WHERE id = 'user/' || users.id || '/owed' AND balance_msat <> 0)"
)


def left_over(world: World) -> Iterator[str]:
    """Yield what is not finished yet; nothing, once all is quiet."""
    for what, sql in _LEFT_OVER.items():
        ids = [str(row[0]) for row in world.auditor.rows(sql)]
        if ids:
            yield f"{what}: {', '.join(ids[:3])}"
    orphans = {row["payment_hash"] for row in world.network._store.rows(_ORPHANS, (SERVICE_NODE,))}
    for payout, attempt, state, reason in world.auditor.rows(_OPEN_PAYOUTS):
        if attempt not in orphans:
            yield f"payout {payout[:6]} is {state}: {reason}"
    paid = len(world.network._store.rows(_RECEIVED, (SERVICE_NODE,)))
    seen = world.auditor.rows("SELECT value FROM cursors WHERE id = 'settlements'")
    if paid and (not seen or seen[0][0] != paid):
        yield f"the node has settled {paid} invoices, the book has seen {seen}"
    yield from world.coins.left_over()


def check(world: World) -> None:
    """Prove everything that an outsider can prove."""
    world.auditor.whole()
    for text in (
        *_jobs(world),
        *_answers(world),
        *_sent(world),
        *_hashes(world),
        *_payouts(world),
        *_apps(world),
        *_closed(world),
        *_cards(world),
        *_receipts(world),
        *_messages(world),
        *company.check(world),
        *_money(world),
    ):
        world.auditor.found(text)


def _jobs(world: World) -> Iterator[str]:
    """Every request ends once, as it must, and in time."""
    shelves = (world.own.events, world.far.events)
    for request_id, request in world.facts.requests.items():
        ends, results = world.auditor.ends(request_id), world.auditor.contents.get(request_id, [])
        name = f"job {request_id[:6]}"
        if ("success" in ends) != bool(results):
            yield f"{name} ended {ends} with {len(results)} results"
        if not request.by_message and not any(request_id in shelf for shelf in shelves):
            continue
        if request.fate == "ignored" and ends:
            yield f"{name} was not for us and ended {ends}"
        elif request.fate == "refused" and not _rightly_refused(world, request_id, ends):
            yield f"{name} was to be refused and ended {ends}"
        elif not ends and _must_end(world, request_id, request.fate):
            yield f"{name} never ended"
        allowed = LONGEST_JOB_SECONDS + SLACK_SECONDS + world.facts.outage_seconds
        if ends and request.ended_at - request.asked_at > allowed:
            yield f"{name} took {request.ended_at - request.asked_at:.0f} s, {allowed:.0f} s are allowed"


def _rightly_refused(world: World, request_id: str, ends: list[str]) -> bool:
    return ends == ["error"] or world.bot_clock.ahead != 0 or (not ends and _cancelled_unbegun(world, request_id))


def _cancelled_unbegun(world: World, request_id: str) -> bool:
    return bool(world.auditor.rows("SELECT 1 FROM plans WHERE id = ?", f"job/{request_id}/cancel"))


def _must_end(world: World, request_id: str, fate: str) -> bool:
    if world.facts.clock_was_ahead and not world.auditor.rows("SELECT 1 FROM inbox WHERE id = ?", request_id):
        return False  # to a bot that lives in the future it was too old to be read
    if fate == "open":  # nobody is told of a refusal
        return bool(world.auditor.rows("SELECT 1 FROM jobs WHERE id = ?", request_id))
    return fate == "usual" and not _cancelled_unbegun(world, request_id)


def _answers(world: World) -> Iterator[str]:
    """Every command is answered once."""
    for rumor, (name, text) in world.facts.commands.items():
        if len(world.auditor.answers[rumor]) != 1:
            yield f"{name}'s command has {len(world.auditor.answers[rumor])} answers: {text}"


def _messages(world: World) -> Iterator[str]:
    """What was asked for by message ends by one."""
    for rumor, (name, agent, _) in world.facts.by_message.items():
        taken = "is asked: job" in "".join(world.auditor.answers[rumor])
        if taken != (rumor in world.auditor.ended_by_message):
            yield f"{name} asked {agent} by message, was {'' if taken else 'not '}taken, and that never ended"


def _sent(world: World) -> Iterator[str]:
    """What the book calls sent is on every relay."""
    for event_id, kind in world.auditor.rows("SELECT id, event FROM outbox WHERE state = 'sent'"):
        for shelf in (world.own, world.far):
            if event_id not in shelf.events:
                yield f"{event_id[:6]} is called sent, and {shelf.name} does not have it: {kind[:60]}"


def _hashes(world: World) -> Iterator[str]:
    """Both books agree on every payment, and on the sum of all; on the node's coins, too."""
    if world.coins.holds() != world.coins.booked():
        yield f"the node has {world.coins.holds()} msat in coins, the book says {world.coins.booked()} msat"
    sql = "SELECT DISTINCT payment_hash FROM moves WHERE node = ? AND payment_hash IS NOT NULL AND tag <> 'routed'"
    moved = sum(world.auditor.moved(row["payment_hash"]) for row in world.network._store.rows(sql, (SERVICE_NODE,)))
    booked = -_balance(world, NODE_LIGHTNING)
    if moved != booked:
        yield f"the node has taken in {moved} msat more than it gave, the book says {booked} msat"


def _payouts(world: World) -> Iterator[str]:
    """No payout was paid by two payments."""
    paid: dict[str, set[str]] = {}
    for row in world.network._store.rows(_SENT, (WALLETS_NODE, SERVICE_NODE)):
        paid.setdefault(row["payout"], set()).add(row["payment_hash"])
    for payout, hashes in paid.items():
        if len(hashes) > 1:
            yield f"{payout[:20]} was paid {len(hashes)} times"
    for pubkey, msat in world.auditor.rows(_NOT_PAID_OUT):  # who earns, says where, and had no trouble
        if name_of(pubkey) not in CUSTOMERS:
            yield f"{name_of(pubkey)} has {msat} msat, which were to be paid out"


def _apps(world: World) -> Iterator[str]:
    """What an app asked for is answered once if it was taken, and never more is paid than its budget."""
    spent: Counter[str] = Counter()
    for row in world.network._store.rows(_SENT, (WALLETS_NODE, SERVICE_NODE)):
        asking = world.facts.app_payments.get(str(row["payout"]).split("/")[1])
        if asking is not None:
            spent[asking.app.key.pubkey] += row["sent_msat"]
    for app, msat in spent.items():
        if msat > BUDGET_SAT * 1_000 and not world.facts.clock_was_ahead:
            yield f"app {app[:6]} has spent {msat} msat of a budget of {BUDGET_SAT} sat"
    for request_id in world.facts.app_payments:
        taken = world.auditor.rows(_ENDED_FOR_APP, request_id, request_id)
        if taken and world.auditor.app_answers[request_id] != 1:
            yield f"app's request {request_id[:6]} has {world.auditor.app_answers[request_id]} answers"


def _closed(world: World) -> Iterator[str]:
    """Nothing left from anybody while their withdrawals were closed."""
    since: dict[str, int] = {}
    for number, plan in world.auditor.rows(_SWITCHES):
        pubkey = plan.split("/")[1]
        begun = since.pop(pubkey, None)
        if begun is None:
            since[pubkey] = number
            continue
        left = world.auditor.rows(_LEFT_BETWEEN, begun, number, pubkey, begun, number, f"user/{pubkey}/sats")
        if left:
            yield f"{left[0][0][:80]}: {name_of(pubkey)}'s withdrawals were closed"


def _cards(world: World) -> Iterator[str]:
    """The card company holds what was paid and not taken back; what is somebody's in sats is never taken."""
    for payment_id, payment in world.facts.cards.items():
        held = world.auditor.rows(_HELD_BY_CARD, f"card/{payment_id}/%")[0][0]
        if held != payment.msat - payment.taken_msat:
            yield f"{payment.name}'s {payment_id}: {held} msat, of {payment.msat} msat {payment.taken_msat} were taken"
    for account, given, repaid in world.auditor.rows(_SATS_BACK):
        if given > repaid:
            yield f"{account[:12]} was given {given} msat in sats by disputes and had paid {repaid} msat"
    for plan, account in world.auditor.rows(_TAKEN_SATS):
        yield f"{plan} has taken from {account[:12]}"


def _taken_back(world: World) -> Counter[str]:
    """Return who has more or less by disputes: whose card money it was is for the book to know."""
    due: Counter[str] = Counter()
    for debit, credit, msat in world.auditor.rows(_DISPUTES):
        for account, sign in ((debit, -1), (credit, 1)):
            if account.startswith("user/"):
                due[name_of(account.split("/")[1])] += sign * msat
    return due


def _money(world: World) -> Iterator[str]:
    """Everybody has what they paid in and earned, less what they were charged and sent."""
    due = _paid_in(world)
    due.update(_taken_back(world))
    due.subtract(world.coins.spent())
    for request_id, content in world.auditor.delivered():
        request = world.facts.requests[request_id]
        worker, _, child, _ = content.split()
        yield from _rightly_delivered(world, request_id, worker, child)
        delivered = world.auditor.delivery(request_id, content)
        is_refunded = request_id in world.facts.refunded
        # what referrers had for a job that is paid back is taken back, or owed
        charge, shares = dues(delivered, {} if is_refunded else world.facts.referrers)
        due[request.payer] -= charge
        if is_refunded:
            due.update({request.payer: charge, PLATFORM: -charge})
        due.update(shares)
    for row in world.network._store.rows(_SENT, (WALLETS_NODE, SERVICE_NODE)):
        wallet, (owner, meant) = str(row["label"]).split("/")[1], _whose(world, str(row["payout"]))
        if wallet != meant:
            yield f"{row['payout'][:20]} of {owner} went to {wallet}"
        due[owner] -= row["sent_msat"]
    for name in NAMES:
        pubkey = key_of(name).pubkey
        held = world.auditor.rows(_HELD, pubkey)[0][0]
        has = _sum(world, f"user/{pubkey}/%") + held
        if has != due[name]:
            yield f"{name} has {has} msat and should have {due[name]} msat"
    company_has = (ACME, f"org/{ACME}/%")
    for name, accounts in ((PLATFORM, "platform/revenue/%"), ("the operator", CAPITAL), company_has):
        if _sum(world, accounts) != due[name]:
            yield f"{name} has {_sum(world, accounts)} msat and should have {due[name]} msat"


def _whose(world: World, label: str) -> tuple[str, str]:
    """Return whose money a payment is, and to whose wallet it was meant to go."""
    _, cause, *_ = label.split("/")
    if cause in world.facts.app_payments:
        asking = world.facts.app_payments[cause]
        return asking.app.owner, asking.to
    if cause in world.facts.commands:  # a withdrawal: the command is its cause
        return world.facts.commands[cause][0], world.facts.withdrawn_to[cause]
    return name_of(cause), name_of(cause)


def _paid_in(world: World) -> Counter[str]:
    """Return what arrived at the node or was paid inside the book, by whose it is."""
    due: Counter[str] = Counter(world.facts.given)
    for payer, _, msat in _inside(world):
        due[payer] -= msat
    for label, msat, bolt11 in _received(world):
        purpose, _, cause = label.partition("/")
        if purpose == "gift":
            due.update(world.facts.gifts[bolt11].shares(msat))
            continue
        if purpose == "job":
            owner = world.facts.requests[cause].customer
        else:
            asked_by, text = world.facts.commands[cause] if purpose == "topup" else ("the operator", "")
            owner = ACME if text.startswith("org topup") else asked_by
        due[owner] += msat
    return due


def _received(world: World) -> Iterator[tuple[str, int, str]]:
    """Yield label, sum and text of each invoice of ours that was paid, once for each way in which it was."""
    for row in world.network._store.rows(_RECEIVED, (SERVICE_NODE,)):
        yield row["label"], row["received_msat"], row["bolt11"]
    for _, bolt11, msat in _inside(world):
        label = world.auditor.rows("SELECT id FROM invoices WHERE bolt11 = ?", bolt11)[0][
            0
        ]  # the node has forgotten it
        yield label, msat, bolt11


def _inside(world: World) -> Iterator[tuple[str, str, int]]:
    """Yield payer, invoice and sum of what was paid inside the book, as its payers were told."""
    for rumor, paid in world.facts.paid_inside.items():
        if "nothing had to leave" in "".join(world.auditor.answers[rumor]):
            yield paid


def _rightly_delivered(world: World, request_id: str, worker: str, child: str) -> Iterator[str]:
    """Only the node that held the current assignment, within its lease, is paid."""
    rows = world.auditor.rows("SELECT worker, assignment FROM jobs WHERE id = ?", request_id)
    if not rows or rows[0] != (key_of(worker).pubkey, child):
        yield f"job {request_id[:6]} paid {worker} for {child[:6]}, which was not the assignment"
    holder, until = world.facts.leases[child]
    if holder != key_of(worker).pubkey:
        yield f"job {request_id[:6]} paid {worker}, but {child[:6]} was given to somebody else"
    delivered = START + min(world.facts.heard_at[one] for one in world.auditor.deliveries[child])
    if delivered > until + 1 and world.bot_clock.ahead == 0:
        yield f"job {request_id[:6]} paid {worker} {delivered - until:.0f} s after the lease"


def _receipts(world: World) -> Iterator[str]:
    """Every zap that was paid has one receipt."""
    for bolt11 in sorted({bolt11 for _, _, bolt11 in _received(world)}):
        gift, receipts = world.facts.gifts.get(bolt11), world.auditor.receipts[bolt11]
        if gift is not None and receipts != gift.zap:
            yield f"a gift to {gift.to} has {receipts} receipts"


def _sum(world: World, accounts: str) -> int:
    sql = "SELECT COALESCE(SUM(balance_msat), 0) FROM accounts WHERE id LIKE ?"
    return int(world.auditor.rows(sql, accounts)[0][0])


def _balance(world: World, account: str) -> int:
    rows = world.auditor.rows("SELECT balance_msat FROM accounts WHERE id = ?", account)
    return int(rows[0][0]) if rows else 0
