"""NIP-89 announcements (31990) of agents and of compute nodes, and the nodes' heartbeats (11998).

An agent says its name, its price and the kinds of jobs it takes. A compute node says which
service it works for, which kinds it does and, if it likes, its models, the least it works for,
its encryption and how many jobs it does at once; its heartbeat says that it is there, and idle
or busy. Whether a node is admitted or alive is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr import encryption
from relaybot.nostr.encryption import Scheme
from relaybot.nostr.event import HEX32_LENGTH, KIND_MAX, Event, is_hex
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip40 import parse_expiration
from relaybot.nostr.strict_json import parse_json
from wallet.money import Msat, parse_msat

ANNOUNCEMENT_KIND = 31990
HEARTBEAT_KIND = 11998
WORKER_TOPIC = "workerbee"
HEARTBEAT_LIFETIME_SECONDS_MIN = 900  # three beats of 300 s: two may be lost
MODELS_MAX = 100
MODEL_CHARACTERS_MAX = 100
CONCURRENCY_MAX = 10_000
NOTHING = Msat(0)
KINDS_MAX = 100  # an announcement names the kinds of one program, and is matched against every job

WorkerStatus = Literal["idle", "busy"]

# As NIP-47 writes them, in one tag with a blank between.
_SCHEMES: Mapping[str, Scheme] = MappingProxyType({"nip44_v2": encryption.NIP44, "nip04": encryption.NIP04})


@dataclass(frozen=True, slots=True)
class Announcement:
    """What an agent announces; `price_msat` is the most a job costs."""

    pubkey: str
    identifier: str
    kinds: frozenset[int]
    name: str
    about: str
    price_msat: Msat | None
    parts: Mapping[str, str] = field(default_factory=dict)  # role → percent of the price, such as 16.66


@dataclass(frozen=True, slots=True)
class Capability:
    """What a compute node can do, beside its kinds.

    No model: any. `least_msat` is what a job must pay the node at least. `concurrency` 0: not said.
    """

    models: frozenset[str] = frozenset()
    least_msat: Msat = NOTHING
    schemes: frozenset[Scheme] = frozenset({encryption.NIP44})
    concurrency: int = 0


@dataclass(frozen=True, slots=True)
class WorkerAnnouncement:
    """What a compute node announces to the service with the pubkey `service`."""

    pubkey: str
    identifier: str
    service: str
    kinds: frozenset[int]
    name: str
    about: str
    expiration: int
    capability: Capability = Capability()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a compute node."""

    pubkey: str
    service: str
    status: WorkerStatus
    created_at: int
    expiration: int


def build_announcement(
    keypair: KeyPair,
    *,
    identifier: str,
    kinds: Iterable[int],
    name: str,
    about: str,
    price_msat: int | None = None,
    params: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    parts: Mapping[str, str] = MappingProxyType({}),
    now: int,
) -> Event:
    """Return the announcement of an agent; a new one with the same identifier replaces it.

    `params` are its input parameters, each `{"required": …, "values": […], "about": …}`, as
    clients of NIP-90 read them (`nip90Params`). `parts` is who gets what of the price, in
    percent by role: `["split", role, percent]`.
    """
    tags = [("d", identifier), *_kind_tags(kinds)]
    if price_msat is not None:
        tags.append(("price", str(price_msat), "msat"))
    tags += [("split", role, percent) for role, percent in parts.items()]
    content = _metadata(name, about, {"nip90Params": params} if params else {})
    return keypair.sign(kind=ANNOUNCEMENT_KIND, content=content, tags=tags, created_at=now)


def parse_announcement(event: Event) -> Announcement:
    """Read an agent's announcement; Rejected names the tag that is wrong."""
    _check_kind(event, ANNOUNCEMENT_KIND)
    name, about = _parse_metadata(event.content)
    price = event.tag("price")
    return Announcement(
        pubkey=event.pubkey,
        identifier=event.tag("d") or "",
        kinds=_kinds(event),
        name=name,
        about=about,
        price_msat=None if price is None else parse_msat(price),
        parts={tag[1]: tag[2] for tag in event.tags_named("split") if len(tag) > 2},  # noqa: PLR2004  name, role, percent
    )


def build_worker_announcement(
    keypair: KeyPair,
    *,
    identifier: str,
    service: str,
    kinds: Iterable[int],
    name: str,
    about: str,
    expiration: int,
    capability: Capability = Capability(),
    now: int,
) -> Event:
    """Return the announcement of a compute node; it stands until the second `expiration`."""
    tags = [
        ("d", identifier),
        ("t", WORKER_TOPIC),
        ("p", service),
        *_kind_tags(kinds),
        *_capability_tags(capability),
        ("expiration", str(expiration)),
    ]
    return keypair.sign(kind=ANNOUNCEMENT_KIND, content=_metadata(name, about), tags=tags, created_at=now)


def parse_worker_announcement(event: Event) -> WorkerAnnouncement:
    """Read a compute node's announcement; Rejected names the tag that is wrong."""
    _check_kind(event, ANNOUNCEMENT_KIND)
    if ("t", WORKER_TOPIC) not in {tag[:2] for tag in event.tags}:
        raise Rejected("invalid", f"t: not {WORKER_TOPIC}")
    name, about = _parse_metadata(event.content)
    return WorkerAnnouncement(
        pubkey=event.pubkey,
        identifier=event.tag("d") or "",
        service=_service(event),
        kinds=_kinds(event),
        name=name,
        about=about,
        expiration=_expiration(event),
        capability=_capability(event),
    )


def build_heartbeat(keypair: KeyPair, *, service: str, status: WorkerStatus, expiration: int, now: int) -> Event:
    """Return a heartbeat; `expiration` lies at least 900 s ahead."""
    ahead = expiration - now
    assert ahead >= HEARTBEAT_LIFETIME_SECONDS_MIN, f"a heartbeat lives 900 s or longer, not {ahead}"
    tags = [("status", status), ("p", service), ("expiration", str(expiration))]
    return keypair.sign(kind=HEARTBEAT_KIND, content="", tags=tags, created_at=now)


def parse_heartbeat(event: Event) -> Heartbeat:
    """Read a heartbeat; Rejected names the tag that is wrong."""
    _check_kind(event, HEARTBEAT_KIND)
    for status in get_args(WorkerStatus):
        if event.tag("status") == status:
            return Heartbeat(event.pubkey, _service(event), status, event.created_at, _expiration(event))
    raise Rejected("invalid", "status: neither idle nor busy")


def _check_kind(event: Event, kind: int) -> None:
    if event.kind != kind:
        raise Rejected("invalid", "kind: another one is wanted", found=event.kind, allowed=kind)


def _kind_tags(kinds: Iterable[int]) -> list[tuple[str, ...]]:
    return [("k", str(kind)) for kind in sorted(kinds)]


def _kinds(event: Event) -> frozenset[int]:
    texts = [tag[1] if len(tag) > 1 else "" for tag in event.tags_named("k")]
    if len(texts) > KINDS_MAX:
        raise Rejected("invalid", "k: too many kinds", found=len(texts), allowed=KINDS_MAX)
    if not all(_is_kind(text) for text in texts):
        raise Rejected("invalid", "k: not a kind")
    return frozenset(map(int, texts))


def _capability_tags(able: Capability) -> list[tuple[str, ...]]:
    """Return the tags of what differs from a node that says nothing."""
    tags: list[tuple[str, ...]] = [("model", model) for model in sorted(able.models)]
    if able.least_msat:
        tags.append(("price", str(able.least_msat), "msat"))
    if able.schemes != Capability().schemes:
        tags.append(("encryption", " ".join(name for name, scheme in _SCHEMES.items() if scheme in able.schemes)))
    if able.concurrency:
        tags.append(("concurrency", str(able.concurrency)))
    return tags


def _capability(event: Event) -> Capability:
    models = [tag[1] if len(tag) > 1 else "" for tag in event.tags_named("model")]
    if len(models) > MODELS_MAX or any(not 0 < len(model) <= MODEL_CHARACTERS_MAX for model in models):
        raise Rejected("invalid", "model: too many, or a name that is empty or too long")
    price, schemes, concurrency = event.tag("price"), event.tag("encryption"), event.tag("concurrency")
    if concurrency is not None and not _is_count(concurrency):
        raise Rejected("invalid", "concurrency: not a number of jobs", allowed=f"1 to {CONCURRENCY_MAX}")
    return Capability(
        models=frozenset(models),
        least_msat=NOTHING if price is None else parse_msat(price),
        schemes=Capability().schemes if schemes is None else _schemes(schemes),
        concurrency=0 if concurrency is None else int(concurrency),
    )


def _schemes(text: str) -> frozenset[Scheme]:
    found = frozenset(_SCHEMES[name] for name in text.split() if name in _SCHEMES)
    if not found:
        raise Rejected("invalid", "encryption: none that we know", allowed=" ".join(_SCHEMES))
    return found


def _is_count(text: str) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(CONCURRENCY_MAX))
    return digits and 1 <= int(text) <= CONCURRENCY_MAX


def _is_kind(text: str) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(KIND_MAX))
    return digits and int(text) <= KIND_MAX


def _service(event: Event) -> str:
    service = event.tag("p") or ""
    if not is_hex(service, HEX32_LENGTH):
        raise Rejected("invalid", "p: not a public key")
    return service


def _expiration(event: Event) -> int:
    expiration = parse_expiration(event)
    if expiration is None:
        raise Rejected("invalid", "expiration: missing")
    return expiration


def _metadata(name: str, about: str, more: Mapping[str, object] = MappingProxyType({})) -> str:
    return msgspec.json.encode({"name": name, "about": about, **more}).decode()


def _parse_metadata(content: str) -> tuple[str, str]:
    # NIP-89: the content may be empty; then kind 0 of the key speaks for it
    found = parse_json(content) if content else {}
    texts = [found.get(key, "") for key in ("name", "about")] if isinstance(found, dict) else [None]
    match texts:
        case [str(name), str(about)]:
            return name, about
        case _:
            raise Rejected("invalid", "content: not metadata with a name and an about")
