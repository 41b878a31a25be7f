"""What the file of the static tier holds: an int8 row for each word piece, the columns' scales, the pieces, and a card."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import codec
from common.errors import FleetError
from dispatcher.embed.errors import EmbedderUnusable
from dispatcher.embed.protocol import Tier, Vector
from dispatcher.embed.sealed import seal, unseal


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`rows` (pieces, dimensions) times `scale` (dimensions) are the pieces' vectors, weighted already; `nothing`, of norm 1,
    stands for a text without any piece."""

    rows: NDArray[np.int8]
    scale: Vector
    nothing: Vector
    pieces: tuple[str, ...]
    card: Mapping[str, Any]


def dump(table: Table) -> bytes:
    """Give the bytes of the file; the same table gives the same bytes."""
    arrays = {
        "rows": table.rows,
        "scale": table.scale,
        "nothing": table.nothing,
        "pieces": np.frombuffer("\n".join(table.pieces).encode(), dtype=np.uint8),
        "card": np.frombuffer(codec.encode(table.card), dtype=np.uint8),
    }
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # with its fixed date: the bytes stay the same
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return seal(Tier.STATIC, body.getvalue())


def read(path: Path) -> tuple[Table, str]:
    """Read a table and the SHA-256 of its content. Raises `EmbedderUnusable`."""
    body, digest = unseal(path, Tier.STATIC)
    try:
        return _table(body), digest
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, FleetError) as error:
        raise EmbedderUnusable(f"{path} holds no static table ({type(error).__name__}): build it anew") from error


def _table(body: bytes) -> Table:
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        rows, scale, nothing = arrays["rows"], arrays["scale"], arrays["nothing"]
        pieces = tuple(arrays["pieces"].tobytes().decode().split("\n"))
        card = codec.decode(arrays["card"].tobytes())
    if rows.dtype != np.int8 or rows.ndim != 2 or len(rows) != len(pieces) or not rows.size:  # a matrix
        raise ValueError("the rows don't fit the pieces")
    for row in (scale, nothing):
        if row.dtype != np.float32 or row.shape != rows.shape[1:] or not np.isfinite(row).all():
            raise ValueError("a scale is wrong")
    return Table(rows=rows, scale=scale, nothing=nothing, pieces=pieces, card=card)
