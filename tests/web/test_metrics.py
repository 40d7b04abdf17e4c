"""The operator's figures: who may read them, what they say of a running service, what a silent node does to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relaybot.errors import Unavailable
from relaybot.figures import NAMES, gauge
from relaybot.web.metrics import Latencies, exposition
from tests.flows.harness import World, world
from tests.payouts.desk import person
from wallet.cln_chain import CoreLightningChain
from wallet.figures import figures_of_node
from wallet.lightning import NodeInfo
from wallet.money import from_sat

TOKEN = "a-token-of-some-length"
HELD = from_sat(12_000)


async def asked(w: World, headers: Mapping[str, str], path: str = "metrics") -> tuple[int, str, Mapping[str, str]]:
    """Return status, body and headers of a request to the service's port."""
    assert w.addresses is not None
    async with aiohttp.ClientSession() as session, session.get(w.addresses.web + path, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


def read(text: str) -> dict[str, float]:
    """Read what Prometheus reads: `owed_msat user sats` → value."""
    return {
        " ".join((sample.name.removeprefix("relaybot_"), *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_figures_of_a_running_service_are_for_the_operator_and_for_nobody_else() -> None:
    async with world(web={"metrics_token": TOKEN}) as w:
        await w.fund("bob", 20_000)
        await w.node_joins()
        request = await w.request("bob")
        await w.feedback("bob", request, "processing")
        for headers in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer "},
        ):
            status, body, sent = await asked(w, headers)
            assert (status, "msat" in body, sent["WWW-Authenticate"]) == (401, False, 'Bearer realm="metrics"')
        status, body, sent = await asked(w, {"Authorization": f"Bearer {TOKEN}"})
        assert status == 200
        assert sent["Content-Type"].startswith("text/plain")
        assert sent["Cache-Control"] == "no-store"
        found = read(body)
        assert found["owed_msat sats user"] == from_sat(8_000)
        assert found["owed_msat sats hold"] == HELD
        assert sum(found[f"jobs {state}"] for state in ("held", "assigned") if f"jobs {state}" in found) == 1
        assert found["workers_alive idle"] == 1
        assert found["rows_total jobs held"] == 1
        assert found["node_up"] == 1
        assert found["node_spendable_msat"] > from_sat(20_000)
        assert found["node_receivable_msat"] > 0
        assert found["books_differ"] == 0
        assert found["books_looked_at"] > 0
        assert (found["paused payouts"], found["payments_stuck"]) == (0, 0)
        assert found["relay_connections"] >= 2
        assert found["relay_events_total ok"] >= 2
        assert found["http_seconds_count GET /metrics 401"] == 4
        assert found["node_seconds_count spendable_msat answered"] >= 1
        assert not [word for word in (w.keys["bob"].pubkey, request.id, w.network.running.url) if word in body]
        said = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE relaybot_")}
        measured = {"relaybot_http_seconds", "relaybot_node_seconds"}
        made = {f"{name}_created" for name in measured}
        assert said - measured - made <= {f"relaybot_{name}" for name in NAMES}


async def test_without_a_token_in_the_configuration_there_are_no_figures() -> None:
    async with world() as w:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            status, body, _ = await asked(w, headers)
            assert (status, "relaybot_" in body) == (404, False)


class Silent:
    """A node that never answers, or is not there."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def call() -> NodeInfo:
            if self._error is not None:
                raise self._error
            return await asyncio.Future()

        return call


@pytest.mark.parametrize("node", [Silent(), Silent(Unavailable("no socket"))], ids=["silent", "gone"])
async def test_a_node_that_does_not_answer_is_down_and_keeps_nobody_waiting(node: Any) -> None:
    found = await figures_of_node(node, node, limit_seconds=0.01)
    assert found == [gauge("node_up", 0)]


async def test_a_call_that_failed_is_timed_as_such() -> None:
    latencies = Latencies()
    chain: CoreLightningChain = latencies.timed(Silent(Unavailable("no socket")))  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        await chain.outputs()
    assert latencies.registry.get_sample_value(
        "relaybot_node_seconds_count", {"call": "outputs", "outcome": "failed"}
    ) == 1  # fmt: skip


def test_every_figure_is_written_with_what_it_says() -> None:
    text = exposition([gauge(name, 3, whose=person("bob")[:4]) for name in NAMES]).decode()
    assert len(read(text)) == len(NAMES)
    for name, (sort, said) in NAMES.items():
        shown = name.removesuffix("_total") if sort == "counter" else name
        assert f"# HELP relaybot_{shown}" in text
        assert said.replace("\\", "") in text
