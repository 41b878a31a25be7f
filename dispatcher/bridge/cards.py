"""A device as the API and the page's live stream tell of it: one card for both; it asks nobody."""

from __future__ import annotations

from typing import Any

from common import codec
from common.messages import ModelInfo
from dispatcher.bridge.presence import standing
from dispatcher.fleet import Device

SAID = (
    "reason",
    "site",
    "interval_s",
    "slots",
    "in_flight",
    "closed_s",
    "temperature_c",
    "throttled",
    "throttling",
    "warnings",
    "watts",
    "watts_measured",
    "watts_source",
    "idle_w",
    "busy_w",
    "power_mode",
    "battery_percent",
    "on_battery",
    "memory_total_bytes",
    "memory_available_bytes",
    "disk_total_bytes",
    "disk_free_bytes",
    "gpu",
    "remote",
    "needs_key",
    "embeds",
    "simulated",
    "backend",
    "backend_version",
    "agent_version",
    "uptime_s",
    "done",
    "failed",
    "refused",
    "topics",
)
"""What a heartbeat says that is told as it is."""

_OF_MODEL = ("loaded", "memory_bytes", "gpu_bytes", "expires_unix_s", "loaded_context_tokens")


def device_card(device: Device, heard_unix_s: float) -> dict[str, Any]:
    """Say how a device is. All its figures are of the moment at which its last heartbeat came."""
    beat = codec.plain(device.beat)
    return {
        "name": device.name,
        "state": standing(device),
        "liveness": str(device.liveness),
        "seen_unix_s": heard_unix_s,
        "free_slots": device.free_slots,
        **{name: beat[name] for name in SAID if name in beat},
        "models": [_model(name, info) for name, info in sorted(device.models.items())],
        "speeds": beat.get("speeds", {}),
    }


def _model(name: str, info: ModelInfo) -> dict[str, Any]:
    known = {said: value for said in _OF_MODEL if (value := getattr(info, said)) is not None}
    return {"name": name, **known}
