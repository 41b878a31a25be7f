"""Query sets: those that come with Drover, by name, and any file that `drover ask --file` takes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from common.errors import BadRequest
from dispatcher.cli import questions
from dispatcher.lab.bench.plan import Asked

SHIPPED = Path(str(files("dispatcher.lab"))) / "query_sets"


def names() -> list[str]:
    """Name the sets that come with Drover."""
    return sorted(path.stem for path in SHIPPED.iterdir() if path.suffix in {".json", ".csv"})


def load(given: Sequence[str], limit: int | None) -> tuple[Asked, ...]:
    """Read the sets, `all` for all that come with Drover; `limit` takes so many conversations of each, spread evenly over it.

    Raises `BadRequest` that names the file, the line and what was expected.
    """
    wanted: dict[str, Path] = {}
    for text in given:
        for name in names() if text == "all" else [text]:
            path = _path(name)
            if wanted.setdefault(path.stem, path) != path:
                raise BadRequest(f"--query-set: two files are called {path.stem}: rename one of them")
    return tuple(
        Asked(name, conversation)
        for name, path in wanted.items()
        for conversation in _spread(questions.read(path), limit)
    )


def _path(name: str) -> Path:
    if name in names():
        return next(path for path in sorted(SHIPPED.iterdir()) if path.stem == name)
    path = Path(name)
    if not path.exists() and path.suffix == "":
        raise BadRequest(
            f"--query-set {name!r} is neither a file nor one of the sets that come with Drover ({', '.join(names())}, all)"
        )
    return path


def _spread(found: Sequence[questions.Conversation], limit: int | None) -> Sequence[questions.Conversation]:
    if limit is None or limit >= len(found):
        return found
    return [found[place * len(found) // limit] for place in range(limit)]
