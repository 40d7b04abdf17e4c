"""The words of a conversation: what was asked, what is answered. The commands themselves stand in `commands.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from handlers.bot import Bot
from wallet.ledger import Change, Transfer

CONFIRM = "confirm"  # the last word of what must be said twice


@dataclass(frozen=True, slots=True)
class Asked:
    """One command as it was asked: by whom, in which rumor, dated when; `text` is all that follows its name."""

    sender: str
    rumor: str
    created_at: int
    words: Sequence[str]
    text: str = ""
    nip04: bool = False  # asked in a kind 4, and so answered in one
    process: str = ""  # that handles the message: what follows from it is its work, too


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered, and what the command changes."""

    text: str
    changes: tuple[Change, ...] = ()
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is used, what it is for, what it does, and how somebody might say it."""

    usage: str
    about: str
    run: Callable[[Bot, Asked], Awaitable[Reply]]
    example: str = ""
