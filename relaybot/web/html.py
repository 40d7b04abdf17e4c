"""HTML that escapes by construction: text is escaped where it enters, and only elements are `Html`.

The one way to make `Html` of a plain string is `el`; nothing here knows any page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "img", "input", "link", "meta"})


class Html(str):
    """Finished markup; every other string is text and will be escaped."""

    __slots__ = ()


Child: TypeAlias = "str | int | Sequence[Child] | None"


def el(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return one element; a trailing `_` of an attribute falls away, an inner one becomes `-`.

    None and False leave an attribute out, True writes it without a value; None as a
    child is nothing, lists are flattened. Names come from our own code, never from data.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        assert not children, f"<{name}> holds nothing"
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{_content(children)}</{name}>")


def joined(*children: Child) -> Html:
    """Return several children beside each other, escaped where they are text."""
    return Html(_content(children))


def raw_style(css: str) -> Html:
    """Return a style element of our own stylesheet, which is no text of anybody's."""
    assert "<" not in css, "a stylesheet holds no markup"
    return Html(f"<style>{css}</style>")


def document(*children: Child, lang: str = "en") -> str:
    """Return the whole page."""
    return f"<!doctype html>\n{el('html', *children, lang=lang)}\n"


def _attribute(key: str, value: str | int | bool | None) -> str:  # noqa: FBT001 -- HTML has boolean attributes
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(value)}"'


def _escaped(text: str | int) -> str:
    """Return text as markup; HTML has no NUL, which some parsers drop and others replace."""
    return escape(str(text)).replace("\0", "\N{REPLACEMENT CHARACTER}")


def _content(child: Child) -> str:
    match child:
        case None:
            return ""
        case Html():
            return child
        case str() | int():
            return _escaped(child)
        case _:
            return "".join(_content(each) for each in child)
