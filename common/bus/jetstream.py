"""`Streams` over a NATS server, spoken over any `Bus`: JetStream is requests with JSON, and answers; it knows no job.

The vendor's JetStream context belongs to one connection of the vendor's client, and a bus of ours replaces that client at
each loss: its calls would wait out their time on a dead one, while a request over our bus ends at once with `BusDisconnected`
and the next goes over the new link. Its `fetch` also ends an empty wait in three different ways (nats.py#709). What is needed
of the protocol is small and fixed (ADR-1, ADR-8, ADR-13, ADR-15, ADR-31), so it is spoken here. Removable when the vendor's
context can be bound to a connection that is not its own.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any

from common import codec
from common.bus import KEPT_HEADER, Bus, Delivery
from common.bus.streams import Bucket, ConsumerSpec, Entry, Kept, Progress, Puller, Stored, StreamSpec, StreamState
from common.errors import (
    BadRequest,
    BusDisconnected,
    BusTimeout,
    FleetError,
    InternalError,
    NoResponders,
    QueueFull,
    StreamConflict,
    StreamError,
    StreamsUnavailable,
)

_API = "$JS.API"
_NS = 1_000_000_000

_STARTING_S = 0.25
"""A server that was just started answers on its streams a moment later than on its port: ADR-22 waits so long, twice."""

_GRACE_S = 1.0
"""What the server gets beyond the time of a fetch to say that it is over."""

_WRONG_LAST = 10071
_IN_USE = 10058
_NOT_FOUND = frozenset({10037, 10043})
_NO_STREAMS = frozenset({10039, 10076})
_FULL = "maximum"
"""Stands in what a full stream says (10077): `maximum messages exceeded`, `maximum bytes exceeded`."""
_NO_ROOM = frozenset({10023})

_REFUSALS: Mapping[int, type[FleetError]] = {
    _WRONG_LAST: StreamConflict,
    **dict.fromkeys(_NO_STREAMS, StreamsUnavailable),
    **dict.fromkeys(_NO_ROOM, QueueFull),
}

_NOTHING_THERE = frozenset({None, "404", "408"})
"""How the server ends a fetch that found nothing, at once or after its time; None when enough has come."""

_LOST = "lost"

_OURS = frozenset(
    {"Nats-Stream", "Nats-Subject", KEPT_HEADER, "Nats-Time-Stamp", "Nats-Last-Sequence", "Status", "Description"}
)
"""What the server says of a message that it gives, or may say instead of one."""


class JetStream:
    """`Streams` over a bus that reaches a nats-server of 2.9 or newer."""

    def __init__(self, bus: Bus, *, timeout_s: float = 5.0) -> None:
        self._bus = bus
        self._timeout_s = timeout_s

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream, or bring it up to date."""
        config = _stream_config(spec)
        try:
            await self._ask(f"STREAM.CREATE.{spec.name}", config)
        except StreamError as error:
            if error.details.get("err_code") != _IN_USE:
                raise
            await self._ask(f"STREAM.UPDATE.{spec.name}", config)

    async def declare_consumer(self, spec: ConsumerSpec) -> None:
        """Create the consumer, or bring it up to date."""
        config = {
            "durable_name": spec.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(spec.ack_wait_s * _NS),
            "max_deliver": spec.max_deliver,
            "max_ack_pending": spec.max_ack_pending,
            "filter_subject": spec.subject,
            "replay_policy": "instant",
        }
        body = {"stream_name": spec.stream, "config": config}
        await self._ask(f"CONSUMER.DURABLE.CREATE.{spec.stream}.{spec.name}", body)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        msg_id: str = "",
        expected_last: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Store a message, and give what the server says of it."""
        said = dict(headers) if headers else {}
        if msg_id:
            said["Nats-Msg-Id"] = msg_id
        if expected_last is not None:
            said["Nats-Expected-Last-Subject-Sequence"] = str(expected_last)
        answer = await self._request(subject, data, said)
        body = _answer(answer, f"storing in {subject!r}")
        if "seq" not in body or "stream" not in body:
            raise StreamError(f"{subject!r} was answered by something that is no stream: let nobody reply there")
        return Stored(int(body["seq"]), bool(body.get("duplicate", False)))

    async def last(self, stream: str, subject: str) -> Kept | None:
        """Give the newest message of a subject."""
        return await self._direct(stream, {"last_by_subj": subject})

    async def next(self, stream: str, subject: str, from_seq: int) -> Kept | None:
        """Give the first message of a subject at `from_seq` or later."""
        return await self._direct(stream, {"seq": max(1, from_seq), "next_by_subj": subject})

    async def delete(self, stream: str, seq: int) -> bool:
        """Take a message out; False when it is not there."""
        try:
            await self._ask(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except StreamError as error:
            if error.details.get("err_code") in _NOT_FOUND:
                return False
            raise
        return True

    async def purge(self, stream: str, subject: str) -> int:
        """Take out all messages of a subject; gives their number."""
        return int((await self._ask(f"STREAM.PURGE.{stream}", {"filter": subject})).get("purged", 0))

    async def state(self, stream: str) -> StreamState:
        """Say how full a stream is."""
        state = (await self._ask(f"STREAM.INFO.{stream}", None))["state"]
        return StreamState(int(state["messages"]), int(state["bytes"]), int(state["first_seq"]), int(state["last_seq"]))

    async def progress(self, stream: str, consumer: str) -> Progress:
        """Say how far a consumer is."""
        info = await self._ask(f"CONSUMER.INFO.{stream}.{consumer}", None)
        return Progress(int(info["delivered"]["stream_seq"]), int(info["ack_floor"]["stream_seq"]))

    def puller(self, stream: str, consumer: str) -> AbstractAsyncContextManager[Puller]:
        """Read from a consumer."""
        return _puller(self._bus, stream, consumer, self._timeout_s)

    def bucket(self, name: str) -> Bucket:
        """Give a bucket."""
        return JetStreamBucket(self, name)

    async def _ask(self, verb: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        payload = b"" if body is None else codec.encode(body)
        return _answer(await self._request(f"{_API}.{verb}", payload, None), verb)

    async def _direct(self, stream: str, query: Mapping[str, Any]) -> Kept | None:
        answer = await self._request(f"{_API}.DIRECT.GET.{stream}", codec.encode(query), None)
        if KEPT_HEADER in answer.headers:  # whatever else its headers say: they are its sender's
            return _kept(answer)
        status = answer.headers.get("Status", "no status")
        if status == "404":
            return None
        raise StreamError(f"reading from {stream} failed: {status} {answer.headers.get('Description', '')}")

    async def _request(self, subject: str, payload: bytes, headers: Mapping[str, str] | None) -> Delivery:
        """Ask, and twice more when nobody is there: on the subject of a stream nobody means that the stream is not up yet."""
        for last in (False, False, True):
            try:
                return await self._bus.request(subject, payload, timeout_s=self._timeout_s, headers=headers or None)
            except NoResponders as error:
                if last:
                    raise StreamsUnavailable(
                        f"nobody stores {subject!r}: start nats-server with JetStream (-js), and a dispatcher"
                    ) from error
                await asyncio.sleep(_STARTING_S)
        raise InternalError("the last try neither succeeded nor failed")


class JetStreamBucket:
    """`Bucket` over a stream that holds one message per key."""

    def __init__(self, streams: JetStream, name: str) -> None:
        self._streams = streams
        self._name = name

    async def create(self, key: str, value: bytes) -> int:
        """Set what is not there."""
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set what is at `revision`."""
        return (await self._streams.publish(f"$KV.{self._name}.{key}", value, expected_last=revision)).seq

    async def get(self, key: str) -> Entry | None:
        """Give the value and its revision."""
        kept = await self._streams.last(f"KV_{self._name}", f"$KV.{self._name}.{key}")
        return None if kept is None else Entry(kept.data, kept.seq)

    async def delete(self, revision: int) -> bool:
        """Forget what is at `revision`: a bucket keeps one message per key, so a newer value has taken its place."""
        return await self._streams.delete(f"KV_{self._name}", revision)


class PulledMessage:
    """`Pulled`; its reply subject is where the server hears what becomes of it, and tells what is known of it."""

    __slots__ = ("_bus", "_reply", "_timeout_s", "deliveries", "kept")

    def __init__(self, bus: Bus, delivery: Delivery, timeout_s: float) -> None:
        self._bus = bus
        self._reply = delivery.reply
        self._timeout_s = timeout_s
        deliveries, seq, _, stored_ns, _ = _ack_tokens(delivery.reply)
        self.deliveries = deliveries
        self.kept = Kept(
            subject=delivery.subject,
            data=delivery.data,
            seq=seq,
            # In microseconds, as it is read by those that ask for it: jobs without an id are named by it, and have one name.
            stored_unix_s=stored_ns // 1000 / 1_000_000,
            headers=delivery.headers,
        )

    async def ack(self, *, sync: bool = False) -> None:
        """It is done."""
        await self._say(b"+ACK", sync=sync)

    async def nak(self, delay_s: float = 0.0) -> None:
        """Let it be delivered again."""
        body = b"-NAK" if delay_s <= 0 else b"-NAK " + codec.encode({"delay": int(delay_s * _NS)})
        await self._say(body, sync=False)

    async def term(self) -> None:
        """Let it never be delivered again."""
        await self._say(b"+TERM", sync=True)

    async def in_progress(self) -> None:
        """Say that it is still being worked on."""
        await self._say(b"+WPI", sync=False)

    async def _say(self, word: bytes, *, sync: bool) -> None:
        if sync:
            await self._bus.request(self._reply, word, timeout_s=self._timeout_s)
        else:
            await self._bus.publish(self._reply, word)


class JetStreamPuller:
    """`Puller`: one subscription for all of its requests."""

    def __init__(self, bus: Bus, stream: str, consumer: str, root: str, timeout_s: float) -> None:
        self._bus = bus
        self._subject = f"{_API}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._root = root
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._came: deque[PulledMessage] = deque()
        self._current = ""
        self._over: str | None = None
        self._stirred = asyncio.Event()

    def hear(self, delivery: Delivery) -> None:
        """Take in a message, or what the server says of the request that it belongs to."""
        if delivery.reply.startswith("$JS.ACK."):
            self._came.append(PulledMessage(self._bus, delivery, self._timeout_s))
        elif delivery.subject == self._current:
            self._over = delivery.headers.get("Status", "500")
        self._stirred.set()

    def lost(self) -> None:
        """The connection is gone, and with it the request: whoever waits has nothing to wait for."""
        self._over = self._over or _LOST
        self._stirred.set()

    async def fetch(self, batch: int, *, wait_s: float = 0.0) -> list[PulledMessage]:
        """Give what is there, or the first that come."""
        if not self._came:
            await self._ask(batch, wait_s)
            await self._until(batch if wait_s <= 0 else 1, max(wait_s, self._timeout_s) + _GRACE_S)
        # What follows in the same burst is in the same read of the socket, and so here already.
        found = list(self._came)
        self._came.clear()
        return found

    def leftovers(self) -> list[PulledMessage]:
        """Give what came and nobody fetched: it is handed back, so that another reader has it at once."""
        found = list(self._came)
        self._came.clear()
        return found

    async def _ask(self, batch: int, wait_s: float) -> None:
        self._current, self._over = f"{self._root}.{next(self._numbers)}", None
        want = {"batch": batch, "expires": int(wait_s * _NS)} if wait_s > 0 else {"batch": batch, "no_wait": True}
        await self._bus.publish(self._subject, codec.encode(want), reply=self._current)

    async def _until(self, enough: int, limit_s: float) -> None:
        """Return when enough has come, or no more will."""
        try:
            async with asyncio.timeout(limit_s):
                while len(self._came) < enough and self._over is None:
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError as error:
            if not self._came:
                raise BusTimeout(f"{self._subject} did not answer within {limit_s:g} s") from error
        if not self._came and self._over not in _NOTHING_THERE:
            raise _fault(self._over, self._subject)


@asynccontextmanager
async def _puller(bus: Bus, stream: str, consumer: str, timeout_s: float) -> AsyncIterator[JetStreamPuller]:
    root = bus.new_inbox()
    puller = JetStreamPuller(bus, stream, consumer, root, timeout_s)
    bus.on_disconnect(puller.lost)
    subscription = await bus.subscribe(f"{root}.*", puller.hear)
    try:
        yield puller
    finally:
        await subscription.drain()
        try:
            for pulled in puller.leftovers():
                await pulled.nak()
        except FleetError:
            pass  # there is no connection: it comes again by itself


def _fault(status: str | None, subject: str) -> FleetError:
    if status == _LOST:
        return BusDisconnected(f"the connection was lost while waiting on {subject!r}")
    if status == "503":
        return StreamsUnavailable(f"{subject!r} is not there: the consumer or its stream is gone")
    return StreamError(f"{subject!r} was refused with status {status}")


def _stream_config(spec: StreamSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": str(spec.retention),
        "storage": "memory" if spec.in_memory else "file",
        "discard": "old" if spec.drop_oldest else "new",
        "max_msgs": spec.max_messages or -1,
        "max_bytes": spec.max_bytes or -1,
        "max_age": int(spec.max_age_s * _NS),
        "max_msgs_per_subject": spec.max_per_subject or -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "duplicate_window": int(_window_s(spec) * _NS),
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": spec.name.startswith("KV_"),
    }


def _window_s(spec: StreamSpec) -> float:
    """A window longer than the age is refused by the server."""
    return min(spec.duplicate_window_s, spec.max_age_s) if spec.max_age_s else spec.duplicate_window_s


def _answer(delivery: Delivery, doing: str) -> dict[str, Any]:
    """Read what the server answered. Raises the typed error that it holds."""
    try:
        body = codec.decode(delivery.data)
    except BadRequest as error:
        raise StreamError(f"{doing}: the answer is no object: let nobody else reply there") from error
    fault = body.get("error")
    if isinstance(fault, dict):
        raise _refusal(fault, doing)
    return body


def _refusal(fault: Mapping[str, Any], doing: str) -> FleetError:
    code, said = int(fault.get("err_code", 0)), str(fault.get("description", ""))
    cls = QueueFull if _FULL in said and "exceeded" in said else _REFUSALS.get(code, StreamError)
    way_out = ": try again later, or raise its limits" if cls is QueueFull else ""
    return cls(f"{doing} failed: {said or code}{way_out}", err_code=code)


def _kept(answer: Delivery) -> Kept:
    headers = answer.headers
    return Kept(
        subject=headers["Nats-Subject"],
        data=answer.data,
        seq=int(headers[KEPT_HEADER]),
        stored_unix_s=_unix_s(headers["Nats-Time-Stamp"]),
        headers={name: value for name, value in headers.items() if name not in _OURS},
    )


_FRACTION = re.compile(r"\.(\d{1,9})")


def _unix_s(stamp: str) -> float:
    """Read RFC 3339 with nanoseconds, of which Python takes six digits."""
    return datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", stamp)).timestamp()


def _ack_tokens(reply: str) -> tuple[int, int, int, int, int]:
    """Give deliveries, stream sequence, consumer sequence, time of storing in ns, and how many are pending."""
    tokens = reply.split(".")
    # $JS.ACK.<stream>.<consumer>.a.b.c.d.e, or $JS.ACK.<domain>.<account>.<stream>.<consumer>.a.b.c.d.e[.<random>]
    start = 4 if len(tokens) == 9 else 6
    a, b, c, d, e = (int(token) for token in tokens[start : start + 5])
    return a, b, c, d, e
