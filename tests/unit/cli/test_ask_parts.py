"""What `drover ask` sends and how it sums up an answer, without a fleet."""

from __future__ import annotations

from typing import Any

import pytest

from common.chat_stream import Answer
from common.errors import BadRequest
from common.messages import Role, Usage
from dispatcher.cli.ask import Wish, footer, read_prompt, report


def answer(**route: Any) -> Answer:
    return Answer(
        job="j", text="hi", device="nano", model="m", reason="fastest", usage=Usage(completion_tokens=30), route=route
    )


def test_only_what_was_said_is_sent() -> None:
    """What the command line leaves out is left to the dispatcher and the backend."""
    assert Wish().fields() == {"model": "auto", "options": {}}


def test_all_that_was_said_is_sent() -> None:
    """Sampling goes to the options, the rest beside the messages."""
    wish = Wish(model="m", device="nano", max_tokens=5, temperature=0.0, timeout_s=2.0, priority="batch")

    assert wish.fields() == {
        "model": "m",
        "device": "nano",
        "timeout_s": 2.0,
        "priority": "batch",
        "options": {"max_tokens": 5, "temperature": 0.0},
    }


def test_the_system_prompt_comes_first() -> None:
    """It stands before the question, with its own role."""
    assert [(m.role, m.content) for m in Wish(system="Be brief.").before()] == [(Role.SYSTEM, "Be brief.")]


@pytest.mark.parametrize(("wish", "named"), [(Wish(device=""), "device"), (Wish(priority="urgent"), "priority")])
def test_a_wrong_option_is_named(wish: Wish, named: str) -> None:
    """What can't be is found before anything is sent."""
    with pytest.raises(BadRequest, match=named):
        wish.check()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_is_refused_with_a_way_out(text: str) -> None:
    """Nothing is sent, and the message shows how it is done."""
    with pytest.raises(BadRequest, match="the prompt is empty: write drover ask"):
        read_prompt(text)


@pytest.mark.parametrize(
    ("route", "line"),
    [
        ({}, "nano · m · fastest · first token 0.25 s"),
        (
            {"timings": {"decode_tps": 12.34}, "simulated": True},
            "nano · m · fastest · first token 0.25 s · 12.3 tokens/s · simulated",
        ),
        ({"cost_usd": 0.00045}, "nano · m · fastest · first token 0.25 s · 0.000450 USD"),
        # 30 tokens / (2.0 - 0.5) s
        (
            {"timings": {"first_token_s": 0.5, "total_s": 2.0}},
            "nano · m · fastest · first token 0.25 s · 20.0 tokens/s",
        ),
    ],
)
def test_the_footer_tells_where_why_and_how_fast(route: dict[str, Any], line: str) -> None:
    """The device's own measurement of speed counts before ours, and simulated text is called that."""
    assert line == footer(answer(**route), 0.25)


def test_json_holds_the_whole_account() -> None:
    """A script gets the text, the token counts with their sum, and the route as the dispatcher told it."""
    told = report(answer(strategy="hybrid"), 0.25)

    assert (
        told["text"],
        told["usage"]["total_tokens"],
        told["route"],
        told["first_token_s"],
    ) == ("hi", 30, {"strategy": "hybrid"}, 0.25)


def test_an_empty_prompt_is_refused_in_the_words_of_its_verb() -> None:
    """The way out is the command that was meant."""
    with pytest.raises(BadRequest, match=r"write drover submit .* or pipe text into drover submit -"):
        read_prompt("", "submit")


def test_a_tenant_that_can_not_be_one_is_refused_by_name() -> None:
    """It would be a part of a subject."""
    with pytest.raises(BadRequest, match="tenant"):
        Wish(tenant="a b").check()
