"""What OLLAMA_HOST means to a client; it dials nothing."""

from __future__ import annotations

from urllib.parse import urlsplit

OLLAMA_PORT = 11434
"""Where Ollama listens when nothing else is said."""


def ollama_url(host: str) -> str:
    """Read OLLAMA_HOST as Ollama's own programs do: `host`, `host:port`, `:port`, a URL, or the address a server listens on.

    `0.0.0.0` and `[::]` mean "all addresses" to a server; a client reaches it on the loopback. Raises `ValueError`.
    """
    text = host.strip().strip("\"'")
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    if scheme not in ("http", "https"):
        raise ValueError(f"OLLAMA_HOST takes http:// or https://, not {scheme}://")
    parts = urlsplit(f"//{rest}")
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  # an address to reach, not to bind
    port = parts.port or ({"http": 80, "https": 443}[scheme] if mark else OLLAMA_PORT)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path.rstrip('/')}"
