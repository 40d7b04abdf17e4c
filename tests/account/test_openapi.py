"""The API against its own OpenAPI document: what the document allows is taken, what it forbids refused, nothing breaks.

Schemathesis makes the requests, by the document alone; each is signed as NIP-98 wants it. For each endpoint it makes
a few, always the same: a good one, a body that is no JSON, and one that is wrong in some other way; `SCHEMA=…` makes
so many more of each kind.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.auth import AuthBase
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import APIOperation

from relaybot.clock import Clock
from relaybot.nostr import nip19, nip98
from relaybot.nostr.keys import KeyPair
from relaybot.web.api.openapi import openapi
from relaybot.web.api.problems import BASE
from tests.account.test_api import api, served

MORE = int(os.environ.get("SCHEMA", "0"))
EXAMPLES = {GenerationMode.POSITIVE: 1 + MORE, GenerationMode.NEGATIVE: 2 + MORE}  # the first of each is the simplest
SECONDS_MAX = 5.0  # for one answer

load_all_checks()
EVERYWHERE = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
CHECKED: dict[GenerationMode, list[Any]] = {
    GenerationMode.POSITIVE: CHECKS.get_by_names([*EVERYWHERE]),
    GenerationMode.NEGATIVE: CHECKS.get_by_names([*EVERYWHERE, "negative_data_rejection"]),
}


class Signed(AuthBase):
    """Signs each request as it is sent."""

    def __init__(self, keypair: KeyPair, clock: Clock) -> None:
        self._keypair = keypair
        self._clock = clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body: Any = request.body or b""
        event = nip98.build_http_auth(
            self._keypair,
            url=request.url or "",
            method=request.method or "",
            body=body if isinstance(body, bytes) else body.encode(),
            challenge=secrets.token_hex(8),
            now=self._clock.now(),
        )
        request.headers["Authorization"] = nip98.authorization(event)
        return request


def asked(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    known: Mapping[str, str],
    call: Callable[[Case[Any]], None],
) -> None:
    """Make some requests to one endpoint; what is good is asked about something that is there, too."""

    @settings(
        max_examples=EXAMPLES[mode],
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def some(case: Case[Any]) -> None:
        call(case)
        if mode is GenerationMode.POSITIVE and case.path_parameters:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
            call(case)

    some()


# Requests are made up in a thread while the service, in this one, draws from `random`: hypothesis takes it for its own.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
async def test_every_endpoint_does_as_its_document_says() -> None:
    async with served(payouts={"enabled": False}) as w, api(w, "bob") as bob:
        await w.fund("bob", 1_000)
        await (await w.join("bob")).ask(w.bot, "org create acme")
        topup = (await bob.call("POST", "/topups", {"sats": 7}))[1]["id"]
        await bob.call("POST", "/connections", {"name": "phone"})
        known = {"id": topup, "name": "phone", "org": "acme", "npub": nip19.encode_npub(w.keys["eve"].pubkey)}
        url, auth = f"http://127.0.0.1:{w.port}", Signed(w.keys["bob"], w.clock)
        answers: dict[int, int] = {}

        def ask_all() -> None:
            with requests.Session() as session:
                session.trust_env = False

                def call(case: Case[Any]) -> None:
                    answer = case.call(base_url=url, session=session, auth=auth, timeout=SECONDS_MAX)
                    answers[answer.status_code] = answers.get(answer.status_code, 0) + 1
                    case.validate_response(answer, checks=CHECKED[mode])

                document = openapi() | {"security": []}  # who does not sign is asked elsewhere: test_api.py
                found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
                for operation in [one.ok() for one in found]:
                    for mode in GenerationMode:
                        if mode is GenerationMode.POSITIVE or _takes_something(operation):
                            asked(operation, mode, known, call)

        await asyncio.to_thread(ask_all)
        await w.sound()
    assert {200, 404, 422} <= answers.keys(), answers
    assert 401 not in answers, answers


def _takes_something(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    """Tell whether anything of a request can be wrong: a path of plain text cannot."""
    return bool(operation.body or operation.query)


async def test_an_address_that_the_document_lacks_is_a_problem_too() -> None:
    async with served() as w, api(w, "bob") as bob:
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/topups/a/b", 404), ("PATCH", "/balance", 405)):
            found = await bob.call(method, path)
            assert (found[0], found[1]["status"]) == (status, status)
        async with bob.http.get(f"http://127.0.0.1:{w.port}{BASE}") as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")
