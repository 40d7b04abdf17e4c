"""Kinds 37171 and 37175, "liabilities/1": what a service owes in all, and the proof that one balance is in it. Words.

A Merkle sum tree: a leaf binds epoch, owner, nonce and the balance by class; a node's hash holds the
hashes and the totals of both children. So whoever finds their own leaf under the published root knows
that the published total is no less than theirs and those beside the path. Signatures are checked by
`keys.verify`; docs/accounts.md explains it to people.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, Event, is_hex
from relaybot.nostr.keys import KeyPair
from wallet.money import MAX_MSAT

KIND, PROOF_KIND = 37171, 37175
SCHEMA = "liabilities/1"
CLASSES = ("sats", "card", "promo", "maturing", "held")
RESERVES = ("lightning", "onchain", "card")
PATH_MAX = 40  # steps: more leaves than there are people
DEMO_NOTE = "demonstration: k is not that of real accounts"

_AMOUNT = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_EPOCH = re.compile(r"[1-9]\d{0,8}", re.ASCII)

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is owed to `who` (hex pubkey, `org/<id>`, or '' for ours and padding): msat in the order of CLASSES."""

    who: str
    nonce: str
    sums: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A hash as hex, and the msat under it."""

    hash: str
    total: int


@dataclass(frozen=True, slots=True)
class Published:
    """What one 37171 says."""

    event_id: str
    epoch: int
    root: Node
    reserves: Mapping[str, int]  # msat by RESERVES
    k: int
    previous: str | None = None
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf, and the nodes beside its way up, each with the side on which it stands."""

    event_id: str
    epoch: int
    leaf: Leaf
    path: tuple[tuple[Side, Node], ...]


class _ProofText(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    schema: Literal["liabilities/1"]
    event: str
    epoch: int
    who: str
    nonce: str
    sums: list[str]
    path: list[tuple[Side, str, str]]


# ---- the tree


def leaf_node(epoch: int, leaf: Leaf) -> Node:
    """Return the node of a leaf."""
    words = [SCHEMA, "leaf", str(epoch), leaf.who, leaf.nonce, *map(str, leaf.sums)]
    return Node(_hashed(words), sum(leaf.sums))


def parent(left: Node, right: Node) -> Node:
    """Return the node over two others."""
    words = [SCHEMA, "node", left.hash, str(left.total), right.hash, str(right.total)]
    return Node(_hashed(words), left.total + right.total)


def tree(leaves: Sequence[Node]) -> list[list[Node]]:
    """Return the tree, level by level, the root last. The leaves are as many as a power of two."""
    assert leaves, "a tree has leaves"
    assert len(leaves) & (len(leaves) - 1) == 0, f"{len(leaves)} leaves are no power of two"
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([parent(left, right) for left, right in zip(below[::2], below[1::2], strict=True)])
    return levels


def path_of(levels: Sequence[Sequence[Node]], place: int) -> tuple[tuple[Side, Node], ...]:
    """Return what stands beside the way of the leaf at `place` up to the root."""
    steps: list[tuple[Side, Node]] = []
    for level in levels[:-1]:
        steps.append(("left", level[place - 1]) if place % 2 else ("right", level[place + 1]))
        place //= 2
    return tuple(steps)


def check_proof(proof: Proof, published: Published) -> None:
    """Raise Rejected unless `proof` shows its leaf under the published root; no total on the way may be below zero."""
    if (proof.event_id, proof.epoch) != (published.event_id, published.epoch):
        raise Rejected("invalid", "proof is of other liabilities", found=proof.event_id, published=published.event_id)
    found = leaf_node(proof.epoch, proof.leaf)
    for side, beside in proof.path:
        found = parent(beside, found) if side == "left" else parent(found, beside)
    if found != published.root:
        raise Rejected("invalid", "proof leads to another root", found=found.hash, published=published.root.hash)


def _hashed(words: Sequence[str]) -> str:
    return hashlib.sha256(msgspec.json.encode(words)).hexdigest()


# ---- events


def build_liabilities(keypair: KeyPair, said: Published, now: int) -> Event:
    """Sign the event of one epoch; its id is not yet in `said`."""
    tags = [
        ["d", f"liabilities:{said.epoch}"],
        ["schema", SCHEMA],
        ["k", str(said.k)],
        ["root", said.root.hash],
        ["total", str(said.root.total)],
        *(["reserve", name, str(said.reserves[name])] for name in RESERVES),
        *([["e", said.previous, "", "prev"]] if said.previous is not None else []),
        *([["demo", DEMO_NOTE]] if said.demo else []),
        ["alt", f"What the service owes to its users in all: {said.root.total} msat"],  # NIP-31
    ]
    return keypair.sign(kind=KIND, content="", tags=tags, created_at=now)


def parse_liabilities(event: Event) -> Published:
    """Read the event of one epoch; Rejected names the first `field` that is wrong. The signature is not looked at."""
    if event.kind != KIND:
        raise _wrong("kind", event.kind)
    if event.tag("schema") != SCHEMA:
        raise _wrong("schema", event.tag("schema"))
    epoch = (event.tag("d") or "").removeprefix("liabilities:")
    if not _EPOCH.fullmatch(epoch):
        raise _wrong("d", event.tag("d"))
    reserves = {tag[1]: _amount("reserve", tag[2]) for tag in event.tags_named("reserve") if len(tag) > 2}  # noqa: PLR2004  name and sum
    if tuple(reserves) != RESERVES:
        raise _wrong("reserve", sorted(reserves))
    return Published(
        event.id,
        int(epoch),
        Node(_hex("root", event.tag("root") or ""), _amount("total", event.tag("total") or "")),
        reserves,
        _amount("k", event.tag("k") or ""),
        event.tag("e"),
        bool(event.tags_named("demo")),
    )


def encode_proof(proof: Proof) -> str:
    """Return a proof as JSON: the content of 37175."""
    path = [(side, node.hash, str(node.total)) for side, node in proof.path]
    leaf = proof.leaf
    text = _ProofText(
        "liabilities/1", proof.event_id, proof.epoch, leaf.who, leaf.nonce, [str(one) for one in leaf.sums], path
    )
    return msgspec.json.encode(text).decode()


def parse_proof(text: str) -> Proof:
    """Read a proof; Rejected names the first `field` that is wrong."""
    try:
        read = msgspec.json.decode(text, type=_ProofText)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected("invalid", "not a proof of liabilities", problem=str(error)[:120]) from None
    if len(read.sums) != len(CLASSES) or len(read.path) > PATH_MAX:
        raise _wrong("sums, path", (len(read.sums), len(read.path)))
    sums = tuple(_amount("sums", one) for one in read.sums)
    path = tuple((side, Node(_hex("path", hash_), _amount("path", total))) for side, hash_, total in read.path)
    return Proof(read.event, read.epoch, Leaf(read.who, read.nonce, sums), path)


def _amount(field: str, text: str) -> int:
    if not _AMOUNT.fullmatch(text) or int(text) > MAX_MSAT:
        raise _wrong(field, text)
    return int(text)


def _hex(field: str, text: str) -> str:
    if not is_hex(text, HEX32_LENGTH):
        raise _wrong(field, text)
    return text


def _wrong(field: str, found: object) -> Rejected:
    return Rejected("invalid", "liabilities have a wrong field", field=field, found=str(found)[:80])
