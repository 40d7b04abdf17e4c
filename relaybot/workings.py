"""The bot without its doors: what it is made of, and what goes on for ever.

Nothing here opens a file, a socket or a thread, or tells the time: book, node, clock,
relays and the way to fetch a document are handed in. `app.py` opens the real ones; the
simulator of tests/simulator hands in doors that it can shut at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from handlers import assignments, commands, jobs, listings, lots, targets, wallet_connect, workers
from handlers.assigning import Assigning
from handlers.assignments import release_due
from handlers.bot import Agent, Bot, CardDesk, Chance, Offered
from handlers.card_payments import CardPayments
from handlers.deposits import Deposits
from handlers.inputs import Gathering, Sources
from handlers.message_relays import MessageRelays, on_dm_relays
from handlers.notices import tell_due
from handlers.pay_slips import tell_nodes
from handlers.settlements import Settlements, cancel_paid
from handlers.wallet_connect import tell_ends
from handlers.zap_payouts import Receipts, ZapPayouts, see_receipts
from relaybot import visits
from relaybot.accounting.closing import Rules
from relaybot.accounting.owing import publish_liabilities
from relaybot.accounting.publishing import publish_due
from relaybot.clock import Clock
from relaybot.config import Config
from relaybot.errors import BadConfig
from relaybot.exchange import FetchedRate, rates_of
from relaybot.inbox import Inbox
from relaybot.keyring import Keyring, read_key
from relaybot.loops import Step, Stumbles, repeat
from relaybot.nostr.keys import KeyPair
from relaybot.outbox import Outbox, Publish
from relaybot.processes import ALONE, Process
from relaybot.relay.rates import Rate
from relaybot.visits import Visits
from splits.model import FETCHED
from splits.resolved import split_hash
from wallet.batches import Batches, Quotes
from wallet.book import Book
from wallet.chain import Chain
from wallet.lightning import Lightning
from wallet.lnurl import Fetcher
from wallet.payees import Payees
from wallet.payout_checks import LookUp, PayoutChecks
from wallet.payouts import Payouts
from wallet.watch import AGAIN_SECONDS, Watch


class Role(Enum):
    """What a process does of the whole; one that is not told does all."""

    RELAY = "relay"  # the embedded relay and the pages, on the port
    BOT = "bot"  # reads relays, handles what it read, sends what is owed
    MONEY = "money"  # follows the node: settlements, payouts, card money
    ACCOUNTS = "accounts"  # publishes the day


class Looks(Sources, Receipts, Protocol):
    """What is looked up in the world."""


@dataclass(frozen=True, slots=True)
class Doors:
    """By what the bot reaches the world, beside its book and its node."""

    relays: Mapping[str, Publish]  # by name
    look_up: LookUp
    fetch: Fetcher
    visit: visits.Publish
    sources: Looks | None = None  # of jobs' inputs, and of receipts of zaps that we paid; None: nothing is looked up


def build_bot(
    config: Config,
    keyring: Keyring,
    book: Book,
    lightning: Lightning,
    clock: Clock,
    *,
    chain: Chain,
    chance: Chance,
    stumbles: Stumbles | None = None,
    cards: CardDesk | None = None,
) -> Bot:
    """Return what the handlers work with."""
    agents: dict[str, Agent] = {}
    for agent_id, model in config.agents.items():
        key = agent_key(config, keyring, agent_id)
        if key.pubkey in agents:  # requests are told apart by the key they name
            raise BadConfig(f"agents.{agent_id}.nsec_file", str(model.nsec_file), "a key that no other agent has")
        split = config.splits[agent_id]
        agents[key.pubkey] = Agent(
            id=agent_id,
            name=model.name,
            about=model.about,
            keypair=key,
            kinds=frozenset(model.kinds),
            params=model.params,
            takes_open_requests=model.open,
            result_schema=model.result_schema,
            on_cancel=model.on_cancel,
            fetches_inputs=model.inputs == FETCHED,
            split=split,
            split_hash=split_hash(split),
        )
    return Bot(
        config=config,
        service=keyring.key("service"),
        zapper=keyring.key("zapper"),
        wallet_key=lambda app: keyring.key(f"nwc/{app}"),
        preimage=lambda label: keyring.secret(f"preimage/{label}"),
        agents=Offered(agents),
        workers_allowed=frozenset(config.workers.allowed),
        book=book,
        lightning=lightning,
        chain=chain,
        clock=clock,
        chance=chance,
        stumbles=stumbles or Stumbles(clock),
        rates=rates_of(config.rates, clock),
        cards=cards,
        wallet_rate=Rate(config.nwc.requests_per_minute),
    )


def agent_key(config: Config, keyring: Keyring, agent_id: str) -> KeyPair:
    """Return an agent's key: the one in its `nsec_file`, or the one derived for it."""
    given = config.agents[agent_id].nsec_file
    return read_key(given, f"agents.{agent_id}.nsec_file") if given is not None else keyring.key(f"agent/{agent_id}")


def build_inbox(bot: Bot, process: Process = ALONE) -> Inbox:
    """Return the inbox with every handler: this table is what the bot does."""
    handlers = {
        range(1): targets.on_profile,
        range(4, 5): commands.on_direct_message,
        range(5, 6): listings.on_deletion,
        range(1059, 1060): commands.on_wrap,
        range(5000, 6000): jobs.on_request,
        range(6000, 7000): assignments.on_result,
        range(7000, 7001): assignments.on_feedback,
        range(10050, 10051): on_dm_relays,
        range(10133, 10134): targets.on_payto,
        range(11998, 11999): workers.on_heartbeat,
        range(23194, 23195): wallet_connect.on_request,
        range(31990, 31991): workers.on_announcement,
        range(37172, 37173): listings.on_listing,
    }
    return Inbox(
        bot.book,
        bot.clock,
        {kinds: partial(handler, bot) for kinds, handler in handlers.items()},
        waiting_max=bot.config.limits.inbox_max,
        waiting=(
            range(4, 5),
            range(1059, 1060),
            range(5000, 6000),
            range(23194, 23195),
        ),  # whoever asks us for money waits for the node
        process=process,
    )


def standing_tasks(
    bot: Bot,
    keyring: Keyring,
    inbox: Inbox,
    doors: Doors,
    *,
    process: Process = ALONE,
    roles: Collection[Role] = tuple(Role),
) -> dict[str, Coroutine[None, None, None]]:
    """Return everything that goes on for ever in these roles, by name."""
    config, book = bot.config, bot.book

    def singly(name: str, step: Step, *tables: str, seconds: float = 1) -> Coroutine[None, None, None]:
        return repeat(name, process.singly(name, step), wake=book.watch(*tables), seconds=seconds)

    standing: dict[str, Coroutine[None, None, None]] = {}
    if isinstance(bot.rates, FetchedRate):  # each process asks for itself: what it shows is its own
        asking = partial(bot.rates.ask, doors.fetch)
        standing["rates"] = repeat("rates", asking, wake=asyncio.Event(), seconds=config.rates.poll_seconds)
    if Role.BOT in roles:
        outbox = Outbox(book, bot.clock, doors.relays, MessageRelays(bot, doors.look_up).of, bot.stumbles)
        standing |= {
            "inbox": inbox.run(),
            "outbox": outbox.run(partial(process.does, "outbox"), wake=book.watch("outbox")),
            "notices": singly("notices", partial(tell_due, bot)),
            "wallet ends": singly("wallet ends", partial(tell_ends, bot), "payouts", seconds=5),
            "pay slips": singly("pay slips", partial(tell_nodes, bot), seconds=5),
            "visits": singly("visits", Visits(book, bot.clock, doors.visit, bot.stumbles).step, "visits", seconds=5),
            "assign": singly("assign", Assigning(bot).step, "jobs", "workers", "job_inputs"),
            "deadlines": singly("deadlines", partial(release_due, bot)),
        }
        if doors.sources is not None:
            standing["inputs"] = singly("inputs", Gathering(bot, doors.sources).step, "job_inputs")
            seeing = partial(see_receipts, bot, doors.sources)
            standing["zap receipts"] = singly("zap receipts", seeing, "attempts", seconds=5)
    if Role.MONEY in roles:
        watch = _watch(bot)
        standing |= {
            "reconciliation": repeat("reconciliation", watch.step, wake=asyncio.Event(), seconds=AGAIN_SECONDS),
            "settlements": singly("settlements", Settlements(bot).follow, "cursors", seconds=5),
            "cancellations": singly("cancellations", partial(cancel_paid, bot), "invoices", seconds=60),
            "lots": singly("lots", partial(lots.follow_lots, bot), seconds=60),
            "payouts": _pay_out(_payouts(bot, doors, process), config, watch),
        }
        if bot.cards is not None:
            standing["cards"] = singly("cards", CardPayments(bot).follow, "card_offers", seconds=5)
        if config.onchain.enabled:
            standing["deposits"] = singly("deposits", Deposits(bot).follow, seconds=5)
        standing["batches"] = singly(
            "batches", partial(_once_begun, watch, _batches(bot).step), "payouts", "batches", seconds=5
        )
        if config.payouts.enabled:  # else nothing new is opened; what is open goes on
            quotes = Quotes(bot.lightning, bot.chain, bot.batch_rules)
            checks = PayoutChecks(
                book, bot.clock, bot.payout_rules, look_up=doors.look_up, quote=quotes.quote, stumbles=bot.stumbles
            )
            standing["payout checks"] = singly("payout checks", checks.open_due, "users", "targets", seconds=5)
    if Role.ACCOUNTS in roles and config.accounting.publish:
        standing |= {name: singly(name, do, seconds=s) for name, (do, s) in _publishing(bot, keyring).items()}
    return standing


def _watch(bot: Bot) -> Watch:
    settings = bot.config.payouts
    return Watch(
        bot.book,
        bot.lightning,
        bot.chain,
        bot.clock,
        bot.alarms,
        seconds=settings.reconcile_seconds,
        stuck_seconds=settings.stuck_seconds,
        hot_wallet_msat_max=settings.hot_wallet_max,
    )


async def _once_begun(watch: Watch, step: Step) -> bool:
    return await step() if watch.begun.is_set() else False


async def _pay_out(payouts: Payouts, config: Config, watch: Watch) -> None:
    """Send nothing before the node's books were looked at: ours may be of yesterday."""
    await watch.begun.wait()
    await payouts.run(concurrency=config.payouts.concurrency, at_once=config.payouts.per_host_max)


def _payouts(bot: Bot, doors: Doors, process: Process) -> Payouts:
    domain, onions = bot.config.web.domain, bot.config.outgoing.onions
    payees = Payees(bot.lightning, doors.fetch, bot.clock, domain=domain, onions=onions)
    return Payouts(
        bot.book,
        bot.lightning,
        bot.clock,
        bot.payout_rules,
        request_invoice=payees.request_invoice,
        request_zap=ZapPayouts(bot, payees).request,
        tell=bot.tell,
        heard=partial(wallet_connect.payment_sent, bot),
        process=process,
        stumbles=bot.stumbles,
    )


def _batches(bot: Bot) -> Batches:
    return Batches(
        bot.book,
        bot.lightning,
        bot.chain,
        bot.clock,
        rules=bot.payout_rules,
        batch_rules=bot.batch_rules,
        tell=bot.tell,
        stumbles=bot.stumbles,
    )


def _publishing(bot: Bot, keyring: Keyring) -> dict[str, tuple[Step, int]]:
    """Return what publishes accounts, and how many seconds lie between two looks."""
    return {
        "accounts": (partial(_publish_due, bot, keyring), 60),
        "liabilities": (partial(_publish_liabilities, bot, keyring), 3_600),
    }


async def _publish_due(bot: Bot, keyring: Keyring) -> bool:
    return await publish_due(
        bot.book,
        keyring.key("books"),
        accounting_rules(bot.config),
        bot.clock,
        delay_seconds=bot.config.accounting.delay_seconds,
    )


async def _publish_liabilities(bot: Bot, keyring: Keyring) -> bool:
    """Publish what is owed if that is due; there is never more of it at once."""
    rules = accounting_rules(bot.config)
    await publish_liabilities(bot.book, keyring.key("books"), rules, bot.chance, now=bot.clock.now())
    return False


def accounting_rules(config: Config) -> Rules:
    """Return the rules by which accounts are published."""
    settings = config.accounting
    return Rules(settings.k, settings.dominance_percent, settings.round, demo=settings.allow_open_day)
