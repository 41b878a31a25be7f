"""The wrapping of an embedder's file: which kind it is, its format, and the SHA-256 of what it holds; it knows no content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from dispatcher.embed.errors import EmbedderUnusable
from dispatcher.embed.protocol import Tier

FORMAT = 1
MOST_BYTES = 256 << 20
"""No embedder's file is that large; one that is was meant for something else."""

_MAGIC = b"drover-embedder\n"
_KIND_BYTES = 16
_HEAD = len(_MAGIC) + _KIND_BYTES + 1
_DIGEST = hashlib.sha256().digest_size


def seal(kind: Tier, body: bytes) -> bytes:
    """Wrap what a tier reads."""
    return _MAGIC + kind.encode().ljust(_KIND_BYTES) + bytes([FORMAT]) + hashlib.sha256(body).digest() + body


def unseal(path: Path, kind: Tier) -> tuple[bytes, str]:
    """Give what a file holds, and its SHA-256 as hex.

    Raises `EmbedderUnusable` for a file that is missing, foreign, of another tier, of a newer format, cut or changed.
    """
    way = f"`drover embedder build {kind}` makes one"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise EmbedderUnusable(f"{path} is no embedder of Drover, it has more than {MOST_BYTES >> 20} MiB: {way}")
        raw = path.read_bytes()
    except OSError as error:
        raise EmbedderUnusable(f"{path} can't be read ({error.strerror}): {way}") from error
    if not raw.startswith(_MAGIC) or len(raw) < _HEAD + _DIGEST:
        raise EmbedderUnusable(f"{path} is no embedder of Drover: {way}")
    if raw[_HEAD - 1] != FORMAT:
        raise EmbedderUnusable(
            f"{path} has format {raw[_HEAD - 1]}, and this Drover reads {FORMAT}: build it anew, or update"
        )
    found = raw[len(_MAGIC) : _HEAD - 1].strip().decode(errors="replace")
    if found != kind:
        raise EmbedderUnusable(f"{path} is the file of the tier {found!r}, not of {str(kind)!r}: name the right one")
    digest, body = raw[_HEAD : _HEAD + _DIGEST], raw[_HEAD + _DIGEST :]
    if hashlib.sha256(body).digest() != digest:
        raise EmbedderUnusable(f"{path} is damaged (its SHA-256 is wrong): copy it again, or build it anew")
    return body, digest.hex()


def write(path: Path, sealed: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all. `mode` are its permissions.

    Raises `EmbedderUnusable` if it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            part.chmod(mode)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise EmbedderUnusable(f"{path} can't be written ({error.strerror}): name another place") from error
