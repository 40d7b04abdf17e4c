"""A websocket seen from the server, without sockets: bytes in, text messages out, and back.

The protocol is websockets' Sans-I/O layer; here its frames are put together to
messages and checked to be text. Compression is off: events are short, and what many
subscribers get is made once. What messages say is not known here.
"""

from __future__ import annotations

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

HEAD_END = b"\r\n\r\n"


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

    __slots__ = ("_greeting", "_parts", "_protocol")

    def __init__(self, head: bytes, message_bytes_max: int) -> None:
        """Answer the request `head`; `open` tells whether it was accepted."""
        self._parts: list[bytes] = []  # of a message that comes in fragments
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
        self._protocol.receive_data(data)
        messages: list[bytes] = []
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame) and not self._take(frame, messages):
                break
        return messages

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
