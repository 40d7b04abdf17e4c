"""Node, as it runs clients of others: what `make test` installed, or nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

INSTALLED = Path(__file__).parents[2] / "build" / "npm"  # by `make test`, where there is Node

needs_node = [
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on the PATH"),
    pytest.mark.skipif(not (INSTALLED / ".installed").exists(), reason="npm did not install the clients of others"),
]


async def seen_by(script: str, *arguments: str) -> Any:
    """Let a script beside this file play its part; return what it saw."""
    pipe = asyncio.subprocess.PIPE
    command = ("--input-type=module", "-", *arguments)
    node = await asyncio.create_subprocess_exec("node", *command, cwd=INSTALLED, stdin=pipe, stdout=pipe, stderr=pipe)
    told, wrong = await node.communicate(Path(__file__).with_name(script).read_bytes())
    assert node.returncode == 0, wrong.decode()
    return json.loads(told)
