"""Which knobs of an agent turn while it runs; how they do is known to who holds the parts, which is the agent itself."""

from __future__ import annotations

from common.reloading import OF_BUS, Knobs

KNOBS = Knobs(
    live={
        "log": "level format",
        "agent": "slots heartbeat_s topics site grace_s flush_ms poll_s",
        "ollama": "num_parallel context_length keep_alive",
        "cloud": "budget_day_usd budget_usd",
        "power": "busy_hz idle_s",
    },
    restart={
        "bus": OF_BUS,
        "agent": "device backend sensors_url metrics",
        "ollama": "host models silence_s",
        "cloud": "models base_url api_key key_from organization project state_dir silence_s retries",
        "power": "readers offset_w idle_w busy_w hwmon tegrastats plug_url plug_kind plug_field plug_token sysfs",
        "traces": "endpoint",
    },
    elsewhere={},
)
