"""What every handler works with: the keys, the agents, the book, the node, the clock.

It is made once, by `relaybot.workings`, and handed to each handler; what it remembers may be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers.nodes import Rules
from relaybot.alarms import Alarms
from relaybot.clock import Clock
from relaybot.config import Config
from relaybot.db.database import Row
from relaybot.loops import Stumbles
from relaybot.nostr import nip04, nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.outbox import owed
from relaybot.relay.rates import Rate
from relaybot.settings.sections import Workers
from splits.model import ParamModel
from splits.resolved import ResolvedSplit
from wallet.batch_rules import FEERATE_BLOCKS, BatchRules, FeePolicy
from wallet.book import Book
from wallet.cards import CardProvider
from wallet.chain import Chain
from wallet.journals import BulkTier
from wallet.ledger import Change, Insert, Put, Update, Values
from wallet.lightning import Lightning
from wallet.money import Msat, format_sat
from wallet.onchain import DepositRules
from wallet.opening import PayoutRules
from wallet.payout_notices import Notice
from wallet.rates import NoRates, Rates, format_units

Chance = Callable[[int], bytes]  # that many random bytes

TWO_DAYS = 2 * 86_400  # NIP-59: how far back seals and wraps may be dated
HELD_BACK_SECONDS = TWO_DAYS + 3_600  # as far back as relays are read for messages: what is older was held back


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent as it runs now: its key, what it is asked for, and by what split it is charged."""

    id: str
    name: str
    about: str
    keypair: KeyPair
    kinds: frozenset[int]
    params: Mapping[str, ParamModel]  # by name
    takes_open_requests: bool
    result_schema: Mapping[str, Any] | None  # JSON Schema that a result must fit
    on_cancel: str  # what a cancel costs after the first partial result: none, usage, full
    split: ResolvedSplit
    split_hash: str
    fetches_inputs: bool = True  # what a job's inputs name is fetched for the node
    author: str = ""  # hex pubkey of who registered it; '': it stands in config.yaml


class Offered(Mapping[str, Agent]):
    """The agents in service by hex pubkey: config.yaml's, then those that authors registered.

    The second ones come and go while we run (`handlers/market.py`), all at once between two awaits.
    """

    def __init__(self, own: Mapping[str, Agent]) -> None:
        self._own = dict(own)
        self._all: dict[str, Agent] = {}
        self.contributors: frozenset[str] = frozenset()  # hex pubkeys named in any split
        self.put({})

    def put(self, listed: Mapping[str, Agent]) -> None:
        """Have `listed` in service beside config.yaml's, and no others."""
        self._all = {**self._own, **{pubkey: agent for pubkey, agent in listed.items() if pubkey not in self._own}}
        self.contributors = frozenset().union(*(agent.split.people() for agent in self._all.values()))

    def __getitem__(self, pubkey: str) -> Agent:
        return self._all[pubkey]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


@dataclass(slots=True)
class Queue:
    """How many jobs waited for a node, in the second in which they were last counted."""

    held: int = 0
    counted_at: int = -1


@dataclass(frozen=True, slots=True)
class CardDesk:
    """Where cards are taken: the card company, the secret its webhooks are signed with, and which money counts."""

    provider: CardProvider
    webhook_secret: str = field(repr=False)
    live: bool  # False: test money


@dataclass(frozen=True, slots=True)
class Bot:
    """Everything a handler may read or call."""

    config: Config
    service: KeyPair
    zapper: KeyPair  # signs zap receipts
    wallet_key: Callable[[str], KeyPair]  # ours for the wallet connection of an app with this hex pubkey
    preimage: Callable[[str], bytes]  # of our invoice with this label
    agents: Offered
    workers_allowed: frozenset[str]
    book: Book
    lightning: Lightning
    chain: Chain
    clock: Clock
    chance: Chance
    stumbles: Stumbles
    alarms: Alarms = field(default_factory=Alarms)
    cards: CardDesk | None = None
    queue: Queue = field(default_factory=Queue)
    rates: Rates = field(default_factory=NoRates)
    wallet_rate: Rate = field(default_factory=lambda: Rate(0))  # how often a connected app may ask

    @property
    def contributors(self) -> frozenset[str]:
        """The hex pubkeys named in any split: their payout targets are followed."""
        return self.agents.contributors

    @property
    def own_relays(self) -> frozenset[str]:
        """The relays to which everything we say goes."""
        return frozenset({self.config.relay.public_url, *self.config.relays})

    def shown(self, msat: Msat) -> str:
        """Return an amount as people read it: `12,000 sat (about 11.40 EUR)` where somebody knows the price."""
        quote = self.rates.quote()
        units = quote.worth(msat) if quote is not None else 0
        about = f" (about {format_units(units, quote.currency)})" if quote is not None and units > 0 else ""
        return f"{format_sat(msat)}{about}"

    def believed_date(self, created_at: int) -> int:
        """Return the date of a statement; one too far ahead counts as now, or it would have the last word for years."""
        now = self.clock.now()
        return created_at if created_at <= now + self.config.jobs.future_seconds else now

    def message(self, to: str, text: str, *, reply_to: str | None = None, as_nip04: bool = False) -> Insert:
        """Return the outbox row of a private message (NIP-17) from the service to the pubkey `to`.

        `reply_to` is the id of the rumor it answers. What came by NIP-04 is answered `as_nip04`, in a kind 4.
        """
        now = self.clock.now()
        if as_nip04:
            tags = [["p", to], *([["e", reply_to]] if reply_to else [])]
            content = nip04.encrypt(text, self.service, to, self.chance(nip04.IV_BYTES))
            return owed(self.service.sign(kind=nip04.MESSAGE_KIND, content=content, tags=tags, created_at=now), now)
        return self.wrapped(to, nip17.build_message(self.service.pubkey, [to], text, now=now, reply_to=reply_to))

    def wrapped(self, to: str, rumor: nip59.Rumor) -> Insert:
        """Return the outbox row of a rumor of the service's, sealed and wrapped for the pubkey `to` (NIP-59)."""
        now = self.clock.now()
        wrap = nip59.wrap(
            rumor,
            self.service,
            to,
            ephemeral=KeyPair(self.chance(32)),
            nonces=(self.chance(32), self.chance(32)),
            seal_created_at=self._some_time_before(now),
            wrap_created_at=self._some_time_before(now),
        )
        return owed(wrap, now)

    async def tell(self, notice: Notice) -> Sequence[Change]:
        """Return the message owed for a notice: none to those who did not ask and never said where they are reached."""
        if not notice.asked and await self.book.row("dm_relays", notice.pubkey) is None:
            return ()
        return (self.message(notice.pubkey, notice.text),)

    @property
    def node_rules(self) -> Rules:
        """The rules by which compute nodes get jobs, as `workers:` in the configuration says."""
        return node_rules(self.config.workers, self.workers_allowed)

    @property
    def payout_rules(self) -> PayoutRules:
        """The rules by which money goes out, as `payouts:` in the configuration says."""
        settings = self.config.payouts
        return PayoutRules(
            threshold_msat=settings.threshold,
            fee_ppm_max=settings.fee_percent_max,
            fee_minimum_msat=settings.fee_minimum,
            retry_seconds=settings.retry_seconds,
            retry_seconds_max=settings.retry_seconds_max,
            poll_seconds=settings.poll_seconds,
            confirm_seconds=settings.confirm_seconds,
            empty_seconds=settings.empty_seconds,
            failed_after_expiry_seconds=settings.failed_after_expiry_seconds,
            attempts_max=settings.attempts_max,
            withdrawal_seconds=settings.withdrawal_seconds,
            stuck_seconds=settings.stuck_seconds,
            cooldown_seconds=settings.target_cooldown_seconds,
            user_day_msat_max=settings.user_day_max,
            day_msat_max=settings.day_max,
            open_per_user_max=settings.open_per_user_max,
        )

    @property
    def deposit_rules(self) -> DepositRules:
        """The rules by which bitcoin that arrives on the chain is credited, as `onchain:` says."""
        settings = self.config.onchain
        return DepositRules(
            confirmations=tuple((Msat(least), count) for least, count in settings.confirmations),
            minimum_msat=settings.minimum,
            fee_msat=settings.deposit_fee or Msat(0),
            watch_blocks=settings.watch_blocks,
            dust_msat=settings.dust,
        )

    @property
    def bulk(self) -> tuple[BulkTier, ...]:
        """What companies are given for topping up much at once, as `companies.bulk` says."""
        return tuple(BulkTier(step.least, step.bonus) for step in self.config.companies.bulk)

    @property
    def batch_rules(self) -> BatchRules:
        """The rules by which money goes out on the chain, as `onchain:` says."""
        settings = self.config.onchain
        return BatchRules(
            batch_seconds=settings.batch_seconds,
            outputs_max=settings.batch_outputs_max,
            minimum_msat=settings.payout_minimum,
            fee_ppm_max=settings.payout_fee_percent_max,
            spend_confirmations=settings.spend_confirmations,
            withdrawal_seconds=settings.withdrawal_seconds,
            poll_seconds=settings.poll_seconds,
            depth=self.deposit_rules,
            fees=FeePolicy(
                blocks=FEERATE_BLOCKS[settings.feerate],
                feerate_min=settings.feerate_min,
                feerate_max=settings.feerate_max,
            ),
        )

    def _some_time_before(self, now: int) -> int:
        return now - int.from_bytes(self.chance(4), "big") % TWO_DAYS


def node_rules(settings: Workers, allowed: frozenset[str]) -> Rules:
    """Return the rules by which compute nodes get jobs."""
    return Rules(
        admission=settings.admission,
        allowed=allowed,
        open_jobs_max=settings.open_jobs_max,
        probation_jobs=settings.probation_jobs,
        probation_price_msat=settings.probation_price,
    )


def bucket_of(now: int, seconds: int) -> int:
    """Return the end of the span of so many seconds that holds `now`: what happens in one span is told together."""
    return now - now % seconds + seconds


def new_user(now: int) -> Values:
    """Return the columns of a user who was not known before."""
    return {
        "referrer": None,
        "first_funded_at": None,
        "threshold_msat": None,
        "withdrawals": "open",
        "payouts": 0,
        "payout_check_at": None,
        "notices": "on",
        "zaps": "off",
        "payout_zaps": "off",
        "created_at": now,
    }


def check_payouts(pubkeys: Sequence[str], now: int) -> tuple[Put, ...]:
    """Return the rows that ask the payouts to look at these users' balances soon."""
    return tuple(Put("users", pubkey, {"payout_check_at": now}, fresh=new_user(now)) for pubkey in sorted(set(pubkeys)))


def written(table: str, row_id: str, row: Row | None, values: Values) -> Change:
    """Return the change of a row to `values`, guarded by what was read: its version, or that it was not there."""
    if row is None:
        return Insert(table, row_id, values)
    return Update(table, row_id, values, expect={"version": row["version"]})


def events_owed(now: int, *events: Event) -> tuple[Insert, ...]:
    """Return the outbox rows of several events, to be sent in this order."""
    return tuple(owed(event, now, place) for place, event in enumerate(events))
