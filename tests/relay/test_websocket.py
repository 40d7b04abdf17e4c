"""Bytes to messages and messages to bytes, without sockets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.uri import parse_uri

from relaybot.relay.frames import EventFrames, event_frames, event_prefix, text_frame
from relaybot.relay.websocket import Websocket, asks_for_websocket
from tests.relay.authors import note, raw

LIMIT = 100


class Peer:
    """A client of the same library, connected to our side by a wire of bytes."""

    def __init__(self) -> None:
        self.client = ClientProtocol(parse_uri("ws://relay.test/"), max_size=2**24)
        self.client.send_request(self.client.connect())
        self.server = Websocket(b"".join(self.client.data_to_send()), LIMIT)
        self.carry()
        self.client.events_received()

    def say(self) -> list[bytes]:
        """Carry to the server what the client has to say; return the messages."""
        return self.server.receive(b"".join(self.client.data_to_send()))

    def carry(self, sent: bytes = b"") -> None:
        """Carry to the client what the server has to say."""
        self.client.receive_data(sent + b"".join(self.server.to_send()))

    def heard(self) -> list[Frame]:
        return [event for event in self.client.events_received() if isinstance(event, Frame)]


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_message_arrives(peer: Peer) -> None:
    assert peer.server.open
    peer.client.send_text(b"one")
    peer.client.send_text("zwei ü".encode())
    assert peer.say() == [b"one", "zwei ü".encode()]


def test_fragments_become_one_message_with_a_ping_between(peer: Peer) -> None:
    peer.client.send_text("ü".encode()[:1], fin=False)
    peer.client.send_ping(b"there?")
    peer.client.send_continuation("ü".encode()[1:], fin=False)
    peer.client.send_continuation(b"!", fin=True)
    assert peer.say() == ["ü!".encode()]
    peer.carry()
    assert peer.heard() == [Frame(Opcode.PONG, b"there?")]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (CloseCode.INVALID_DATA, "text is not UTF-8"),
        (CloseCode.UNSUPPORTED_DATA, "messages are text"),
        (CloseCode.MESSAGE_TOO_BIG, "frame with 101 bytes exceeds limit of 100 bytes"),
    ],
)
def test_what_is_no_text_fails_the_connection_after_what_came_before(peer: Peer, code: int, reason: str) -> None:
    peer.client.send_text(b"before")
    match code:
        case CloseCode.INVALID_DATA:
            peer.client.send_text(b"\xff")
        case CloseCode.UNSUPPORTED_DATA:
            peer.client.send_binary(b"data")
        case _:
            peer.client.send_text(b"x" * (LIMIT + 1))
    peer.client.send_text(b"after")
    assert peer.say() == [b"before"]
    assert not peer.server.open
    peer.carry()
    assert peer.client.close_rcvd == Close(code, reason)


def test_fragments_are_bounded_together(peer: Peer) -> None:
    peer.client.send_text(b"x" * 60, fin=False)
    peer.client.send_continuation(b"x" * 60, fin=True)
    assert peer.say() == []
    assert not peer.server.open


def test_a_failure_in_a_closing_connection_changes_nothing(peer: Peer) -> None:
    peer.server.close(CloseCode.GOING_AWAY, "stopping")
    peer.client.send_text(b"\xff")
    assert peer.say() == []
    peer.carry()
    assert peer.client.close_rcvd == Close(CloseCode.GOING_AWAY, "stopping")


def test_a_goodbye_is_answered(peer: Peer) -> None:
    peer.client.send_text(b"last words")
    peer.client.send_close(CloseCode.NORMAL_CLOSURE, "bye")
    assert peer.say() == [b"last words"]
    assert peer.server.to_send()[-1] == b""
    assert not peer.server.open


def test_a_silent_client_can_be_asked(peer: Peer) -> None:
    peer.server.ping()
    peer.carry()
    assert peer.heard() == [Frame(Opcode.PING, b"")]


def test_the_end_of_the_stream_is_the_end(peer: Peer) -> None:
    peer.server.receive_eof()
    assert not peer.server.open


def test_a_bad_handshake_is_refused_in_http() -> None:
    websocket = Websocket(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", LIMIT)
    assert not websocket.open
    assert b"".join(websocket.to_send()).startswith(b"HTTP/1.1 400 ")


def test_a_connection_that_its_client_is_closing_is_closed_once(peer: Peer) -> None:
    peer.client.send_close(CloseCode.NORMAL_CLOSURE)
    assert peer.say() == []
    peer.server.close(CloseCode.GOING_AWAY, "the relay is stopping")
    peer.carry()
    (frame,) = peer.heard()
    assert Close.parse(bytes(frame.data)).code == CloseCode.NORMAL_CLOSURE


def test_a_request_that_is_no_http_is_ended_without_a_word() -> None:
    websocket = Websocket(b"GET / HTTP/1.1\r\nno header\r\n\r\n", LIMIT)
    assert not websocket.open
    assert websocket.to_send() == [b""]


@pytest.mark.parametrize(
    ("head", "asks"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", True),
        (b"GET /?a=b HTTP/1.1\r\nupgrade:WebSocket\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nUpgrade: h2c, websocket\r\n\r\n", True),
        (b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nX-Upgrade: websocket\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"\r\n\r\n", False),
        (b"GET\r\nUpgrade: websocket\r\n\r\n", False),
    ],
)
def test_only_an_upgrade_on_the_path_is_for_the_relay(head: bytes, asks: bool) -> None:  # noqa: FBT001 - a table
    assert asks_for_websocket(head, "/") is asks


# ---- frames made by splicing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_our_frames_are_those_of_the_library(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize("size", [1, 65_000, 65_300, 66_000])
def test_an_event_frame_is_the_message_of_nip_01(size: int) -> None:
    event = note("x" * size)
    message = b'["EVENT","sub \\"1\\"",' + raw(event) + b"]"
    assert event_frames(event_prefix('sub "1"'), [raw(event)] * 2) == text_frame(message) * 2


def test_a_frame_is_made_once_for_all_who_chose_the_same_id() -> None:
    frames, events = EventFrames(), [raw(note("1")), raw(note("2"))]
    prefixes = [event_prefix("a"), event_prefix("b")]
    for event in events:
        first = [frames.frame(prefix, event) for prefix in prefixes]
        again = [frames.frame(prefix, event) for prefix in prefixes]
        assert first == [event_frames(prefix, [event]) for prefix in prefixes]
        assert all(one is other for one, other in zip(first, again, strict=True))


FIRST = st.sampled_from([0x81] * 9 + [0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0x08, 0xC1, 0x83])
PAYLOADS = st.sampled_from(["", "one", "zwei ü"]).map(str.encode) | st.just(b"\xff")
LONG = st.sampled_from([LIMIT, LIMIT + 1, 70_000]).map(lambda size: b"x" * size)


def frame(first: int, payload: bytes, bytes_of_length: int, mask: bytes) -> bytes:
    """Return a frame, its length in as many bytes as it needs or more."""
    size = len(payload)
    needed = 0 if size <= 125 else 2 if size < 2**16 else 8
    wide = max(needed, bytes_of_length)
    second = {0: size, 2: 126, 8: 127}[wide] | (0x80 if mask else 0)
    masked = bytes(byte ^ mask[at % len(mask)] for at, byte in enumerate(payload)) if mask else payload
    return bytes([first, second]) + (size.to_bytes(wide, "big") if wide else b"") + mask + masked


BYTES = st.builds(
    frame, FIRST, PAYLOADS | LONG, st.sampled_from([0, 0, 0, 2, 8]), st.sampled_from([b"mask"] * 9 + [b""])
) | st.binary(min_size=1, max_size=3)


@example([frame(0x01, b"one", 0, b"mask"), frame(0x81, b"two", 0, b"mask")], [])
@given(st.lists(BYTES, max_size=6), st.lists(st.integers(1, 300), max_size=8))
def test_frames_are_read_as_the_library_reads_them_however_they_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(frames)
    by_library, ours = Peer().server, Peer().server
    theirs: list[bytes] = []
    by_library._hand_over(sent, theirs)
    heard: list[bytes] = []
    for size in [*cuts, len(sent)]:
        heard += ours.receive(sent[:size])
        sent = sent[size:]
    assert (heard, ours.open) == (theirs, by_library.open)
