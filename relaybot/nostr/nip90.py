"""NIP-90: job requests (5000 to 5999), feedback (7000), results (request's kind plus 1000).

A request may be encrypted to its provider: its `i`, `param` and `output` tags then stand as
a JSON array of tags in the content, in NIP-44 or NIP-04, and every answer uses the scheme of
the request. An encrypted result's content is its text. An encrypted feedback's content is
again a JSON array of tags: `["status", status, text]` and, if money is asked for,
`["amount", msat, bolt11]`; in the open it shows the bare status only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import msgspec

from relaybot.errors import Rejected
from relaybot.nostr import encryption, job_tags
from relaybot.nostr.encryption import Encryption, Scheme
from relaybot.nostr.event import HEX32_LENGTH, Event, Tags, encode_event, first_value, is_hex
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip40 import parse_expiration
from relaybot.nostr.strict_json import UNREADABLE
from wallet.money import Msat

REQUEST_KINDS = range(5000, 6000)
RESULT_KINDS = range(6000, 7000)
RESULT_OFFSET = 1000
FEEDBACK_KIND = 7000

InputType = Literal["url", "event", "job", "text"]
Status = Literal["payment-required", "processing", "error", "success", "partial"]

_TEXT_GENERATION_KIND = 5050
_PRIVATE_TAGS = frozenset({"i", "param", "output"})
_TAGS = msgspec.json.Decoder(Tags)
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a job: the data itself, an address, or the id of an event or of another job."""

    data: str = field(repr=False)
    type: InputType
    relay: str = ""
    marker: str = ""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job request, decrypted; `providers` are the pubkeys it names, none if it is open to all."""

    event_id: str
    customer: str
    kind: int
    created_at: int
    inputs: tuple[Input, ...] = field(repr=False)
    params: tuple[tuple[str, ...], ...] = field(repr=False)
    output: str | None
    bid_msat: Msat | None
    relays: tuple[str, ...]
    providers: tuple[str, ...]
    encrypted: Scheme | None
    expiration: int | None

    def param(self, name: str) -> str | None:
        """Return the first value of the parameter `name`; None if it is not given or has no value."""
        return first_value(self.params, name)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a provider says about a job; of an encrypted one, without its reader, only the status."""

    event_id: str
    provider: str
    request_id: str
    customer: str
    status: Status
    text: str = field(repr=False)
    amount_msat: Msat | None
    bolt11: str | None = field(repr=False)
    encrypted: Scheme | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a provider delivers; `content` of an encrypted one stays as it is without its reader."""

    event_id: str
    provider: str
    request_id: str
    customer: str
    kind: int
    content: str = field(repr=False)
    amount_msat: Msat | None
    usage: dict[str, int]
    encrypted: Scheme | None


# ---- requests


def build_job_request(
    keypair: KeyPair,
    *,
    kind: int,
    inputs: Iterable[Input],
    params: Iterable[Sequence[str]] = (),
    output: str | None = None,
    bid_msat: int | None = None,
    relays: Sequence[str] = (),
    provider: str | None = None,
    encrypt: Encryption | None = None,
    expiration: int | None = None,
    now: int,
) -> Event:
    """Return a request to `provider`, or to all who read it; encryption needs a provider."""
    assert kind in REQUEST_KINDS, f"{kind} is no kind of a job request"
    private = [_input_tag(one) for one in inputs] + [("param", *param) for param in params]
    private += [("output", output)] if output is not None else []
    tags: list[tuple[str, ...]] = []
    if bid_msat is not None:
        tags.append(("bid", str(bid_msat)))
    if relays:
        tags.append(("relays", *relays))
    if provider is not None:
        tags.append(("p", provider))
    if expiration is not None:
        tags.append(("expiration", str(expiration)))
    if encrypt is None:
        return keypair.sign(kind=kind, content="", tags=[*private, *tags], created_at=now)
    assert provider is not None, "an encrypted request names its provider"
    content = encryption.encrypt(_json(private), keypair, provider, encrypt)
    return keypair.sign(kind=kind, content=content, tags=[*tags, ("encrypted",)], created_at=now)


def parse_job_request(event: Event, recipient: KeyPair | None) -> JobRequest:
    """Read a request, decrypted with `recipient` if it is encrypted; Rejected names the field."""
    if event.kind not in REQUEST_KINDS:
        raise Rejected("invalid", "kind: not a job request", found=event.kind)
    scheme = encryption_of(event)
    tags = event.tags
    if scheme is not None:
        if recipient is None:
            raise Rejected("invalid", "content: encrypted, and there is no key to read it")
        inside = _private_tags(event, recipient, scheme)
        tags = (*tags, *(tag for tag in inside if tag[0] in _PRIVATE_TAGS))
    bid = job_tags.single(tags, "bid")
    return JobRequest(
        event_id=event.id,
        customer=event.pubkey,
        kind=event.kind,
        created_at=event.created_at,
        inputs=_inputs(tags, event.kind),
        params=job_tags.params(tags),
        output=job_tags.single(tags, "output"),
        bid_msat=None if bid is None else job_tags.msat("bid", bid),
        relays=job_tags.relays(tags),
        providers=job_tags.providers(tags),
        encrypted=scheme,
        expiration=parse_expiration(event),
    )


def encryption_of(event: Event) -> Scheme | None:
    """Return the scheme in which a request, feedback or result is encrypted; None if it is in the open."""
    if not event.tags_named("encrypted"):
        return None
    return encryption.scheme_of(event.content)


# ---- feedback


def build_feedback(
    keypair: KeyPair,
    *,
    request: Event,
    status: Status,
    text: str = "",
    amount_msat: int | None = None,
    bolt11: str | None = None,
    encrypt: Encryption | None = None,
    now: int,
) -> Event:
    """Return a 7000 on `request`; encrypted, it shows neither `text` nor what is to be paid."""
    assert amount_msat is not None or bolt11 is None, "an invoice comes with its amount"
    private: list[tuple[str, ...]] = [("status", status, text) if text else ("status", status)]
    if amount_msat is not None:
        private.append(("amount", str(amount_msat), *([bolt11] if bolt11 is not None else [])))
    refers = (("e", request.id), ("p", request.pubkey))
    if encrypt is None:
        return keypair.sign(kind=FEEDBACK_KIND, content="", tags=(*private, *refers), created_at=now)
    content = encryption.encrypt(_json(private), keypair, request.pubkey, encrypt)
    tags = (("status", status), *refers, ("encrypted",))
    return keypair.sign(kind=FEEDBACK_KIND, content=content, tags=tags, created_at=now)


def parse_feedback(event: Event, reader: KeyPair | None = None) -> Feedback:
    """Read a 7000, decrypted if `reader` is given; Rejected names the field."""
    if event.kind != FEEDBACK_KIND:
        raise Rejected("invalid", "kind: not a feedback", found=event.kind)
    scheme, tags = encryption_of(event), event.tags
    if scheme is not None and reader is not None:
        tags = (*_private_tags(event, reader, scheme), *tags)
    amount = next((tag for tag in tags if tag[0] == "amount"), ())
    said = next((tag for tag in tags if tag[0] == "status"), ())
    return Feedback(
        event_id=event.id,
        provider=event.pubkey,
        request_id=job_tags.required_hex(event.tags, "e"),
        customer=job_tags.required_hex(event.tags, "p"),
        status=_status(job_tags.at(said, 1)),
        text=job_tags.at(said, 2),
        amount_msat=job_tags.msat("amount", job_tags.at(amount, 1)) if amount else None,
        bolt11=job_tags.at(amount, 2) or None,
        encrypted=scheme,
    )


# ---- results


def build_result(
    keypair: KeyPair,
    *,
    request: Event,
    content: str,
    encrypt: Encryption | None = None,
    now: int,
    usage: Iterable[tuple[str, int]] = (),
    more: Iterable[tuple[str, ...]] = (),
) -> Event:
    """Return the result of `request`, with `more` tags; encrypted, it repeats no input.

    It has no amount: the job is paid already.
    """
    tags: list[tuple[str, ...]] = [("request", encode_event(request)), ("e", request.id), ("p", request.pubkey)]
    tags += [*(("usage", unit, str(count)) for unit, count in usage), *more]
    kind = request.kind + RESULT_OFFSET
    if encrypt is None:
        return keypair.sign(kind=kind, content=content, tags=[*tags, *request.tags_named("i")], created_at=now)
    sealed = encryption.encrypt(content, keypair, request.pubkey, encrypt)
    return keypair.sign(kind=kind, content=sealed, tags=[*tags, ("encrypted",)], created_at=now)


def parse_result(event: Event, reader: KeyPair | None = None) -> Result:
    """Read a result, decrypted if `reader` is given; Rejected names the field."""
    if event.kind not in RESULT_KINDS:
        raise Rejected("invalid", "kind: not a job result", found=event.kind)
    scheme, amount = encryption_of(event), event.tag("amount")
    content = (
        event.content
        if scheme is None or reader is None
        else encryption.decrypt(event.content, reader, event.pubkey, scheme)
    )
    return Result(
        event_id=event.id,
        provider=event.pubkey,
        request_id=job_tags.required_hex(event.tags, "e"),
        customer=job_tags.required_hex(event.tags, "p"),
        kind=event.kind,
        content=content,
        amount_msat=None if amount is None else job_tags.msat("amount", amount),
        usage=job_tags.usage(event.tags),
        encrypted=scheme,
    )


# ---- tags


def _private_tags(event: Event, keypair: KeyPair, scheme: Scheme) -> Tags:
    try:
        return _TAGS.decode(encryption.decrypt(event.content, keypair, event.pubkey, scheme))
    except UNREADABLE:
        raise Rejected("invalid", "content: not a JSON array of tags") from None


def _json(tags: object) -> str:
    return _ENCODER.encode(tags).decode()


def _input_tag(one: Input) -> tuple[str, ...]:
    tag = ("i", one.data, one.type, one.relay, one.marker)
    return tag if one.marker else tag[: 4 if one.relay else 3]


def _inputs(tags: Tags, kind: int) -> tuple[Input, ...]:
    found = [tag for tag in tags if tag[0] == "i"]
    job_tags.check_count("i", found, job_tags.INPUTS_MAX)
    job_tags.check_bytes([tag for tag in tags if tag[0] in _PRIVATE_TAGS])
    return tuple(_input(tag, kind) for tag in found)


def _input(tag: tuple[str, ...], kind: int) -> Input:
    data, name = job_tags.at(tag, 1), job_tags.at(tag, 2)
    # The registry of job kinds writes `prompt` where NIP-90 knows `text` only, for kind 5050
    if name == "prompt" and kind == _TEXT_GENERATION_KIND:
        name = "text"
    for known in get_args(InputType):
        if name == known:
            if known in ("event", "job") and not is_hex(data, HEX32_LENGTH):
                raise Rejected("invalid", f"i: {known} is not named by its id")
            return Input(data, known, relay=job_tags.at(tag, 3), marker=job_tags.at(tag, 4))
    raise Rejected("invalid", "i: unknown type", found=name[:20], allowed="url, event, job, text")


def _status(text: str) -> Status:
    for known in get_args(Status):
        if text == known:
            status: Status = known
            return status
    raise Rejected("invalid", "status: unknown", found=text[:20])
