"""One TCP connection: the request that opens it, then frames in and frames out.

How bytes become messages is websocket.py's, what messages mean is session.py's, where
events go is hub.py's. A connection that asks for no websocket on `/`
is handed over to the HTTP server with the bytes it has sent. Each is written to at most
once per turn of the loop, and everything a peer can pile up is bounded.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import structlog
from websockets.frames import CloseCode

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import Ok, build_challenge, build_closed, build_ok
from relaybot.relay.answers import Counting, Subscription
from relaybot.relay.connections import BUSY, TOO_LARGE, Connections
from relaybot.relay.frames import event_frames, text_frame
from relaybot.relay.nip11 import RELAY_PATH
from relaybot.relay.policies import ConnectionFacts
from relaybot.relay.proxies import forwarded_address, is_trusted, origin
from relaybot.relay.session import (
    Action,
    Authenticate,
    CountEvents,
    RefuseSubscription,
    Send,
    Session,
    StoreEvent,
    Subscribe,
    Unsubscribe,
)
from relaybot.relay.turns import ASKER
from relaybot.relay.websocket import HEAD_END, Websocket, asks_for_websocket

log = structlog.get_logger()

CONNECTIONS_SPARE = 100  # above what is allowed: to be told so, in HTTP; beyond, there is no answer
AUTH_REQUIRED = "auth-required:"
CHALLENGE_BYTES = 16  # NIP-42: nobody may guess it
ROOM_BYTES = 262_144  # unsent bytes above which stored events wait for the reader
TOGETHER_BYTES_MAX = 65_536  # of stored events that are written together with what comes after them


class Connection(asyncio.Protocol):
    """One client, from its first byte to its last."""

    __slots__ = (
        "_all",
        "_challenge",
        "_closing_since",
        "_counts",
        "_deaf",
        "_facts",
        "_head",
        "_heard_at",
        "_opened_at",
        "_out",
        "_pinged_at",
        "_room",
        "_session",
        "_stalled_since",
        "_stored_bytes",
        "_subscriptions",
        "_transport",
        "_unanswered",
        "_websocket",
    )

    def __init__(self, all_connections: Connections) -> None:
        self._all = all_connections
        self._transport = cast("asyncio.Transport", None)  # until connection_made, the first call there is
        self._facts = ConnectionFacts(address="")
        self._head: bytearray | None = bytearray()  # the request so far; None when it is complete
        self._websocket: Websocket | None = None
        self._session = Session(all_connections.limits)
        self._subscriptions: dict[str, Subscription] = {}
        self._counts: dict[str, Counting] | None = None  # few clients count
        self._challenge: str | None = None  # NIP-42; made when it is first needed
        self._out: list[bytes] = []
        self._room: asyncio.Event | None = None  # set when there is room again; None while there is
        self._stored_bytes = 0  # of stored events in `_out`
        self._unanswered = 0
        self._deaf = False  # we have stopped reading
        self._opened_at = self._heard_at = self._pinged_at = all_connections.time()
        self._stalled_since = 0.0
        self._closing_since: float | None = None  # from here on nothing is sent

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; uvloop and asyncio have set TCP_NODELAY."""
        self._transport = cast("asyncio.Transport", transport)
        self._all.enter(self)
        peer = transport.get_extra_info("peername")
        self._is_from(peer[0] if peer else "")
        if self._all.too_many(self._facts.origin, CONNECTIONS_SPARE):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=ROOM_BYTES)

    def data_received(self, data: bytes) -> None:
        """Take bytes: of the request first, of frames later."""
        self._heard_at = self._all.time()
        if self._websocket is not None:
            self._receive(self._websocket, data)
        elif self._head is not None:
            self._head += data
            self._read_head(self._head)

    def eof_received(self) -> None:
        """Let the transport close: who has said all has nothing to wait for."""
        if self._websocket is not None:
            self._websocket.receive_eof()

    def connection_lost(self, _error: Exception | None) -> None:
        """End everything of this connection."""
        self._end_all()
        self._out.clear()
        if self._closing_since is None:
            self._closing_since = self._all.time()
        self._all.leave(self, self._facts.origin)

    def pause_writing(self) -> None:
        """Let stored events wait: the reader is slower than we are."""
        self._room = asyncio.Event()
        self._stalled_since = self._all.time()

    def resume_writing(self) -> None:
        """Go on with stored events."""
        if self._room is not None:
            self._room.set()
            self._room = None

    # ---- what the server calls

    def flush(self) -> None:
        """Write what has gathered, in one piece."""
        self._stored_bytes = 0
        if self._closing_since is not None:
            self._out.clear()
        if not self._out:
            return
        self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()
        unsent = self._transport.get_write_buffer_size()
        if unsent > self._all.may_leave(self._transport, unsent):
            self._drop("too slow a reader", unsent=unsent)

    def check_times(self, now: float) -> None:
        """Ask who is silent whether they are there; let go of who is silent too long."""
        limits = self._all.limits
        if self._closing_since is not None:
            if now - self._closing_since > limits.close_seconds:
                self._transport.abort()
        elif self._websocket is None:
            if now - self._opened_at > limits.handshake_seconds:
                self._transport.abort()
        elif self._room is not None and now - self._stalled_since > limits.stalled_seconds:
            self._drop("too slow a reader", unsent=self._transport.get_write_buffer_size())
        elif self._deaf:
            self._heard_at = now  # the silence is ours
        elif now - self._heard_at > limits.idle_seconds:
            self._drop("silent for too long")
        elif now - max(self._heard_at, self._pinged_at) > limits.ping_seconds:
            self._pinged_at = now
            self._websocket.ping()
            self._write_websocket(self._websocket)

    def stop_reading(self) -> None:
        """Take no more messages for now."""
        if not self._deaf and not self._transport.is_closing():
            self._deaf = True
            self._transport.pause_reading()

    def close(self, code: CloseCode, reason: str) -> None:
        """Begin the closing handshake; before it is opened, a connection is just ended."""
        if self._closing_since is not None:
            return
        if self._websocket is None:
            self._transport.abort()
            return
        self._websocket.close(code, reason)
        self._write_websocket(self._websocket)
        self._listen()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # ---- bytes in

    def _is_from(self, address: str) -> None:
        before = self._facts.origin
        self._facts = ConnectionFacts(address, origin(address), self._all.known_as)
        self._all.move(before, self._facts.origin)

    def _read_head(self, head: bytearray) -> None:
        end = head.find(HEAD_END) + len(HEAD_END)
        if len(HEAD_END) <= end <= self._all.limits.request_bytes_max:
            self._head = None
            proxies = self._all.limits.trusted_proxies
            if proxies and is_trusted(self._facts.address, proxies):
                self._is_from(forwarded_address(bytes(head[:end]), self._facts.address, proxies))
            if self._all.too_many(self._facts.origin):
                self._turn_away(BUSY)
            elif asks_for_websocket(bytes(head[:end]), RELAY_PATH):
                self._websocket = Websocket(bytes(head[:end]), self._all.limits.message_bytes_max)
                self._write_websocket(self._websocket)  # the handshake's answer goes first
                if self._all.limits.auth_required:
                    self._ask_whose()
                self._receive(self._websocket, bytes(head[end:]))
            else:
                self._hand_over(bytes(head))
        elif len(head) > self._all.limits.request_bytes_max:
            self._turn_away(TOO_LARGE)

    def _turn_away(self, response: bytes) -> None:
        self._head = None
        self._closing_since = self._all.time()
        self._transport.write(response)
        self._transport.close()

    def _hand_over(self, received: bytes) -> None:
        """Let the HTTP server have the connection, as if it had accepted it."""
        protocol = self._all.http()
        self._all.hand_over(self, self._transport, self._facts.origin)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(received)

    def _receive(self, websocket: Websocket, data: bytes) -> None:
        for message in websocket.receive(data):
            if self._closing_since is None:
                self._do(self._session.receive(message))
        self._write_websocket(websocket)
        if self._unanswered >= self._all.limits.unanswered_max:
            self.stop_reading()

    def _do(self, action: Action) -> None:
        ASKER.set(self._facts.origin)  # by which what it asks of the store takes its turn
        match action:
            case StoreEvent(raw=raw, event=event):
                self._unanswered += 1
                self._all.hub.submit(raw, event, self._facts, self._answer)
            case Subscribe(sub_id=sub_id, filters=filters):
                self._end_subscription(sub_id)
                if self._may_ask(sub_id):
                    self._unanswered += 1
                    self._subscriptions[sub_id] = Subscription(self, sub_id, self._all.hub, filters)
            case Unsubscribe(sub_id=sub_id):
                self._end_subscription(sub_id)
            case RefuseSubscription(sub_id=sub_id, message=message):
                self._end_subscription(sub_id)
                self._refuse(message, build_closed(sub_id, message))
            case CountEvents(query_id=query_id, filters=filters):
                if self._may_ask(query_id):
                    self._count(query_id, filters)
            case Authenticate(event=event):
                self._authenticate(event)
            case Send(text=text):
                self.send_text(text)

    def _may_ask(self, sub_id: str) -> bool:
        """Tell whether a question may be asked now; send CLOSED if this address asks too much."""
        if not self._facts.origin or self._all.requests.take(self._facts.origin, self._all.time()):
            return True
        self._session.ended(sub_id)
        allowed = f"{self._all.limits.requests_per_address_minute_max} a minute"
        rejected = Rejected("rate-limited", "too many requests from this address", allowed=allowed)
        self.send_text(build_closed(sub_id, str(rejected)))
        return False

    def _count(self, query_id: str, filters: Sequence[Filter]) -> None:
        if self._counts is None:
            self._counts = {}
        elif query_id in self._counts:
            self._counts[query_id].end()
        self._unanswered += 1
        self._counts[query_id] = Counting(self, query_id, self._all.hub, filters)

    def _authenticate(self, event: Event) -> None:
        answer = self._session.authenticate(event, self._challenge, self._facts.known_as, self._all.hub.now())
        self._facts = replace(self._facts, keys=self._session.keys)
        self.send_text(answer)

    def _ask_whose(self) -> None:
        """Send a challenge, once: it is good as long as the connection."""
        if self._challenge is None:
            self._challenge = secrets.token_hex(CHALLENGE_BYTES)
            self.send_text(build_challenge(self._challenge))

    def _answer(self, ok: Ok) -> None:
        text = build_ok(ok.event_id, ok.accepted, ok.message)
        if ok.accepted:
            self.send_text(text)
        else:
            self._refuse(ok.message, text)
        self.answered()

    def _refuse(self, message: str, text: str) -> None:
        """Send a refusal; before one for want of AUTH, the challenge (NIP-42)."""
        if message.startswith(AUTH_REQUIRED):
            self._ask_whose()
        self.send_text(text)

    def _end_subscription(self, sub_id: str) -> None:
        subscription = self._subscriptions.pop(sub_id, None)
        if subscription is not None:
            subscription.end()

    def _end_all(self) -> None:
        for sub_id in list(self._subscriptions):
            self._end_subscription(sub_id)
        for count in (self._counts or {}).values():
            count.end()
        self._counts = None

    # ---- frames out

    def send_text(self, text: str) -> None:
        """Send one message."""
        self.send(text_frame(text.encode()))

    def send(self, frame: bytes) -> None:
        """Send one frame, soon."""
        self._out.append(frame)
        if len(self._out) == 1:
            self._all.flush_soon(self)

    def send_live(self, prefix: bytes, raw: bytes) -> None:
        """Send a new event, which others may get at the same time."""
        self.send(self._all.frames.frame(prefix, raw))

    def has_room(self) -> bool:
        """Tell whether a page of stored events may be sent now: few bytes wait, and were sent since the last flush."""
        return self._room is None and self._stored_bytes <= TOGETHER_BYTES_MAX

    async def room(self) -> None:
        """Wait for a slow reader."""
        if self._stored_bytes > TOGETHER_BYTES_MAX:
            self.flush()
        while self._room is not None:
            await self._room.wait()

    def send_stored(self, prefix: bytes, raws: Sequence[bytes]) -> None:
        """Send a page of stored events."""
        frames = event_frames(prefix, raws)
        self._stored_bytes += len(frames)
        self.send(frames)

    def answered(self) -> None:
        """Count one message as dealt with; read on, if that is why we had stopped."""
        self._unanswered -= 1
        if self._deaf and self._unanswered <= self._all.limits.unanswered_max // 2 and not self._all.stopping:
            self._listen()

    def count_ended(self, query_id: str) -> None:
        """Forget a COUNT that is answered."""
        if self._counts is not None:
            self._counts.pop(query_id, None)

    def subscription_closed(self, sub_id: str, message: str) -> None:
        """Tell the client that its subscription has ended."""
        self._subscriptions.pop(sub_id, None)
        self._session.ended(sub_id)
        self.send_text(build_closed(sub_id, message))

    def _listen(self) -> None:
        if self._deaf and not self._transport.is_closing():
            self._deaf = False
            self._transport.resume_reading()

    # ---- closing

    def _drop(self, reason: str, **figures: object) -> None:
        log.info("relay_connection_dropped", reason=reason, address=self._facts.address, **figures)
        self.close(CloseCode.POLICY_VIOLATION, reason)

    def _write_websocket(self, websocket: Websocket) -> None:
        """Write what the websocket itself has to say, after what we had said before."""
        for data in websocket.to_send():
            self.flush()
            if data:
                self._transport.write(data)
            elif not self._transport.is_closing():
                # The peer closes; it may be sending still, and closing here would reset what we have just said.
                self._transport.write_eof()
        if not websocket.open and self._closing_since is None:
            self._closing_since = self._all.time()
            self._end_all()
