"""The commands about top-ups by card that wait for the operator, and the simulated card company."""

from __future__ import annotations

from pathlib import Path

import click

from relaybot.cardsim.server import run_card_company
from relaybot.cli.books import users
from relaybot.cli.cards import cards
from relaybot.cli.shell import (
    config_option,
    configure_logging,
    finish,
    json_option,
    keyring_of,
    load,
    read_npub,
    run_until_signal,
    show,
)
from relaybot.operator import card_offers as desk
from wallet.states import OfferState


@cards.command("offers")
@click.option(
    "--state", default="", type=click.Choice(["", *(state.value for state in OfferState)]), help="Only these."
)
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def cards_offers(state: str, limit: int, config_path: Path, *, as_json: bool) -> None:
    """List the newest top-ups by card, paid or not: those that are held wait for you, and say why.

    Example: relaybot cards offers --state held
    """
    show(finish(desk.list_offers(load(config_path), state, limit)), "top-ups by card", as_json=as_json)


@cards.command("approve")
@click.argument("offer")
@config_option
@json_option
def cards_approve(offer: str, config_path: Path, *, as_json: bool) -> None:
    """Take a payment that is held as it is; the service credits it. Another amount or test money it never is.

    Example: relaybot cards approve 3f1c0e9a5b7d24688ac1f0e2d4b69753
    """
    config = load(config_path)
    show(finish(desk.approve(config, keyring_of(config), offer)), "top-up", as_json=as_json)


@cards.command("refund")
@click.argument("offer")
@config_option
@json_option
def cards_refund(offer: str, config_path: Path, *, as_json: bool) -> None:
    """Give the payment of a top-up back to its card, whole. If it was credited, it is taken back as a dispute is.

    Example: relaybot cards refund 3f1c0e9a5b7d24688ac1f0e2d4b69753
    """
    config = load(config_path)
    show(finish(desk.refund(config, keyring_of(config), offer)), "top-up", as_json=as_json)


@users.command("verify")
@click.argument("npub")
@click.option("--off", is_flag=True, help="They are not known any more.")
@config_option
@json_option
def users_verify(npub: str, config_path: Path, *, off: bool, as_json: bool) -> None:
    """Say that you know who somebody is: what was held for that is credited, an earlier warning is forgotten.

    Example: relaybot users verify npub1vh36ayf29e5uhmww54qaxlakgqw0ggfl29gdm50uhdrwdgpggfusdg6afu
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    show(finish(desk.verify(config, keyring_of(config), pubkey, off=off)), "customer", as_json=as_json)


@click.command("cards-sim")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("data/cards"), show_default=True)
@click.option("--port", default=7490, show_default=True, help="Port of its pages and its API; 0 takes a free one.")
@click.option("--webhook", default="http://127.0.0.1:7447/card/webhook", show_default=True, help="Where it sends word.")
@json_option
def cards_sim(data: Path, port: int, webhook: str, *, as_json: bool) -> None:
    """Run the simulated card company. No real money moves.

    Example: relaybot cards-sim --port 7490
    """

    def ready(url: str) -> None:
        show({"url": url, "webhook": webhook}, "simulated card company", as_json=as_json)

    configure_logging("info", "console")
    run_until_signal(run_card_company(data_dir=data, host="127.0.0.1", port=port, webhook_url=webhook, ready=ready))


COMMANDS = (cards_sim,)
