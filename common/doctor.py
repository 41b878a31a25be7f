"""Looks at a machine: checks that run at once, each with its time, and what came of them as lines; it knows no check.

A check that crashes is a fault of ours and names the bug; one that takes too long is a finding as well. Nothing is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

LIMIT_S = 20.0
"""A slow board needs some seconds to ask a server that does not answer."""


class Verdict(StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw, and, where it is not well, what to do."""

    check: str
    verdict: Verdict
    seen: str
    do: str = ""


Check = Callable[[], Awaitable[Sequence[Finding]]]
"""Looks at one thing; it may find several."""


def aside(look: Callable[..., Sequence[Finding]], *arguments: Any) -> Check:
    """Make a check of what blocks: it looks in a thread."""
    return partial(asyncio.to_thread, look, *arguments)


def ok(check: str, seen: str) -> list[Finding]:
    """Say that all is well."""
    return [Finding(check, Verdict.OK, seen)]


def warning(check: str, seen: str, do: str) -> list[Finding]:
    """Say what may be a trouble."""
    return [Finding(check, Verdict.WARNING, seen, do)]


def fault(check: str, seen: str, do: str) -> list[Finding]:
    """Say what is one."""
    return [Finding(check, Verdict.FAULT, seen, do)]


async def look(checks: Mapping[str, Check], *, limit_s: float = LIMIT_S) -> tuple[Finding, ...]:
    """Run all checks at once, and give what they found in their order."""
    async with asyncio.TaskGroup() as tasks:
        looking = [tasks.create_task(_looked(name, check, limit_s)) for name, check in checks.items()]
    return tuple(finding for one in looking for finding in one.result())


async def _looked(name: str, check: Check, limit_s: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(limit_s):
            return await check()
    except TimeoutError:
        return warning(
            name, f"this check took more than {limit_s:g} s", "look whether this machine is too busy, and again"
        )
    except Exception as error:  # noqa: BLE001  # a border: one check's bug must not hide what the others find
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f", {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
        return fault(name, f"this check has a bug: {type(error).__name__}: {error}{where}", "please report it")


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Say them, each on a line, with what to do."""
    width = max((len(one.check) for one in findings), default=0)
    for one in findings:
        todo = f": {one.do}" if one.do else ""
        yield f"{one.verdict:<7}  {one.check:<{width}}  {one.seen}{todo}"
    bad = [sum(one.verdict is verdict for one in findings) for verdict in (Verdict.FAULT, Verdict.WARNING)]
    yield f"{len(findings)} checks: {bad[0]} fault{'' if bad[0] == 1 else 's'}, {bad[1]} warning{'' if bad[1] == 1 else 's'}"


def wire(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Give them as JSON has them."""
    return [{"check": one.check, "verdict": str(one.verdict), "seen": one.seen, "do": one.do} for one in findings]


def status(findings: Sequence[Finding]) -> int:
    """Give the exit status."""
    return 1 if any(one.verdict is Verdict.FAULT for one in findings) else 0
