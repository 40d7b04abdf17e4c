"""Events that are on the disk and not yet where they are found: two plain files, written in turn.

A line is the event's number, the CRC-32 of its JSON, and its JSON. While the events of one file are moved to
their tables, new ones go to the other; so nobody who waits for OK waits for indexes. A file
is written over from its beginning, which spares the file system what an append costs it: after
the last line there may stand what is left of older ones. Their numbers are lower, so reading
ends where a number does not rise, or where a line is torn.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from relaybot.nostr.event import Event, parse_event

SUFFIXES = ("-fresh-0", "-fresh-1")


class Arrival(msgspec.Struct, frozen=True):
    """An event to be stored, and its JSON on one line."""

    raw: bytes
    event: Event


Numbered: TypeAlias = tuple[int, Arrival]  # with its place in the order of arrival


class Journal:
    """The two files beside the database at `path`; one process writes them. OSError: the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open the files; make them if they are not there."""
        self._files = [_opened(beside) for beside in _beside(path)]
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)  # a file is durable when its name is
        os.close(directory)
        self._end = 0  # of what is written in the first one, which is the one in use

    def append(self, events: Iterable[Numbered]) -> None:
        """Write `events`, whose numbers rise; they are on the disk when this returns. OSError: none is there."""
        lines = b"".join([b"%d %08x %b\n" % (seq, zlib.crc32(arrival.raw), arrival.raw) for seq, arrival in events])
        file, written = self._files[0].fileno(), 0
        while written < len(lines):
            written += os.pwrite(file, lines[written:] if written else lines, self._end + written)
        os.fdatasync(file)
        self._end += written

    def turn(self) -> None:
        """Go on in the other file, from its beginning: nobody needs what stands there."""
        self._files.reverse()
        self._end = 0

    def close(self, *, moved: bool) -> None:
        """Close the files; empty them first if all that stands in them was moved."""
        for file in self._files:
            if moved and not file.closed:
                file.truncate(0)
            file.close()


def read_journal(path: Path, after: int) -> list[Numbered]:
    """Return the events beside the database at `path` whose numbers are above `after`, in their order."""
    found = [one for beside in _beside(path) if beside.exists() for one in _lines(beside.read_bytes(), after)]
    return sorted(found, key=lambda one: one[0])


def _lines(written: bytes, after: int) -> Iterator[Numbered]:
    last = 0
    for line in written.split(b"\n")[:-1]:
        try:
            number, check, raw = line.split(b" ", 2)
            seq, whole = int(number), int(check, 16) == zlib.crc32(raw)
        except ValueError:
            return
        if seq <= last or not whole:
            return
        last = seq
        if seq > after:
            yield seq, Arrival(raw, parse_event(raw))


def _opened(path: Path) -> IO[bytes]:
    path.touch()
    return path.open("r+b", buffering=0)


def _beside(path: Path) -> Sequence[Path]:
    return [path.with_name(path.name + suffix) for suffix in SUFFIXES]
