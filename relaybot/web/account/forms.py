"""Forms: fields with labels and hints, the session's token, and a key that makes a form count once."""

from __future__ import annotations

from collections.abc import Sequence

from relaybot.web.account.desk import Desk, Visit
from relaybot.web.html import Child, Html, el

ONCE = "once"  # the hidden field of the key under which a form is done
_ONCE_BYTES = 16


def form(desk: Desk, visit: Visit, action: str, *children: Child, **attributes: str | None) -> Html:
    """Return a form of this session; sent twice, it is done once."""
    assert visit.session is not None, "a form of the account asks for a session"
    once = visit.form.get(ONCE) or desk.bot.chance(_ONCE_BYTES).hex()
    hidden = (hidden_field("csrf", visit.session.csrf), hidden_field(ONCE, once))
    return el("form", *hidden, *children, method="post", action=action, class_="form", **attributes)


def hidden_field(name: str, value: str) -> Html:
    """Return a field that nobody sees."""
    return el("input", type="hidden", name=name, value=value)


def field(
    label: str,
    name: str,
    value: str = "",
    *,
    hint: Child = None,
    kind: str = "text",
    prefix: str = "",
    **attributes: str | bool | None,
) -> Html:
    """Return one line to fill in, with its label and what helps; `prefix` tells fields of two forms apart."""
    place = f"{prefix}-{name}" if prefix else name
    described = f"{place}-hint" if hint is not None else None
    entry = el(
        "input",
        type=kind,
        id=place,
        name=name,
        value=value,
        aria_describedby=described,
        autocomplete="off",
        **attributes,
    )
    return _labelled(label, place, entry, hint)


def text_area(label: str, name: str, value: str = "", *, hint: Child = None, rows: int = 5) -> Html:
    """Return several lines to fill in."""
    described = f"{name}-hint" if hint is not None else None
    return _labelled(
        label, name, el("textarea", value, id=name, name=name, rows=rows, aria_describedby=described), hint
    )


def choice(label: str, name: str, options: Sequence[tuple[str, str]], chosen: str = "", *, hint: Child = None) -> Html:
    """Return a list to choose from: pairs of what is sent and what is shown."""
    described = f"{name}-hint" if hint is not None else None
    made = [el("option", shown, value=value, selected=value == chosen) for value, shown in options]
    return _labelled(label, name, el("select", made, id=name, name=name, aria_describedby=described), hint)


def button(text: str, **attributes: str | bool | None) -> Html:
    """Return the button that sends a form."""
    return el("button", text, type="submit", **attributes)


def _labelled(label: str, name: str, entry: Html, hint: Child) -> Html:
    words = el("p", hint, id=f"{name}-hint", class_="hint") if hint is not None else None
    return el("div", el("label", label, for_=name), entry, words, class_="field")
