"""What is asked over HTTP is done by the commands of private messages, once for each key.

There is no second way for money: a page or an API call runs the function of a command, and
its Plan is the command's, with one row more that holds the answer. The same key gets that
answer again and moves nothing; under the same key another content is refused (A5). Where a
message has the id of its rumor, a request has one that derives from who asks and their key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from handlers.bot import Bot
from handlers.conversation import Asked, Reply
from handlers.strangers import heard
from relaybot.errors import Rejected, Unavailable
from wallet.ledger import Change, Insert, Plan, Values, Verdict

KEY_CHARACTERS_MAX = 200

Run = Callable[[Bot, Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Request:
    """Something that `pubkey` asks for: `what` names it, `said` is all that its content rests on."""

    pubkey: str
    what: str
    key: str
    said: Mapping[str, str | int | None]
    words: Sequence[str] = ()
    text: str = ""
    process: str = ""  # that handles what follows from it
    token: str = ""  # id of the event that signed it, if one did

    @property
    def id(self) -> str:
        """Return the request's id: 64 hex digits, which nobody else's request has."""
        return hashlib.sha256(f"http/{self.pubkey}/{self.key}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """Return the hash of what is asked."""
        return hashlib.sha256(json.dumps([self.what, dict(self.said)], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """What was answered: `id` is the request's, `resource` what it made, `again` that it had been done before."""

    id: str
    text: str
    resource: str
    again: bool


def _nothing(_: Reply) -> str:
    return ""


async def do(
    bot: Bot, request: Request, run: Run, *, resource: Callable[[Reply], str] = _nothing, secret: str = ""
) -> Done:
    """Do what is asked, or return what was answered before. Rejected and Unavailable as the command.

    `resource` names what the reply makes. An answer that holds a secret is kept nowhere:
    who asks again is told `secret` instead.
    """
    if not 0 < len(request.key) <= KEY_CHARACTERS_MAX:
        raise Rejected("invalid", "a key of a request has 1 to 200 characters")
    asked = Asked(
        request.pubkey, request.id, bot.clock.now(), request.words, text=request.text, process=request.process
    )
    told: list[str] = []

    async def decide() -> Plan | None:
        if await _known(bot, request) is not None:
            return None
        await _check_token(bot, request)
        reply = await run(bot, asked)
        told.append(reply.text)
        row = _answered(bot, request, secret or reply.text, resource(reply))
        # Whoever never had money here costs us as much over HTTP as by message.
        changes: tuple[Change, ...] = (*reply.changes, *await heard(bot, request.pubkey), row)
        if request.token:  # I10: signed once, done once, whatever key a replay is given
            changes += (Insert("http_tokens", request.token, {"created_at": bot.clock.now()}),)
        return Plan(f"http/{request.id}", reply.transfers, changes, digest=request.digest)

    answer = await bot.book.decide(decide)
    known = await _known(bot, request)
    if known is None:
        await _check_token(bot, request)
        raise Unavailable(f"what this rests on keeps changing: {answer.reason}")
    applied = answer.verdict is Verdict.APPLIED
    return Done(request.id, told[-1] if applied else known["answer"], known["resource"], again=not applied)


async def done_before(bot: Bot, pubkey: str, request_id: str, what: str) -> Done | None:
    """Return what a request of `pubkey` was answered, or None."""
    row = await bot.book.row("web_requests", request_id)
    if row is None or row["owner"] != pubkey or row["what"] != what:
        return None
    return Done(request_id, row["answer"], row["resource"], again=True)


async def _known(bot: Bot, request: Request) -> Mapping[str, str] | None:
    row = await bot.book.row("web_requests", request.id)
    if row is not None and row["digest"] != request.digest:
        raise Rejected("duplicate", "this key was used before for something else")
    return row


async def _check_token(bot: Bot, request: Request) -> None:
    if request.token and await bot.book.row("http_tokens", request.token) is not None:
        raise Rejected("auth-required", "this Authorization was used before: sign the request anew")


def _answered(bot: Bot, request: Request, text: str, made: str) -> Insert:
    values: Values = {
        "owner": request.pubkey,
        "what": request.what,
        "digest": request.digest,
        "answer": text,
        "resource": made,
        "created_at": bot.clock.now(),
    }
    return Insert("web_requests", request.id, values)
