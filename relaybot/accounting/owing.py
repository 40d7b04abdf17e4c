"""From the book to the published liabilities: who is owed what is read here, the tree is `nostr/liabilities.py`.

Published once a week at most, and only when at least k accounts have a balance and at least k balances
differ from the last time, none of them mostly one person's: so no total, and no difference of two, is
somebody's. The leaves are kept beside the event; from them everybody gets the path of their own.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache

import structlog

from relaybot.accounting.closing import Rules
from relaybot.db.database import Reader, Row
from relaybot.nostr.flow_of_funds import WHOLE_PERCENT
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.liabilities import (
    CLASSES,
    Leaf,
    Node,
    Proof,
    Published,
    build_liabilities,
    leaf_node,
    path_of,
    tree,
)
from relaybot.outbox import owed
from wallet.accounts import CARD_RECEIVABLE, NODE_LIGHTNING, NODE_ONCHAIN
from wallet.book import Book
from wallet.ledger import Insert, Plan, Values

log = structlog.get_logger()

EPOCH_SECONDS = 7 * 86_400
LEAVES_MIN = 16  # with padding: how many people there are is not told exactly
NONCE_BYTES = 32
OURS = ""  # whose leaf the rounding and the padding are

Owed = Mapping[str, tuple[int, ...]]  # msat in the order of CLASSES, by whose it is
Chance = Callable[[int], bytes]

_ACCOUNTS = (
    "SELECT id, balance_msat FROM accounts WHERE balance_msat > 0"
    " AND (id LIKE 'user/%' OR id LIKE 'org/%' OR id LIKE 'hold/%')"
)
_LAST = "SELECT * FROM liabilities ORDER BY epoch DESC LIMIT 1"


async def publish_liabilities(book: Book, keypair: KeyPair, rules: Rules, chance: Chance, *, now: int) -> bool:
    """Publish what is owed, if that is due and shows nobody's balance; tell whether it was published now."""
    last = await last_published(book)
    if last is not None and now < last["created_at"] + EPOCH_SECONDS:
        return False
    async with book.database.snapshot() as reader:
        found, reserves = await read_owed(reader), await _reserves(reader, rules.round_msat)
    before = _owed_then(last)
    changed = {who: sum(found.get(who, ())) - sum(before.get(who, ())) for who in {*found, *before}}
    people = {who: sum(sums) for who, sums in found.items() if who != OURS}
    moved = {who: abs(difference) for who, difference in changed.items() if difference and who != OURS}
    if not _stands(people, rules) or not _stands(moved, rules):
        return False
    epoch = last["epoch"] + 1 if last is not None else 1
    leaves = _leaves(epoch, found, rules.round_msat, chance)
    (root,) = tree([leaf_node(epoch, leaf) for leaf in leaves])[-1]
    said = Published("", epoch, root, reserves, rules.k, last["event"] if last is not None else None, rules.demo)
    event = build_liabilities(keypair, said, now)
    kept = json.dumps([[leaf.who, leaf.nonce, leaf.sums] for leaf in leaves], separators=(",", ":"))
    row: Values = {"epoch": epoch, "event": event.id, "leaves": kept, "created_at": now}
    changes = (Insert("liabilities", str(epoch), row), owed(event, now))
    answer = await book.apply(Plan(f"liabilities/{epoch}", changes=changes))
    log.info("liabilities_published", epoch=epoch, event_id=event.id, answer=answer.verdict.value)
    return answer.done


async def last_published(book: Book) -> Row | None:
    """Return the newest row of `liabilities`, or None."""
    rows = await book.database.fetch(_LAST)
    return rows[0] if rows else None


def proof_of(published: Row, who: str) -> Proof | None:
    """Return the proof that what is owed to `who` is in what was published; None if nothing was owed to them then."""
    leaves, levels = _tree_of(published["epoch"], published["leaves"])
    place = next((place for place, leaf in enumerate(leaves) if leaf.who == who), None)
    if place is None:
        return None
    return Proof(published["event"], published["epoch"], leaves[place], path_of(levels, place))


@lru_cache(maxsize=1)
def _tree_of(epoch: int, kept: str) -> tuple[list[Leaf], list[list[Node]]]:
    leaves = [Leaf(who, nonce, tuple(sums)) for who, nonce, sums in json.loads(kept)]
    return leaves, tree([leaf_node(epoch, leaf) for leaf in leaves])


async def read_owed(reader: Reader) -> Owed:
    """Return what is owed to everybody: balances, what matures, and what is held for work under way."""
    rows = await reader.fetch(_ACCOUNTS)
    holds = {row["id"]: _work_of(row["id"]) for row in rows if row["id"].startswith("hold/")}
    jobs = await reader.rows_by_id("jobs", {work for what, work in holds.values() if what == "job"})
    payouts = await reader.rows_by_id("payouts", {work for what, work in holds.values() if what == "payout"})
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        owner, _, cls = row["id"].rpartition("/")
        if owner.startswith("hold/"):
            who, cls = _held_for(*holds[row["id"]], jobs, payouts), "held"
        else:
            who = owner.removeprefix("user/")
        found[who][cls] += row["balance_msat"]
    return {who: tuple(sums[cls] for cls in CLASSES) for who, sums in found.items()}


def _work_of(account: str) -> tuple[str, str]:
    """Return what an escrow is for, and its id: `hold/payout/<id>/sats`."""
    what, _, rest = account.removeprefix("hold/").partition("/")
    return what, rest.rpartition("/")[0]


def _held_for(what: str, work: str, jobs: Mapping[str, Row], payouts: Mapping[str, Row]) -> str:
    if what == "job" and work in jobs:
        job = jobs[work]
        return f"org/{job['company']}" if job["company"] else str(job["customer"])
    return str(payouts[work]["pubkey"]) if what == "payout" and work in payouts else OURS


async def _reserves(reader: Reader, unit: int) -> dict[str, int]:
    """Return what the outside holds for us, in whole units: such accounts are below zero by so much."""
    accounts = {"lightning": NODE_LIGHTNING, "onchain": NODE_ONCHAIN, "card": CARD_RECEIVABLE}
    rows = await reader.rows_by_id("accounts", accounts.values())
    held = {
        name: max(0, -rows[account]["balance_msat"]) if account in rows else 0 for name, account in accounts.items()
    }
    return {name: msat - msat % unit for name, msat in held.items()}


def _leaves(epoch: int, found: Owed, unit: int, chance: Chance) -> list[Leaf]:
    """Return all leaves, with ours, which rounds the total up, and padding, in an order that tells nothing."""
    ours = Counter(dict(zip(CLASSES, found.get(OURS, (0,) * len(CLASSES)), strict=True)))
    ours["sats"] += -sum(map(sum, found.values())) % unit
    owners = [(who, sums) for who, sums in found.items() if who != OURS]
    owners.append((OURS, tuple(ours[cls] for cls in CLASSES)))
    size = max(LEAVES_MIN, 1 << (len(owners) - 1).bit_length())
    owners += [(OURS, (0,) * len(CLASSES))] * (size - len(owners))
    leaves = [Leaf(who, chance(NONCE_BYTES).hex(), sums) for who, sums in owners]
    return sorted(leaves, key=lambda leaf: leaf_node(epoch, leaf).hash)


def _owed_then(last: Row | None) -> Owed:
    leaves = json.loads(last["leaves"]) if last is not None else []
    return {who: tuple(sums) for who, _, sums in leaves if who != OURS}


def _stands(amounts: Mapping[str, int], rules: Rules) -> bool:
    """Tell whether a total may rest on these accounts: at least k, none with more than its part."""
    most, total = max(amounts.values(), default=0), sum(amounts.values())
    return len(amounts) >= rules.k and most * WHOLE_PERCENT <= rules.dominance_percent * total
