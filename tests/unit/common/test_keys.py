"""Keys as text: what is one, and that nothing of it is told."""

from __future__ import annotations

import hashlib
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import codec
from common.errors import BadRequest, Unauthorized
from common.key_requests import CheckKey, Issued
from common.keys import Grant, Login, new_id, new_secret, parse

SECRET = "dr_abcd1234_" + "Zz9_-" * 8 + "Qqq"
GRANT = Grant(key="abcd1234", name="x", tenant="default", user="u")


def test_a_key_is_its_id_and_a_digest() -> None:
    """Whoever asks for it has no use for the secret."""
    shown = parse(SECRET)

    assert ("abcd1234", hashlib.sha256(SECRET.encode()).hexdigest(), False) == (
        shown.id,
        shown.key_digest,
        shown.session,
    )


def test_a_session_is_told_from_a_key() -> None:
    """By its beginning."""
    assert parse(SECRET.replace("dr_", "drs_", 1)).session


def test_what_is_drawn_can_be_read() -> None:
    """Each is another one, with 256 bits that nobody can guess."""
    drawn = [
        (key, new_secret(key, session=session)) for session in (False, True) for key in (new_id() for _ in range(50))
    ]

    assert [key for key, _ in drawn] == [parse(secret).id for _, secret in drawn]
    assert len(drawn) == len({secret for _, secret in drawn})


WRONG = (
    "",
    "dr_",
    SECRET[:-1],
    SECRET + "a",
    SECRET + "\n",
    " " + SECRET,
    SECRET.upper(),
    SECRET.replace("dr_", "drx_", 1),
    SECRET.replace("abcd", "ABCD"),
    SECRET[:-1] + "é",
    SECRET[:-1] + "=",
    SECRET.replace("1234", "١٢٣٤"),
    "sk-" + SECRET,
    SECRET * 1000,
)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    """Also where it is nearly one: it stands neither in the message nor in the traceback."""
    with pytest.raises(Unauthorized) as refused:
        parse(text)
    told = "".join(traceback.format_exception(refused.value)) + str(refused.value.to_wire())

    assert len(text) < 8 or text[:16] not in told


@settings(max_examples=100)
@given(st.text(max_size=80))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    """And only texts of the one form are."""
    try:
        found = parse(text)
    except Unauthorized:
        return

    assert text.startswith((f"dr_{found.id}_", f"drs_{found.id}_"))


def test_no_secret_stands_in_a_repr() -> None:
    """Of nothing that holds one, or its digest: both would do for whoever may ask the ledger."""
    shown = parse(SECRET)
    holders = (
        shown,
        CheckKey(key=shown.id, key_digest=shown.key_digest),
        Login(secret=SECRET, expires_unix_s=1.0),
        Issued(grant=GRANT, secret=SECRET),
    )
    told = " ".join(map(repr, holders))

    assert (False, False) == (SECRET in told, shown.key_digest in told)


@pytest.mark.parametrize(
    "wire", [{"key": SECRET, "key_digest": SECRET}, {"key": "abcd1234", "key_digest": SECRET.upper()}]
)
def test_a_question_that_is_wrong_is_refused_without_the_digest(wire: dict[str, str]) -> None:
    """A caller that sends a secret where its digest belongs does not read it in a log."""
    with pytest.raises(BadRequest) as refused:
        codec.build(CheckKey, wire)

    assert "Zz9" not in refused.value.message.replace("ZZ9", "Zz9")
