"""What a browser loads before it shows a view: little enough for a Pi to serve and a phone to read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dispatcher.bridge.pages import Assets
from dispatcher.bridge.pages.minified import minified

LIMIT = 100_000
"""Bytes of JavaScript of all ten views together, each file compressed by itself, as it travels. 56 kB of it are vendored; no view
alone loads more than README says (tests/architecture/test_readme.py)."""

DOCS = "docs.js"
"""Loaded by `/docs` alone."""


def test_the_javascript_of_the_page_is_light() -> None:
    """Our own modules and those of others, with all views, stay below the limit after gzip."""
    assets = Assets()
    sizes = {
        name: len(asset.data)
        for name in assets.names
        if name.endswith((".js", ".mjs")) and name != DOCS and (asset := assets.get(name)) is not None
    }
    table = "\n".join(f"{size:7d} {name}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]))

    assert len([name for name in sizes if name.startswith("vendor/")]) >= 6, table
    assert sum(sizes.values()) <= LIMIT, f"\n{sum(sizes.values()):7d} in all, of {LIMIT}\n{table}"


def test_what_is_sent_does_what_is_written() -> None:
    """Comments, spaces and names inside functions go; what others import, and what a reader sees, stays."""
    written = b"""// Why.
/** What it does. */
export function greet(visitor) {
  const greeting = `Good  day, ${visitor}`; // "both spaces"
  return greeting;
}
export const address = "https://example.org//";
"""

    sent = minified({"core/greet.js": written})["core/greet.js"].decode()

    assert sent.startswith("export function greet(")
    assert all(kept in sent for kept in ("Good  day, ${", 'address="https://example.org//"'))
    assert not any(gone in sent for gone in ("Why", "What it does", "both spaces", "visitor", "\n"))


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        ("import no_minifier_here", "ModuleNotFoundError: No module named 'no_minifier_here'"),
        ("print('no JSON')", "Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_where_no_minifier_works_modules_are_sent_as_written(tmp_path: Path, worker: str, why: str) -> None:
    """The page is there, and the log says why it is larger."""
    script = tmp_path / "worker.py"
    script.write_text(worker, encoding="utf-8")
    modules = {"core/a.js": b"// Why.\nexport const a = 1;\n"}

    with capture_logs() as logs:
        sent = minified(modules, script)

    assert sent == modules
    assert [(one["event"], one["why"]) for one in logs] == [("page_as_written", why)]


def test_a_file_is_sent_as_it_was_compressed() -> None:
    """The same bytes come out for clients with and without gzip."""
    found = Assets().get("core/api.js")
    assert found is not None
    plain, packed = found.response(takes_gzip=False), found.response(takes_gzip=True)

    assert gzip.decompress(packed.body) == plain.body
