"""What a browser loads before it shows a view: little enough for a Pi to serve and a phone to read."""

from __future__ import annotations

import gzip
from pathlib import Path

import dispatcher.bridge

UI = Path(dispatcher.bridge.__file__).parent / "ui"
LIMIT = 100_000
"""Bytes of JavaScript, each file compressed by itself, as it would travel."""

DOCS = ("docs.js", "vendor/swagger-ui")
"""Loaded by `/docs` alone."""


def test_the_javascript_of_the_page_is_light() -> None:
    """Our own modules and those of others, with all views, are at most 100 kB after gzip."""
    sizes = {
        name: len(gzip.compress(path.read_bytes(), 9, mtime=0))
        for path in UI.rglob("*")
        if path.suffix in (".js", ".mjs") and not (name := str(path.relative_to(UI))).startswith(DOCS)
    }
    table = "\n".join(f"{size:7d} {name}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]))

    assert len([name for name in sizes if name.startswith("vendor/")]) >= 6, table
    assert sum(sizes.values()) <= LIMIT, f"\n{sum(sizes.values()):7d} in all, of {LIMIT}\n{table}"
