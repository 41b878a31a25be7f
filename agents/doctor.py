"""`drover-agent --doctor`: looks at this device as an agent would find it: its engine, sensors, name and way to the bus.

Nothing is changed, and an agent that runs here goes on: it is only asked whether it is the only one of its name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from agents.backends import check_backend, open_backend
from agents.complaints import complaints
from agents.inventory import Inventory
from agents.namesakes import boot_of
from agents.power import Unreadable
from agents.power.choice import open_power
from agents.settings import AgentSettings
from agents.telemetry import Gauge, Readings, Sensors, sensors_for
from common import codec, doctor, doctor_machine, doctor_nats
from common.bus import Delivery
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.doctor import Check, Finding, fault, ok, warning
from common.errors import ConfigError, FleetError
from common.settings import load
from common.subjects import Subjects, own_inbox

NAMESAKE_S = 1.5
"""An agent answers a probe within a second also on a busy device."""

WAIT_S = 3.0

_LISTEN = "0A"


async def examine(*, as_json: bool) -> int:
    """Look, print what was found, and give the exit status."""
    found = await doctor.look(checks())
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty({'findings': doctor.wire(found)})}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in doctor.lines(found))
    return doctor.status(found)


def checks() -> Mapping[str, Check]:
    """Give what is looked at; with settings that can't be, only what needs none."""
    bare: dict[str, Check] = {
        "python": doctor.aside(doctor_machine.python),
        "packages": doctor.aside(doctor_machine.packages),
        "memory": doctor.aside(doctor_machine.memory),
        "clock": doctor.aside(doctor_machine.clock),
    }
    try:
        settings = load(AgentSettings)
        check_backend(settings)
    except ConfigError as error:
        return {"settings": partial(_wrong, error), **bare}
    device = settings.agent.device
    nats = partial(
        doctor_nats.nats,
        settings.bus,
        name=f"drover-doctor-{device}",
        inbox=own_inbox("device", device),
        subjects=(Subjects(settings.bus.prefix).device(device, "probe"),),
    )
    return {
        **bare,
        "env": doctor.aside(doctor_machine.env_file, settings),
        "seeds": doctor.aside(doctor_machine.secret_files, settings.bus),
        **device_checks(settings),
        "nats": nats,
        "name": partial(name, settings),
    }


def device_checks(settings: AgentSettings) -> Mapping[str, Check]:
    """Give what only an agent can look at."""
    return {
        "engine": partial(engine, settings),
        "sensors": partial(sensors, settings),
        "power": partial(power, settings),
    }


async def _wrong(error: ConfigError) -> Sequence[Finding]:
    return fault("settings", error.message, "mend them in .env or in the environment: drover-agent --config shows them")


async def engine(settings: AgentSettings) -> Sequence[Finding]:
    """What runs the models answers, is new enough, has models, and serves nobody past Drover."""
    if settings.remote:  # to open its account would book what a running agent holds back
        return ok("provider", f"{settings.cloud.base_url}, {len(settings.cloud.offers)} models; it is not asked")
    gauge = Gauge(_sensors(settings), poll_s=1.0)
    await gauge.look()
    async with open_backend(settings, lambda: gauge.readings) as backend:
        inventory = Inventory(backend, poll_s=settings.agent.poll_s, changed=lambda: None)
        await inventory.look()
        stock = inventory.stock
    name, where = backend.name, settings.ollama.host
    if stock.fault:
        seen, _, do = stock.fault.rpartition(": ")  # it ends with the way out, where it knows one
        return fault(name, seen, do) if seen and name == "ollama" else fault(name, stock.fault, "mend what it says")
    found = list(ok(name, f"{stock.version.text if stock.version else '?'} at {where}, {len(stock.models)} models"))
    if not stock.models:
        found = warning(name, f"there is no model at {where}", "pull one, as in: ollama pull qwen2.5:0.5b")
    found += [
        finding
        for word in complaints(name, stock, Readings())
        for finding in warning(name, word, "see docs/operations.md")
    ]
    return [*found, *(_exposed(where) if name == "ollama" else ())]


def _exposed(url: str) -> list[Finding]:
    """Ollama knows no keys: whoever reaches it uses it past all limits."""
    parts = urlsplit(url)
    if parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        return []
    open_to = [address for address in listening(parts.port or 11434) if not ipaddress.ip_address(address).is_loopback]
    if open_to:
        seen = f"other machines reach Ollama at {', '.join(open_to)}, past Drover's keys and limits"
        return warning("ollama", seen, "set OLLAMA_HOST=127.0.0.1 for Ollama's own service, and restart it")
    return []


def listening(port: int, tables: Sequence[Path] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> list[str]:
    """Give the addresses on which somebody listens at a port."""
    found = []
    for table in tables:
        try:
            rows = [row.split() for row in table.read_text(encoding="ascii").splitlines()[1:]]
        except OSError:
            continue
        for cells in rows:
            address, _, number = cells[1].partition(":")
            if cells[3] == _LISTEN and int(number, 16) == port:
                # The kernel writes each four bytes as a number, in its own byte order.
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                found.append(str(ipaddress.ip_address(b"".join(words))))
    return found


async def sensors(settings: AgentSettings) -> Sequence[Finding]:
    """Heat, memory and disk can be read."""
    gauge = Gauge(_sensors(settings), poll_s=1.0)
    await gauge.look()
    readings = gauge.readings
    seen = [
        f"{readings.temperature_c:.0f} °C" if readings.temperature_c is not None else "no thermometer",
        readings.power_mode or "",
        f"{(readings.disk_free_bytes or 0) / 1e9:.0f} GB free for models"
        if readings.disk_free_bytes is not None
        else "",
        f"throttled: {', '.join(readings.throttling)}" if readings.throttling else "",
    ]
    found = list(ok("sensors", ", ".join(filter(None, seen))))
    for word in readings.warnings:
        found += warning("sensors", word, "see docs/operations.md")
    return found


def _sensors(settings: AgentSettings) -> Sensors:
    return sensors_for(settings.agent.sensors_url, remote=settings.remote, models=settings.ollama.models)


async def power(settings: AgentSettings) -> Sequence[Finding]:
    """Watts can be read, by a sensor or by an estimate."""
    source = open_power(settings.power, settings.agent.sensors_url, remote=settings.remote)
    if source is None:
        return ok("power", "the models run elsewhere: nothing to measure")
    try:
        reading = await source.read()
    except Unreadable as error:
        return warning(
            "power", f"nothing tells what this device draws: {error}", "see docs/energy.md; DROVER_POWER chooses"
        )
    finally:
        await source.close()
    if not reading.measured:
        do = "a smart plug (DROVER_POWER_PLUG_URL) measures it"
        return warning("power", f"{reading.watts:.1f} W by estimate ({reading.source}): no sensor", do)
    return ok("power", f"{reading.watts:.1f} W ({reading.source})")


async def name(settings: AgentSettings) -> Sequence[Finding]:
    """No two agents have this device's name."""
    device, subjects = settings.agent.device, Subjects(settings.bus.prefix)
    patient = settings.bus.model_copy(update={"connect_wait_s": WAIT_S})
    boots: set[str] = set()

    def hear(delivery: Delivery) -> None:
        if not delivery.no_responders and not delivery.refused:
            boots.add(boot_of(delivery))

    try:
        inbox = own_inbox("device", device)
        async with connect_nats(options_from(patient, name=f"drover-doctor-{device}", inbox_prefix=inbox)) as bus:
            answers = bus.new_inbox()
            await bus.subscribe(answers, hear)
            await bus.publish(subjects.device(device, "probe"), b"{}", reply=answers)
            await asyncio.sleep(NAMESAKE_S)
    except FleetError as error:
        return warning(
            "name", f"nobody can tell whether {device} is the only one of its name", f"see nats: {error.message}"
        )
    if len(boots) > 1:
        do = "set DROVER_DEVICE on all but one, as for cards that were copied"
        return fault("name", f"{len(boots)} agents are called {device} (boots {', '.join(sorted(boots))})", do)
    return ok("name", f"{device}: {'one agent of this name runs' if boots else 'no agent runs under this name'}")
