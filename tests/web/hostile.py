"""What strangers may write, and how a page that shows it is read: its shape must not depend on their words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import TypeAlias
from xml.etree import ElementTree as ET

HARMLESS = "harmless"

# Each breaks out of some place of a page, if it is not escaped there.
CORPUS: Sequence[str] = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "` onfocus=`alert(1)",
    "</title></style></textarea></pre></option></code><svg/onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "javascript:alert(document.domain)//",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "}</style>body{display:none}@import url(//evil.example/x.css);",
    "<!-- ",
    "--!><b>",
    "]]></title><entry><id>x</id></entry><![CDATA[",
    '<!DOCTYPE feed [<!ENTITY x SYSTEM "file:///etc/passwd">]>&x;',
    "&lt;b&gt;&#60;i&#62;&amp;amp;&quot;",
    '";</script><script>alert(1)//\u2028\u2029\\u003c/script>',
    "<meta http-equiv=refresh content=0;url=//evil.example><base href=//evil.example>",
    "{{7*7}}${7*7}#{7*7}<%= 7*7 %>",
    "\u202eTERCES\u202c \u2066isolated\u2069 \u200b\u200d\u2060\ufeff\u061c",
    "Z\u0351\u036b\u0343\u036a\u0302" * 6,
    "\x00\x01\x08\x0b\x0c\x1b[31m\x7f\x9b\ufffe\uffff",
    "\r\nSet-Cookie: a=b\r\n\r\n<b>",
    "\ud7ff\ue000\U0010ffff\U0001f469\u200d\U0001f4bb",
    "A" * 90,
)
TOGETHER = " ".join(CORPUS)

Token: TypeAlias = "tuple[str, ...]"

_VOID = frozenset({"br", "img", "input", "link", "meta"})


class Shape(HTMLParser):
    """A page as a parser reads it: its elements, their attributes and the text between, in their order."""

    def __init__(self, page: str) -> None:
        """Read the page to its end; every element that opens must close, in order."""
        super().__init__()
        self.tokens: list[Token] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tokens.append((tag, *(f"{name}={value}" for name, value in attrs)))
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.tokens.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.tokens.append(("", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        assert decl == "doctype html"

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def shape_of(page: str, said: str = HARMLESS) -> list[Token]:
    """Return what a page is made of, with `HARMLESS` wherever it shows what was `said`."""
    shape = Shape(page)
    assert not [link for link in shape.links if link.lower().strip().startswith(("javascript:", "data:", "//"))]
    in_json = json.dumps(said, ensure_ascii=False)[1:-1]  # in an example that is to be copied
    return [
        tuple(part.replace(in_json, HARMLESS).replace(shown(said), HARMLESS) for part in token)
        for token in _joined(shape.tokens)
    ]


def skeleton_of(page: str) -> list[Token]:
    """Return the elements of a page with the names of their attributes, without any text: where texts may differ."""
    return [(token[0], *(one.partition("=")[0] for one in token[1:])) for token in shape_of(page) if token[0]]


def feed_of(text: str, said: str = HARMLESS) -> list[Token]:
    """Return the same of an Atom feed."""
    return [
        tuple(
            part.replace(in_xml(said), HARMLESS)
            for part in (one.tag, one.text or "", one.tail or "", *map("=".join, one.attrib.items()))
        )
        for one in ET.fromstring(text).iter()  # noqa: S314  our own words, and theirs escaped
    ]


def shown(said: str) -> str:
    """Return what a parser finds where a page shows something: no NUL, and one way to end a line."""
    return said.replace("\0", "\ufffd")


def in_xml(said: str) -> str:
    """Return the same for XML, which has no other control characters either."""
    kept = "".join(one if one in "\t\n\r" or (one >= " " and one not in "\ufffe\uffff") else "\ufffd" for one in said)
    return kept.replace("\r\n", "\n").replace("\r", "\n")


def _joined(tokens: Sequence[Token]) -> list[Token]:
    """Return tokens with pieces of one text put together: a parser cuts it where it likes."""
    joined: list[Token] = []
    for token in tokens:
        if token[0] == "" and joined and joined[-1][0] == "":
            joined[-1] = ("", joined[-1][1] + token[1])
        else:
            joined.append(token)
    return joined
