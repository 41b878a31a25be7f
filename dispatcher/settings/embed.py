"""The knobs of the embedder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from common.settings import Section


class EmbedSection(Section):
    """The embedder: how texts become vectors for routing. `drover embedder use` sets it.

    A field's own name is read from the environment as well, so `path` would be the shell's PATH.
    """

    tier: Literal["static", "minilm", "reference", "none"] = Field(
        "static",
        validation_alias="DROVER_EMBEDDER",
        description="static (a table that comes with Drover, microseconds), minilm (a small network, milliseconds; extra onnx), "
        "reference (the original on torch; extra embedder) or none (routing by text features alone)",
    )
    embedder_path: Path | None = Field(
        None,
        validation_alias="DROVER_EMBEDDER_PATH",
        description="its file, or the reference's directory; not set takes the table that comes with Drover, what "
        "`drover embedder build` wrote, or the packaged model",
    )
    threads: Annotated[int, Ge(1), Le(64)] = Field(
        1,
        validation_alias="DROVER_EMBEDDER_THREADS",
        description="threads for one text, in the tiers minilm and reference",
    )
    chars: Annotated[int, Ge(64), Le(100_000)] = Field(
        2000,
        validation_alias="DROVER_EMBEDDER_CHARS",
        description="characters that are read of a text: of a longer one the head and the tail",
    )
    queue_limit: Annotated[int, Ge(1), Le(100_000)] = Field(
        256,
        validation_alias="DROVER_EMBEDDER_QUEUE_LIMIT",
        description="texts that may wait to be embedded; above it a job is routed without a vector",
    )
    kept: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        2048, validation_alias="DROVER_EMBEDDER_KEPT", description="vectors that are kept for texts that come again"
    )
