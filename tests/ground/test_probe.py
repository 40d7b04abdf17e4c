"""Probes are told of every border and change nothing."""

from __future__ import annotations

import pytest

from relaybot.errors import Unavailable
from relaybot.probe import no_probe, probed


class Node:
    url = "http://127.0.0.1"

    async def pay(self, invoice: str, *, fee: int) -> str:
        return f"{invoice} for {fee}"

    async def info(self) -> str:
        raise Unavailable("node")


async def test_a_probe_is_told_before_and_after_each_call_and_changes_nothing() -> None:
    borders: list[str] = []
    node = probed(Node(), borders.append)
    assert await node.pay("invoice", fee=3) == "invoice for 3"
    assert borders == ["pay:before", "pay:after"]


def test_what_a_port_says_of_itself_is_no_border() -> None:
    borders: list[str] = []
    assert probed(Node(), borders.append).url == "http://127.0.0.1"
    assert borders == []


async def test_a_call_that_fails_is_a_border_only_before() -> None:
    borders: list[str] = []
    with pytest.raises(Unavailable):
        await probed(Node(), borders.append).info()
    assert borders == ["info:before"]


async def test_the_products_probe_does_nothing() -> None:
    assert await probed(Node(), no_probe).pay("invoice", fee=0) == "invoice for 0"
