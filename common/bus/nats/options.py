"""How to reach a NATS server, and what no retry could mend of it; it knows no connection."""

from __future__ import annotations

import importlib.util
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common import errors

_CREDENTIALS = re.compile(r"(?<=://)[^/]*@|^[^:/@]+(:[^/@]*)?@")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How to reach a NATS server, and how patient to be with it. URLs and secrets stay out of `repr`."""

    urls: tuple[str, ...] = field(default=("nats://127.0.0.1:4222",), repr=False)
    name: str = "drover"
    creds_file: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = "_INBOX"
    connect_timeout_s: float = 2.0
    initial_connect_timeout_s: float = 10.0
    ping_interval_s: float = 5.0
    max_outstanding_pings: int = 2
    backoff_min_s: float = 0.25
    backoff_max_s: float = 2.0


def require_sense(options: NatsOptions) -> None:
    """Raise `ConfigError` for what no retry can mend."""
    for url in options.urls:
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            sound = bool(parts.hostname) and parts.port != 0 and parts.scheme in ("nats", "tls", "ws", "wss")
        except ValueError:
            sound = False
        if not sound:
            raise errors.ConfigError(f"NATS_URL: {shown([url])!r} is no address: use nats://host:4222")
    if not options.urls:
        raise errors.ConfigError("NATS_URL names no server: use nats://host:4222")
    if options.creds_file is not None:
        _require_credentials(Path(options.creds_file))


def _require_credentials(path: Path) -> None:
    """Look into the credentials file: the vendor reads for ever in one without a JWT."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(f"NATS_CREDS: {path} can't be read: {error}") from error
    if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
        raise errors.ConfigError(f"NATS_CREDS: {path} has no user JWT with its NKey seed: make one with `nsc`")
    if importlib.util.find_spec("nkeys") is None:
        raise errors.ConfigError("NATS_CREDS needs the package nkeys: pip install 'nats-py[nkeys]'")


def shown(urls: list[str]) -> str:
    """Name servers without their credentials."""
    return ", ".join(_CREDENTIALS.sub("", url) for url in urls)
