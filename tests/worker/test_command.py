"""Work done by a program of the operator's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from relaybot.nostr.nip90 import Input, JobRequest
from relaybot.worker.command import REASON_CHARACTERS_MAX, command_work
from relaybot.worker.work import WorkFailed
from tests.worker.conftest import Office, assignment, unheard


def job(text: str = "issue 1") -> JobRequest:
    return JobRequest(
        event_id="00" * 32,
        customer="11" * 32,
        kind=5050,
        created_at=0,
        inputs=(Input(text, "text"), Input("22" * 32, "event", relay="wss://relay.example", marker="m")),
        params=(("model", "small"), ("stop", "a", "b"), ("stop", "c")),
        output=None,
        bid_msat=None,
        relays=(),
        providers=(),
        encrypted=None,
        expiration=None,
    )


async def run(*command: str, text: str = "issue 1", output_bytes_max: int = 10_000) -> str:
    return (await command_work(command, output_bytes_max=output_bytes_max)(job(text), unheard)).text


async def sh(script: str, **more: object) -> str:
    return await run("/bin/sh", "-c", script, **more)  # type: ignore[arg-type]  # each test names what it changes


async def test_a_program_gets_the_job_as_json() -> None:
    seen = json.loads(await run("cat"))
    assert seen == {
        "kind": 5050,
        "inputs": [
            {"data": "issue 1", "type": "text", "relay": "", "marker": ""},
            {"data": "22" * 32, "type": "event", "relay": "wss://relay.example", "marker": "m"},
        ],
        "params": {"model": ["small"], "stop": ["a", "b", "c"]},
    }


async def test_the_program_of_the_document_does_a_job(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "worker.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```python\n(#!.*?)^```$", document, re.MULTILINE | re.DOTALL)
    program = tmp_path / "work.py"
    program.write_text(shown, encoding="utf-8")
    assert await run(sys.executable, str(program), text="Fix issue 42") == "FIX ISSUE 42"


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ('{"output": "the text\\n"}', "the text"),
        ('{"output": "☕", "more": 1}', "☕"),
        ("plain text\n", "plain text"),
        ("two\nlines\n\n", "two\nlines"),
        ('{"output": 1}', '{"output": 1}'),
        ('["output"]', '["output"]'),
        ("[" * 2_000, "[" * 2_000),
    ],
)
async def test_a_program_answers_with_json_or_with_the_text_itself(tmp_path: Path, written: str, result: str) -> None:
    (tmp_path / "answer").write_text(written)
    assert await run("cat", str(tmp_path / "answer")) == result


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "exit status 3"),
        ("echo first >&2; echo 'no such model' >&2; echo >&2; exit 1", "exit status 1: no such model"),
        ("printf 'a\\033[31mb' >&2; exit 1", "exit status 1: a [31mb"),
        ("kill -9 $$", "exit status -9"),
        ("true", "no output"),
        ("echo; echo", "no output"),
        ("""echo '{"output": ""}'""", "no output"),
        ("printf '\\377'", "output is not UTF-8 text"),
        ("cat /dev/zero", "output is larger than 10000 bytes"),
    ],
)
async def test_a_program_that_fails_says_why(script: str, reason: str) -> None:
    with pytest.raises(WorkFailed) as failed:
        await sh(script)
    assert str(failed.value) == reason


async def test_a_programs_last_words_are_cut() -> None:
    with pytest.raises(WorkFailed) as failed:
        await run(sys.executable, "-c", "import sys; sys.exit('x' * 100_000)")
    assert str(failed.value) == "exit status 1: " + "x" * REASON_CHARACTERS_MAX


@pytest.mark.parametrize("command", ["/no/such/program", "/dev/null"])
async def test_a_program_that_cannot_be_started_is_a_failure(command: str) -> None:
    with pytest.raises(WorkFailed, match="the command cannot be started"):
        await run(command)


async def test_a_program_need_not_read_its_input() -> None:
    assert await sh("exec <&-; echo done", text="x" * 1_000_000) == "done"


async def test_a_program_that_left_something_running_in_a_session_of_its_own_does_not_hold_us_up(
    tmp_path: Path,
) -> None:
    for pipe in ("begun", "end"):
        os.mkfifo(tmp_path / pipe)
    stay = f"echo begun > {tmp_path}/begun; read line < {tmp_path}/end"
    working = asyncio.create_task(sh(f"setsid sh -c '{stay}' & echo left >&2"))
    assert await asyncio.to_thread((tmp_path / "begun").read_text) == "begun\n"
    working.cancel()  # it waits for the end of the output, until its time is up
    await asyncio.wait([working])
    assert working.cancelled()
    await asyncio.to_thread((tmp_path / "end").write_text, "\n")


async def test_no_shell_reads_the_arguments() -> None:
    assert await run("echo", "$HOME;", "`id`") == "$HOME; `id`"


async def test_our_own_settings_are_hidden_from_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAYBOT_SECRET", "00" * 32)
    monkeypatch.setenv("MODEL_KEY", "its own")
    assert await sh("echo ${RELAYBOT_SECRET:-hidden} $MODEL_KEY") == "hidden its own"


async def test_a_program_that_is_interrupted_is_killed_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"  # both programs hold it open for writing, and nobody else does
    os.mkfifo(alive)
    working = asyncio.create_task(sh(f"exec 3>{alive}; sleep 1000 & echo started >&3; wait"))
    with await asyncio.to_thread(alive.open) as reading:
        assert await asyncio.to_thread(reading.readline) == "started\n"
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()
        assert await asyncio.to_thread(reading.read) == ""  # the end: both are gone


async def test_a_program_that_is_interrupted_while_it_starts_is_ended() -> None:
    working = asyncio.create_task(sh("sleep 1000"))
    await asyncio.sleep(0)  # it is being started
    working.cancel()
    await asyncio.wait([working])
    assert working.cancelled()


async def test_a_node_runs_its_command_for_an_assignment(office: Office) -> None:
    async with office.open(work=None, command=("cat",)):
        await office.give(assignment("issue 1"))
        await office.hear(6050)


async def test_a_node_tells_how_its_command_failed(office: Office) -> None:
    async with office.open(work=None, command=("/bin/sh", "-c", "echo no model >&2; exit 2")):
        await office.give(assignment("issue 1"))
        assert await office.hear_errors() == ["exit status 2: no model"]
