"""A fleet in virtual time whose speeds shift, routed by the real decision over heartbeats; nothing of it is measured on a device.

Devices queue, answer at their true speed, and report what they measured of finished jobs as agents do: a moving average. The
dispatcher sees only that. It knows neither what is learned nor how it is drawn.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from common.messages import Heartbeat, ModelInfo, Speed
from dispatcher.fleet import Device, Fleet, tracked
from dispatcher.outcomes import Candidate, Decision, Terms
from dispatcher.routing import Ask, Features, RoutingPolicy, Table, decide

TOPICS = ("code", "chat", "knowledge")
MODEL = "qwen2.5:3b"
SIZE_BYTES = 1_900_000_000
PREFILL_TIMES = 12.0
"""Prefill over decode, between a Pi (3) and an Orin (35)."""

SPEED_ALPHA = 0.3
"""How agents average their speeds (see `agents.speeds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What happens in the middle: the device that is fastest throttles to `slower` of its speed, and one of the others becomes
    `faster` times as fast."""

    slower: float = 1 / 3
    faster: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One world: `jobs` in all, the shift after `shift_at` of them. `load` is the share of the fleet's first capacity that is asked
    for; `topical` the part of the questions that are of the topic that the fastest device is for."""

    jobs: int = 3000
    shift_at: int = 1000
    devices: int = 4
    load: float = 0.3
    topical: float = 0.6
    shift: Shift = Shift()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One job as it went, and what the best device would have made of it. Seconds."""

    number: int
    at_s: float
    done_s: float
    latency_s: float
    best_s: float
    chosen: Terms
    rival: Terms | None

    @property
    def regret_s(self) -> float:
        """Give what another choice would have spared."""
        return self.latency_s - self.best_s


@dataclass(frozen=True, slots=True)
class _Question:
    at_s: float
    wanted: Features
    tokens: int
    seed: int


@dataclass(slots=True)
class _Board:
    """A device as it is, beside what it says."""

    device: Device
    tps: float
    free_s: float = 0.0

    def takes_s(self, question: _Question, now_s: float) -> float:
        """Give when an answer would be there, from now: the queue, the prefill, every token."""
        return max(0.0, self.free_s - now_s) + self.first_s(question) + question.tokens / self.tps

    def first_s(self, question: _Question) -> float:
        return question.wanted.prompt_tokens / (PREFILL_TIMES * self.tps)


@dataclass(slots=True)
class World:
    """Runs one plan. `policy` gives the weights at each job, `hear` is told of each job when it is done, `explores` says whether
    a job tries the second best."""

    plan: Plan
    seed: int
    policy: Callable[[], RoutingPolicy]
    hear: Callable[[Served], None]
    explores: Callable[[int], bool] = lambda _: False
    _boards: dict[str, _Board] = field(default_factory=dict)
    _ends: list[tuple[float, int, str, _Question, Served]] = field(default_factory=list)

    def run(self) -> Iterator[Served]:
        """Give each job in the order of arrival."""
        rng = np.random.default_rng(self.seed)
        self._boards = _boards(self.plan, rng)
        table = Table()
        for number, question in enumerate(_questions(self.plan, self._boards, rng)):
            if number == self.plan.shift_at:
                self._shift(rng)
            self._finish(question.at_s)
            yield self._serve(number, question, table)
        self._finish(float("inf"))

    def _serve(self, number: int, question: _Question, table: Table) -> Served:
        fleet = Fleet({name: board.device for name, board in self._boards.items()})
        ask = Ask(
            model="auto",
            device=None,
            wanted=question.wanted,
            strategy="hybrid",
            seed=question.seed,
            explores=self.explores(question.seed),
        )
        decision = decide(ask, fleet, self.policy(), {}, table)
        chosen = self._seat(decision, question.at_s)
        board = self._boards[chosen.device]
        latency_s = board.takes_s(question, question.at_s)
        served = Served(
            number=number,
            at_s=question.at_s,
            done_s=question.at_s + latency_s,
            latency_s=latency_s,
            best_s=min(other.takes_s(question, question.at_s) for other in self._boards.values()),
            chosen=chosen.terms,
            rival=next((one.terms for one in decision.candidates if one.device != chosen.device), None),
        )
        board.free_s = served.done_s
        board.device = replace(board.device, own=board.device.own + 1)
        heapq.heappush(self._ends, (served.done_s, number, chosen.device, question, served))
        return served

    def _seat(self, decision: Decision, now_s: float) -> Candidate:
        """Take the best that has room, as delivery does, or whose slot comes free first."""
        for one in decision.candidates:
            if self._boards[one.device].free_s <= now_s:
                return one
        return min(decision.candidates, key=lambda one: self._boards[one.device].free_s)

    def _finish(self, now_s: float) -> None:
        """Let devices report what was finished by now."""
        while self._ends and self._ends[0][0] <= now_s:
            _, _, name, question, served = heapq.heappop(self._ends)
            board = self._boards[name]
            device = board.device
            known = device.beat.speeds[MODEL]
            speed = replace(
                known,
                decode_tps=_mixed(known.decode_tps, board.tps),
                prefill_tps=_mixed(known.prefill_tps, PREFILL_TIMES * board.tps),
            )
            board.device = replace(
                device,
                own=device.own - 1,
                beat=replace(device.beat, seq=device.beat.seq + 1, speeds={MODEL: speed}),
                track=tracked(device.track, ok=True, first_token_s=board.first_s(question)),
            )
            self.hear(served)

    def _shift(self, rng: np.random.Generator) -> None:
        ordered = sorted(self._boards.values(), key=lambda board: board.tps)
        ordered[-1].tps *= self.plan.shift.slower
        ordered[int(rng.integers(0, len(ordered) - 1))].tps *= self.plan.shift.faster


def _mixed(known: float | None, new: float) -> float:
    return new if known is None else known + SPEED_ALPHA * (new - known)


def _boards(plan: Plan, rng: np.random.Generator) -> dict[str, _Board]:
    """Draw devices of one model: 8 to 40 tokens/s, each for a topic; the fastest is for the topic that is asked about most."""
    speeds = np.sort(np.exp(rng.uniform(np.log(8.0), np.log(40.0), plan.devices)))[::-1]
    boards: dict[str, _Board] = {}
    for number, tps in enumerate(speeds):
        model = ModelInfo(name=MODEL, size_bytes=SIZE_BYTES, parameters_b=3.1, loaded=True)
        beat = Heartbeat(
            device=f"dev-{number}",
            boot="b",
            seq=1,
            models=(model,),
            speeds={MODEL: Speed(jobs=9, decode_tps=float(tps), prefill_tps=PREFILL_TIMES * float(tps))},
            topics=(TOPICS[number % len(TOPICS)],),
        )
        boards[beat.device] = _Board(Device(beat, {MODEL: model}), float(tps))
    return boards


def _questions(plan: Plan, boards: dict[str, _Board], rng: np.random.Generator) -> Iterator[_Question]:
    """Draw a Poisson stream of questions: prompts of some 60 tokens, answers of some 120, both log-normal."""
    mean_tokens = 140.0
    capacity = sum(board.tps for board in boards.values()) / mean_tokens
    at_s = 0.0
    for _ in range(plan.jobs):
        at_s += float(rng.exponential(1.0 / (plan.load * capacity)))
        prompt = int(np.clip(rng.lognormal(np.log(60), 0.6), 8, 800))
        tokens = int(np.clip(rng.lognormal(np.log(120), 0.5), 8, 600))
        topic = 0 if rng.random() < plan.topical else int(rng.integers(1, len(TOPICS)))
        near = {name: float(rng.uniform(0.0, 0.3)) for name in TOPICS}
        near[TOPICS[topic]] = float(rng.uniform(0.5, 0.9))
        wanted = Features(
            prompt_tokens=prompt,
            output_tokens=200,
            context_tokens=prompt * 2 + 200,
            complexity=float(rng.uniform(0.0, 0.5)),
            topics=near,
            images=False,
            tools=False,
        )
        yield _Question(at_s, wanted, tokens, int(rng.integers(0, 2**32)))
