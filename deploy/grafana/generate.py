"""Write the dashboards anew from the short list below; it knows neither Prometheus nor what is measured.

python deploy/grafana/generate.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("dashboards")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
RANGE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One panel: queries with the legends that their lines get. `kind` is Grafana's."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    help: str = ""
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One dashboard, left to right and then down."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    tags: tuple[str, ...] = field(default=("drover",))


def stat(title: str, query: str, unit: str = "short", help: str = "") -> Panel:  # noqa: A002  # as Grafana calls it
    return Panel(title, {"": query}, unit, "stat", width=4, height=4, help=help)


def quantiles(histogram: str, by: str = "") -> dict[str, str]:
    """The median and the slow end, of all or of each."""
    group, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    return {
        f"p{share}{legend}": f"histogram_quantile({share / 100:g}, sum by ({group}) (rate({histogram}_bucket[{RANGE}])))"
        for share in (50, 95)
    }


def rate(counter: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({counter}[{RANGE}]))" if by else f"sum(rate({counter}[{RANGE}]))"


# Of several dispatchers each shows the devices for itself, so devices' figures take the greatest and jobs' the sum.
def device(metric: str) -> str:
    return f"max by (device) ({metric})"


BY_DEVICE = "{{device}}"

FLEET = Dashboard(
    "drover-fleet",
    "Drover: fleet",
    (
        stat("Devices alive", 'max(drover_devices{liveness="alive"})'),
        stat("Devices dead", 'max(drover_devices{liveness="dead"})'),
        stat("Jobs running", "sum(drover_jobs_running)"),
        stat("Jobs waiting", "sum(drover_jobs_waiting)"),
        stat("Power now", f"sum({device('drover_device_power_watts')})", "watt"),
        stat("Throttled", f"sum({device('drover_device_throttled')})"),
        Panel("Jobs on devices", {BY_DEVICE: device("drover_device_jobs_in_flight")}, stacked=True),
        Panel("Share of slots in use", {BY_DEVICE: f"{device('drover_device_jobs_in_flight')} / {device('drover_device_slots')}"}, "percentunit"),
        Panel("Temperature", {BY_DEVICE: device("drover_device_temperature_celsius")}, "celsius"),
        Panel("Speed of answers", {"{{device}} {{model}}": "max by (device, model) (drover_device_decode_tokens_per_second)"}, "tok/s", help="Tokens a second, as each device measured."),
        Panel("Speed of prompts", {"{{device}} {{model}}": "max by (device, model) (drover_device_prefill_tokens_per_second)"}, "tok/s"),
        Panel("Memory in use", {BY_DEVICE: f"1 - {device('drover_device_memory_available_bytes')} / {device('drover_device_memory_bytes')}"}, "percentunit"),
        Panel("Disk in use", {BY_DEVICE: f"1 - {device('drover_device_disk_free_bytes')} / {device('drover_device_disk_bytes')}"}, "percentunit"),
        Panel("Attempts by outcome", {"{{outcome}}": rate("drover_attempts_total", "outcome")}, "ops", stacked=True),
        Panel("Share of failed attempts, lately", {BY_DEVICE: device("drover_device_error_ratio")}, "percentunit"),
        Panel("Circuit breakers that are open", {BY_DEVICE: device('drover_device_breaker{state="open"}')}, help="1 while the device gets no jobs, since it failed several."),
        Panel("Warnings", {BY_DEVICE: device("drover_device_warnings")}, help="`drover devices` says what they are."),
        Panel("Battery", {BY_DEVICE: device("drover_device_battery_ratio")}, "percentunit"),
        Panel("What devices are", {"": "max by (device, state, backend, site, power_source, simulated) (drover_device_info)"}, kind="table", width=24),
    ),
)  # fmt: skip

ENERGY = Dashboard(
    "drover-energy",
    "Drover: energy",
    (
        stat("Power now", f"sum({device('drover_device_power_watts')})", "watt"),
        stat("Energy of jobs", "sum(increase(drover_energy_joules_total[$__range]))", "joule", "Above what the devices draw idle."),
        stat("Joules per token", 'sum(increase(drover_energy_joules_total[$__range])) / sum(increase(drover_tokens_total{type="completion"}[$__range]))', "joule"),
        stat("Measured by sensors", 'sum(increase(drover_energy_joules_total{measured="true"}[$__range])) / sum(increase(drover_energy_joules_total[$__range]))', "percentunit"),
        stat("CO₂e", "sum(increase(drover_energy_co2e_grams_total[$__range]))", "massg", "Where a grid factor is set."),
        stat("Cost of energy", "sum(increase(drover_energy_cost_total[$__range]))", help="Where a tariff is set."),
        Panel("Power", {BY_DEVICE: device("drover_device_power_watts")}, "watt", width=12, stacked=True),
        Panel("Power above idle", {BY_DEVICE: f"{device('drover_device_power_watts')} - {device('drover_device_idle_watts')}"}, "watt", width=12, stacked=True),
        Panel("Energy of jobs", {"{{device}}": rate("drover_energy_joules_total", "device")}, "watt", stacked=True, help="Joules a second, by the device that took them, when its jobs end."),
        Panel("Joules per token, by device", {BY_DEVICE: rate("drover_energy_joules_total", "device") + " / " + rate('drover_tokens_total{type="completion"}', "device")}, "joule"),
        Panel("Measured and estimated", {"measured: {{measured}}": rate("drover_energy_joules_total", "measured")}, "watt", stacked=True),
        Panel("Idle while jobs ran", {"idle": rate("drover_energy_idle_joules_total")}, "watt", help="Drawn without the jobs too, and not charged to them."),
        Panel("For nothing", {"lost": rate("drover_energy_lost_joules_total")}, "watt", help="Attempts whose text nobody was given: hedges that were outrun, failures, cancelled jobs."),
        Panel("Saved by the cache", {"saved": rate("drover_cache_saved_joules_total")}, "watt", help="As estimated when the answers were made."),
        Panel("Sensor or estimate", {BY_DEVICE: device("drover_device_power_measured")}, help="1 where a sensor tells the watts."),
        Panel("Battery", {BY_DEVICE: device("drover_device_battery_ratio")}, "percentunit"),
        Panel("Paid models", {"{{model}}": "sum by (model) (increase(drover_cost_usd_total[$__range]))"}, "currencyUSD"),
    ),
)  # fmt: skip

JOBS = Dashboard(
    "drover-jobs",
    "Drover: jobs and latency",
    (
        stat("Jobs", "sum(increase(drover_jobs_total[$__range]))"),
        stat("Failed", 'sum(increase(drover_jobs_total{state="failed"}[$__range])) or vector(0)'),
        stat("Refused", 'sum(increase(drover_jobs_total{state="refused"}[$__range])) or vector(0)'),
        stat("First text, p95", "histogram_quantile(0.95, sum by (le) (rate(drover_job_first_token_seconds_bucket[$__range])))", "s"),
        stat("Whole answer, p95", 'histogram_quantile(0.95, sum by (le) (rate(drover_job_seconds_bucket{state="done"}[$__range])))', "s"),
        stat("Open HTTP streams", "sum(drover_http_streams_open)"),
        Panel("Jobs by end", {"{{state}}": rate("drover_jobs_total", "state")}, "ops", stacked=True),
        Panel("Errors", {"{{error}}": rate('drover_jobs_total{error!=""}', "error")}, "ops", stacked=True),
        Panel("Line", {"waiting": "sum(drover_jobs_waiting)", "running": "sum(drover_jobs_running)", "limit": "sum(drover_jobs_waiting_limit)"}),
        Panel("Wait for a slot", quantiles("drover_job_queue_seconds", "priority"), "s"),
        Panel("Accepted by the device", quantiles("drover_job_accept_seconds"), "s"),
        Panel("Load of the model", quantiles("drover_job_load_seconds", "model"), "s"),
        Panel("Reading of the prompt", quantiles("drover_job_prefill_seconds", "model"), "s"),
        Panel("First text", quantiles("drover_job_first_token_seconds", "model"), "s"),
        Panel("Whole job", quantiles("drover_job_seconds"), "s"),
        Panel("Speed of answers", {"p50 {{model}}": quantiles("drover_job_decode_tokens_per_second", "model")["p50 {{model}}"]}, "tok/s"),
        Panel("Tokens", {"{{type}}": rate("drover_tokens_total", "type")}, "tok/s", stacked=True),
        Panel("Tokens by model", {"{{model}}": rate('drover_model_tokens_total{type="completion"}', "model")}, "tok/s", stacked=True),
        Panel("Hedges", {"{{outcome}}": rate("drover_hedges_total", "outcome")}, "ops", stacked=True),
        Panel("Checked answers", {"escalated: {{escalated}}": rate("drover_cascades_total", "escalated")}, "ops"),
        Panel("HTTP requests", {"{{route}} {{status}}": rate("drover_http_requests_total", "route", "status")}, "reqps", stacked=True),
        Panel("HTTP, first byte", quantiles("drover_http_first_byte_seconds", "route"), "s"),
        Panel("Clients that hung up", {"{{route}}": rate("drover_http_hangups_total", "route")}, "ops"),
        Panel("HTTP bytes", {"out": rate("drover_http_sent_bytes_total"), "in": rate("drover_http_received_bytes_total")}, "Bps"),
        Panel("HTTP requests that are open", {"requests": "sum(drover_http_requests_open)", "streams": "sum(drover_http_streams_open)"}),
        Panel("NATS", {"connected {{instance}}": "drover_nats_connected", "reconnects {{instance}}": "drover_nats_reconnects_total"}),
        Panel("NATS, bytes that wait", {"{{instance}}": "drover_nats_pending_bytes"}, "bytes"),
        Panel("Records that wait for the ledger", {"records": "max(drover_ledger_pending_records)"}),
        Panel("Processor", {"{{job}} {{instance}}": f'rate(process_cpu_seconds_total{{job=~"drover.*"}}[{RANGE}])'}, "percentunit"),
        Panel("Memory", {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"drover.*"}'}, "bytes"),
    ),
)  # fmt: skip

CACHE = Dashboard(
    "drover-cache",
    "Drover: cache of answers",
    (
        stat("Hits", 'sum(increase(drover_cache_lookups_total{outcome="hit"}[$__range])) or vector(0)'),
        stat("Share of hits", 'sum(increase(drover_cache_lookups_total{outcome="hit"}[$__range])) / sum(increase(drover_cache_lookups_total{outcome!="bypass"}[$__range]))', "percentunit"),
        stat("Tokens saved", "sum(increase(drover_cache_saved_tokens_total[$__range]))"),
        stat("Device time saved", "sum(increase(drover_cache_saved_seconds_total[$__range]))", "s"),
        stat("Energy saved", "sum(increase(drover_cache_saved_joules_total[$__range]))", "joule", "As estimated when the answers were made."),
        stat("Store", "min(drover_cache_up)", help="1 while it does what it is asked."),
        Panel("Lookups", {"{{outcome}}": rate("drover_cache_lookups_total", "outcome")}, "ops", width=12, stacked=True),
        Panel("Hits by kind", {"{{kind}}": rate('drover_cache_lookups_total{outcome="hit"}', "kind")}, "ops", width=12, stacked=True),
        Panel("Tokens not made again", {"tokens": rate("drover_cache_saved_tokens_total")}, "tok/s", width=12),
        Panel("How answers are kept", {"": "max by (instance, mode, store) (drover_cache_info)"}, kind="table", width=12),
    ),
)  # fmt: skip

DASHBOARDS = (FLEET, ENERGY, JOBS, CACHE)


def written(dashboard: Dashboard) -> str:
    """Give the JSON of a dashboard."""
    panels: list[dict[str, Any]] = []
    x = y = row = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, row = x + panel.width, max(row, panel.height)
    body = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": list(dashboard.tags),
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    table, stacking = panel.kind == "table", "normal" if panel.stacked else "none"
    defaults: dict[str, Any] = {"unit": "suffix: tok/s" if panel.unit == "tok/s" else panel.unit, "min": 0}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 20 if panel.stacked else 0, "stacking": {"mode": stacking}}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.help,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                **({"format": "table", "instant": True} if table else {}),
            }
            for place_of, (legend, query) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    for one in DASHBOARDS:
        (TARGET / f"{one.uid}.json").write_text(written(one), encoding="utf-8")
