"""The commands about card payments, and bonuses: what a card company's record says, told by hand."""

from __future__ import annotations

from pathlib import Path

import click

from handlers.cards import CardPayment, DisputeState
from relaybot.cli.books import users
from relaybot.cli.shell import (
    AMOUNT,
    AMOUNT_OR_NOTHING,
    config_option,
    finish,
    json_option,
    keyring_of,
    load,
    read_npub,
    show,
)
from relaybot.clock import SystemClock
from relaybot.operator import cards as desk
from wallet.accounts import person
from wallet.money import Msat


@click.group()
def cards() -> None:
    """See card payments, and book by hand what the card company says of them."""


@cards.command("list")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def cards_list(limit: int, config_path: Path, *, as_json: bool) -> None:
    """List the newest card payments: their state, what was disputed, what is left of each.

    Example: relaybot cards list --limit 10
    """
    show(finish(desk.list_payments(load(config_path), limit)), "card payments", as_json=as_json)


@cards.command("lots")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def cards_lots(limit: int, config_path: Path, *, as_json: bool) -> None:
    """List what was earned from card money and is not sats yet, the first to mature first.

    Example: relaybot cards lots
    """
    show(finish(desk.list_lots(load(config_path), limit)), "lots", as_json=as_json)


@cards.command("credit")
@click.argument("payment")
@click.argument("npub")
@click.argument("amount", type=AMOUNT)
@click.option("--company", default="", help="The company for which it was paid.")
@config_option
@json_option
def cards_credit(payment: str, npub: str, amount: Msat, company: str, config_path: Path, *, as_json: bool) -> None:
    """Credit a card payment that you have seen complete in the card company's own records, once.

    PAYMENT is its name there, AMOUNT what it bought: `20000` sat, or `"1500 msat"`.

    Example: relaybot cards credit pi_3NqK7 npub1… 20000
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    paid = CardPayment(payment, pubkey, amount, SystemClock().now(), company or None)
    show(finish(desk.credit(config, keyring_of(config), paid)), "card", as_json=as_json)


@cards.command("disputed")
@click.argument("payment")
@click.option("--amount", type=AMOUNT, help="The part of it that is disputed; else all of it.")
@config_option
@json_option
def cards_disputed(payment: str, amount: Msat | None, config_path: Path, *, as_json: bool) -> None:
    """Book that a payment is disputed: out of what is left of it, of what matures, then as a debt.

    Example: relaybot cards disputed pi_3NqK7 --amount 5000
    """
    _dispute(payment, DisputeState.OPEN, amount, config_path, as_json=as_json)


@cards.command("lost")
@click.argument("payment")
@click.option("--amount", type=AMOUNT, help="The part of it that was refunded; else all of it.")
@config_option
@json_option
def cards_lost(payment: str, amount: Msat | None, config_path: Path, *, as_json: bool) -> None:
    """Book that a dispute was lost, or a payment refunded. What is owed for it stays owed.

    Example: relaybot cards lost pi_3NqK7
    """
    _dispute(payment, DisputeState.LOST, amount, config_path, as_json=as_json)


@cards.command("won")
@click.argument("payment")
@config_option
@json_option
def cards_won(payment: str, config_path: Path, *, as_json: bool) -> None:
    """Book that a dispute was won: everything that it took goes back.

    Example: relaybot cards won pi_3NqK7
    """
    _dispute(payment, DisputeState.WON, None, config_path, as_json=as_json)


@cards.command("write-off")
@click.argument("payment")
@config_option
@json_option
def cards_write_off(payment: str, config_path: Path, *, as_json: bool) -> None:
    """Give up what is still owed for a disputed payment: your loss; its payer may use the service again.

    Example: relaybot cards write-off pi_3NqK7
    """
    config = load(config_path)
    show(finish(desk.write_off(config, keyring_of(config), payment)), "card", as_json=as_json)


@cards.command("settled")
@click.argument("settlement")
@click.option(
    "--gross",
    type=AMOUNT_OR_NOTHING,
    required=True,
    help="What the settled payments had bought, less what was disputed.",
)
@click.option("--fee", type=AMOUNT_OR_NOTHING, required=True, help="The card company's own.")
@click.option("--bank", type=AMOUNT_OR_NOTHING, required=True, help="What reached the bank, at the rate of that day.")
@config_option
@json_option
def cards_settled(settlement: str, gross: Msat, fee: Msat, bank: Msat, config_path: Path, *, as_json: bool) -> None:
    """Book what the card company has paid out to your bank, once; the rest is gain or loss of the exchange.

    SETTLEMENT is its name in the card company's records.

    Example: relaybot cards settled po_1NqL --gross 20000 --fee 650 --bank 19400
    """
    config = load(config_path)
    booked = desk.settle(config, keyring_of(config), settlement, gross=gross, fee=fee, bank=bank)
    show(finish(booked), "settlement", as_json=as_json)


@users.command("bonus")
@click.argument("npub")
@click.argument("amount", type=AMOUNT)
@click.argument("name")
@config_option
@json_option
def users_bonus(npub: str, amount: Msat, name: str, config_path: Path, *, as_json: bool) -> None:
    """Give somebody money for jobs, once under each NAME. It cannot be withdrawn, and reaches nobody but you.

    Example: relaybot users bonus npub1… 500 welcome
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    show(finish(desk.give_bonus(config, keyring_of(config), person(pubkey), amount, name)), "bonus", as_json=as_json)


def _dispute(payment: str, seen: DisputeState, amount: Msat | None, path: Path, *, as_json: bool) -> None:
    config = load(path)
    show(finish(desk.dispute(config, keyring_of(config), payment, seen, amount)), "card", as_json=as_json)


COMMANDS = (cards,)
