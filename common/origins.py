"""Where the value of a knob came from: the environment, a line of `.env`, or nowhere, so that it is the default.

It reads what `common.settings` reads, by the same rules, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from dotenv.parser import parse_stream

from common import settings
from common.errors import ConfigError


class Source(StrEnum):
    """Who set a knob."""

    DEFAULT = "default"
    FILE = ".env"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set a knob, and in which line of `.env`. `passed_over` is a line there that the environment overrides."""

    source: Source
    line: int | None = None
    passed_over: int | None = None

    def __str__(self) -> str:
        """Say it as people read it."""
        return f"{self.source} line {self.line}" if self.line else str(self.source)


@dataclass(frozen=True, slots=True)
class Line:
    """What a line of `.env` says of a variable."""

    name: str
    value: str
    number: int


def lines() -> tuple[Line, ...]:
    """Give the lines of `.env` that set something; of a name that comes twice the last counts. Raises `ConfigError`."""
    path = settings.ENV_FILE
    try:
        with path.open(encoding="utf-8") as stream:
            return tuple(
                Line(one.key, one.value or "", one.original.line + _blank(one.original.string))
                for one in parse_stream(stream)
                if one.key is not None
            )
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.absolute()} can't be read: {error}") from error


def _blank(text: str) -> int:
    """Count the line ends before what is set: the parser counts blank lines to what follows them."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def origin_of(knob: str, file: Mapping[str, Line]) -> Origin:
    """Say where a knob's value came from; `file` has the lines of `.env` by the knob's name in lower case. An empty value is none,
    but one in the environment hides the file's."""
    environment = {name.lower(): value for name, value in os.environ.items()}
    line = file.get(knob.lower())
    if knob.lower() in environment:
        source = Source.ENVIRONMENT if environment[knob.lower()] else Source.DEFAULT
        return Origin(source, passed_over=line.number if line is not None and line.value else None)
    if line is not None and line.value:
        return Origin(Source.FILE, line=line.number)
    return Origin(Source.DEFAULT)


def by_name() -> dict[str, Line]:
    """Give the lines of `.env` by name in lower case, as knobs are looked up. Raises `ConfigError`."""
    return {line.name.lower(): line for line in lines()}


UP_GAVE = "DROVER_UP_GAVE"
"""In the environment of a process below `drover up`: which knobs it was given from there, separated by blanks. Of their lines in
`.env` it is `drover up` that tells what has become of them."""


@dataclass(frozen=True, slots=True)
class Told:
    """One knob of a process, as people may see it."""

    page: str
    knob: str
    value: str
    default: str
    origin: Origin

    @property
    def changed(self) -> bool:
        """Whether somebody set it to something else than the default."""
        return self.origin.source is not Source.DEFAULT and self.value != self.default


def told(tree: Any) -> Iterator[Told]:
    """Tell all knobs of a process's settings, each once, though two of its pages may have it. Raises `ConfigError`."""
    file, seen = by_name(), set[str]()
    for field in fields(tree):
        page: settings.Section = getattr(tree, field.name)
        plain = type(page).model_construct()
        for name in type(page).model_fields:
            knob = settings.knob_of(type(page), name)
            if knob in seen:
                continue
            seen.add(knob)
            yield Told(
                page=field.name,
                knob=knob,
                value=settings.shown(page, name),
                default=settings.shown(plain, name),
                origin=origin_of(knob, file),
            )


def passed_over(tree: Any) -> tuple[Line, ...]:
    """Give the lines of `.env` that change nothing here, since the environment of this process says otherwise. Raises
    `ConfigError`."""
    file = by_name()
    given = set(os.environ.get(UP_GAVE, "").split())
    knobs = {one.knob for one in told(tree) if one.origin.passed_over is not None} - given
    return tuple(
        line
        for knob in sorted(knobs)
        if (line := file[knob.lower()]).value != next(v for k, v in os.environ.items() if k.lower() == knob.lower())
    )


def strangers(tree: Any) -> tuple[Line, ...]:
    """Give the lines of `.env` that look like ours and that this process does not read: another may. Raises `ConfigError`."""
    known = {one.knob for one in told(tree)}
    return tuple(line for line in by_name().values() if line.name.upper() not in known and looks_like_ours(line.name))


def looks_like_ours(name: str) -> bool:
    """Tell whether a variable that nobody reads may be meant for us; the simulator's knobs have no page."""
    return name.upper().startswith("DROVER_") and not name.upper().startswith("DROVER_SIM_") and name != UP_GAVE
