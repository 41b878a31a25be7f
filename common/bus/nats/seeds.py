"""Seeds of NATS users (nkeys): made, checked and named by their public half; nobody else imports the vendor's library.

A seed is a user's whole secret, and only the file on its own machine has it: the server knows the public key, which may be shown.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from types import ModuleType

from common.errors import ConfigError

SEED_CHARS = 58

MOST_BYTES = 256
"""A seed has 58 characters; a file that is larger is another one."""

_NO_SEED = "it holds no seed of a NATS user (58 characters that begin with SU)"

_FOREIGN = stat.S_IRWXG | stat.S_IRWXO


def new_seed() -> str:
    """Make the seed of a new user. Raises `ConfigError` where the library is missing."""
    made: bytes = _library().encode_seed(secrets.token_bytes(32), _library().PREFIX_BYTE_USER)
    return made.decode()


def public_key(seed: str) -> str:
    """Give the public key of a user's seed. Raises `ConfigError`, which does not quote it, for what is none."""
    library = _library()
    try:
        prefix, raw = library.decode_seed(bytearray(seed.encode("ascii")))
        # The library does not look at the checksum: a slip of the pen would give another key, which the server then refuses.
        sound = prefix == library.PREFIX_BYTE_USER and library.encode_seed(bytes(raw), prefix).decode() == seed
        named = library.from_seed(bytearray(seed.encode("ascii"))).public_key.decode() if sound else ""
    except Exception as error:  # the library lets through whatever its parts raise
        raise ConfigError(_NO_SEED) from error
    if not named:
        raise ConfigError(_NO_SEED)
    return str(named)


def read_seed(path: Path) -> str:
    """Read a seed file. Raises `ConfigError` that says what is wrong with it, and what to do, for one that is missing, is no seed,
    or can be read by other users of the machine."""
    if str(path).strip().startswith("SU") and len(str(path).strip()) == SEED_CHARS:
        raise ConfigError(
            "NATS_NKEY is the path of a seed file, and a seed was given itself: it is known to others now, make a new one"
        )
    try:
        with path.open("rb") as handle:
            mode = os.fstat(handle.fileno()).st_mode
            text = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"NATS_NKEY: {path.absolute()} can't be read ({error.strerror}): name the seed file of this process's NATS user, or "
            "copy it there from where `drover nats init`, `drover device add` or `drover tenant add` made it. One that is lost "
            "can't be made again: a device or a tenant is removed, and added anew"
        ) from error
    if mode & _FOREIGN:
        raise ConfigError(
            f"NATS_NKEY: other users of this machine may open {path} (mode {stat.S_IMODE(mode):04o}), and whoever has a seed is "
            f"that user: chmod 600 {path}"
        )
    try:
        seed = text.decode("ascii").strip()
        public_key(seed)
    except (UnicodeDecodeError, ConfigError) as error:
        detail = error.message if isinstance(error, ConfigError) else "it is no text"
        raise ConfigError(f"NATS_NKEY: {path} can't be used: {detail}") from error
    return seed


def _library() -> ModuleType:
    try:
        import nkeys  # noqa: PLC0415  # an extra: most processes do without
    except ImportError as error:
        raise ConfigError(
            "NATS_NKEY needs the package nkeys, which is not installed here: install Drover with its extra nkeys"
        ) from error
    library: ModuleType = nkeys
    return library
