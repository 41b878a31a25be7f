"""What the clients did, as a table for people: pure, it knows neither client nor bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a client did, over keys or without; `saw` tells what came of it, or what went wrong."""

    client: str
    version: str
    step: str
    ok: bool
    saw: str
    keys: bool


def failures(steps: Sequence[Step]) -> list[str]:
    """Give a line for each step that failed."""
    return [f"{one.client} {one.version}, {_how(one.keys)}: {one.step}: {one.saw}" for one in steps if not one.ok]


def markdown(steps: Sequence[Step], left_out: Sequence[str], heading: str) -> str:
    """Write the report: clients first, then what each saw. `left_out` says which were not tried, and why."""
    parts = ["# Clients against the bridge", "", heading, "", *_clients(steps), ""]
    if left_out:
        parts += ["Left out:", "", *(f"- {one}" for one in left_out), ""]
    if failed := failures(steps):
        parts += ["Failed:", "", *(f"- {_cell(one)}" for one in failed), ""]
    parts += ["## Step by step", "", *_details(steps)]
    return "\n".join(parts) + "\n"


def _clients(steps: Sequence[Step]) -> list[str]:
    lines = ["| client | version | what it did | without keys | with a key |", "| --- | --- | --- | --- | --- |"]
    for name in dict.fromkeys(one.client for one in steps):
        own = [one for one in steps if one.client == name]
        did = "; ".join(dict.fromkeys(one.step for one in own))
        lines.append(f"| {name} | {own[0].version} | {did} | {_sum(own, keys=False)} | {_sum(own, keys=True)} |")
    return lines


def _sum(steps: Sequence[Step], *, keys: bool) -> str:
    own = [one for one in steps if one.keys is keys]
    good = sum(one.ok for one in own)
    if not own:
        return "not tried"
    return f"ok, {good}" if good == len(own) else f"**{len(own) - good} of {len(own)} failed**"


def _details(steps: Sequence[Step]) -> list[str]:
    lines = ["| client | keys | step | ok | what it showed |", "| --- | --- | --- | --- | --- |"]
    for one in steps:
        cells = (one.client, _how(one.keys), one.step, "ok" if one.ok else "**no**", _cell(one.saw))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _how(keys: bool) -> str:
    return "with a key" if keys else "no keys"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
