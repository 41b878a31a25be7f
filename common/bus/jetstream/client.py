"""`Streams` spoken over any `Bus`: streams, consumers, buckets; it knows no job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from common import codec
from common.bus import KEPT_HEADER, Bus, Delivery
from common.bus.jetstream.protocol import API, IN_USE, NOT_FOUND, consumer_config, read_answer, read_kept, stream_config
from common.bus.jetstream.puller import pulling
from common.bus.streams import Bucket, ConsumerSpec, Entry, Kept, Progress, Puller, Stored, StreamSpec, StreamState
from common.errors import InternalError, NoResponders, StreamError, StreamsUnavailable

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"

_STARTING_S = 0.25
"""A server that was just started answers on its streams a moment later than on its port: ADR-22 waits so long, twice."""


class JetStream:
    """`Streams` over a bus that reaches a nats-server of 2.9 or newer."""

    def __init__(self, bus: Bus, *, timeout_s: float = 5.0) -> None:
        self._bus = bus
        self._timeout_s = timeout_s

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream, or bring it up to date."""
        config = stream_config(spec)
        try:
            await self._ask(f"STREAM.CREATE.{spec.name}", config)
        except StreamError as error:
            if error.details.get("err_code") != IN_USE:
                raise
            await self._ask(f"STREAM.UPDATE.{spec.name}", config)

    async def declare_consumer(self, spec: ConsumerSpec) -> None:
        """Create the consumer, or bring it up to date."""
        body = {"stream_name": spec.stream, "config": consumer_config(spec)}
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
            said[_EXPECTED] = str(expected_last)
        return _stored(await self._request(subject, data, said), subject)

    async def offer(self, subject: str, data: bytes, *, reply: str) -> None:
        """Send a message that is to be stored as the first of its subject, and don't wait."""
        await self._bus.publish(subject, data, reply=reply, headers={_EXPECTED: "0"})

    async def last(self, stream: str, subject: str) -> Kept | None:
        """Give the newest message of a subject."""
        # Asked for by its own subject, so that the server's permissions can tell whose it is.
        return await self._direct(f"{stream}.{subject}", None)

    async def next(self, stream: str, subject: str, from_seq: int) -> Kept | None:
        """Give the first message of a subject at `from_seq` or later."""
        return await self._direct(stream, {"seq": max(1, from_seq), "next_by_subj": subject})

    async def delete(self, stream: str, seq: int) -> bool:
        """Take a message out; False when it is not there."""
        try:
            await self._ask(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except StreamError as error:
            if error.details.get("err_code") in NOT_FOUND:
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
        delivered, settled = (int(info[name]["stream_seq"]) for name in ("delivered", "ack_floor"))
        return Progress(delivered, settled, int(info["num_pending"]))

    def puller(self, stream: str, consumer: str) -> AbstractAsyncContextManager[Puller]:
        """Read from a consumer."""
        return pulling(self._bus, stream, consumer, self._timeout_s)

    def bucket(self, name: str) -> Bucket:
        """Give a bucket."""
        return JetStreamBucket(self, name)

    async def _ask(self, verb: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        payload = b"" if body is None else codec.encode(body)
        return read_answer(await self._request(f"{API}.{verb}", payload, None), verb)

    async def _direct(self, where: str, query: Mapping[str, Any] | None) -> Kept | None:
        payload = b"" if query is None else codec.encode(query)
        answer = await self._request(f"{API}.DIRECT.GET.{where}", payload, None)
        if KEPT_HEADER in answer.headers:  # whatever else its headers say: they are its sender's
            return read_kept(answer)
        status = answer.headers.get("Status", "no status")
        if status == "404":
            return None
        raise StreamError(f"reading from {where} failed: {status} {answer.headers.get('Description', '')}")

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

    async def offer(self, key: str, value: bytes, *, reply: str) -> None:
        """Send what is to be set if it is not there."""
        await self._streams.offer(f"$KV.{self._name}.{key}", value, reply=reply)

    def offered(self, word: Delivery) -> int:
        """Read the server's word on an offer."""
        where = f"$KV.{self._name}.>"
        if word.no_responders:
            raise StreamsUnavailable(
                f"nobody stores {where!r}: start nats-server with JetStream (-js), and a dispatcher"
            )
        return _stored(word, where).seq

    async def get(self, key: str) -> Entry | None:
        """Give the value and its revision."""
        kept = await self._streams.last(f"KV_{self._name}", f"$KV.{self._name}.{key}")
        return None if kept is None else Entry(kept.data, kept.seq)

    async def delete(self, revision: int) -> bool:
        """Forget what is at `revision`: a bucket keeps one message per key, so a newer value has taken its place."""
        return await self._streams.delete(f"KV_{self._name}", revision)


def _stored(answer: Delivery, subject: str) -> Stored:
    """Read what the server says of a message that it was to store."""
    body = read_answer(answer, f"storing in {subject!r}")
    if "seq" not in body or "stream" not in body:
        raise StreamError(f"{subject!r} was answered by something that is no stream: let nobody reply there")
    return Stored(int(body["seq"]), bool(body.get("duplicate", False)))
