"""Which node gets a job: the rules, one by one, and what is remembered of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handlers.nodes import (
    NEWCOMERS_AT_ONCE,
    PATIENCE_SECONDS,
    PRIOR_MS,
    PRIOR_SUCCESS,
    REST_SECONDS,
    REST_SECONDS_MAX,
    Node,
    Record,
    Rules,
    Said,
    Wanted,
    capacity,
    choose,
    could_do,
)
from relaybot.nostr.encryption import NIP04, NIP44
from wallet.money import Msat, from_sat

NOW = 1_000_000
ALLOWED = "a" * 64
OPEN = Rules("open", frozenset({ALLOWED}), 4, 5, from_sat(1_000))
JOB = Wanted(5050, None, None, from_sat(12_000), from_sat(1_000), NOW)


def node(name: str = "one", **known: Any) -> Node:
    return Node(**{"pubkey": name, "kinds": frozenset({5050}), "assigned_at": NOW, **known})


def chosen(*nodes: Node, wanted: Wanted = JOB, now: int = NOW) -> str | None:
    found = choose(nodes, wanted, OPEN, now)
    return found.pubkey if found is not None else None


@pytest.mark.parametrize(
    ("admission", "pubkey", "said", "is_admitted"),
    [
        ("closed", ALLOWED, Said.NOTHING, True),
        ("closed", "stranger", Said.NOTHING, False),
        ("closed", "stranger", Said.APPROVED, False),
        ("closed", ALLOWED, Said.REFUSED, False),
        ("approved", ALLOWED, Said.NOTHING, True),
        ("approved", "stranger", Said.NOTHING, False),
        ("approved", "stranger", Said.APPROVED, True),
        ("approved", "stranger", Said.REFUSED, False),
        ("open", "stranger", Said.NOTHING, True),
        ("open", "stranger", Said.REFUSED, False),
        ("open", ALLOWED, Said.REFUSED, False),
    ],
)
def test_who_is_admitted(admission: str, pubkey: str, said: Said, *, is_admitted: bool) -> None:
    assert replace(OPEN, admission=admission).admits(pubkey, said) is is_admitted


def test_a_node_that_is_not_admitted_is_told_why() -> None:
    assert "refused" in OPEN.refusal_words(Said.REFUSED)
    assert "approval" in replace(OPEN, admission="approved").refusal_words(Said.NOTHING)
    assert "workers.allowed" in replace(OPEN, admission="closed").refusal_words(Said.NOTHING)


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({"kinds": frozenset({5100})}, {}),
        ({"models": frozenset({"large"})}, {"model": "small"}),
        ({"least_msat": from_sat(1_001)}, {}),
        ({"schemes": frozenset({NIP04})}, {"scheme": NIP44}),
        ({"pubkey": "tried"}, {"tried": frozenset({"tried"})}),
        ({"is_newcomer": True}, {"price_msat": from_sat(1_001)}),
        ({"is_idle": False}, {}),
        ({"open_jobs": 1}, {}),
    ],
)
def test_who_cannot_have_the_job_does_not_get_it(known: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert chosen(node(**known), wanted=replace(JOB, **wanted)) is None
    assert chosen(node()) == "one"


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({"models": frozenset({"large"})}, {"model": "large"}),
        ({"models": frozenset({"large"})}, {}),
        ({}, {"model": "any"}),
        ({"least_msat": from_sat(1_000)}, {}),
        ({"schemes": frozenset({NIP04})}, {"scheme": NIP04}),
        ({"schemes": frozenset({NIP04})}, {}),
        ({"is_newcomer": True}, {"price_msat": from_sat(1_000)}),
    ],
)
def test_who_can_have_the_job_gets_it(known: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert chosen(node(**known), wanted=replace(JOB, **wanted)) == "one"


def test_an_assignment_is_encrypted_as_its_node_can_read_it() -> None:
    assert JOB.scheme_for(node(schemes=frozenset({NIP04, NIP44}))) == NIP44
    assert JOB.scheme_for(node(schemes=frozenset({NIP04}))) == NIP04


@pytest.mark.parametrize(
    "better",
    [
        {"record": Record(job_ms=2_000, measured_at=NOW)},
        {"record": Record(success_ppm=1_000_000, measured_at=NOW)},
        {"assigned_at": NOW - 120},
        {"open_jobs": 0},
        {"least_msat": Msat(0)},
    ],
)
def test_the_better_of_two_gets_the_job_wherever_it_stands(better: dict[str, Any]) -> None:
    usual = {"capacity": 4, "open_jobs": 2, "least_msat": from_sat(500)}
    one, two = node("one", **usual), node("two", **{**usual, **better})
    assert chosen(one, two) == chosen(two, one) == "two"


def test_a_slow_node_has_its_turn_when_it_waited_long_enough() -> None:
    fast = node("fast", record=Record(job_ms=2_000, measured_at=NOW))
    slow = node("slow", record=Record(job_ms=8_000, measured_at=NOW), assigned_at=NOW - 60)
    assert chosen(fast, slow) == "fast"
    slow.assigned_at = NOW - 240
    assert chosen(fast, slow) == "slow"


def test_a_node_that_keeps_failing_rests_and_comes_back() -> None:
    record = Record()
    rests = []
    for _ in range(12):
        record = record.after_failure(NOW)
        rests.append(max(0, record.rests_until - NOW))
    assert rests[:4] == [0, REST_SECONDS, 2 * REST_SECONDS, 4 * REST_SECONDS]
    assert rests[-1] == REST_SECONDS_MAX
    assert (record.failed, record.failures, record.done) == (12, 12, 0)
    assert record.success_ppm < PRIOR_SUCCESS // 2
    again = record.after_success(3, NOW)
    assert (again.failures, again.rests_until, again.done) == (0, 0, 1)
    assert record.faded(NOW + 5 * 86_400).success_ppm == pytest.approx(PRIOR_SUCCESS, rel=0.01)


def test_speed_is_a_moving_average_that_fades() -> None:
    record = Record()
    for _ in range(60):
        record = record.after_success(60, NOW)
    assert record.job_ms == pytest.approx(60_000, rel=0.05)
    assert record.faded(NOW + 6 * 3_600).job_ms == pytest.approx((record.job_ms + PRIOR_MS) / 2, rel=0.01)
    assert record.faded(NOW + 10**9).job_ms == PRIOR_MS
    assert record.faded(NOW - 50) == record  # a clock that went back


def test_a_resting_node_works_only_where_no_other_can() -> None:
    resting = node("resting", record=Record(rests_until=NOW + 60))
    busy, free = node("busy", is_idle=False), node("free", record=Record(job_ms=60_000, measured_at=NOW))
    assert chosen(resting) == "resting"
    assert chosen(resting, busy) is None
    assert chosen(resting, busy, free) == "free"
    late = replace(JOB, held_at=NOW - PATIENCE_SECONDS)
    assert chosen(resting, busy, wanted=late) == "resting"
    assert chosen(resting, free, wanted=late) == "free"


def test_newcomers_have_few_small_jobs_in_their_hands() -> None:
    small = replace(JOB, price_msat=from_sat(100))
    many = [node(f"{number}", is_newcomer=True, open_jobs=1) for number in range(NEWCOMERS_AT_ONCE)]
    assert chosen(*many[1:], node("new", is_newcomer=True), wanted=small) == "new"
    assert chosen(*many, node("new", is_newcomer=True), wanted=small) is None
    assert chosen(*many, node("known"), wanted=small) == "known"


def test_how_many_jobs_a_node_has_at_once() -> None:
    assert capacity(OPEN, 0, is_newcomer=False) == 4
    assert capacity(OPEN, 2, is_newcomer=False) == 2
    assert capacity(OPEN, 64, is_newcomer=False) == 4
    assert capacity(OPEN, 64, is_newcomer=True) == 1


def test_whether_anybody_could_do_a_job() -> None:
    assert could_do([node(is_idle=False)], JOB, OPEN)
    assert not could_do([node(kinds=frozenset({5100}))], JOB, OPEN)
    assert not could_do([], JOB, OPEN)
