"""Texts that customers name as inputs: fetched like everything else that strangers name, of any type."""

from __future__ import annotations

import pytest

from relaybot.errors import Rejected
from tests.outgoing.conftest import Server, answer
from tests.outgoing.test_outgoing import PINNED, pinned


async def test_a_text_is_fetched_whatever_its_type_and_bytes_are_not(plain: Server) -> None:
    plain.reply = answer("Grüße".encode(), "Content-Type: application/pdf")
    assert await pinned(plain).get_text(PINNED) == "Grüße"
    assert "Accept: text/*" in plain.heads[0]
    plain.reply = answer(b"\xff\xfe")
    with pytest.raises(Rejected, match="answer is no text in UTF-8"):
        await pinned(plain).get_text(PINNED)
    with pytest.raises(Rejected, match="answer is too large"):
        await pinned(plain).get_text(PINNED, max_bytes=1)
