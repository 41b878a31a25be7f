"""What likeness would have given, beside what was answered: a log line for each, and the pair itself where a file is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

from common import codec
from common.logs import get_logger
from dispatcher.cache.finding import Found
from dispatcher.cache.values import Place
from dispatcher.embed import EmbeddingService

log = get_logger("cache")

MOST_FILE_BYTES = 64 << 20
"""Some hundred thousand pairs; a file that is larger gets no more."""


class Shadow:
    """Compares the answer that would have been given with the one that was made."""

    def __init__(self, embedding: EmbeddingService, file: Path | None = None) -> None:
        self._embedding = embedding
        self._file = file

    async def compare(self, would: Found, asked: Place, answer: str, *, asker: str) -> None:
        """Note one pair. How alike two answers are says only whether it is worth a look: people judge."""
        alike = await self._alike(asker, would.entry.text, answer)
        chance = None if would.judgement is None else would.judgement.chance
        log.info(
            "cache.shadow",
            tenant=asked.tenant,
            entry=would.entry.id,
            similarity=round(would.similarity, 4),
            chance=None if chance is None else round(chance, 4),
            answers_similarity=None if alike is None else round(alike, 4),
        )
        if self._file is not None:
            pair = {
                "asked": asked.question,
                "kept": would.entry.place.question,
                "similarity": would.similarity,
                "chance": chance,
                "answers_similarity": alike,
            }
            await asyncio.to_thread(self._write, self._file, codec.encode(pair) + b"\n")

    async def _alike(self, asker: str, one: str, other: str) -> float | None:
        first = await self._embedding.embed(one, of=asker)
        second = await self._embedding.embed(other, of=asker)
        if first.vector is None or second.vector is None:
            return None
        return float(first.vector @ second.vector)

    def _write(self, file: Path, line: bytes) -> None:
        """Append a line that only its owner may read; a card that is full costs no job."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600, exist_ok=True)
            if file.stat().st_size < MOST_FILE_BYTES:
                with file.open("ab") as out:
                    out.write(line)
        except OSError as error:
            log.warning("cache.shadow_unwritten", file=str(file), error=error.strerror)
