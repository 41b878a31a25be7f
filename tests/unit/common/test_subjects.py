"""Subject tokens and the subject map."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest
from common.subjects import Subjects, as_token, is_token, require_token

TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(st.text())
def test_any_name_becomes_a_token(name: str) -> None:
    """Whatever a device or model is called, its token is one."""
    assert is_token(as_token(name))


@given(TOKENS)
def test_a_token_stays(name: str) -> None:
    """What is a token already is not changed, and is accepted."""
    assert (as_token(name), require_token("device", name)) == (name, name)


@given(st.text())
def test_tokens_carry_no_protocol(name: str) -> None:
    """No token has what NATS gives a meaning: separators, wildcards, white space."""
    assert not set(as_token(name)) & set(".*> \t\r\n\0")


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "a\n", "ä", "\u0663", "x" * 65, "qwen2.5:7b"])
def test_refused(name: str) -> None:
    """What is no token is refused, and the error names the field and the value."""
    with pytest.raises(BadRequest) as caught:
        require_token("tenant", name)

    assert ("tenant" in caught.value.message, repr(name) in caught.value.message) == (True, True)
    assert caught.value.details == {"param": "tenant"}


@given(TOKENS, TOKENS, st.sampled_from(["llm.v1", "a", "x.y.z"]))
def test_map(one: str, two: str, prefix: str) -> None:
    """Every subject begins with the prefix, and gives back the tokens that it was made of."""
    subjects = Subjects(prefix)
    made = {
        subjects.work(one, two): [one, two],
        subjects.control(one, two): ["ctl", one, two],
        subjects.device(one, two): ["dev", one, two],
        subjects.heartbeat(one): ["hb", one],
        subjects.power(one): ["power", one],
        subjects.cache(one): ["cache", one],
        subjects.cache(one, two): ["cache", two, one],
        subjects.job_event(one, two): ["evt", "job", one, two],
        subjects.device_event(one, two): ["evt", "dev", one, two],
    }

    assert [subject for subject in made if not subject.startswith(f"{prefix}.")] == []
    assert [subjects.tokens(subject) for subject in made] == list(made.values())


def test_inbox_is_outside_the_prefix() -> None:
    """Agents publish frames below one root of their own, so that they need no right to anything else."""
    assert Subjects("llm.v1").inbox("disp-1") == "_INBOX_disp.disp-1"
