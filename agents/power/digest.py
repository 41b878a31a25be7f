"""The answer to an HTTP Digest challenge (RFC 7616), as Shelly's second generation wants it; it opens no connection."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable

_PART = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')

_HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data).hexdigest(),  # noqa: S324  # the plug's choice; it is that or no password at all
}


def answered(challenge: str, *, user: str, password: str, target: str) -> str | None:
    """Give the header `Authorization` for a GET; None for a challenge that is no Digest, or of an unknown kind."""
    scheme, _, rest = challenge.partition(" ")
    said = {name.lower(): quoted or bare for name, quoted, bare in _PART.findall(rest)}
    sha = _HASHES.get(said.get("algorithm", "MD5").upper())
    realm, nonce = said.get("realm", ""), said.get("nonce")
    if scheme.lower() != "digest" or sha is None or not nonce:
        return None
    secret, question = sha(f"{user}:{realm}:{password}".encode()), sha(f"GET:{target}".encode())
    parts = (
        f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{target}", algorithm={said.get("algorithm", "MD5")}'
    )
    if "opaque" in said:
        parts += f', opaque="{said["opaque"]}"'
    if "qop" not in said:
        return f'Digest {parts}, response="{sha(f"{secret}:{nonce}:{question}".encode())}"'
    if "auth" not in [each.strip() for each in said["qop"].split(",")]:
        return None
    ours = secrets.token_hex(8)
    response = sha(f"{secret}:{nonce}:00000001:{ours}:auth:{question}".encode())
    return f'Digest {parts}, qop=auth, nc=00000001, cnonce="{ours}", response="{response}"'
