"""What steers a terminal, in whatever came over the bus: no view passes it on."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, Group, RenderableType

from common import codec
from common.bus import Delivery
from common.chat_stream import Answer
from common.messages import Usage
from common.subjects import Subjects
from dispatcher.cli.ask import footer
from dispatcher.cli.board import Board
from dispatcher.cli.board_view import device_view
from dispatcher.cli.board_view import screen as up_screen
from dispatcher.cli.columns import Column, fitted
from dispatcher.cli.explain_view import explained
from dispatcher.cli.running import say
from dispatcher.cli.sight import Sight, Watch
from dispatcher.cli.top_view import screen
from dispatcher.cli.up_view import Lines

EVIL = "a\x1b[2Jb\u202e\r\x9b"
SHOWN = r"a\x1b[2Jb\u202e\r\x9b"
SUBJECTS = Subjects()


def board() -> Board:
    """Give a fleet of one device that says everything it may say in texts of its own, for the worse."""
    told: dict[str, Any] = {
        "device": "pi",
        "boot": "b",
        "seq": 1,
        "site": EVIL,
        "power_mode": EVIL,
        "throttling": [EVIL],
        "warnings": [EVIL],
        "watts_source": EVIL,
        "reason": EVIL,
        "models": [{"name": EVIL, "loaded": True}],
    }
    seen = Board()
    seen.hear(SUBJECTS, Delivery(SUBJECTS.heartbeat("pi"), codec.encode(told)))
    return seen


def sight() -> Sight:
    watch = Watch(board(), SUBJECTS, server="nats://here", since_s=0.0)
    ended = {"device": EVIL, "model": EVIL, "tenant": EVIL, "error": EVIL, "job": EVIL}
    watch.job(Delivery(SUBJECTS.job_event("failed", "j"), codec.encode(ended)), 0.0)
    return replace(watch.sight(1.0), server=EVIL)


def drawn(view: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=600, highlight=False)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def decision() -> dict[str, Any]:
    return {
        "strategy": EVIL,
        "weights": {},
        "features": {EVIL: 1, "lacks": EVIL},
        "chosen": {"device": EVIL, "model": EVIL},
        "removed": [{"device": EVIL, "filter": EVIL, "reason": EVIL}],
        "devices_out": {EVIL: 1},
        "error": {"message": EVIL},
        "power": {
            "drawn_w": 1.0,
            "tariff": None,
            "limits": [{"name": EVIL, "on": EVIL, "watts": 1.0, "drawn_w": 1.0, "when": EVIL, "holds": True}],
            "devices": [{"device": EVIL, "now_w": 1.0, "with_job_w": 2.0}],
        },
        "strategies": {"hybrid": EVIL},
    }


@pytest.mark.parametrize(
    "view",
    [
        Group(*screen(sight(), width=600, height=None, now=datetime(2026, 11, 21, tzinfo=UTC))),
        Group(*screen(replace(sight(), lost_s=3.0), width=600, height=None, now=datetime(2026, 11, 21, tzinfo=UTC))),
        device_view(board().lines(), 600),
        up_screen(board().lines(), {EVIL: 1}, [EVIL], [], width=600),
        fitted([Column("any", 0, str)], [EVIL], 600),
        explained(decision()),
    ],
    ids=["top", "top without a connection", "devices", "up", "tables", "explain"],
)
def test_a_view_writes_out_what_would_steer_the_terminal(view: RenderableType) -> None:
    """A heartbeat's site may hold an escape sequence: people see that it does, and their terminal does not obey it."""
    text = drawn(view)

    assert (True, []) == (SHOWN in text, [char for char in text if not char.isprintable() and char != "\n"])


def test_lines_write_it_out_too(capsys: pytest.CaptureFixture[str]) -> None:
    """An error message, what `drover up` says, and the line below an answer quote devices."""
    answer = Answer(job="j", text="", device=EVIL, model=EVIL, reason=EVIL, finish="stop", usage=Usage(), route={})
    say(EVIL)
    Lines().say(EVIL)

    assert (f"{SHOWN}\n", f"drover: {SHOWN}\n") == capsys.readouterr()
    assert f"{SHOWN} · {SHOWN} · {SHOWN}" == footer(answer, None)
