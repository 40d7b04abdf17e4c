"""Companies in the words of private messages. Nothing here decides or changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from handlers.answers import PIECE_CHARACTERS_MAX
from handlers.jobs import APPROVAL_DIGITS
from relaybot.nostr import nip19
from wallet.companies import format_month
from wallet.company_pages import Belonging, CompanyShown, MemberShown, StatementRow, statement_csv
from wallet.money import Msat, format_sat

PARTS_MAX = 10  # messages of one statement; a longer one is the operator's to print
SHOWN_MAX = 30  # members and approvals that are named in a message


def listed(mine: Sequence[Belonging]) -> str:
    """Say what somebody has to do with which company."""
    if not mine:
        return "You have nothing to do with any company. org create <id> [<name>] makes one."
    return "\n".join(map(_listed, mine))


def as_owner_sees(shown: CompanyShown) -> str:
    """Tell an owner what a company has, who belongs to it, and what waits for a word."""
    name = f"{shown.id} ({shown.name})" if shown.name else shown.id
    lines = [f"{name}: {format_sat(shown.has.sats)}{'' if shown.state == 'open' else ', ' + shown.state}"]
    more = (
        (shown.has.card, "bought by card: for jobs only"),
        (shown.has.promo, "given by us: for our part of jobs"),
        (shown.held_msat, "held for jobs under way"),
    )
    lines += [f"{format_sat(amount)} {what}" for amount, what in more if amount]
    lines.append(f"You have used {format_sat(shown.owner_used_msat)} this month.")
    if shown.limit_msat is not None:
        lines.append(f"Jobs of members above {format_sat(shown.limit_msat)} wait for your word.")
    members = [one for one in shown.members if one.state != "gone"]
    lines += [_member(one) for one in islice(members, SHOWN_MAX)]
    lines += [
        f"Waits: job {one.job[:APPROVAL_DIGITS]} of {one.agent} over {format_sat(one.price_msat)},"
        f" for {nip19.encode_npub(one.customer)}"
        for one in islice(shown.approvals, SHOWN_MAX)
    ]
    left_out = max(0, len(members) - SHOWN_MAX) + max(0, len(shown.approvals) - SHOWN_MAX)
    return "\n".join([*lines, *([f"… and {left_out} more"] if left_out else [])])


def as_member_sees(name: str, member: MemberShown) -> str:
    """Tell a member of their own place in a company."""
    return f"You belong to {name}: {_used(member)}."


def budget_told(budget: int | None) -> str:
    """Say how much somebody may spend."""
    return "no limit of their own" if budget is None else f"{format_sat(budget)} a month"


def statement_parts(rows: Sequence[StatementRow], org: str, month: int) -> list[str]:
    """Return a statement as messages of whole lines, the newest lines if it is too long for a conversation."""
    lines = statement_csv(rows).splitlines()
    head, body = lines[0], lines[1:]
    parts: list[str] = []
    while body and len(parts) < PARTS_MAX:
        part: list[str] = []
        while body and len("\n".join([*part, body[-1]])) < PIECE_CHARACTERS_MAX - len(head):
            part.insert(0, body.pop())
        parts.insert(0, "\n".join(part))
    title = f"{org}, {format_month(month)}" + (f", without {len(body)} older lines: ask the operator" if body else "")
    parts = parts or ["nothing"]
    return [f"{title}\n{head}\n{parts[0]}", *parts[1:]]


def _listed(one: Belonging) -> str:
    name = f"{one.id} ({one.name})" if one.name else one.id
    if one.state != "open":
        return f"{name}: dissolved"
    hint = f": org accept {one.id}" if one.role == "invited" else ""
    return f"{name}: {one.role}{hint}"


def _member(one: MemberShown) -> str:
    npub = nip19.encode_npub(one.pubkey)
    return f"{npub}: asked to join, no answer yet" if one.state == "invited" else f"{npub}: {_used(one)}"


def _used(one: MemberShown) -> str:
    of = "" if one.budget_msat is None else f" of {format_sat(Msat(one.budget_msat))}"
    return f"{format_sat(one.used_msat)}{of} used this month"
