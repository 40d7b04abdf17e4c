"""Which figures stand: worked examples, the attacks J1 and J2, and properties over random days."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relaybot.accounting.carry import Carry
from relaybot.accounting.closing import Rules, stands
from relaybot.errors import Rejected
from relaybot.nostr.event import encode_event
from relaybot.nostr.flow_of_funds import CELLS, LAYOUT, build_summary, parse_summary, unit_of
from tests.accounting.conftest import (
    BOOKS,
    NOVEMBER_22,
    STRICT,
    Cells,
    closed,
    closed_days,
    job,
    people,
    together,
    whole,
)

FIVE = ("a", "b", "c", "d", "e")


def test_five_people_stand() -> None:
    summary, carry = closed({("in", "lightning"): people(*FIVE, each=10_000)})
    assert summary.figures["in", "lightning"] == 50_000
    assert carry == Carry()


def test_four_people_are_withheld_and_wait() -> None:
    cells: Cells = {("in", "lightning"): people("a", "b", "c", "d", each=10_000)}
    summary, carry = closed(cells)
    assert set(summary.figures.values()) == {None}
    assert carry.accounts == cells


def test_those_who_wait_are_counted_with_those_who_come() -> None:
    _, carry = closed({("in", "lightning"): people("a", "b", "c", each=10_000)})
    summary, carry = closed({("in", "lightning"): people("a", "d", "e", each=5_000)}, carried=carry)
    assert summary.figures["in", "lightning"] == 45_000
    assert carry == Carry()


def test_one_who_has_most_of_a_cell_is_withheld() -> None:
    exactly: Cells = {("in", "lightning"): {**people(*FIVE[1:], each=10_000), "a": 160_000}}
    above: Cells = {("in", "lightning"): {**people(*FIVE[1:], each=10_000), "a": 160_001}}
    assert closed(exactly)[0].figures["in", "lightning"] == 200_000
    assert closed(above)[0].figures["in", "lightning"] is None


def test_nothing_is_told_of_an_empty_day_not_even_that_it_was_empty() -> None:
    summary, carry = closed({})
    assert set(summary.figures.values()) == {None}
    assert carry == Carry()


def test_small_cells_fold_into_other() -> None:
    cells: Cells = {
        ("earned", "compute"): people(*FIVE, each=10_000),
        ("earned", "model"): people("f", "g", "h", each=4_000),
        ("earned", "data"): people("h", "i", "j", each=1_000),
    }
    figures = closed(cells)[0].figures
    assert figures["earned", "compute"] == 50_000
    assert figures["earned", "other"] == 15_000
    assert figures["earned", "model"] is None


def test_a_person_in_two_cells_is_one_person() -> None:
    cells: Cells = {
        ("earned", "model"): people("f", "g", "h", each=4_000),
        ("earned", "data"): people("f", "g", each=4_000),
    }
    assert closed(cells)[0].figures["earned", "other"] is None


def test_the_smallest_standing_cells_join_other_until_it_stands() -> None:
    cells: Cells = {
        ("earned", "compute"): people(*FIVE, each=10_000),
        ("earned", "api"): people(*FIVE, each=2_000),
        ("earned", "app"): people(*FIVE, each=3_000),
        ("earned", "model"): {"grace": 45_000},
    }
    figures = closed(cells)[0].figures
    assert figures["earned", "other"] == 45_000 + 10_000 + 15_000  # api alone would leave grace 45 of 55
    assert figures["earned", "compute"] == 50_000
    assert figures["earned", "api"] is figures["earned", "app"] is figures["earned", "model"] is None


def test_a_group_that_cannot_stand_waits_whole_under_its_own_names() -> None:
    cells: Cells = {
        ("in", "lightning"): people(*FIVE, each=10_000),
        ("in", "onchain"): {"whale": 900_000},
        ("out", "lightning"): people(*FIVE, each=7_000),
    }
    summary, carry = closed(cells)
    assert summary.figures["in", "lightning"] is summary.figures["in", "other"] is None
    assert summary.figures["out", "lightning"] == 35_000
    assert carry.accounts == {cell: amounts for cell, amounts in cells.items() if cell[0] == "in"}


def test_rounding_leaves_a_rest_that_counts_as_nobody() -> None:
    first: Cells = {("fees", "routing"): people(*FIVE, each=1_300)}
    summary, carry = closed(first)
    assert summary.figures["fees", "routing"] == 6_000
    assert carry == Carry({}, {("fees", "routing"): 500})
    four: Cells = {("fees", "routing"): people("a", "b", "c", "d", each=1_000)}
    assert closed(four, carried=carry)[0].figures["fees", "routing"] is None
    summary, carry = closed({("fees", "routing"): people(*FIVE, each=1_100)}, carried=carry)
    assert summary.figures["fees", "routing"] == 6_000
    assert carry == Carry()


def test_less_than_the_rounding_unit_is_withheld_and_not_told_as_nothing() -> None:
    summary, carry = closed({("fees", "routing"): people(*FIVE, each=199)})
    assert summary.figures["fees", "routing"] is None
    assert carry.accounts["fees", "routing"] == people(*FIVE, each=199)


def test_jobs_are_counted_by_customers() -> None:
    one_buyer = together(*[job("a", {}, platform=10_000) for _ in range(9)])
    five_buyers = together(*[job(name, {}, platform=10_000) for name in (*FIVE, "a")])
    assert closed(one_buyer)[0].figures["jobs", "count"] is None
    figures = closed(five_buyers)[0].figures
    assert (figures["jobs", "count"], figures["jobs", "charged"]) == (6, 60_000)
    assert figures["earned", "platform"] == 60_000


def test_the_rule_of_a_demonstration_shows_everything() -> None:
    cells = job("bob", {"model": ("grace", 300_000)}, platform=11_700_000)
    summary, carry = closed(cells, Rules(k=1, dominance_percent=100, demo=True))
    assert summary.demo
    assert summary.figures["earned", "model"] == 300_000
    assert carry == Carry()


def test_the_summary_says_by_which_rule_it_was_made() -> None:
    summary, _ = closed({}, Rules(k=7, dominance_percent=60, round_msat=10_000))
    assert (summary.k, summary.dominance_percent, summary.round_msat) == (7, 60, 10_000)
    assert (summary.period, summary.day, summary.demo) == (NOVEMBER_22, "2026-11-22", False)


@pytest.mark.parametrize("rule", [{"k": 0}, {"dominance_percent": 0}, {"dominance_percent": 101}, {"round_msat": 0}])
def test_a_rule_that_protects_nobody_by_accident_is_refused(rule: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        Rules(**rule)  # type: ignore[arg-type]


def test_unknown_cells_and_negative_amounts_are_refused() -> None:
    with pytest.raises(Rejected, match="no such cell"):
        closed({("in", "gold"): {"a": 1}})
    with pytest.raises(Rejected, match="below zero"):
        closed({("in", "card"): {"a": -1}})


def test_an_amount_of_zero_is_nobody() -> None:
    summary, carry = closed({("in", "card"): {**people("a", "b", "c", "d", each=1_000), "e": 0}})
    assert summary.figures["in", "card"] is None
    assert "e" not in carry.accounts["in", "card"]


# J1: no published figure stands on fewer than k people, or mostly on one; subtracting isolates nobody.


def test_j1_what_was_charged_minus_the_roles_does_not_give_away_the_one_in_the_missing_role() -> None:
    jobs = [
        job(customer, {"compute": (f"node-{customer}", 10_000), "model": ("grace", 3_000)}, platform=7_000)
        for customer in FIVE
    ]
    figures = closed(together(*jobs))[0].figures
    assert figures["jobs", "charged"] == 100_000
    assert figures["earned", "model"] is None
    earned = {name: figure for (group, name), figure in figures.items() if group == "earned" and figure}
    assert sum(earned.values()) == 100_000  # so the difference says nothing
    assert earned == {"compute": 50_000, "other": 50_000}  # grace is one of six in `other`


def test_j1_the_roles_are_withheld_when_they_would_tell_what_one_customer_paid() -> None:
    shares = {"compute": ("n1", 1_000), "model": ("m1", 1_000), "data": ("d1", 1_000), "api": ("a1", 1_000)}
    cells = together(job("bob", shares, platform=7_000), job("bob", {"app": ("p1", 1_000)}, platform=1_000))
    assert stands(("earned", "other"), people("n1", "m1", "d1", "a1", "p1", each=1_000), STRICT)
    summary, carry = closed(cells)
    assert set(summary.figures.values()) == {None}
    assert whole("earned", dict(carry.accounts)) == whole("jobs", dict(carry.accounts)) - 2  # type: ignore[arg-type]


def test_j1_what_was_paid_out_minus_what_was_earned_does_not_isolate_the_one_in_a_small_role() -> None:
    nodes = {f"node-{name}": 10_000 for name in FIVE}
    jobs = [job(name, {"compute": (f"node-{name}", 10_000)}, platform=2_000) for name in FIVE]
    jobs.append(job("a", {"model": ("grace", 9_000)}, platform=1_000))
    cells = together(*jobs, {("out", "lightning"): {**nodes, "grace": 9_000}})
    figures = closed(cells)[0].figures
    assert figures["out", "lightning"] == 59_000
    assert figures["earned", "compute"] == 50_000
    assert figures["earned", "platform"] is None  # it joined grace: nothing of `earned` is left untold
    assert sum(figure or 0 for (group, _), figure in figures.items() if group == "earned") == 70_000


def test_j1_k_minus_one_confederates_find_no_figure_of_theirs_and_one_victim_below_k() -> None:
    summary, _ = closed({("in", "lightning"): people("mallory1", "mallory2", "mallory3", "victim", each=5_000)})
    assert summary.figures["in", "lightning"] is None


def test_j1_over_many_days_every_figure_has_its_people_and_differences_of_days_share_no_money() -> None:
    """Whose money a figure tells is recomputed here from what went in and what is handed on."""
    rng = random.Random(20261122)
    for _ in range(150):
        rules = Rules(
            k=rng.choice((2, 3, 5)), dominance_percent=rng.choice((50, 80)), round_msat=rng.choice((1, 1_000))
        )
        days = [random_day(rng) for _ in range(6)]
        carry, told = Carry(), Counter[str]()
        for cells, (summary, after) in zip(days, closed_days(days, rules), strict=True):
            pending = together(dict(carry.accounts), cells)  # type: ignore[arg-type]
            for group in LAYOUT:
                gone = {cell for cell in pending if cell[0] == group and cell not in after.accounts}
                shown = {cell for cell in CELLS if cell[0] == group and summary.figures[cell] is not None}
                if shown:  # whole or not at all: nothing of the group is left to subtract for
                    assert gone == {cell for cell in pending if cell[0] == group}
                for cell in shown:
                    parts = (
                        [cell] if cell[1] != "other" else [part for part in gone if part not in shown or part == cell]
                    )
                    by_account = Counter[str]()
                    for part in parts:
                        by_account.update(pending[part])
                    assert len(by_account) >= rules.k
                    assert max(by_account.values()) * 100 <= rules.dominance_percent * by_account.total()
                    told[group] += summary.figures[cell] or 0
            carry = after
        for group in LAYOUT:
            assert told[group] + waiting(group, carry) == sum(whole(group, cells) for cells in days)


def test_j1_charged_and_earned_are_told_on_the_same_days_and_agree_to_the_rounding() -> None:
    rng = random.Random(4)
    for _ in range(100):
        days = [random_jobs(rng) for _ in range(5)]
        for summary, _ in closed_days(days, Rules(k=3, dominance_percent=70, round_msat=1_000)):
            charged = summary.figures["jobs", "charged"]
            earned = [figure for (group, _), figure in summary.figures.items() if group == "earned" and figure]
            assert (charged is None) == (not earned) == (summary.figures["jobs", "count"] is None)
            assert abs((charged or 0) - sum(earned)) < 1_000 * (len(LAYOUT["earned"]) + 1)


def random_jobs(rng: random.Random) -> Cells:
    roles = ("compute", "model", "data", "algorithm")
    return together(
        *(
            job(
                f"customer{rng.randrange(8)}",
                {role: (f"{role}{rng.randrange(4)}", rng.randrange(1, 9_999)) for role in rng.sample(roles, 2)},
                platform=rng.randrange(1, 9_999),
            )
            for _ in range(rng.randrange(12))
        )
    )


def random_day(rng: random.Random) -> Cells:
    cells: Cells = {}
    for cell in CELLS:
        if rng.random() < 0.6:
            count = rng.choice((0, 1, 2, 5, 9))
            cells[cell] = {f"p{rng.randrange(12)}": rng.choice((0, 1, 999, 5_000, 80_000)) for _ in range(count)}
    return cells


def waiting(group: str, carry: Carry) -> int:
    rests = sum(rest for cell, rest in carry.remainders.items() if cell[0] == group)
    return rests + sum(sum(amounts.values()) for cell, amounts in carry.accounts.items() if cell[0] == group)


# J2: no pubkey, event id, payment hash, address or exact time of a person in a summary.


def test_j2_a_summary_holds_no_name_no_id_and_no_time_but_the_days_own() -> None:
    rng = random.Random(2)
    keys = [rng.randbytes(32).hex() for _ in range(12)]
    jobs = [job(key, {"compute": (keys[index - 1], 5_000)}, platform=1_000) for index, key in enumerate(keys)]
    cells = together(*jobs, {("in", "lightning"): people(*keys, each=9_000)})
    summary, _ = closed(cells)
    event = build_summary(BOOKS, summary, NOVEMBER_22.end + 3_600)
    told = " ".join([event.content, *(value for tag in event.tags for value in tag)])
    assert not re.search(r"[0-9a-f]{32}|@|ln(?:bc|tb|bcrt|url)|npub|note1|nevent", told)
    assert set(re.findall(r"\b1[0-9]{9}\b", told)) == {str(NOVEMBER_22.start), str(NOVEMBER_22.end)}
    assert not any(key in encode_event(event) for key in keys)


amounts = st.integers(0, 10**15)
cell_amounts = st.dictionaries(st.sampled_from([f"p{n}" for n in range(9)]), amounts, max_size=9)
days_of_cells = st.lists(st.dictionaries(st.sampled_from(CELLS), cell_amounts, max_size=len(CELLS)), max_size=5)
all_rules = st.builds(Rules, st.integers(1, 6), st.integers(1, 100), st.integers(1, 10**6))


@given(days=days_of_cells, rules=all_rules)
@settings(max_examples=80, deadline=None)
def test_nothing_is_ever_lost_or_invented_and_withheld_is_never_zero(days: list[Cells], rules: Rules) -> None:
    results = closed_days(days, rules)
    final = results[-1][1] if results else Carry()
    for group in LAYOUT:
        told = sum(summary.figures[cell] or 0 for summary, _ in results for cell in CELLS if cell[0] == group)
        assert told + waiting(group, final) == sum(whole(group, cells) for cells in days)
    for summary, carry in results:
        for cell, figure in summary.figures.items():
            unit = unit_of(cell, rules.round_msat)
            assert figure is None or (figure > 0 and figure % unit == 0)
            assert 0 <= carry.remainders.get(cell, 0) < unit
        assert Carry.from_json(carry.to_json()) == carry
        event = build_summary(BOOKS, summary, summary.period.end)
        assert parse_summary(event) == summary


def test_the_order_in_which_contributions_come_does_not_matter() -> None:
    rng = random.Random(9)
    for _ in range(50):
        cells = random_day(rng)
        turned = {cell: dict(reversed(cells[cell].items())) for cell in reversed(cells)}
        assert closed(cells) == closed(turned)
