"""The service's keys: one master secret, and from it one key for each role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relaybot.errors import BadConfig, Rejected
from relaybot.nostr.keys import KeyPair

SECRET_VARIABLE = "RELAYBOT_SECRET"  # noqa: S105  the name of the variable, not a secret
SECRET_BYTES = 32


class Keyring:
    """Derive keys by role: `service`, `zapper`, `books`, `relay`, `agent/<id>`, `nwc/<app>`; secrets: `preimage/…`."""

    def __init__(self, master: bytes) -> None:
        """Take the 32 bytes of the master secret; they are shown nowhere."""
        self._master = master

    def __repr__(self) -> str:
        return "Keyring(…)"

    def key(self, role: str) -> KeyPair:
        """Return the key of `role`."""
        return KeyPair(self.secret(role))

    def secret(self, role: str) -> bytes:
        """Return the 32 bytes of `role`: HKDF-SHA256 of the master secret with the role's name."""
        return HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=f"relaybot/{role}".encode()).derive(self._master)


def open_keyring(path: Path, env: Mapping[str, str], fresh: bytes) -> Keyring:
    """Return the keyring of RELAYBOT_SECRET, or of the file at `path`, made of `fresh` bytes if there is none."""
    if SECRET_VARIABLE in env:
        return Keyring(_parse_secret(env[SECRET_VARIABLE], SECRET_VARIABLE))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123  the mode must be there from the start
            file.write(fresh.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)  # a crash leaves a whole key or none
    return Keyring(_parse_secret(path.read_text().strip(), "keys.file"))


def read_key(path: Path, name: str) -> KeyPair:
    """Return the key that stands in the file at `path`, as nsec or hex; BadConfig names `name`."""
    try:
        text = path.read_text().strip()
        return KeyPair.from_nsec(text) if text.startswith("nsec1") else KeyPair.from_hex(text)
    except (OSError, Rejected) as error:
        raise BadConfig(name, str(path), "a file that holds an nsec or 64 hex digits") from error


def _parse_secret(text: str, name: str) -> bytes:
    try:
        master = bytes.fromhex(text)
    except ValueError:
        master = b""
    if len(master) != SECRET_BYTES:
        raise BadConfig(name, "(hidden)", "64 hex digits")
    return master
