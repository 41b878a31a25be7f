"""`drover doctor`: looks at this machine, at the servers that its settings name, and at the fleet; it changes nothing.

It works where nothing runs, where a fleet does, and beside a single process. What only an agent can look at, an agent is asked.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from common import codec, doctor, doctor_machine
from common.addresses import OFF
from common.doctor import Check, Finding, Verdict, fault, ok, warning
from common.errors import ConfigError
from common.settings import load
from common.subjects import Subjects
from dispatcher.cli import doctor_fleet, doctor_servers, nats_server
from dispatcher.cli.cache_words import plain
from dispatcher.cli.cast import python
from dispatcher.cli.config import PROCESSES, TREES, ask_agent, by_fault, misspelt, troubles
from dispatcher.cli.connect import bus_section, shell_settings
from dispatcher.cli.kin import orphans
from dispatcher.cli.state import Addresses, StateDir
from dispatcher.settings import BridgeSettings, DispatcherSettings, LedgerSettings, UpSettings
from dispatcher.settings.metrics import DEFAULT_PORT

_ONCE = frozenset(
    {"python", "packages", ".env", "seeds", "memory", "clock", "nats", "jetstream", "nats rights", "settings", "name"}
)
"""What this command looks at itself, so that the agent's word of it is not told again, and what this shell's user may not ask."""

_SLOW_S = 90.0
"""A slow board takes half a minute to start a process of ours, and several are started at once."""


async def examine(*, as_json: bool) -> int:
    """Look, print what was found, and give the exit status: 1 for a fault."""
    findings = await doctor.look(checks(), limit_s=_SLOW_S)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty({'findings': doctor.wire(findings)})}\n")
    else:
        sys.stdout.writelines(f"{plain(line)}\n" for line in doctor.lines(findings))
    return doctor.status(findings)


def checks() -> Mapping[str, Check]:
    """Give what is looked at; with settings that can't be, only what needs none."""
    bare: dict[str, Check] = {
        "python": doctor.aside(doctor_machine.python),
        "packages": doctor.aside(doctor_machine.packages),
        "memory": doctor.aside(doctor_machine.memory),
        "clock": doctor.aside(doctor_machine.clock),
        "settings": settings,
    }
    try:
        shell, trees = shell_settings(), {name: load(tree) for name, tree in TREES.items()}
    except ConfigError:
        return bare
    up: UpSettings = trees["up"]
    dispatcher: DispatcherSettings = trees["dispatcher"]
    state = StateDir(up.up.state_dir)
    fleet, bus = state.running(), bus_section(shell)
    wanted = "url" in shell.bus.model_fields_set or fleet is not None
    subjects = Subjects(bus.prefix)
    return {
        **bare,
        "env": doctor.aside(doctor_machine.env_file, *trees.values()),
        "seeds": doctor.aside(doctor_machine.secret_files, bus),
        "state": doctor.aside(doctor_machine.directory, up.up.state_dir, "state"),
        "leftovers": partial(leftovers, state, fleet),
        "nats-server": partial(nats_program, up, needed="url" not in shell.bus.model_fields_set),
        "nats": partial(
            doctor_servers.nats if wanted else doctor_servers.no_nats, bus, (subjects.reload("show"), "$SRV.PING")
        ),
        "redis": partial(doctor_servers.redis, dispatcher.cache.redis_url.get_secret_value()),
        "ports": partial(doctor_servers.ports, ports_of(up)),
        "keys": partial(keys, trees["bridge"]),
        "ledger": doctor.aside(doctor_servers.ledger, ledger_file(trees["ledger"])),
        "embedder": partial(embedder, dispatcher),
        "fleet": partial(doctor_fleet.fleet, bus, subjects, expected=wanted, state=state),
        "agent": partial(agent, up),
    }


async def settings() -> Sequence[Finding]:
    """Every process could start with them."""
    wrong, known = await troubles(seeds=False)  # another check looks at those
    found: list[Finding] = []
    for said, who in by_fault(wrong).items():
        found += fault("settings", f"{', '.join(who)}: {said}", "mend it in .env or in the environment")
    if found:
        return found
    for doubt in misspelt(known):
        found += warning("settings", doubt, "mend or remove it")
    return found or ok("settings", f"{', '.join(PROCESSES)} can work with them; drover config show tells them")


async def nats_program(up: UpSettings, *, needed: bool) -> Sequence[Finding]:
    """The program is there, and new enough, where `drover up` would start it."""
    try:
        program = nats_server.program(up.up.nats_server)
    except ConfigError as error:
        if not needed:
            return ok("nats-server", "not installed here, nor needed: NATS_URL names a server")
        return fault("nats-server", f"{up.up.nats_server} was not found", error.message)
    process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return ok("nats-server", f"{program}: {said.decode(errors='replace').strip().removeprefix('nats-server: ')}")


async def leftovers(state: StateDir, fleet: Addresses | None) -> Sequence[Finding]:
    """No process of a fleet that was killed is left."""
    if alone := await asyncio.to_thread(orphans, state):
        do = f"end them (kill {' '.join(str(one.pid) for one in alone)}), and start the fleet again"
        return warning("leftovers", f"of a fleet that was killed: {', '.join(map(str, alone))}", do)
    if fleet is not None:
        return ok("leftovers", f"drover up runs here (process {fleet.pid}): {fleet.http_url}")
    if (state.path / "up.json").exists():
        return ok("leftovers", "the last fleet here was killed; nothing is left of it that would hinder the next")
    return ok("leftovers", "no fleet of drover up runs here, and none was left")


def ports_of(up: UpSettings) -> Sequence[doctor_servers.Port]:
    """Give the ports that a fleet on this machine takes."""
    metrics = up.metrics.address
    number = DEFAULT_PORT if not metrics else 0 if metrics == OFF else int(metrics.rpartition(":")[2])
    return (
        doctor_servers.Port(up.up.nats_port, "NATS", "DROVER_NATS_PORT"),
        doctor_servers.Port(up.bridge.port, "the bridge", "DROVER_HTTP_PORT"),
        doctor_servers.Port(number, "metrics", "DROVER_METRICS"),
    )


async def keys(bridge: BridgeSettings) -> Sequence[Finding]:
    """Nobody from elsewhere comes in without a key."""
    section = bridge.bridge
    if section.host in {"127.0.0.1", "::1", "localhost"}:
        return ok("keys", f"the bridge listens on {section.host}: only this machine reaches it")
    if section.keys == "off" or section.allow_remote:
        knob = "DROVER_HTTP_KEYS=off" if section.keys == "off" else "DROVER_HTTP_ALLOW_REMOTE"
        do = "make keys (drover keys add NAME), and unset it; or listen on 127.0.0.1"
        return fault("keys", f"whoever reaches {section.host} uses the fleet without a key ({knob})", do)
    return ok("keys", f"the bridge listens on {section.host}, and asks for keys")


def ledger_file(tree: LedgerSettings) -> Path | None:
    """Give SQLite's file; None where there is no ledger, or another database."""
    url = tree.ledger.database_url.get_secret_value()
    if not tree.ledger.enabled or (url and not url.startswith("sqlite:///")):
        return None
    return Path(url.removeprefix("sqlite:///")) if url else tree.ledger.state_dir / "ledger.db"


async def embedder(tree: DispatcherSettings) -> Sequence[Finding]:
    """What makes vectors is there, and loads."""
    if tree.embed.tier == "none":
        return ok("embedder", "none is wanted (DROVER_EMBEDDER): texts are routed by their features alone")
    process = await asyncio.create_subprocess_exec(
        *python("dispatcher", "embedder", "check"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rows = [row.strip() for row in said.decode(errors="replace").splitlines() if row.strip()]
    seen = (rows[0] if rows else "it says nothing").removeprefix("drover: ")
    if process.returncode:
        return fault("embedder", seen, "choose another: drover embedder use static")
    return ok("embedder", seen)


async def agent(up: UpSettings) -> Sequence[Finding]:
    """What an agent on this machine would find. Without Ollama `drover up` simulates devices: that is no fault here."""
    told = codec.decode(await ask_agent("--doctor", "--json"))
    found = []
    for row in told.get("findings", []):
        if row["check"] in _ONCE:
            continue
        verdict = Verdict(row["verdict"])
        do = row["do"]
        if row["check"] == "ollama" and verdict is Verdict.FAULT:
            verdict, do = Verdict.WARNING, f"{do}; until then drover up simulates {up.up.devices}"
        found.append(Finding(f"agent: {row['check']}", verdict, row["seen"], do))
    return found
