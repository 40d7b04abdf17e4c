"""Work done by a language model behind any server that speaks OpenAI's chat completions.

The text inputs are the prompt. The answer is streamed: pieces are passed on every few
seconds, and the tokens that the server counts are reported as the job's usage.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from relaybot.nostr.nip90 import JobRequest
from relaybot.worker.work import Done, Say, Work, WorkFailed

PIECE_SECONDS = 3.0  # between two pieces that are passed on
LINE_BYTES_MAX = 262_144  # of the server's stream: one event with one piece
_OK = 200
# NIP-90, kind 5050: parameters of a request that the server is asked for, too.
_WHOLE, _DECIMAL = frozenset({"max_tokens"}), frozenset({"temperature", "top_p", "frequency_penalty"})


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where the model is: `url` is the API's base (`http://127.0.0.1:8080/v1`), `key` is sent as a bearer token."""

    url: str
    model: str
    key: str | None = None


def model_work(server: ModelServer, *, output_bytes_max: int, monotonic: Callable[[], float] = time.monotonic) -> Work:
    """Return the work that asks `server`. It raises WorkFailed with a reason fit for the customer."""

    async def work(job: JobRequest, say: Say) -> Done:
        text, said, told_at, usage = "", 0, monotonic(), _Usage()
        try:
            async for chunk in _stream(server, _asked(server, job)):
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
                usage = chunk.usage or usage
                if len(text.encode()) > output_bytes_max:
                    raise WorkFailed(f"the answer is larger than {output_bytes_max} bytes")
                if len(text) > said and monotonic() - told_at >= PIECE_SECONDS:
                    await say(text[said:])
                    said, told_at = len(text), monotonic()
        except (aiohttp.ClientError, OSError) as error:
            raise WorkFailed(f"the model's server cannot be reached: {type(error).__name__}") from None
        except (msgspec.DecodeError, HttpProcessingError):
            raise WorkFailed("the model's server answers something else than chat completions") from None
        if not text:
            raise WorkFailed("the model gave no answer")
        counted = {
            "tokens": usage.total_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
        return Done(text, {unit: count for unit, count in counted.items() if count > 0})

    return work


def _asked(server: ModelServer, job: JobRequest) -> dict[str, object]:
    texts = [one.data for one in job.inputs if one.type == "text"]
    if not texts:
        raise WorkFailed("no text given")
    body: dict[str, object] = {
        "model": server.model,
        "messages": [{"role": "user", "content": "\n\n".join(texts)}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name, *values in job.params:
        if values and (name in _WHOLE or name in _DECIMAL):
            body[name] = _number(name, values[0])
    return body


def _number(name: str, value: str) -> float:
    try:
        number = int(value) if name in _WHOLE else float(value)
    except ValueError:
        raise WorkFailed(f"{name} is no number") from None
    if not 0 <= abs(number) <= 1_000_000:  # noqa: PLR2004  neither infinite, nor anything a server would take
        raise WorkFailed(f"{name} is out of range")
    return number


async def _stream(server: ModelServer, body: dict[str, object]) -> AsyncIterator[_Chunk]:
    """Yield the pieces of one answer: server-sent events, one JSON document in each `data:` line."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if server.key is not None:
        headers["Authorization"] = f"Bearer {server.key}"
    forever = aiohttp.ClientTimeout(total=None, sock_connect=10)  # the lease ends it
    async with (
        aiohttp.ClientSession(timeout=forever, read_bufsize=LINE_BYTES_MAX) as http,
        http.post(
            f"{server.url.rstrip('/')}/chat/completions",
            data=msgspec.json.encode(body),
            headers=headers,
            allow_redirects=False,
        ) as answer,
    ):
        if answer.status != _OK:
            raise WorkFailed(f"the model's server refuses the job: HTTP status {answer.status}")
        async for line in answer.content:
            data = line.strip().removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            if line.startswith(b"data:"):
                yield _CHUNK.decode(data)
