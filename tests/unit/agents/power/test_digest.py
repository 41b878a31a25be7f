"""The answers to Digest challenges, by RFC 7616."""

from __future__ import annotations

import hashlib
import re

from agents.power.digest import answered


def test_the_answer_is_the_one_of_the_standard() -> None:
    """The standard's own user, in section 3.9.1, with the client's nonce of ours: `H(H(A1):nonce:nc:cnonce:qop:H(A2))`."""
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    header = answered(challenge, user="Mufasa", password="Circle of Life", target="/dir/index.html") or ""
    said = dict(re.findall(r'(\w+)="?([^",]+)"?', header))

    # H(A1) and H(A2) of the standard's figures.
    secret = hashlib.sha256(b"Mufasa:http-auth@example.org:Circle of Life").hexdigest()
    question = hashlib.sha256(b"GET:/dir/index.html").hexdigest()
    whole = f"{secret}:{said['nonce']}:00000001:{said['cnonce']}:auth:{question}"
    assert (said["response"], said["opaque"], said["algorithm"], said["nc"]) == (
        hashlib.sha256(whole.encode()).hexdigest(),
        "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        "SHA-256",
        "00000001",
    )


def test_an_old_challenge_without_qop_is_answered_with_md5() -> None:
    """RFC 2069: `H(H(A1):nonce:H(A2))`."""
    header = answered('Digest realm="r", nonce="n"', user="u", password="p", target="/") or ""
    secret, question = hashlib.md5(b"u:r:p").hexdigest(), hashlib.md5(b"GET:/").hexdigest()

    assert f'response="{hashlib.md5(f"{secret}:n:{question}".encode()).hexdigest()}"' in header
