"""The element builder: nothing that comes in as text comes out as markup."""

from __future__ import annotations

import pytest

from relaybot.web.html import Html, document, el, joined, raw_style
from tests.web.conftest import Outline
from tests.web.hostile import CORPUS, shown


@pytest.mark.parametrize("text", CORPUS)
def test_text_and_attributes_are_escaped(text: str) -> None:
    page = Outline(el("p", text, title=text))
    assert page.elements == ["p"]
    assert page.attributes == {"title"}
    assert "".join(page.text) == shown(text)


def test_elements_nest_unescaped() -> None:
    assert el("p", "a & b ", el("b", "c"), [1, None, (el("i", "d"),)]) == "<p>a &amp; b <b>c</b>1<i>d</i></p>"


def test_joined_text_is_escaped_once() -> None:
    assert joined("<", el("b", "<"), 2) == "&lt;<b>&lt;</b>2"
    assert isinstance(joined("<"), Html)


def test_attributes_may_be_absent_or_without_a_value() -> None:
    assert el("a", class_="x", aria_label="y", hidden=True, title=None, inert=False) == (
        '<a class="x" aria-label="y" hidden></a>'
    )


def test_void_elements_hold_nothing() -> None:
    assert el("br") == "<br>"
    with pytest.raises(AssertionError):
        el("br", "x")


def test_a_stylesheet_holds_no_markup() -> None:
    assert raw_style("p{}") == "<style>p{}</style>"
    with pytest.raises(AssertionError):
        raw_style("</style>")


def test_a_document_is_html5() -> None:
    assert document(el("body", "x")) == '<!doctype html>\n<html lang="en"><body>x</body></html>\n'
