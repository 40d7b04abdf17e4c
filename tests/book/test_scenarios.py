"""Stories of money in words, the worked example among them."""

from __future__ import annotations

import pytest

from tests.book.journals import JOURNALS
from tests.book.scenario import Scenario
from wallet.book import Book

STORIES = {
    "the worked example": """
        top-up bob 12000 sat
        hold bob 12000 sat for job1
        expect bob 0 hold:job1 12000 node -12000
        capture job1 alice 2000 carol 1000 dave 500 eve 120 frank 120 grace 300 heidi 300 platform 7660
        expect alice 2000 carol 1000 dave 500 eve 120 frank 120 grace 300 heidi 300 platform 7660
        expect bob 0 hold:job1 0 node -12000
        top-up bob 12000 sat
        hold bob 12000 sat for job2
        capture job2 alice 2000 carol 1000 dave 500 eve 120 frank 120 grace 300 heidi 300 platform 7660
        expect alice 4000 platform 15320 bob 0 hold:job2 0
    """,
    "a job that fails gives everything back": """
        top-up bob 20000 sat / hold bob 12000 sat for job1 / expect bob 8000 hold:job1 12000
        release job1 / expect bob 20000 hold:job1 0
    """,
    "a charge below the hold gives the rest back": """
        top-up bob 12000 sat / hold bob 12000 sat for job1 / capture job1 alice 2000 platform 999
        expect bob 9001 alice 2000 platform 999 hold:job1 0
    """,
    "a line played twice counts once": """
        top-up bob 12000 sat / again / expect bob 12000
        hold bob 12000 sat for job1 / again / expect bob 0 hold:job1 12000
        capture job1 alice 12000 / again / expect alice 12000 hold:job1 0 node -12000
    """,
    "who has too little holds nothing": """
        top-up bob 11999 sat / refused hold bob 12000 sat for job1 / expect bob 11999 hold:job1 0
        refused hold nobody 1 sat for job2 / expect nobody 0 hold:job2 0
    """,
    "a hold is used up once: captured is not released, released is not captured": """
        top-up bob 2000 sat / hold bob 1000 sat for job1 / hold bob 1000 sat for job2
        capture job1 alice 1000 / refused release job1 / release job2 / refused capture job2 alice 1000
        expect bob 1000 alice 1000 hold:job1 0 hold:job2 0
    """,
    "two jobs against a balance for one": """
        top-up bob 1500 sat / hold bob 1000 sat for job1 / refused hold bob 1000 sat for job2
        expect bob 500 hold:job1 1000 hold:job2 0
    """,
    "a hold that was refused can be made when the money is there": """
        top-up bob 1 sat / refused hold bob 2 sat for job1 / top-up bob 1 sat / hold bob 2 sat for job1
        expect bob 0 hold:job1 2
    """,
    "paying oneself nets zero": """
        top-up bob 1000 sat / hold bob 1000 sat for job1 / capture job1 bob 900 platform 100
        expect bob 900 platform 100 hold:job1 0
    """,
    "the last millisatoshi is somebody's": """
        top-up bob 1 sat / hold bob 1 sat for job1
        capture job1 alice 333msat carol 333msat platform 334msat
        expect alice 333msat carol 333msat platform 334msat bob 0 hold:job1 0
    """,
    "a payout with its fee": """
        top-up alice 2000 sat / move alice hold:1 2000 sat / move hold:1 node 1990 sat
        move hold:1 node 3 sat / move hold:1 alice 7 sat
        refused move hold:1 alice 1 msat
        expect alice 7 hold:1 0 node -7
    """,
    "the platform's accounts may stand either way": """
        move platform bob 500 sat / move fees alice 1 sat / expect platform -500 fees -1 bob 500 alice 1
    """,
}


ALL = STORIES | JOURNALS


@pytest.mark.parametrize("story", ALL.values(), ids=ALL.keys())
async def test_the_story_goes_as_it_is_told(book: Book, story: str) -> None:
    await Scenario(book).play(story)


@pytest.mark.parametrize(
    "story",
    [
        "top-up bob 10 sat / expect bob 11",
        "top-up bob 10 sat / expect bob 10 alice 1msat",
        "top-up bob 10 sat / refused hold bob 10 sat for job1",
        "hold bob 10 sat for job1",
        "top-up bob 10 sat / again / again / give bob 1 sat",
    ],
)
async def test_a_story_that_is_told_wrongly_fails(book: Book, story: str) -> None:
    with pytest.raises(AssertionError, match=story.rpartition("/")[2].strip()):
        await Scenario(book).play(story)
