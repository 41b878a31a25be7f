"""One connection of the vendor's client to one NATS server, from dialling to loss; who replaces it is not known here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

from nats import errors as vendor
from nats.aio.client import Client

from common import errors
from common.bus.callbacks import Counters, log
from common.bus.nats.faults import VENDOR_FAULTS, said
from common.bus.nats.options import NatsOptions, shown
from common.bus.nats.refusals import Refusal, read_refusal
from common.bus.nats.seeds import read_seed

_POLL_S = 0.25
"""How often a link is looked at. Most losses wake the supervisor at once; some paths in the vendor tell nobody."""

_CLOSE_S = 0.8
"""How long closing waits for unsent bytes, and again for the vendor's tasks: with both, below two seconds."""

_NEVER_S = 86_400

MOST_REFUSALS = 1000


class Link:
    """One connection of the vendor's client, from dialling to loss; it is never mended."""

    def __init__(
        self, counters: Counters, tasks: asyncio.TaskGroup, refused: Callable[[Refusal], None] = lambda _: None
    ) -> None:
        """Dial in a task of `tasks`; `refused` hears what the server does not let this user do, and must return at once."""
        self.client = Client()
        self.refusals: set[Refusal] = set()
        self._refused = refused
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
            if options.nkey_file is not None:
                read_seed(
                    Path(options.nkey_file)
                )  # anew: the vendor's reading of one that was damaged since raises anything
            await self.client.connect(
                servers=[url],
                name=options.name,
                user=options.user,
                password=options.password,
                token=options.token,
                user_credentials=options.creds_file,
                nkeys_seed=options.nkey_file,
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
            self._require_secrecy(url, options)
        except (*VENDOR_FAULTS, errors.ConfigError, ValueError, AssertionError) as error:
            return error  # the last two of those: what answers is no NATS server
        return None

    def _require_secrecy(self, url: str, options: NatsOptions) -> None:
        """Raise `ConfigError` on an open line where TLS was asked for: the vendor encrypts only where the server wants it, so
        that whoever sits in between could have it left out."""
        writer = getattr(getattr(self.client, "_transport", None), "_io_writer", None)
        wanted = options.tls is not None or url.startswith(("tls://", "wss://"))
        if wanted and writer is not None and writer.get_extra_info("ssl_object") is None:
            raise errors.ConfigError(
                f"NATS at {shown([url])} speaks no TLS, and NATS_CA or the address ask for it: give the server a certificate, or "
                "unset NATS_CA and use nats://"
            )

    async def _on_error(self, error: Exception) -> None:
        # The vendor awaits this inside its read loop: an exception here, or a wait, makes a connected client deaf.
        if read_refusal(error) is None:  # the connection stays as it is
            self.last_error = error
            self._stirred.set()
        try:
            self._count(error)
        except Exception:  # noqa: BLE001  # only the log can fail, as when standard error is closed
            self._counters.errors += 1

    def _count(self, error: Exception) -> None:
        if (refusal := read_refusal(error)) is not None:
            self._counters.errors += 1
            if len(self.refusals) < MOST_REFUSALS:
                self.refusals.add(refusal)
            self._refused(refusal)
        elif isinstance(error, vendor.SlowConsumerError):
            self._counters.dropped += 1
            self._log_once("bus.dropped", subject=error.sub.subject)
        elif self._up and not isinstance(error, OSError | vendor.StaleConnectionError):  # `bus.lost` will tell of those
            self._counters.errors += 1
            self._log_once("bus.error", error=said(error))

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
        return said(self.last_error) if self.last_error else "the server closed the connection"

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
        except VENDOR_FAULTS as error:
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
        except (*VENDOR_FAULTS, AssertionError) as error:  # it asserts that it has been connected once
            log.debug("bus.close_failed", error=said(error))
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
                    log.debug("bus.close_failed", error=said(error))


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a socket now, and drop what is unsent."""
    try:
        transport.abort()
    except AttributeError:
        # asyncio's own: a transport that was closing with unsent bytes, and has sent them meanwhile, has lost its loop.
        # Removable when `_SelectorTransport._force_close` asks for that.
        pass
