"""Work done by a program of the operator's: JSON on its stdin, the result on its stdout.

In: `{"kind": 5050, "inputs": [{"data", "type", "relay", "marker"}], "params": {"name": ["value"]}}`.
Out: `{"output": "text", "usage": {"tokens": 42}}`, the usage if it is known, or the text itself.
The program is started without a shell and in a session of its own; when its time is up, or its
output too large, the whole session is killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from relaybot.nostr.nip90 import JobRequest
from relaybot.worker.work import Done, Say, Work, WorkFailed

REASON_CHARACTERS_MAX = 200  # of what a failed program wrote last
_CHUNK_BYTES = 65_536
_TAIL_BYTES = 2_000
_PRINTABLE = re.compile(r"[^ -~]+", re.ASCII)
_SECRETS = "RELAYBOT_"  # our own settings, the secret key among them, are not the program's business


def command_work(command: Sequence[str], *, output_bytes_max: int) -> Work:
    """Return the work that runs `command` for each job. It raises WorkFailed with a reason fit for the customer."""

    async def work(job: JobRequest, _say: Say) -> Done:
        process = await _start(command)
        try:
            output, last_words = await _talk(process, _document(job), output_bytes_max)
            # Nobody waits for a program whose pipes were not read to their end: asyncio would wait for ever.
            status = await process.wait() if output is not None else None
        finally:
            await _end(process)
        if output is None:
            raise WorkFailed(f"output is larger than {output_bytes_max} bytes")
        if status != 0:
            raise WorkFailed(f"exit status {status}: {last_words}" if last_words else f"exit status {status}")
        return _parse_output(output)

    return work


def _document(job: JobRequest) -> bytes:
    params: dict[str, list[str]] = {}
    for name, *values in job.params:
        params.setdefault(name, []).extend(values)
    return msgspec.json.encode({"kind": job.kind, "inputs": job.inputs, "params": params})


async def _start(command: Sequence[str]) -> Process:
    """Start the program; a cancellation waits until it has started, for asyncio cannot let go of one that half has."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise
    except OSError as error:
        raise WorkFailed(f"the command cannot be started: {type(error).__name__}") from None


async def _end(process: Process) -> None:
    """Kill the program with its children, if it runs, and let go of its pipes."""
    _kill(process)
    # asyncio has no public way to let go of pipes that are not read to their end.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  asyncio has no other way
    await process.wait()


async def _talk(process: Process, document: bytes, bytes_max: int) -> tuple[bytes | None, str]:
    """Return what the program wrote (None if it was too much) and its last words on stderr."""
    assert process.stdin is not None, "stdin is a pipe"
    assert process.stdout is not None, "stdout is a pipe"
    assert process.stderr is not None, "stderr is a pipe"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_feed(process.stdin, document))
        errors = tasks.create_task(_tail(process.stderr))
        output = await _read(process.stdout, bytes_max)
        if output is None:
            _kill(process)
    return output, errors.result()


async def _feed(stdin: asyncio.StreamWriter, document: bytes) -> None:
    # A program need not read its input; uvloop says RuntimeError of a pipe that the program has closed.
    with suppress(ConnectionError, RuntimeError):
        stdin.write(document)
        await stdin.drain()
    with suppress(ConnectionError, RuntimeError):
        stdin.close()
        await stdin.wait_closed()


async def _read(stdout: asyncio.StreamReader, bytes_max: int) -> bytes | None:
    output = bytearray()
    while chunk := await stdout.read(_CHUNK_BYTES):
        output += chunk
        if len(output) > bytes_max:
            return None
    return bytes(output)


async def _tail(stderr: asyncio.StreamReader) -> str:
    """Return the last line that says something."""
    tail = b""
    while chunk := await stderr.read(_CHUNK_BYTES):
        tail = (tail + chunk)[-_TAIL_BYTES:]
    lines = [_PRINTABLE.sub(" ", line).strip() for line in tail.decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")[:REASON_CHARACTERS_MAX]


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _parse_output(output: bytes) -> Done:
    try:
        text, usage = output.decode(), {}
    except UnicodeDecodeError:
        raise WorkFailed("output is not UTF-8 text") from None
    try:
        answer = msgspec.json.decode(output)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("output"), str):
        text, usage = answer["output"], _usage(answer.get("usage"))
    text = text.rstrip("\n")
    if not text:
        raise WorkFailed("no output")
    return Done(text, usage)


def _usage(found: object) -> dict[str, int]:
    try:
        return msgspec.convert(found, dict[str, int]) if found is not None else {}
    except msgspec.ValidationError:
        raise WorkFailed("usage is not whole numbers by unit") from None
