"""Errors by whose fault, and how they are shown."""

from __future__ import annotations

import pytest

from relaybot.errors import BadConfig, IllegalStep, Rejected, RelaybotError, Unavailable


def test_a_refusal_is_shown_as_nip01_wants_it() -> None:
    assert str(Rejected("invalid", "bad signature")) == "invalid: bad signature"
    refusal = Rejected("rate-limited", "too many events", allowed=5, seconds=60)
    assert str(refusal) == "rate-limited: too many events (allowed=5, seconds=60)"


def test_a_refusal_can_be_written_whatever_a_stranger_sent() -> None:
    assert str(Rejected("invalid", "no text", found="a\udcffb")) == "invalid: no text (found=a?b)"


def test_a_program_can_act_on_a_refusals_parts() -> None:
    refusal = Rejected("blocked", "amount out of range", found=7, allowed="0..5")
    assert (refusal.prefix, refusal.reason) == ("blocked", "amount out of range")
    assert refusal.fields == {"found": 7, "allowed": "0..5"}


def test_a_bad_config_says_where_what_and_what_is_allowed() -> None:
    error = BadConfig("agents.autodev.price", "12 euro", "an amount such as 12000 sat")
    assert str(error) == "agents.autodev.price: found '12 euro'; allowed: an amount such as 12000 sat"
    assert (error.path, error.found, error.allowed) == error.args


@pytest.mark.parametrize(
    "error", [Rejected("error", "x"), BadConfig("a", 1, "b"), Unavailable("node"), IllegalStep("job")]
)
def test_every_error_on_purpose_has_one_root_and_its_own_place(error: RelaybotError) -> None:
    kinds = (Rejected, BadConfig, Unavailable, IllegalStep)
    assert isinstance(error, RelaybotError)
    assert sum(isinstance(error, kind) for kind in kinds) == 1
    assert not isinstance(error, OSError | ValueError | AssertionError)
