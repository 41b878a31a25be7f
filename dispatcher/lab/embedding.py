"""Which embedder the lab takes, and how texts go into it: as the dispatcher does, so that weights meet the vectors they were made
from. It knows no tier's inside, and what vectors are for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.settings import load
from dispatcher.embed import Bounds, Embedder, Tier, open_embedder
from dispatcher.settings import EmbedderSettings

CHARS = Bounds().chars
"""What the dispatcher reads of a text if nothing else is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A tier, its file, the characters that are read of a text, and threads. See the settings of the embedder."""

    tier: Tier = Tier.STATIC
    path: Path | None = None
    chars: int = CHARS
    threads: int = 1

    def open(self) -> Embedder | None:
        """Open it: `None` for the tier none. Raises what `open_embedder` does."""
        return open_embedder(self.tier, self.path, threads=self.threads)


def chosen(tier: str | None = None, path: Path | None = None) -> Choice:
    """Give what the options say, and for the rest what the settings do, those that `drover embedder use` wrote among them.

    The settings' file counts for the settings' tier alone. Raises `ConfigError` for settings that are wrong.
    """
    knobs = load(EmbedderSettings).embed
    named = Tier(tier or knobs.tier)
    return Choice(
        tier=named,
        path=path or (knobs.embedder_path if named == knobs.tier else None),
        chars=knobs.chars,
        threads=knobs.threads,
    )
