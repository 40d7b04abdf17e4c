"""The text of each block that the documents print from the code, by the block's name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import msgspec

from handlers.commands import COMMANDS
from handlers.states import JOB, LISTING
from relaybot.db.database import Row
from relaybot.nostr.event import Event
from relaybot.nostr.nip19 import encode_npub
from relaybot.relay.nip11 import build_information
from relaybot.relay.settings import RelaySettings
from tests.documents.attacks import table
from tests.documents.cast import PEOPLE, Told, key_of, listings
from tests.documents.journals import PEOPLE as PEOPLE_IN_WORDS
from tests.documents.journals import play_all
from tests.documents.play import tell
from wallet.money import format_sat
from wallet.states import ATTEMPT, BATCH, COIN, DEPOSIT, OFFER, PAYOUT

_HEX = re.compile(r"[0-9a-f]{64}")


@cache
def told() -> Told:
    """Return the story, played once."""
    return tell()


@cache
def printed_texts() -> Mapping[str, str]:
    """Return every text there is to print, each ending with a line feed."""
    return MappingProxyType(dict(_texts()))


def _texts() -> Iterator[tuple[str, str]]:
    for life in (JOB, LISTING, PAYOUT, ATTEMPT, BATCH, COIN, DEPOSIT, OFFER):
        yield f"states/{life.name}", f"{life.picture()}\n"
    story = told()
    for name, event in story.events.items():
        yield f"event/{name}", _event(event)
    for name, text in story.inside.items():
        yield f"inside/{name}", _json(text)
    for name in story.journals:
        yield f"journal/{name}", _journal(story.journals[name], story.balances[name], story.names)
    for name, played in play_all().items():
        words = "".join(f"{line}\n" for line in played.lines)
        yield f"words/{name}", f"{words}\n{_journal(played.transfers, played.balances, PEOPLE_IN_WORDS)}"
    yield "people", _people(story)
    yield "attacks", "".join(f"{line}\n" for line in table())
    yield "market/show", story.market
    for name, written in listings(lambda one: encode_npub(key_of(one).pubkey)).items():
        yield f"market/{name.partition(':')[0]}", f"{json.dumps(written, indent=2)}\n"
    yield "commands", "".join(f"{command.usage}\n    {command.about}\n" for command in COMMANDS.values())
    settings = RelaySettings(name="relaybot", description="The relay of a payment bot")
    yield "nip11", f"{json.dumps(build_information(settings), indent=2)}\n"


def _event(event: Event) -> str:
    """Return the event as NIP-01 writes it, one tag a line."""
    fields = msgspec.to_builtins(event)
    lines = [f"  {json.dumps(name)}: {_value(value)}" for name, value in fields.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: object) -> str:
    if not isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False)
    tags = [f"    {json.dumps(tag, ensure_ascii=False)}" for tag in value]
    return "[\n" + ",\n".join(tags) + "\n  ]" if tags else "[]"


def _json(text: str) -> str:
    """Return what stands inside an encrypted event, one element a line; text that is no JSON as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return f"{text}\n"
    if isinstance(found, dict):
        return "{\n" + ",\n".join(f"  {json.dumps(name)}: {_value(value)}" for name, value in found.items()) + "\n}\n"
    return "[\n" + ",\n".join(f"  {json.dumps(tag, ensure_ascii=False)}" for tag in found) + "\n]\n"


def _journal(transfers: Sequence[Row], balances: Mapping[str, int], names: Mapping[str, str]) -> str:
    """Return transfers as a table, and the balances they left, with names for keys and ids."""

    def named(text: str) -> str:
        return _HEX.sub(lambda found: names.get(found[0], "<hash>"), text)

    rows = [("id", "debit", "credit", "amount", "reason")]
    rows += [
        (named(row["id"]), named(row["debit"]), named(row["credit"]), format_sat(row["amount_msat"]), row["reason"])
        for row in transfers
    ]
    left = [(named(account), format_sat(balance)) for account, balance in balances.items()]
    return _table(rows, right=3) + "\nbalances after it\n" + _table(left, right=1)


def _people(story: Told) -> str:
    names = {name: pubkey for pubkey, name in story.names.items()}
    return "".join(f"{name:<8} {names[name]}\n" for name in (*PEOPLE, "service", "autodev", "scribe", "books"))


def _table(rows: Sequence[tuple[str, ...]], *, right: int) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            f"{cell:>{width}}" if column == right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
