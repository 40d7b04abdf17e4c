"""A planted fault is found; one that no longer fits the product's text is noticed. `make sim-mutants` plants all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator.mutants import MUTANTS, NotThere, copied, misfit, plant, tried
from tests.simulator.planted import Mutant


def test_a_fault_whose_text_is_gone_is_noticed(tmp_path: Path) -> None:
    gone = Mutant("gone", (("wallet/book.py", "no such line", ""),))
    with pytest.raises(NotThere, match="holds 0 times"):
        plant(gone, copied(tmp_path / "copy"))


def test_every_fault_of_the_list_can_be_planted() -> None:
    assert [text for text in map(misfit, MUTANTS) if text] == []


def test_a_planted_fault_is_found() -> None:
    lost = next(mutant for mutant in MUTANTS if mutant.name == "one msat is lost on the way")
    trial = tried(lost, seeds=3)
    assert trial.seed == 0
    assert "sum to" in trial.said
