"""Which processes make up a fleet on one machine, with their arguments and environments; it runs none of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_type_hints

from common.origins import UP_GAVE
from common.settings import LogSection, knob_of
from dispatcher.cli.plan import SimulatedDevice
from dispatcher.cli.processes import Spec
from dispatcher.cli.state import StateDir, tail
from dispatcher.settings import UpSettings

_LISTENING = re.compile(r"listening on (http://\S+:(\d+))")
CLOUD = "cloud"
"""What the device with the paid models is called."""
LEDGER_S = 8.0
"""What the ledger takes, at most, to write what lies in its stream."""

_OWN = frozenset(knob_of(page, field) for page in get_type_hints(UpSettings).values() for field in page.model_fields)
"""The knobs that `drover up` reads itself."""

MARGIN_S = 5.0
"""What a process gets beyond its own grace before it is killed."""


def python(*arguments: str) -> tuple[str, ...]:
    """Give the command that runs one of our modules; -P keeps the working directory's own packages out of its way."""
    return (sys.executable, "-P", "-m", *arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Gives the specification of each process."""

    settings: UpSettings
    state: StateDir
    nats_url: str
    http_port: int
    http_host: str
    """Where the bridge listens: what the settings name, unless that is for other machines and there is no key."""
    http_fd: int | None = None
    """The socket on that port, which each bridge gets in its turn; without it each takes the port for itself."""
    metrics: str = ""
    """Where the dispatcher shows its metrics, unless its own settings say so."""

    def nats(self, program: str) -> Spec:
        return self._spec("nats", (program, "--config", str(self.state.nats_config)))

    def dispatcher(self) -> Spec:
        env = {"DROVER_METRICS": self.metrics} if self.metrics else {}
        return self._spec(
            "dispatcher", python("dispatcher", "dispatcher"), env=env, grace_s=self.settings.dispatcher.grace_s
        )

    def ledger(self) -> Spec:
        """The ledger; its file is in the state directory, and it gets its last records after the dispatcher is gone."""
        env = {"DROVER_STATE_DIR": str(self.state.path)}
        return self._spec("ledger", python("dispatcher", "ledger", "serve"), env=env, grace_s=LEDGER_S)

    def bridge(self) -> Spec:
        env = {"DROVER_HTTP_HOST": self.http_host, "DROVER_HTTP_PORT": str(self.http_port)}
        argv = python("dispatcher", "bridge")
        if self.http_fd is not None:
            argv = python("dispatcher.cli.handover", str(self.http_fd), *argv)
        spec = self._spec("bridge", argv, env=env, grace_s=self.settings.bridge.grace_s)
        return spec if self.http_fd is None else replace(spec, fds=(self.http_fd,))

    def real_agent(self) -> Spec:
        return self._spec("agent", python("agents"), grace_s=self.settings.up.agent_grace_s)

    def simulator(self, device: SimulatedDevice) -> Spec:
        """The simulator takes a free port at its first start, and that one again at each later start: its agent knows it."""
        name = f"simulator-{device.name}"
        log = self.state.log_file(name)

        def argv() -> tuple[str, ...]:
            port = (_LISTENING.search("\n".join(tail(log, 200))) or ("", "", "0"))[2]
            options = {"--profile": device.profile, "--port": port, "--num-parallel": str(self.slots(device))}
            options["--time-factor"] = f"{self.settings.up.time_factor:g}"
            return python("agents.simulator", *(word for option in options.items() for word in option))

        return Spec(name=name, argv=argv, log_file=log)

    def simulated_agent(self, device: SimulatedDevice, url: str) -> Spec:
        slots = str(self.slots(device))
        env = {
            "DROVER_DEVICE": device.name,
            "DROVER_TOPICS": ",".join(device.role.topics),
            "DROVER_SLOTS": slots,
            "DROVER_SENSORS_URL": f"{url}/sim/sensors",
            "OLLAMA_HOST": url,
            "OLLAMA_NUM_PARALLEL": slots,
        }
        return self._spec(f"agent-{device.name}", python("agents"), env=env, grace_s=self.settings.up.agent_grace_s)

    def cloud_agent(self) -> Spec:
        """An agent for paid models, whose slots are not those of the simulated devices; key, prices and budget it reads itself."""
        env = {"DROVER_DEVICE": CLOUD, "DROVER_BACKEND": "openai", "DROVER_SLOTS": "", "DROVER_SENSORS_URL": ""}
        env["DROVER_STATE_DIR"] = str(self.state.path)
        return self._spec(f"agent-{CLOUD}", python("agents"), env=env, grace_s=self.settings.up.agent_grace_s)

    def slots(self, device: SimulatedDevice) -> int:
        return self.settings.up.slots or device.role.slots

    def _spec(
        self, name: str, argv: tuple[str, ...], *, env: Mapping[str, str] | None = None, grace_s: float = 0.0
    ) -> Spec:
        given = {"NATS_URL": self.nats_url, "LOG_FORMAT": log_format(self.settings.log), **(env or {})}
        return Spec(
            name=name,
            argv=lambda: argv,
            log_file=self.state.log_file(name),
            env={**given, UP_GAVE: " ".join(sorted(given.keys() & _OWN)), "PYTHONUNBUFFERED": "1"},
            grace_s=grace_s + MARGIN_S,
        )


def log_format(log: LogSection) -> Literal["console", "json"]:
    """Give the form of all logs of a fleet on one machine: people read them, and quoted ones stand among plain lines."""
    return "console" if log.format == "auto" else log.format


def simulator_url(spec: Spec) -> str | None:
    """Give the address that a simulator has printed; None until it has."""
    found = _LISTENING.search("\n".join(tail(spec.log_file, 200)))
    return found[1] if found else None
