"""The sections of config.yaml: every key with its type, its default, its unit and its reason.

docs/config.md describes each for operators, config.yaml shows each with its default;
tests hold the three together. Nothing here acts on a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from relaybot.settings.values import (
    ConfigPath,
    Confirmations,
    Contributor,
    Count,
    Currency,
    DataFile,
    DataPath,
    Feerate,
    Origin,
    PercentFromZero,
    Port,
    Price,
    Seconds,
    SocksProxy,
    Token,
    WebUrl,
)
from splits.model import AgentModel, Amount, Millionths, Percent, Text, Words, Written
from wallet.batch_rules import VBYTES_PER_1000_UNITS
from wallet.money import Msat, from_sat

HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]

Hosts = Annotated[Mapping[HostName, Origin], AfterValidator(MappingProxyType)]


class Service(Written):
    """Who we are, and where our files lie."""

    name: Words = "relaybot"
    about: Text = "Ask an agent, pay in bitcoin, and everybody who contributed is paid"
    data_dir: ConfigPath = Path("data")


class Keys(Written):
    """Where the master secret lies; RELAYBOT_SECRET takes its place."""

    file: DataPath = Path("master.key")


class Web(Written):
    """The pages for browsers, on the relay's port, and the domain of our Lightning Addresses and NIP-05 names."""

    enabled: bool = True
    domain: HostName | None = None  # without it nobody is found as <name>@<domain>
    metrics_token: Token | None = None  # without it there is no /metrics: its figures are nobody else's business
    url: Origin | None = None  # where browsers find the pages; derived from relay.url if it is not said
    account: bool = True  # pages and an API for one's own account
    session_seconds: Annotated[int, Field(ge=60, le=604_800)] = 7_200  # a browser left alone does not stay open
    requests_per_minute: Count = 120  # to the pages and the API that ask for a key, by one address and by one key


class LightningSettings(Written):
    """The node, always spoken to as Core Lightning; by default the simulator plays it."""

    backend: Literal["simulated", "core-lightning"] = "simulated"
    socket: DataPath = Path("lightning/service/lightning-rpc")
    embedded: bool = True  # nothing else to start; the demo and kill tests run it as a process of its own
    simulator_port: Port = 7480  # of the web server of its wallets
    data: DataPath = Path("lightning")
    private_channels: Literal["auto", "always", "never"] = "auto"  # whether invoices hint at unpublished channels


class Onchain(Written):
    """Bitcoin on the chain: when deposits count and how long they are watched; when and how payments are sent."""

    enabled: bool = True
    confirmations: Confirmations = (
        (Msat(0), 1),  # a coffee is not worth a double spend
        (from_sat(1_000_000), 3),
        (from_sat(10_000_000), 6),
    )
    minimum: Amount = from_sat(1_000)  # to spend an output costs about 60 sat at 1 sat/vB, 3,000 at 50
    dust: Annotated[Amount, Field(ge=from_sat(330))] = from_sat(546)  # Bitcoin Core relays no smaller output to us
    deposit_fee: Amount | None = None  # taken off each deposit, for what it costs to spend it
    watch_blocks: Annotated[int, Field(ge=6, le=1_000)] = 100  # a coinbase cannot be spent before: nobody goes deeper
    poll_seconds: Annotated[int, Field(ge=1, le=3_600)] = 60  # between two looks, if no block comes
    batch_seconds: Annotated[int, Field(ge=0, le=604_800)] = 3_600  # payments are gathered: one transaction costs less
    batch_outputs_max: Annotated[int, Field(ge=1, le=1_000)] = 100  # in one transaction; this many go at once
    feerate: Literal["slow", "normal", "urgent"] = "normal"  # Core Lightning's names of 100, 12 and 6 blocks
    feerate_min: Feerate = VBYTES_PER_1000_UNITS  # 1 sat/vB: with less, older nodes do not pass it on
    feerate_max: Feerate = 200 * VBYTES_PER_1000_UNITS  # fees fall again within days; below, urgent ones get through
    payout_minimum: Annotated[Amount, Field(ge=from_sat(546))] = from_sat(10_000)  # 546 sat: less is dust to nodes
    payout_fee_percent_max: Percent = Millionths(50_000)  # 5 %: else what goes out by itself waits for lower fees
    spend_confirmations: Annotated[int, Field(ge=1, le=100)] = 6  # an undone deposit must not undo others' payments
    withdrawal_seconds: Seconds = 86_400  # a withdrawal waits for its transaction; then it is balance again


class AgentSettings(AgentModel):
    """An agent of our own: what any author can write of one, and its key."""

    nsec_file: DataFile | None = None


class Card(Written):
    """Top-ups by card: who takes them, what may be bought, and what is earned from such money."""

    provider: Literal["none", "simulated", "stripe"] = "none"
    secret_key_file: DataPath = Path("stripe.key")  # sk_…; never in this file, which is shown around
    webhook_secret_file: DataPath = Path("stripe-webhook.secret")  # whsec_…, of the endpoint at /card/webhook
    live: bool = True  # real money; test money is never credited where it is wanted
    embedded: bool = True  # the simulator runs inside the service; the demo has it as a process of its own
    simulator_port: Port = 7490
    data: DataPath = Path("cards")  # what the simulator keeps
    fee_percent: PercentFromZero = Millionths(40_000)  # 4 %: what the company takes, and the rate's way to the bank
    quote_seconds: Annotated[int, Field(ge=60, le=3_600)] = 900  # to read the terms; the rate moves meanwhile
    topup_min: Amount = from_sat(5_000)  # card companies take nothing below half a euro
    topup_max: Amount = from_sat(200_000)
    first_max: Amount = from_sat(50_000)  # of each until the first is `first_days` old: stolen cards are tried at once
    first_days: Annotated[int, Field(ge=0, le=365)] = 7
    user_day_max: Amount = from_sat(200_000)  # of one user in 24 hours
    day_max: Amount = from_sat(2_000_000)  # of all users in 24 hours: what may be disputed at once
    three_d_secure_above: Amount = from_sat(50_000)  # and always until the first is `first_days` old
    verification: Literal["none", "operator"] = "none"  # operator: held until `relaybot users verify`
    poll_seconds: Annotated[int, Field(ge=10, le=3_600)] = 60  # a webhook that got lost is made up for by then
    maturity_days: Annotated[int, Field(ge=0, le=730)] = 120  # the span in which most disputes come
    advance_sats_per_day: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0  # at the operator's own risk


class Jobs(Written):
    """How long each step of a job may take, and how large it may be."""

    ttl_seconds: Seconds = 3_600  # a request without an `expiration`; older ones were asked before we came back
    future_seconds: Seconds = 120  # less than the relay's: money hangs on it
    payment_seconds: Seconds = 3_600  # the life of an invoice; people fetch their phone
    claim_seconds: Seconds = 15  # a live node answers in one; then the next gets its chance
    lease_seconds: Seconds = 600  # a model that writes for ten minutes is not heard of
    queue_seconds: Seconds = 300  # the customer's money is held meanwhile
    attempts_max: Count = 3  # nodes that get the same job; a job that broke three is likely at fault itself
    input_bytes_max: Count = 32_768  # of a request's event: encrypted again for a node it fits into 65,536
    result_bytes_max: Count = 32_768  # of a result's content, for the same reason
    open_per_customer_max: Count = 20  # one customer does not fill the queue
    queue_max: Count = 10_000  # paid jobs that wait for a node; further requests are told to come back later


class Workers(Written):
    """Which compute nodes get jobs."""

    admission: Literal["closed", "approved", "open"] = "closed"  # a stranger's node reads its customers' inputs
    allowed: Annotated[tuple[Contributor, ...], Field(max_length=10_000)] = ()
    strangers_max: Count = 1_000  # nodes nobody vouches for that are kept at once: keys cost nothing
    probation_jobs: Annotated[int, Field(ge=0, le=1_000)] = 5  # of a node nobody vouches for: as many must succeed
    probation_price: Amount = from_sat(1_000)  # and cost no more than this
    heartbeat_seconds_max: Annotated[int, Field(ge=300, le=86_400)] = 900  # it beats every 300: two may be lost
    open_jobs_max: Count = 4  # jobs one node has at once; fewer if it announces a lower concurrency


class Payouts(Written):
    """When contributors' balances are sent, what a route may cost, and how failures are waited out."""

    enabled: bool = True
    threshold: Amount = from_sat(100)  # below, a route's base fee eats a noticeable part
    fee_percent_max: Percent = Millionths(10_000)  # 1 %: what the node itself would allow
    fee_minimum: Amount = from_sat(5)  # and its least; small payments need it
    concurrency: Annotated[int, Field(ge=1, le=100)] = 8  # calls at once; a node's own limit is about 40
    retry_seconds: Seconds = 30  # doubled after each failure
    retry_seconds_max: Seconds = 3_600
    attempts_max: Count = 10  # of a target that refuses; then the money is balance again
    poll_seconds: Seconds = 10  # between two looks at the node's records of one payment
    confirm_seconds: Seconds = 10  # between the two looks that make a failure definite
    empty_seconds: Seconds = 60  # records empty for so long: the same invoice is tried again
    failed_after_expiry_seconds: Seconds = 600  # records empty for so long after its expiry: it failed
    per_host_max: Annotated[int, Field(ge=1, le=100)] = 4  # at once to the same wallet's host; others have room
    withdrawal_seconds: Seconds = 600  # a withdrawal is tried for so long, then the money is balance again
    stuck_seconds: Seconds = 600  # sent for so long without an end: owner and operator are told
    target_cooldown_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = (
        86_400  # after a change of target (stolen keys)
    )
    open_per_user_max: Annotated[int, Field(ge=1, le=100)] = 5  # under way at once; hold invoices tie up channels
    user_day_max: Amount = from_sat(1_000_000)  # of one user in 24 hours
    day_max: Amount = from_sat(10_000_000)  # of all users in 24 hours: what a thief gets at most
    reconcile_seconds: Seconds = 300  # between two looks whether our books and the node's agree
    hot_wallet_max: Amount = from_sat(100_000_000)  # the node holds more: the operator is told to move some away


class Zaps(Written):
    """Money that is given: zaps, and payments to our Lightning Addresses."""

    anonymous: Literal["refuse", "donate"] = "refuse"  # to the service itself, by nobody who could be credited
    platform: PercentFromZero = Millionths(0)  # of what agents and results are given
    comment_characters_max: Annotated[int, Field(ge=0, le=500)] = 255  # LUD-12: it travels in a URL
    invoice_seconds: Seconds = 600  # whoever zaps pays at once
    requests_per_minute: Count = 60  # for invoices, by one address: each is a row at the node


class Outgoing(Written):
    """Requests to hosts that strangers name (Lightning Addresses)."""

    hosts: Annotated[Mapping[HostName, Origin], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, validate_default=True
    )
    onion_proxy: SocksProxy | None = None  # the way to hosts of Tor, and to no others; without it they are refused
    timeout_seconds: Seconds = 10  # for the whole request; a wallet's server answers in one
    bytes_max: Count = 262_144  # LUD-06 metadata may carry a picture of 136,536 characters
    requests_max: Count = 32  # at once; further ones wait

    @property
    def onions(self) -> bool:
        """Tell whether hosts of Tor are reached."""
        return self.onion_proxy is not None


class RateSettings(Written):
    """What a bitcoin costs in the money of a state: a fixed price, or a document that says it."""

    bitcoin: Price | None = None  # without one and without a source, amounts stand in sats only
    currency: Currency = "USD"  # of the source
    url: WebUrl | None = None
    field: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)] = "price"
    poll_seconds: Annotated[int, Field(ge=10, le=86_400)] = 60  # public sources ask for no more than that
    stale_seconds: Seconds = 600  # an older price is none: the market moves 1 % in such a time


class Referrals(Written):
    """Who may still name a referrer, and what a referrer gets at most: who refers many may have made them up."""

    window_days: Annotated[int, Field(ge=0, le=3_650)] = 7  # after the first funding
    charge_max: Amount = from_sat(1_000)  # of one charge, for everybody they referred who has to do with it
    month_max: Amount = from_sat(100_000)  # in one UTC month


class BulkStep(Written):
    """What is given for money that comes at once: from this sum on, such a part of it."""

    least: Annotated[Amount, Field(alias="from")]
    bonus: Percent


class Companies(Written):
    """Companies: balances that several people spend, within budgets."""

    enabled: bool = True
    bulk: Annotated[tuple[BulkStep, ...], Field(max_length=16)] = ()  # given as promo: it pays our own part of jobs
    topup_max: Amount = from_sat(10_000_000)  # a company buys for many
    balance_max: Amount = from_sat(50_000_000)
    approval_seconds: Seconds = 86_400  # for so long a job waits for the owner
    members_max: Count = 100
    per_owner_max: Annotated[int, Field(ge=1, le=100)] = 3


class DirectMessages(Written):
    """Conversation by private message."""

    enabled: bool = True
    nip04: bool = False  # the old kind 4, too: it shows everybody who writes to whom, and when
    batch_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60  # gifts of so long are told in one message
    stranger_answers_per_day: Annotated[int, Field(ge=0, le=999)] = 50  # to somebody who never had money here
    confirm_above: Amount = from_sat(100_000)  # a withdrawal by message that needs a second word


class WalletConnect(Written):
    """Apps that use a balance by wallet connect (NIP-47)."""

    requests_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 120  # of one app; 0: any number


class Accounting(Written):
    """What of the flow of funds is published, and how coarse."""

    publish: bool = True
    k: Annotated[int, Field(ge=1, le=1_000)] = 5  # people a figure stands on at least
    dominance_percent: Annotated[int, Field(ge=1, le=100)] = 80  # what one of them may have of it at most
    round: Amount = Msat(1_000)  # figures are floored to it; what is over is carried
    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 3_600  # after the day: late settlements are in
    allow_open_day: bool = False  # summaries of a day that is not over: for the demo


class Limits(Written):
    """Bounds on what users can make us hold."""

    inbox_max: Count = 10_000  # events waiting in each of two lanes; senders of more are told to try again
    topup_min: Amount = from_sat(1)  # wallets cannot pay less
    topup_max: Amount = from_sat(1_000_000)
    balance_max: Amount = from_sat(10_000_000)
    listing_bytes_max: Count = 16_384  # of a skill or an agent; one with 64 shares by npub has about 9,000
    listings_per_author_max: Count = 50
    listing_versions_per_day_max: Annotated[int, Field(ge=1, le=999)] = 10  # of one author: each is read by somebody
    listings_waiting_max: Count = 1_000  # of all authors, for the operator


class Log(Written):
    """What is written about the running service."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
