"""Every reason the product gives for a refusal, collected from its source: what docs/errors.md must explain.

A reason is a text as it is written in the code, with `…` where a value is put in. Reasons
that are taken over from another error are explained where they come from.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.documents.blocks import ROOT

PACKAGES = ("relaybot", "handlers", "wallet", "splits")
NOT_THE_PRODUCT = ("relaybot/simulator/", "relaybot/demo/")  # they play the world around it

# Who says a reason, and which of its arguments it is.
_SAYERS = {
    "Rejected": 1,
    "Unavailable": 0,
    "Unpaid": 1,
    "TooSlow": 0,
    "WrongSchema": 0,
    "WorkFailed": 0,
    "UsageError": 0,
    "BadConfig": 2,
    "InUse": 2,
    "refused": 0,
    "_refused": 0,
    "_problem": 2,
    "plan_released": 2,
    "_plan_failed": 2,
    "_failure": 1,
    "Failure": 1,
    "_stop": 1,
    "_wait": 1,
    "_pause": 1,
    "_fail_attempt": 2,
    "_refused_target": 1,
    "_leave_out": 3,
    "LeftOut": 1,
    "_drop": 0,
    "_fail": 1,
    "close": 1,
    "unknown": 0,
    "handled": 1,
}
_WORDS = {"reason", "said"}  # keywords that hold a reason
_RELAY_ANSWER = re.compile(r"(?:duplicate|invalid|blocked|error): ")
_NOTES = {"Decision", "str | None", "_Lease | str"}  # what is returned where something is not done, with a note why
_NOTED = (
    "handlers/",
    "wallet/payouts.py",
    "wallet/batches.py",
    "wallet/obstacles.py",
    "relaybot/inbox.py",
)  # where such a text is one for people


def reasons() -> dict[str, list[str]]:
    """Return each reason and the places (file:line) where it is given."""
    found: dict[str, list[str]] = {}
    for path in product_files():
        place = str(path.relative_to(ROOT))
        module = ast.parse(path.read_text(encoding="utf-8"))
        for line, reason in (*_reasons_in(module), *(_notes_in(module) if place.startswith(_NOTED) else ())):
            found.setdefault(reason, []).append(f"{place}:{line}")
    return found


def product_files() -> Iterator[Path]:
    """Yield the product's own files, in order."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not str(path.relative_to(ROOT)).startswith(NOT_THE_PRODUCT):
                yield path


def _reasons_in(module: ast.Module) -> Iterator[tuple[int, str]]:
    constants = _constants(module)
    for node in ast.walk(module):
        for given in _given(node):
            for reason in _texts(given, constants):
                yield given.lineno, reason


def _given(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions in which `node` gives a reason."""
    match node:
        case ast.Call(func=function, args=args, keywords=keywords):
            place = _SAYERS.get(_name(function), len(args))
            yield from args[place : place + 1]
            yield from (keyword.value for keyword in keywords if keyword.arg in _WORDS)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(values=values)) if name.endswith("_REASONS"):
            yield from values
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in {"reason", "decision"}:
            yield value
        case ast.Constant(value=str(text)) if _RELAY_ANSWER.match(text):
            yield node
        case _:
            return


def _notes_in(module: ast.Module) -> Iterator[tuple[int, str]]:
    constants = _constants(module)
    for node in ast.walk(module):
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.returns is not None:
            returned = [one for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
            noted = ast.unparse(node.returns) in _NOTES or node.name.endswith("_words")
            for one in returned if noted else ():
                assert one.value is not None
                for reason in _texts(one.value, constants):
                    yield one.lineno, reason


def _constants(module: ast.Module) -> dict[str, str]:
    return {
        node.targets[0].id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _name(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _texts(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """Yield every text that an expression can be, as far as the source tells."""
    match node:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.Name(id=name) if name in constants:
            yield constants[name]
        case ast.JoinedStr(values=values):
            yield from _pattern(values)
        case ast.BinOp(left=left, op=ast.Add()):
            yield from (f"{text}…" for text in _texts(left, constants))
        case _:
            for choice in _choices(node):
                yield from _texts(choice, constants)


def _choices(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.BoolOp(values=values):
            return values
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, instead]):
            return [instead]
        case _:
            return []


def _pattern(parts: list[ast.expr]) -> Iterator[str]:
    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    text = re.sub("…+", "…", text)
    if re.search(r"[a-z]{2}", text):
        yield text
