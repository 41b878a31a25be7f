"""Looks at the fleet on the bus: who is there, whether names are unique, clocks agree, and what devices complain of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from common import reload_orders
from common.bus import Bus, Delivery
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.doctor import Finding, fault, ok, warning
from common.errors import FleetError, NoResponders
from common.heartbeats import read_heartbeat
from common.messages import DeviceState, Heartbeat
from common.settings import BusSection
from common.subjects import Subjects
from dispatcher.cli.expected import known_to
from dispatcher.cli.state import StateDir

LISTEN_S = 2.5
"""Two intervals of a heartbeat and a bit."""

SKEW_S = 2.0
"""Deadlines are minutes; but a device whose clock is further off has something wrong with it."""


async def fleet(
    bus: BusSection, subjects: Subjects, *, expected: bool, state: StateDir | None = None
) -> Sequence[Finding]:
    """Listen for a moment, and ask every process for its clock. Without a server there is nothing to see, which `nats` tells."""
    heard: dict[str, dict[str, Heartbeat]] = {}

    def hear(delivery: Delivery) -> None:
        try:
            beat = read_heartbeat(delivery, subjects)
        except FleetError:
            return  # dispatchers say so
        heard.setdefault(beat.device, {})[beat.boot] = beat

    try:
        async with connect_nats(options_from(bus, name="drover-doctor", inbox_prefix="_INBOX_operator")) as line:
            beats = await line.subscribe(subjects.heartbeat("*"), hear)
            await line.flush()
            if beats.refused:
                return fault("fleet", f"it can't be seen: {beats.refused}", "look as the operator, or as an observer")
            await line.publish(subjects.roll_call(), b"")
            async with asyncio.TaskGroup() as tasks:
                clocks_ = tasks.create_task(clocks(line, subjects, state))
                await asyncio.sleep(LISTEN_S)
    except FleetError as error:
        return warning("fleet", f"it can't be seen: {error.message}", "see nats") if expected else ()
    return [*devices(heard), *clocks_.result()]


def devices(heard: dict[str, dict[str, Heartbeat]]) -> Sequence[Finding]:
    """Say what follows from the heartbeats, by device and boot."""
    found: list[Finding] = []
    for device, boots in sorted(heard.items()):
        # One that was restarted a moment ago has said goodbye under its old boot.
        alive = {
            boot: beat for boot, beat in boots.items() if beat.state not in {DeviceState.STOPPED, DeviceState.DRAINING}
        }
        if len(alive) > 1:
            do = "set DROVER_DEVICE on all but one, as for cards that were copied"
            found += fault(
                f"device {device}", f"{len(alive)} agents have this name (boots {', '.join(sorted(alive))})", do
            )
        for beat in list(alive.values())[-1:]:
            found += _device(beat)
    if not heard:
        return warning(
            "fleet", f"no device has sent a heartbeat in {LISTEN_S:g} s", "start one: drover-agent, or drover up"
        )
    return found


def _device(beat: Heartbeat) -> list[Finding]:
    check = f"device {beat.device}"
    if beat.state is DeviceState.FAULTY:
        return fault(check, beat.reason or "faulty", "mend it there: drover-agent --doctor on that device")
    found: list[Finding] = []
    for word in (*beat.warnings, *([beat.reason] if beat.reason else [])):
        found += warning(check, word, "drover-agent --doctor on that device")
    return found or ok(
        check, f"{beat.state}, {len(beat.models)} models, {beat.slots} slots, agent {beat.agent_version}"
    )


async def clocks(bus: Bus, subjects: Subjects, state: StateDir | None = None) -> Sequence[Finding]:
    """Every process's clock, against this machine's: it must be between those of the question and of the last answer."""
    asked = time.time()
    try:
        known = await known_to(bus, state)
        found = await reload_orders.running(bus, subjects, missing=known.missing)
    except NoResponders:
        return warning(
            "processes", "none of a fleet answers", "start it: drover up, or drover dispatcher and the others"
        )
    except FleetError as error:
        return warning("processes", f"they can't be asked: {error.message}", "use an operator's NATS user")
    answered = time.time()
    wrong = [
        f"{one.kind} {one.name} by {off:+.1f} s"
        for one in found.answers
        if one.unix_s is not None and abs(off := _off(one.unix_s, asked, answered)) > SKEW_S
    ]
    if wrong:
        do = "synchronise the clocks there (timedatectl set-ntp true)"
        return warning("clocks", f"differ from this machine's: {', '.join(wrong)}", do)
    if found.silent:
        do = "look at their logs: they hang, or are older than this command"
        return warning("processes", f"did not answer: {'; '.join(found.silent)}", do)
    kinds = sorted({one.kind for one in found.answers})
    missing = [kind for kind in ("dispatcher",) if kind not in kinds]
    if missing:
        return fault(
            "processes", f"no dispatcher among {', '.join(kinds)}: nobody takes jobs", "start one: drover dispatcher"
        )
    return ok("processes", f"{len(found.answers)} answer ({', '.join(kinds)}), and their clocks agree with this one")


def _off(unix_s: float, asked: float, answered: float) -> float:
    return unix_s - asked if unix_s < asked else max(0.0, unix_s - answered)
