"""What a plugin of Core Lightning must be able to say, without a library: JSON-RPC over stdin and stdout.

A node starts its plugins as programs of their own: only the standard library is loaded here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Params = dict[str, Any]
Answer = Callable[[object], None]  # takes the result; may be called later


@dataclass(slots=True)
class Plugin:
    """A plugin with its methods and hooks, each called with the params and with where its answer goes."""

    methods: Mapping[str, Callable[[Params, Answer], None]]
    hooks: Mapping[str, Callable[[Params, Answer], None]] = field(default_factory=dict)

    def run(self) -> None:
        """Serve the node until it closes our input."""
        decoder, text = json.JSONDecoder(), ""
        while chunk := os.read(sys.stdin.fileno(), 1 << 20):
            text = (text + chunk.decode()).lstrip()
            while text:
                try:
                    request, end = decoder.raw_decode(text)
                except ValueError:  # the rest is still to come
                    break
                text = text[end:].lstrip()
                self._take(request)

    def _take(self, request: dict[str, Any]) -> None:
        def answer(result: object) -> None:
            reply = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            sys.stdout.write(json.dumps(reply) + "\n\n")
            sys.stdout.flush()

        match request["method"]:
            case "getmanifest":
                answer(self._manifest())
            case "init":
                answer({})
            case name:
                {**self.methods, **self.hooks}[name](_named(request.get("params", {})), answer)

    def _manifest(self) -> dict[str, Any]:
        return {
            "options": [],
            "rpcmethods": [{"name": name, "usage": "", "description": "for tests"} for name in self.methods],
            "hooks": [{"name": name} for name in self.hooks],
            "subscriptions": [],
            "dynamic": False,
        }


def _named(params: Params | list[Any]) -> Params:
    return params if isinstance(params, dict) else {str(place): value for place, value in enumerate(params)}


def write_plugin(path: Path, module: str, arguments: Sequence[str] = ()) -> Path:
    """Write a program that runs `module` of this project as a plugin, and return its path."""
    project = Path(__file__).parents[2]
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", module, *arguments))
    path.write_text(f"#!/bin/sh\ncd '{project}' && exec {words}\n", encoding="utf-8")
    path.chmod(0o700)
    return path
