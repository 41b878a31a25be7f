"""The bus over a NATS server; the only module that imports the vendor's client, and it knows no message of ours.

The vendor's own reconnecting is switched off: it buffers while there is no server and replays stale messages, hangs
for ever on a socket whose peer vanished, and gives up for good on most errors that a server reports. Here a connection
(`_Link`) lives once, from dialling to loss. A supervisor watches it, and replaces a lost one by a new client that
subscribes to everything again: one way to recover, whatever the fault.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import math
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from nats import errors as vendor
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as VendorSubscription

from common import errors
from common.bus import Delivery, Handler, Subscription
from common.bus.callbacks import Counters, Hook, Hooks, hand_over, log
from common.bus.questions import Questions, require_size

HEADROOM_BYTES = 4096
"""Kept free below the server's `max_payload`. The server counts headers, the vendor's client does not, and the server
closes the connection of whoever exceeds it by one byte."""

_CONGESTED_BYTES = 1 << 20
"""Unsent bytes above which `publish` waits for the server: a quarter of a second on a line of 32 Mbit/s."""

_STUCK_S = 5.0
"""How long `publish` waits then, before it calls the connection dead."""

_POLL_S = 0.25
"""How often a link is looked at. Most losses wake the supervisor at once; some paths in the vendor tell nobody."""

_CLOSE_S = 0.8
"""How long closing waits for unsent bytes, and again for the vendor's tasks: with both, below two seconds."""

_NEVER_S = 86_400
_PENDING_BYTES = 64 << 20
"""What may wait for the handler of one subscription; half the vendor's default, since a Nano has 2 GB."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_CREDENTIALS = re.compile(r"(?<=://)[^/]*@|^[^:/@]+(:[^/@]*)?@")

_VENDOR_FAULTS = (vendor.Error, OSError, RuntimeError, AttributeError)
"""What the vendor's client raises. The last two come from writing to a transport that was closed under it."""

ERRORS: Mapping[type[Exception], type[errors.FleetError]] = {
    vendor.Error: errors.BusError,
    vendor.TimeoutError: errors.BusTimeout,
    vendor.FlushTimeoutError: errors.BusTimeout,
    vendor.DrainTimeoutError: errors.BusTimeout,
    vendor.NoRespondersError: errors.NoResponders,
    vendor.StaleConnectionError: errors.BusDisconnected,
    vendor.OutboundBufferLimitError: errors.BusDisconnected,
    vendor.UnexpectedEOF: errors.BusDisconnected,
    vendor.ConnectionClosedError: errors.BusDisconnected,
    vendor.ConnectionDrainingError: errors.BusDisconnected,
    vendor.ConnectionReconnectingError: errors.BusDisconnected,
    vendor.NoServersError: errors.BusDisconnected,
    vendor.ProtocolError: errors.BusDisconnected,
    vendor.JsonParseError: errors.BusDisconnected,
    vendor.MaxPayloadError: errors.PayloadTooLarge,
    vendor.BadSubjectError: errors.BadRequest,
    vendor.BadHeaderError: errors.BadRequest,
    vendor.SlowConsumerError: errors.BusError,
    vendor.AuthorizationError: errors.ConfigError,
    vendor.InvalidUserCredentialsError: errors.ConfigError,
    vendor.SecureConnRequiredError: errors.ConfigError,
    vendor.SecureConnWantedError: errors.ConfigError,
    vendor.SecureConnFailedError: errors.ConfigError,
    vendor.BadSubscriptionError: errors.InternalError,
    vendor.BadTimeoutError: errors.InternalError,
    vendor.InvalidCallbackTypeError: errors.InternalError,
    vendor.ServerNotInPoolError: errors.InternalError,
    vendor.NotJSMessageError: errors.InternalError,
    vendor.MsgAlreadyAckdError: errors.InternalError,
}
"""Every error class of the vendor; a test fails when a new one appears."""


def translate(error: Exception, doing: str) -> errors.FleetError:
    """Give our error for one of the vendor's; `doing` says what was tried, with its subject."""
    for cls in type(error).__mro__:
        if cls in ERRORS:
            return ERRORS[cls](f"{doing} failed: {str(error) or type(error).__name__}")
    return errors.BusDisconnected(f"{doing} failed: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How to reach a NATS server, and how patient to be with it. URLs and secrets stay out of `repr`."""

    urls: tuple[str, ...] = field(default=("nats://127.0.0.1:4222",), repr=False)
    name: str = "drover"
    creds_file: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = "_INBOX"
    connect_timeout_s: float = 2.0
    initial_connect_timeout_s: float = 10.0
    ping_interval_s: float = 5.0
    max_outstanding_pings: int = 2
    backoff_min_s: float = 0.25
    backoff_max_s: float = 2.0


class _Link:
    """One connection of the vendor's client, from dialling to loss; it is never mended."""

    def __init__(self, counters: Counters, tasks: asyncio.TaskGroup) -> None:
        self.client = Client()
        self.last_error: Exception | None = None
        self._counters = counters
        self._tasks = tasks
        self._up = False
        self._pongs = 0
        self._stirred = asyncio.Event()
        self._pings: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Future[bool]] = set()
        self._logged: set[str] = set()

    async def dial(self, url: str, options: NatsOptions) -> None:
        """Connect to one server, once. Raises what the vendor raises, or `TimeoutError`."""
        # In a task of its own, cancelled until it ends: the vendor waits with `wait_for`, which before Python 3.12 loses a
        # cancellation that comes together with the result, and then neither a time-out nor Ctrl-C would get through.
        # Removable when 3.12 is the floor.
        task = self._tasks.create_task(self._dial(url, options), name="bus.dial")
        try:
            await asyncio.wait({task}, timeout=options.connect_timeout_s * 2)
            if not task.done():
                raise TimeoutError(f"no handshake within {options.connect_timeout_s * 2:g} s")
            if (error := task.result()) is not None:
                raise error
            self._up = True
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=0.05)

    async def _dial(self, url: str, options: NatsOptions) -> Exception | None:
        """Give the error instead of raising it, since an error in the group would end the bus."""
        try:
            await self.client.connect(
                servers=[url],
                name=options.name,
                user=options.user,
                password=options.password,
                token=options.token,
                user_credentials=options.creds_file,
                tls=options.tls,
                inbox_prefix=options.inbox_prefix,
                connect_timeout=options.connect_timeout_s,  # type: ignore[arg-type]  # says int, takes any number
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                # `until_lost` pings: the vendor's pinger closes the client by itself, and hangs in that.
                ping_interval=_NEVER_S,
                # Nothing waits for a better connection: a fleet that comes back would publish hours of heartbeats.
                pending_size=-1,
                error_cb=self._on_error,
                disconnected_cb=self._on_stir,
                closed_cb=self._on_stir,
            )
        except (*_VENDOR_FAULTS, ValueError, AssertionError) as error:  # the last two: what answers is no NATS server
            return error
        return None

    async def _on_error(self, error: Exception) -> None:
        # The vendor awaits this inside its read loop: an exception here, or a wait, makes a connected client deaf.
        self.last_error = error
        self._stirred.set()
        try:
            self._count(error)
        except Exception:  # noqa: BLE001  # only the log can fail, as when standard error is closed
            self._counters.errors += 1

    def _count(self, error: Exception) -> None:
        if isinstance(error, vendor.SlowConsumerError):
            self._counters.dropped += 1
            self._log_once("bus.dropped", subject=error.sub.subject)
        elif self._up and not isinstance(error, OSError | vendor.StaleConnectionError):  # `bus.lost` will tell of those
            self._counters.errors += 1
            self._log_once("bus.error", error=_said(error))

    async def _on_stir(self) -> None:
        self._stirred.set()

    def _log_once(self, event: str, **fields: str) -> None:
        """Log a fault once per connection: a server repeats it for each message."""
        key = f"{event} {fields}"
        if key not in self._logged and len(self._logged) < 100:
            self._logged.add(key)
            log.warning(event, **fields)

    async def until_lost(self, options: NatsOptions) -> str:
        """Return the reason when the connection is gone, or when nothing comes back over it any more."""
        loop = asyncio.get_running_loop()
        patience_s = options.ping_interval_s * options.max_outstanding_pings
        heard, ping_at, give_up_at = -1, loop.time() + options.ping_interval_s, math.inf
        while self.client.is_connected:
            await self._pause(_POLL_S)
            now = loop.time()
            if self._heard() != heard:
                heard, give_up_at = self._heard(), math.inf
            if now > give_up_at:
                return f"no answer to a ping for {patience_s:g} s"
            if now > ping_at:
                ping_at, give_up_at = now + options.ping_interval_s, min(give_up_at, now + patience_s)
                self._send_ping(None)
        return _said(self.last_error) if self.last_error else "the server closed the connection"

    async def _pause(self, wait_s: float) -> None:
        self._stirred.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._stirred.wait()
        except TimeoutError:
            pass  # nothing happened: look anyway

    def _heard(self) -> int:
        """A number that changes with all that arrives: on a slow line a pong may wait behind data."""
        return int(self.client.stats["in_msgs"]) + self._pongs

    async def flush(self) -> None:
        """Return when the server has read all that was published before. Raises `BusDisconnected`."""
        if self.client.pending_data_size:
            # The vendor writes PING to the socket past its own buffer of published messages. After one round trip
            # that buffer is written, so only a second one comes behind it.
            await self._round_trip()
        await self._round_trip()

    async def _round_trip(self) -> None:
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.add(answered)
        self._send_ping(answered)
        try:
            if not await answered:
                raise errors.BusDisconnected("the connection to NATS was lost while waiting for the server")
        finally:
            self._waiting.discard(answered)

    def _send_ping(self, answered: asyncio.Future[bool] | None) -> None:
        # In a task of its own, because whoever waits may be cancelled or time out, and the vendor's wait must not: a pong
        # for a cancelled future raises inside its read loop and ends it. Removable when `Client._process_pong` asks
        # `future.done()` first.
        task = self._tasks.create_task(self._ping(answered), name="bus.ping")
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)

    async def _ping(self, answered: asyncio.Future[bool] | None) -> None:
        try:
            await self.client.rtt(timeout=_NEVER_S)
            self._pongs += 1
            pong = True
        except _VENDOR_FAULTS as error:
            self.last_error = self.last_error or error
            pong = False
        if answered is not None and not answered.done():
            answered.set_result(pong)

    async def close(self, *, gone: bool) -> None:
        """End the connection in less than two seconds; when it is `gone`, without trying to send what is unsent."""
        for task in self._pings:
            task.cancel()
        for answered in self._waiting:
            if not answered.done():
                answered.set_result(False)
        if gone:
            self._abort()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()
        except _VENDOR_FAULTS as error:
            log.debug("bus.close_failed", error=_said(error))
        finally:
            self._abort()
            await self._end_vendor_tasks()

    def _abort(self) -> None:
        """Close the socket without waiting for its buffer.

        The vendor's `close` waits until the unsent bytes are taken, which on a line that swallows packets is never
        (nats.py#671, nats.py#461). There is no public way to the transport: if these names change, closing waits for
        its time-out and the kernel keeps the socket for some minutes. Removable when the vendor aborts by itself.
        """
        writer = getattr(getattr(self.client, "_transport", None), "_io_writer", None)
        transport = getattr(writer, "transport", None)
        if transport is not None:
            abort(transport)

    async def _end_vendor_tasks(self) -> None:
        """Leave no task of the vendor behind: an exception inside its `close` skips the rest of it.

        If these names change, the tasks end when they are collected as garbage. Removable when `close` uses `finally`.
        """
        names = ("_reading_task", "_flusher_task", "_ping_interval_task")
        tasks = {task for name in names if (task := getattr(self.client, name, None)) is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=_CLOSE_S)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.debug("bus.close_failed", error=_said(error))


class _Interest:
    """A subscription of ours, which outlives the vendor's: each new link gets one of its own."""

    def __init__(self, bus: NatsBus, subject: str, handler: Handler, queue: str, pending: int) -> None:
        self._subject = subject
        self._bus = bus
        self._handler = handler
        self._queue = queue
        self._pending = pending
        self._vendor: VendorSubscription | None = None

    async def begin(self, client: Client) -> None:
        """Subscribe on a link."""
        self._vendor = await client.subscribe(
            self._subject,
            queue=self._queue,
            cb=self._deliver,  # the vendor's iterators and `next_msg` are three to six times slower
            pending_msgs_limit=self._pending,
            pending_bytes_limit=_PENDING_BYTES,
        )

    async def _deliver(self, msg: Msg) -> None:
        # Nothing is awaited: the vendor calls this for one message at a time, and a wait would hold back all behind it.
        delivery = Delivery(msg.subject, msg.data, msg.reply, msg.headers or _NO_HEADERS)
        hand_over(self._bus.counters, self._handler, delivery)

    def detach(self) -> None:
        """Forget the vendor's subscription of a lost link, and end its task.

        If the name changes, the task ends as garbage. Removable when an exception in the vendor's `close` no longer
        keeps it from ending the tasks of subscriptions.
        """
        stop = getattr(self._vendor, "_stop_processing", None)
        self._vendor = None
        if stop is not None:
            stop()

    async def unsubscribe(self) -> None:
        """Take no new messages and forget those that wait. Without a connection there is nobody to tell."""
        self._bus.forget(self)
        sub, self._vendor = self._vendor, None
        if sub is not None:
            try:
                await sub.unsubscribe()
            except _VENDOR_FAULTS as error:
                log.debug("bus.unsubscribe_failed", subject=self._subject, error=_said(error))

    async def drain(self) -> None:
        """Take no new messages; return when those that had arrived were handed to the handler."""
        self._bus.forget(self)
        sub, client = self._vendor, self._bus.client
        if sub is not None and client is not None:
            try:
                await self._drain(sub, client)
            except (errors.BusError, *_VENDOR_FAULTS) as error:
                log.debug("bus.drain_failed", subject=self._subject, error=_said(error))
        await self.unsubscribe()

    async def _drain(self, sub: VendorSubscription, client: Client) -> None:
        # The vendor's `drain` loses what the server sends between its PONG and reading the UNSUB, since the PING overtakes
        # the UNSUB in the vendor's buffer. Here a flush follows that can't overtake it. Removable when the vendor's
        # PING goes through its buffer.
        say_unsubscribe = getattr(client, "_send_unsubscribe", None)
        if say_unsubscribe is None:
            await sub.drain()  # type: ignore[no-untyped-call]  # the vendor leaves it without types
            return
        await say_unsubscribe(getattr(sub, "_id", 0))
        await self._bus.flush()
        while sub.pending_msgs and client.is_connected:  # noqa: ASYNC110  # one turn of the loop, and no event to wait for
            await asyncio.sleep(0)


class NatsBus:
    """`Bus` over NATS. Open one with `connect_nats`."""

    def __init__(self, options: NatsOptions, tasks: asyncio.TaskGroup) -> None:
        self.counters = Counters()
        self.client: Client | None = None
        """The vendor's client while there is a connection; for this module only."""
        self._options = options
        self._tasks = tasks
        self._urls = list(options.urls)
        self._link: _Link | None = None
        self._max_payload = (1 << 20) - HEADROOM_BYTES
        self._last_failure = "no answer"
        self._lost = Hooks("disconnect", self.counters)
        self._found = Hooks("reconnect", self.counters)
        self._questions = Questions(options.inbox_prefix)
        self._interests = [_Interest(self, self._questions.pattern, self._questions.on_answer, "", 1 << 20)]

    @property
    def connected(self) -> bool:
        return self.client is not None and self.client.is_connected

    @property
    def max_payload(self) -> int:
        """The most bytes that `publish` takes, headers included, as the last server said."""
        return self._max_payload

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send, and don't wait for the wire, unless a megabyte waits there already.

        Headers cost two to three times the throughput: the hot paths put what they need into the subject.
        """
        client = self.client
        if client is None:
            raise self._disconnected()
        if headers or len(data) > self._max_payload or client.pending_data_size > _CONGESTED_BYTES:
            await self._before_publish(client, subject, data, headers)
        try:
            await client.publish(subject, data, reply, dict(headers) if headers else None)
        except _VENDOR_FAULTS as error:
            raise translate(error, f"publishing to {subject!r}") from error

    async def _before_publish(
        self, client: Client, subject: str, data: bytes, headers: Mapping[str, str] | None
    ) -> None:
        # The server counts headers against its limit, the vendor does not, and the server hangs up on one byte too much.
        require_size(subject, data, headers, self._max_payload)
        if client.pending_data_size > _CONGESTED_BYTES:
            try:
                await self.flush(timeout_s=_STUCK_S)
            except errors.BusTimeout as error:
                waiting = client.pending_data_size
                raise errors.BusDisconnected(f"NATS reads nothing: {waiting} bytes wait to be sent") from error

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", pending: int = 65_536
    ) -> Subscription:
        """Hear `subject` until the bus closes, across reconnects.

        A `pending` below 2500 can overflow without fault of the handler: so many small messages fit into one read.
        """
        if self.client is None:
            raise self._disconnected()
        interest = _Interest(self, subject, handler, queue, pending)
        try:
            await interest.begin(self.client)
        except _VENDOR_FAULTS as error:
            raise translate(error, f"subscribing to {subject!r}") from error
        self._interests.append(interest)
        return interest

    def forget(self, interest: _Interest) -> None:
        """Don't renew this interest on the next link."""
        if interest in self._interests:
            self._interests.remove(interest)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for one reply. Raises `NoResponders`, `BusTimeout`, and `BusDisconnected` also when the connection breaks
        while waiting, since the reply can no longer arrive."""
        return await self._questions.ask(self.publish, subject, data, timeout_s, headers)

    async def flush(self, *, timeout_s: float = 5.0) -> None:
        """Return when the server has read all that was published. Raises `BusTimeout`, `BusDisconnected`."""
        if self._link is None:
            raise self._disconnected()
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.flush()
        except TimeoutError as error:
            raise errors.BusTimeout(f"NATS did not answer within {timeout_s:g} s") from error

    def new_inbox(self) -> str:
        """Give a reply subject that nobody else hears."""
        return self._questions.new_inbox()

    def on_disconnect(self, hook: Hook) -> Hook:
        """Have `hook` called each time the connection is lost; gives what takes it away again."""
        return self._lost.add(hook)

    def on_reconnect(self, hook: Hook) -> None:
        """Have `hook` called each time the connection is back and all subscriptions stand again."""
        self._found.add(hook)

    def _disconnected(self) -> errors.BusDisconnected:
        return errors.BusDisconnected(f"there is no connection to NATS at {_shown(self._urls)}; trying again")

    async def open(self) -> None:
        """Make the first connection. Raises `BusDisconnected` when the time is over, `ConfigError` when refused."""
        limit_s = self._options.initial_connect_timeout_s
        _require_sense(self._options)
        try:
            async with asyncio.timeout(limit_s):
                await self._connect(refusal_is_final=True)
        except TimeoutError as error:
            raise errors.BusDisconnected(
                f"no NATS server at {_shown(self._urls)} within {limit_s:g} s ({self._last_failure}): "
                "start one (`nats-server`), or set NATS_URL to one that runs"
            ) from error

    async def supervise(self) -> None:
        """Replace the link each time it is lost, for ever."""
        while (link := self._link) is not None:
            reason = await link.until_lost(self._options)
            self._on_lost(link, reason)
            await link.close(gone=True)
            await self._connect()
            self.counters.reconnects += 1
            self._found.run()

    async def close(self) -> None:
        """Send what is unsent, if that takes no longer than a second, and end the connection."""
        link, self._link, self.client = self._link, None, None
        if link is not None:
            await link.close(gone=not link.client.is_connected)
        for interest in self._interests:
            interest.detach()
        self._questions.abandon()
        await asyncio.sleep(0)  # the turn in which the tasks just cancelled end

    def _on_lost(self, link: _Link, reason: str) -> None:
        self._link = self.client = None
        log.warning("bus.lost", reason=reason)
        known = {urlsplit(url).netloc.rpartition("@")[2] for url in self._urls}
        self._urls += [uri.geturl() for uri in link.client.discovered_servers if uri.netloc not in known]
        for interest in self._interests:
            interest.detach()
        self._questions.abandon()
        self._lost.run()

    async def _connect(self, *, refusal_is_final: bool = False) -> None:
        """Try one server after the other, for ever. Between rounds wait 0.25 to 2 s, jittered: a fleet should not come
        back in step."""
        for round_number in itertools.count():
            for url in tuple(self._urls):
                if await self._try(url, refusal_is_final=refusal_is_final):
                    return
            if round_number == 0:
                log.warning("bus.unreachable", urls=_shown(self._urls), error=self._last_failure)
            ceiling_s = min(self._options.backoff_max_s, self._options.backoff_min_s * 2 ** min(round_number, 10))
            await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311  # jitter, not a secret

    async def _try(self, url: str, *, refusal_is_final: bool) -> bool:
        link = _Link(self.counters, self._tasks)
        taken = False
        try:
            await link.dial(url, self._options)
            for interest in tuple(self._interests):
                await interest.begin(link.client)
            await link.flush()
            self._take(link, url)
            taken = True
        except (errors.BusError, *_VENDOR_FAULTS, ValueError, AssertionError) as error:
            cause = link.last_error or error
            self._last_failure = _said(cause)
            if refusal_is_final and "authorization" in str(cause).lower():
                raise errors.ConfigError(
                    f"NATS at {_shown([url])} refused us ({cause}): "
                    "check NATS_USER and NATS_PASSWORD, NATS_TOKEN, or NATS_CREDS"
                ) from error
        finally:
            if not taken:
                await link.close(gone=True)
                for interest in self._interests:
                    interest.detach()
        return taken

    def _take(self, link: _Link, url: str) -> None:
        self._link, self.client = link, link.client
        self._max_payload = link.client.max_payload - HEADROOM_BYTES
        version = str(link.client.connected_server_version)
        log.info("bus.connected", url=_shown([url]), server=version, max_payload_bytes=link.client.max_payload)


@asynccontextmanager
async def connect_nats(settings: NatsOptions) -> AsyncIterator[NatsBus]:
    """Connect, stay connected, and close within two seconds, also when the server is dead.

    Raises `BusDisconnected` when no server answers within `initial_connect_timeout_s`, `ConfigError` when one refuses.
    """
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        bus = NatsBus(settings, tasks)
        try:
            await bus.open()
            supervisor = tasks.create_task(bus.supervise(), name="bus.supervisor")
            try:
                yield bus
            finally:
                supervisor.cancel()
        except BaseException as error:  # noqa: BLE001  # raised again below, as itself: the group would wrap it
            failure = error
        finally:
            await bus.close()
    if failure is not None:
        raise failure


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a socket now, and drop what is unsent."""
    try:
        transport.abort()
    except AttributeError:
        # asyncio's own: a transport that was closing with unsent bytes, and has sent them meanwhile, has lost its loop.
        # Removable when `_SelectorTransport._force_close` asks for that.
        pass


def _require_sense(options: NatsOptions) -> None:
    """Raise `ConfigError` for what no retry can mend."""
    for url in options.urls:
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            sound = bool(parts.hostname) and parts.port != 0 and parts.scheme in ("nats", "tls", "ws", "wss")
        except ValueError:
            sound = False
        if not sound:
            raise errors.ConfigError(f"NATS_URL: {_shown([url])!r} is no address: use nats://host:4222")
    if not options.urls:
        raise errors.ConfigError("NATS_URL names no server: use nats://host:4222")
    if options.creds_file is not None:
        _require_credentials(Path(options.creds_file))


def _require_credentials(path: Path) -> None:
    """Look into the credentials file: the vendor reads for ever in one without a JWT."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"NATS_CREDS: {path} can't be read: {error}") from error
    if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
        raise errors.ConfigError(f"NATS_CREDS: {path} has no user JWT with its NKey seed: make one with `nsc`")
    if importlib.util.find_spec("nkeys") is None:
        raise errors.ConfigError("NATS_CREDS needs the package nkeys: pip install 'nats-py[nkeys]'")


def _shown(urls: list[str]) -> str:
    """Name servers without their credentials."""
    return ", ".join(_CREDENTIALS.sub("", url) for url in urls)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
