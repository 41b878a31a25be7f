"""What a device learns of its speed."""

from __future__ import annotations

import pytest

from agents.speeds import Finished, learn
from common.messages import EngineTimings, Speed, Usage


def job(
    prompt: int = 100,
    completion: int = 50,
    *,
    prefill_s: float | None = 0.5,
    decode_s: float | None = 5.0,
    load_s: float | None = 0.01,
    first_token_s: float | None = 0.6,
    cold: bool = False,
) -> Finished:
    return Finished(
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion),
        engine=EngineTimings(load_s=load_s, prefill_s=prefill_s, decode_s=decode_s),
        first_token_s=first_token_s,
        cold=cold,
    )


def test_the_first_job_is_the_average() -> None:
    """100 tokens in 0.5 s, 50 in 5 s; the first token came 0.6 s after the accept, 0.01 s of them loading."""
    speed = learn(Speed(), job())

    assert speed == Speed(jobs=1, prefill_tps=200.0, decode_tps=10.0, load_s=None, first_token_s=pytest.approx(0.59))


def test_a_new_job_counts_for_three_tenths() -> None:
    """10 tok/s known, 20 tok/s new: 10 + 0.3 * (20 - 10)."""
    speed = learn(learn(Speed(), job(decode_s=5.0)), job(decode_s=2.5))

    assert speed.decode_tps == pytest.approx(13.0)


def test_loads_are_learnt_from_cold_jobs_only() -> None:
    """A warm job's few milliseconds are no load time."""
    speed = learn(learn(Speed(), job(load_s=8.0, cold=True, first_token_s=9.0)), job(load_s=0.002))

    assert speed.load_s == 8.0


def test_the_load_is_no_part_of_the_first_token() -> None:
    """9 s to the first token, of which 8 s loaded the model."""
    speed = learn(Speed(), job(load_s=8.0, cold=True, first_token_s=9.0))

    assert speed.first_token_s == pytest.approx(1.0)


def test_a_short_prompt_teaches_no_prefill_speed() -> None:
    """Eight tokens are mostly fixed cost."""
    speed = learn(Speed(prefill_tps=200.0, jobs=4), job(prompt=8, prefill_s=0.4))

    assert speed.prefill_tps == 200.0


def test_a_short_answer_teaches_no_decode_speed() -> None:
    """One token took no measurable time."""
    speed = learn(Speed(), job(completion=1, decode_s=0.0001))

    assert speed.decode_tps is None


def test_absent_counters_leave_what_is_known() -> None:
    """A backend without timings counts the job, and nothing else."""
    known = Speed(jobs=1, prefill_tps=200.0, decode_tps=10.0, load_s=8.0, first_token_s=0.5)

    speed = learn(known, job(prefill_s=None, decode_s=None, load_s=None, first_token_s=None, cold=True))

    assert speed == Speed(jobs=2, prefill_tps=200.0, decode_tps=10.0, load_s=8.0, first_token_s=0.5)
