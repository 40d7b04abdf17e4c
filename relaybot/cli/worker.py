"""The command that runs a compute node."""

from __future__ import annotations

import random
import secrets
import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from relaybot.cli.shell import configure_logging, read_npub, run_until_signal
from relaybot.clock import SystemClock
from relaybot.demo.work import resolve_issue
from relaybot.keyring import read_key
from relaybot.nostr import nip19
from relaybot.nostr.nip89 import CONCURRENCY_MAX
from relaybot.worker.model import ModelServer
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings
from wallet.money import from_sat


@click.command()
@click.option("--relay", "relays", multiple=True, required=True, help="A relay of the service; may be repeated.")
@click.option("--service", required=True, help="The service's npub, as `relaybot keys` shows it.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file with your nsec or 64 hex digits.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.IntRange(5000, 5999),
    multiple=True,
    default=(5050,),
    show_default=True,
    help="A kind of job you do; may be repeated.",
)
@click.option("--command", "command", help="The program that does the work: JSON in, result out. Never a shell.")
@click.option(
    "--openai", "openai_url", help="Or the base URL of an OpenAI-compatible server: http://127.0.0.1:8080/v1."
)
@click.option("--model", help="The model there; jobs that ask for another one go to others.")
@click.option(
    "--openai-key", "openai_key", type=click.Path(path_type=Path, dir_okay=False), help="A file with its key."
)
@click.option("--demo-work", is_flag=True, help="Do the demonstration's work instead.")
@click.option("--name", default="workerbee", show_default=True, help="What the node is called.")
@click.option("--lud16", help="The Lightning Address that is paid; without one your earnings stay as balance.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, CONCURRENCY_MAX),
    default=4,
    show_default=True,
    help="Jobs worked on at the same time.",
)
@click.option("--least", type=click.IntRange(min=0), default=0, help="What a job must pay you at least, in sats.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/worker"),
    show_default=True,
    help="The directory of its memory; one process uses it.",
)
def worker(**options: Any) -> None:
    """Run a compute node: it announces itself, takes assignments, does the work, is paid.

    Example: relaybot worker --relay ws://127.0.0.1:7447 --service npub1… --key worker.nsec --command ./work.py

    Example: relaybot worker --relay ws://127.0.0.1:7447 --service npub1… --key worker.nsec
    --openai http://127.0.0.1:8080/v1 --model llama-3.1-8b --lud16 you@your.wallet
    """
    if [bool(options["command"]), bool(options["openai_url"]), options["demo_work"]].count(True) != 1:
        raise click.UsageError("give exactly one of --command, --openai and --demo-work")
    configure_logging("info", "console")
    key_file: Path = options["key_file"]
    if not key_file.exists():
        raise click.UsageError(
            f"--key: no file {key_file}; make one: openssl rand -hex 32 > {shlex.quote(str(key_file))}"
        )
    keypair = read_key(key_file, "--key")
    settings = WorkerSettings(
        relay_urls=tuple(options["relays"]),
        service_pubkey=read_npub(options["service"], "--service"),
        kinds=frozenset(options["kinds"]),
        keypair=keypair,
        command=_program(options["command"]) if options["command"] else None,
        model=_model_server(options["openai_url"], options["model"], options["openai_key"]),
        work=resolve_issue if options["demo_work"] else None,
        models=frozenset({options["model"]} if options["model"] else ()),
        least_msat=from_sat(options["least"]),
        concurrency=options["concurrency"],
        name=options["name"],
        lud16=options["lud16"],
        state_dir=options["state"],
    )
    click.echo(f"node     {nip19.encode_npub(keypair.pubkey)}  (the service's operator must admit it)", err=True)
    run_until_signal(run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random))


def _program(command: str) -> tuple[str, ...]:
    """Return the program and its arguments, before anybody is told that there is a node."""
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        raise click.UsageError("--command: a quote is not closed") from None
    if not words or shutil.which(words[0]) is None:
        found = words[0] if words else ""
        raise click.UsageError(f"--command: no program {found!r} that may be executed (chmod +x, or a path with ./)")
    return words


def _model_server(url: str | None, model: str | None, key_file: Path | None) -> ModelServer | None:
    if url is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--openai is an http:// or https:// URL")
    if not model:
        raise click.UsageError("--openai needs a --model")
    try:
        return ModelServer(url, model, key_file.read_text().strip() if key_file is not None else None)
    except OSError as error:
        raise click.UsageError(f"--openai-key cannot be read: {error.strerror}") from None


COMMANDS = (worker,)
