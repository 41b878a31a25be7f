"""Write drover.env.example anew from the settings pages; it knows no knob by name.

python deploy/config/generate.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from agents.settings import AgentSettings
from common.settings import Section
from dispatcher.settings import BridgeSettings, DispatcherSettings, LedgerSettings, UpSettings

TARGET = Path(__file__).with_name("drover.env.example")
TREES: tuple[type[Any], ...] = (UpSettings, DispatcherSettings, BridgeSettings, LedgerSettings, AgentSettings)
WIDTH = 118

HEAD = """\
# Every knob of Drover, with its default. Copy this file to .env in the directory where Drover runs, and take the # from
# the lines that you change; an environment variable of the same name wins over the file. Written by `make settings`.
"""
FOOT = """\

# A simulator that is run by hand has a few more: drover-simulator --help
"""


def example() -> str:
    """Give the text of the example file."""
    return HEAD + "".join(_pages()) + FOOT


def sections() -> Iterator[type[Section]]:
    """Give each page of knobs once, in the order of the processes."""
    seen: set[type[Section]] = set()
    for tree in TREES:
        hints = get_type_hints(tree)
        for field in fields(tree):
            page = hints[field.name]
            if page not in seen:
                seen.add(page)
                yield page


def _pages() -> Iterator[str]:
    known: set[str] = set()
    for page in sections():
        knobs = {str(knob.validation_alias): knob.default for knob in page.model_fields.values()}
        new = {name: default for name, default in knobs.items() if name not in known}
        known |= new.keys()
        if new:
            yield f"\n\n## {(page.__doc__ or '').splitlines()[0]}\n"
        for name, default in new.items():
            yield "".join(f"\n{_comment(text)}" for text in _descriptions(name))
            yield f"\n#{name}={_shown(default)}\n"


def _descriptions(name: str) -> list[str]:
    """Give what each page that has the knob says of it: one variable may mean something to two processes."""
    knobs = (knob for page in sections() for knob in page.model_fields.values())
    return list(dict.fromkeys(str(knob.description) for knob in knobs if knob.validation_alias == name))


def _comment(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   "))


def _shown(default: object) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    TARGET.write_text(example(), encoding="utf-8")
