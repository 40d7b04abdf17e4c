"""The processes of the story, forked from one warm process so that a start costs no imports.

The service's probe writes every border it passes into a file, and at the border it was
told to die at it kills its own process: nothing of Python runs after that.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import secrets
import signal
import sys
import threading
from collections.abc import Coroutine
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from relaybot.app import serve
from relaybot.clock import SystemClock
from relaybot.config import load_config
from relaybot.demo.work import resolve_issue
from relaybot.nostr.keys import KeyPair
from relaybot.simulator.network import run_node
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


class Fuse:
    """A probe that notes every border in `file`, and kills the process at `kill_at`: a name, or a number from 1."""

    def __init__(self, file: Path, kill_at: int | str | None) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill_at = kill_at
        self._passed = 0
        self._one_by_one = threading.Lock()  # the relay's store commits in a thread of its own

    def __call__(self, border: str) -> None:
        """Pass a border, or die at it."""
        with self._one_by_one:
            self._passed += 1
            os.write(self._file, f"{border}\n".encode())
            if self._kill_at in (self._passed, border):
                os.kill(os.getpid(), signal.SIGKILL)


def run_the_node(data: Path, ready: Connection) -> None:
    """Be `relaybot node`; send its address when it can be reached."""
    _log_to(data / "node.log")
    _run(
        run_node(
            data_dir=data / "ln", http_host="127.0.0.1", http_port=0, ready=lambda running: ready.send(running.url)
        )
    )


def run_the_service(config: Path, borders: Path, kill_at: int | str | None) -> None:
    """Be `relaybot run`, with a fuse."""
    _log_to(config.parent / "service.log")
    _run(serve(load_config(config, {}), {}, ready=lambda _: None, probe=Fuse(borders, kill_at)))


def run_the_worker(data: Path, relay: str, service: str, secret: str, lud16: str) -> None:
    """Be `relaybot worker --demo-work`."""
    _log_to(data / "worker.log")
    settings = WorkerSettings(
        relay_urls=(relay,),
        service_pubkey=service,
        kinds=frozenset({5050}),
        keypair=KeyPair.from_hex(secret),
        work=resolve_issue,
        concurrency=4,
        name="Carol's workerbee",
        lud16=lud16,
        state_dir=data / "worker",
    )
    _run(run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random))


def _log_to(file: Path) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())


def _run(work: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_orphaned(work))


async def _until_orphaned(work: Coroutine[None, None, None]) -> None:
    """Do `work`, but do not outlive the process that plays the story."""
    player = multiprocessing.parent_process()
    assert player is not None, "forked by a player"
    asyncio.get_running_loop().add_reader(player.sentinel, os._exit, 1)
    await work
