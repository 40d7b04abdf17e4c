"""Every command beside a running service: what it answers, and how it fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from click.testing import CliRunner, Result

from relaybot import cli as commands
from relaybot.cli import cli
from relaybot.errors import RelaybotError
from relaybot.nostr import nip19
from relaybot.nostr.keys import KeyPair
from tests.flows.harness import World, world
from wallet.cln import CoreLightning
from wallet.money import Msat


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


async def invoke(w: World, *words: str) -> Result:
    """Run a command in a thread, with its own event loop, as the shell would beside the service."""
    arguments = [*words, "--config", str(w.data / "config.yaml")]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments)


async def answer(w: World, *words: str) -> Any:
    """Run a command with --json and return its answer."""
    result = await invoke(w, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def finished_job(w: World) -> str:
    """Play one job to its end and return its id."""
    await w.fund("bob", 12_000)
    await w.node_joins()
    request = await w.request("bob")
    await w.deliver(await w.assignment())
    await w.feedback("bob", request, "success")
    return request.id


async def test_books_check_finds_sound_books_that_agree_with_the_node() -> None:
    async with world() as w:
        await finished_job(w)
        found = await answer(w, "books", "check")
        assert (found["sound"], found["node"], found["broken"]) == (True, "agrees", [])
        assert found["transfers"] == 8


async def test_books_check_fails_when_the_node_moved_money_the_book_does_not_know() -> None:
    async with world() as w:
        await w.fund("bob", 12_000)
        await w.stop()
        await w.tamper("DELETE FROM entries")
        await w.tamper("UPDATE accounts SET balance_msat = 0")
        result = await invoke(w, "books", "check")
        assert result.exit_code == 1
        assert "12000000 msat, the book 0 msat" in " ".join(result.output.split())


async def test_a_payment_made_by_hand_differs_until_the_operator_owns_it() -> None:
    async with world() as w:
        await finished_job(w)
        node = CoreLightning(w.network.sockets["service"])
        await node.pay(w.network.people.invoice("mallory", 5_000), maxfee_msat=Msat(5_000), label="by hand")
        await node.close()
        found = json.loads((await invoke(w, "books", "check", "--json")).stdout)
        [difference] = found["differences"]
        payment_hash = difference.split()[1].rstrip(":")
        assert (await answer(w, "books", "own", payment_hash))["owned"] == payment_hash
        assert (await answer(w, "books", "check"))["sound"]
        again = await invoke(w, "books", "own", payment_hash)
        assert "the books do not differ" in str(again.exception)


async def test_books_check_says_when_the_node_cannot_be_asked() -> None:
    async with world() as w:
        await w.stop()
        await w.network.close()
        found = await answer(w, "books", "check")
        assert found["node"].startswith("not compared")


async def test_books_explain_a_job_names_every_transfer_and_the_split() -> None:
    async with world() as w:
        job = await finished_job(w)
        found = await answer(w, "books", "explain", job)
        assert found["job"]["state"] == "captured"
        reasons = [transfer["reason"] for transfer in found["transfers"]]
        assert reasons[0] == "hold"
        assert any(reason.startswith("compute:") for reason in reasons)
        assert found["split"]["price"]["base_msat"] == 12_000_000
        single = await answer(w, "books", "explain", f"job/{job}/capture/1")
        assert single["transfer"].endswith("/capture/1")
        shown = await invoke(w, "books", "explain", job)
        assert "captured" in shown.output


async def test_books_explain_a_payout_names_its_attempts() -> None:
    async with world() as w:
        alice = await w.join("alice")
        await alice.ask(w.bot, f"payout {alice.address}")
        await finished_job(w)

        async def paid() -> bool:
            return bool(await w.rows("SELECT id FROM payouts WHERE state = 'paid'"))

        await w.until(paid)
        payouts = await answer(w, "payouts", "list")
        found = await answer(w, "books", "explain", payouts[0]["id"])
        assert [attempt["state"] for attempt in found["attempts"]] == ["paid"]
        assert await answer(w, "payouts", "list", "--unfinished") == []


async def test_books_explain_refuses_an_id_that_is_nothing() -> None:
    async with world() as w:
        result = await invoke(w, "books", "explain", "nonsense")
        assert isinstance(result.exception, RelaybotError)
        assert "no transfer, job or payout" in str(result.exception)


async def test_jobs_list_shows_the_newest_job() -> None:
    async with world() as w:
        job = await finished_job(w)
        assert [(one["id"], one["state"]) for one in await answer(w, "jobs", "list")] == [(job, "captured")]


async def test_jobs_refund_pays_a_job_back_once_and_tells_the_customer() -> None:
    async with world() as w:
        job = await finished_job(w)
        bob = await w.join("bob")
        first, second = await answer(w, "jobs", "refund", job), await answer(w, "jobs", "refund", job)
        assert (first["refunded_now"], second["refunded_now"]) == (True, False)
        assert first["refunded_msat"] == second["refunded_msat"] == 12_000_000
        assert "12,000 sat" in await bob.ask(w.bot, "balance")
        assert (await answer(w, "books", "check"))["sound"]
        refused = await invoke(w, "jobs", "refund", "nonsense")
        assert "no job has this id" in str(refused.exception)


async def test_keys_shows_public_keys_only() -> None:
    async with world() as w:
        found = await answer(w, "keys")
        assert {"service", "books", "agent/autodev"} <= {one["role"] for one in found}
        assert all(one["npub"].startswith("npub1") for one in found)


async def test_accounts_publish_publishes_a_day_once() -> None:
    async with world() as w:
        await finished_job(w)
        first, second = await answer(w, "accounts", "publish"), await answer(w, "accounts", "publish")
        assert first["published_now"] is True
        assert (second["published_now"], second["event"]) == (False, first["event"])


async def test_accounts_publish_refuses_a_day_that_is_not_over() -> None:
    async with world(accounting={"allow_open_day": False}) as w:
        result = await invoke(w, "accounts", "publish")
        assert "not over" in str(result.exception)


async def test_migrate_and_config_check_say_that_all_is_well() -> None:
    async with world() as w:
        assert "up to date" in (await invoke(w, "migrate")).output
        assert "good; 1 agent, 5 people" in (await invoke(w, "config", "check")).output


async def test_the_default_configuration_runs_as_it_is() -> None:
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["config", "check"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["run"],
            ["demo"],
            ["node"],
            ["worker"],
            ["keys"],
            ["migrate"],
            ["books", "check"],
            ["books", "explain"],
            ["books", "own"],
            ["workers", "list"],
            ["workers", "approve"],
            ["workers", "refuse"],
        ),
        *(["jobs", "list"], ["jobs", "refund"], ["payouts", "list"], ["accounts", "publish"], ["config", "check"]),
    ],
)
def test_every_command_has_help_with_an_example(words: list[str]) -> None:
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example: relaybot" in result.output


def test_a_worker_needs_exactly_one_kind_of_work(tmp_path: Path) -> None:
    words = ["worker", "--relay", "ws://127.0.0.1:1", "--service", "00" * 32, "--key", str(tmp_path / "key")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code != 0
    assert "exactly one of" in result.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--key", "nowhere.nsec", "--demo-work"], "make one: openssl rand -hex 32 > nowhere.nsec"),
        (["--command", "./nothing-here.py"], "no program './nothing-here.py' that may be executed"),
        (["--command", "''"], "no program ''"),
        (["--command", "'open"], "a quote is not closed"),
        (["--demo-work", "--concurrency", "0"], "concurrency"),
        (["--demo-work", "--state", "/proc/nowhere"], "--state"),
    ],
)
def test_a_worker_that_cannot_work_says_so_before_it_announces_itself(
    tmp_path: Path, more: list[str], said: str
) -> None:
    key = tmp_path / "key"
    key.write_text("11" * 32)
    words = ["worker", "--relay", "ws://127.0.0.1:1", "--service", "ab" * 32, "--key", str(key), *more]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)
    assert "node     npub1" not in result.output or "--state" in more


def test_a_bad_configuration_ends_with_path_value_and_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("jobs: {ttl_seconds: soon}\nnonsense: 1\n")
    monkeypatch.setattr(sys, "argv", ["relaybot", "config", "check", "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "jobs.ttl_seconds" in said
    assert "soon" in said
    assert "nonsense" in said


def test_config_check_warns_of_agents_that_nobody_works_for_and_of_skills_that_nobody_uses(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "agents: {a: {name: A, kinds: [5050], price: 1 sat}}\nskills: {spare: {name: Spare}}\nworkers: {allowed: []}\n"
    )
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(config)])
    assert result.exit_code == 0
    assert "workers.allowed: no node is admitted" in result.stderr
    assert "skills.spare: no agent uses it" in result.stderr
    config.write_text("agents: {a: {name: A, kinds: [5050], price: 1 sat, skills: [lost]}}\n")
    assert "agents.a.skills[0]" in str(CliRunner().invoke(cli, ["config", "check", "--config", str(config)]).exception)


def test_an_unknown_command_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["relaybot", "nonsense"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2
    assert "No such command" in capsys.readouterr().err


async def test_a_port_that_is_taken_is_named_in_one_line() -> None:
    async with world() as w:
        second = await asyncio.create_subprocess_exec(  # another service, on the same port
            *(sys.executable, "-m", "relaybot", "run", "--config", str(w.data / "config.yaml")),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RELAYBOT_SERVICE__DATA_DIR": str(w.data / "other")},
        )
        said = (await second.communicate())[1].decode().splitlines()
        assert second.returncode == 1
        assert said[-1].startswith(f'relaybot: relay.port: found "127.0.0.1:{w.port} (')


async def test_two_signals_end_a_service_as_clean_as_one() -> None:
    async with world() as w:
        await w.stop()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relaybot", "run", "--config", str(w.data / "config.yaml")),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        while not (await process.stderr.readline()).startswith(b"agent"):
            pass
        process.terminate()
        process.send_signal(2)
        async with asyncio.timeout(20):
            await process.communicate()
        assert process.returncode == 0


async def test_keys_shows_the_given_key_of_an_agent_that_has_one() -> None:
    async with world() as w:
        (w.data / "agent.key").write_text("07" * 32)
        config = yaml.safe_load((w.data / "config.yaml").read_text())
        config["agents"]["autodev"]["nsec_file"] = "agent.key"
        (w.data / "config.yaml").write_text(yaml.safe_dump(config))
        shown = {one["role"]: one["npub"] for one in await answer(w, "keys")}
        assert shown["agent/autodev"] == nip19.encode_npub(KeyPair(b"\x07" * 32).pubkey)


@pytest.mark.parametrize("words", [["jobs", "list"], ["books", "check"], ["keys"], ["accounts", "publish"]])
async def test_where_no_service_ever_ran_nothing_is_made_and_the_command_says_so(words: list[str]) -> None:
    async with world(start=False) as w:
        result = await invoke(w, *words)
        assert "the first start of the service makes it" in str(result.exception)
        assert not (w.data / "book.sqlite3").exists()
        assert not (w.data / "master.key").exists()
