"""Reads what a request sets for the runner: the options map, and how long the model stays; it knows no endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.simulator.clock import FOREVER_S
from agents.simulator.errors import Refused
from agents.simulator.gojson import BadBody

_INTEGER_OPTIONS = (
    "num_predict",
    "num_ctx",
    "num_keep",
    "seed",
    "top_k",
    "repeat_last_n",
    "num_batch",
    "num_gpu",
    "num_thread",
)
_FLOAT_OPTIONS = (
    "temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip


class OptionError(Refused):
    """An option of the wrong type. Ollama finds these while scheduling, hence 500 and not 400."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(500, f'option "{name}" must be {wanted}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that change what the simulator does; the others are checked and dropped, as temperature is."""

    num_predict: int = -1
    num_ctx: int | None = None
    num_keep: int = 4
    seed: int | None = None
    stop: tuple[str, ...] = ()


def parse_options(raw: Mapping[str, Any]) -> Options:
    """Check the options map as Options.FromMap does; raise OptionError. Unknown options are ignored, null is unset."""
    given = {name: value for name, value in raw.items() if value is not None}
    for name in _INTEGER_OPTIONS:
        if name in given and not _is_number(given[name]):
            raise OptionError(name, "of type integer")
    for name in _FLOAT_OPTIONS:
        if name in given and not _is_number(given[name]):
            raise OptionError(name, "of type float32")
    stop = given.get("stop", [])
    if not isinstance(stop, list):
        raise OptionError("stop", "of type array")
    if not all(isinstance(item, str) for item in stop):
        raise OptionError("stop", "of an array of strings")
    return Options(
        num_predict=int(given.get("num_predict", -1)),
        num_ctx=int(given["num_ctx"]) if "num_ctx" in given else None,
        num_keep=int(given.get("num_keep", 4)),
        seed=int(given["seed"]) if "seed" in given else None,
        stop=tuple(stop),
    )


def parse_go_duration(text: str) -> float:
    """Parse a Go duration such as "1h30m" or "-1s" into seconds; raise BadBody."""
    quoted = json.dumps(text)
    match = re.fullmatch(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)", text)
    if match is None:
        unitless = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) is not None
        raise BadBody(f"time: missing unit in duration {quoted}" if unitless else f"time: invalid duration {quoted}")
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", match[2])
    return (-1 if match[1] == "-" else 1) * sum(float(number) * units[unit] for number, unit in parts)


def parse_keep_alive(value: object) -> float | None:
    """Turn a keep-alive into seconds: a number of seconds, or a Go duration; negative is for ever."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            seconds = parse_go_duration(value)
        except BadBody as error:
            raise Refused(400, str(error)) from error
    elif _is_number(value):
        seconds = float(str(value))
    else:
        kind = {bool: "bool", list: "[]interface {}"}.get(type(value), "map[string]interface {}")
        raise Refused(400, f"Unsupported type: '{kind}'")
    return FOREVER_S if seconds < 0 else seconds


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
