"""What a customer hears about a job, in the way it was asked for.

Who published a request is answered by NIP-90 events, encrypted if the request was. Who
asked by private message (`job <agent> …`) hears the same in private messages; such a
request is an event that nobody signed, and is published nowhere. It cannot be confused
with another's: no signature consists of zeros, and every event that comes in is verified.
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers.bot import Bot, events_owed
from relaybot.nostr import nip90
from relaybot.nostr.encryption import Encryption
from relaybot.nostr.event import Event, event_id
from relaybot.nostr.keys import KeyPair
from wallet.ledger import Insert
from wallet.money import Msat

UNSIGNED = "0" * 128
BY_NIP04 = "nip04"  # the tag of an unsigned request that is answered in the old way
PIECE_CHARACTERS_MAX = 6_000  # of a result in one message: whatever they are, its wrap stays below 65,536 bytes

Owed = tuple[Insert, ...]  # rows of the outbox


def unsigned_request(
    customer: str, *, kind: int, tags: Sequence[Sequence[str]], rumor: str, nip04: bool, created_at: int
) -> Event:
    """Return the job request that `customer` made by the message `rumor`, or by the kind 4 of that id."""
    named = (*(tuple(tag) for tag in tags), ("e", rumor), *(((BY_NIP04,),) if nip04 else ()))
    request_id = event_id(customer, created_at, kind, named, "")
    return Event(request_id, customer, created_at, kind, named, "", UNSIGNED)


def told(
    bot: Bot,
    speaker: KeyPair,
    request: Event,
    status: nip90.Status,
    text: str,
    *,
    amount_msat: Msat | None = None,
    bolt11: str | None = None,
) -> Owed:
    """Return what is owed to say this about a job: a 7000, or a message."""
    if request.sig == UNSIGNED:
        return _messages(bot, speaker, request, [text if bolt11 is None else f"{text}\n{bolt11}"])
    feedback = nip90.build_feedback(
        speaker,
        request=request,
        status=status,
        text=text,
        amount_msat=amount_msat,
        bolt11=bolt11,
        encrypt=_encryption(bot, request),
        now=bot.clock.now(),
    )
    return events_owed(bot.clock.now(), feedback)


def is_public(request: Event) -> bool:
    """Tell whether what comes of a request is published for everybody to read."""
    return request.sig != UNSIGNED and nip90.encryption_of(request) is None


def delivered(
    bot: Bot, speaker: KeyPair, request: Event, content: str, zap_tags: Sequence[tuple[str, ...]] = ()
) -> tuple[str, Owed]:
    """Return the id of the result's event ('' if there is none), and what is owed to hand it over.

    `zap_tags` say whom to zap for it.
    """
    if request.sig == UNSIGNED:
        return "", _messages(bot, speaker, request, _pieces(content))
    now = bot.clock.now()
    result = nip90.build_result(
        speaker, request=request, content=content, encrypt=_encryption(bot, request), now=now, more=zap_tags
    )
    success = nip90.build_feedback(
        speaker, request=request, status="success", text="done", encrypt=_encryption(bot, request), now=now
    )
    return result.id, events_owed(now, result, success)


def _messages(bot: Bot, speaker: KeyPair, request: Event, texts: Sequence[str]) -> Owed:
    agent = bot.agents.get(speaker.pubkey)
    name, count = agent.name if agent is not None else bot.config.service.name, len(texts)
    heads = [
        f"{name}, job {request.id[:8]}" + (f", {place} of {count}" if count > 1 else "")
        for place in range(1, count + 1)
    ]
    as_nip04 = bool(request.tags_named(BY_NIP04))
    return tuple(
        bot.message(request.pubkey, f"{head}: {text}", reply_to=request.tag("e"), as_nip04=as_nip04)
        for head, text in zip(heads, texts, strict=True)
    )


def _pieces(content: str) -> Sequence[str]:
    starts = range(0, max(1, len(content)), PIECE_CHARACTERS_MAX)
    return [content[start : start + PIECE_CHARACTERS_MAX] for start in starts]


def _encryption(bot: Bot, request: Event) -> Encryption | None:
    scheme = nip90.encryption_of(request)
    return Encryption(scheme, bot.chance(32)) if scheme is not None else None
