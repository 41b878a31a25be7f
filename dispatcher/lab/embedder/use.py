"""Which tier the dispatcher takes, as two lines of `.env`; it knows no tier's inside."""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import ConfigError
from dispatcher.embed import Tier, open_embedder
from dispatcher.embed.sealed import write

TIER, PATH = "DROVER_EMBEDDER", "DROVER_EMBEDDER_PATH"


def use(tier: Tier, path: Path | None, env: Path) -> str | None:
    """Open the tier, so that no dispatcher stumbles over it, and write the choice. Gives its identity; raises what opening does."""
    embedder = open_embedder(tier, path)
    if embedder is not None:
        embedder.embed(["Does it work?"])
    env = env.resolve()  # it may be a link, and stays one
    try:
        before = env.read_text(encoding="utf-8") if env.exists() else ""
        mode = env.stat().st_mode & 0o777 if env.exists() else 0o600  # it may come to hold secrets
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{env} can't be read ({error}): mend it, or set {TIER} yourself") from error
    choice = {TIER: str(tier), PATH: None if path is None else str(path.absolute())}
    write(env, changed(before, choice).encode(), mode=mode)
    return None if embedder is None else str(embedder.identity)


def changed(text: str, values: dict[str, str | None]) -> str:
    """Give the text of an `.env` in which these knobs have these values, `None` meaning no line; all else stays as it is."""
    names = "|".join(map(re.escape, values))
    kept = [line for line in text.splitlines() if not re.match(rf"\s*(?:export\s+)?(?:{names})\s*=", line)]
    return (
        "\n".join([*kept, *(f"{name}={_quoted(value)}" for name, value in values.items() if value is not None)]) + "\n"
    )


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w./:@+-]*", value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
