"""Names of hosts, and origins of pages, as browsers write them; it knows no request."""

from __future__ import annotations

import re

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?P<port>:[0-9]{1,5})?/?", re.ASCII
)
"""Of any scheme: programs that are made of web pages have their own (`app://obsidian.md`, `tauri://localhost`)."""

_HOST = re.compile(
    r"(?:(?P<name>[a-z0-9._-]+)|\[(?P<address>[0-9a-f:.]+)\]|(?P<bare>[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*))(?::[0-9]{1,5})?/?",
    re.ASCII,
)
_PORTS = {"http": ":80", "https": ":443"}
_WEB = frozenset(_PORTS)


def public_origin(text: str) -> str:
    """Write an address as browsers write an origin; nothing stays so. Raises `ValueError` for what is more than that, or none."""
    if not text.strip():
        return ""
    found = _written(text)
    if found is None or found.partition("://")[0] not in _WEB:
        raise ValueError("an address without a path, as https://fleet.example.org, or http://fleet.lan:8000")
    return found


def origins(text: str) -> str:
    """Write a list of origins so. Raises `ValueError` for what no page can come from, and what every page could."""
    return ",".join(dict.fromkeys(_origin(one) for one in _listed(text)))


def hosts(text: str) -> str:
    """Write a list of names of hosts as they are looked up: small letters, no port. Raises `ValueError` for what is none."""
    return ",".join(dict.fromkeys(_host(one) for one in _listed(text)))


def _origin(text: str) -> str:
    if text == "*":
        raise ValueError(
            "origins by name, as https://chat.example.org: with * every page that somebody on this network looks at could use "
            "the fleet"
        )
    if text.lower() == "null":
        raise ValueError(
            "origins by name, as https://chat.example.org: null is what every file and every sandboxed frame says; serve the page "
            "from an address"
        )
    found = _written(text)
    if found is None:
        raise ValueError(
            f"origins without a path, as https://chat.example.org, separated by commas; {text[:80]!r} is none"
        )
    return found


def _host(text: str) -> str:
    if "*" in text:
        raise ValueError(
            "names of hosts, as fleet.lan, each whole: with * any web page could point a name of its own at this bridge and use it"
        )
    found = _HOST.fullmatch(text.lower())
    if found is None:
        raise ValueError(f"names of hosts, as fleet.lan, separated by commas; {text[:80]!r} is none")
    return found["name"] or found["address"] or found["bare"]


def _written(text: str) -> str | None:
    found = _ORIGIN.fullmatch(text.strip().lower())
    if found is None:
        return None
    return f"{found['scheme']}://{found['host']}{(found['port'] or '').removesuffix(_PORTS.get(found['scheme'], '-'))}"


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]
