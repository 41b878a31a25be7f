"""How far receipts are from the truth, over all boards; run as a module, it prints the table. It knows no limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.unit.agents.energy.known import CATALOGUE, DEVICES, Course, Job, Sensor, metered

HERTZ = (1.0, 2.0, 5.0, 10.0)
SECONDS = (1.0, 3.0, 10.0, 30.0)
LAGS_S = (0.1, 0.25, 0.5, 1.0)
MOST_PROMPT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Off:
    """Of many receipts: how far each is from the truth, as a share of it; the same of all jobs of a run together; how many of the
    stated intervals hold the truth; and how many say that they are measurements."""

    jobs: Sequence[float]
    runs: Sequence[float]
    covered: float
    measured: float

    def within(self, percent: float) -> float:
        """Give what so many of the jobs stay within."""
        return sorted(self.jobs)[min(len(self.jobs) - 1, int(percent / 100 * len(self.jobs)))]


def noisy(hz: float, **more: float) -> Sensor:
    """Give a sensor that says ± 2 % of itself, as an INA3221 may, and is right: half of it is noise, the rest calibration."""
    return Sensor(hz=hz, noise=0.01, gain=0.005, **more)  # type: ignore[arg-type]  # all that is left are numbers


def single(seconds: float, sensor: Sensor, *, runs: int, cold: bool = False) -> Off:
    """Let each board answer one job that takes about so long, `runs` times."""
    seeds = _seeds(f"{seconds} {sensor}", runs)
    return _off(((_alone(name, seconds, random, cold=cold), random) for name, random in seeds), sensor)


def together(jobs: int, sensor: Sensor, *, runs: int, cold: bool = False) -> Off:
    """Let each board answer so many jobs, of 4 to 12 s, that begin within 6 s."""
    seeds = _seeds(f"{jobs} {sensor}", runs)
    return _off(((_several(name, jobs, random, cold=cold), random) for name, random in seeds), sensor)


def _seeds(what: str, runs: int) -> Iterator[tuple[str, Random]]:
    for name in DEVICES:
        for number in range(runs):
            yield name, Random(f"{name} {what} {number}")


def _off(courses: Iterable[tuple[Course, Random]], sensor: Sensor) -> Off:
    jobs, runs, covered, measured = [], [], 0, 0
    for course, random in courses:
        receipts, _ = metered(course, sensor, random)
        taken = course.taken()
        for receipt, truth in zip(receipts, taken, strict=True):
            off_j = abs(receipt.joules - truth.net_j)
            jobs.append(off_j / truth.net_j)
            covered += off_j <= receipt.uncertainty * receipt.joules
            measured += receipt.measured
        total_j = sum(truth.net_j for truth in taken)
        runs.append(abs(sum(receipt.joules for receipt in receipts) - total_j) / total_j)
    return Off(jobs=jobs, runs=runs, covered=covered / len(jobs), measured=measured / len(jobs))


def _alone(name: str, seconds: float, random: Random, *, cold: bool) -> Course:
    return Course(CATALOGUE.devices[name], [_job(name, seconds, 30 + 5 * random.random(), random, cold=cold)])


def _several(name: str, jobs: int, random: Random, *, cold: bool) -> Course:
    asked = [
        _job(name, random.uniform(4, 12), 30 + 6 * random.random(), random, cold=cold and not number)
        for number in range(jobs)
    ]
    return Course(CATALOGUE.devices[name], asked)


def _job(name: str, seconds: float, start_s: float, random: Random, *, cold: bool) -> Job:
    """Give a job that takes about so long alone; reading its prompt takes some twentieth to two fifths of it."""
    device = CATALOGUE.devices[name]
    model = random.choice([one for one in device.speeds if CATALOGUE.models[one].can("completion")])
    speed = CATALOGUE.speed(device, CATALOGUE.models[model])
    prompt = min(MOST_PROMPT, max(1, int(random.uniform(0.05, 0.4) * seconds * speed.prefill_tok_s.value)))
    tokens = (seconds - prompt / speed.prefill_tok_s.value) * speed.decode_tok_s.value
    return Job(start_s=start_s, model=model, prompt_tokens=prompt, tokens=max(1, round(tokens)), cold=cold)


def _row(what: str, off: Off) -> str:
    figures = (off.within(50), off.within(95), max(off.jobs), max(off.runs), off.covered, off.measured)
    return f"{what:34}" + "".join(f"{100 * figure:9.1f}" for figure in figures)


def _main(runs: int = 20) -> None:
    heads = ("p50 %", "p95 %", "worst %", "sum %", "in +- %", "sensed %")
    print(f"{'':34}" + "".join(f"{head:>9}" for head in heads))  # noqa: T201
    for seconds in SECONDS:
        for hz in HERTZ:
            print(_row(f"1 job of {seconds:g} s, {hz:g} Hz", single(seconds, noisy(hz), runs=runs)))  # noqa: T201
    print(_row("1 job of 10 s + load, 5 Hz", single(10, noisy(5), runs=runs, cold=True)))  # noqa: T201
    for jobs in (2, 4, 8):
        for hz in HERTZ:
            print(_row(f"{jobs} jobs at once, {hz:g} Hz", together(jobs, noisy(hz), runs=runs)))  # noqa: T201
    for seconds in (3.0, 10.0):
        for lag_s in LAGS_S:
            what = f"1 job of {seconds:g} s, 5 Hz, {lag_s:g} s late"
            print(_row(what, single(seconds, noisy(5, lag_s=lag_s), runs=runs)))  # noqa: T201


if __name__ == "__main__":
    _main()
