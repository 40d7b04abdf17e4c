"""The process that checks signatures: 128 bytes in for each event, one byte out, in the same order.

In: id, public key and signature of one event after the other. Out: 1 if the signature fits,
else 0. It ends when nobody writes to it any more. signatures.py starts it.
"""

from __future__ import annotations

import os
import signal
import sys

from relaybot.nostr.points import signature_fits

ID_BYTES, KEY_BYTES, SIGNATURE_BYTES = 32, 32, 64
RECORD_BYTES = ID_BYTES + KEY_BYTES + SIGNATURE_BYTES
TOGETHER_BYTES_MAX = 32 * RECORD_BYTES  # about 2 ms of work, then what was found is told


def serve(source: int, sink: int) -> None:
    """Answer what is read from the file `source` on the file `sink`, until its end."""
    rest = b""
    while data := os.read(source, TOGETHER_BYTES_MAX):
        data = rest + data
        whole = len(data) - len(data) % RECORD_BYTES
        rest = data[whole:]
        if whole:
            os.write(
                sink, bytes([_fits(data[start : start + RECORD_BYTES]) for start in range(0, whole, RECORD_BYTES)])
            )


def _fits(record: bytes) -> bool:
    key_end = ID_BYTES + KEY_BYTES
    return signature_fits(record[:ID_BYTES], record[ID_BYTES:key_end].hex(), record[key_end:])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this one
    serve(sys.stdin.fileno(), sys.stdout.fileno())
