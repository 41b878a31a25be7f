"""Streams on a `MemoryBroker`: the twin of a nats-server's JetStream, as its clients see it on their subjects; it knows no job.

It stands at the server's end, so `JetStream` speaks to it over any client of the broker as it does to the real one, and what a wire
does to a message it does to these. Times are those of the running loop. It does as nats-server 2.9.10 does; the contract suite
`tests/contract/test_streams.py` holds both to the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, matches
from common.bus.memory_reader import MemoryReader, Wanting
from common.bus.memory_store import MemoryStream, Refusal, shown
from common.bus.streams import Kept
from common.clock import LoopClock

_API = "$JS.API."

Answer = dict[str, Any]


@dataclass(slots=True, eq=False)
class Ear:
    """What the server itself hears on a subject."""

    subject: str
    pattern: list[str]
    arrive: Callable[[Delivery], None]
    queue: str = ""


class MemoryStreams:
    """The streams of one broker, from when it is made. A test may override `hear`, `say` and `removed`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.streams: dict[str, MemoryStream] = {}
        self.readers: dict[str, dict[str, MemoryReader]] = {}
        self._broker = broker
        self._clock = LoopClock()
        self._ears: dict[str, Ear] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._verbs: Mapping[str, Callable[..., Answer]] = {
            "STREAM.CREATE": self._create,
            "STREAM.UPDATE": self._update,
            "STREAM.INFO": self._info,
            "STREAM.PURGE": self._purge,
            "STREAM.MSG.DELETE": self._delete,
            "CONSUMER.DURABLE.CREATE": self._create_reader,
            "CONSUMER.INFO": self._reader_info,
        }
        # A server says nothing to a request for a stream or consumer that it has not, and so there is no 503 either.
        self._listen(f"{_API}>", _ignore)
        for verb in self._verbs:
            self._listen(f"{_API}{verb}.*" + (".*" if verb.startswith("CONSUMER") else ""), self._on_api)

    # -- what passes ---------------------------------------------------------------------------------------------

    def hear(self, handler: Callable[[Delivery], None], delivery: Delivery) -> None:
        """Take in whatever was sent to the server."""
        handler(delivery)

    def say(self, delivery: Delivery, to: str) -> None:
        """Send whatever the server sends."""
        self._broker.route(delivery, to=to)

    def stored(self, stream: MemoryStream, kept: Kept) -> None:
        """Called when a message was stored."""

    def removed(self, stream: MemoryStream, kept: Kept) -> None:
        """Called when a message was taken out."""

    def _listen(self, subject: str, handler: Callable[[Delivery], None]) -> None:
        self._deafen(subject)
        ear = Ear(subject, subject.split("."), lambda delivery: self.hear(handler, delivery))
        self._ears[subject] = ear
        self._broker.add(ear)

    def _deafen(self, subject: str) -> None:
        ear = self._ears.pop(subject, None)
        if ear is not None:
            self._broker.remove(ear)

    def _reply(
        self, to: str, data: bytes, headers: Mapping[str, str] = MappingProxyType({}), subject: str = ""
    ) -> None:
        if to:
            self.say(Delivery(subject or to, data, "", headers), to)

    # -- the API -------------------------------------------------------------------------------------------------

    def _on_api(self, delivery: Delivery) -> None:
        verb, *names = _verb(delivery.subject[len(_API) :].split("."))
        body = codec.decode(delivery.data) if delivery.data else {}
        try:
            answer = self._verbs[verb](body, *names)
        except Refusal as refusal:
            answer = {"error": refusal.wire}
        self._reply(delivery.reply, codec.encode(answer))

    def _stream(self, name: str) -> MemoryStream:
        if name not in self.streams:
            raise Refusal(404, 10059, "stream not found")
        stream = self.streams[name]
        stream.expire(self._clock.unix_s())
        return stream

    def _create(self, config: Answer, name: str) -> Answer:
        known = self.streams.get(name)
        if known is not None and known.config != config:
            raise Refusal(400, 10058, "stream name already in use with a different configuration")
        if known is None:
            self._require_apart(config, name)
            self._open(MemoryStream(name, dict(config)))
        return {"config": config, "state": _state(self.streams[name])}

    def _update(self, config: Answer, name: str) -> Answer:
        stream = self._stream(name)
        self._require_apart(config, name)
        self._close(stream)
        stream.update(config)
        self._open(stream)
        return {"config": config, "state": _state(stream)}

    def _require_apart(self, config: Answer, name: str) -> None:
        mine = [subject.split(".") for subject in config["subjects"]]
        for other in self.streams.values():
            if other.name != name and any(_meet(one, two) for one in mine for two in other.subjects):
                raise Refusal(400, 10065, "subjects overlap with an existing stream")

    def _open(self, stream: MemoryStream) -> None:
        self.streams[stream.name] = stream
        self.readers.setdefault(stream.name, {})
        for subject in stream.config["subjects"]:
            self._listen(subject, lambda delivery: self._on_message(stream, delivery))
        for subject in _gets(stream):
            self._listen(subject, lambda delivery: self._on_get(stream, delivery))

    def _close(self, stream: MemoryStream) -> None:
        for subject in (*stream.config["subjects"], *_gets(stream)):
            self._deafen(subject)

    def _info(self, body: Answer, name: str) -> Answer:
        del body
        stream = self._stream(name)
        return {"config": stream.config, "state": _state(stream)}

    def _delete(self, body: Answer, name: str) -> Answer:
        stream, seq = self._stream(name), int(body["seq"])
        kept = self._forget(stream, seq)
        if kept is None:
            raise Refusal(404, 10043, f"sequence {seq} not found")
        for reader in self.readers[name].values():
            reader.lost(kept)
        return {"success": True}

    def _purge(self, body: Answer, name: str) -> Answer:
        stream = self._stream(name)
        seqs = [kept.seq for kept in stream.after(str(body.get("filter") or ">"), 1)]
        for seq in seqs:
            for reader in self.readers[name].values():
                reader.settle(seq)
            self._forget(stream, seq)
        return {"success": True, "purged": len(seqs)}

    def _create_reader(self, body: Answer, name: str, reader: str) -> Answer:
        stream, config, readers = self._stream(name), dict(body["config"]), self.readers[name]
        known = readers.get(reader)
        subject = str(config.get("filter_subject") or ">").split(".")
        for other in readers.values():
            if stream.work_queue and other is not known and _meet(subject, other.subject.split(".")):
                raise Refusal(400, 10100, "filtered consumer not unique on workqueue stream")
        if known is None:
            self._begin(MemoryReader(stream, reader, config, self._exceeded))
        else:
            known.config = config
        return self._reader_info({}, name, reader)

    def _begin(self, reader: MemoryReader) -> None:
        self.readers[reader.stream.name][reader.name] = reader
        nexts, acks = _doors(reader)
        self._listen(nexts, lambda delivery: self._on_next(reader, delivery))
        self._listen(acks, lambda delivery: self._on_ack(reader, delivery))

    def _stop(self, reader: MemoryReader) -> None:
        for subject in _doors(reader):
            self._deafen(subject)
        timer = self._timers.pop((reader.stream.name, reader.name), None)
        if timer is not None:
            timer.cancel()

    def _reader_info(self, body: Answer, name: str, reader: str) -> Answer:
        del body
        self._stream(name)
        known = self.readers[name].get(reader)
        if known is None:
            raise Refusal(404, 10014, "consumer not found")
        self._tidy(known)
        return {
            "stream_name": name,
            "name": reader,
            "config": known.config,
            "delivered": {"consumer_seq": known.delivered, "stream_seq": known.next_seq - 1},
            "ack_floor": {"consumer_seq": 0, "stream_seq": known.settled},
            "num_ack_pending": len(known.pending),
            "num_redelivered": len(known.counts),
            "num_waiting": len(known.wanting),
            "num_pending": known.waiting() - len(known.again),
        }

    def _on_get(self, stream: MemoryStream, delivery: Delivery) -> None:
        """Give one message, as it lies there."""
        body = codec.decode(delivery.data) if delivery.data else {}
        stream.expire(self._clock.unix_s())
        named = delivery.subject.removeprefix(f"{_API}DIRECT.GET.{stream.name}").removeprefix(".")
        if named or "last_by_subj" in body:
            kept = stream.last(named or str(body["last_by_subj"]))
        else:
            kept = stream.next(str(body.get("next_by_subj") or ">"), int(body["seq"]))
        if kept is None:
            self._reply(delivery.reply, b"", {"Status": "404", "Description": "Message Not Found"})
            return
        stamp = datetime.fromtimestamp(kept.stored_unix_s, UTC).isoformat().replace("+00:00", "Z")
        found = shown(kept, stream.name, stamp)
        self._reply(delivery.reply, found.data, found.headers)

    # -- messages ------------------------------------------------------------------------------------------------

    def _on_message(self, stream: MemoryStream, delivery: Delivery) -> None:
        """Store what was published; who has asked for it is told, which may be never."""
        try:
            seq, known = stream.store(delivery.subject, delivery.data, delivery.headers, self._clock.unix_s())
        except Refusal as refusal:
            self._reply(delivery.reply, codec.encode({"error": refusal.wire, "stream": stream.name, "seq": 0}))
            return
        if not known:
            self.stored(stream, stream.messages[seq])
            for old in stream.surplus(delivery.subject):
                self._forget(stream, old)
        self._reply(
            delivery.reply, codec.encode({"stream": stream.name, "seq": seq} | ({"duplicate": True} if known else {}))
        )
        for reader in self.readers[stream.name].values():
            self._serve(reader)

    def _forget(self, stream: MemoryStream, seq: int) -> Kept | None:
        kept = stream.remove(seq)
        if kept is not None:
            self.removed(stream, kept)
        return kept

    # -- readers -------------------------------------------------------------------------------------------------

    def _on_next(self, reader: MemoryReader, delivery: Delivery) -> None:
        """Take a request for messages. One that does not wait is refused when there is none, and else gets what is there."""
        body = codec.decode(delivery.data) if delivery.data else {}
        batch, expires_s = int(body.get("batch") or 1), int(body.get("expires") or 0) / 1e9
        self._tidy(reader)
        there = reader.waiting()
        if body.get("no_wait") and not expires_s:
            if not there:
                self._reply(delivery.reply, b"", {"Status": "404", "Description": "No Messages"})
                return
            reader.wanting.append(Wanting(delivery.reply, batch, None))
        else:
            reader.wanting.append(Wanting(delivery.reply, batch, asyncio.get_running_loop().time() + expires_s))
        self._serve(reader)

    def _serve(self, reader: MemoryReader) -> None:
        """Deliver what can be, to whoever still listens, in the order of the requests and in turn."""
        now_s = asyncio.get_running_loop().time()
        self._tidy(reader)
        while reader.wanting:
            wanting = reader.wanting[0]
            taken = reader.take(now_s)
            if taken is None:
                break
            reader.wanting.pop(0)
            wanting.given += 1
            if wanting.given < wanting.batch:
                reader.wanting.append(wanting)
            self._deliver(reader, *taken, to=wanting.reply)
        for wanting in [one for one in reader.wanting if one.ends_s is None and one.given]:
            self._end(reader, wanting)
        self._schedule(reader)

    def _deliver(self, reader: MemoryReader, kept: Kept, deliveries: int, *, to: str) -> None:
        tokens = (deliveries, kept.seq, reader.delivered, round(kept.stored_unix_s * 1e6) * 1000, reader.waiting())
        reply = f"$JS.ACK.{reader.stream.name}.{reader.name}." + ".".join(map(str, tokens))
        self.say(Delivery(kept.subject, kept.data, reply, kept.headers), to)

    def _end(self, reader: MemoryReader, wanting: Wanting) -> None:
        reader.wanting.remove(wanting)
        self._reply(wanting.reply, b"", {"Status": "408", "Description": "Request Timeout"})

    def _tidy(self, reader: MemoryReader) -> None:
        """End requests whose time is over, and forget those that nobody listens for; line up what comes again."""
        now_s = asyncio.get_running_loop().time()
        reader.stream.expire(self._clock.unix_s())
        reader.due(now_s)
        for wanting in tuple(reader.wanting):
            if not self._broker.hearers(wanting.reply):
                reader.wanting.remove(wanting)
            elif wanting.ends_s is not None and wanting.ends_s <= now_s:
                self._end(reader, wanting)

    def _schedule(self, reader: MemoryReader) -> None:
        """Come back when something is due."""
        key = reader.stream.name, reader.name
        times = [one.ends_s for one in reader.wanting if one.ends_s is not None]
        if (due_s := reader.next_due_s()) is not None:
            times.append(due_s)
        timer = self._timers.get(key)
        if timer is not None and times and timer.when() == min(times) and not timer.cancelled():
            return
        if timer is not None:
            timer.cancel()
            del self._timers[key]
        if times:
            self._timers[key] = asyncio.get_running_loop().call_at(min(times), self._due, reader)

    def _due(self, reader: MemoryReader) -> None:
        del self._timers[reader.stream.name, reader.name]
        self._serve(reader)

    def _on_ack(self, reader: MemoryReader, delivery: Delivery) -> None:
        """Hear what becomes of a message. Whoever wants to know that it was heard is told."""
        seq, word, now_s = int(delivery.subject.split(".")[5]), delivery.data, asyncio.get_running_loop().time()
        if word.startswith(b"-NAK"):
            body = codec.decode(word[5:]) if len(word) > 5 else {}
            reader.hand_back(seq, now_s, int(body.get("delay", 0)) / 1e9)
        elif word.startswith(b"+WPI"):
            reader.progress(seq, now_s)
        else:
            reader.settle(seq)
            if reader.stream.work_queue:
                self._forget(reader.stream, seq)
        self._reply(delivery.reply, b"")
        self._serve(reader)

    def _exceeded(self, reader: MemoryReader, seq: int, deliveries: int) -> None:
        """Tell, once, of a message that is never delivered again."""
        told = {
            "type": "io.nats.jetstream.advisory.v1.max_deliver",
            "stream": reader.stream.name,
            "consumer": reader.name,
            "stream_seq": seq,
            "deliveries": deliveries,
        }
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{reader.stream.name}.{reader.name}"
        self.say(Delivery(subject, codec.encode(told)), subject)

    # -- its own life --------------------------------------------------------------------------------------------

    def crash(self, *, forgets: bool = False) -> None:
        """Begin anew with what lies on the disk: streams in memory are gone, and so are requests and the ids of what is gone;
        with `forgets` also what was delivered and not settled, as after a crash that came before the server wrote it down."""
        for stream in tuple(self.streams.values()):
            readers = self.readers[stream.name]
            for reader in readers.values():
                reader.crashed(forgets=forgets)
            if stream.config.get("storage") == "memory":
                self._close(stream)
                for reader in readers.values():
                    self._stop(reader)
                del self.streams[stream.name], self.readers[stream.name]
            else:
                stream.restarted(self._clock.unix_s())
                for reader in readers.values():
                    self._schedule(reader)

    def close(self) -> None:
        """End for good."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for subject in tuple(self._ears):
            self._deafen(subject)


_TWO_WORDS = 2
_THREE_WORDS = frozenset({"STREAM.MSG.DELETE", "CONSUMER.DURABLE.CREATE"})


def _verb(tokens: list[str]) -> list[str]:
    """Part the words of a request from the names behind them."""
    words = 3 if ".".join(tokens[:3]) in _THREE_WORDS else _TWO_WORDS
    return [".".join(tokens[:words]), *tokens[words:]]


def _ignore(_: Delivery) -> None:
    """Hear, and say nothing."""


def _doors(reader: MemoryReader) -> tuple[str, str]:
    """Give the subjects where requests for its messages come in, and where it is told what becomes of them."""
    name = f"{reader.stream.name}.{reader.name}"
    return f"{_API}CONSUMER.MSG.NEXT.{name}", f"$JS.ACK.{name}.*.*.*.*.*"


def _gets(stream: MemoryStream) -> tuple[str, str]:
    """Give the subjects where single messages are asked for: by a query, and the newest of a subject by that itself."""
    where = f"{_API}DIRECT.GET.{stream.name}"
    return where, f"{where}.>"


def _state(stream: MemoryStream) -> Answer:
    return {
        "messages": len(stream.messages),
        "bytes": stream.size_bytes,
        "first_seq": stream.first_seq,
        "last_seq": stream.last_seq,
    }


def _meet(one: list[str], other: list[str]) -> bool:
    """Tell whether a subject can fit both; it errs to the safe side."""
    return matches(one, other) or matches(other, one)
