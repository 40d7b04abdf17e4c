"""What an operator may decide about a node, and the demo's work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relaybot.demo.work import FAIL_WORDS, resolve_issue
from relaybot.errors import BadConfig
from relaybot.nostr.nip90 import Input
from relaybot.worker.work import WorkFailed
from tests.worker.conftest import Office, unheard
from tests.worker.test_command import job


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"relay_urls": ()}, "worker.relays"),
        ({"service_pubkey": "npub1"}, "worker.service"),
        ({"kinds": frozenset()}, "worker.kinds"),
        ({"kinds": frozenset({5050, 6050})}, "worker.kinds"),
        ({"work": None}, "worker.command"),
        ({"command": ("cat",)}, "worker.command"),
        ({"command": (), "work": None}, "worker.command"),
        ({"concurrency": 0}, "worker.concurrency"),
        ({"queue_max": 0}, "worker.queue_max"),
        ({"heartbeat_seconds": 0}, "worker.heartbeat_seconds"),
        ({"output_bytes_max": -1}, "worker.output_bytes_max"),
    ],
)
async def test_a_wrong_setting_is_named(office: Office, changed: dict[str, object], path: str) -> None:
    with pytest.raises(BadConfig) as refused:
        replace(office.settings, **changed)  # type: ignore[arg-type]  # each case names a setting and a wrong value
    assert refused.value.path == path


async def test_a_nodes_settings_do_not_show_its_secret(office: Office) -> None:
    assert (b"\x04" * 32).hex() not in repr(office.settings)


async def test_the_demos_work_is_the_same_for_the_same_issue() -> None:
    first, again, other = [await resolve_issue(job(text), unheard) for text in ("Fix\nit", "Fix\nit", "Fix that")]
    assert first == again
    assert first != other
    assert first.text.startswith("Resolved: Fix it\n\nPull request #")


async def test_the_demos_work_fails_when_an_input_says_so_or_there_is_none() -> None:
    with pytest.raises(WorkFailed, match="cannot be reproduced"):
        await resolve_issue(
            replace(job(), inputs=(Input("issue", "text"), Input(f"now {FAIL_WORDS}", "text"))), unheard
        )
    with pytest.raises(WorkFailed, match="no issue given"):
        await resolve_issue(replace(job(), inputs=()), unheard)
