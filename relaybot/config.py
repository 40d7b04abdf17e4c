"""The configuration: one file, environment variables over it, checked whole before anything starts.

What comes out is frozen and parsed: amounts are Msat, keys are hex, paths are absolute,
splits are resolved and proved to fit. Everything that is wrong is told at once. The
sections stand in `relaybot/settings/`, the language of splits in `splits/`. Nothing here
reads the process's environment: it is an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from relaybot.addresses import is_onion, is_onion_key
from relaybot.errors import BadConfig
from relaybot.settings.environment import override
from relaybot.settings.relay import Relay
from relaybot.settings.sections import (
    Accounting,
    AgentSettings,
    Card,
    Companies,
    DirectMessages,
    Jobs,
    Keys,
    LightningSettings,
    Limits,
    Log,
    Onchain,
    Outgoing,
    Payouts,
    RateSettings,
    Referrals,
    Service,
    WalletConnect,
    Web,
    Workers,
    Zaps,
)
from relaybot.settings.values import BookPlace, Pubkey, RelayUrl, Surroundings
from relaybot.settings.yaml_text import parse_yaml
from splits.model import SkillModel, Table, Written
from splits.problems import BadConfigs, problems_of
from splits.resolve import resolve_all
from splits.resolved import ResolvedSplit
from wallet.batch_rules import format_feerate
from wallet.money import format_sat

SIMULATED_WALLETS = "wallets.test"  # the host of the Lightning Addresses in the simulator's world

_MARKET = frozenset({"people", "skills", "agents"})
_ORDERED = (
    ("relay", "ping_seconds", "idle_seconds", str),
    ("payouts", "retry_seconds", "retry_seconds_max", str),
    ("limits", "topup_min", "topup_max", format_sat),
    ("card", "topup_min", "first_max", format_sat),
    ("card", "first_max", "topup_max", format_sat),
    ("card", "topup_max", "user_day_max", format_sat),
    ("card", "user_day_max", "day_max", format_sat),
    ("limits", "topup_max", "balance_max", format_sat),
    ("onchain", "dust", "minimum", format_sat),
    ("onchain", "dust", "payout_minimum", format_sat),
    ("onchain", "feerate_min", "feerate_max", format_feerate),
    ("referrals", "charge_max", "month_max", format_sat),
    ("companies", "topup_max", "balance_max", format_sat),
)


class Config(Written):
    """All sections. It is made by `load_config` and `parse_config` only."""

    service: Service
    keys: Keys
    relay: Relay
    relays: Annotated[tuple[RelayUrl, ...], Field(max_length=64)] = ()  # each costs a connection and every event again
    web: Web
    database: BookPlace = Path("book.sqlite3")
    lightning: LightningSettings
    onchain: Onchain
    people: Table[Pubkey] = Field(default_factory=dict, validate_default=True)
    skills: Table[SkillModel] = Field(default_factory=dict, validate_default=True)
    agents: Table[AgentSettings] = Field(default_factory=dict, validate_default=True)
    marketplace: Literal["closed", "approved"] = "closed"  # whoever registers an agent gets customers' money by it
    card: Card
    jobs: Jobs
    workers: Workers
    payouts: Payouts
    zaps: Zaps
    outgoing: Outgoing
    rates: RateSettings
    referrals: Referrals
    companies: Companies
    dm: DirectMessages
    nwc: WalletConnect
    accounting: Accounting
    limits: Limits
    log: Log

    @cached_property
    def splits(self) -> Mapping[str, ResolvedSplit]:
        """The split of each agent, by its id."""
        return MappingProxyType(resolve_all(self.agents, self.skills, self.people))

    @property
    def web_url(self) -> str:
        """Where browsers find the pages, without a slash at the end: `web.url`, else the relay's address over HTTP."""
        said = urlsplit(self.web.url or self.relay.public_url)
        scheme = {"wss": "https", "ws": "http"}.get(said.scheme, said.scheme)
        usual = ":443" if scheme == "https" else ":80"
        return f"{scheme}://{said.netloc.lower().removesuffix(usual)}"

    @property
    def pinned_hosts(self) -> Mapping[str, str]:
        """Where requests to certain names go: `outgoing.hosts`, and the simulator's wallets while it plays the node."""
        if self.lightning.backend != "simulated":
            return self.outgoing.hosts
        return {SIMULATED_WALLETS: f"http://127.0.0.1:{self.lightning.simulator_port}"} | dict(self.outgoing.hosts)


def load_config(path: Path, env: Mapping[str, str]) -> Config:
    """Read the file at `path` and the `RELAYBOT_…` variables of `env`; BadConfigs with everything that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise BadConfigs([BadConfig(str(path), found, "a file that can be read, in UTF-8")]) from None
    try:
        data = parse_yaml(text, name=str(path))
    except BadConfig as problem:
        raise BadConfigs([problem]) from None
    return parse_config({} if data is None else data, config_dir=path.resolve().parent, env=env)


def parse_config(data: object, *, config_dir: Path, env: Mapping[str, str] = MappingProxyType({})) -> Config:
    """Return the configuration that `data` and `env` spell; BadConfigs with everything that is wrong.

    `service.data_dir` is relative to `config_dir`, every other path to `service.data_dir`.
    """
    if not isinstance(data, dict):
        raise BadConfigs([BadConfig("the whole", type(data).__name__, "a mapping of sections")])
    overridden = override(data, env)
    given = {key: value for key, value in overridden.data.items() if value is not None}  # an empty section
    config, problems = _read(given, _surroundings(given, config_dir))
    problems = overridden.problems + [overridden.traced(problem) for problem in problems]
    if config is None or problems:
        raise BadConfigs(problems)
    return config


def _read(given: dict[str, object], surroundings: Surroundings) -> tuple[Config | None, list[BadConfig]]:
    """Return the configuration, or what is wrong: value by value, then among the sections that are right so far."""
    sections: dict[str, object] = {name: {} for name, key in Config.model_fields.items() if _is_section(key.annotation)}
    try:
        config = Config.model_validate_json(json.dumps(sections | given, default=str), context=surroundings)
    except ValidationError as error:
        wrong = {str(details["loc"][0]) for details in error.errors() if details["loc"]}
        wrong |= _MARKET if wrong & _MARKET else set()
        right = {key: value for key, value in given.items() if wrong and key not in wrong}
        more = _read(right, surroundings)[1] if len(right) < len(given) else []
        return None, problems_of(error, Config) + more
    return config, list(_contradictions(config))


def cautions(config: Config) -> Iterator[str]:
    """Yield, in words, what is allowed and still hardly meant."""
    if config.agents and config.workers.admission == "closed" and not config.workers.allowed:
        yield "workers.allowed: no node is admitted, so every job waits and is given back; name one, or admit more"
    used = {skill_id for one in config.agents.values() for skill_id in one.skills}
    used |= {skill_id for one in config.skills.values() for skill_id in one.skills}
    for skill_id in config.skills:
        if skill_id not in used:
            yield f"skills.{skill_id}: no agent uses it"


def _contradictions(config: Config) -> Iterator[BadConfig]:
    """Yield what is wrong between values that are right one by one."""
    for section, low, high, show in _ORDERED:
        least, most = getattr(getattr(config, section), low), getattr(getattr(config, section), high)
        if most < least:
            yield BadConfig(f"{section}.{high}", show(most), f"at least {section}.{low}, which is {show(least)}")
    if (config.onchain.deposit_fee or 0) >= config.onchain.minimum:
        fee = format_sat(config.onchain.deposit_fee or 0)
        yield BadConfig("onchain.deposit_fee", fee, f"below onchain.minimum, {format_sat(config.onchain.minimum)}")
    yield from _relays_of_tor(config)
    if config.outgoing.hosts and config.lightning.backend != "simulated":
        hosts = ", ".join(config.outgoing.hosts)
        yield BadConfig("outgoing.hosts", hosts, "none with a real node: money goes where the world's names lead")
    if config.card.provider == "simulated" and config.lightning.backend != "simulated":
        yield BadConfig("card.provider", "simulated", "none or stripe with a real node: play money would buy real sats")
    if config.card.provider == "stripe" and not config.card.live and config.lightning.backend != "simulated":
        yield BadConfig("card.live", "false", "true with a real node: test money would buy real sats")
    if config.rates.url is not None and config.rates.bitcoin is not None:
        yield BadConfig("rates.url", config.rates.url, "none beside rates.bitcoin: one of them says the price")
    if config.card.provider != "none" and config.rates.url is None and config.rates.bitcoin is None:
        yield BadConfig("card.provider", config.card.provider, "none while rates names no price of bitcoin")
    try:
        assert config.splits.keys() == config.agents.keys(), "an agent without a split"
    except BadConfigs as errors:
        yield from errors.problems


def _relays_of_tor(config: Config) -> Iterator[BadConfig]:
    """Yield what keeps a relay of Tor from being reached."""
    for number, url in enumerate(config.relays):
        host = urlsplit(url).hostname or ""
        if is_onion(host) and not config.outgoing.onions:
            yield BadConfig(f"relays[{number}]", url, "none of Tor's without outgoing.onion_proxy")
        elif is_onion(host) and not is_onion_key(host):
            yield BadConfig(f"relays[{number}]", url, "an onion host of 56 letters and digits, copied whole")


def _surroundings(data: Mapping[str, object], config_dir: Path) -> Surroundings:
    """Return what values refer to, as far as it can be told before they are checked."""
    service, people = data.get("service"), data.get("people")
    data_dir = service.get("data_dir") if isinstance(service, dict) else None
    default = Service.model_fields["data_dir"].default
    return {
        "config_dir": config_dir,
        "data_dir": config_dir / (data_dir if isinstance(data_dir, str) else default),
        "people": people if isinstance(people, dict) else {},
    }


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
