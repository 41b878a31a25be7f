"""How `drover top` looks: lines of text for a screen of any size, none longer than it is wide; it asks nobody.

What has no room is counted, never wrapped. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from dispatcher.cli.board import DeviceLine
from dispatcher.cli.board_view import STYLES, device_notes, memory
from dispatcher.cli.cache_words import age, plain
from dispatcher.cli.figures import joules, three, watts
from dispatcher.cli.sight import EventLine, JobLine, Sight, worst_first

LEAST_WIDTH = 20
_WIDE = 110
"""From so many columns on there is room for whole names."""

_CUT = "…"
_GAP = 2
_HEAD = "dim bold"


def screen(sight: Sight, *, width: int, height: int | None, now: datetime, hint: str = "q quits") -> list[Text]:
    """Draw the fleet in `width` columns and at most `height` lines; without a height all of it."""
    width = max(width, LEAST_WIDTH)
    top = [_fit(line, width) for line in _head(sight, now, width)]
    devices = worst_first(sight.devices)
    room = Room.shared(height, len(top), len(devices), len(sight.jobs), len(sight.events))
    lines = [*top, *_devices(devices, width, room.devices)]
    lines += _section("last jobs", [_job(job, width) for job in sight.jobs[: room.jobs]], width)
    lines += _section("events", [_event(event) for event in sight.events[: room.events]], width)
    if height is None:
        return lines
    lines = lines[: height - 1]
    return [*lines, *[Text() for _ in range(height - 1 - len(lines))], _fit(Text(hint, style="dim"), width)]


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each part gets, without its head."""

    devices: int
    jobs: int
    events: int

    @classmethod
    def shared(cls, height: int | None, top: int, devices: int, jobs: int, events: int) -> Room:
        """Share the lines of a screen: 1. devices come first, and leave a third to what happens; 2. jobs before events; 3. what
        one part does not need another gets."""
        if height is None:
            return cls(devices, min(jobs, 10), min(events, 10))
        free = max(0, height - top - 2)  # the head of the table, and the last line
        happens = min(free // 3, (jobs + 1 if jobs else 0) + (events + 1 if events else 0))
        shown = min(devices, free - happens)  # 1
        free -= shown
        wanted = min(events, max(1, free // 3 - 1)) if events and free > 2 else 0
        of_jobs = min(jobs, max(0, free - 1 - (wanted + 1 if wanted else 0)))  # 2
        free -= of_jobs + 1 if of_jobs else 0
        return cls(shown, of_jobs, min(events, max(0, free - 1)))  # 3


def _head(sight: Sight, now: datetime, width: int) -> Iterator[Text]:
    states = Counter(line.state for line in sight.devices)
    count = len(sight.devices)
    told = ", ".join(f"{number} {state}" for state, number in sorted(states.items(), key=_by_concern(sight.devices)))
    of = f"{count} device{'' if count == 1 else 's'}"
    if count and len(states) > 1:
        of += f": {told}"
    elif count:
        of += f" {told.split(' ', 1)[1]}"
    yield Text(f"drover top  {now:%H:%M:%S}  {of}", style="bold")
    yield from _flowing(_figures(sight), width)
    if sight.lost_s is not None:
        yield Text(f"connection to {plain(sight.server)} lost {age(sight.lost_s)} ago: trying again", style="bold red")
    elif not sight.devices:
        yield Text(f"no heartbeat yet at {plain(sight.server)}, heard for {age(sight.watched_s)}", style="yellow")


def _flowing(parts: Iterator[str], width: int) -> Iterator[Text]:
    """Put parts side by side, each whole, on as many lines as they need."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if line and cell_len(longer) > width:
            yield Text(line)
            longer = part
        line = longer
    yield Text(line)


def _by_concern(lines: Sequence[DeviceLine]) -> Callable[[tuple[str, int]], int]:
    order = list(dict.fromkeys(line.state for line in worst_first(lines)))
    return lambda one: order.index(one[0])


def _figures(sight: Sight) -> Iterator[str]:
    """Give the fleet's figures, the weightiest first."""
    if sight.watts is not None:
        rest = f" +{sight.unmetered} unknown" if sight.unmetered else ""
        yield f"{watts(sight.watts, measured=sight.watts_measured)} W{rest}"
    yield f"busy {sight.in_flight}/{sight.slots}"
    if sight.queues:
        limit = sum(queue.limit for queue in sight.queues)
        yield f"waiting {sight.waiting}/{limit}" if limit else f"waiting {sight.waiting}"
    else:
        yield "no dispatcher answers"
    if sight.jobs_per_min is not None:
        yield f"{three(sight.jobs_per_min) if sight.jobs_per_min else '0'} jobs/min"
    if sight.today is not None:
        share = sight.today.measured_share
        yield f"today {joules(sight.today.joules, measured=share == 1.0)} for {sight.today.jobs:,} jobs"
    if sight.drawn_j:
        yield f"drawn {joules(sight.drawn_j, measured=sight.watts_measured)} in {age(sight.watched_s)}"


@dataclass(frozen=True, slots=True)
class _Column:
    """`rank` says in which order columns go when the terminal is narrow, the highest first; 0 stays."""

    title: str
    rank: int
    cell: Callable[[DeviceLine], str]
    right: bool = True

    def text(self, line: DeviceLine) -> str:
        """Give the cell as a terminal shows it: what stands in it came over the bus."""
        return plain(self.cell(line))


def _told(value: str, line: DeviceLine) -> str:
    """Mark a figure that is not of now, so that it can be seen without colours."""
    return f"({value})" if value and not line.fresh else value


def _rounded(value: float | None) -> str:
    return "" if value is None else three(value)


_COLUMNS: tuple[_Column, ...] = (
    _Column("device", 0, lambda line: line.name, right=False),
    _Column("state", 0, lambda line: line.state, right=False),
    _Column("busy", 0, lambda line: _told(f"{line.in_flight}/{line.slots}", line)),
    _Column("watts", 1, lambda line: _told(watts(line.watts, measured=line.watts_measured), line)),
    _Column("°C", 2, lambda line: _told("" if line.temperature_c is None else f"{line.temperature_c:.0f}", line)),
    _Column("tok/s", 3, lambda line: _told(_rounded(line.decode_tps), line)),
    _Column("memory", 5, lambda line: memory(line).replace(" GiB", "G"), right=False),
    _Column("done", 6, lambda line: f"{line.done:,}"),
    _Column("failed", 7, lambda line: f"{line.failed:,}"),
    _Column("site", 8, lambda line: line.site, right=False),
    _Column("mode", 9, lambda line: line.power_mode, right=False),
)
_NOTES_WIDTH = 18
"""Below that what is wrong, and which models are there, is not worth its place."""


def _devices(lines: Sequence[DeviceLine], width: int, room: int) -> Iterator[Text]:
    if not lines:
        return
    shown = lines if len(lines) <= room else lines[: max(0, room - 1)]
    columns, widths = _columns(lines, width)
    left = width - sum(widths) - _GAP * len(widths)
    notes = left >= min(_NOTES_WIDTH, width)
    head = [_cell(column.title, wide, column.right) for column, wide in zip(columns, widths, strict=True)]
    yield _fit(Text((" " * _GAP).join([*head, *(["models"] if notes else [])]), style=_HEAD), width)
    for line in shown:
        row = Text()
        for column, wide in zip(columns, widths, strict=True):
            row.append(_cell(column.text(line), wide, column.right), style=_style(column, line)).append(" " * _GAP)
        if notes:
            row.append(_end(_notes(line), left), style="" if line.fresh else "dim")
        yield _fit(row, width)
    if len(shown) < len(lines):
        rest = Counter(line.state for line in lines[len(shown) :])
        told = ", ".join(f"{number} {state}" for state, number in rest.most_common())
        yield _fit(Text(f"and {len(lines) - len(shown)} more: {told}", style="dim"), width)


def _columns(lines: Sequence[DeviceLine], width: int) -> tuple[list[_Column], list[int]]:
    """Give what fits: a column that says nothing goes, then those of the highest ranks until what is wrong has room, too."""
    most_name = 24 if width >= _WIDE else 14
    shown = [column for column in _COLUMNS if column.rank == 0 or any(column.text(line) for line in lines)]

    def wide(column: _Column) -> int:
        most = max(cell_len(column.title), *(cell_len(column.text(line)) for line in lines))
        return min(most, most_name) if column.title in {"device", "mode", "site"} else most

    while (
        sum(wide(column) + _GAP for column in shown) + _NOTES_WIDTH > width
        and (last := max(shown, key=lambda column: column.rank)).rank
    ):
        shown.remove(last)
    return shown, [wide(column) for column in shown]


def _notes(line: DeviceLine) -> str:
    """Say what is wrong, and then what is in memory."""
    models = ", ".join(plain(model) for model in line.loaded)
    return "; ".join(filter(None, [*device_notes(line), models if line.fresh else ""]))


def _style(column: _Column, line: DeviceLine) -> str:
    if column.title == "state":
        return STYLES.get(line.state, "red")
    return "" if line.fresh else "dim"


def _section(title: str, lines: Sequence[Text], width: int) -> Iterator[Text]:
    if lines:
        yield _fit(Text(title, style=_HEAD), width)
        yield from (_fit(line, width) for line in lines)


def _job(job: JobLine, width: int) -> Text:
    names = 24 if width >= _WIDE else 14
    result = [
        plain(job.error),
        "from the cache" if job.cached else "",
        f"{three(job.total_s)} s" if job.total_s is not None else "",
        joules(job.joules, measured=job.measured),
        f"{job.tokens} tok" if job.tokens else "",
        plain(job.tenant) if width >= _WIDE else "",
    ]
    line = Text(f"{_cell(age(job.at_s), 6, right=True)} ago  ")
    line.append(_cell(plain(job.state), 9, right=False), style="" if job.state == "done" else "red")
    line.append(
        f"  {_cell(plain(job.device), names, right=False)}  {_cell(plain(job.model), names + 2, right=False)}  "
    )
    return line.append("  ".join(filter(None, result)))


def _event(event: EventLine) -> Text:
    return Text(f"{_cell(age(event.at_s), 6, right=True)} ago  {plain(event.what)} {plain(event.name)}")


def _cell(text: str, width: int, right: bool) -> str:  # as the column has it
    fitted = middle(text, width)
    return " " * (width - cell_len(fitted)) + fitted if right else set_cell_size(fitted, width)


def middle(text: str, width: int) -> str:
    """Cut a name in its middle: what tells names apart stands at either end."""
    if cell_len(text) <= width:
        return text
    if width < 4:
        return set_cell_size(text, width)
    end = (width - 1) // 2
    return (set_cell_size(text, width - 1 - end).rstrip() + _CUT + text[-end:]) if text.isascii() else _end(text, width)


def _end(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + _CUT


def _fit(line: Text, width: int) -> Text:
    line.no_wrap, line.overflow = True, "crop"
    if line.cell_len > width:
        line.truncate(width, overflow="ellipsis")
    line.rstrip()
    return line
