"""What of the cache a request may have: its own wish, its tenant's mode, and what it asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.frames import Finish
from common.messages import CacheWish, Role
from dispatcher.outcomes import Delivered, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`exact` and `semantic`: whether answers are looked for so; `shares`: whether one that is just being made is heard with the
    job that makes it; `serves`: whether one that was found by likeness is given, or only told of. `keeps`: whether the job's own
    answer is kept, and with `likens` so that it is found by likeness. `why` says what is out, in words."""

    exact: bool = False
    shares: bool = False
    semantic: bool = False
    serves: bool = False
    keeps: bool = False
    likens: bool = False
    why: str = ""


def plan(job: Job, mode: str, *, max_temperature: float) -> Plan:
    """Say what a job may have, of a tenant whose mode this is."""
    wish, out = job.request.cache, _out(job, max_temperature)
    if out:
        return Plan(why=out)
    unlike = _unlike(job)
    likens = not unlike and mode in {"shadow", "semantic"} and wish is not CacheWish.EXACT
    if wish is CacheWish.REFRESH:
        return Plan(keeps=True, likens=likens, why="the request asked for a new answer")
    shares = not job.request.tools  # a call that several agents hear would be made several times
    whole = Plan(exact=True, shares=shares, keeps=True, semantic=likens, likens=likens, serves=mode == "semantic")
    if wish is CacheWish.SEMANTIC and not likens:
        return replace(whole, why=unlike or "likeness is not turned on for the tenant")
    return replace(whole, why=unlike) if unlike and mode != "exact" else whole


def _out(job: Job, max_temperature: float) -> str:
    """Say why a job has no cache at all; empty when it has."""
    request = job.request
    if job.embeds:
        return "embeddings are not kept"
    temperature = request.options.temperature
    if request.cache is CacheWish.OFF:
        return "the request turned it off"
    if request.resume:
        return "the answer was begun elsewhere"
    return "the temperature asks for variety" if temperature is not None and temperature > max_temperature else ""


def _unlike(job: Job) -> str:
    """Say why a job is never answered by likeness, whatever it asks; empty when it may be."""
    if job.request.tools or any(message.tool_calls or message.role is Role.TOOL for message in job.messages):
        return "tools"
    if job.messages[-1].role is not Role.USER:
        return "the last word is not the user's"
    return ""


def unsound(job: Job, delivered: Delivered, text: str) -> str:
    """Say why an answer must not be kept; empty when it is whole, and one device's own."""
    end, cascaded = delivered.end, delivered.cascaded
    if end is None or delivered.error is not None:
        return "it failed"
    faults = {
        "it was cut off": end.finish is Finish.LENGTH,
        "it calls tools": end.finish is Finish.TOOL_CALLS or bool(end.tool_calls),
        "it has no end of its own": end.finish is not Finish.STOP,
        "it is empty": not text.strip(),
        "several devices wrote it": bool(job.request.resume) or any(one.continues for one in delivered.attempts),
        "it did not hold when it was checked": cascaded is not None and bool(cascaded.instead),
    }
    return next((why for why, found in faults.items() if found), "")
