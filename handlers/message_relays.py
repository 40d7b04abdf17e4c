"""Where private messages reach somebody (NIP-17, kind 10050): what they said, and where we bring ours."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import structlog

from handlers.bot import Bot, written
from relaybot.errors import Unavailable
from relaybot.inbox import Decision
from relaybot.nostr import nip59
from relaybot.nostr.event import Event
from relaybot.nostr.relay_url import is_relay_url
from wallet.ledger import Plan, Values

log = structlog.get_logger()

STORED_MAX = 8
VISITED_MAX = 3  # NIP-17 asks for one to three
ASKED_MAX = 10_000  # people of whom we remember that the relays were asked

LookUp = Callable[[str], Awaitable[None]]  # (pubkey): read again what the relays have stored of theirs


async def on_dm_relays(bot: Bot, event: Event) -> Decision:
    """Take a kind 10050: where private messages reach its author. Older events change nothing."""
    relays = [tag[1] for tag in event.tags_named("relay") if len(tag) > 1 and is_relay_url(tag[1])][:STORED_MAX]
    stated_at, row = bot.believed_date(event.created_at), await bot.book.row("dm_relays", event.pubkey)
    if row is not None and row["stated_at"] > stated_at:
        return "an older statement"
    values: Values = {"relays": json.dumps(relays), "stated_at": stated_at, "event": event.id}
    return Plan(f"dm_relays/{event.id}", changes=(written("dm_relays", event.pubkey, row, values),))


class MessageRelays:
    """Says where each gift wrap goes beside our own relays; asks the relays once about who has said nothing yet."""

    def __init__(self, bot: Bot, look_up: LookUp) -> None:
        self._bot = bot
        self._look_up = look_up
        self._asked: dict[str, None] = {}  # pubkeys, oldest first

    async def of(self, event: Event) -> Sequence[str]:
        """Return the relays of others to which a gift wrap goes, too; none for any other event.

        Who never published a 10050 finds the answer on our relays: the question came by one of them.
        """
        receiver = event.tag("p") if event.kind == nip59.WRAP_KIND else None
        if not receiver:
            return ()
        row = await self._bot.book.row("dm_relays", receiver)
        if row is None:
            await self._ask(receiver)  # what is found is read like everything else, and known at the next message
            return ()
        named = dict.fromkeys(json.loads(row["relays"]))  # older rows hold what was named, whatever it is
        return [url for url in named if is_relay_url(url) and url not in self._bot.own_relays][:VISITED_MAX]

    async def _ask(self, pubkey: str) -> None:
        if pubkey in self._asked:
            return
        self._asked[pubkey] = None
        if len(self._asked) > ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        try:
            await self._look_up(pubkey)
        except Unavailable as error:
            log.info("message_relays_not_found", pubkey=pubkey, reason=str(error))
