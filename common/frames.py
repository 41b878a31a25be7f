"""The frames of a stream: what an agent sends for one attempt, and what a dispatcher sends to a producer.

ack → (ka | route | tok)* → end | err, then an empty payload without headers (NATS ADR-47). Only `route` is the
dispatcher's own. This module knows neither who reads them nor how they are encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, assert_never

from common import codec, energy, errors, vectors
from common.energy import Energy
from common.messages import EngineTimings, ToolCall, Usage

COST_DIGITS = 9
"""Digits of an amount of dollars behind the point: a token of a cheap model costs some 5e-8."""

MAX_CALLS = 64
"""Calls of functions in one answer; as many as a request may hold in one message."""

MAX_LOGPROBS = 1024
"""Tokens of an answer of which it is told how sure the model was; more would not say more of it."""

END_OF_STREAM = b""
"""An empty payload without headers; `nats req --wait-for-empty` stops at it."""


class Phase(StrEnum):
    """What a job does while it is silent."""

    QUEUE = "queue"
    LOAD = "load"
    PREFILL = "prefill"
    DECODE = "decode"


class Finish(StrEnum):
    """Why the text ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Ack:
    """The job is accepted, before any model work. An agent says in which `boot` of its own, a dispatcher names the job."""

    job: str | None = None
    boot: str | None = None


@dataclass(frozen=True, slots=True)
class RouteNote:
    """Where the job runs now, and why; a later one replaces it. `cache` is there when the answer comes from the cache, and tells
    which it is, like the account's own `cache`."""

    job: str
    device: str
    model: str
    reason: str
    attempt: int
    cache: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of visible text. `seq` counts from 0 without gaps inside one stream."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing to show yet, and still at work; sent each second while silent.

    `silent_s` is how long the backend itself has said nothing: an agent that lives proves nothing of its backend.
    """

    phase: Phase
    eta_s: float | None = None
    position: int | None = None
    silent_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The answer is complete. `tokens` is the number of `tok` frames that came before; `route` is the dispatcher's account.
    `cost_usd` is what the provider of a paid model takes for it, absent where there is none; `cost_estimated` tells that it did not
    count all of it itself. `energy` is what the attempt has taken of its device, and in a dispatcher's frame what all attempts
    have, priced; an unreadable one is as if it were not there. `logprobs` are those of the first tokens, if they were asked for
    and the backend tells. `embeddings` are those of the request's inputs in their order, each as `common.vectors` packs it.

    What an attempt has cost that failed stands in the details of its `Err`, under the same names."""

    finish: Finish = Finish.STOP
    tokens: int = 0
    usage: Usage = Usage()
    engine: EngineTimings = EngineTimings()
    tool_calls: tuple[ToolCall, ...] = ()
    cost_usd: float | None = None
    cost_estimated: bool = False
    energy: Energy | None = None
    logprobs: tuple[float, ...] = ()
    embeddings: tuple[str, ...] = ()
    route: dict[str, Any] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Err:
    """The stream failed; the text so far is all there is."""

    error: errors.FleetError
    route: dict[str, Any] | None = None


Frame = Ack | RouteNote | Token | KeepAlive | End | Err
Terminal = End | Err


def to_wire(frame: Frame) -> dict[str, Any]:
    """Give a frame as the object that travels."""
    match frame:
        case Token():
            return {"t": "tok", "s": frame.seq, "d": frame.text}
        case Ack():
            named = {"job": frame.job, "boot": frame.boot}
            return {"t": "ack", **{key: value for key, value in named.items() if value is not None}}
        case RouteNote():
            return {"t": "route", **codec.plain(frame)}
        case KeepAlive():
            return _keep_alive_to_wire(frame)
        case End():
            return _end_to_wire(frame)
        case Err():
            failed = {"t": "err", **frame.error.to_wire()}
            return failed if frame.route is None else {**failed, "route": frame.route}
    assert_never(frame)


def from_wire(wire: Mapping[str, Any]) -> Frame:
    """Read a frame; a bare `{"error": …}`, as a refused request gets it, is an `Err`. Raises `GarbledReply` for anything else."""
    try:
        if "t" not in wire and "error" in wire:
            return Err(_read_error(wire["error"]))
        return _READERS[wire["t"]](wire)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, errors.BadRequest) as error:
        raise errors.GarbledReply(f"a frame could not be read ({type(error).__name__}: {error})") from error


def _keep_alive_to_wire(frame: KeepAlive) -> dict[str, Any]:
    wire: dict[str, Any] = {"t": "ka", "phase": str(frame.phase)}
    if frame.eta_s is not None:
        wire["eta_ms"] = round(frame.eta_s * 1000)
    if frame.position is not None:
        wire["position"] = frame.position
    if frame.silent_s is not None:
        wire["silent_ms"] = round(frame.silent_s * 1000)
    return wire


def _end_to_wire(frame: End) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "t": "end",
        "s": frame.tokens,
        "finish": str(frame.finish),
        "usage": usage_to_wire(frame.usage),
    }
    engine = {
        key: round(value, 6)
        for key in ("load_s", "prefill_s", "decode_s")
        if (value := getattr(frame.engine, key)) is not None
    }
    if engine:
        wire["engine"] = engine
    if frame.cost_usd is not None:
        wire["cost_usd"] = round(frame.cost_usd, COST_DIGITS)
    if frame.cost_estimated:
        wire["cost_estimated"] = True
    if frame.energy is not None:
        wire["energy"] = energy.to_wire(frame.energy)
    if frame.route is not None:
        wire["route"] = frame.route
    return wire | _lists_to_wire(frame)


def _lists_to_wire(frame: End) -> dict[str, Any]:
    """Give those that there are."""
    lists = {
        "tool_calls": [codec.plain(call) for call in frame.tool_calls],
        "logprobs": [round(one, 3) for one in frame.logprobs[:MAX_LOGPROBS]],
        "embeddings": list(frame.embeddings),
    }
    return {name: one for name, one in lists.items() if one}


def usage_to_wire(usage: Usage) -> dict[str, int]:
    """Give token counts as they travel, with their sum."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _count(value: Any, name: str) -> int:
    """Give a count as other languages can hold it: what a stranger sends may be any number, or none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is no count")
    return value


def _seconds(wire: Mapping[str, Any], name: str) -> float | None:
    """Give a field of milliseconds in seconds."""
    value = wire.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 <= value <= 1e15:
        raise ValueError(f"{name} is no time")
    return float(value) / 1000


def _account(wire: Mapping[str, Any]) -> dict[str, Any] | None:
    route = codec.require_writable(wire.get("route"))
    if route is not None and not isinstance(route, dict):
        raise TypeError(f"route is a {type(route).__name__}")
    return route


def _read_token(wire: Mapping[str, Any]) -> Frame:
    text = wire["d"]
    if not isinstance(text, str):
        raise TypeError(f"d is a {type(text).__name__}")
    return Token(_count(wire["s"], "s"), text)


def _read_keep_alive(wire: Mapping[str, Any]) -> Frame:
    position = wire.get("position")
    return KeepAlive(
        Phase(wire["phase"]),
        _seconds(wire, "eta_ms"),
        None if position is None else _count(position, "position"),
        _seconds(wire, "silent_ms"),
    )


def _read_end(wire: Mapping[str, Any]) -> Frame:
    usage, engine, calls = wire.get("usage") or {}, wire.get("engine") or {}, wire.get("tool_calls") or ()
    if len(calls) > MAX_CALLS:
        raise ValueError(f"tool_calls has {len(calls)} items: {MAX_CALLS} are allowed")
    return End(
        finish=Finish(wire.get("finish", "stop")),
        tokens=_count(wire.get("s", 0), "s"),
        usage=Usage(
            prompt_tokens=_count(usage.get("prompt_tokens", 0), "prompt_tokens"),
            completion_tokens=_count(usage.get("completion_tokens", 0), "completion_tokens"),
        ),
        engine=codec.build(EngineTimings, engine),
        tool_calls=tuple(codec.build(ToolCall, call) for call in calls),
        cost_usd=_cost(wire.get("cost_usd")),
        cost_estimated=wire.get("cost_estimated") is True,
        energy=energy.told(wire.get("energy")),
        logprobs=_logprobs(wire.get("logprobs")),
        embeddings=vectors.read(wire.get("embeddings") or []),
        route=_account(wire),
    )


def _cost(value: Any) -> float | None:
    """Read an amount of dollars; what can be none is no amount."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
        raise ValueError("cost_usd is no amount")
    return float(value)


def _logprobs(value: Any) -> tuple[float, ...]:
    """Read logarithms of probabilities: a bounded list of numbers that are none above 0."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_LOGPROBS:
        raise ValueError("logprobs is no list, or too long a one")
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and -1e6 <= one <= 0 for one in value):
        raise ValueError("logprobs holds what is no logarithm of a probability")
    return tuple(map(float, value))


def _read_route(wire: Mapping[str, Any]) -> Frame:
    attempt = _count(wire["attempt"], "attempt")
    cache = codec.require_writable(wire.get("cache"))
    if cache is not None and not isinstance(cache, dict):
        raise TypeError(f"cache is a {type(cache).__name__}")
    return RouteNote(str(wire["job"]), str(wire["device"]), str(wire["model"]), str(wire["reason"]), attempt, cache)


def _read_error(wire: Mapping[str, Any]) -> errors.FleetError:
    retry_after_s = wire.get("retry_after_s")
    if isinstance(retry_after_s, int | float) and not 0 <= retry_after_s <= 1e9:
        raise ValueError("retry_after_s is no time")
    codec.require_writable(wire.get("details"))
    return errors.from_wire(wire)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Frame]] = {
    "tok": _read_token,
    "ack": lambda wire: Ack(wire.get("job"), wire.get("boot")),
    "route": _read_route,
    "ka": _read_keep_alive,
    "end": _read_end,
    "err": lambda wire: Err(_read_error(wire), _account(wire)),
}
