"""Liabilities (37171) and proofs of them (37175): every leaf leads to the root, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from relaybot.errors import Rejected
from relaybot.nostr import liabilities
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.liabilities import Leaf, Node, Proof, Published
from tests.nostr.conftest import NOW

BOOKS = KeyPair(b"\x03" * 32)
LEAVES = [Leaf(f"{number:064x}", f"{number + 99:064x}", (number, 0, 1, 2, 3)) for number in range(8)]
LEVELS = liabilities.tree([liabilities.leaf_node(1, leaf) for leaf in LEAVES])
SAID = Published("", 1, LEVELS[-1][0], {"lightning": 70_000, "onchain": 0, "card": 5}, k=5)
EVENT = liabilities.build_liabilities(BOOKS, SAID, NOW)


def proof(place: int) -> Proof:
    return Proof(EVENT.id, 1, LEAVES[place], liabilities.path_of(LEVELS, place))


def test_every_leaf_is_proved_and_the_total_is_that_of_all() -> None:
    published = liabilities.parse_liabilities(EVENT)
    assert verify(EVENT)
    assert published.root.total == sum(sum(leaf.sums) for leaf in LEAVES)
    for place in range(8):
        text = liabilities.encode_proof(proof(place))
        liabilities.check_proof(liabilities.parse_proof(text), published)
    assert liabilities.path_of(liabilities.tree([LEVELS[0][0]]), 0) == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"leaf": replace(LEAVES[3], sums=(2, 0, 1, 2, 3))},
        {"leaf": replace(LEAVES[3], sums=(3, 1, 0, 2, 3))},  # the same total in other classes
        {"leaf": replace(LEAVES[3], who="ab" * 32)},
        {"leaf": replace(LEAVES[3], nonce="")},
        {"path": proof(3).path[:-1]},
        {"path": proof(2).path},
        {"path": (("right", proof(3).path[0][1]), *proof(3).path[1:])},
        {"path": (("left", Node(proof(3).path[0][1].hash, 0)), *proof(3).path[1:])},
    ],
)
def test_j4_a_balance_that_is_left_out_or_shrunk_is_found(changed: dict[str, object]) -> None:
    with pytest.raises(Rejected, match="proof leads to another root"):
        liabilities.check_proof(replace(proof(3), **changed), liabilities.parse_liabilities(EVENT))  # type: ignore[arg-type]


def test_a_proof_of_another_epoch_is_refused() -> None:
    with pytest.raises(Rejected, match="proof is of other liabilities"):
        liabilities.check_proof(replace(proof(3), epoch=2), liabilities.parse_liabilities(EVENT))


def test_what_was_published_is_read_as_it_was_said() -> None:
    said = replace(SAID, epoch=2, previous=EVENT.id, demo=True)
    event = liabilities.build_liabilities(BOOKS, said, NOW)
    assert liabilities.parse_liabilities(event) == replace(said, event_id=event.id)


@pytest.mark.parametrize(
    ("tag", "value", "field"),
    [
        ("schema", "liabilities/2", "schema"),
        ("d", "liabilities:0", "d"),
        ("root", "AB" * 32, "root"),
        ("total", "-1", "total"),
        ("total", "9" * 19, "total"),
        ("k", "", "k"),
        ("reserve", "lightning", "reserve"),
    ],
)
def test_a_wrong_field_is_named(tag: str, value: str, field: str) -> None:
    tags = [(name, value) if name == tag else (name, *rest) for name, *rest in EVENT.tags]
    event = BOOKS.sign(kind=liabilities.KIND, content="", tags=tags, created_at=NOW)
    with pytest.raises(Rejected) as refused:
        liabilities.parse_liabilities(event)
    assert refused.value.fields["field"] == field


def test_another_kind_is_no_liabilities() -> None:
    with pytest.raises(Rejected, match="liabilities have a wrong field"):
        liabilities.parse_liabilities(BOOKS.sign(kind=1, content="", tags=EVENT.tags, created_at=NOW))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"epoch": "1"}, "not a proof of liabilities"),
        ({"more": 1}, "not a proof of liabilities"),
        ({"schema": "liabilities/2"}, "not a proof of liabilities"),
        ({"sums": ["1"]}, "liabilities have a wrong field"),
        ({"sums": ["-1", "0", "0", "0", "1"]}, "liabilities have a wrong field"),
        ({"path": [["up", "ab" * 32, "0"]]}, "not a proof of liabilities"),
        ({"path": [["left", "ab", "0"]]}, "liabilities have a wrong field"),
        ({"path": [["left", "ab" * 32, "0"]] * 41}, "liabilities have a wrong field"),
    ],
)
def test_a_malformed_proof_is_refused(changed: dict[str, object], reason: str) -> None:
    text = json.dumps(json.loads(liabilities.encode_proof(proof(0))) | changed)
    with pytest.raises(Rejected, match=reason):
        liabilities.parse_proof(text)
    with pytest.raises(Rejected, match="not a proof of liabilities"):
        liabilities.parse_proof("\ud800")
