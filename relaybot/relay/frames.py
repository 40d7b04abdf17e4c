"""The bytes of frames the relay sends, by splicing: RFC 6455 text frames, unmasked, in one piece.

A server's frames carry no mask, so one frame may go to many connections. What frames say
is decided elsewhere; what clients send is read by websockets.
"""

from __future__ import annotations

from collections.abc import Sequence

from relaybot.nostr.messages import build_event_message

_TEXT = 0x81  # FIN, opcode 1
_LENGTH_16 = b"\x81\x7e"
_LENGTH_64 = b"\x81\x7f"
_SHORT_MAX = 125
_MEDIUM_MAX = 65_535


def text_frame(payload: bytes) -> bytes:
    """Return `payload`, valid UTF-8, as one text frame of a server."""
    size = len(payload)
    if size <= _SHORT_MAX:
        return bytes((_TEXT, size)) + payload
    if size <= _MEDIUM_MAX:
        return _LENGTH_16 + size.to_bytes(2, "big") + payload
    return _LENGTH_64 + size.to_bytes(8, "big") + payload


def event_prefix(sub_id: str) -> bytes:
    """Return what stands before the event's JSON in the EVENT messages of one subscription."""
    return build_event_message(sub_id, b"")[:-1].encode()


def event_frames(prefix: bytes, raws: Sequence[bytes]) -> bytes:
    """Return the frames that bring the events `raws` to the subscription of `prefix`, in one piece."""
    around = len(prefix) + 1
    parts: list[bytes] = []
    for raw in raws:
        size = around + len(raw)
        if size <= _MEDIUM_MAX:  # an event is never short: its id, key and signature alone have 256 digits
            parts += (_LENGTH_16, size.to_bytes(2, "big"), prefix, raw, b"]")
        else:
            parts += (_LENGTH_64, size.to_bytes(8, "big"), prefix, raw, b"]")
    return b"".join(parts)


class EventFrames:
    """The frames of the event that is being handed out now: subscribers often choose the same id."""

    __slots__ = ("_frames", "_raw")

    def __init__(self) -> None:
        self._raw = b""
        self._frames: dict[bytes, bytes] = {}

    def frame(self, prefix: bytes, raw: bytes) -> bytes:
        """Return the frame of one event, made once per event and prefix."""
        if raw is not self._raw:
            self._raw = raw
            self._frames = {}
        frame = self._frames.get(prefix)
        if frame is None:
            frame = self._frames[prefix] = event_frames(prefix, (raw,))
        return frame
