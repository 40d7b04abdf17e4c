"""Work done by a language model behind an OpenAI-compatible server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relaybot.nostr.nip90 import Input
from relaybot.worker.model import PIECE_SECONDS, ModelServer, model_work
from relaybot.worker.work import Done, WorkFailed
from tests.worker.test_command import job


@dataclass
class Model:
    """A server that streams these lines, and keeps what it was asked."""

    lines: Sequence[str]
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        for line in self.lines:
            await response.write(f"{line}\n\n".encode())
        return response


@asynccontextmanager
async def serving(model: Model) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1/"))


def piece(text: str | None) -> str:
    return "data: " + json.dumps({"id": "x", "choices": [{"index": 0, "delta": {"content": text}}]})


USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}'
HELLO = (piece("Hel"), ": a comment", piece("lo"), piece(None), USAGE, "data: [DONE]", "data: never read")


async def work(
    model: Model, *, key: str | None = None, seconds: float = 0.0, size: int = 1_000, **more: Any
) -> tuple[Done, list[str]]:
    """Ask `model`; between two looks at the clock pass `seconds`."""
    said: list[str] = []
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += seconds
        return now

    async def say(text: str) -> None:
        said.append(text)

    async with serving(model) as url:
        asked = model_work(ModelServer(url, "tiny", key), output_bytes_max=size, monotonic=monotonic)
        return await asked(replace(job(), params=(), **more), say), said


async def test_the_texts_are_the_prompt_and_the_answer_comes_with_what_it_took() -> None:
    model = Model(HELLO)
    inputs = (Input("first", "text"), Input("22" * 32, "event"), Input("second", "text"))
    done, said = await work(model, key="secret", inputs=inputs)
    assert done == Done("Hello", {"tokens": 9, "prompt_tokens": 7, "completion_tokens": 2})
    assert said == []
    assert model.keys == ["Bearer secret"]
    (asked,) = model.asked
    assert asked["messages"] == [{"role": "user", "content": "first\n\nsecond"}]
    assert (asked["model"], asked["stream"]) == ("tiny", True)


async def test_a_slow_answer_is_passed_on_in_pieces() -> None:
    done, said = await work(Model(HELLO), seconds=PIECE_SECONDS)
    assert said == ["Hel", "lo"]
    assert done.text == "Hello"


async def test_the_parameters_that_nip_90_names_are_passed_on_as_numbers() -> None:
    model = Model(HELLO)
    async with serving(model) as url:
        params = (("max_tokens", "50"), ("temperature", "0.5"), ("top_p",), ("user", "x"))
        await model_work(ModelServer(url, "tiny"), output_bytes_max=99)(replace(job(), params=params), _nobody)
    (asked,) = model.asked
    assert (asked["max_tokens"], asked["temperature"]) == (50, 0.5)
    assert not {"top_p", "user"} & set(asked)
    assert model.keys == [None]


async def _nobody(_text: str) -> None: ...


@pytest.mark.parametrize(
    ("lines", "status", "size", "reason"),
    [
        (HELLO, 503, 99, "HTTP status 503"),
        (HELLO, 200, 4, "larger than 4 bytes"),
        (("data: [DONE]",), 200, 99, "gave no answer"),
        (("data: {",), 200, 99, "something else than chat completions"),
        (('data: {"choices":[{"delta":{"content":7}}]}',), 200, 99, "something else than chat completions"),
        (("data: " + "x" * 600_000,), 200, 99, "something else than chat completions"),
    ],
)
async def test_what_goes_wrong_is_told_in_words(lines: Sequence[str], status: int, size: int, reason: str) -> None:
    with pytest.raises(WorkFailed, match=reason):
        await work(Model(lines, status), size=size)


async def test_a_job_that_cannot_be_asked_costs_the_server_nothing() -> None:
    model = Model(HELLO)
    with pytest.raises(WorkFailed, match="no text"):
        await work(model, inputs=(Input("22" * 32, "event"),))
    for name, value in (("max_tokens", "1.5"), ("temperature", "nan"), ("top_p", "1e9")):
        with pytest.raises(WorkFailed, match=name):
            await model_work(ModelServer("http://127.0.0.1:1", "tiny"), output_bytes_max=9)(
                replace(job(), params=((name, value),)), _nobody
            )
    assert model.asked == []


async def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(WorkFailed, match="cannot be reached"):
        await model_work(ModelServer("http://127.0.0.1:1/v1", "tiny"), output_bytes_max=9)(
            replace(job(), params=()), _nobody
        )
