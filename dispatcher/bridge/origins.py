"""Where a request comes from: this machine, a page of ours, a page of others; it decides nothing."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_PORTS = {"http": ":80", "https": ":443"}


def from_here(http: Request) -> bool:
    """Tell whether a program of this machine asks, for itself: what a proxy passes on comes from here too."""
    client = http.client.host if http.client else ""
    try:
        return ipaddress.ip_address(client).is_loopback and not any(name in http.headers for name in _FORWARDED)
    except ValueError:
        return False


def same_origin(origin: str, host: str, public: str = "") -> bool:
    """Tell whether a page of this origin came from the host that is asked. Its scheme may differ: a proxy takes TLS off.

    Where the `public` origin is known its pages are ours whatever host the proxy asks for, and under its name no others are: one
    that came without TLS may have been changed on its way.
    """
    if public and origin.lower() == public:
        return True
    if public and host.lower() in {
        public.partition("://")[2],
        f"{public.partition('://')[2]}{_PORTS[public.partition(':')[0]]}",
    }:
        return False
    try:
        parts = urlsplit(origin.lower())
        port = _PORTS.get(parts.scheme, "")
    except ValueError:
        return False
    return bool(port and host) and parts.netloc.removesuffix(port) == host.lower().removesuffix(port)
