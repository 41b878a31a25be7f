"""What a fleet of the bench's own is set with: the defaults, and what is asked for by name.

The settings of the shell and of `.env` stay out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from common.errors import BadRequest

OURS = ("DROVER_", "NATS_", "OLLAMA_", "OPENAI_", "LOG_", "REDIS_")
"""How the names of our settings begin."""

_HELD = re.compile(r"DROVER_(DEVICES?|SIM_|STATE_DIR|NATS_|HTTP_|CLOUD|BACKEND|SENSORS_|SUBJECT_)")
"""What the bench sets itself, or what would lead to other machines or to paid models."""

_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=", re.MULTILINE)


def cleared(environment: Iterable[str], env_file: Path) -> dict[str, str]:
    """Give an empty text for each setting of ours that the environment or the file has: that means the default."""
    try:
        there = _LINE.findall(env_file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        there = []
    return {name: "" for name in (*environment, *there) if name.upper().startswith(OURS)}


def require_settings(given: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE`s. Raises `BadRequest` for what is no setting, or one that the bench needs for itself."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.startswith("DROVER_"):
            raise BadRequest(
                f"--setting {text[:60]!r} is no setting: write for example --setting DROVER_ROUTING_FILE=mine.toml"
            )
        if _HELD.match(name):
            raise BadRequest(
                f"--setting {name} can't be set for a simulated fleet: use --devices and --time-factor, or give a running fleet "
                "with --url"
            )
        found[name] = value
    return found


def told(settings: Mapping[str, str]) -> str:
    """Write settings so that two that differ are told apart: a file by what is in it, too."""
    return " ".join(f"{name}={value}{_content(value)}" for name, value in sorted(settings.items()))


def _content(value: str) -> str:
    path = Path(value)
    try:
        return f" ({hashlib.sha256(path.read_bytes()).hexdigest()[:12]})" if value and path.is_file() else ""
    except OSError:
        return ""
