"""Ids and names of durable jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus.streams import Kept
from common.durable import Names, Note, Stage, encode_note, final_id, job_id_of, message_id, read_note
from common.errors import BadRequest
from common.subjects import Subjects, is_token


def kept(data: bytes = b"{}", seq: int = 7, stored_unix_s: float = 1.5, **headers: str) -> Kept:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Kept(subject="llm.v1.jobs.t.normal", data=data, seq=seq, stored_unix_s=stored_unix_s, headers=named)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (kept(b'{"job":"body"}', Nx_Job="header", Nats_Msg_Id="stored"), "body"),
        (kept(b'{"job":3}', Nx_Job="header", Nats_Msg_Id="stored"), "header"),
        (kept(b"garbage", Nats_Msg_Id="stored"), "stored"),
        (kept(b"", Nx_Job="header"), "header"),
    ],
)
def test_who_names_a_job(message: Kept, wanted: str) -> None:
    """The body before the headers; what can't be read names nothing."""
    assert job_id_of(message) == wanted


@given(st.integers(1, 2**63), st.floats(0, 4e9), st.text(max_size=80))
def test_an_id_is_always_a_name_and_always_the_same(seq: int, stored_unix_s: float, given_id: str) -> None:
    """Whatever was given, the id may stand in a subject, and a second delivery has the same."""
    first = job_id_of(kept(b"{}", seq, stored_unix_s, Nx_Job=given_id))
    second = job_id_of(kept(b"{}", seq, stored_unix_s, Nx_Job=given_id))

    assert (True, first) == (is_token(first), second)


def test_two_messages_have_two_ids() -> None:
    """Also when they were stored in the same moment."""
    assert job_id_of(kept(seq=1)) != job_id_of(kept(seq=2))


def test_two_names_that_look_alike_stay_two() -> None:
    """Foreign characters become `_`, and a digest tells such names apart."""
    assert job_id_of(kept(Nx_Job="a.b")) != job_id_of(kept(Nx_Job="a/b"))


def test_a_note_comes_back() -> None:
    """As it was written, under its own subject and no other."""
    note = Note(job="j", tenant="t", state=Stage.RETRYING, at_unix_s=1.0, tries=2, again_s=4.0, error={"code": "busy"})
    lies = replace(kept(encode_note(note)), subject="llm.v1.result.t.j")
    for subject in ("llm.v1.result.t.k", "llm.v1.result.u.j", "llm.v1.jobs.t.normal"):
        with pytest.raises(BadRequest, match="is a note of job j of t"):
            read_note(replace(lies, subject=subject))

    assert read_note(lies) == note


def test_two_fleets_on_one_server_have_two_queues() -> None:
    """The names follow the prefix."""
    assert ("LLM_JOBS", "LAB_V2_JOBS") == (Names.below(Subjects()).jobs, Names.below(Subjects("lab.v2")).jobs)


def test_ids_of_messages_tell_tenants_and_lives_apart() -> None:
    """The same job id of two tenants, and a job that was taken from the dead letters, are others."""
    assert 4 == len({message_id("a", "j"), message_id("b", "j"), final_id("a", "j"), final_id("a", "j", "9")})
