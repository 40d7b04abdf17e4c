"""Blocks of a document that are printed by the code: a marked line, then a fenced block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"<!-- printed: (?P<name>[a-z0-9/-]+) -->\n```(?P<language>\w*)\n(?P<text>.*?)```\n", re.DOTALL)


def documents() -> list[Path]:
    """Return every document of the project."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def printed_blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each block that is printed by the code."""
    for block in _BLOCK.finditer(page):
        yield block["name"], block["text"]


def with_blocks(page: str, texts: Mapping[str, str]) -> str:
    """Return `page` with each printed block as it is now; KeyError for a block nobody prints."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- printed: {found['name']} -->\n```{found['language']}\n{texts[found['name']]}```\n"

    return _BLOCK.sub(block, page)
