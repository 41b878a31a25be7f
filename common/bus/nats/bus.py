"""The bus over NATS: it supervises one link after the other, and every subscription is made anew on each."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from nats.aio.client import Client

from common import errors
from common.bus import Delivery, Handler, Subscription
from common.bus.callbacks import Counters, Hook, Hooks, log
from common.bus.nats.faults import VENDOR_FAULTS, said, translate
from common.bus.nats.interest import Interest
from common.bus.nats.link import MOST_REFUSALS, Link
from common.bus.nats.options import NatsOptions, not_permitted, require_sense, shown, who
from common.bus.nats.refusals import Asked, Refusal, answer, hears
from common.bus.questions import Questions, require_size

HEADROOM_BYTES = 4096
"""Kept free below the server's `max_payload`. The server counts headers, the vendor's client does not, and the server
closes the connection of whoever exceeds it by one byte."""

_CONGESTED_BYTES = 1 << 20
"""Unsent bytes above which `publish` waits for the server: a quarter of a second on a line of 32 Mbit/s."""

_STUCK_S = 5.0
"""How long `publish` waits then, before it calls the connection dead."""


class NatsBus:
    """`Bus` over NATS. Open one with `connect_nats`."""

    def __init__(self, options: NatsOptions, tasks: asyncio.TaskGroup) -> None:
        self.counters = Counters()
        self.client: Client | None = None
        """The vendor's client while there is a connection; for this package only."""
        self._options = options
        self._tasks = tasks
        self._urls = list(options.urls)
        self._link: Link | None = None
        self._max_payload = (1 << 20) - HEADROOM_BYTES
        self._last_failure = "no answer"
        self._unusable = ""
        """What is wrong on our side, as a seed that is gone since: it is logged as often as it changes."""
        self._lost = Hooks("disconnect", self.counters)
        self._found = Hooks("reconnect", self.counters)
        self._questions = Questions(options.inbox_prefix)
        self._asked = Asked()
        self._told: set[Refusal] = set()
        self._interests = [Interest(self, self._questions.pattern, self._questions.on_answer, "", 1 << 20)]

    @property
    def connected(self) -> bool:
        return self.client is not None and self.client.is_connected

    @property
    def max_payload(self) -> int:
        """The most bytes that `publish` takes, headers included, as the last server said."""
        return self._max_payload

    @property
    def pending_bytes(self) -> int:
        """What was published and has not left yet; nothing while there is no connection."""
        return 0 if self.client is None else self.client.pending_data_size

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
        if reply:
            self._asked.note(subject, reply)
        try:
            await client.publish(subject, data, reply, dict(headers) if headers else None)
        except VENDOR_FAULTS as error:
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
        interest = Interest(self, subject, handler, queue, pending)
        try:
            await interest.begin(self.client)
        except VENDOR_FAULTS as error:
            raise translate(error, f"subscribing to {subject!r}") from error
        self._interests.append(interest)
        return interest

    def forget(self, interest: Interest) -> None:
        """Don't renew this interest on the next link."""
        if interest in self._interests:
            self._interests.remove(interest)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Ask for one reply. Raises `NoResponders`, `NotPermitted`, `BusTimeout`, and `BusDisconnected` also when the connection
        breaks while waiting, since the reply can no longer arrive."""
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
        return errors.BusDisconnected(f"there is no connection to NATS at {shown(self._urls)}; trying again")

    async def open(self) -> None:
        """Make the first connection. Raises `BusDisconnected` when the time is over, `ConfigError` when refused."""
        limit_s = self._options.initial_connect_timeout_s
        require_sense(self._options)
        try:
            async with asyncio.timeout(limit_s):
                await self._connect(refusal_is_final=True)
        except TimeoutError as error:
            raise errors.BusDisconnected(
                f"no NATS server at {shown(self._urls)} within {limit_s:g} s ({self._last_failure}): "
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

    def _on_refused(self, refusal: Refusal) -> None:
        """Log what this user may not do, once, and tell whoever waits for an answer to it, or hears nothing."""
        why = not_permitted(refusal, self._options)
        if refusal not in self._told and len(self._told) < MOST_REFUSALS:
            self._told.add(refusal)
            log.error(
                "bus.not_permitted", subject=refusal.subject, publishing=refusal.publishing, user=who(self._options)
            )
        if not refusal.publishing:
            for interest in self._interests:
                if interest.subject.lower() == refusal.subject:
                    interest.deny(why)
        if refusal.publishing and (reply := self._asked.reply(refusal.subject)):
            for interest in tuple(self._interests):
                if hears(interest.subject, reply):
                    interest.tell(answer(reply, why))

    def _on_lost(self, link: Link, reason: str) -> None:
        self._link = self.client = None
        log.warning("bus.lost", reason=reason)
        known = {urlsplit(url).netloc.rpartition("@")[2] for url in self._urls}
        self._urls += [uri.geturl() for uri in link.client.discovered_servers if uri.netloc not in known]
        for interest in self._interests:
            interest.detach()
        self._asked.clear()
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
                log.warning("bus.unreachable", urls=shown(self._urls), error=self._last_failure)
            ceiling_s = min(self._options.backoff_max_s, self._options.backoff_min_s * 2 ** min(round_number, 10))
            await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311  # jitter, not a secret

    async def _try(self, url: str, *, refusal_is_final: bool) -> bool:
        link = Link(self.counters, self._tasks, self._on_refused)
        taken = False
        try:
            await link.dial(url, self._options)
            for interest in tuple(self._interests):
                await interest.begin(link.client)
            await link.flush()
            self._require_inbox(link)
            self._take(link, url)
            taken = True
        except (errors.BusError, errors.ConfigError, *VENDOR_FAULTS, ValueError, AssertionError) as error:
            cause = link.last_error or error
            self._last_failure = said(cause)
            if refusal_is_final and "authorization" in str(cause).lower():
                raise errors.ConfigError(
                    f"NATS at {shown([url])} refused us ({cause}): "
                    "check NATS_NKEY, NATS_USER and NATS_PASSWORD, NATS_TOKEN, or NATS_CREDS"
                ) from error
            if refusal_is_final and isinstance(cause, errors.ConfigError):
                raise
            self._note(cause.message if isinstance(cause, errors.ConfigError) else "")
        finally:
            if not taken:
                await link.close(gone=True)
                for interest in self._interests:
                    interest.detach()
        return taken

    def _note(self, unusable: str) -> None:
        """Log what only this machine's owner can mend: a server that does not answer is told of once, and this may come later."""
        if unusable and unusable != self._unusable:
            log.error("bus.unusable", error=unusable)
        self._unusable = unusable

    def _require_inbox(self, link: Link) -> None:
        """Raise `ConfigError` where no answer could ever be heard."""
        if Refusal(publishing=False, subject=self._questions.pattern.lower()) in link.refusals:
            raise errors.ConfigError(
                f"the NATS user of {who(self._options)} may not hear {self._questions.pattern!r}, where answers to it come: "
                "set NATS_INBOX_PREFIX to what the server allows it, as its .env by `drover nats init` says, or NATS_NKEY to "
                "the seed of this process's own user"
            )

    def _take(self, link: Link, url: str) -> None:
        self._link, self.client, self._unusable = link, link.client, ""
        self._max_payload = link.client.max_payload - HEADROOM_BYTES
        version = str(link.client.connected_server_version)
        log.info("bus.connected", url=shown([url]), server=version, max_payload_bytes=link.client.max_payload)


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
