"""Scripted outcomes: what shall happen to the next payment that matches, kept until it happens.

A script comes over HTTP or from a test and is parsed here once; `payments.py` obeys it.
"""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from relaybot.simulator.store import Store


class Outcome(Enum):
    """What can be made to happen."""

    HOLD = "hold"  # sent, and pending until it is released
    FAIL = "fail"  # the call fails with `code`; with 203 or 209 after sending, else before
    ERROR_WHILE_PENDING = "error_while_pending"  # the call answers 209 at once, and a part stays pending until released
    LOST_CONNECTION = "lost_connection"  # sent, then the caller hears nothing; the payment goes on
    ORPHAN = "orphan"  # a row that stays pending for ever, without an HTLC; the caller hears nothing
    DELAY = "delay"  # as usual, after `seconds`
    WHOLE_MAXFEE = "whole_maxfee"  # the route takes every msat of the fee limit
    REMEMBERED = "remembered"  # it fails with 209; for an hour the payer takes the way to be too narrow for as much


class Ending(Enum):
    """How a payment that was sent ends."""

    SETTLE = "settle"
    FAIL = "fail"
    NEVER = "never"


class Script(BaseModel):
    """One scripted outcome. Without a hash, a wallet or a node it matches any payment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Outcome
    payment_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    wallet: str | None = None  # the destination: a simulated person
    node: str | None = None  # who pays
    code: int = 203  # FAIL
    seconds: float = Field(default=0.0, ge=0, le=86_400)  # what happens, happens so much later
    ending: Ending = Ending.SETTLE  # HOLD, ERROR_WHILE_PENDING, LOST_CONNECTION, DELAY
    times: int = Field(default=1, ge=1, le=1_000_000)  # how many payments it is for


USUAL = Script(outcome=Outcome.DELAY)


class Scripts:
    """The scripts that wait for their payment, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, script: Script) -> None:
        """Keep `script` until its payments have come."""
        self._store.run("INSERT INTO scripts (script) VALUES (?)", (script.model_dump_json(),))

    def waiting(self) -> list[Script]:
        """Return the scripts that still wait."""
        rows = self._store.rows("SELECT script FROM scripts ORDER BY id")
        return [Script.model_validate_json(row["script"]) for row in rows]

    def take(self, *, node: str, payment_hash: str, wallet: str | None) -> Script | None:
        """Return the oldest script for this payment, and count it."""
        for row in self._store.rows("SELECT id, script FROM scripts ORDER BY id"):
            script = Script.model_validate_json(row["script"])
            wanted = ((script.node, node), (script.payment_hash, payment_hash), (script.wallet, wallet))
            if all(each is None or each == found for each, found in wanted):
                self._count(row["id"], script)
                return script
        return None

    def _count(self, row_id: int, script: Script) -> None:
        if script.times == 1:
            self._store.run("DELETE FROM scripts WHERE id = ?", (row_id,))
            return
        left = script.model_copy(update={"times": script.times - 1})
        self._store.run("UPDATE scripts SET script = ? WHERE id = ?", (left.model_dump_json(), row_id))
