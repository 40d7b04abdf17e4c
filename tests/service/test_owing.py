"""What is owed in all is published: everybody is in it, and nobody alone."""

from __future__ import annotations

from relaybot.accounting.closing import Rules
from relaybot.accounting.owing import EPOCH_SECONDS, last_published, proof_of, publish_liabilities
from relaybot.clock import SetClock
from relaybot.nostr.event import parse_event
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.liabilities import Published, check_proof, parse_liabilities
from tests.service.conftest import NOW
from wallet.accounts import NODE_LIGHTNING, Class, company, hold, maturing, of, user
from wallet.book import Book
from wallet.ledger import Insert, Plan, Transfer, Values
from wallet.money import Msat

BOOKS = KeyPair(b"\x03" * 32)
RULES = Rules(k=3, dominance_percent=80, round_msat=1_000)
PEOPLE = [f"{number:02x}" * 32 for number in (10, 11, 12, 13)]
JOB, PAYOUT, UNKNOWN = "e" * 64, f"{PEOPLE[1]}/1", "d" * 64


async def fed(book: Book, msat: int, *people: str) -> None:
    count = (await book.database.fetch("SELECT COUNT(*) AS n FROM plans"))[0]["n"]
    transfers = tuple(Transfer(NODE_LIGHTNING, user(who), Msat(msat), "topup") for who in people)
    assert (await book.apply(Plan(f"test/{count}", transfers))).done


async def publish(book: Book, now: int, rules: Rules = RULES) -> Published | None:
    """Publish if it is due, with nonces of zeros; return what was said."""
    if not await publish_liabilities(book, BOOKS, rules, bytes, now=now):
        return None
    last = await last_published(book)
    assert last is not None
    row = await book.row("outbox", last["event"])
    assert row is not None
    event = parse_event(row["event"])
    assert verify(event)
    assert event.pubkey == BOOKS.pubkey
    return parse_liabilities(event)


async def proved(book: Book, said: Published, who: str) -> dict[str, int] | None:
    last = await last_published(book)
    assert last is not None
    proof = proof_of(last, who)
    if proof is None:
        return None
    check_proof(proof, said)
    names = ("sats", "card", "promo", "maturing", "held")
    return {name: msat for name, msat in zip(names, proof.leaf.sums, strict=True) if msat}


async def test_everything_that_is_owed_is_in_it_and_everybody_can_see_that_theirs_is(book: Book) -> None:
    await fed(book, 1_500, *PEOPLE)
    job: Values = {
        **dict.fromkeys(("agent", "request", "reason", "split", "invoice", "assignment", "worker", "result"), ""),
        **dict.fromkeys(("price_msat", "charged_msat", "attempt", "created_at", "updated_at"), 0),
    }
    more = (
        Transfer(user(PEOPLE[0]), hold(f"job/{JOB}"), Msat(400), "hold"),
        Transfer(user(PEOPLE[1]), hold(f"payout/{PAYOUT}"), Msat(300), "hold"),
        Transfer(user(PEOPLE[3]), hold(f"job/{UNKNOWN}"), Msat(1), "hold"),
        Transfer(NODE_LIGHTNING, of(company("acme")), Msat(700), "topup"),
        Transfer(NODE_LIGHTNING, of(company("acme"), Class.PROMO), Msat(50), "bonus"),
        Transfer(NODE_LIGHTNING, user(PEOPLE[2], Class.CARD), Msat(20), "card"),
        Transfer(NODE_LIGHTNING, maturing(PEOPLE[2]), Msat(7), "matures"),
    )
    rows = (Insert("jobs", JOB, {**job, "state": "held", "customer": PEOPLE[0], "due_at": NOW}), a_payout())
    assert (await book.apply(Plan("test/more", more, rows))).done
    said = await publish(book, NOW)
    assert said is not None
    assert said.root.total == 7_000  # 6,777 msat, rounded up by a leaf of ours
    assert (said.reserves["lightning"], said.previous, said.epoch) == (6_000, None, 1)
    assert [await proved(book, said, who) for who in (*PEOPLE, "org/acme", "f" * 64)] == [
        {"sats": 1_100, "held": 400},
        {"sats": 1_200, "held": 300},
        {"sats": 1_500, "card": 20, "maturing": 7},
        {"sats": 1_499},
        {"sats": 700, "promo": 50},
        None,
    ]


def a_payout() -> Insert:
    values: Values = {
        **dict.fromkeys(("target", "attempt", "reason", "holder"), ""),
        **dict.fromkeys(("reserve_msat", "paid_msat", "fee_msat", "attempts", "created_at", "updated_at"), 0),
    }
    values = {**values, "pubkey": PEOPLE[1], "state": "open", "amount_msat": 300, "next_at": NOW}
    return Insert("payouts", PAYOUT, {**values, "kind": "payout", "rail": "lightning"})


async def test_j1_nothing_is_published_of_too_few_or_mostly_of_one(book: Book) -> None:
    await fed(book, 1_000, *PEOPLE[:2])
    assert await publish(book, NOW) is None
    await fed(book, 100_000, PEOPLE[2])
    assert await publish(book, NOW) is None  # three, but one has more than 80 percent
    await fed(book, 100_000, *PEOPLE[:2])
    assert await publish(book, NOW) is not None


async def test_j1_two_publications_differ_by_enough_people_and_name_each_other(book: Book, clock: SetClock) -> None:
    del clock
    await fed(book, 1_000, *PEOPLE)
    first = await publish(book, NOW)
    assert first is not None
    later = NOW + EPOCH_SECONDS
    await fed(book, 500, *PEOPLE[:2])
    assert await publish(book, later - 1) is None
    assert await publish(book, later) is None  # the difference would be two people's
    await fed(book, 500, PEOPLE[2])
    second = await publish(book, later)
    assert second is not None
    assert (second.epoch, second.previous, second.root.total) == (2, first.event_id, 6_000)
