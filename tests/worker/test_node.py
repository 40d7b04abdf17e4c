"""From an assignment to its result, through failures, crashes and unwilling relays (attacks I1, I2, I3, I5)."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.server import ServerConnection

from relaybot.errors import BadConfig
from relaybot.nostr import nip90
from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.keys import verify
from relaybot.worker.journal import KEPT_SECONDS, OWED_SECONDS
from relaybot.worker.node import OVERLAP_SECONDS
from relaybot.worker.work import Done, Say, WorkFailed
from tests.connection.conftest import MALLORY, NOW, scripted_relay, until
from tests.worker.conftest import CAROL, LEASE_SECONDS, SERVICE, Office, assignment

# --- the good case


async def test_an_assignment_is_claimed_worked_on_and_delivered(office: Office) -> None:
    child = assignment("issue 1")
    async with office.open():
        await office.give(child)
        (claim,) = await office.hear(7000)
        (result,) = await office.hear(6050)
    assert verify(claim)
    assert verify(result)
    said = nip90.parse_feedback(claim, SERVICE)
    assert (said.status, said.request_id, said.customer) == ("processing", child.id, SERVICE.pubkey)
    delivered = nip90.parse_result(result, SERVICE)
    assert (delivered.content, delivered.request_id) == ("done: issue 1", child.id)
    assert (result.tag("request"), result.tag("p"), delivered.amount_msat) == (
        encode_event(child),
        SERVICE.pubkey,
        None,
    )


async def test_nothing_of_a_job_can_be_read_by_others(office: Office) -> None:
    async with office.open():
        await office.give(assignment("secret words"))
        (result,) = await office.hear(6050)
        (claim,) = await office.hear(7000)
    assert all("secret words" not in encode_event(event) for event in (claim, result))
    assert nip90.encryption_of(claim) == nip90.encryption_of(result) == "nip44"


async def test_a_job_in_the_open_is_answered_in_the_open(office: Office) -> None:
    child = nip90.build_job_request(
        SERVICE,
        kind=5100,
        inputs=[nip90.Input("open", "text")],
        provider=CAROL.pubkey,
        expiration=NOW + LEASE_SECONDS,
        now=NOW,
    )
    async with office.open():
        await office.give(child)
        (result,) = await office.hear(6100)
    assert result.content == "done: open"


async def test_only_the_services_assignments_to_this_node_are_asked_for(office: Office) -> None:
    async with office.open():
        await until(lambda: bool(office.asked()))
    assert office.asked()[0][2] == {
        "authors": [SERVICE.pubkey],
        "kinds": [5050, 5100],
        "#p": [CAROL.pubkey],
        "since": NOW - OVERLAP_SECONDS,
    }


async def test_jobs_are_worked_side_by_side_as_far_as_hands_go(office: Office) -> None:
    office.works.release.clear()
    async with office.open(concurrency=2):
        await office.give(*(assignment(f"issue {number}") for number in range(5)))
        await office.hear(7000, 5)
        await until(lambda: office.works.running == 2)
        office.works.release.set()
        await office.hear(6050, 5)
    assert office.works.most == 2
    assert sorted(office.works.done) == [f"issue {number}" for number in range(5)]


# --- what is not worked on


@pytest.mark.parametrize(
    "wrong",
    [
        assignment("bad", author=MALLORY),
        assignment("bad", node=MALLORY),
        assignment("bad", kind=5999),
        assignment("bad", lease=0),
        assignment("bad", lease=-1),
        assignment("bad", lease=None),
        assignment("bad", created_at=NOW - OVERLAP_SECONDS - 1, lease=5_000),
        SERVICE.sign(kind=5050, content="", tags=[("p", CAROL.pubkey), ("expiration", "soon")], created_at=NOW),
    ],
)
async def test_what_is_not_ours_or_no_longer_wanted_is_passed_over(office: Office, wrong: Event) -> None:
    async with office.open():
        await office.give(wrong, assignment("good"))
        await office.hear(6050)
    assert office.works.done == ["good"]
    assert len(office.said(7000)) == 1


async def test_an_assignment_without_a_true_signature_is_passed_over(office: Office) -> None:
    good, other = assignment("good"), assignment("other")
    forged = Event(good.id, good.pubkey, good.created_at, good.kind, good.tags, good.content, other.sig)
    async with office.open():
        await office.give(forged, other)
        await office.hear(6050)
    assert office.works.done == ["other"]


async def test_an_assignment_beyond_the_queue_is_left_for_others(office: Office) -> None:
    office.works.release.clear()
    async with office.open(queue_max=1):
        await office.give(assignment("first"))
        await until(lambda: office.works.running == 1)
        await office.give(assignment("second"), assignment("third"), assignment("third", kind=5100))
        await office.hear(7000, 2)
        office.works.release.set()
        await office.hear(6050, 2)
    assert office.works.done == ["first", "second"]


async def test_the_same_assignment_from_two_relays_and_again_is_worked_once(office: Office) -> None:
    child, last = assignment("issue 1"), assignment("last")
    async with scripted_relay() as second:
        office.relays.append(second)
        second.events = [child]
        async with office.open(relay_urls=(office.relays[0].url, second.url)):
            await office.give(child, child)
            await office.hear(6050, relay=0)
            await office.hear(6050, relay=1)
            await office.give(child, last)
            await office.hear(6050, 2, relay=1)
    assert office.works.done == ["issue 1", "last"]
    assert office.said(6050, relay=0) == office.said(6050, relay=1)


# --- failures


async def test_work_that_fails_says_why_to_the_service_alone(office: Office) -> None:
    async def work(job: nip90.JobRequest, _say: Say) -> Done:
        raise WorkFailed(f"cannot do {job.inputs[0].data}")

    async with office.open(work=work):
        await office.give(assignment("issue 1"))
        assert await office.hear_errors() == ["cannot do issue 1"]
    assert all("cannot do" not in encode_event(event) for event in office.said(7000))
    assert office.said(6050) == []


async def test_work_that_breaks_fails_its_job_and_not_the_node(office: Office) -> None:
    async def work(job: nip90.JobRequest, _say: Say) -> Done:
        if job.inputs[0].data == "bad":
            raise LookupError(job.inputs[0].data)
        return Done("good")

    async with office.open(work=work):
        await office.give(assignment("bad"), assignment("good"))
        assert await office.hear_errors() == ["the node's own work broke"]
        await office.hear(6050)


async def test_work_that_outlasts_its_lease_is_ended_in_time_to_say_so(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.give(assignment(lease=1))
        assert await office.hear_errors() == ["the time for the job was up"]
        assert office.works.running == 0


async def test_an_assignment_that_cannot_be_read_is_answered_with_an_error(office: Office) -> None:
    tags = [("p", CAROL.pubkey), ("expiration", str(NOW + 60)), ("encrypted",)]
    unreadable = SERVICE.sign(kind=5050, content="no payload", tags=tags, created_at=NOW)
    async with office.open():
        await office.give(unreadable)
        (error,) = await office.hear_errors()
    assert error.startswith("invalid: content:")


async def test_an_empty_answer_of_built_in_work_is_an_error(office: Office) -> None:
    async def work(_job: nip90.JobRequest, _say: Say) -> Done:
        return Done("")

    async with office.open(work=work):
        await office.give(assignment())
        (error,) = await office.hear_errors()
    assert "wrong size" in error


async def test_a_job_whose_lease_ended_in_the_queue_is_not_begun(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.give(assignment("long", lease=5_000), assignment("short", lease=60))
        await office.hear(7000, 2)
        await until(lambda: office.works.running == 1)
        office.clock.advance(61)
        office.works.release.set()
        await office.give(assignment("last", lease=5_000))
        await office.hear(6050, 2)
    assert office.works.done == ["long", "last"]
    assert office.errors() == []


# --- crashes


async def test_a_result_that_no_relay_acknowledged_is_sent_again_as_it_was(office: Office) -> None:
    async def silent_on_results(socket: ServerConnection, event: Event) -> None:
        if event.kind != 6050:
            await socket.send(json.dumps(["OK", event.id, True, ""]))

    office.relays[0].on_event = silent_on_results
    async with office.open():
        await office.give(assignment())
        (first,) = await office.hear(6050)
    office.relays[0].on_event = None
    async with office.open():
        _, second = await office.hear(6050, 2)
    assert first == second
    assert office.works.done == ["issue 1"]


async def test_a_finished_assignment_is_known_after_a_restart(office: Office) -> None:
    child = assignment("issue 1")
    async with office.open():
        await office.give(child)
        await office.hear(6050)
    office.relays[0].frames.clear()
    office.relays[0].events = [child, assignment("issue 2")]
    async with office.open():
        await until(lambda: len(office.works.done) == 2)
        await office.hear(6050, 2)
    assert office.works.done == ["issue 1", "issue 2"]


async def test_work_that_a_crash_interrupted_is_begun_again(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.give(assignment("issue 1"))
        await until(lambda: office.works.running == 1)
        await office.hear(7000)
    office.works.release.set()
    async with office.open():
        await office.hear(6050)
    assert office.works.done == ["issue 1"]
    assert len(set(office.said(7000))) == 1


async def test_work_interrupted_until_its_lease_has_ended_is_left_alone(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.give(assignment("issue 1"))
        await until(lambda: office.works.running == 1)
    office.clock.advance(LEASE_SECONDS)
    office.works.release.set()
    office.relays[0].frames.clear()
    async with office.open():
        await office.give(assignment("issue 2", created_at=NOW + LEASE_SECONDS))
        await office.hear(6050)
    assert office.works.done == ["issue 2"]


async def test_after_a_long_absence_everything_since_the_last_assignment_is_read_again(office: Office) -> None:
    async with office.open():
        await office.give(assignment())
        await office.hear(6050)
    office.clock.advance(KEPT_SECONDS + LEASE_SECONDS - 1)
    async with office.open():
        await until(lambda: len(office.asked()) == 2)
        await until(lambda: len(office.said(11998)) >= 2)
    assert office.asked()[1][2]["since"] == NOW - OVERLAP_SECONDS  # type: ignore[index]


async def test_assignments_of_long_ago_are_forgotten(office: Office) -> None:
    async with office.open():
        await office.give(assignment())
        await office.hear(6050)
        await until(lambda: office.works.running == 0)
    office.clock.advance(KEPT_SECONDS + LEASE_SECONDS + 1)
    for _ in range(2):
        async with office.open():
            requests = len(office.asked())
            await until(lambda requests=requests: len(office.asked()) > requests)  # type: ignore[misc]
            await office.give(assignment("new", created_at=office.clock.now()))
            await until(lambda: "new" in office.works.done)
    assert office.asked()[-1][2]["since"] == office.clock.now() - OVERLAP_SECONDS  # type: ignore[index]


async def test_a_second_process_with_the_same_memory_is_refused(office: Office) -> None:
    async with office.open():
        await office.hear(11998)
        with pytest.raises(BadConfig, match="--state"):
            await office.node()


# --- unwilling relays


@pytest.mark.parametrize("words", ["rate-limited: slow down", "error: disk full", ""])
async def test_a_relay_that_cannot_take_a_result_now_is_asked_again(office: Office, words: str) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        accepted = event.kind != 6050 or len(office.said(6050)) == 3
        await socket.send(json.dumps(["OK", event.id, accepted, words]))

    office.relays[0].on_event = on_event
    async with office.open():
        await office.give(assignment())
        results = await office.hear(6050, 3)
        await office.give(assignment("next"))
        await until(lambda: len(office.said(7000)) == 2)
    assert len({result.id for result in results}) == 1


@pytest.mark.parametrize("words", ["duplicate: have it", "blocked: not you", "invalid: kind", "pow: 20 bits"])
async def test_a_relay_that_has_it_or_never_will_is_not_asked_again(office: Office, words: str) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        await socket.send(json.dumps(["OK", event.id, event.kind != 6050, words]))

    office.relays[0].on_event = on_event
    async with office.open():
        await office.give(assignment("first"))
        await office.hear(6050)
        await office.give(assignment("second"))
        await office.hear(6050, 2)
    async with office.open():
        await until(lambda: len(office.said(11998)) >= 2)
    assert len(office.said(6050)) == 2
    assert office.works.done == ["first", "second"]


async def test_a_result_is_given_up_when_the_service_no_longer_listens(office: Office) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        await socket.send(json.dumps(["OK", event.id, event.kind != 6050, "error: disk full"]))

    office.relays[0].on_event = on_event
    async with office.open():
        await office.give(assignment())
        await office.hear(6050, 2)
    sent = len(office.said(6050))
    office.relays[0].on_event = None
    office.clock.advance(LEASE_SECONDS + OWED_SECONDS + 1)
    for _ in range(2):
        async with office.open():
            await office.hear(11998, len(office.said(11998)) + 1)
    assert len(office.said(6050)) == sent


async def test_a_relay_that_is_away_does_not_hold_up_the_other(office: Office) -> None:
    async with office.open(relay_urls=("ws://127.0.0.1:1", office.relays[0].url)):
        await office.give(assignment())
        await office.hear(6050)


async def test_a_lost_connection_between_work_and_result_delays_the_result_only(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.give(assignment())
        await until(lambda: office.works.running == 1)
        await office.relays[0].sockets[0].close()
        office.works.release.set()
        await office.hear(6050)
    assert office.works.done == ["issue 1"]


async def test_pieces_are_passed_on_and_the_result_says_what_it_took(office: Office) -> None:
    office.works.pieces, office.works.usage = ["done: ", "issue"], {"tokens": 9}
    async with office.open():
        child = assignment("issue 1")
        await office.give(child)
        (result,) = await office.hear(6050)
        said = [nip90.parse_feedback(event, SERVICE) for event in office.said(7000)]
    assert [one.text for one in said if one.status == "partial"] == ["done: ", "issue"]
    assert nip90.parse_result(result, SERVICE).usage == {"tokens": 9}
