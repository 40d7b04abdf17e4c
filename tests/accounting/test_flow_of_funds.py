"""The event 37170 as words: built, read back, and refused field by field."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from relaybot.errors import Rejected
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.flow_of_funds import (
    CELLS,
    KIND,
    CellName,
    DaySummary,
    Period,
    build_summary,
    day_period,
    decode_figures,
    encode_figures,
    parse_summary,
)
from relaybot.nostr.keys import verify
from tests.accounting.conftest import BOOKS, NOVEMBER_22

PUBLISHED_AT = NOVEMBER_22.end + 3_600
FIGURES: dict[CellName, int | None] = {
    **dict.fromkeys(CELLS),
    ("in", "lightning"): 24_000_000,
    ("jobs", "count"): 7,
    ("earned", "other"): 5_000,
}
SUMMARY = DaySummary(NOVEMBER_22, k=5, dominance_percent=80, round_msat=1_000, figures=FIGURES)


def signed(*, tags: list[list[str]] | None = None, content: str | None = None, at: int = PUBLISHED_AT) -> Event:
    good = build_summary(BOOKS, SUMMARY, PUBLISHED_AT)
    return BOOKS.sign(
        kind=KIND,
        content=good.content if content is None else content,
        tags=[list(tag) for tag in good.tags] if tags is None else tags,
        created_at=at,
    )


def with_tag(name: str, *values: str) -> list[list[str]]:
    good = build_summary(BOOKS, SUMMARY, PUBLISHED_AT)
    return [[name, *values] if tag[0] == name else list(tag) for tag in good.tags]


def test_a_summary_comes_back_from_the_wire_as_it_was() -> None:
    event = parse_event(encode_event(build_summary(BOOKS, SUMMARY, PUBLISHED_AT)))
    assert verify(event)
    assert event.kind == 37170
    assert event.address() == f"37170:{BOOKS.pubkey}:day:2026-11-22"
    assert parse_summary(event) == SUMMARY


def test_the_tags_are_those_of_the_contract() -> None:
    tags = [list(tag) for tag in build_summary(BOOKS, SUMMARY, PUBLISHED_AT).tags]
    assert tags[:-1] == [
        ["d", "day:2026-11-22"],
        ["period", "1795305600", "1795392000"],
        ["schema", "flow-of-funds/1"],
        ["k", "5"],
        ["dominance", "80"],
        ["round", "1000"],
    ]
    assert tags[-1][0] == "alt"


def test_amounts_are_strings_of_digits_and_withheld_is_null() -> None:
    content = json.loads(build_summary(BOOKS, SUMMARY, PUBLISHED_AT).content)
    assert content["in"] == {"lightning": "24000000", "onchain": None, "card": None, "other": None}
    assert content["jobs"] == {"count": "7", "charged": None}


def test_the_content_is_canonical_json() -> None:
    content = encode_figures(FIGURES)
    assert content == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"))
    assert decode_figures(content) == FIGURES


def test_a_demonstration_says_so_and_may_tell_a_part_of_a_day() -> None:
    part = Period(NOVEMBER_22.start + 500, NOVEMBER_22.start + 900)
    summary = dataclasses.replace(SUMMARY, period=part, k=1, dominance_percent=100, demo=True)
    event = build_summary(BOOKS, summary, part.end)
    assert "k" in str(event.tag("demo"))
    assert parse_summary(event) == summary
    assert parse_summary(build_summary(BOOKS, summary, part.end - 1)) == summary  # the second that is running
    with pytest.raises(Rejected, match="field=period"):
        build_summary(BOOKS, summary, part.end - 2)


def test_tags_of_later_versions_are_passed_over() -> None:
    tags = [*with_tag("k", "5"), ["seq", "4"], ["e", "0" * 64, "", "prev"], ["commit", "sha256", "0" * 64]]
    assert parse_summary(signed(tags=tags)) == SUMMARY


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("schema", with_tag("schema", "flow-of-funds/2")),
        ("schema", with_tag("schema")),
        ("schema", [*with_tag("k", "5"), ["schema", "flow-of-funds/1"]]),
        ("d", with_tag("d", "day:2026-11-23")),
        ("d", with_tag("d", "day:2026-11-22", "again")),
        ("d", [*with_tag("k", "5"), ["d", "day:2026-11-22"]]),
        ("period", with_tag("period", "1795305600")),
        ("period", with_tag("period", "1795305600", "1795392000", "1795392000")),
        ("period", with_tag("period", "1795305600", "x")),
        ("period", with_tag("period", "-1", "1795392000")),
        ("period", with_tag("period", "1795392000", "1795305600")),
        ("period", with_tag("period", "1795305601", "1795392000")),
        ("period", with_tag("period", "1795305600", "1795391999")),
        ("period", with_tag("period", "1795305600", "9999999999999999999")),
        ("k", with_tag("k", "0")),
        ("k", with_tag("k", "05")),
        ("k", with_tag("k", "1000001")),
        ("k", with_tag("k")),
        ("k", [tag for tag in with_tag("k", "5") if tag[0] != "k"]),
        ("dominance", with_tag("dominance", "101")),
        ("dominance", with_tag("dominance", "80%")),
        ("round", with_tag("round", "0")),
        ("round", with_tag("round", "9999999999999999999")),
    ],
)
def test_a_wrong_tag_is_named(field: str, tags: list[list[str]]) -> None:
    with pytest.raises(Rejected) as caught:
        parse_summary(signed(tags=tags))
    assert (caught.value.prefix, caught.value.fields["field"]) == ("invalid", field)


def changed(**groups: dict[str, Any]) -> str:
    content = json.loads(encode_figures(FIGURES))
    for group, names in groups.items():
        content[group] = {**content[group], **names}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("content", ""),
        ("content", "[]"),
        ("content", "\ud800"),
        ("content", "[" * 5_000),
        ("content", changed(jobs={"count": 7})),
        ("content", changed(jobs={"median": "7"})),
        ("content", encode_figures({cell: None for cell in CELLS if cell != ("fees", "routing")})),
        ("content", encode_figures(FIGURES).replace("}}", '},"tips":{}}')),
        ("content", encode_figures(FIGURES).replace(":", ": ")),
        ("content", encode_figures(FIGURES).replace('"count"', '"count":"9","count"')),
        ("content.in.lightning", changed(**{"in": {"lightning": "0"}})),
        ("content.in.lightning", changed(**{"in": {"lightning": "1001"}})),
        ("content.in.lightning", changed(**{"in": {"lightning": "-5000"}})),
        ("content.in.lightning", changed(**{"in": {"lightning": "5e3"}})),
        ("content.in.lightning", changed(**{"in": {"lightning": "05000"}})),
        ("content.in.lightning", changed(**{"in": {"lightning": "2100000000000001000"}})),
    ],
)
def test_a_wrong_figure_is_named(field: str, content: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_summary(dataclasses_event(content))
    assert caught.value.fields["field"] == field


def dataclasses_event(content: str) -> Event:
    good = build_summary(BOOKS, SUMMARY, PUBLISHED_AT)
    return Event(good.id, good.pubkey, good.created_at, good.kind, good.tags, content, good.sig)


def test_another_kind_is_refused() -> None:
    event = BOOKS.sign(kind=37171, content="", tags=[], created_at=PUBLISHED_AT)
    with pytest.raises(Rejected, match="field=kind"):
        parse_summary(event)


def test_a_day_is_not_told_before_it_is_over() -> None:
    with pytest.raises(Rejected, match="field=period"):
        parse_summary(signed(at=NOVEMBER_22.end - 1))
    with pytest.raises(Rejected, match="field=period"):
        build_summary(BOOKS, SUMMARY, NOVEMBER_22.end - 1)


def test_what_a_reader_would_refuse_is_never_signed() -> None:
    for figures in ({**FIGURES, ("in", "card"): 0}, {("in", "card"): 1_000}, {**FIGURES, ("in", "gold"): 1_000}):
        with pytest.raises(Rejected, match="field=content"):
            build_summary(BOOKS, dataclasses.replace(SUMMARY, figures=figures), PUBLISHED_AT)


@pytest.mark.parametrize("day", ["2026-02-30", "20261122", "2026-W01-1", "", "2026-11-22 ", "day:2026-11-22"])
def test_a_day_that_is_none_is_refused(day: str) -> None:
    with pytest.raises(Rejected, match="no such day"):
        day_period(day)


def test_a_day_begins_and_ends_at_midnight_utc() -> None:
    period = day_period("1970-01-02")
    assert (period.start, period.end, period.day) == (86_400, 172_800, "1970-01-02")


def test_what_was_found_is_shown_short() -> None:
    with pytest.raises(Rejected) as caught:
        parse_summary(signed(tags=with_tag("k", "x" * 5_000)))
    assert len(str(caught.value)) < 200
