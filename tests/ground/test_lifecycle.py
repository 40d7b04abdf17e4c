"""Life cycles: a pair in the table, or our bug."""

from __future__ import annotations

from enum import Enum
from itertools import product

import pytest

from relaybot.errors import IllegalStep
from relaybot.lifecycle import Lifecycle


class Door(Enum):
    OPEN = "open"
    SHUT = "shut"
    LOCKED = "locked"


class Move(Enum):
    PUSH = "push"
    TURN = "turn"


TABLE = {
    (Door.OPEN, Move.PUSH): Door.SHUT,
    (Door.SHUT, Move.PUSH): Door.OPEN,
    (Door.SHUT, Move.TURN): Door.LOCKED,
    (Door.LOCKED, Move.TURN): Door.SHUT,
}
DOOR = Lifecycle("door", TABLE)


@pytest.mark.parametrize(("state", "step"), list(product(Door, Move)))
def test_a_pair_in_the_table_leads_on_and_any_other_is_our_bug(state: Door, step: Move) -> None:
    assert DOOR.allows(state, step) == ((state, step) in TABLE)
    if (state, step) in TABLE:
        assert DOOR.after(state, step) is TABLE[state, step]
    else:
        with pytest.raises(IllegalStep, match=f"^door: {step.value} is not possible in {state.value}$") as error:
            DOOR.after(state, step)
        assert error.value.__cause__ is None


def test_a_table_that_is_changed_later_changes_no_life() -> None:
    table = dict(TABLE)
    door = Lifecycle("door", table)
    del table[Door.LOCKED, Move.TURN]
    assert door.after(Door.LOCKED, Move.TURN) is Door.SHUT


def test_the_picture_is_the_whole_table_one_line_a_pair() -> None:
    assert DOOR.picture().splitlines() == [
        "open --push  --> shut",
        "shut --push  --> open",
        "shut --turn  --> locked",
        "locked --turn--> shut",
    ]
