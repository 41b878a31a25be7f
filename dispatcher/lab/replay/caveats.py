"""What a reader of a replay must know before its figures: sentences for the terminal and the files; pure."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.cli.cache_words import age
from dispatcher.cli.figures import joules
from dispatcher.lab.replay.outcome import Lap, Outcome, overhead
from dispatcher.lab.replay.plan import Timetable, asked_elsewhere
from dispatcher.lab.replay.records import Recorded

DISTORTED = 0.1
"""From this share of the median latency on it is worth a word that compressing time has magnified what is no device's."""

_SIMULATED = "The fleets are simulated: their speeds and watts are those of profiles. What happened may have been real."
_FILLER = (
    "Prompts and answers were never recorded: filler of the same number of tokens was sent, and answers were cut at the recorded "
    "length, which the dispatcher knows beforehand here. What looks at the words of a question judges filler."
)


def notes(laps: Sequence[Lap], table: Timetable, left_out: Sequence[tuple[str, int]], speed: float) -> list[str]:
    """Give what a reader must know before the figures, the weightiest first."""
    jobs = [one.job for one in table.due]
    found = [_SIMULATED, _FILLER]
    if speed != 1.0:
        found.append(
            f"Time ran {speed:g} times faster than life, and all is told as in life; what Drover and this machine take for "
            f"themselves is magnified {speed:g} times."
        )
    found += [f"Left out: {count} {reason}." for reason, count in left_out]
    if table.gaps:
        found.append(f"{table.gaps} idle gaps were cut to 6 minutes, after which no model is in memory any more.")
    return [*found, *_of_laps(laps, jobs)]


def _of_laps(laps: Sequence[Lap], jobs: Sequence[Recorded]) -> list[str]:
    found = []
    for lap in laps:
        no_model, no_device = asked_elsewhere(jobs, lap.models, lap.devices)
        if no_model:
            found.append(f"{lap.arm.name}: {no_model} jobs asked for a model that it does not have, and went to auto.")
        if no_device:
            found.append(
                f"{lap.arm.name}: {no_device} jobs were pinned to a device that it does not have, and went to any."
            )
        share = overhead([one for one in lap.played if one.row.success])
        if share is not None and share > DISTORTED:
            found.append(
                f"{lap.arm.name}: {100 * share:.0f} % of the median latency is Drover's and this machine's own: a lower --speed "
                "tells it better."
            )
        if lap.unfinished:
            found.append(
                f"{lap.arm.name}: {lap.unfinished} jobs had no answer when time was up: the fleet is too slow for them."
            )
    return found


def of_records(jobs: Sequence[Recorded], recorded_speed: float) -> list[str]:
    """Say what the records themselves are worth."""
    simulated = sum(1 for job in jobs if job.simulated)
    found = []
    if simulated and recorded_speed == 1.0:
        found.append(
            f"{simulated} of {len(jobs)} records are of simulated devices: if those ran faster than life, --recorded-speed says so."
        )
    elif recorded_speed != 1.0:
        found.append(f"The recorded fleet ran {recorded_speed:g} times faster than life, and is told of as in life.")
    if missing := sum(1 for job in jobs if job.joules is None):
        found.append(f"{missing} of {len(jobs)} records tell no energy.")
    if any(job.joules is not None and not job.measured for job in jobs):
        found.append(
            "~ marks energy that is estimated: that of simulated fleets always is, from watts and seconds at work."
        )
    return found


def of_idle(outcomes: Sequence[Outcome], recorded_s: float) -> list[str]:
    """Say what the fleets draw beside their jobs: each device more adds to that, however frugal its answers are."""
    known = [f"{one.label} {joules(one.idle_w * recorded_s)}" for one in outcomes if one.idle_w is not None]
    if not known:
        return []
    told = "Energy is that of the answers, above idle, of simulated fleets from watts and seconds at work."
    return [f"{told} Idle, in the {age(recorded_s)} of the record, adds: {'; '.join(dict.fromkeys(known))}."]
