"""What OLLAMA_HOST, OPENAI_BASE_URL and a plug's address mean to a client, and DROVER_METRICS to a server; it dials and binds
nothing."""

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


def provider_url(text: str) -> str:
    """Read OPENAI_BASE_URL: a whole URL, without a user or a password in it, since addresses are shown. Raises `ValueError`."""
    parts = urlsplit(text.strip().strip("\"'"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("OPENAI_BASE_URL is a URL with http:// or https://, such as https://api.openai.com/v1")
    if parts.username or parts.password:
        raise ValueError("OPENAI_BASE_URL holds a user or a password: leave it out, the key goes into OPENAI_API_KEY")
    _ = parts.port  # raises for one that is none
    return parts.geturl().rstrip("/")


def plug_address(text: str) -> str:
    """Read DROVER_POWER_PLUG_URL: a URL without a user or a password in it, since addresses are shown; empty for no plug.
    Raises `ValueError`."""
    text = text.strip().strip("\"'")
    if not text:
        return ""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("DROVER_POWER_PLUG_URL is a URL with http:// or https://, such as http://192.168.1.20")
    if parts.username or parts.password:
        raise ValueError(
            "DROVER_POWER_PLUG_URL holds a user or a password: leave it out, the password goes into DROVER_POWER_PLUG_TOKEN"
        )
    _ = parts.port  # raises for one that is none
    return parts.geturl().rstrip("/")


OFF = "off"


def listen_address(text: str) -> str:
    """Read where metrics are to be shown: `host:port`, or a port alone, which is on the loopback; empty and `off` stay what they
    are. Raises `ValueError`."""
    text = text.strip()
    if not text or text.lower() == OFF:
        return text.lower()
    host, port = host_and_port(text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(text: str) -> tuple[str, int]:
    """Take an address apart; without a host it is the loopback's. Raises `ValueError`."""
    parts = urlsplit(f"//:{text}" if text.isdecimal() else f"//{text}")
    if parts.port is None or parts.path or parts.query or parts.fragment or "@" in text:
        raise ValueError(f"{text!r} is no address to listen on: say 9464, 127.0.0.1:9464, or off")
    return parts.hostname or "127.0.0.1", parts.port
