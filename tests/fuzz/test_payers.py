"""Random talk to those who take money: LNURL queries, zap requests, wallet-connect payloads, command lines.

Nothing but a refusal is raised, whoever has no money moves none, and every answer can be read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import commands, pay_requests, wallet_connect
from handlers.bot import Bot
from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.errors import Rejected
from relaybot.nostr import encryption, nip17, nip19, nip47, nip57, nip59
from relaybot.nostr.encryption import NIP04, NIP44, Encryption
from relaybot.nostr.event import encode_event, parse_event
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import SimulatedNetwork
from tests.book.stores import SqliteStore
from tests.fuzz.conftest import fuzzed, fuzzed_slowly
from tests.fuzz.talk import hexes, values, words
from tests.payouts.desk import NOW
from tests.settlements.conftest import AGENT, ALICE, BOB, Street, Till
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Insert, Plan

NOSTR_TAGS = ("p", "e", "a", "k", "P", "amount", "relays", "anon", "lnurl", "expiration")
METHODS = (*nip47.METHODS, "pay_keysend", "get_budget", "", "ü")
PARAMS = ("invoice", "amount", "payment_hash", "description", "description_hash", "expiry", "from", "until", "limit")
SAID = (
    *commands.COMMANDS,
    *("confirm", "all", "keep", "threshold", "lightning", "onchain", "autodev", "on", "off", "for", "days", "only"),
    *("read,pay", "1000/day", "0", "1", "12000", "-1"),
    *("9" * 40, "1e3", "alice@wallets.test", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "lno1pg", ALICE.pubkey),
    nip19.encode_npub(ALICE.pubkey),
)

numbers = st.sampled_from([0, 1, 999, 1_000, 21_000, 2**53, 2**63, -1]) | st.integers()
digits = st.sampled_from(["", "0", "1000", "21000", "-1", "1e3", "9" * 30, "٣"]) | st.text(max_size=6)
tag_values = hexes | digits | words | st.sampled_from(["wss://relay.test", "30023:" + ALICE.pubkey + ":x", "9734"])


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    """One bot on one book beside one node, for all examples of a test: Bob has a connected app, and no money."""
    with TemporaryDirectory(prefix="fz-") as name:
        directory, clock = Path(name), SetClock(NOW)
        network = SimulatedNetwork(directory, clock=clock)
        await network.start()
        written = {
            "agents": {"autodev": AGENT},
            "web": {"domain": "bots.test"},
            "dm": {"stranger_answers_per_day": 999},
        }
        config = parse_config(written, config_dir=directory)
        try:
            async with Street(SqliteStore(directory / "book.sqlite3"), network, clock, config).till() as till:
                yield till
        finally:
            await network.close()


def a_day_later(till: Till) -> Bot:
    """Let a day pass, so that no limit of one example is left for the next, and return the bot."""
    clock = till.bot.clock
    assert isinstance(clock, SetClock)
    clock.advance(86_400)
    return till.bot


async def moved_nothing(till: Till) -> bool:
    return await till.book.database.fetch("SELECT id FROM transfers") == []


@st.composite
def zap_requests(draw: st.DrawFn) -> Callable[[str], str]:
    """Return what makes the text of a zap request to a pubkey: right, or with something else in it."""
    more = draw(st.lists(st.tuples(st.sampled_from(NOSTR_TAGS), tag_values), max_size=3))
    kind, content = draw(st.sampled_from([9734, 9734, 9734, 9735])), draw(words)
    spoilt = draw(st.sampled_from(["", "", "", "cut", "spaced", "escaped", "resigned"]))

    def text(recipient: str) -> str:
        tags = [["p", recipient], ["relays", "wss://relay.test"], *map(list, more)]
        said = encode_event(BOB.sign(kind=kind, content=content, tags=tags, created_at=NOW))
        match spoilt:
            case "cut":
                return said[:-5]
            case "spaced":
                return json.dumps(json.loads(said), indent=1)
            case "escaped":
                return said.replace("relays", "\\u0072elays")
            case "resigned":
                return said.replace(BOB.pubkey, ALICE.pubkey)
            case _:
                return said

    return text


@fuzzed
@given(zap_requests(), st.none() | st.integers(1, 10**6))
def test_zap_requests_are_kept_as_they_came_or_refused(made: Callable[[str], str], amount: int | None) -> None:
    text = made(ALICE.pubkey)
    try:
        request = nip57.parse_zap_request(text, amount_msat=amount, zapper=ALICE.pubkey)
    except Rejected:
        return
    assert (request.text, request.recipient, request.sender) == (text, ALICE.pubkey, BOB.pubkey)
    assert request.description_hash == hashlib.sha256(text.encode()).hexdigest()


queries = st.tuples(
    st.sampled_from(["service", "_", "autodev", "nobody", "npub1", "", "..", nip19.encode_npub(ALICE.pubkey)]) | words,
    digits,
    zap_requests() | st.just(None) | st.text(max_size=5),
    words,
)


@fuzzed_slowly
@given(st.lists(queries, min_size=5, max_size=20))
async def test_queries_of_wallets_get_an_invoice_over_what_they_asked_or_a_reason(till: Till, asked: list[Any]) -> None:
    bot = a_day_later(till)
    recipients = {"service": bot.service.pubkey, "_": bot.service.pubkey, "autodev": next(iter(bot.agents))}
    for name, amount, made, comment in asked:
        nostr = made(recipients.get(name, ALICE.pubkey)) if callable(made) else made or ""
        try:
            await pay_requests.nostr_names(bot, name)
            described = await pay_requests.describe(bot, name)
            query = pay_requests.Asked(amount=amount, nostr=nostr, comment=comment)
            answer = await pay_requests.request(bot, name, query)
        except Rejected:
            continue
        invoice, committed = parse_bolt11(answer["pr"]), nostr or described["metadata"]
        assert invoice.amount_msat == int(amount)
        assert invoice.description_hash == hashlib.sha256(committed.encode()).hexdigest()
        assert not (await pay_requests.state_of(bot, invoice.payment_hash))["settled"]
    assert await moved_nothing(till)


payloads = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS) | values},
    optional={
        "params": st.dictionaries(st.sampled_from(PARAMS), numbers | hexes | words | values, max_size=4) | values
    },
)
wallet_requests = st.tuples(
    payloads | values, st.sampled_from([NIP44, NIP04]), st.sampled_from([None, "nip44_v2", "nip04", "x"]), st.booleans()
)


@fuzzed_slowly
@given(st.lists(wallet_requests, min_size=5, max_size=20))
async def test_apps_are_answered_in_the_words_of_nip47_and_move_nothing(till: Till, asked: list[Any]) -> None:
    bot, app = a_day_later(till), KeyPair(b"\x07" * 32)
    now = bot.clock.now()
    await till.book.apply(Plan("test/connected", changes=(_connected(bot, app),)))
    bolt11s = [till.network.people.invoice("alice", 5_000), await till.top_up(5, number=now)]
    for number, (body, scheme, named, with_invoice) in enumerate(asked):
        if with_invoice and isinstance(body, dict) and isinstance(body.get("params"), dict):
            body["params"]["invoice"] = bolt11s[number % 2]
        service = bot.wallet_key(app.pubkey).pubkey
        how = Encryption(scheme, secrets.token_bytes(32))
        content = encryption.encrypt(json.dumps(body), app, service, how)
        tags = [["p", service], ["n", str(number)], *([["encryption", named]] if named is not None else [])]
        event = app.sign(kind=nip47.REQUEST_KIND, content=content, tags=tags, created_at=now)
        try:
            decision = await wallet_connect.on_request(bot, event)
        except Rejected:  # it cannot be decrypted in the scheme that it names: there is nobody to answer
            assert named is not None
            continue
        assert isinstance(decision, Plan), decision
        assert (await till.book.apply(decision)).done
        response = parse_event(_owed(decision)[0])
        said = json.loads(encryption.decrypt(response.content, app, service, _scheme(named, scheme)))
        assert (said["error"] is None) != (said["result"] is None)
        assert said["error"] is None or said["error"]["code"] in nip47.Code.__members__
    assert await moved_nothing(till)


def _connected(bot: Bot, app: KeyPair) -> Insert:
    values_: dict[str, Any] = {"owner": BOB.pubkey, "name": "app", "service": bot.wallet_key(app.pubkey).pubkey}
    values_ |= {"budget_msat": None, "period": 86_400, "spent_msat": 0, "spent_since": NOW, "expires_at": None}
    return Insert("connections", app.pubkey, {**values_, "methods": "", "state": "open", "created_at": NOW})


def _scheme(named: str | None, used: encryption.Scheme) -> encryption.Scheme:
    """Return the scheme of the answer: that of the request, or NIP-44 where it names one that nobody knows."""
    return used if named is None else nip47.ENCRYPTIONS.get(named, NIP44)


def _owed(plan: Plan) -> list[str]:
    return [str(one.values["event"]) for one in plan.changes if isinstance(one, Insert) and one.table == "outbox"]


lines = st.lists(st.sampled_from(SAID) | words, min_size=1, max_size=5).map(" ".join) | st.text(max_size=20)


@fuzzed_slowly
@given(st.lists(lines, min_size=5, max_size=20))
async def test_every_line_is_answered_in_words_and_costs_nobody_anything(till: Till, said: list[str]) -> None:
    bot = a_day_later(till)
    now = bot.clock.now()
    for number, line in enumerate(said):
        rumor = nip17.build_message(BOB.pubkey, [bot.service.pubkey], line, now=now + number)
        nonces = (secrets.token_bytes(32), secrets.token_bytes(32))
        wrap = nip59.wrap(
            rumor,
            BOB,
            bot.service.pubkey,
            ephemeral=KeyPair(secrets.token_bytes(32)),
            nonces=nonces,
            seal_created_at=now,
            wrap_created_at=now,
        )
        decision = await commands.on_wrap(bot, wrap)
        if not line.split():
            assert decision == "an empty message"
            continue
        assert isinstance(decision, Plan), decision
        assert (await till.book.apply(decision)).done
        answer = next(one for one in map(parse_event, _owed(decision)) if one.tag("p") == BOB.pubkey)
        assert nip17.parse_message(nip59.unwrap(answer, BOB)).text
    assert await moved_nothing(till)
