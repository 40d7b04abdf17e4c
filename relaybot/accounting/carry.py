"""What is not published yet: whose money waits in which cell, and what rounding left over.

Plain data and its JSON for the store. It names accounts, so it never leaves the
operator's database. Which of it may be published is decided in `closing.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr.flow_of_funds import CELLS, CellName

Amounts: TypeAlias = Mapping[CellName, Mapping[str, int]]  # cell → account → msat (jobs/count: jobs)


@dataclass(frozen=True, slots=True)
class Carry:
    """What earlier days hand on.

    `accounts` is what was withheld, by account, so that people are counted over all
    the days that wait. `remainders` is what flooring left of published figures: it
    belongs to nobody any more and counts as nobody.
    """

    accounts: Amounts = field(default_factory=dict)
    remainders: Mapping[CellName, int] = field(default_factory=dict)

    def joined(self, cells: Amounts) -> dict[CellName, Counter[str]]:
        """Return what waits together with the `cells` of a new period; nothing of amount 0 is in it."""
        pending: dict[CellName, Counter[str]] = {}
        for source in (self.accounts, cells):
            for cell, amounts in source.items():
                _check_cell(cell)
                for account, amount in amounts.items():
                    _check_amount(cell, amount)
                    if amount:
                        pending.setdefault(cell, Counter())[account] += amount
        return pending

    def to_json(self) -> str:
        """Return the same text for the same carry."""
        stored = _Stored(
            accounts={_joined_name(cell): dict(amounts) for cell, amounts in self.accounts.items()},
            remainders={_joined_name(cell): amount for cell, amount in self.remainders.items()},
        )
        return msgspec.json.encode(stored, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str) -> Carry:
        """Read what `to_json` wrote; Rejected if it is anything else."""
        try:
            stored = msgspec.json.decode(text, type=_Stored)
        except msgspec.DecodeError as error:
            raise Rejected("invalid", "not a carry", problem=str(error)[:120]) from None
        carry = cls(
            {_split_name(name): amounts for name, amounts in stored.accounts.items()},
            {_split_name(name): amount for name, amount in stored.remainders.items()},
        )
        carry.joined({})
        for cell, amount in carry.remainders.items():
            _check_cell(cell)
            _check_amount(cell, amount)
        return carry


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accounts: dict[str, dict[str, int]]
    remainders: dict[str, int]


def _joined_name(cell: CellName) -> str:
    return "/".join(cell)


def _split_name(name: str) -> CellName:
    group, _, rest = name.partition("/")
    return group, rest


def _check_cell(cell: CellName) -> None:
    if cell not in CELLS:
        raise Rejected("invalid", "no such cell", found="/".join(cell)[:80])


def _check_amount(cell: CellName, amount: int) -> None:
    if amount < 0:
        raise Rejected("invalid", "amount below zero", cell="/".join(cell), found=amount)
