"""What of the cache a request may have, and which answers are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.errors import JobCancelled
from common.frames import End, Finish
from common.messages import CacheWish, Message, Options, Role, ToolCall
from dispatcher.cache.plan import Plan, plan, unsound
from dispatcher.outcomes import Cascaded, Delivered, Job
from tests.unit.dispatcher.builders import attempt, candidate, job

EXACT = Plan(exact=True, shares=True, keeps=True)
LIKENESS = Plan(exact=True, shares=True, keeps=True, semantic=True, likens=True, serves=True)
TOOL = Message(role=Role.TOOL, content="7", tool_name="look")


def planned(one: Job, mode: str) -> Plan:
    return plan(one, mode, max_temperature=1.0)


@pytest.mark.parametrize(
    ("wish", "mode", "expected"),
    [
        (None, "exact", EXACT),
        (None, "semantic", LIKENESS),
        (None, "shadow", replace(LIKENESS, serves=False)),
        ("exact", "semantic", replace(EXACT, serves=True)),
        ("semantic", "exact", EXACT),
        ("semantic", "semantic", LIKENESS),
        ("semantic", "shadow", replace(LIKENESS, serves=False)),
        ("off", "semantic", Plan()),
        ("refresh", "exact", Plan(keeps=True)),
        ("refresh", "semantic", Plan(keeps=True, likens=True)),
    ],
)
def test_wish_and_mode(wish: str | None, mode: str, expected: Plan) -> None:
    """A request may ask for less than its tenant has, and never gets more."""
    assert expected == replace(planned(job(cache=None if wish is None else CacheWish(wish)), mode), why="")


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (job(cache=CacheWish.SEMANTIC, tools=({"type": "function"},)), "tools"),
        (replace(job(cache=CacheWish.SEMANTIC), messages=(*job().messages, TOOL)), "tools"),
        (
            replace(
                job(cache=CacheWish.SEMANTIC),
                messages=(Message(role=Role.ASSISTANT, tool_calls=(ToolCall(name="x"),)), *job().messages),
            ),
            "tools",
        ),
        (
            replace(
                job(cache=CacheWish.SEMANTIC), messages=(*job().messages, Message(role=Role.ASSISTANT, content="well,"))
            ),
            "the last word is not the user's",
        ),
    ],
)
def test_likeness_is_refused(one: Job, why: str) -> None:
    """Tools, and conversations whose last word is no question, are answered by the very same request alone."""
    expected = replace(EXACT, why=why, serves=True, shares=not one.request.tools)

    assert expected == planned(one, "semantic")


@pytest.mark.parametrize(
    "fields", [{"options": Options(temperature=1.1)}, {"resume": "Once upon"}, {"cache": CacheWish.OFF}]
)
def test_some_requests_have_no_cache(fields: dict[str, Any]) -> None:
    """Who wants variety, who has half an answer, and who said so: nothing is looked up, and nothing kept."""
    wanted = planned(job(**fields), "semantic")

    assert (False, False, False) == (wanted.exact, wanted.semantic, wanted.keeps)
    assert wanted.why


WHOLE = Delivered(attempts=(attempt(1, "pi5", "device_lost"), attempt(2)), chosen=candidate(), end=End())
CHECKED = Cascaded(weak=candidate(), escalated=True, score=0.1, threshold=0.5, by="rules", why="too short")


@pytest.mark.parametrize(
    ("delivered", "text", "why"),
    [
        (WHOLE, "an answer", ""),
        (replace(WHOLE, end=None, error=JobCancelled()), "an ans", "it failed"),
        (replace(WHOLE, error=JobCancelled()), "an answer", "it failed"),
        (replace(WHOLE, end=End(finish=Finish.LENGTH)), "an ans", "it was cut off"),
        (replace(WHOLE, end=End(finish=Finish.TOOL_CALLS)), "x", "it calls tools"),
        (replace(WHOLE, end=End(tool_calls=(ToolCall(name="x"),))), "x", "it calls tools"),
        (WHOLE, " \n", "it is empty"),
        (
            replace(WHOLE, attempts=(attempt(1, "pi5", "device_lost"), attempt(2, continues=True))),
            "x",
            "several devices wrote it",
        ),
        (
            replace(WHOLE, cascaded=replace(CHECKED, instead="nobody stronger")),
            "x",
            "it did not hold when it was checked",
        ),
        (replace(WHOLE, cascaded=replace(CHECKED, given="strong")), "x", ""),
    ],
)
def test_only_a_whole_answer_of_one_device_is_kept(delivered: Delivered, text: str, why: str) -> None:
    """Unfinished, failed, cut, continued by another device, given though it did not hold: none of these is ever given again."""
    assert why == unsound(job(), delivered, text)
