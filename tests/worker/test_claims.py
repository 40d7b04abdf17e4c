"""When an assignment is claimed: what is done at once is not, and a claim stands before every piece."""

from __future__ import annotations

from relaybot.nostr import nip90
from tests.worker.conftest import SERVICE, Office, assignment


async def test_what_is_done_at_once_needs_no_claim_and_what_takes_longer_is_claimed(office: Office) -> None:
    async with office.open(claim_after_seconds=0.02, concurrency=1):
        await office.give(assignment("quick"))
        await office.hear(6050)
        office.works.release.clear()
        slow, waiting = assignment("slow"), assignment("waiting")
        await office.give(slow, waiting)
        claims = await office.hear(7000, 2)
        office.works.release.set()
        await office.hear(6050, 3)
    assert {claim.tag("e") for claim in claims} == {slow.id, waiting.id}  # what waits for a hand, too
    assert len(office.said(7000)) == 2


async def test_a_claim_stands_before_the_first_piece_of_a_result(office: Office) -> None:
    office.works.pieces = ["done: "]
    async with office.open(claim_after_seconds=60):
        await office.give(assignment("issue 1"))
        await office.hear(6050)
        said = [nip90.parse_feedback(event, SERVICE) for event in office.said(7000)]
    statuses = [one.status for one in said]
    assert statuses.index("processing") < statuses.index("partial")
