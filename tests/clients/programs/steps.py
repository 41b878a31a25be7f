"""What a client's program does step by step, and how it tells; it runs in that client's environment, so it knows only Python.

A step that fails is told, and the next one is tried: a report that ends at the first trouble says little.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

URL = os.environ["DROVER_URL"]
"""The bridge, without a path behind it."""

KEY = os.environ.get("DROVER_KEY", "")
"""A key of it; empty where it has none."""

SHOWN_KEY = KEY or "unused"
"""What clients send that must send something."""

BAD_KEY = "dr_aaaaaaaa_" + "A" * 43
UNKNOWN = "no-such-model:1b"
TALKER, EMBEDDER = "llama3.2:3b", "nomic-embed-text"
MARK = "[simulated "
"""Every simulated answer begins with it."""

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "tells the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK_WEATHER = "What is the weather in Accra?"


class Client:
    """Tells of one client. `package` names what is installed of it."""

    def __init__(self, package: str, *, name: str = "") -> None:
        self._name = name or package
        self._version = version(package)
        self._file = Path(os.environ["DROVER_STEPS"])

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Do a step; what is put on the list is told with it."""
        saw: list[str] = []
        try:
            yield saw
        except Exception as error:  # noqa: BLE001  # any failure is a finding
            traceback.print_exc()
            self._tell(what, False, [*saw, f"{type(error).__name__}: {error}"])
        else:
            self._tell(what, True, saw)

    def _tell(self, what: str, ok: bool, saw: list[str]) -> None:
        line = {"client": self._name, "version": self._version, "step": what, "ok": ok, "saw": "; ".join(saw)[:400]}
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


def says(text: str) -> Any:
    """Give a conversation of one message, as all of these APIs take it."""
    return [{"role": "user", "content": text}]


def question(of: str) -> str:
    """Give a question that nobody asked before, so that no cache answers it."""
    return f"Explain how a queue works, in thirty words, for {of}, case {os.urandom(4).hex()}."


def spoken(text: str | None) -> str:
    """Require an answer of the fleet, and give its beginning."""
    assert text, "an empty answer"
    assert text.startswith(MARK), f"no answer of the fleet: {text[:80]!r}"
    return text[:44] + "…"


def refused(error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object], *words: str) -> str:
    """Require that a call fails as it should, with `words` in what the client shows; give that."""
    try:
        got = call()
    except error as caught:
        shown = " ".join(str(caught).split())
        missing = [word for word in words if word not in shown]
        assert not missing, f"{missing} not in what is shown: {shown[:300]}"
        return f"{type(caught).__name__}: {shown[:150]}"
    raise AssertionError(f"it was answered: {str(got)[:100]}")


def in_pieces(pieces: list[str]) -> str:
    """Require a streamed answer, in more than one piece."""
    assert len(pieces) > 1, f"it came in {len(pieces)} piece(s)"
    return f"{spoken(''.join(pieces))} in {len(pieces)} pieces"
