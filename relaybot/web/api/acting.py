"""Doing what a call asks: by the function of a private command, once for each key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from handlers.conversation import Reply
from handlers.self_service import Done, Request, Run, do
from relaybot.web.account.desk import Desk
from relaybot.web.api.door import Call


async def act(
    desk: Desk,
    call: Call,
    what: str,
    run: Run,
    words: Sequence[str],
    *,
    text: str = "",
    resource: Callable[[Reply], str] = lambda _: "",
    secret: str = "",
) -> Done:
    """Run a command with these words in the caller's name; what it refuses is Rejected."""
    request = Request(
        call.pubkey,
        what,
        call.key,
        {"words": "\n".join(words), "text": text},
        words=words,
        text=text,
        process=desk.process,
        token=call.token,
    )
    done = await do(desk.bot, request, run, resource=resource, secret=secret)
    desk.wake()
    return done
