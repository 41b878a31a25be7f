"""A device whose joules are known to the last: jobs enacted on a simulated board's figures, and a sensor that sees them its way.

The board's power and speeds are the simulator's own functions. What each job really took follows from the rule that the agent
splits by, with perfect knowledge: of every phase, speed and watt at every moment.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from agents.energy.cadence import Cadence
from agents.energy.charge import Charge
from agents.energy.meter import Meter
from agents.energy.split import Work, shares
from agents.energy.usual import Profile
from agents.power import Reading
from agents.simulator.performance import load_s, token_s
from agents.simulator.power import Activity, advance, idle_state
from agents.simulator.profiles import DeviceProfile, catalogue
from common.energy import Energy
from common.frames import Phase
from tests.unit.agents.hand_clock import HandClock

CATALOGUE = catalogue()
DEVICES = tuple(CATALOGUE.devices)
_FIELDS = {Phase.LOAD: "loading", Phase.PREFILL: "prefilling", Phase.DECODE: "decoding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked of the device."""

    start_s: float
    model: str
    prompt_tokens: int = 60
    tokens: int = 100
    cold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From `at_s` on a job does this; no phase is the end of it."""

    at_s: float
    job: int
    phase: Phase | None
    tokens_s: float | None = None
    made: bool = False
    """A token is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a job really took."""

    net_j: float
    idle_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """How the device is read: how often, how far from regularly, and how wrong. `noise` and `gain` are standard deviations, as
    shares; `states` is what the reader says of itself."""

    hz: float = 5.0
    jitter: float = 0.3
    noise: float = 0.0
    gain: float = 0.0
    lag_s: float = 0.0
    states: float = 0.02
    learns_idle: bool = True


class Course:
    """What happened on the device, and its true power at each moment."""

    def __init__(self, device: DeviceProfile, jobs: Sequence[Job]) -> None:
        self.device = device
        self.jobs = jobs
        self.steps = sorted(_enact(device, jobs), key=lambda step: step.at_s)
        self.end_s = self.steps[-1].at_s
        state = idle_state(device, 0.0)
        doing: dict[int, Phase] = {}
        self._times, self._watts, self._energy = [0.0], [state.watts], [0.0]
        for step in self.steps:
            doing.pop(step.job, None)
            if step.phase is not None:
                doing[step.job] = step.phase
            counts = {name: sum(phase is kind for kind in doing.values()) for phase, name in _FIELDS.items()}
            state = advance(device, state, now_s=step.at_s, activity=Activity(**counts))
            self._times.append(step.at_s)
            self._watts.append(state.watts)
            self._energy.append(state.energy_j)

    def watts(self, at_s: float) -> float:
        """Give what is truly drawn."""
        return self._watts[max(0, bisect_right(self._times, at_s) - 1)]

    def energy_j(self, at_s: float) -> float:
        """Give what was truly drawn since 0."""
        place = bisect_right(self._times, at_s) - 1
        return self._energy[place] + self._watts[place] * (at_s - self._times[place])

    def taken(self) -> list[Taken]:
        """Give what each job took, by the rule of the agent and the truth."""
        idle_w = self.device.idle_w.value
        net, idle = [0.0] * len(self.jobs), [0.0] * len(self.jobs)
        doing: dict[int, Work] = {}
        for step, following in zip(self.steps, [*self.steps[1:], None], strict=True):
            doing.pop(step.job, None)
            if step.phase is not None:
                pace = self.pace(self.jobs[step.job].model)
                doing[step.job] = Work(phase=step.phase, tokens_s=step.tokens_s, pace=pace)
            seconds = 0.0 if following is None else following.at_s - step.at_s
            if not doing or not seconds:
                continue
            net_j = (self.watts(step.at_s + seconds / 2) - idle_w) * seconds
            for job, part in zip(doing, shares(list(doing.values())), strict=True):
                net[job] += part * net_j
                idle[job] += idle_w * seconds / len(doing)
        return [Taken(net_j=one, idle_j=other) for one, other in zip(net, idle, strict=True)]

    def pace(self, model: str) -> float:
        """Give the tokens that the model makes alone in a second."""
        return CATALOGUE.speed(self.device, CATALOGUE.models[model]).decode_tok_s.value


def _enact(device: DeviceProfile, jobs: Sequence[Job]) -> Iterator[Step]:
    """Run all jobs at once, as the simulator's engine does with slots for all of them."""
    queue: list[tuple[float, int, Iterator[Step]]] = []
    doing: dict[int, Phase] = {}
    for number, job in enumerate(jobs):
        steps = _run(device, number, job, doing)
        heapq.heappush(queue, (job.start_s, number, steps))
    while queue:
        at_s, number, steps = heapq.heappop(queue)
        # A step is said when it begins; the next one is due when that is over.
        step = next(steps, None)
        if step is None:
            continue
        yield replace(step, at_s=at_s)
        if step.phase is not None:
            heapq.heappush(queue, (at_s + step.at_s, number, steps))


def _run(device: DeviceProfile, number: int, job: Job, doing: dict[int, Phase]) -> Iterator[Step]:
    """Give the steps of one job; for the time being `at_s` is how long each takes."""
    model = CATALOGUE.models[job.model]
    speed = CATALOGUE.speed(device, model)
    if job.cold:
        doing[number] = Phase.LOAD
        yield Step(at_s=load_s(device, model), job=number, phase=Phase.LOAD)
    doing[number] = Phase.PREFILL
    reading = sum(phase is Phase.PREFILL for phase in doing.values())
    yield Step(at_s=job.prompt_tokens * reading / speed.prefill_tok_s.value, job=number, phase=Phase.PREFILL)
    doing[number] = Phase.DECODE
    for token in range(job.tokens):
        streams = sum(phase is Phase.DECODE for phase in doing.values())
        seconds = token_s(device, speed.decode_tok_s.value, streams)
        yield Step(at_s=seconds, job=number, phase=Phase.DECODE, tokens_s=1 / seconds, made=token > 0)
    del doing[number]
    yield Step(at_s=0.0, job=number, phase=None, made=True)


def metered(course: Course, sensor: Sensor, random: Random) -> tuple[list[Energy], Meter]:
    """Have the agent's meter follow a course through a sensor; gives the receipts and the meter."""
    clock = HandClock(0.0)
    device = course.device
    profile = Profile(idle_w=device.idle_w.value, busy_w=device.decode_w.value)
    meter = Meter(clock, profile=lambda: profile, loaded=lambda: True)
    charges = [Charge(meter) for _ in course.jobs]
    receipts: dict[int, Energy] = {}
    cadence = Cadence(busy_hz=sensor.hz, idle_s=10.0)
    gain = random.gauss(1.0, sensor.gain)
    events = sorted(_heard(course, random))
    # An agent that has just started learns the baseline first; one that never idled has only the profile.
    read_s = 0.0 if sensor.learns_idle else course.jobs[0].start_s - 0.5
    while events:
        due_s = cadence.due_s(read_s, meter.moments) + random.uniform(0, sensor.jitter) / sensor.hz
        if not sensor.learns_idle and not meter.moments.busy:
            due_s = float("inf")
        at_s, number, what = events[0]
        if due_s < at_s:
            clock.now_s = read_s = due_s
            seen_w = max(0.0, course.watts(due_s - sensor.lag_s) * gain * random.gauss(1.0, sensor.noise))
            meter.read(
                Reading(
                    at_s=due_s,
                    watts=seen_w,
                    rail="VDD_IN",
                    source="known",
                    measured=True,
                    uncertainty=sensor.states,
                )
            )
            continue
        events.pop(0)
        clock.now_s = at_s
        _tell(charges[number], what, course, course.jobs[number])
        if what == "end":
            receipt = charges[number].take()
            assert receipt is not None
            receipts[number] = receipt
            charges[number].leave()
    return [receipts[number] for number in range(len(course.jobs))], meter


def _heard(course: Course, random: Random) -> Iterator[tuple[float, int, str]]:
    """Say when the agent hears of each step: it sends a job a little before the engine begins, and hears tokens a little after."""
    for number, job in enumerate(course.jobs):
        yield job.start_s - random.uniform(0.001, 0.008), number, "begin"
        heard_s = 0.0
        for step in course.steps:
            if step.job == number and step.made:
                heard_s = max(heard_s, step.at_s + random.uniform(0.001, 0.008))
                yield heard_s, number, "token"
        yield heard_s + 0.001, number, "end"


def _tell(charge: Charge, what: str, course: Course, job: Job) -> None:
    if what == "begin":
        takes_s = load_s(course.device, CATALOGUE.models[job.model])
        charge.begin(Phase.LOAD if job.cold else Phase.PREFILL, pace=course.pace(job.model), load_s=takes_s)
    elif what == "token":
        charge.hear()
