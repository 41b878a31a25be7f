"""The process that makes modules smaller: JSON on its standard input, names to sources, and on its output names to what is sent.

A process of its own, and only as the bridge starts: the minifier is written in Go, whose runtime would leave 7 MB, threads and
signal handlers in the server. It imports nothing of ours, so that it starts at once.
"""

from __future__ import annotations

import json
import sys

import minify

if __name__ == "__main__":
    sources: dict[str, str] = json.load(sys.stdin)
    json.dump({name: minify.string("text/javascript", source) for name, source in sources.items()}, sys.stdout)
