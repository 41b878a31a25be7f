"""`drover top` on screens of any size: nothing wraps, the worst comes first, what has no room is counted, age is told in words."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from dispatcher.cli.board import DeviceLine
from dispatcher.cli.board_view import GIB
from dispatcher.cli.sight import EventLine, JobLine, QueueLine, Sight, Today, worst_first
from dispatcher.cli.top_view import middle, screen

NOW = datetime(2026, 11, 21, 14, 3, 22, tzinfo=UTC)
LONG = "kitchen-pi-workshop-left-03"
SIZES = [(80, 24), (120, 40), (40, 12), (20, 5), (200, 60)]


def device(name: str, state: str = "ready", **more: Any) -> DeviceLine:
    told: dict[str, Any] = {
        "name": name,
        "state": state,
        "slots": 2,
        "in_flight": 1,
        "loaded": ("llama3.2:1b", "qwen2.5-coder:7b"),
        "decode_tps": 23.4,
        "temperature_c": 51.0,
        "memory_used_bytes": 3 * GIB,
        "memory_total_bytes": 8 * GIB,
        "done": 1234,
        "failed": 5,
        "simulated": True,
        "watts": 9.31,
        "watts_measured": True,
    }
    return DeviceLine(**told | more)


SIX = (
    device("orin-nano"),
    device(LONG, watts_measured=False, site="attic"),
    device("agx", power_mode="MAXN", on_gpu=0.4),
    device("pi5", "throttled", throttling=("under-voltage",)),
    device("pi4", "dead", silent_s=12.0),
    device("nx", "suspect", silent_s=3.1),
)
FLEETS = {1: SIX[:1], 6: SIX, 40: (*SIX, *(device(f"node-{number:02}") for number in range(34)))}


def sight(devices: Sequence[DeviceLine], **more: Any) -> Sight:
    job = JobLine(
        at_s=3.0,
        state="failed",
        tenant="acme",
        device=LONG,
        model="qwen2.5-coder:7b-instruct-q4_K_M",
        total_s=2.31,
        tokens=145,
        joules=120.3,
        error="device_lost",
    )
    told: dict[str, Any] = {
        "server": "nats://127.0.0.1:4222",
        "watched_s": 134.0,
        "lost_s": None,
        "devices": tuple(devices),
        "queues": (QueueLine(name="d", heard_s=0.0, running=3, waiting=7, limit=64),),
        "watts": 48.2,
        "watts_measured": False,
        "unmetered": 1,
        "jobs_per_min": 12.4,
        "drawn_j": 5034.0,
        "today": Today(jobs=1234, joules=1.3e6, measured_share=0.5, heard_s=0.0),
        "jobs": (job,) * 30,
        "events": (EventLine(at_s=30.0, what="lost", name="pi4"),) * 8,
    }
    return Sight(**told | more)


def drawn(now: Sight, width: int = 80, height: int | None = 24) -> list[str]:
    """Draw on a console of exactly that size, without colours, and give its lines."""
    console = Console(file=io.StringIO(), width=width, height=height or 1000, no_color=True)
    console.print(Group(*screen(now, width=width, height=height, now=NOW)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("count", FLEETS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fills_the_screen_and_nothing_wraps(width: int, height: int, count: int) -> None:
    """As many lines as the screen has, none longer than it is wide, and the keys on the last one."""
    lines = drawn(sight(FLEETS[count]), width, height)

    assert (height, True) == (len(lines), all(cell_len(line) <= width for line in lines))
    assert "q quits" == lines[-1]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_worst_come_first_and_the_rest_is_counted(width: int, height: int) -> None:
    """Of 40 devices those are seen that somebody should look at, and how many are not."""
    lines = drawn(sight(FLEETS[40]), width, height)
    head = next(place for place, line in enumerate(lines) if line.startswith("device"))
    names = [line.split()[0] for line in lines[head + 1 : head + 5]]
    rest = next(line for line in lines if line.startswith("and "))
    shown = next(place for place, line in enumerate(lines) if line == rest) - head - 1

    assert ["pi4", "nx", "pi5", "agx"] == names
    assert rest.startswith(f"and {40 - shown} more: {40 - shown} ready")


def test_what_is_old_says_so_without_colours() -> None:
    """A device that fell silent has its age, and its figures in brackets; one that answers has neither."""
    lines = drawn(sight(FLEETS[6]))
    dead, fresh = (next(line for line in lines if line.startswith(name)) for name in ("pi4 ", "orin-nano"))

    assert (True, True) == ("heard 12 s ago" in dead, "(9.3)" in dead)
    assert (False, False) == ("ago" in fresh, "(" in fresh)


def test_what_is_estimated_says_so() -> None:
    """A tilde stands before watts that no sensor saw, and before a sum that has such a part."""
    text = "\n".join(drawn(sight(FLEETS[6]), 120, 40))

    assert (True, True, True) == ("~9.3" in text, "~48.2 W +1 unknown" in text, "today ~1.30 MJ for 1,234 jobs" in text)


@pytest.mark.parametrize(
    ("name", "words"), [("pi5", "slow: under-voltage"), ("agx", "60 % on the CPU"), ("nx", "heard 3 s ago")]
)
def test_what_is_wrong_has_the_place_of_the_models(name: str, words: str) -> None:
    """Somebody at the terminal reads why a device needs them; its models matter less then."""
    assert words in next(line for line in drawn(sight(FLEETS[6])) if line.startswith(name))


def test_figures_of_the_fleet_are_whole_at_80_columns() -> None:
    """They go on with the next line, each in one piece."""
    text = "\n".join(drawn(sight(FLEETS[6]))[:4])
    parts = ("busy 4/8", "waiting 7/64", "12.4 jobs/min", "for 1,234 jobs", "drawn ~5.03 kJ in 2 min")

    assert ["", *parts] == ["", *(part for part in parts if part in text)]
    assert "…" not in text


def test_a_lost_connection_is_told_with_its_age() -> None:
    """Everything below is old then, and the first thing to know."""
    assert "connection to nats://127.0.0.1:4222 lost 12 s ago: trying again" in drawn(sight(FLEETS[6], lost_s=12.0))[3]


def test_a_lone_screen_without_anything() -> None:
    """No device, no dispatcher, no job: it says what it waits for."""
    lines = drawn(sight((), queues=(), watts=None, jobs=(), events=(), jobs_per_min=None, drawn_j=0.0, today=None))

    assert ["drover top  14:03:22  0 devices", "busy 0/0  no dispatcher answers"] == lines[:2]
    assert "no heartbeat yet at nats://127.0.0.1:4222, heard for 2 min" == lines[2]


def test_nothing_from_the_bus_steers_the_terminal() -> None:
    """Names of models, reasons and states of jobs are whatever somebody published."""
    evil = "\x1b[2Jx\n\u202e"
    job = JobLine(at_s=1.0, state=evil, device=evil, model=evil, error=evil, tenant=evil)
    event = EventLine(at_s=1.0, what=evil, name=evil)
    now = sight([device("pi5", loaded=(evil,), warnings=(evil,), power_mode=evil)], jobs=(job,), events=(event,))
    lines = drawn(now, 200, 24)

    assert (24, set()) == (len(lines), set("\x1b\u202e") & set("\n".join(lines)))


def test_without_a_height_all_devices_are_there() -> None:
    """A pipe has no last line."""
    lines = drawn(sight(FLEETS[40]), 140, None)

    assert 40 == sum(
        1 for line in lines if line.split(" ")[0] in {one.name for one in FLEETS[40]} or LONG[:8] in line[:8]
    )
    assert "q quits" not in lines


def test_devices_keep_their_places_whatever_they_work_on() -> None:
    """A row that is read must not jump away: jobs change nothing in the order."""
    quiet = [device("b"), device("a"), device("c", warnings=("disk is full",))]
    busy = [device("b", in_flight=2), device("a", in_flight=0), device("c", warnings=("disk is full",))]

    assert ["c", "a", "b"] == [line.name for line in worst_first(quiet)]
    assert ["c", "a", "b"] == [line.name for line in worst_first(busy)]


@pytest.mark.parametrize(
    ("name", "width", "cut"),
    [
        ("orin", 8, "orin"),
        ("kitchen-pi-left-03", 14, "kitchen…eft-03"),
        ("node-0001", 5, "no…01"),
        ("abcdef", 3, "abc"),
    ],
)
def test_names_are_cut_in_their_middle(name: str, width: int, cut: str) -> None:
    """What tells names apart stands at either end."""
    assert cut == middle(name, width)
