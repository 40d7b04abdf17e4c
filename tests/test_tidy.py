"""The repository is tidy: what style and decisions ask for, and no other tool looks at."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("relaybot", "handlers", "wallet", "splits")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

PYTHON = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for package in (*PRODUCT, "tests")
    for path in sorted((ROOT / package).rglob("*.py"))
}
OURS = {name: text for name, text in PYTHON.items() if not name.startswith("tests/")}
TREES = {name: ast.parse(text) for name, text in PYTHON.items()}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_MADE = {".git", ".venv", "build", "data", "__pycache__", ".hypothesis"}  # by tools, or by running
_TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sql", ".css", ".lock", ".json", ""}


def repository_files() -> Iterator[tuple[str, str]]:
    """Yield name and text of every file that belongs to the project, but for this one."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        made = not _MADE.isdisjoint(parts) or any(part.endswith(("_cache", ".egg-info")) for part in parts)
        if not made and path.is_file() and path.suffix in _TEXT and path != Path(__file__) and path.name != ".coverage":
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


# ---- said and short


def test_every_module_says_what_lives_in_it() -> None:
    assert not [name for name, tree in TREES.items() if not ast.get_docstring(tree)]


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Yield public functions, classes, and public methods of public classes."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, Definition) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def test_whatever_is_public_has_a_docstring() -> None:
    public = [(name, what, node) for name in OURS for what, node in public_definitions(TREES[name])]
    assert len(public) > 500
    assert not [f"{name}: {what}" for name, what, node in public if ast.get_docstring(node) is None]


def test_every_file_stays_below_its_size() -> None:
    lines = {name: len(text.splitlines()) for name, text in PYTHON.items()}
    assert not {name: count for name, count in lines.items() if count >= FILE_LINES_MAX}


def test_every_function_fits_a_screen() -> None:
    lines = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {function: count for function, count in lines.items() if count > FUNCTION_LINES_MAX}


def test_every_file_is_named_by_what_it_holds() -> None:
    assert not [name for name in OURS if Path(name).stem in {"utils", "helpers", "common", "manager", "base", "misc"}]


# ---- finished


def test_nothing_is_left_to_do_in_the_text() -> None:
    unfinished = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b", "NotImplemented" + "Error")))
    found = {name: match[0] for name, text in repository_files() if (match := unfinished.search(text))}
    assert not found


def test_no_path_of_a_machine_stands_in_the_repository() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|root|home/(?!bitcoin\b)\w+|tmp/bash\w*)/")
    found = {name: match[0] for name, text in repository_files() if (match := machine.search(text))}
    assert not found


def test_every_exception_to_a_rule_has_its_reason() -> None:
    mark = "# no" + "qa"
    exceptions = [
        (name, line.partition(mark)[2]) for name, text in PYTHON.items() for line in text.splitlines() if mark in line
    ]
    assert len(exceptions) > 10
    assert not [one for one in exceptions if not re.fullmatch(r": [A-Z]+\d+(, [A-Z]+\d+)*\W+\w.*", one[1])]


# ---- doors


def imports(tree: ast.Module) -> set[str]:
    """Return the first names of everything a module imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found


def calls(tree: ast.Module, method: str) -> list[int]:
    """Return the lines on which a method or function of this name is called."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            found += [node.lineno] if name == method else []
    return found


def test_one_module_knows_pyln() -> None:
    assert [name for name in OURS if "pyln" in imports(TREES[name])] == ["wallet/cln_calls.py"]


def test_one_module_calls_the_node_to_pay() -> None:
    # The simulator and the people of the demo pay from wallets of their own.
    others = ("relaybot/simulator/", "relaybot/demo/")
    payers = [name for name in OURS if not name.startswith(others) and calls(TREES[name], "pay")]
    assert payers == ["wallet/payouts.py"]


def pure_modules() -> list[str]:
    """Return the files of the floors that never wait, as import-linter's contract names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [pure] = [one for one in contracts if one["name"].startswith("Pure ground floor")]
    prefixes = tuple(module.replace(".", "/") for module in pure["source_modules"])
    return [
        name for name in OURS if name.startswith(tuple(f"{prefix}{end}" for prefix in prefixes for end in ("/", ".py")))
    ]


def test_words_and_rules_never_wait_store_connect_or_roll_dice() -> None:
    forbidden = {"asyncio", "sqlite3", "aiosqlite", "socket", "time", "random", "secrets", "os", "logging", "structlog"}
    assert len(pure_modules()) > 30
    assert not {name: found for name in pure_modules() if (found := imports(TREES[name]) & forbidden)}


def test_the_floors_that_never_wait_are_all_there() -> None:
    wanted = {"relaybot/relay/session.py", "relaybot/relay/policies.py", "wallet/ledger.py", "wallet/charges.py"}
    wanted |= {name for name in OURS if name.endswith("/states.py") or name.startswith(("splits/", "relaybot/nostr/"))}
    assert not wanted - set(pure_modules())


# ---- errors and tests


def swallowed(tree: ast.Module) -> Iterator[int]:
    """Yield the lines on which any error at all is passed over in silence."""
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=None):
                yield node.lineno
            case ast.ExceptHandler(type=ast.Name(id="Exception" | "BaseException"), body=[ast.Pass()]):
                yield node.lineno
            case ast.Call(func=function, args=args) if ast.unparse(function).endswith("suppress"):
                broad = {"Exception", "BaseException"} & {ast.unparse(one) for one in args}
                yield from [node.lineno] if broad else []


def test_no_error_is_swallowed() -> None:
    assert list(swallowed(ast.parse("with contextlib.suppress(Exception):\n    pass"))) == [1]
    assert not {name: lines for name, tree in TREES.items() if (lines := list(swallowed(tree)))}


def test_tests_pass_fakes_and_patch_nothing() -> None:
    patching = re.compile(r"\bmo" + r"ck\.patch|unittest\.mo" + r"ck|Magic" + "Mock")
    assert not [name for name, text in PYTHON.items() if patching.search(text)]


def sleeps(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that wait for time to pass; to let the others have their turn is no such wait."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Constant(value=0)]):
                continue
            case ast.Call(func=function) if ast.unparse(function) in {"sleep", "asyncio.sleep", "time.sleep"}:
                yield node.lineno


def test_tests_wait_for_things_and_not_for_time() -> None:
    assert list(sleeps(ast.parse("asyncio.sleep(0)\nasyncio.sleep(0.1)"))) == [2]
    tests = {name: tree for name, tree in TREES.items() if name.startswith("tests/")}
    assert not {name: lines for name, tree in tests.items() if (lines := list(sleeps(tree)))}
