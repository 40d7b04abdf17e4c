"""Every example event of docs/protocol.md is real: signed, read by our own parsers, and as the page says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from relaybot.keyring import Keyring
from relaybot.nostr import flow_of_funds, nip17, nip40, nip44, nip59, nip89, nip90
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.liabilities import parse_liabilities
from relaybot.nostr.listings import deleted_listings, parse_listing
from relaybot.nostr.messages import ClientEvent, build_event_frame, parse_client_message
from relaybot.nostr.pay_slips import parse_pay_slip
from splits.market import read_listing
from splits.schema import schema_of
from tests.documents.blocks import ROOT, printed_blocks
from tests.documents.cast import MASTER, key_of
from tests.documents.printed import told
from tests.splits.schema_reader import faults
from wallet.bolt11_invoice import parse_bolt11
from wallet.destinations import parse_lightning_address

BLOCKS = dict(printed_blocks((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")))
EXAMPLES = {name.removeprefix("event/"): text for name, text in BLOCKS.items() if name.startswith("event/")}
EVENTS = {name: event_from(json.loads(text)) for name, text in EXAMPLES.items()}
SERVICE, AUTODEV = Keyring(MASTER).key("service"), Keyring(MASTER).key("agent/autodev")
ALICE, BOB, CAROL, FRANK = (key_of(name) for name in ("alice", "bob", "carol", "frank"))
PRICE = 12_000_000

Check = Callable[[Event], None]


def job_request(event: Event) -> None:
    request = nip90.parse_job_request(event, AUTODEV)
    assert (request.customer, request.providers) == (BOB.pubkey, (AUTODEV.pubkey,))
    assert request.inputs[0].type == "text"


def assignment(event: Event) -> None:
    request = nip90.parse_job_request(event, CAROL)
    assert (request.customer, request.encrypted, request.bid_msat) == (SERVICE.pubkey, "nip44", 1_000_000)
    asked = nip90.parse_job_request(EVENTS["job-request"], None)
    assert (request.inputs, request.params) == (asked.inputs, asked.params)
    assert nip40.parse_expiration(event) == event.created_at + 600


def feedback(status: nip90.Status, reader: KeyPair = BOB, provider: KeyPair = AUTODEV) -> Check:
    def check(event: Event) -> None:
        said = nip90.parse_feedback(event, reader)
        assert (said.status, said.provider, said.customer) == (status, provider.pubkey, reader.pubkey)
        if status == "payment-required":
            invoice = parse_bolt11(said.bolt11 or "")
            assert (said.amount_msat, invoice.amount_msat) == (PRICE, PRICE)

    return check


def result(reader: KeyPair, provider: KeyPair, request: str) -> Check:
    def check(event: Event) -> None:
        read = nip90.parse_result(event, reader)
        assert (read.provider, read.request_id, read.amount_msat) == (provider.pubkey, EVENTS[request].id, None)
        assert read.content.startswith("Resolved: ")

    return check


def deletion(author: KeyPair) -> Check:
    def check(event: Event) -> None:
        assert event.pubkey == author.pubkey
        assert event.tag("k") == "5050"

    return check


def private(event: Event) -> None:
    message = nip17.parse_message(nip59.unwrap(event, SERVICE))
    assert (message.sender, message.text) == (BOB.pubkey, "topup 24000")


def listing(what: str, name: str) -> Check:
    def check(event: Event) -> None:
        read, schema = parse_listing(event), schema_of(what)
        assert (read.author, read.what, read.name) == (ALICE.pubkey, what, name)
        assert read_listing(what, read.content, read.author).owner == ALICE.pubkey
        assert list(faults(json.loads(read.content), schema, schema)) == []
        assert json.loads(BLOCKS[f"market/{what}"]) == json.loads(read.content)

    return check


def listing_withdrawn(event: Event) -> None:
    assert deleted_listings(event) == ([("agent", "summaries")], [])


def worker_announcement(event: Event) -> None:
    announced = nip89.parse_worker_announcement(event)
    assert (announced.service, announced.kinds) == (SERVICE.pubkey, frozenset({5050}))


def heartbeat(event: Event) -> None:
    beat = nip89.parse_heartbeat(event)
    assert (beat.service, beat.status) == (SERVICE.pubkey, "idle")


def payslip(event: Event) -> None:
    slip = parse_pay_slip(event, CAROL)
    inside = dict(json.loads(BLOCKS["inside/payslip"]))
    assert inside == {"earned": str(slip.earned_msat), "jobs": str(slip.jobs)}
    assert slip.jobs == 3


def agent_announcement(event: Event) -> None:
    announced = nip89.parse_announcement(event)
    assert (announced.pubkey, announced.identifier, announced.price_msat) == (AUTODEV.pubkey, "autodev", PRICE)


def payto(event: Event) -> None:
    [(_, rail, address)] = event.tags_named("payto")
    assert (rail, str(parse_lightning_address(address))) == ("lightning", address)


def profile(event: Event) -> None:
    assert str(parse_lightning_address(json.loads(event.content)["lud16"])) == "dave@wallets.test"


def about_us(event: Event) -> None:
    assert json.loads(event.content)["bot"] is True


def relays(name: str) -> Check:
    def check(event: Event) -> None:
        assert event.pubkey == SERVICE.pubkey
        assert (event.tag(name) or "").startswith("wss://")

    return check


def summary(event: Event) -> None:
    read = flow_of_funds.parse_summary(event)
    assert (read.day, read.demo, read.figures["jobs", "count"]) == ("2026-11-22", True, 3)


def liabilities(event: Event) -> None:
    read = parse_liabilities(event)
    assert (read.epoch, read.demo, read.previous) == (1, True, None)
    assert 0 < read.root.total <= sum(read.reserves.values())


CHECKS: dict[str, Check] = {
    "job-request": job_request,
    "job-request-encrypted": job_request,
    "payment-required": feedback("payment-required"),
    "payment-required-encrypted": feedback("payment-required", FRANK),
    "processing": feedback("processing"),
    "success": feedback("success"),
    "error": feedback("error"),
    "result": result(BOB, AUTODEV, "job-request"),
    "result-encrypted": result(BOB, AUTODEV, "job-request-encrypted"),
    "cancel": deletion(BOB),
    "assignment-withdrawn": deletion(SERVICE),
    "assignment": assignment,
    "claim": feedback("processing", SERVICE, CAROL),
    "worker-result": result(SERVICE, CAROL, "assignment"),
    "worker-announcement": worker_announcement,
    "heartbeat": heartbeat,
    "payslip": payslip,
    "payto": payto,
    "profile": profile,
    "private-message": private,
    "service-profile": about_us,
    "agent-announcement": agent_announcement,
    "relay-list": relays("r"),
    "dm-relays": relays("relay"),
    "summary": summary,
    "liabilities": liabilities,
    "listing-skill": listing("skill", "summarise"),
    "listing-agent": listing("agent", "summaries"),
    "listing-withdrawn": listing_withdrawn,
}


def test_every_example_has_a_check_and_no_other_is_checked() -> None:
    assert sorted(EXAMPLES) == sorted(CHECKS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_an_event_any_relay_takes(name: str) -> None:
    event = EVENTS[name]
    assert verify(event)
    read = parse_client_message(build_event_frame(event))
    assert isinstance(read, ClientEvent)
    assert read.event == event
    assert json.loads(EXAMPLES[name]) == json.loads(encode_event(event))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_the_page_claims(name: str) -> None:
    CHECKS[name](EVENTS[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_the_event_the_handlers_make(name: str) -> None:
    assert EVENTS[name] == told().events[name]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("job-request-encrypted", AUTODEV),
        ("payment-required-encrypted", FRANK),
        ("assignment", CAROL),
    ],
)
def test_what_stands_inside_an_encrypted_example_is_shown(name: str, reader: KeyPair) -> None:
    event = EVENTS[name]
    inside = nip44.decrypt(event.content, nip44.conversation_key(reader, event.pubkey))
    assert json.loads(BLOCKS[f"inside/{name}"]) == json.loads(inside)


def test_an_encrypted_example_shows_nothing_of_it() -> None:
    for name in ("payment-required-encrypted", "result-encrypted", "job-request-encrypted", "assignment", "claim"):
        shown = encode_event(EVENTS[name])
        assert not [word for word in ("Fix issue", "lnbcrt", "Resolved", "12,000") if word in shown], name


def test_the_private_answer_that_is_shown_answers_the_message_that_is_shown() -> None:
    rumor = nip59.unwrap(EVENTS["private-message"], SERVICE)
    asked, answer = json.loads(BLOCKS["inside/private-message"]), json.loads(BLOCKS["inside/private-answer"])
    assert (asked["id"], asked["content"]) == (rumor.id, rumor.content)
    assert ["e", rumor.id] in answer["tags"]
    assert parse_bolt11(answer["content"].split()[-1]).amount_msat == 24_000_000
