"""How to reach a NATS server, and what no retry could mend of it; it knows no connection."""

from __future__ import annotations

import importlib.util
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common import errors
from common.bus.nats.refusals import Refusal
from common.bus.nats.seeds import public_key, read_seed

_CREDENTIALS = re.compile(r"(?<=://)[^/]*@|^[^:/@]+(:[^/@]*)?@")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How to reach a NATS server, and how patient to be with it. URLs and secrets stay out of `repr`."""

    urls: tuple[str, ...] = field(default=("nats://127.0.0.1:4222",), repr=False)
    name: str = "drover"
    creds_file: str | None = None
    nkey_file: str | None = None
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
    if options.creds_file is not None and options.nkey_file is not None:
        raise errors.ConfigError("NATS_CREDS and NATS_NKEY are both set, and a process is one user: unset one of them")
    if options.nkey_file is not None:
        read_seed(Path(options.nkey_file))
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


def who(options: NatsOptions) -> str:
    """Name the user of a process, as far as the process itself knows it: the server does not tell."""
    if options.nkey_file is not None:
        try:
            return f"{options.name} (nkey {public_key(read_seed(Path(options.nkey_file)))})"
        except errors.ConfigError:
            return options.name  # the file has gone meanwhile
    return f"{options.name} (user {options.user})" if options.user else options.name


def not_permitted(refusal: Refusal, options: NatsOptions) -> str:
    """Say what a user may not do, and who decides that."""
    doing = "publish on" if refusal.publishing else "hear"
    return (
        f"the NATS server does not let {who(options)} {doing} {refusal.subject!r}: take the seed of a user that may (NATS_NKEY; "
        "commands need the operator's), or write the server's permissions anew with `drover nats update`"
    )


def shown(urls: list[str]) -> str:
    """Name servers without their credentials."""
    return ", ".join(_CREDENTIALS.sub("", url) for url in urls)
