"""The conversation (NIP-17): private messages to the service, and its answers.

`COMMANDS` is the whole list: each takes the words after its name and returns what is
answered and what changes. A command is done once per rumor, whatever a relay replays.
Unknown or malformed input gets the usage of the nearest command.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from handlers.asking import agents, job
from handlers.bot import HELD_BACK_SECONDS, Bot
from handlers.company_commands import org
from handlers.connections import connect, disconnect
from handlers.conversation import CONFIRM, Asked, Command, Reply
from handlers.money_commands import balance_text, history_text, statement_text
from handlers.names import names_of, plan_name
from handlers.pay_requests import address_of
from handlers.proofs import proof
from handlers.referrals import refer
from handlers.sessions import login
from handlers.shares import share
from handlers.strangers import heard
from handlers.targets import payout
from handlers.topups import topup
from handlers.wishes import notices, zaps
from handlers.withdrawals import withdraw
from relaybot.errors import Rejected, Unavailable
from relaybot.inbox import Decision
from relaybot.nostr import nip04, nip17, nip59
from relaybot.nostr.event import Event
from wallet.ledger import Plan
from wallet.money import Msat, format_sat

PATIENCE_SECONDS = 10  # a command may wait for the node unremarked
_AN_HOUR = 3_600


async def on_wrap(bot: Bot, event: Event) -> Decision:
    """Take a gift wrap (1059) to the service: unwrap it, run the command, owe the answer."""
    rumor = nip59.unwrap(event, bot.service)
    # Keyed by the rumor, not by the wrap: the same rumor in a second wrap is no second command.
    process, since = await _taken(bot, event)
    said = Asked(rumor.pubkey, rumor.id, rumor.created_at, (), process=process)
    return await _answered(bot, said, nip17.parse_message(rumor).text, since)


async def on_direct_message(bot: Bot, event: Event) -> Decision:
    """Take a kind 4 (NIP-04) to the service, as if it had come in a gift wrap; the answer is a kind 4, too."""
    text = nip04.decrypt(event.content, bot.service, event.pubkey)
    process, since = await _taken(bot, event)
    said = Asked(event.pubkey, event.id, event.created_at, (), nip04=True, process=process)
    return await _answered(bot, said, text, since)


async def _taken(bot: Bot, event: Event) -> tuple[str, int]:
    """Return which process handles a message, and since when we have it."""
    row = await bot.book.row("inbox", event.id)
    return (row["holder"], row["received_at"]) if row is not None else ("", bot.clock.now())


async def _answered(bot: Bot, said: Asked, text: str, since: int) -> Decision:
    """Return the Plan that does what a message says, once, and owes the answer.

    We have it since `since`. Unavailable: it is to be tried again; whoever has waited for that is told so.
    """
    words = text.split()
    if not words:
        return "an empty message"
    counted = await heard(bot, said.sender)
    asked = replace(said, words=words[1:], text="".join(text.split(maxsplit=1)[1:]))
    try:
        reply = _too_late(asked, since) or await _run(bot, words[0].lower(), asked)
    except Unavailable:
        if bot.clock.now() - since >= PATIENCE_SECONDS:
            await _say_it_waits(bot, asked)
        raise
    answer = bot.message(said.sender, reply.text, reply_to=said.rumor, as_nip04=said.nip04)
    return Plan(f"dm/{said.rumor}", reply.transfers, (*reply.changes, *counted, answer))


async def _say_it_waits(bot: Bot, asked: Asked) -> None:
    """Say that a command waits for what is outside; once an hour, whatever somebody asks meanwhile."""
    text = (
        "What this needs outside of us, most likely our Lightning node, does not answer now. Your message is kept, and"
        " done and answered as soon as it does; nothing was taken from your balance. No need to write it again."
    )
    now = bot.clock.now()
    message = bot.message(asked.sender, text, as_nip04=asked.nip04)
    await bot.book.apply(Plan(f"dm/{asked.sender}/waits/{now // _AN_HOUR}", changes=(message,)))


def _too_late(asked: Asked, since: int) -> Reply | None:
    """Return what is answered to a message that was too old when it came: a relay may hold one back for weeks."""
    if asked.created_at >= since - HELD_BACK_SECONDS:
        return None
    written_at = datetime.fromtimestamp(max(0, asked.created_at), UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Reply(
        f"Nothing is done: your message says that it was written at {written_at}, and it came only now."
        " If you still want it, write it again. If you have just written it, the clock of your device is wrong."
    )


async def _run(bot: Bot, name: str, asked: Asked) -> Reply:
    command = COMMANDS.get(name)
    if command is None:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean: {COMMANDS[nearest[0]].usage}" if nearest else "Write help for what I understand."
        return Reply(f"I do not know {name[:40]!r}. {hint}")
    try:
        return await command.run(bot, asked)
    except Rejected as refusal:
        return Reply(f"{refusal.reason}.\nUsage: {command.usage}")


async def _help(bot: Bot, asked: Asked) -> Reply:
    """`help`, `help <command>`: what there is, and how to begin; or one command with an example."""
    match asked.words:
        case []:
            listed = "\n".join(f"{command.usage}\n    {command.about}" for command in COMMANDS.values())
            return Reply(f"{_welcome(bot)}\n\n{listed}")
        case [name] if (command := COMMANDS.get(name.lower())) is not None:
            example = f"\nFor example: {command.example}" if command.example else ""
            return Reply(f"{command.usage}\n    {command.about}{example}")
        case _:
            raise Rejected("invalid", f"one command at a time: {', '.join(COMMANDS)}")


def _welcome(bot: Bot) -> str:
    service = bot.config.service
    return (
        f"This is {service.name}. {service.about}.\n"
        "To begin: agents shows whom you can ask and what it costs, topup 5000 adds 5,000 sat to your balance, and job"
        " <agent> followed by what you want asks for it. Without a balance a job comes with its own invoice.\n"
        "What I understand ([…] may be left out; help and one of these words says more):"
    )


async def _balance(bot: Bot, asked: Asked) -> Reply:
    return Reply(await balance_text(bot, asked.sender))


async def _history(bot: Bot, asked: Asked) -> Reply:
    return Reply(await history_text(bot, asked.sender, asked.words))


async def _statement(bot: Bot, asked: Asked) -> Reply:
    return Reply(await statement_text(bot, asked.sender))


async def _withdraw(bot: Bot, asked: Asked) -> Reply:
    """Withdraw; above `dm.confirm_above` only if the last word says so, after everything else was found right."""
    *words, last = asked.words or [""]
    if last.lower() == CONFIRM:
        return await withdraw(bot, replace(asked, words=words))
    reply, limit = await withdraw(bot, asked), bot.config.dm.confirm_above
    amount = Msat(sum(transfer.amount_msat for transfer in reply.transfers))
    if amount <= limit:
        return reply
    return Reply(
        f"Nothing is sent yet: with what the way may cost, this takes {bot.shown(amount)} of your balance, and more"
        f" than {format_sat(limit)} need a second word. To send it, write:"
        f"\nwithdraw {' '.join(asked.words)} {CONFIRM}"
    )


async def _name(bot: Bot, asked: Asked) -> Reply:
    """`name`, `name <name>`: the words before the @ of a Lightning Address."""
    match asked.words:
        case []:
            names = await names_of(bot, asked.sender)
            if not names:
                return Reply("You have no name yet: name <name> takes one.")
            return Reply(f"You are {', '.join(_address(bot, name) for name in names)}.")
        case [name]:
            changes = await plan_name(bot, asked.sender, name.lower())
            paid = "whoever pays or zaps it, pays you"
            if bot.config.web.domain is None:
                paid = "it is kept for you, and nobody can pay to it as long as this service has no domain"
            return Reply(f"You are {_address(bot, name.lower())}: {paid}.", changes)
        case _:
            raise Rejected("invalid", "too many words")


def _address(bot: Bot, name: str) -> str:
    return address_of(bot, name) or name


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "help": Command("help [<command>]", "what I understand", _help, "help withdraw"),
        "balance": Command("balance", "what you have, by class, what is held, and what is on its way", _balance),
        "topup": Command(
            "topup [<sats>] [lightning | onchain | card]",
            "add to your balance; without a sum, by all ways at once",
            topup,
            "topup 5000",
        ),
        "agents": Command("agents", "whom you can ask for what, and what it costs", agents),
        "job": Command(
            "job <agent> [<param>=<value> …] <input>",
            "ask an agent for a job",
            job,
            "job autodev Fix issue 42, where autodev is a word that agents shows",
        ),
        "history": Command("history [n]", "the newest entries of your account, and why", _history, "history 20"),
        "statement": Command("statement", "the same as CSV, in msat", _statement),
        "proof": Command(
            "proof [<company>]", "that what is yours here is in the liabilities we have published", proof, "proof"
        ),
        "withdraw": Command(
            "withdraw <sats | all> <invoice | lightning address | offer | bitcoin address>",
            "send what is yours",
            _withdraw,
            "withdraw 5000 you@wallet.example; an invoice that names its sum may stand alone",
        ),
        "payout": Command(
            "payout [<lightning address | offer | bitcoin address> | keep] [threshold <sats>] | zaps (on | off)",
            "where and when your earnings are sent by themselves, and whether as public zaps",
            payout,
            "payout you@wallet.example threshold 1000",
        ),
        "share": Command(
            "share [<skill or agent> (decline | agree [<version>])]",
            "what others' skills and agents give you; say no, or agree to less",
            share,
            "share summarise decline",
        ),
        "notices": Command("notices [on | off]", "whether you are told of what you are given", notices),
        "zaps": Command("zaps [on | off]", "whether public results name you, so that people can zap you", zaps),
        "connect": Command(
            "connect [<name> [<sats>/day | week | month] [for <n> days] [only read,receive,pay]]",
            "let an app use your balance (wallet connect), within a budget",
            connect,
            "connect amethyst 1000/day for 30 days",
        ),
        "disconnect": Command("disconnect <name>", "end such a connection, at once", disconnect, "disconnect amethyst"),
        "login": Command("login", "a link that shows you your account in a browser, once", login),
        "org": Command(
            "org [<command> [<company>] …]",
            "companies: a balance that several people spend; org lists yours",
            org,
            "org create acme Acme Ltd.",
        ),
        "name": Command("name [<name>]", "a Lightning Address of your own here", _name, "name alice"),
        "refer": Command("refer <npub>", "name who referred you, once", refer, "refer npub1…"),
    }
)
