"""How the agent shows itself to `nats micro`: who it is and how its doors stand, as values; it answers nobody itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.heartbeat import Identity
from agents.inventory import Stock
from agents.tally import Workload
from common import codec
from common.discovery import EndpointStats, ServiceInfo
from common.messages import DeviceState

NAME = "llm-agent"


def service_info(identity: Identity) -> ServiceInfo:
    """Name the service. Its id is the boot: a restarted agent is another instance, and a device's name may fill the 64
    characters of an id alone."""
    return ServiceInfo(
        name=NAME,
        id=identity.boot,
        version=identity.agent_version,
        description="runs chat jobs on one device",
        metadata={"device": identity.device, "boot": identity.boot, "backend": identity.backend},
    )


def endpoints(
    subject: Callable[[str], str], state: DeviceState, workload: Workload, stock: Stock
) -> Sequence[EndpointStats]:
    """Give the doors as they stand; `subject` gives the subject of a verb. All of them hear every request: no queue group."""
    job = EndpointStats(
        name="job",
        subject=subject("job"),
        requests=workload.asked,
        errors=workload.failed,
        last_error=workload.last_error,
        processing_ns=round(workload.spent_s * 1e9),
        data={
            "state": str(state),
            "slots": workload.slots,
            "in_flight": workload.in_flight,
            "models": [model.name for model in stock.models],
            "loaded": [model.name for model in stock.models if model.loaded],
            "speeds": {model: codec.plain(speed) for model, speed in workload.speeds.items()},
        },
    )
    return (job, *(EndpointStats(name=verb, subject=subject(verb)) for verb in ("cancel", "drain", "probe", "load")))
