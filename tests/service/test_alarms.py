"""Alarms: what stands, whether it stops something, and one line of the log for each change."""

from __future__ import annotations

from structlog.testing import capture_logs

from relaybot.alarms import Alarms


def test_an_alarm_stands_until_whoever_raised_it_finds_nothing_any_more() -> None:
    alarms = Alarms()
    alarms.report("deposits", "the node lists 1 deposits no more")
    assert alarms.standing == {"deposits": "the node lists 1 deposits no more"}
    assert alarms.is_stopped
    alarms.report("deposits", None)
    assert alarms.standing == {}
    assert not alarms.is_stopped


def test_each_change_is_one_line_of_the_log_however_often_it_is_looked_at() -> None:
    alarms = Alarms()
    with capture_logs() as logs:
        for problem in (None, "one", "one", "two", "two", None, None):
            alarms.report("settlements", problem)
    assert [(line["event"], line.get("problem")) for line in logs] == [
        ("alarm", "one"),
        ("alarm", "two"),
        ("alarm_over", None),
    ]


def test_an_alarm_that_stops_nothing_leaves_the_service_ready_and_another_that_does_not() -> None:
    alarms = Alarms()
    alarms.report("liquidity_low", "little", stops=False)
    assert not alarms.is_stopped
    alarms.report("books_differ", "5 sat less")
    alarms.report("liquidity_low", None, stops=False)
    assert alarms.is_stopped
