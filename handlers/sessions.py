"""Who is signed in on the pages: by a signed challenge, or by a link that came in a private message.

A session is a row that is found by the hash of the browser's token, so whoever reads the book
can open none. A challenge is nothing but words of ours with a seal and an end: that it is
taken once is the key of the Plan that opens the session. A link is a row that is used up in
the same Plan. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr import nip98
from relaybot.nostr.event import HEX32_LENGTH, Event, is_hex
from relaybot.nostr.keys import verify
from wallet.ledger import Change, Insert, Plan, Update, Values, Verdict

TOKEN_BYTES = 32
LINK_SECONDS = 600  # a private message is read at once, or its link asked for anew
CHALLENGE_SECONDS = 300  # somebody looks at what they sign
SIGN_IN_PATH, LINK_PATH = "/account/sign-in", "/account/link"

_NONCE_BYTES = 16
_BY_SIGNATURE, _BY_LINK = "nip07", "link"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in: `token` is the browser's alone, `csrf` stands in the forms of this session."""

    pubkey: str
    id: str
    way: str
    expires_at: int
    token: str = field(repr=False)

    @property
    def csrf(self) -> str:
        """Return what a form must carry that this session sends."""
        return _hashed(f"csrf/{self.token}")


async def login(bot: Bot, asked: Asked) -> Reply:
    """`login`: a link that signs its reader in on the pages, once."""
    if asked.words:
        raise Rejected("invalid", "too many words")
    if not (bot.config.web.enabled and bot.config.web.account):
        raise Rejected("invalid", "this service has no pages for your account")
    token, now = bot.chance(TOKEN_BYTES).hex(), bot.clock.now()
    values: Values = {"owner": asked.sender, "expires_at": now + LINK_SECONDS, "used_at": None, "created_at": now}
    text = (
        f"Open this within {LINK_SECONDS // 60} minutes to see your account. It works once; show it to nobody:\n"
        f"{bot.config.web_url}{LINK_PATH}/{token}"
    )
    return Reply(text, (Insert("login_links", _hashed(token), values),))


def new_challenge(bot: Bot, secret: bytes) -> str:
    """Return words to be signed, good for five minutes; `secret` seals them, so none need be kept."""
    words = f"{bot.clock.now() + CHALLENGE_SECONDS}-{bot.chance(_NONCE_BYTES).hex()}"
    return f"{words}-{_seal(secret, words)}"


async def sign_in(bot: Bot, event: Event, secret: bytes, *, origin: str, before: Session | None = None) -> Session:
    """Open a session for whoever signed our challenge for `origin`; Rejected says what does not fit.

    The session `before` of the same browser ends.
    """
    now, challenge = bot.clock.now(), event.tag("challenge") or ""
    nip98.check_signed_address(
        event, urls=(origin + SIGN_IN_PATH,), method="POST", age_seconds_max=CHALLENGE_SECONDS, now=now
    )
    words, _, seal = challenge.rpartition("-")
    if not hmac.compare_digest(seal.encode(), _seal(secret, words).encode()):
        raise Rejected("auth-required", "challenge: not one of ours")
    if int(words.partition("-")[0]) < now:
        raise Rejected("auth-required", "challenge: it has run out; load the page again")
    if not verify(event):
        raise Rejected("auth-required", "the signature does not fit")
    opened, change = _new(bot, event.pubkey, _BY_SIGNATURE)
    key = f"session/{_hashed(challenge)}"
    answer = await bot.book.apply(Plan(key, changes=(change, *await _ended(bot, before))))
    if answer.verdict is not Verdict.APPLIED:  # the key is known: somebody signed in by it
        raise Rejected("auth-required", "challenge: it was used before; load the page again")
    return opened


async def link_owner(bot: Bot, token: str) -> str:
    """Return the hex pubkey for whom a link is good now; Rejected if it is not, or no more."""
    row = await bot.book.row("login_links", _hashed(token)) if is_hex(token, HEX32_LENGTH) else None
    if row is None or row["used_at"] is not None or row["expires_at"] < bot.clock.now():
        raise Rejected("auth-required", "this link was used or has run out; write login for another")
    return str(row["owner"])


async def sign_in_by_link(bot: Bot, token: str, *, before: Session | None = None) -> Session:
    """Open a session by a link, which is used up; Rejected if it is not good."""
    owner = await link_owner(bot, token)
    opened, change = _new(bot, owner, _BY_LINK)
    used = Update("login_links", _hashed(token), {"used_at": bot.clock.now()}, expect={"used_at": None})
    key = f"session/{_hashed(f'link/{token}')}"
    answer = await bot.book.apply(Plan(key, changes=(change, used, *await _ended(bot, before))))
    if answer.verdict is not Verdict.APPLIED:
        raise Rejected("auth-required", "this link was used or has run out; write login for another")
    return opened


async def session_of(bot: Bot, token: str) -> Session | None:
    """Return the open session of this token, or None."""
    row = await bot.book.row("sessions", _hashed(token)) if is_hex(token, HEX32_LENGTH) else None
    if row is None or row["ended_at"] is not None or row["expires_at"] <= bot.clock.now():
        return None
    return Session(row["owner"], row["id"], row["way"], row["expires_at"], token)


async def sign_out(bot: Bot, session: Session, *, everywhere: bool = False) -> None:
    """End a session, or all that its owner has open. Unavailable: others keep opening and ending them."""

    async def decide() -> Plan | None:
        rows = await bot.book.database.fetch(
            "SELECT id, version FROM sessions WHERE owner = :owner AND ended_at IS NULL AND expires_at > :now"
            " ORDER BY created_at, id",
            owner=session.pubkey,
            now=bot.clock.now(),
        )
        ends = tuple(_end(bot, row["id"], row["version"]) for row in rows if everywhere or row["id"] == session.id)
        return Plan(f"session/{session.id}/end/{'all' if everywhere else 'one'}", changes=ends) if ends else None

    answer = await bot.book.decide(decide)
    if not answer.done:
        raise Unavailable("your sessions keep changing; try again")


def _new(bot: Bot, owner: str, way: str) -> tuple[Session, Insert]:
    token, now = bot.chance(TOKEN_BYTES).hex(), bot.clock.now()
    opened = Session(owner, _hashed(token), way, now + bot.config.web.session_seconds, token)
    values: Values = {
        "owner": owner,
        "way": way,
        "expires_at": opened.expires_at,
        "ended_at": None,
        "created_at": now,
    }
    return opened, Insert("sessions", opened.id, values)


async def _ended(bot: Bot, session: Session | None) -> tuple[Change, ...]:
    row = await bot.book.row("sessions", session.id) if session is not None else None
    return (_end(bot, row["id"], row["version"]),) if row is not None and row["ended_at"] is None else ()


def _end(bot: Bot, session_id: str, version: int) -> Update:
    return Update("sessions", session_id, {"ended_at": bot.clock.now()}, expect={"version": version})


def _seal(secret: bytes, words: str) -> str:
    return hmac.new(secret, words.encode(), hashlib.sha256).hexdigest()


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
