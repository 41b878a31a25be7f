"""Entries to rows of tables and back: what is written is what is read. Pure; it knows no connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import codec
from common.dates import dated
from common.energy import Energy
from common.records import DeviceEntry, Entry, JobEntry, PowerEntry
from dispatcher.ledger import tables

Row = dict[str, Any]
ENERGY = (
    "joules",
    "idle_joules",
    "lost_joules",
    "measured",
    "source",
    "uncertainty",
    "tokens",
    "cost",
    "currency",
    "co2e_g",
)
TERMS = ("tokens", "topic", "health")
ENGINE = ("load_s", "prefill_s", "decode_s")

_JOB_AS_IS = (
    "record", "dispatcher", "job", "tenant", "kind", "state", "received_unix_s", "total_s", "priority", "asked_model", "device",
    "site", "model", "reason", "strategy", "score", "cost_usd", "cost_estimated", "saved_usd",
    "saved_against", "cloud_usd", "finish", "queue_s", "first_token_s", "error", "error_message", "simulated", "escalated",
)  # fmt: skip
_DEVICE_AS_IS = (
    "record", "dispatcher", "device", "event", "at_unix_s", "boot", "state", "why", "site", "simulated", "temperature_c",
    "throttled", "watts", "agent_version",
)  # fmt: skip
_POWER_AS_IS = (
    "device", "boot", "seq", "from_unix_s", "to_unix_s", "samples", "mean_w", "least_w", "most_w", "energy_j", "jobs_j", "jobs",
    "idle_w", "source", "measured", "uncertainty", "in_flight", "temperature_c", "memory_used_bytes", "memory_total_bytes",
)  # fmt: skip

DUST = 1e-9
"""The part of a sum by which the sum of the same floats in another order may differ."""


def rows_of(entry: Entry) -> dict[str, list[Row]]:
    """Give the rows of an entry, by table."""
    match entry:
        case JobEntry():
            return {tables.jobs.name: [job_row(entry)], tables.shares.name: list(share_rows(entry))}
        case DeviceEntry():
            return {tables.devices.name: [device_row(entry)]}
        case PowerEntry():
            return {tables.power.name: [power_row(entry)]}


def job_row(entry: JobEntry) -> Row:
    """Give the row of a job."""
    wire = codec.plain(entry)
    terms, energy, cache = wire.get("terms") or {}, wire.get("energy") or {}, wire.get("cache")
    return {
        **{name: wire.get(name) for name in _JOB_AS_IS},
        "day": day_of(entry.received_unix_s),
        **{f"terms_{name}": terms.get(name) for name in TERMS},
        **{f"energy_{name}": energy.get(name) for name in ENERGY},
        **{name: getattr(entry.engine, name) for name in ENGINE},
        "prompt_tokens": entry.usage.prompt_tokens,
        "completion_tokens": entry.usage.completion_tokens,
        "attempts": as_text(wire["attempts"]),
        "decision": None if entry.decision is None else as_text(entry.decision),
        "cache": None if cache is None else as_text(cache),
        "cache_outcome": None if cache is None else str(cache.get("outcome", ""))[:64],
    }


def job_entry(row: Mapping[str, Any]) -> JobEntry:
    """Read the row of a job. Raises `BadRequest` where it holds what none can."""
    wire = {name: row[name] for name in _JOB_AS_IS}
    wire["usage"] = {"prompt_tokens": row["prompt_tokens"], "completion_tokens": row["completion_tokens"]}
    wire["engine"] = {name: row[name] for name in ENGINE}
    wire["attempts"] = of_text(row["attempts"])
    if row["terms_tokens"] is not None:
        wire["terms"] = {name: row[f"terms_{name}"] for name in TERMS}
    if row["energy_joules"] is not None:
        wire["energy"] = {name: row[f"energy_{name}"] for name in ENERGY}
    for name in ("decision", "cache"):
        wire[name] = None if row.get(name) is None else codec.decode(row[name].encode())
    return codec.build(JobEntry, wire)


def share_rows(entry: JobEntry) -> Iterator[Row]:
    """Give what each attempt took, as the record has it, and last, as number 0, what no attempt of the record tells: some are left
    out of one that is too large for a message, and what took nothing, as an answer from the cache, has none."""
    if entry.energy is None:
        return
    told = [(number, one, one.energy) for number, one in enumerate(entry.attempts, 1) if one.energy is not None]
    for number, one, part in told:
        yield _share(entry, entry.energy, number, part, (one.device, one.site, one.model))
    rest = _rest(entry.energy, [part for _, _, part in told])
    if rest is not None:
        yield _share(entry, entry.energy, 0, rest, (entry.device, entry.site, entry.model))


def _rest(whole: Energy, parts: list[Energy]) -> Energy | None:
    """Give what is in none of the parts; None where that is less than their sum is exact. Tokens that took no joule are not among
    it: they would make those of devices look cheap."""
    joules = whole.joules - sum(one.joules for one in parts)
    idle_joules = whole.idle_joules - sum(one.idle_joules for one in parts)
    if parts and joules <= DUST * whole.joules and idle_joules <= DUST * whole.idle_joules:
        return None
    return Energy(
        joules=max(0.0, joules),
        idle_joules=max(0.0, idle_joules),
        lost_joules=max(0.0, whole.lost_joules - sum(one.lost_joules for one in parts)),
        measured=whole.measured,  # where only some are, nobody can tell which
        tokens=max(0, whole.tokens - sum(one.tokens for one in parts)) if joules > DUST * whole.joules else 0,
    )


def _share(
    entry: JobEntry, whole: Energy, number: int, part: Energy, where: tuple[str | None, str | None, str | None]
) -> Row:
    of_whole = part.joules / whole.joules if whole.joules else 0.0
    device, site, model = where
    if device == entry.device:
        site = site or entry.site
    return {
        "record": entry.record,
        "number": number,
        "received_unix_s": entry.received_unix_s,
        "day": day_of(entry.received_unix_s),
        "tenant": entry.tenant,
        "device": device,
        "site": site,
        "model": model,
        "joules": part.joules,
        "idle_joules": part.idle_joules,
        "lost_joules": part.lost_joules,
        "measured_joules": part.joules if part.measured else 0.0,
        "tokens": part.tokens,
        "cost": None if whole.cost is None else whole.cost * of_whole,
        "currency": whole.currency,
        "co2e_g": None if whole.co2e_g is None else whole.co2e_g * of_whole,
    }


def device_row(entry: DeviceEntry) -> Row:
    """Give the row of a device's event."""
    wire = codec.plain(entry)
    return {**{name: wire.get(name) for name in _DEVICE_AS_IS}, "throttling": as_text(wire["throttling"])}


def device_entry(row: Mapping[str, Any]) -> DeviceEntry:
    """Read the row of a device's event. Raises `BadRequest`."""
    wire = {name: row[name] for name in _DEVICE_AS_IS}
    return codec.build(DeviceEntry, {**wire, "throttling": of_text(row["throttling"])})


def power_row(entry: PowerEntry) -> Row:
    """Give the row of what a device has drawn."""
    return {
        **{name: getattr(entry, name) for name in _POWER_AS_IS},
        "hour": int(dated(entry.from_unix_s).timestamp() // 3600),
    }


def power_entry(row: Mapping[str, Any]) -> PowerEntry:
    """Read the row of what a device has drawn. Raises `BadRequest`."""
    return codec.build(PowerEntry, {name: row[name] for name in _POWER_AS_IS})


def day_of(unix_s: float) -> str:
    """Name the day of UTC."""
    return dated(unix_s).strftime("%Y-%m-%d")


def as_text(value: Any) -> str:
    """Write what has parts of its own into a text: the codec writes objects alone, so it stands in one."""
    return codec.encode({"": value}).decode()[4:-1]


def of_text(text: str) -> Any:
    """Read it again. Raises `BadRequest`."""
    return codec.decode(f'{{"":{text}}}'.encode())[""]
