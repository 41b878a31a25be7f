"""The process that makes modules smaller: JSON on its standard input, names to sources, and on its output names to what is sent.

A process of its own, and only as the bridge starts: the minifier is written in Go, whose runtime would leave 7 MB, threads and
signal handlers in the server. It imports nothing of ours, so that it starts at once.
"""

from __future__ import annotations

import json
import re
import sys

import minify

_BETWEEN_TAGS = re.compile(r"(?<=>)\n\s*|\n\s*(?=<|\$\{)|(?<=\n)[ \t]+| (?=/>)")
"""What a minifier has to leave as it is within templates: lines, and the space before `/>`. Ours are markup, where `htm` would trim
them away; a test finds no others (tests/unit/bridge/test_page_templates.py)."""

QUOTED = re.compile(r'(?<=\s)([\w-]+=)"([\w-]+)"(?=[\s/>])')
"""A word as the value of an attribute: `htm` takes it without quotes. In code, from which the minifier has taken the spaces,
nothing looks like it; a test finds none."""

CLOSING = re.compile(r"</[\w/]+>")
"""The end of an element: `htm` closes the one that is open, whatever is named there."""


def smaller(source: str) -> str:
    """Make one module smaller."""
    sent = _BETWEEN_TAGS.sub("", minify.string("text/javascript", source))
    return CLOSING.sub("</>", QUOTED.sub(r"\1\2", sent)) if "html`" in sent else sent


if __name__ == "__main__":
    sources: dict[str, str] = json.load(sys.stdin)
    json.dump({name: smaller(source) for name, source in sources.items()}, sys.stdout)
