"""Who must answer when all of a fleet are asked: processes that `drover up` has started here, and devices that were heard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.doctor import Verdict
from common.reload_orders import Answered
from dispatcher.cli.doctor import leftovers
from dispatcher.cli.expected import Expected
from dispatcher.cli.kin import Kin, family, orphans
from dispatcher.cli.state import StateDir

OWN = os.getpid()


def answered(kind: str, name: str, pid: int | None = None, host: str = "") -> Answered:
    return Answered(kind=kind, name=name, pid=pid, host=host)


def kin(name: str, pid: int = OWN) -> Kin:
    return Kin(pid=pid, name=name, parent=1)


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ([], [f"bridge (process {OWN})", "agent nano", "agent pi"]),
        ([answered("bridge", "bridge", OWN, socket.gethostname())], ["agent nano", "agent pi"]),
        ([answered("bridge", "bridge", OWN, "another.host")], [f"bridge (process {OWN})", "agent nano", "agent pi"]),
        ([answered("agent", "nano")], [f"bridge (process {OWN})", "agent pi"]),
    ],
)
def test_who_did_not_answer_is_named(answers: list[Answered], missing: list[str]) -> None:
    """A process by its number on this machine, a device by its name; one that is dead may be switched off."""
    expected = Expected(here=[kin("bridge")], devices={"nano": "alive", "pi": "suspect", "old": "dead"})

    assert (missing, ["old"]) == (expected.missing(answers), expected.absent(answers))


def test_an_agent_of_this_machine_is_named_once() -> None:
    """As the process that it is, with how to wake it, also when it was stopped after it was looked for."""
    with logging_in(StateDir(Path("/nowhere")), None) as agent:
        expected = Expected(here=[kin("agent-nano", agent.pid)], devices={"nano": "suspect"})
        awake = expected.missing([])
        stop(agent)
        frozen = expected.missing([])

    named = f"agent-nano (process {agent.pid})"
    assert ([named], [f"{named}, which is frozen (wake it: kill -CONT {agent.pid})"]) == (awake, frozen)


def test_a_process_that_has_ended_meanwhile_is_not_waited_for() -> None:
    """It reads its settings when it is started again."""
    with logging_in(StateDir(Path("/nowhere")), None) as ended:
        pass

    assert [] == Expected(here=[kin("bridge", ended.pid)], devices={}).missing([])


@contextmanager
def logging_in(state: StateDir, name: str | None) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, as far as the table of processes tells: its standard error is a log of the directory."""
    code = "import sys; sys.stdin.read()"
    log = subprocess.DEVNULL if name is None else (state.path / "log" / f"{name}.log").open("wb")
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stderr=log) as process:
        if not isinstance(log, int):
            log.close()
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop it by a signal, and wait until it has stopped."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


async def test_what_a_fleet_that_was_killed_left_is_named_with_how_to_end_it(tmp_path: Path) -> None:
    """Whoever has become its parent since: below a desktop's session that is not process 1."""
    state = StateDir(tmp_path)
    (tmp_path / "log").mkdir()
    with logging_in(state, "ledger") as left:
        [found] = await leftovers(state, None)
    [after] = await leftovers(state, None)

    assert (Verdict.WARNING, f"of a fleet that was killed: ledger (process {left.pid})") == (found.verdict, found.seen)
    assert (f"kill {left.pid})" in found.do, Verdict.OK) == (True, after.verdict)


def test_what_a_fleet_that_runs_has_started_is_its_family(tmp_path: Path) -> None:
    """Also while it still starts; who is stopped by a signal is seen to be."""
    state = StateDir(tmp_path)
    with state.held(), logging_in(state, "agent-nano") as agent:
        stop(agent)
        own, found = family(state)
        alone, frozen = orphans(state), found.frozen

    assert (OWN, agent.pid, "agent-nano", True, []) == (own.pid, found.pid, found.name, frozen, list(alone))
    assert () == family(state)
