"""A chain that is made up, in memory: blocks are mined on command, coins come from a purse anybody may spend.

Scripts are not run. What is checked is what a node's wallet can get wrong: inputs that
exist and are unspent, fees, dust, time locks, replacement (BIP-125).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.regtest.transactions import (
    Input,
    Malformed,
    Outpoint,
    Output,
    Transaction,
    build_transaction,
    compact,
    double_sha256,
    read_transaction,
    script_of,
)

GENESIS_TIME = 1_296_688_602
BLOCK_SECONDS = 600
BITS = 0x207FFFFF  # every second hash is good enough
TARGET = 0x7FFFFF << 232
NOBODY = Outpoint("00" * 32, 0xFFFFFFFF)
ANYONE_MAY = b"\x51"  # OP_TRUE
PURSE = b"\x00\x20" + hashlib.sha256(ANYONE_MAY).digest()
SUBSIDY_SAT = 5_000_000_000
DATA_CARRIER = 0x6A
FINAL, NO_RELATIVE_LOCK, LOCK_IN_TIME = 0xFFFFFFFF, 1 << 31, 1 << 22
REPLACEABLE = 0xFFFFFFFD
HEIGHTS = range(1, 500_000_000)  # as lock times
PURSE_FEE_SAT = 1_000

GENESIS_COINBASE = read_transaction(
    bytes.fromhex(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d010445"
        + b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks".hex()
        + "ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc"
        "3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
    )
)


class Refused(Exception):
    """The chain does not take this, in the words a Bitcoin node has for it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block, and its coinbase first among its transactions."""

    hash: str
    raw: bytes
    time: int
    transactions: tuple[Transaction, ...]


@dataclass(slots=True)
class Chain:
    """All blocks, and what waits for the next one."""

    blocks: list[Block] = field(default_factory=list)
    waiting: dict[str, Transaction] = field(default_factory=dict)  # by txid, in their order of arrival
    sat_per_kvb: int = 1_000  # what estimates say; 0 for none
    headers_ahead: int = 0
    _unspent: dict[Outpoint, tuple[Output, int]] = field(default_factory=dict)  # with the height they came at
    _made: int = 0  # makes each coinbase another one, after a reorganisation too

    def __post_init__(self) -> None:
        self._append(_block(bytes(32), GENESIS_TIME, [GENESIS_COINBASE], version=1, nonce=2))
        self._unspent.clear()  # nobody can spend the first coinbase

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def mine(self, count: int = 1) -> None:
        """Mine blocks with everything in them that waits and may be mined."""
        for _ in range(count):
            height, last = self.height + 1, self.blocks[-1]
            chosen = list(self._minable())
            witnesses = _merkle_root([bytes(32), *(each.witness_hash for each in chosen)])
            coinbase = self._coinbase(height, commitment=double_sha256(witnesses + bytes(32)))
            self._append(_block(bytes.fromhex(last.hash)[::-1], last.time + BLOCK_SECONDS, [coinbase, *chosen]))

    def reorganise(self, depth: int) -> None:
        """Take the last blocks away; what was in them waits again. Mine one more to be the longer branch."""
        assert 0 < depth <= self.height, f"{depth} of {self.height} blocks"
        kept, lost = self.blocks[:-depth], self.blocks[-depth:]
        again = [each for block in lost for each in block.transactions[1:]] + list(self.waiting.values())
        self.blocks, self.waiting, self._unspent = [], {}, {}
        for block in kept:
            self._append(block)
        for each in again:
            self.waiting[each.txid] = each

    def forget(self, txid: str) -> None:
        """Drop a waiting transaction, and what spends its outputs: as if it had never been sent."""
        lost = self.waiting.pop(txid)
        for index in range(len(lost.outputs)):
            spender = self._spender(Outpoint(txid, index))
            if spender is not None:
                self.forget(spender)

    def hear_of(self, headers: int) -> None:
        """Know of so many blocks that are not here yet: whoever asks is still syncing."""
        self.headers_ahead = headers

    def send(self, raw: bytes) -> str:
        """Take a transaction that may be mined; Refused as a Bitcoin node would."""
        try:
            sent = read_transaction(raw)
        except Malformed:
            raise Refused("TX decode failed. Make sure the tx has at least one input.") from None
        if sent.txid in self.waiting or self._is_mined(sent):
            return sent.txid
        fee = self._fee(sent)
        self._require_standard(sent, fee)
        replaced = {spender for each in sent.inputs if (spender := self._spender(each.spends)) is not None}
        if any(self._fee(self.waiting[txid]) >= fee for txid in replaced):
            raise Refused("insufficient fee, rejecting replacement")
        for txid in replaced & self.waiting.keys():
            self.forget(txid)
        self.waiting[sent.txid] = sent
        return sent.txid

    def give(self, address: str, sat: int) -> str:
        """Send coins from the purse, and return the transaction's id."""
        for outpoint, (coin, _) in self._unspent.items():
            rest = coin.sat - sat - PURSE_FEE_SAT
            if coin.script == PURSE and rest >= 0 and self._spender(outpoint) is None:
                outputs = [Output(sat, script_of(address))] + ([Output(rest, PURSE)] if rest > PURSE_FEE_SAT else [])
                paying = [Input(outpoint, b"", REPLACEABLE)]
                return self.send(build_transaction(paying, outputs, witness=[ANYONE_MAY]).raw)
        raise Refused("no coin of the purse is large enough: mine more blocks")

    def unspent(self, outpoint: Outpoint) -> Output | None:
        """Return an output that nothing spends, mined or waiting."""
        coin = self._coin(outpoint)
        return None if coin is None or self._spender(outpoint) is not None else coin[0]

    def _coin(self, outpoint: Outpoint) -> tuple[Output, int] | None:
        """Return an output and the height it comes at."""
        maker = self.waiting.get(outpoint.txid)
        if maker is not None and outpoint.place < len(maker.outputs):
            return maker.outputs[outpoint.place], self.height + 1
        return self._unspent.get(outpoint)

    def _spender(self, outpoint: Outpoint) -> str | None:
        spending = (txid for txid, each in self.waiting.items() if outpoint in {one.spends for one in each.inputs})
        return next(spending, None)

    def _is_mined(self, sent: Transaction) -> bool:
        return any(Outpoint(sent.txid, index) in self._unspent for index in range(len(sent.outputs)))

    def _fee(self, sent: Transaction) -> int:
        coins = [self._coin(each.spends) for each in sent.inputs]
        if None in coins:
            raise Refused("bad-txns-inputs-missingorspent")
        fee = sum(coin[0].sat for coin in coins if coin) - sum(each.sat for each in sent.outputs)
        if fee < 0:
            raise Refused("bad-txns-in-belowout")
        return fee

    def _require_standard(self, sent: Transaction, fee: int) -> None:
        """Refuse what a Bitcoin node with its default policy does not pass on."""
        if any(each.sat < _dust(each) for each in sent.outputs):
            raise Refused("dust")
        if fee < sent.virtual_size:
            raise Refused(f"min relay fee not met, {fee} < {sent.virtual_size}")
        if not self._is_final(sent):
            raise Refused("non-final")

    def _is_final(self, sent: Transaction) -> bool:
        """Tell whether its locks let it into the next block."""
        following = self.height + 1
        if sent.lock_time in HEIGHTS and any(each.sequence != FINAL for each in sent.inputs):
            return sent.lock_time < following
        for each in sent.inputs if sent.version > 1 else ():
            coin = self._coin(each.spends)
            if coin is None or (
                not each.sequence & (NO_RELATIVE_LOCK | LOCK_IN_TIME) and _too_young(each, coin, following)
            ):
                return False
        return True

    def _minable(self) -> Iterator[Transaction]:
        chosen: set[str] = set()
        for txid, each in self.waiting.items():
            there = all(one.spends in self._unspent or one.spends.txid in chosen for one in each.inputs)
            if there and self._is_final(each):
                chosen.add(txid)
                yield each

    def _coinbase(self, height: int, commitment: bytes) -> Transaction:
        self._made += 1
        written = height.to_bytes(4, "little") + self._made.to_bytes(4, "little")  # BIP-34 wants the height first
        return build_transaction(
            [Input(NOBODY, bytes([4]) + written[:4] + bytes([4]) + written[4:], FINAL)],
            [Output(SUBSIDY_SAT, PURSE), Output(0, bytes.fromhex("6a24aa21a9ed") + commitment)],
            witness=[bytes(32)],
        )

    def _append(self, block: Block) -> None:
        height = len(self.blocks)
        self.blocks.append(block)
        for each in block.transactions:
            for one in each.inputs:
                self._unspent.pop(one.spends, None)
            for index, output in enumerate(each.outputs):
                if output.script[:1] != bytes([DATA_CARRIER]):
                    self._unspent[Outpoint(each.txid, index)] = (output, height)
            self.waiting.pop(each.txid, None)


def _too_young(spending: Input, coin: tuple[Output, int], height: int) -> bool:
    """BIP-68: a spent output must have lain for so many blocks."""
    return coin[1] + (spending.sequence & 0xFFFF) > height


def _dust(output: Output) -> int:
    """Return what an output must be worth at least: three times what spending it costs."""
    if output.script[:1] == bytes([DATA_CARRIER]):
        return 0
    spending = 67 if output.script[1:2] in (b"\x14", b"\x20") and len(output.script) in (22, 34) else 148
    return 3 * (9 + len(output.script) + spending)


def _block(previous: bytes, time: int, transactions: list[Transaction], *, version: int = 4, nonce: int = 0) -> Block:
    root = _merkle_root([double_sha256(each.bare) for each in transactions])
    head = struct.pack("<I", version) + previous + root + struct.pack("<II", time, BITS)
    while True:
        raw = head + struct.pack("<I", nonce)
        digest = double_sha256(raw)
        if int.from_bytes(digest, "little") <= TARGET:
            break
        nonce += 1
    body = compact(len(transactions)) + b"".join(each.raw for each in transactions)
    return Block(digest[::-1].hex(), raw + body, time, tuple(transactions))


def _merkle_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        paired = hashes + hashes[-1:] * (len(hashes) % 2)
        hashes = [double_sha256(one + other) for one, other in zip(paired[::2], paired[1::2], strict=True)]
    return hashes[0]
