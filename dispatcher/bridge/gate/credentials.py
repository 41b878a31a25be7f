"""What a request shows to be let in: a key in a header, or a browser's session in a cookie; it asks nobody whether that is good.

All spellings of a key are read here, and nowhere else: a door that knows fewer of them than the house behind it is no door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import NotAllowed, Unauthorized
from common.keys import Presented, parse
from dispatcher.bridge.origins import same_origin

COOKIES = ("__Host-drover", "drover")
"""The first where pages come over TLS, since browsers take it nowhere else, and from nobody but the host itself."""

_PLAIN = ("x-api-key", "api-key")
"""Where Anthropic's and Azure's clients put a key."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A key, or a session; `by_browser` tells that it came by itself, without the page having asked for that."""

    presented: Presented
    by_browser: bool


@dataclass(frozen=True, slots=True)
class Site:
    """Where the bridge's own pages are, `public` behind a proxy; empty where none says so."""

    public: str = ""

    @property
    def secure(self) -> bool:
        """Tell whether browsers come over TLS."""
        return self.public.startswith("https://")

    @property
    def cookie(self) -> str:
        """The name of its cookie. Where there is TLS no other counts: a neighbour under the same domain, or whoever changes what
        comes without TLS, can set that."""
        return COOKIES[0] if self.secure else COOKIES[1]


HERE = Site()


def shown(headers: Mapping[str, str], site: Site = HERE) -> Shown | None:
    """Read what a request shows; None where it shows nothing. A key in a header counts before a cookie. Raises `Unauthorized` for
    what can be no key, and where two headers, of one name or of two, or two cookies say different things; nothing of it is
    quoted."""
    keys = _in_headers(headers)
    if len(keys) > 1:
        raise Unauthorized("two headers hold different keys: send one")
    if keys:
        return Shown(parse(keys[0]), by_browser=False)
    sessions = _in_cookies(headers, site.cookie)
    if len(sessions) > 1:
        raise Unauthorized(f"two cookies are called {site.cookie}: forget this site's cookies, and log in again")
    return Shown(parse(sessions[0]), by_browser=True) if sessions else None


def require_own_page(method: str, headers: Mapping[str, str], site: Site = HERE) -> None:
    """Refuse what another site's page has a browser send with our cookie: only what changes nothing may come from anywhere.

    Raises `NotAllowed`.
    """
    if method in _SAFE:
        return
    fetch, origin = headers.get("sec-fetch-site"), headers.get("origin")
    own = (
        fetch in {"same-origin", "none"}
        if fetch is not None
        else origin is not None and same_origin(origin, headers.get("host", ""), site.public)
    )
    if not own:
        raise NotAllowed(
            "a session is for the bridge's own pages: other programs send a key (Authorization: Bearer dr_…)"
        )


def _in_headers(headers: Mapping[str, str]) -> Sequence[str]:
    """Give the keys, each once. A name may stand there twice, and a mapping would give the first of them."""
    found: list[str] = []
    for name, value in headers.items():
        lower, text = name.lower(), value.strip()
        if lower in _PLAIN and text:
            found.append(text)
        if lower == "authorization" and text:
            kind, _, bearer = text.partition(" ")
            if kind.lower() != "bearer" or not bearer.strip():
                raise Unauthorized(
                    "the header Authorization is not of the kind Bearer: send  Authorization: Bearer dr_…"
                )
            found.append(bearer.strip())
    return list(dict.fromkeys(found))


def _in_cookies(headers: Mapping[str, str], name: str) -> Sequence[str]:
    """Give the values of the cookies of a name, each once. Others may be as odd as they like: all ports of a host share theirs, and
    what `http.cookies` finds odd, with that it drops the rest. How long a header is the server bounds."""
    found: list[str] = []
    for header, value in headers.items():
        for cookie in value.split(";") if header.lower() == "cookie" else ():
            called, _, text = cookie.partition("=")
            plain = text.strip().removeprefix('"').removesuffix('"')
            if called.strip() == name and plain:
                found.append(plain)
    return list(dict.fromkeys(found))
