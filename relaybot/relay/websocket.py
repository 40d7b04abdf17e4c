"""A websocket seen from the server, without sockets: bytes in, text messages out, and back.

The protocol is websockets' Sans-I/O layer; here its frames are put together to
messages and checked to be text. Nearly every frame is a whole message: it is unmasked
here, at a tenth of the cost; all others are the protocol's. Compression is off: events are
short, and what many subscribers get is made once. What messages say is not known here.
"""

from __future__ import annotations

from websockets.frames import (  # type: ignore[attr-defined]  # apply_mask is in C, where it was built so
    CloseCode,
    Frame,
    Opcode,
    apply_mask,
)
from websockets.http11 import Request
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

HEAD_END = b"\r\n\r\n"

# RFC 6455, 5.2: a frame's first two bytes, the rest of its length where that is 126 or 127, the mask, the payload.
_WHOLE_TEXT = 0x81  # FIN, nothing reserved, opcode 1
_MASKED = 0x80
_OPCODE = 0x0F
_OPCODES = frozenset(map(int, Opcode))
_LENGTH_AT, _MASK_BYTES = 2, 4
_MASK_AT = {_MASKED | 126: 4, _MASKED | 127: 10}  # by the second byte, else 2


def asks_for_websocket(head: bytes, path: str) -> bool:
    """Tell whether the head of a request asks for a websocket on `path`."""
    request_line, *fields = head.split(b"\r\n")
    target = request_line.partition(b" ")[2].partition(b" ")[0]
    if target.partition(b"?")[0] != path.encode():
        return False
    upgrades = (field.partition(b":")[2] for field in fields if field[:8].lower() == b"upgrade:")
    return any(b"websocket" in upgrade.lower() for upgrade in upgrades)


class Websocket:
    """One websocket, from the client's request to the end of the closing handshake."""

    __slots__ = ("_greeting", "_message_bytes_max", "_parts", "_protocol", "_rest")

    def __init__(self, head: bytes, message_bytes_max: int) -> None:
        """Answer the request `head`; `open` tells whether it was accepted."""
        self._message_bytes_max = message_bytes_max
        self._parts: list[bytes] = []  # of a message that comes in fragments
        self._rest = b""  # the beginning of a frame that is not complete
        handshake = ServerProtocol(max_size=message_bytes_max)
        handshake.receive_data(head)
        for request in handshake.events_received():
            if isinstance(request, Request):
                handshake.send_response(handshake.accept(request))
        self._greeting = handshake.data_to_send()
        self._protocol: Protocol = handshake
        if handshake.state is OPEN:
            # A protocol for what follows: that of the handshake would keep the request, 2 KB for each idle connection.
            self._protocol = Protocol(SERVER, max_size=message_bytes_max)

    @property
    def open(self) -> bool:
        """Tell whether messages may be sent."""
        return self._protocol.state is OPEN

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes; pings and closing are answered in `to_send`."""
        data = self._rest + data
        messages: list[bytes] = []
        start = 0
        while self.open and (end := _frame_end(data, start, self._message_bytes_max)):
            frame = data[start:end]
            if end <= len(data) and frame[0] == _WHOLE_TEXT and not self._parts:
                self._take_message(_unmasked(frame), messages)
            else:
                self._hand_over(frame, messages)
            start = end
        self._rest = data[start:]
        if not self.open:
            self._hand_over(self._rest, messages)
            self._rest = b""
        return messages

    def _hand_over(self, data: bytes, messages: list[bytes]) -> None:
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame) and not self._take(frame, messages):
                break

    def receive_eof(self) -> None:
        """Note that the client sends no more."""
        self._protocol.receive_eof()

    def ping(self) -> None:
        """Ask whether the client is there."""
        self._protocol.send_ping(b"")

    def close(self, code: CloseCode, reason: str) -> None:
        """Begin the closing handshake, unless the client has begun it."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)

    def to_send(self) -> list[bytes]:
        """Return what the websocket itself has to say; an empty item means that we say no more."""
        said, self._greeting = self._greeting, []
        return [*said, *self._protocol.data_to_send()]

    def _take(self, frame: Frame, messages: list[bytes]) -> bool:
        data = bytes(frame.data)
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            if not frame.fin:
                self._parts.append(data)
                return True
            if self._parts:
                data = b"".join([*self._parts, data])
                self._parts = []
            return self._take_message(data, messages)
        if frame.opcode is Opcode.BINARY:
            return self._fail(CloseCode.UNSUPPORTED_DATA, "messages are text")
        return True

    def _take_message(self, message: bytes, messages: list[bytes]) -> bool:
        try:
            message.decode()
        except UnicodeDecodeError:
            # RFC 6455, 8.1: text that is not UTF-8 fails the connection
            return self._fail(CloseCode.INVALID_DATA, "text is not UTF-8")
        messages.append(message)
        return True

    def _fail(self, code: CloseCode, reason: str) -> bool:
        # a connection that is closing already is left to do so
        if self.open:
            self._protocol.fail(code, reason)
        return False


def _frame_end(data: bytes, start: int, payload_bytes_max: int) -> int:
    """Return where the frame at `start` ends; 0 if there is more of it to come.

    Beyond the end of `data` if nothing more of it is waited for: its head is enough to refuse it.
    """
    if len(data) < start + _LENGTH_AT:
        return 0
    second = data[start + 1]
    if second < _MASKED or data[start] & _OPCODE not in _OPCODES:
        return len(data) + 1
    mask_at = _MASK_AT.get(second, _LENGTH_AT)
    length = second - _MASKED if mask_at == _LENGTH_AT else int.from_bytes(data[start + _LENGTH_AT : start + mask_at])
    if length > payload_bytes_max and len(data) >= start + mask_at:
        return len(data) + 1
    end = start + mask_at + _MASK_BYTES + length
    return end if end <= len(data) else 0


def _unmasked(frame: bytes) -> bytes:
    """Return the payload of a whole, masked frame."""
    mask_at = _MASK_AT.get(frame[1], _LENGTH_AT)
    payload_at = mask_at + _MASK_BYTES
    return apply_mask(frame[payload_at:], frame[mask_at:payload_at])
