"""Doing what a form asks: by the function of a private command, once for each form that was shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from handlers.conversation import Reply
from handlers.self_service import Done, Request, Run, do
from relaybot.errors import Rejected
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import ONCE

_ONCE = re.compile(r"[0-9a-f]{32}")


async def act(
    desk: Desk,
    visit: Visit,
    what: str,
    run: Run,
    words: Sequence[str],
    *,
    text: str = "",
    resource: Callable[[Reply], str] = lambda _: "",
    secret: str = "",
) -> Done:
    """Run a command with these words in the name of who is signed in; what it refuses is Rejected."""
    if not _ONCE.fullmatch(visit.said(ONCE)):
        raise Rejected("invalid", "this form is not complete: load the page again")
    request = Request(
        visit.me,
        what,
        f"form/{visit.said(ONCE)}",
        {"words": "\n".join(words), "text": text},
        words=words,
        text=text,
        process=desk.process,
    )
    done = await do(desk.bot, request, run, resource=resource, secret=secret)
    desk.wake()
    return done
