"""The language in which prices and splits are written, as pydantic models.

One value at a time is checked here, and what the keys of one mapping say together.
Names, sums and circles need the whole and are checked in `resolve.py`. The same
models read config.yaml and what authors publish, so nothing here knows a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, Literal, NewType, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from relaybot.errors import Rejected
from splits.shape import problem_of
from wallet.money import MAX_MSAT, Msat, parse_amount

Millionths = NewType("Millionths", int)  # 5 % is 50,000: exact to 0.0001 %, and no fraction anywhere

LISTED_MAX = 64  # entries of one list; a split of more people than that is several splits

WHOLE = Millionths(1_000_000)
FETCHED: Literal["fetched"] = "fetched"
WORKER, OWNER, PLATFORM = "$worker", "$owner", "$platform"

Role = Literal["compute", "model", "data", "algorithm", "api", "app", "educator", "referrer", "platform"]

_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))?\s*%", re.ASCII)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
PAYER_PARAM = "org"  # the one parameter the service reads as its own: who pays (docs/protocol.md, Companies)
_PARAM = re.compile(rf"(?!{PAYER_PARAM}$)[a-z0-9][a-z0-9-]{{0,63}}", re.ASCII)
_SKILL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}(\.([0-9a-f]{16}|operator))?", re.ASCII)  # whose: `market.py`
_PER = re.compile(r"([1-9]\d{0,11}) ([a-z][a-z0-9_]{0,31})", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Per:
    """So many of a unit that a worker reports as used: `1000 tokens`."""

    count: int
    unit: str


def _refused(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed})


def _amount(value: object) -> object:
    if not isinstance(value, str):
        raise _refused("an amount with its unit, such as 12000 sat or 1500 msat")
    try:
        amount = parse_amount(value)
    except Rejected as error:
        raise _refused(f"an amount with its unit, such as 12000 sat or 1500 msat, up to {MAX_MSAT} msat") from error
    if amount == 0:
        raise _refused("an amount above 0; leave the key out for nothing")
    return amount


def _percent(value: object) -> object:
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    millionths = int(found[1]) * 10_000 + int((found[2] or "").ljust(4, "0")) if found else 0
    if not 0 < millionths <= WHOLE:
        raise _refused("a percentage above 0 % up to 100 %, to four decimals at most, such as 2.5%")
    return millionths


def _per(value: object) -> object:
    found = _PER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise _refused("a number and the unit that workers report, such as 1000 tokens")
    return Per(int(found[1]), found[2])


def _id(value: object) -> object:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _refused("up to 64 small letters, digits and hyphens, such as resolve-github-pr")
    return value


def _param(value: object) -> object:
    if not isinstance(value, str) or not _PARAM.fullmatch(value):
        raise _refused(
            f"up to 64 small letters, digits and hyphens, and not {PAYER_PARAM}: that one names the company which pays"
        )
    return value


def _skill(value: object) -> object:
    if not isinstance(value, str) or not _SKILL.fullmatch(value):
        raise _refused(
            "up to 64 small letters, digits and hyphens, such as resolve-github-pr, and whose it is after a dot"
        )
    return value


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise _refused("at least one")
    return values


def _as_text(pattern: str, example: str) -> WithJsonSchema:
    """Say in JSON Schema what a validator above reads; nothing that fits it is misread."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


AMOUNT = _as_text(r"([0-9]{1,3}(,[0-9]{3}){1,6}|[0-9]{1,19}) ?(msat|sats?|btc)", "12000 sat")
Amount = Annotated[Msat, BeforeValidator(_amount), AMOUNT]
Percent = Annotated[Millionths, BeforeValidator(_percent), _as_text(r"[0-9]{1,3}(\.[0-9]{1,4})? ?%", "2.5%")]
Metered = Annotated[Per, BeforeValidator(_per), _as_text(_PER.pattern, "1000 tokens")]
Id = Annotated[str, BeforeValidator(_id), _as_text(_ID.pattern, "resolve-github-pr")]
Person = Annotated[str, StringConstraints(min_length=1, max_length=100)]  # who it is, `resolve.py` finds out
Words = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Text = Annotated[str, StringConstraints(max_length=2_000)]  # a paragraph; it is published with each announcement
Table = Annotated[Mapping[Id, T], AfterValidator(MappingProxyType)]
ParamId = Annotated[str, BeforeValidator(_param), _as_text(_PARAM.pattern, "language")]
JobKind = Annotated[int, Field(ge=5000, le=5999)]  # NIP-90: job requests


def _one_of(*keys: str) -> dict[str, JsonValue]:
    """Say in JSON Schema that exactly one of these keys is there."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def _together(*keys: str) -> dict[str, JsonValue]:
    """Say in JSON Schema that where one of these keys is, all are."""
    return {"dependentRequired": {key: [other for other in keys if other != key] for key in keys}}


class Written(BaseModel, strict=True, extra="forbid", frozen=True, defer_build=True):
    """What somebody wrote: exact types, no unknown keys, and no change after it was read.

    Built when something is first read with it: a section of the configuration only as a part of the whole.
    """


class PriceModel(Written):
    """`12000 sat`, or a base and so much per unit used, up to a limit."""

    model_config = ConfigDict(json_schema_extra=_together("per", "amount", "at_most"))

    base: Amount
    per: Metered | None = None
    amount: Amount | None = None
    at_most: Amount | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = {self.per is None, self.amount is None, self.at_most is None}
        if len(given) > 1:
            raise _refused("per, amount and at_most together, or none of them")
        if self.at_most is not None and self.at_most < self.base:
            raise _refused("an at_most that is not below base")
        return self


def _price(value: object) -> object:
    if isinstance(value, str):
        _amount(value)
        return PriceModel.model_validate_strings({"base": value})
    if not isinstance(value, Mapping | PriceModel):
        raise _refused("an amount such as 12000 sat, or {base, per, amount, at_most}")
    return value


class ShareModel(Written):
    """One share: who gets it, or how it is split further, and how large it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [_one_of("to", "split"), _one_of("amount", "percent", "percent_of_rest")],
            "dependentRequired": {"per": ["amount", "at_most"]},
        }
    )

    to: Person | None = None
    split: SplitModel | None = None
    amount: Amount | None = None
    per: Metered | None = None
    percent: Percent | None = None
    percent_of_rest: Percent | None = None
    at_most: Amount | None = None
    until: date | None = None
    role: Role | None = None
    referrer: Amount | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.to is None) == (self.split is None):
            raise _refused("exactly one of to and split")
        if [self.amount, self.percent, self.percent_of_rest].count(None) != 2:  # noqa: PLR2004  two of three absent
            raise _refused("exactly one of amount (alone, or with per), percent and percent_of_rest")
        if self.per is not None and (self.amount is None or self.at_most is None):
            raise _refused(
                "per together with amount and at_most, such as {per: 1000 tokens, amount: 3 sat, at_most: …}"
            )
        if self.referrer is not None and (self.split is not None or self.to == PLATFORM):
            raise _refused("a referrer only beside a share to a contributor")
        return self


Shares = Annotated[tuple[ShareModel, ...], Field(max_length=LISTED_MAX)]
SkillId = Annotated[str, BeforeValidator(_skill), _as_text(_SKILL.pattern, "resolve-github-pr")]
Skills = Annotated[tuple[SkillId, ...], Field(max_length=LISTED_MAX)]


class SplitModel(Written):
    """A share that is split further: its own shares, and who keeps what they leave of it."""

    shares: Annotated[Shares, AfterValidator(_some)]
    rest: Person


ShareModel.model_rebuild()  # now that SplitModel is known


class SkillModel(Written):
    """Something agents can use, and who gets what each time they do."""

    name: Words
    about: Text = ""
    owner: Person | None = None
    skills: Skills = ()
    shares: Shares = ()


class ParamModel(Written):
    """An input parameter of an agent: `["param", <name>, <value>]` in a request."""

    about: Text = ""
    required: bool = False
    values: Annotated[tuple[Words, ...], Field(max_length=LISTED_MAX)] = ()  # none: any value


def _shape(value: Mapping[str, Any]) -> Mapping[str, Any]:
    problem = problem_of(value)
    if problem is not None:
        raise _refused(f"a JSON Schema of the keywords in docs/config.md ({problem})")
    return value


class AgentModel(Written):
    """Something customers can ask: what it takes, its price, and who gets what of it."""

    name: Words
    about: Text = ""
    kinds: Annotated[tuple[JobKind, ...], Field(max_length=LISTED_MAX), AfterValidator(_some)]
    params: Annotated[Mapping[ParamId, ParamModel], AfterValidator(MappingProxyType), Field(max_length=LISTED_MAX)] = (
        Field(default_factory=dict, validate_default=True)
    )
    result_schema: Annotated[Mapping[str, Any], AfterValidator(_shape)] | None = None  # JSON Schema; None: any text
    on_cancel: Literal["none", "usage", "full"] = "none"  # what a cancel costs after the first partial result
    inputs: Literal["fetched", "as-is"] = FETCHED  # what `i` tags name is fetched for the node; a film is not
    open: bool = False
    price: Annotated[PriceModel, BeforeValidator(_price)]
    owner: Person | None = None
    skills: Skills = ()
    payer_referrer: Amount | None = None
    shares: Shares = ()
    rest: Person = PLATFORM
