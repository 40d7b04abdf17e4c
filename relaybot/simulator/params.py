"""Binding and checking a command's parameters as Core Lightning does, by position or by name.

Every refusal is a Fault with the node's own code and words. What the parameters
mean stands with the commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wallet.money import MAX_MSAT

BAD_PARAMETERS = -32602

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_AMOUNT = re.compile(r"(?P<digits>\d{1,19})(?P<unit>msat|sat)?", re.ASCII)


class Fault(Exception):
    """The answer to a command is an error with this `code`."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class EscapedText(str):
    """A string that came with a JSON escape of a character by its number, which some commands refuse."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """Which parameters a command takes, in order; the first `required` of them must be given."""

    names: tuple[str, ...] = ()
    required: int = 0
    ignores_unknown: bool = False  # `pay` is answered by xpay, and drops what it does not know


Params = Mapping[str, object]


def bind(signature: Signature, given: object) -> Params:
    """Return the parameters by name; Fault for too many, unknown and missing ones."""
    if isinstance(given, Mapping):
        bound = {str(name): value for name, value in given.items() if value is not None}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) > len(signature.names):
            raise _bad(f"too many parameters: got {len(given)}, expected {len(signature.names)}")
        bound = {name: value for name, value in zip(signature.names, given, strict=False) if value is not None}
    else:
        raise Fault(-32600, "Invalid request: params must be an array or an object")
    for name in bound:
        if name not in signature.names and not signature.ignores_unknown:
            raise _bad(
                f"unknown parameter: {name}, this may be caused by a failure to autodetect key=value-style parameters."
                " Please try using the -k flag and explicit key=value pairs of parameters."
            )
    for name in signature.names[: signature.required]:
        if name not in bound:
            raise _bad(f"missing required parameter: {name}")
    return bound


def text(params: Params, name: str) -> str | None:
    """Return a string parameter, or a number as text, as labels are read."""
    match params.get(name):
        case None:
            return None
        case str() as value:
            return value
        case int() as value if not isinstance(value, bool):
            return str(value)
        case other:
            raise _token(name, "should be a string", other)


def plain_text(params: Params, name: str) -> str | None:
    """Return a string parameter that came as plain UTF-8, without escapes by number (control characters need them)."""
    value = text(params, name)
    if isinstance(value, EscapedText):
        raise _bad(f"{name}: should be a string (without \\u): invalid token '{json.dumps(value)}'")
    return value


def integer(params: Params, name: str, default: int | None = None) -> int | None:
    """Return a whole number from 0."""
    value = params.get(name, default)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _token(name, "should be an unsigned 64 bit integer", value)
    return value


def number(params: Params, name: str, default: float) -> float:
    """Return a number that need not be whole, from 0."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise _token(name, "should be a positive number", value)
    return float(value)


def flag(params: Params, name: str) -> bool:
    """Return a boolean, False where it is missing."""
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise _token(name, "should be 'true' or 'false'", value)
    return value


def payment_hash(params: Params, name: str = "payment_hash") -> str | None:
    """Return 32 bytes as hex."""
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise _token(name, "should be a 32 byte hex value", value)
    return value


def msat(params: Params, name: str) -> int | None:
    """Return an amount in msat: a number, or text such as `21sat`."""
    value = params.get(name)
    return None if value is None else _msat(name, value, "should be a millisatoshi amount")


def msat_or_any(params: Params, name: str) -> int | None:
    """Return an amount in msat above 0, or None for `any`."""
    value, wanted = params.get(name), "should be positive msat or 'any'"
    if value == "any":
        return None
    amount = _msat(name, value, wanted)
    if amount == 0:
        raise _token(name, wanted, value)
    return amount


def one_of(params: Params, name: str, allowed: Sequence[str]) -> str | None:
    """Return one of the `allowed` words."""
    value = params.get(name)
    if value is None or value in allowed:
        return None if value is None else str(value)
    raise _token(name, "should be one of " + ", ".join(allowed), value)


def _msat(name: str, value: object, wanted: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_MSAT:
        return value
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _token(name, wanted, value)
    return int(match["digits"]) * (1_000 if match["unit"] == "sat" else 1)


def _bad(message: str) -> Fault:
    return Fault(BAD_PARAMETERS, message)


def _token(name: str, wanted: str, value: object) -> Fault:
    return _bad(f"{name}: {wanted}: invalid token '{json.dumps(value, ensure_ascii=False)}'")
