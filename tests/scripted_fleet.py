"""A dispatcher's side of the bus whose answers a test writes: a peer on a real NATS connection; it knows no routing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from common import codec, frames
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.codec import Encoding
from common.energy import Energy
from common.errors import FleetError, JobCancelled
from common.messages import Heartbeat, ModelInfo, ToolCall, Usage
from common.running import Running, RunningJob, RunningQuery
from common.subjects import QUEUE_DISPATCH, Subjects

PREFIX = "llm.v1"
KEEP_ALIVE_S = 0.5
"""Well below the 2.5 s of silence after which a producer gives a dispatcher up."""


class ScriptedJob:
    """One job that a producer sent, and the verbs to answer it frame by frame."""

    def __init__(self, bus: Bus, delivery: Delivery) -> None:
        self.request: dict[str, Any] = codec.decode(delivery.data)
        self.id = str(self.request["job"])
        self.tenant = delivery.subject.rsplit(".", 1)[1]
        self.cancelled = asyncio.Event()
        self._bus = bus
        self.reply = delivery.reply
        self._tokens = 0
        self._note: frames.RouteNote | None = None
        self.cache: dict[str, Any] | None = None
        """What the account says of the cache."""

    async def ack(self) -> None:
        """Accept the job."""
        await self.send(frames.Ack(self.id))

    async def route(
        self, device: str = "nano", model: str = "llama3.2:1b", reason: str = "hybrid", attempt: int = 1
    ) -> None:
        """Say where it runs."""
        self._note = frames.RouteNote(self.id, device, model, reason, attempt)
        await self.send(self._note)

    async def hit(self, told: dict[str, Any], model: str = "llama3.2:3b") -> None:
        """Say that the answer comes from the cache."""
        self.cache = told
        self._note = frames.RouteNote(self.id, "cache", model, "exact: answered 34 s ago by pi5-1", 1, told)
        await self.send(self._note)

    async def keep_alive(self, phase: str = "load", eta_s: float | None = None, position: int | None = None) -> None:
        """Say that it goes on in silence."""
        await self.send(frames.KeepAlive(frames.Phase(phase), eta_s, position))

    async def stay(
        self, until: asyncio.Event, phase: str = "queue", eta_s: float | None = None, position: int | None = None
    ) -> None:
        """Say that it goes on in silence, as often as a dispatcher does, until a test has seen enough; or until it is cancelled."""
        while not until.is_set() and not self.cancelled.is_set():
            await self.keep_alive(phase, eta_s, position)
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await until.wait()
            except TimeoutError:
                pass  # say it again

    async def token(self, text: str) -> None:
        """Send a piece of text."""
        await self.send(frames.Token(self._tokens, text))
        self._tokens += 1

    async def tokens(self, *texts: str) -> None:
        """Send pieces of text."""
        for text in texts:
            await self.token(text)

    async def end(
        self,
        finish: str = "stop",
        tool_calls: tuple[ToolCall, ...] = (),
        embeddings: tuple[str, ...] = (),
        energy: Energy | None = None,
    ) -> None:
        """Complete the answer."""
        usage = Usage(prompt_tokens=7, completion_tokens=self._tokens)
        await self.send(
            frames.End(
                finish=frames.Finish(finish),
                tokens=self._tokens,
                usage=usage,
                tool_calls=tool_calls,
                embeddings=embeddings,
                energy=energy,
                route=self.account(),
            )
        )
        await self._bus.publish(self.reply, frames.END_OF_STREAM)

    async def embed(self, *embeddings: str) -> None:
        """Complete an answer that has embeddings, packed."""
        await self.ack()
        account = self.account()
        usage = Usage(prompt_tokens=2 * len(embeddings))
        await self.send(
            frames.End(usage=usage, embeddings=embeddings, route={**account, "model": self.request["model"]})
        )
        await self._bus.publish(self.reply, frames.END_OF_STREAM)

    async def fail(self, error: FleetError) -> None:
        """End the answer with an error."""
        await self.send(frames.Err(error))
        await self._bus.publish(self.reply, frames.END_OF_STREAM)

    async def send(self, frame: frames.Frame) -> None:
        """Send any frame."""
        await self._bus.publish(self.reply, codec.encode(frames.to_wire(frame), Encoding.MSGPACK))

    def account(self) -> dict[str, Any]:
        """What a dispatcher says of a job in the end."""
        note = self._note or frames.RouteNote(self.id, "nano", "llama3.2:1b", "hybrid", 1)
        return {
            **({} if self.cache is None else {"cache": self.cache}),
            "job": self.id,
            "device": note.device,
            "model": note.model,
            "reason": note.reason,
            "strategy": "hybrid",
            "score": 0.81,
            "simulated": True,
            "terms": {"tokens": 0.9, "topic": 0.5, "health": 0.88},
            "weights": {"tokens": 0.4, "topic": 0.2, "health": 0.4},
            "attempts": [{"device": note.device, "model": note.model, "outcome": "ok", "s": 0.5}],
            "timings": {
                "queue_s": 0.001,
                "accept_s": 0.002,
                "first_token_s": 0.31,
                "total_s": 1.25,
                "decode_tps": 17.4,
            },
        }


Script = Callable[[ScriptedJob], Awaitable[None]]


async def greet(job: ScriptedJob) -> None:
    """The ordinary answer: "Hello there!" in three pieces."""
    await job.ack()
    await job.route()
    await job.tokens("Hello", " there", "!")
    await job.end()


class ScriptedFleet:
    """Answers every job by `script`. `jobs` has those that came, `cancels` the ids whose cancel was heard."""

    def __init__(self, bus: Bus, tasks: asyncio.TaskGroup) -> None:
        self.bus = bus
        self.script: Script = greet
        self.jobs: asyncio.Queue[ScriptedJob] = asyncio.Queue()
        self.cancels: asyncio.Queue[str] = asyncio.Queue()
        self.heard: set[str] = set()
        self.cache: object = None
        """What the dispatcher's statistics say of its cache."""
        self.house: list[RunningJob] = []
        """The jobs that it says it has; none of them needs to be any that came."""
        self._running: dict[str, ScriptedJob] = {}
        self._asked: set[str] = set()
        self._forgotten: set[str] = set()
        self._tasks = tasks
        self._beats = 0

    def forget(self) -> None:
        """Answer as at first and know of no job, for the next test of those that share a fleet.

        A cancel that is still under way for a job of the last one is nobody's then.
        """
        self.script = greet
        self.house = []
        self.jobs, self.cancels = asyncio.Queue(), asyncio.Queue()
        self._forgotten |= self._asked
        self._asked.clear()

    async def beat(
        self,
        device: str = "nano",
        models: tuple[str | ModelInfo, ...] = ("llama3.2:1b",),
        context_tokens: int | None = None,
        **fields: Any,
    ) -> None:
        """Send one heartbeat. Its interval is long, so that a device lives as long as a test.

        A model whose name begins with `embed` can only embed.
        """
        self._beats += 1
        beat = Heartbeat(
            device=device,
            boot="b1",
            seq=self._beats,
            interval_s=fields.pop("interval_s", 60.0),
            models=tuple(
                model
                if isinstance(model, ModelInfo)
                else ModelInfo(
                    name=model,
                    loaded=True,
                    parameters_b=1.2,
                    context_tokens=context_tokens,
                    capabilities=_capabilities(model),
                )
                for model in models
            ),
            simulated=True,
            **fields,
        )
        await self.bus.publish(Subjects(PREFIX).heartbeat(device), codec.encode(codec.plain(beat)))
        await self.bus.flush()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, until the context ends."""
        self._tasks.create_task(work)

    async def connected_again(self) -> None:
        """Return when the bus is back after an outage."""
        while True:
            try:
                await self.bus.flush()
            except FleetError:
                await asyncio.sleep(0.05)
            else:
                return

    def hear_job(self, delivery: Delivery) -> None:
        job = ScriptedJob(self.bus, delivery)
        self._running[job.id] = job
        self._asked.add(job.id)
        self._forgotten.discard(job.id)
        self.jobs.put_nowait(job)
        self._tasks.create_task(self._play(job))

    def hear_cancel(self, delivery: Delivery) -> None:
        job_id = delivery.subject.split(".")[-3]
        if job_id not in self._forgotten:
            self.cancels.put_nowait(job_id)
        if job_id in self._running:
            self._running[job_id].cancelled.set()
            if delivery.reply:  # an order, which all who wait for the job are told of
                self._tasks.create_task(self._running[job_id].fail(JobCancelled("the job was cancelled")))
        if delivery.reply:
            told = codec.encode({"cancelled": job_id in self._running})
            self._tasks.create_task(self.bus.publish(delivery.reply, told))

    def hear_stats(self, delivery: Delivery) -> None:
        """Say, as a dispatcher does, which devices it has heard."""
        data = {"devices": dict.fromkeys(self.heard, "alive"), "cache": self.cache}
        told = {"name": "llm-dispatcher", "endpoints": [{"data": data}]}
        self._tasks.create_task(self.bus.publish(delivery.reply, codec.encode(told)))

    def hear_running(self, delivery: Delivery) -> None:
        """Say, as a dispatcher does, which jobs it has."""
        asked = codec.build(RunningQuery, codec.decode_request(delivery.data))
        waiting = sum(job.phase is frames.Phase.QUEUE for job in self.house)
        meant = [job for job in self.house if asked.means(job.tenant, job.id)]
        told = Running(
            dispatcher="scripted",
            running=len(self.house),
            waiting=waiting,
            jobs=tuple(meant[: asked.limit]),
            more=len(meant) > asked.limit,
        )
        self._tasks.create_task(self.bus.publish(delivery.reply, codec.encode(codec.plain(told))))

    def hear_beat(self, delivery: Delivery) -> None:
        self.heard.add(str(codec.decode(delivery.data)["device"]))

    async def _play(self, job: ScriptedJob) -> None:
        try:
            await self.script(job)
        finally:
            del self._running[job.id]


def _capabilities(model: str) -> tuple[str, ...]:
    return ("embedding",) if model.startswith("embed") else ("completion", "tools")


@asynccontextmanager
async def scripted_fleet(url: str) -> AsyncIterator[ScriptedFleet]:
    """Join the bus as a dispatcher with one device, until the context ends."""
    async with connect_nats(NatsOptions(urls=(url,), name="scripted-fleet")) as bus, asyncio.TaskGroup() as tasks:
        fleet = ScriptedFleet(bus, tasks)
        for kind in ("chat", "embed"):
            await bus.subscribe(f"{PREFIX}.{kind}.*", fleet.hear_job, queue=QUEUE_DISPATCH)
        await bus.subscribe(f"{PREFIX}.ctl.*.cancel.*", fleet.hear_cancel)
        await bus.subscribe(f"{PREFIX}.hb.*", fleet.hear_beat)
        await bus.subscribe("$SRV.STATS.llm-dispatcher", fleet.hear_stats)
        await bus.subscribe(f"{PREFIX}.running", fleet.hear_running)
        await bus.flush()
        yield fleet
