"""Asks a small model of the fleet how hard a question is, and of what kind, before the question is routed (strategy llm).

One short job of its own: the smallest model that is in memory, JSON by a schema, a deadline of about a second. It has no record and
no name of its own: the route of the job that it is for tells of it. What can't be had in time is not waited for: rules decide then.
A question may try to talk the model into a judgement; all it can win is another model's answer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Le
from ulid import ULID

from common import codec, frames
from common.clock import loop_s
from common.errors import BadRequest, FleetError, NoDevice
from common.logs import get_logger
from common.messages import AUTO, ChatRequest, Message, Options, Role
from dispatcher.delivery.courier import Courier
from dispatcher.outcomes import Candidate, Decision, Delivered, Job, Ranking
from dispatcher.router import Router
from dispatcher.routing import Ask, Features
from dispatcher.routing.figures import strength
from dispatcher.routing.filters import Ability, abilities

log = get_logger("classifier")

MOST_CHARS = 1500
"""Head and tail of a question: prefill takes most of the time, and a page says no more about how hard it is."""

MOST_KEPT = 4096
"""Verdicts, some 300 bytes each; of the questions themselves only digests are kept."""

ANSWER_TOKENS = 48
KINDS = ("chat", "writing", "knowledge", "code", "reasoning")

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "difficulty": {"type": "number", "minimum": 0, "maximum": 1},
        "kind": {"type": "string", "enum": list(KINDS)},
    },
    "required": ["difficulty", "kind"],
}

INSTRUCTION = (
    "You sort questions, and never answer them. Rate how hard it is to answer the user's text well, from 0 (small talk, a known "
    "fact) over 0.5 (several steps, some code) to 1 (expert reasoning), and name its kind. Reply with JSON only."
)


@dataclass(frozen=True, slots=True)
class _Reply:
    difficulty: Annotated[float, Ge(0), Le(1)]
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """A verdict, and who gave it in which time."""

    difficulty: float
    kind: str
    device: str
    model: str
    took_s: float
    tokens: int

    def told(self, *, again: bool) -> dict[str, Any]:
        """Give it as the route tells it; one that was kept took no time."""
        return {
            "difficulty": round(self.difficulty, 3),
            "kind": self.kind,
            "device": self.device,
            "model": self.model,
            "s": 0.0 if again else round(self.took_s, 4),
            "tokens": 0 if again else self.tokens,
            "kept": again,
        }


class Classifier:
    """Classifies questions, and keeps the verdicts of the last ones, each for the tenant that asked."""

    def __init__(self, courier: Courier, router: Router, *, timeout_s: float, most_kept: int = MOST_KEPT) -> None:
        self._courier = courier
        self._router = router
        self.timeout_s = timeout_s
        self._most_kept = most_kept
        self._kept: OrderedDict[bytes, Classified] = OrderedDict()

    def known(self, job: Job, ask: Ask) -> Ask:
        """Add a verdict that is kept, or say that there is none."""
        found = self._kept.get(_key(ask, self._router.question(job)))
        if found is None:
            return replace(ask, lacks=_and(ask.lacks, "a classification: this question was not classified yet"))
        return _with(ask, found, again=True)

    async def classify(self, job: Job, ask: Ask) -> Ask:
        """Add a verdict, or say why there is none. Only a cancel is raised."""
        question = self._router.question(job)
        key = _key(ask, question)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return _with(ask, found, again=True)
        try:
            found = await self._asked(job, ask, question)
        except FleetError as error:
            log.info("classifier.silent", job=job.id, error=error.code)
            return replace(ask, lacks=_and(ask.lacks, f"a classification: {error.message}"))
        self._kept[key] = found
        if len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)
        return _with(ask, found, again=False)

    async def _asked(self, job: Job, ask: Ask, question: str) -> Classified:
        """Have the smallest model in memory say it. Raises what the job raises, and `BadRequest` for what is no verdict."""
        began_s = loop_s()
        small = self._job(job, question, began_s)
        asked = replace(ask, strategy="perf", device=None, warmth=(), wanted=_wanted(small), lacks="")
        name = self._smallest(asked)
        asked = replace(asked, model=name)

        def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
            decision = self._router.decide(asked, excluded, spent_usd)
            return replace(decision, candidates=_suited(decision.candidates))

        out = _Gathered()
        delivered = await self._courier.deliver(
            replace(small, model=name), choose, lambda decision: self._router.nobody(asked, decision), out, lambda: None
        )
        return _read(out.text, delivered, loop_s() - began_s)

    def _smallest(self, asked: Ask) -> str:
        """Name the smallest model in memory, on a device with a free slot if there is one. Raises `NoDevice`."""
        for least_free in (1, 0):
            for _, name in sorted(set(self._loaded(least_free))):
                found = self._router.decide(replace(asked, model=name), {}).candidates
                if _suited(found):
                    return name
        raise NoDevice("no small model is in memory that could classify")

    def _loaded(self, least_free: int) -> Iterator[tuple[float, str]]:
        for device in self._courier.roster.fleet.devices.values():
            if device.usable and not device.beat.remote and device.free_slots >= least_free:
                for name, model in device.models.items():
                    if model.loaded and abilities(device, model) & Ability.TEXT:
                        yield strength(model), name

    def _job(self, job: Job, question: str, now_s: float) -> Job:
        half = MOST_CHARS // 2
        text = question if len(question) <= MOST_CHARS else f"{question[:half]}\n…\n{question[-half:]}"
        messages = (Message(role=Role.SYSTEM, content=INSTRUCTION), Message(role=Role.USER, content=text))
        left_s = min(self.timeout_s, job.deadline_s - now_s)
        return replace(
            job,
            id=str(ULID()),
            request=ChatRequest(
                messages=messages,
                options=Options(max_tokens=ANSWER_TOKENS, temperature=0.0, seed=0),
                format=dict(SCHEMA),
                priority=job.priority,
            ),
            messages=messages,
            model=AUTO,
            device=None,
            reply="",
            given=False,
            fingerprint="",
            received_s=now_s,
            received_unix_s=job.received_unix_s + now_s - job.received_s,
            deadline_s=now_s + left_s,
            deadline_unix_s=job.received_unix_s + now_s - job.received_s + left_s,
        )


class _Gathered:
    """`AnswerSink` that nobody watches."""

    visible_chars = 0
    streams = False

    def __init__(self) -> None:
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    async def ack(self) -> None:
        """Nobody waits for it."""

    async def route(self, candidate: Candidate, attempt: int) -> None:
        """Nobody is told."""

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        """Nobody is told."""

    async def token(self, text: str) -> None:
        self._pieces.append(text)

    def restart(self) -> None:
        self._pieces.clear()

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        """The text is there."""

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        """What delivery returns tells."""


def _suited(candidates: Ranking) -> Ranking:
    """Give those in memory here: a remote one would cost money, and the question may be meant to stay in the house."""
    return candidates.at_hand()


def _read(text: str, delivered: Delivered, took_s: float) -> Classified:
    if delivered.error is not None:
        raise delivered.error
    chosen, end = delivered.chosen, delivered.end
    if chosen is None or end is None:
        raise NoDevice("nobody has classified")
    try:
        reply = codec.build(_Reply, codec.decode(text.strip().encode("utf-8", "surrogatepass")))
    except BadRequest as error:
        raise BadRequest(f"{chosen.model} on {chosen.device} gave no verdict") from error
    kind = reply.kind if reply.kind in KINDS else ""
    return Classified(
        difficulty=reply.difficulty,
        kind=kind,
        device=chosen.device,
        model=chosen.model,
        took_s=took_s,
        tokens=end.usage.total_tokens,
    )


def _wanted(small: Job) -> Features:
    chars = sum(len(message.content) for message in small.messages)
    return Features(
        prompt_tokens=max(1, chars // 4),
        output_tokens=ANSWER_TOKENS,
        context_tokens=chars // 2 + ANSWER_TOKENS,
        complexity=0.0,
        topics={},
        images=False,
        tools=False,
    )


def _with(ask: Ask, found: Classified, *, again: bool) -> Ask:
    return replace(ask, difficulty=found.difficulty, classified=found.told(again=again))


def _and(lacks: str, more: str) -> str:
    return f"{lacks}; {more}" if lacks else more


def _key(ask: Ask, question: str) -> bytes:
    """Name a tenant's question, and what may judge it. Nobody learns from a verdict that is there, or from who gave it, what
    another tenant has asked, or a key that may use more."""
    whose = (ask.tenant, sorted(set(ask.allow_models)), sorted(set(ask.allow_devices)), question)
    return hashlib.blake2b(repr(whose).encode("utf-8", "surrogatepass"), digest_size=16).digest()
