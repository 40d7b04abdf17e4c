"""Tips: in proportion, exact to the msat, whatever the order and however odd the sum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from splits.model import WHOLE, Millionths
from splits.tips import share_out, weights_of
from tests.splits.written import PEOPLE, agent, pubkey, resolved, story
from wallet.money import MAX_MSAT, Msat

NOW = 1_795_000_000
NOTHING = Millionths(0)
FIVE_PERCENT = Millionths(50_000)

weights = st.dictionaries(
    st.tuples(st.sampled_from([pubkey(str(n)) for n in range(7)]), st.sampled_from(["data", "model"])),
    st.integers(0, 10**12),
    max_size=9,
)


def test_an_agents_tip_goes_to_the_people_its_split_names() -> None:
    found = weights_of(story(), now=NOW)
    assert found == {
        (PEOPLE["alice"], "algorithm"): 2_000_000,
        (PEOPLE["dave"], "api"): 500_000,
        (PEOPLE["grace"], "model"): 300_000,
        (PEOPLE["heidi"], "data"): 300_000,
    }
    parts = share_out(Msat(3_100_000), found, platform=NOTHING)
    assert {part.to: part.amount_msat for part in parts} == {
        PEOPLE["alice"]: 2_000_000,
        PEOPLE["dave"]: 500_000,
        PEOPLE["grace"]: 300_000,
        PEOPLE["heidi"]: 300_000,
        None: 0,
    }


def test_metered_parts_wait_for_a_result() -> None:
    metered = {"to": "dave", "per": "1000 tokens", "amount": "3 sat", "at_most": "100 sat", "role": "api"}
    split = resolved(agent(price="1000 sat", shares=[{"to": "alice", "percent": "5%"}, metered]))
    assert weights_of(split, now=NOW) == {(PEOPLE["alice"], "app"): 50_000}


def test_the_platform_takes_its_percentage_and_what_flooring_leaves() -> None:
    among_three = {(pubkey(name), "data"): 1 for name in "abc"}
    parts = share_out(Msat(100), among_three, platform=FIVE_PERCENT)
    assert [part.amount_msat for part in parts] == [31, 31, 31, 7]
    assert parts[-1].to is None


def test_a_tip_with_nobody_to_give_it_to_is_the_platforms() -> None:
    (part,) = share_out(Msat(7), {}, platform=NOTHING)
    assert (part.to, part.role, part.amount_msat) == (None, "platform", 7)


def test_one_msat_among_seven_is_nobodys_but_the_platforms() -> None:
    among_seven = {(pubkey(str(n)), "data"): 1 for n in range(7)}
    assert [part.amount_msat for part in share_out(Msat(1), among_seven, platform=NOTHING)] == [1]


@given(st.integers(1, MAX_MSAT), weights, st.integers(0, WHOLE))
def test_the_parts_sum_to_the_tip_and_no_order_changes_them(
    tip: int, given_to: dict[tuple[str, str], int], platform: int
) -> None:
    parts = share_out(Msat(tip), given_to, platform=Millionths(platform))
    assert sum(part.amount_msat for part in parts) == tip
    assert all(part.amount_msat >= 0 for part in parts)
    turned = dict(reversed(given_to.items()))
    assert share_out(Msat(tip), turned, platform=Millionths(platform)) == parts
