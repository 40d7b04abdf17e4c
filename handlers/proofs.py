"""`proof`: the path by which somebody sees that their balance is in the liabilities we published (37171)."""

from __future__ import annotations

from datetime import UTC, datetime

from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from relaybot.accounting.owing import last_published, proof_of
from relaybot.errors import Rejected
from relaybot.nostr import nip19, nip59
from relaybot.nostr.event import stored_event
from relaybot.nostr.liabilities import PROOF_KIND, encode_proof
from wallet.money import Msat, format_sat


async def proof(bot: Bot, asked: Asked) -> Reply:
    """`proof`, `proof <company>`: as words, as JSON on the last line, and as a 37175 for programs."""
    who = await _who(bot, asked)
    last = await last_published(bot.book)
    if last is None:
        return Reply(
            "Nothing was published yet that your balance could be in. What we owe in all is published about once a"
            f" week, as soon as {bot.config.accounting.k} accounts have a balance: with fewer it would show somebody's."
        )
    found = proof_of(last, who)
    day = datetime.fromtimestamp(last["created_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    if found is None:
        return Reply(f"You had no balance when we last published what we owe, at {day}: there is nothing to prove.")
    text = encode_proof(found)
    tags = [["d", f"liabilities:{found.epoch}"], ["p", asked.sender], ["e", found.event_id]]
    now = bot.clock.now()
    rumor = nip59.build_rumor(bot.service.pubkey, kind=PROOF_KIND, content=text, tags=tags, created_at=now)
    words = (
        f"{format_sat(Msat(sum(found.leaf.sums)))} of yours are in what we published at {day} (kind 37171, event"
        f" {found.event_id}): compare it with your history. To see that it is true, put the last line into a file and"
        f" say: relaybot books verify {await _books(bot, found.event_id)} --relay {bot.config.relay.public_url}"
        f" --proof <file>\n{text}"
    )
    return Reply(words, (bot.wrapped(asked.sender, rumor),))


async def _books(bot: Bot, event_id: str) -> str:
    """Return the npub that signed what was published."""
    row = await bot.book.row("outbox", event_id)
    assert row is not None, f"liabilities {event_id} were published without an event"
    return nip19.encode_npub(stored_event(row["event"]).pubkey)


async def _who(bot: Bot, asked: Asked) -> str:
    match asked.words:
        case []:
            return asked.sender
        case [org]:
            company = await bot.book.row("companies", org.lower())
            if company is None or company["owner"] != asked.sender:
                raise Rejected("invalid", "you own no company of this name", found=org[:40])
            return f"org/{company['id']}"
        case _:
            raise Rejected("invalid", "too many words")
