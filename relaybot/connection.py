"""A connection to one relay, as a client: kept up for ever, subscriptions and all.

The reading loop only reads: OKs wake their publishers, events and EOSEs enter a bounded
queue, and one task hands them on at the receiver's pace. A full queue stops the reading,
and so in the end the relay. What a relay sends is believed only if id and signature fit
and a filter of ours asked for it. A relay that wants to know whose we are before it gives or
takes something (NIP-42) is told, by a connection that has a key. Nothing is sent twice by itself: who must be sure that
an event arrives publishes it again (`relaybot/outbox.py`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.frames import CloseCode
from websockets.uri import parse_uri

from relaybot.clock import Clock, SystemClock
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches
from relaybot.nostr.keys import KeyPair, verify
from relaybot.nostr.messages import (
    Challenge,
    Closed,
    Eose,
    Notice,
    Ok,
    RelayEvent,
    build_auth,
    build_close,
    build_event_frame,
    build_req,
    parse_relay_message,
)
from relaybot.nostr.nip42 import build_auth_event
from relaybot.socks import Proxy, through

log = structlog.get_logger()

EVENTS_IN_A_ROW = 32  # handed on before other tasks get their turn: verifying them takes about 2 ms
AUTH_REQUIRED = "auth-required:"  # NIP-42
NOTICE_CHARACTERS_MAX = 200  # of a relay's words in our log

OnEvent = Callable[[Event], Awaitable[None]]
OnEose = Callable[[], Awaitable[None]]
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one relay may take of us, each with its reason."""

    frame_bytes_max: int = 1_048_576  # a result carries its request too, both encrypted: 0.7 MiB at most
    queue_events_max: int = 128  # with frames of the full size: 128 MiB
    open_seconds: float = 10.0  # TCP, TLS and the handshake
    ping_seconds: float = 20.0  # between pings, and for their answers: a dead relay is noticed in 40 s
    publish_seconds: float = 10.0  # until OK
    close_seconds: float = 2.0  # for a polite good-bye at the end
    backoff_seconds_min: float = 0.5
    backoff_seconds_max: float = 60.0


@dataclass(slots=True)
class _Subscription:
    filters: Callable[[], Sequence[Filter]]
    on_event: OnEvent
    on_eose: OnEose | None
    asked: Sequence[Filter] = ()
    refusals: int = 0


@dataclass(slots=True)
class _Session:
    """One connection between its beginning and its end."""

    socket: ClientConnection
    queue: asyncio.Queue[RelayEvent | Eose | None]
    tasks: asyncio.TaskGroup
    asking: set[asyncio.Task[None]] = field(default_factory=set)
    mistakes: int = 0


class Straight(connect):
    """Goes to the relay that was named and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return what ends the attempt: a redirect is an error like any other."""
        return exc


class RelayConnection:
    """Our end of a relay's websocket."""

    def __init__(
        self,
        url: str,
        *,
        jitter: Callable[[], float],
        keypair: KeyPair | None = None,
        clock: Clock | None = None,
        limits: ConnectionLimits | None = None,
        pause: Pause = asyncio.sleep,
        tls: ssl.SSLContext | None = None,
        onion_proxy: Proxy | None = None,
    ) -> None:
        """Take a `ws://` or `wss://` URL; `jitter` gives numbers of 0 … 1, `pause` waits for seconds.

        `keypair` is shown to relays that ask for it, and to no others. A relay of Tor is reached
        by `onion_proxy`; Rejected if there is none.
        """
        try:
            self._uri = parse_uri(url)
        except InvalidURI:
            raise Rejected("invalid", "relay must be a ws:// or wss:// URL", found=url[:80]) from None
        self._proxy = through(onion_proxy, self._uri.host.lower())
        self.url = url
        self.connections = 0  # so far
        self._limits = limits or ConnectionLimits()
        self._jitter = jitter
        self._keypair = keypair
        self._clock = clock or SystemClock()
        self._challenge: str | None = None  # of this connection
        self._answered_challenge: str | None = None
        self._is_believed = False
        self._authenticating = asyncio.Lock()
        self._pause = pause
        self._tls = (tls or ssl.create_default_context()) if self._uri.secure else None
        self._subscriptions: dict[str, _Subscription] = {}
        self._answers: dict[str, list[asyncio.Future[Ok | None]]] = {}  # by event id; None: there will be no OK
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._failures = 0

    # ---- for our side

    async def run(self) -> None:
        """Connect, and connect again whenever the connection ends, until cancelled."""
        while True:
            try:
                async with await self._open() as socket:
                    try:
                        await self._serve(socket)
                    finally:
                        await socket.close(CloseCode.GOING_AWAY)
            except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
                log.warning("relay_unreachable", relay=self.url, reason=type(error).__name__)
            self._failures += 1
            await self._pause(self._delay(self._failures))

    async def subscribe(
        self,
        name: str,
        filters: Callable[[], Sequence[Filter]],
        on_event: OnEvent,
        on_eose: OnEose | None = None,
    ) -> None:
        """Ask for events, now and after every reconnect, each time with what `filters` returns then.

        `on_event` gets them one by one, `on_eose` is called when what was stored has been
        handed on. Neither may wait for `publish` on this connection: the OK could stand
        behind the events that wait for it.
        """
        subscription = _Subscription(filters, on_event, on_eose)
        self._subscriptions[name] = subscription
        if self._socket is not None:
            await self._ask(self._socket, name, subscription)

    async def unsubscribe(self, name: str) -> None:
        """End a subscription; what is still queued for it is dropped."""
        if self._subscriptions.pop(name, None) is not None and self._socket is not None:
            await _send(self._socket, build_close(name))

    async def publish(self, event: Event, timeout_seconds: float | None = None) -> Ok:
        """Send an event and return the relay's OK, whichever it is.

        Unavailable if there is no connection, it ends before the OK, or none comes in time:
        then the relay may have the event all the same.
        """
        frame, seconds = build_event_frame(event), timeout_seconds or self._limits.publish_seconds
        ok = await self._offer(event.id, frame, seconds)
        if ok.message.startswith(AUTH_REQUIRED) and not ok.accepted and await self._authenticate():
            ok = await self._offer(event.id, frame, seconds)
        return ok

    async def next_connection(self, after: int = 0) -> int:
        """Wait until there is a connection and it is at least the one after number `after`; return its number."""
        while self._socket is None or self.connections <= after:
            await self._connected.wait()
        return self.connections

    async def _offer(self, event_id: str, frame: str, seconds: float) -> Ok:
        if self._socket is None:
            raise Unavailable(f"{self.url} is not connected")
        answer: asyncio.Future[Ok | None] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(event_id, []).append(answer)
        try:
            async with asyncio.timeout(seconds):
                sent = await _send(self._socket, frame)
                ok = await answer if sent else None
        except TimeoutError:
            raise Unavailable(f"{self.url} gave no OK in time") from None
        finally:
            self._forget(event_id, answer)
        if ok is None:
            raise Unavailable(f"{self.url} closed the connection before its OK")
        return ok

    async def _authenticate(self) -> bool:
        """Answer the relay's challenge, once; tell whether it believes us. Unavailable as `publish`."""
        async with self._authenticating:
            challenge = self._challenge
            if self._keypair is None or challenge is None:
                return False
            if challenge != self._answered_challenge:
                now = self._clock.now()
                event = build_auth_event(self._keypair, relay_url=self.url, challenge=challenge, now=now)
                ok = await self._offer(event.id, build_auth(event), self._limits.publish_seconds)
                self._answered_challenge, self._is_believed = challenge, ok.accepted
                if not ok.accepted:
                    log.warning("relay_auth_refused", relay=self.url, reason=ok.message[:NOTICE_CHARACTERS_MAX])
            return self._is_believed

    # ---- the life of a connection

    async def _open(self) -> connect:
        async with asyncio.timeout(self._limits.open_seconds):
            link = await self._proxy.connect(self._uri.host.lower(), self._uri.port) if self._proxy else None
        return Straight(
            self.url,
            sock=link,
            server_hostname=self._uri.host if self._uri.secure else None,
            proxy=None,
            compression=None,
            user_agent_header="relaybot",
            max_size=self._limits.frame_bytes_max,
            open_timeout=self._limits.open_seconds,
            ping_interval=self._limits.ping_seconds,
            ping_timeout=self._limits.ping_seconds,
            close_timeout=self._limits.close_seconds,
            ssl=self._tls,
        )

    async def _serve(self, socket: ClientConnection) -> None:
        self.connections += 1
        self._challenge = self._answered_challenge = None
        self._socket = socket
        self._connected.set()
        self._connected = asyncio.Event()
        log.info("relay_connected", relay=self.url)
        try:
            async with asyncio.TaskGroup() as tasks:
                session = _Session(socket, asyncio.Queue(self._limits.queue_events_max), tasks)
                tasks.create_task(self._hand_on(session))
                self._ask_later(session, tuple(self._subscriptions), seconds=0.0)
                await self._read(session)
                for asking in session.asking:
                    asking.cancel()
                await session.queue.put(None)  # what has arrived is still handed on
        finally:
            self._lose()

    async def _read(self, session: _Session) -> None:
        """Take frames until the connection ends."""
        try:
            async for frame in session.socket:
                try:
                    await self._take(session, frame)
                except Rejected as problem:
                    self._note_mistake(session, problem.reason)
        except ConnectionClosed:
            pass  # the line below says so, however it ended
        log.warning("relay_lost", relay=self.url, code=session.socket.close_code, mistakes=session.mistakes)
        self._lose()

    async def _take(self, session: _Session, frame: bytes | str) -> None:
        match parse_relay_message(frame):
            case (RelayEvent() | Eose()) as message:
                await session.queue.put(message)
            case Ok(event_id) as ok:
                self._answer(event_id, ok)
            case Closed(sub_id, message):
                self._on_closed(session, sub_id, message)
            case Notice(text):
                log.info("relay_notice", relay=self.url, text=text[:NOTICE_CHARACTERS_MAX])
            case Challenge(text):
                self._challenge = text

    async def _hand_on(self, session: _Session) -> None:
        """Hand events and EOSEs to their subscriptions, one after the other."""
        in_a_row = 0
        while (message := await session.queue.get()) is not None:
            subscription = self._subscriptions.get(message.sub_id)
            if subscription is None:  # ended by us, with these still under way
                continue
            match message:
                case Eose():
                    self._failures = subscription.refusals = 0  # this relay works
                    if subscription.on_eose is not None:
                        await subscription.on_eose()
                case RelayEvent(_, event):
                    if _asked_for(subscription, event) and verify(event):
                        await subscription.on_event(event)
                    else:
                        self._note_mistake(session, "event with a wrong signature, or not asked for")
            in_a_row += 1
            if in_a_row % EVENTS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    def _on_closed(self, session: _Session, name: str, message: str) -> None:
        """Ask again after a while: a subscription is given up by us only."""
        subscription = self._subscriptions.get(name)
        if subscription is None:
            return
        if message.startswith(AUTH_REQUIRED) and self._may_authenticate():
            self._later(session, self._authenticate_and_ask(session, name))
            return
        subscription.refusals += 1
        words = message[:NOTICE_CHARACTERS_MAX]
        log.warning("subscription_closed", relay=self.url, subscription=name, reason=words)
        self._ask_later(session, (name,), seconds=self._delay(subscription.refusals))

    def _ask_later(self, session: _Session, names: Sequence[str], *, seconds: float) -> None:
        self._later(session, self._ask_all(session.socket, names, seconds=seconds))

    def _later(self, session: _Session, work: Coroutine[None, None, None]) -> None:
        asking = session.tasks.create_task(work)
        session.asking.add(asking)
        asking.add_done_callback(session.asking.discard)

    def _may_authenticate(self) -> bool:
        """Tell whether there is a challenge that we have not answered yet."""
        return self._keypair is not None and self._challenge not in (None, self._answered_challenge)

    async def _authenticate_and_ask(self, session: _Session, name: str) -> None:
        try:
            seconds = 0.0 if await self._authenticate() else self._limits.backoff_seconds_max
        except Unavailable:  # the connection ends, or the next CLOSED leads here again
            seconds = self._limits.backoff_seconds_max
        await self._ask_all(session.socket, (name,), seconds=seconds)

    async def _ask_all(self, socket: ClientConnection, names: Sequence[str], *, seconds: float) -> None:
        if seconds:
            await self._pause(seconds)
        for name in names:
            if name in self._subscriptions:
                await self._ask(socket, name, self._subscriptions[name])

    async def _ask(self, socket: ClientConnection, name: str, subscription: _Subscription) -> None:
        subscription.asked = subscription.filters()
        await _send(socket, build_req(name, subscription.asked))

    def _lose(self) -> None:
        """Tell everybody who waits for an OK that none will come."""
        self._socket = None
        for event_id in tuple(self._answers):
            self._answer(event_id, None)

    def _answer(self, event_id: str, ok: Ok | None) -> None:
        for answer in self._answers.pop(event_id, ()):
            if not answer.done():  # its publisher may have been cancelled this moment
                answer.set_result(ok)

    def _forget(self, event_id: str, answer: asyncio.Future[Ok | None]) -> None:
        waiting = self._answers.get(event_id, [])
        if answer in waiting:
            waiting.remove(answer)
            if not waiting:
                del self._answers[event_id]

    def _note_mistake(self, session: _Session, reason: str) -> None:
        """Log a relay's mistakes ever more rarely: the first, the second, the fourth, and so on."""
        session.mistakes += 1
        if session.mistakes.bit_count() == 1:
            log.warning("relay_mistake", relay=self.url, reason=reason, count=session.mistakes)

    def _delay(self, failures: int) -> float:
        """Return the pause after so many failures in a row: doubled each time, half of it by chance."""
        longest = min(self._limits.backoff_seconds_min * 2.0 ** min(failures - 1, 30), self._limits.backoff_seconds_max)
        return longest * (0.5 + 0.5 * self._jitter())


async def _send(socket: ClientConnection, frame: str) -> bool:
    """Send a frame; False if the connection has ended, which the reading loop notices too."""
    try:
        await socket.send(frame)
    except ConnectionClosed:
        return False
    return True


def _asked_for(subscription: _Subscription, event: Event) -> bool:
    return any(matches(filter_, event) for filter_ in subscription.asked)
