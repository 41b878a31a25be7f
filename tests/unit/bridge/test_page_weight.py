"""What a browser loads before it shows a view: little enough for a Pi to serve and a phone to read."""

from __future__ import annotations

import gzip

from dispatcher.bridge.pages import Assets
from dispatcher.bridge.pages.assets import without_comments

LIMIT = 105_500
"""Bytes of JavaScript of all ten views together, each file compressed by itself, as it travels: 5 % above the 100 kB that were
wanted. 56 kB of it are vendored; no view alone loads more than 65 kB (tests/architecture/test_readme.py)."""

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


def test_what_is_sent_is_what_is_written_but_for_comments_and_indentation() -> None:
    """Lines of code stay as they are, those with a comment behind them too; vendored files stay whole."""
    written = (
        b'// Why.\nconst a = 1; // one\n\n/** What\n * it does. */\nexport const b = "// no comment";\n  // indented\n'
    )

    assert without_comments(written) == b'const a = 1; // one\n\nexport const b = "// no comment";\n'


def test_a_file_is_sent_as_it_was_compressed() -> None:
    """The same bytes come out for clients with and without gzip."""
    found = Assets().get("core/api.js")
    assert found is not None
    plain, packed = found.response(takes_gzip=False), found.response(takes_gzip=True)

    assert gzip.decompress(packed.body) == plain.body
