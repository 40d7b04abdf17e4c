"""NIP-17: private messages, as rumors of kind 14. `nip59` seals and wraps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.nostr.nip59 import Rumor, build_rumor

MESSAGE_KIND = 14


@dataclass(frozen=True, slots=True)
class Message:
    """A private message; `recipients` and the sender together are the conversation."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    text: str = field(repr=False)
    subject: str | None
    reply_to: str | None
    created_at: int


def build_message(
    sender: str,
    recipients: Sequence[str],
    text: str,
    *,
    now: int,
    subject: str | None = None,
    reply_to: str | None = None,
) -> Rumor:
    """Return the rumor of a plain-text message; `reply_to` is the id of the message it answers."""
    tags = [("p", recipient) for recipient in recipients]
    if reply_to is not None:
        tags.append(("e", reply_to))
    if subject is not None:
        tags.append(("subject", subject))
    return build_rumor(sender, kind=MESSAGE_KIND, content=text, tags=tags, created_at=now)


def parse_message(rumor: Rumor) -> Message:
    """Read the rumor of a message; Rejected if it is of another kind or names what is no key or id."""
    if rumor.kind != MESSAGE_KIND:
        raise Rejected("invalid", "not a private message", kind=rumor.kind)
    recipients = tuple(tag[1] if len(tag) > 1 else "" for tag in rumor.tags if tag[0] == "p")
    reply_to = rumor.tag("e")
    for name, value in [("p", recipient) for recipient in recipients] + ([("e", reply_to)] if reply_to else []):
        if not is_hex(value, HEX32_LENGTH):
            raise Rejected("invalid", f"{name}: not 64 lowercase hex digits")
    return Message(rumor.id, rumor.pubkey, recipients, rumor.content, rumor.tag("subject"), reply_to, rumor.created_at)
