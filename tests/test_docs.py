"""The documents are true: what they name exists, and what exists is named."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import click
import pytest
from aiohttp import web

from handlers.bot import Bot
from handlers.commands import COMMANDS
from relaybot.cli import cli
from relaybot.clock import SetClock
from relaybot.config import Config, load_config
from relaybot.db.database import Database
from relaybot.figures import NAMES
from relaybot.web.account.desk import Desk
from relaybot.web.account.routes import account_routes
from relaybot.web.addresses import address_routes
from relaybot.web.api.door import Tokens
from relaybot.web.api.openapi import openapi_route
from relaybot.web.api.routes import api_routes
from relaybot.web.app import build_app
from relaybot.web.cards import card_routes
from relaybot.web.metrics import PREFIX, Metrics, metrics_routes
from relaybot.web.published import PublishedAccounts
from relaybot.web.site import Site
from relaybot.web.withdraw_links import withdraw_routes
from relaybot.workings import build_inbox
from tests.book.journals import JOURNALS
from tests.documents.attacks import ATTACKS, files_by_attack
from tests.documents.blocks import ROOT, documents, printed_blocks
from tests.documents.printed import printed_texts, told
from tests.documents.reasons import PACKAGES, product_files, reasons
from wallet.accounts import parse_account
from wallet.book import Book

PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in documents()}
README, PROTOCOL, LEDGER = PAGES["README.md"], PAGES["docs/protocol.md"], PAGES["docs/ledger.md"]
ERRORS, OPERATIONS = PAGES["docs/errors.md"], PAGES["docs/operations.md"]

_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


# ---- blocks that the code prints


@pytest.mark.parametrize("page", PAGES)
def test_every_printed_block_is_what_the_code_prints_now(page: str) -> None:
    stale = [name for name, text in printed_blocks(PAGES[page]) if printed_texts()[name] != text]
    assert not stale, f"{page}: print them anew with `python -m tests.documents`"


def test_every_state_picture_and_every_journal_is_in_the_documents() -> None:
    printed = {name for page in PAGES.values() for name, _ in printed_blocks(page)}
    lives = {f"states/{life}" for life in ("job", "payout", "attempt", "deposit")}
    wanted = lives | {f"journal/{name}" for name in told().journals} | {f"words/{name}" for name in JOURNALS}
    assert not wanted - printed


def test_every_attack_has_a_test_that_bears_its_name() -> None:
    assert files_by_attack().keys() == ATTACKS.keys()


def test_the_story_behind_the_journals_adds_up() -> None:
    transfers = [row for rows in told().journals.values() for row in rows]
    balances: dict[str, int] = {}
    for row in transfers:
        balances[row["debit"]] = balances.get(row["debit"], 0) - row["amount_msat"]
        balances[row["credit"]] = balances.get(row["credit"], 0) + row["amount_msat"]
        assert (balances[row["debit"]], balances[row["credit"]]) == (row["debit_after"], row["credit_after"])
    assert sum(balances.values()) == 0
    assert {account: left for account, left in balances.items() if account.startswith("hold/") and left} == {}


# ---- links and names


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page, text in PAGES.items():
        for target in _LINK.findall(_CODE.sub("", text)):
            if target.startswith(("http://", "https://")):
                continue
            name, _, anchor = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
                broken.append(f"{page}: {target}")
    assert not broken


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as they are made by where it is read."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_anchors_of_headings_are_made_as_expected() -> None:
    assert anchors("# How to ask, and what for\n```\n# no heading\n```\n## Tasks: 1 & 2\n") == {
        "how-to-ask-and-what-for",
        "tasks-1--2",
    }


def test_every_document_the_code_speaks_of_is_there() -> None:
    source = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named = {
        (name, path.relative_to(ROOT).as_posix())
        for path in (*source, ROOT / "config.yaml", ROOT / "pyproject.toml", ROOT / "Makefile")
        for name in re.findall(r"docs/[\w/.-]*\w", path.read_text(encoding="utf-8"))
    }
    missing = {(name, where) for name, where in named if not list(ROOT.glob(f"{name}*"))}
    assert not missing


def test_every_module_has_its_place_in_the_architecture() -> None:
    page = PAGES["docs/architecture.md"]
    named = set(re.findall(r"`((?:relaybot|handlers|wallet|splits)/[\w/]+\.py)`", page))
    # The words of Nostr stand in one list: the first with its directory, the others by their names.
    named |= {f"relaybot/nostr/{name}" for name in re.findall(r"`(\w+\.py)`", page)}
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert not there - named
    assert not {name for name in named if not (ROOT / name).exists()}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200


def test_the_changelog_says_what_is_not_released_yet() -> None:
    assert "## [Unreleased]" in PAGES["CHANGELOG.md"]


# ---- commands of the shell


def shell_lines() -> Iterator[tuple[str, str]]:
    """Yield each page and each command in its shell blocks."""
    for page, text in PAGES.items():
        for block in _SHELL.findall(text):
            yield from ((page, line) for line in block.splitlines() if line.strip())


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    spans = [span for text in PAGES.values() for span in _SPAN.findall(_CODE.sub("", text))]
    lines = [*spans, *(line for _, line in shell_lines())]
    named = {found[1] for line in lines if (found := re.match(r"make ([a-z-]+)", line))}
    assert {"demo", "test", "run", "check"} <= named <= targets


def commands() -> dict[str, click.Command]:
    """Return every command there is, by what is typed: `books check`."""
    return dict(commands_in(cli, ""))


def commands_in(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group and of the groups in it."""
    here = click.Context(group)
    for name in group.list_commands(here):
        command = group.get_command(here, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands_in(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_every_command_is_documented() -> None:
    documented = re.findall(r"^\| `relaybot ([a-z -]+)` \|", OPERATIONS, re.MULTILINE)
    assert sorted(documented) == sorted(commands())


def relaybot_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield each page and each relaybot command line in it: in shell blocks, and in spans that have an option."""
    for page, line in shell_lines():
        if "relaybot" in line.split(maxsplit=1)[0]:
            yield page, shlex.split(line, comments=True)[1:]
    for page, text in PAGES.items():
        for span in _SPAN.findall(_CODE.sub("", text)):
            words = span.split()
            if words[0].endswith("relaybot") and len(words) > 1:
                yield page, words[1:]


def test_every_command_line_in_the_documents_exists_with_its_options() -> None:
    wrong = []
    for page, words in relaybot_lines():
        typed = (" ".join(words[:length]) for length in (3, 2))
        name = next((one for one in typed if one in commands()), words[0])
        command = commands().get(name)
        known = {opt for one in command.params for opt in one.opts} if command is not None else set[str]()
        options = {word for word in words if word.startswith("--")} - {"--help", "--version"}
        is_group = name in cli.list_commands(click.Context(cli)) and len(words) == 1
        if (command is None and not is_group) or options - known:
            wrong.append(f"{page}: relaybot {' '.join(words)}")
    assert not wrong


def test_every_option_of_the_worker_is_documented() -> None:
    named = set(re.findall(r"^\| `(--[\w-]+)` \|", PAGES["docs/worker.md"], re.MULTILINE))
    assert named == {opt for one in commands()["worker"].params for opt in one.opts}


# ---- the protocol


def kinds_table(what: str) -> set[range]:
    """Return the kinds of the protocol's table that relaybot `what`s."""
    rows = re.findall(r"^\| (\d+)(?:–(\d+))? \| .* \| ([a-z, ]+) \|$", PROTOCOL, re.MULTILINE)  # noqa: RUF001  as written
    return {range(int(first), int(last or first) + 1) for first, last, does in rows if what in does}


def test_every_kind_the_bot_handles_is_documented_and_no_other() -> None:
    bot = SimpleNamespace(
        book=Book(cast("Database", None), SetClock(0)),
        clock=SetClock(0),
        config=SimpleNamespace(limits=SimpleNamespace(inbox_max=1)),
    )
    assert kinds_table("reads") == set(build_inbox(cast("Bot", bot))._handlers)


def test_every_kind_the_bot_writes_is_documented_and_no_other() -> None:
    ours = {pubkey for pubkey, name in told().names.items() if name in {"service", "autodev", "books"}}
    written = {event.kind for event in told().events.values() if event.pubkey in ours}
    written |= {4, 1059}  # if asked to; by one-time keys
    documented = kinds_table("writes")
    assert all(any(kind in kinds for kinds in documented) for kind in written)
    assert all(any(kind in kinds for kind in written) for kinds in documented)


def test_every_private_command_is_documented() -> None:
    assert printed_texts()["commands"] in PROTOCOL
    assert all(f"`{name}" in PROTOCOL for name in COMMANDS if name not in {"help", "balance"})


def test_every_http_path_is_documented_and_no_other() -> None:
    site = Site(name="", about="", npub="", relay_url="", lightning="", simulated=True, agents=())
    bot = cast("Bot", SimpleNamespace(config=load_config(ROOT / "config.yaml", {})))  # routes ask no more of it
    desk = Desk.__new__(Desk)
    metrics = metrics_routes(cast("Metrics", None), "")
    own = [*withdraw_routes(bot), *api_routes(desk, Tokens(SetClock(0))), openapi_route()]
    more = [*address_routes(bot), *card_routes(bot, site), *account_routes(desk), *own, *metrics]
    app = build_app(PublishedAccounts("00" * 32), site, more=more)
    served = {resource.canonical for resource in app.router.resources() if isinstance(resource, web.Resource)}
    table = PROTOCOL[PROTOCOL.index("## HTTP") :]
    rows = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    assert {path for row in rows for path in _SPAN.findall(row) if path.startswith("/")} == served


def test_every_path_of_the_simulated_world_is_documented_and_no_other() -> None:
    files = sorted((ROOT / "relaybot" / "simulator").glob("*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    served = {f"{method.upper()} {path}" for method, path in re.findall(r'web\.(get|post)\("([^"]+)"', source)}
    page = PAGES["docs/simulator.md"]
    assert {
        f"{method} {path}" for method, path in re.findall(r"^\| (GET|POST) `([^`]+)`", page, re.MULTILINE)
    } == served


def test_every_section_of_the_configuration_is_documented() -> None:
    assert not [section for section in Config.model_fields if f"| `{section}" not in PAGES["docs/config.md"]]


# ---- errors


def first_cells(page: str) -> Iterator[str]:
    """Yield each span in the first column of a page's tables."""
    for row in page.splitlines():
        if row.startswith("| `"):
            yield from _SPAN.findall(row.split(" | ")[0])


def test_every_reason_of_a_refusal_is_explained() -> None:
    explained = set(first_cells(ERRORS))
    missing = {reason: places for reason, places in reasons().items() if reason not in explained}
    assert not missing


def test_no_reason_is_explained_that_nobody_gives() -> None:
    assert not set(first_cells(ERRORS)) - set(reasons())


def test_no_reason_is_explained_twice() -> None:
    explained = list(first_cells(ERRORS))
    assert sorted(set(explained)) == sorted(explained)


def warnings_and_errors() -> set[str]:
    """Return the action of every line the product logs as a warning or an error."""
    found = set()
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr="warning" | "error" | "exception"),
                    args=[ast.Constant(value=str(action)), *_],
                ):
                    found.add(action)
                case _:
                    continue
    return found


def test_every_warning_and_error_of_the_log_is_explained_and_no_other() -> None:
    table = OPERATIONS[OPERATIONS.index("## Logs and health") : OPERATIONS.index("## Alarms")]
    assert set(first_cells(table)) == warnings_and_errors()


def test_every_figure_of_the_monitoring_is_explained_as_it_explains_itself() -> None:
    table = OPERATIONS[OPERATIONS.index("## Metrics") : OPERATIONS.index("## When the books differ")]
    explained = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", table, re.MULTILINE))
    timed = {f"{PREFIX}{name}" for name in ("http_seconds", "node_seconds")}
    assert {name: said for name, said in explained.items() if name not in timed} == {
        f"{PREFIX}{name}": said for name, (_, said) in NAMES.items()
    }


# ---- the ledger


def test_every_account_in_the_ledger_s_table_is_an_account() -> None:
    table = LEDGER[LEDGER.index("## Accounts") : LEDGER.index("## Plans")]
    named = [account for account in first_cells(table) if "/" in account]
    values = {"<pubkey>": "0a" * 32, "<id>": "acme", "<cause>": f"job/{'0b' * 32}"}
    for account in named:
        filled = account
        for placeholder, value in values.items():
            filled = filled.replace(placeholder, value)
        parse_account(filled)
    assert len(named) > 15


def documented_keys() -> list[re.Pattern[str]]:
    """Return the Plan keys of the ledger's table, as patterns."""
    table = LEDGER[LEDGER.index("## Ids") : LEDGER.index("## Every journal")]
    keys = [key for key in first_cells(table) if "/" in key]
    return [re.compile(re.sub(r"<\w+>", "[^ ]+", key)) for key in keys]


def test_every_plan_key_of_the_story_is_documented() -> None:
    patterns = documented_keys()
    assert told().plans
    assert not [key for key in told().plans if not any(pattern.fullmatch(key) for pattern in patterns)]


def test_every_plan_key_in_the_code_ends_as_a_documented_one() -> None:
    patterns = [pattern.pattern for pattern in documented_keys()]
    endings = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            endings |= set(re.findall(r'[Pp]lan\(\s*f"[^"]*?/([a-z]+)(?:/\{[^"]*)?"', source))
    assert {"hold", "capture", "settled", "stop"} <= endings
    assert not {word for word in endings if not any(f"/{word}" in pattern or word in pattern for pattern in patterns)}


# ---- the lists that belong together


def test_every_library_has_its_reason_in_the_decision_on_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]]
    page = PAGES["docs/adr/0002-dependencies.md"]
    assert not [name for name in names if name not in page]


def test_every_decision_is_numbered_once() -> None:
    decisions = {Path(page).name: text for page, text in PAGES.items() if page.startswith("docs/adr/")}
    numbers = [name[:4] for name in decisions]
    assert len(set(numbers)) == len(numbers) >= 5
    assert not [name for name, text in decisions.items() if not text.startswith(f"# {int(name[:4])}. ")]
