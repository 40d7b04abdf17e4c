"""A lock that is a file: the kernel frees it when its process ends, however it ends.

The file is removed when the lock is given back. So whoever has locked it looks whether
it still has its name: another one may have removed it in between.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from urllib.parse import quote

from relaybot.errors import Unavailable


class FileLock:
    """A file that we have locked: `lock_file` makes it."""

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file

    @property
    def held(self) -> bool:
        """Tell whether it is still ours: until it is given back."""
        return self._file >= 0

    async def release(self) -> None:
        """Remove the file, then let go of it."""
        if self.held:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def lock_file(directory: Path, name: str) -> FileLock | None:
    """Lock the file of this name; None if it is locked. Unavailable if the disk refuses."""
    path = directory / quote(name, safe="")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"database: the lock {path} cannot be made: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file).st_ino:
            return FileLock(path, file)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(file)
    return None
