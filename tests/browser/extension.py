"""Somebody's Nostr extension: it signs and encrypts with their key, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext

from relaybot.nostr import nip44
from relaybot.nostr.event import encode_event
from relaybot.nostr.keys import KeyPair

_SCRIPT = Path(__file__).with_name("nip07.js").read_text(encoding="utf-8")


@dataclass  # without slots: playwright marks whom it calls
class Extension:
    """One person's extension; `refuses` makes it say no, as people do."""

    keypair: KeyPair = field(repr=False)
    signed: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    decided: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: its owner still thinks

    def __post_init__(self) -> None:
        self.decided.set()

    async def install(self, context: BrowserContext) -> None:
        """Stand in every page of a browser's window from its beginning."""
        await context.expose_function("nip07", self._answer)
        await context.add_init_script(_SCRIPT)

    async def _answer(self, method: str, *words: Any) -> str:
        await self.decided.wait()
        match method, words:
            case "getPublicKey", ():
                answer: Any = self.keypair.pubkey
            case "signEvent", (event,):
                answer = self._sign(event)
            case "nip44.encrypt", (pubkey, text):
                answer = nip44.encrypt(text, nip44.conversation_key(self.keypair, pubkey), secrets.token_bytes(32))
            case "nip44.decrypt", (pubkey, text):
                answer = nip44.decrypt(text, nip44.conversation_key(self.keypair, pubkey))
            case _:
                raise AssertionError(f"NIP-07 has no {method} of {len(words)} words")
        return json.dumps(answer)

    def _sign(self, template: dict[str, Any]) -> dict[str, Any]:
        if self.refuses:
            raise PermissionError("User rejected")
        assert set(template) == {"kind", "created_at", "tags", "content"}, "what NIP-07 takes, and nothing else"
        event: dict[str, Any] = json.loads(encode_event(self.keypair.sign(**template)))
        self.signed.append(event)
        return event
