"""What is answered, decided before any time passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agents.simulator.errors import Refused
from agents.simulator.options import Options
from agents.simulator.profiles import catalogue
from agents.simulator.requests import InferenceRequest, Message
from agents.simulator.script import Script, context_ids, kept_messages, shifted_prompt, write

MODELS = catalogue().models
ASKED = InferenceRequest(
    model="llama3.2:3b", messages=(Message(role="user", content="Why is the sky blue?"),), raw_options={}
)


def scripted(request: InferenceRequest, options: Options | None = None, model: str = "llama3.2:3b") -> Script:
    return write(request, options or Options(), device="orin", model=MODELS[model], context_tokens=4096, default_seed=0)


def test_an_answer_that_ends_by_itself_stops() -> None:
    """Without a limit the reason is `stop`."""
    assert scripted(ASKED).done_reason == "stop"


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_num_predict_ends_the_answer_by_length(limit: int) -> None:
    """Exactly so many tokens, reason `length`."""
    script = scripted(ASKED, Options(num_predict=limit))

    assert (limit, "length") == (len(script.pieces), script.done_reason)


def test_num_predict_is_a_limit_and_no_order() -> None:
    """As with a real model, a high limit does not make the answer longer."""
    assert scripted(ASKED, Options(num_predict=100_000)) == scripted(ASKED)


def test_without_shift_the_context_ends_the_answer() -> None:
    """12 prompt tokens leave 8 of a context of 20."""
    request = replace(ASKED, shift=False)
    script = write(request, Options(), device="orin", model=MODELS["llama3.2:3b"], context_tokens=20, default_seed=0)

    assert (script.prompt_tokens + len(script.pieces), script.done_reason) == (20, "length")


def test_seeds_change_the_text() -> None:
    """The request's seed is used."""
    assert scripted(ASKED, Options(seed=1)).pieces != scripted(ASKED, Options(seed=2)).pieces


def test_a_stop_sequence_ends_the_answer() -> None:
    """The label contains "simulated", so nothing after the bracket is sent."""
    assert "".join(scripted(ASKED, Options(stop=("simulated",))).pieces) == "["


def test_a_thinking_model_thinks_unless_told_not_to() -> None:
    """Ollama turns thinking on by default for models that can."""
    thinks = [
        bool(scripted(replace(ASKED, think=think), model="deepseek-r1:1.5b").thinking) for think in (None, True, False)
    ]

    assert thinks == [True, True, False]


def test_json_format_gives_json() -> None:
    """The whole answer parses, and is marked as simulated."""
    assert json.loads("".join(scripted(replace(ASKED, format="json")).pieces))["simulated"] is True


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("xml", 'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object'),
        (5, 'invalid format: "5"; expected "json" or a valid JSON Schema object'),
        ({"type": "object", "properties": 3}, "invalid JSON schema in format"),
    ],
)
def test_a_format_that_is_none_is_refused(wanted: Any, message: str) -> None:
    """The words are Ollama's."""
    with pytest.raises(Refused) as caught:
        scripted(replace(ASKED, format=wanted))

    assert (caught.value.status, caught.value.message.startswith(message)) == (500, True)


def test_the_oldest_messages_are_dropped_first_and_system_ones_stay() -> None:
    """History is cut from its start; the last message always stays."""
    messages = [Message(role="system", content="be brief")]
    messages += [Message(role="user", content=f"question number {number} " * 10) for number in range(5)]
    kept = kept_messages(messages, 100)

    assert [kept[0].role, kept[-1].role, kept[-1] is messages[-1]] == ["system", "user", True]


def test_one_message_that_is_too_long_is_kept_alone() -> None:
    """Nothing is left to drop: the prompt itself is then cut."""
    messages = [Message(role="user", content="old"), Message(role="user", content="word " * 500)]

    assert kept_messages(messages, 100) == (messages[-1],)


def test_a_too_long_prompt_is_cut_to_half_the_context_beyond_what_is_kept() -> None:
    """With a context of 100 and 4 kept tokens: 100 - (100 - 4) / 2 = 52."""
    assert shifted_prompt(500, context_tokens=100, keep_tokens=4) == 52


def test_a_prompt_that_fits_is_not_cut() -> None:
    """One token of the context is left for the answer."""
    assert shifted_prompt(99, context_tokens=100, keep_tokens=4) == 99


def test_a_too_long_prompt_that_must_not_be_cut_is_refused() -> None:
    """`truncate: false` makes it an error."""
    with pytest.raises(Refused, match="longer than the context"):
        write(
            replace(ASKED, truncate=False),
            Options(),
            device="orin",
            model=MODELS["llama3.2:3b"],
            context_tokens=4,
            default_seed=0,
        )


def test_a_last_message_of_the_assistant_is_continued() -> None:
    """The answer and its continuation from any place are one text."""
    whole = "".join(scripted(ASKED).pieces)
    cut = whole[:60]
    continued = scripted(replace(ASKED, messages=(*ASKED.messages, Message(role="assistant", content=cut))))

    assert cut + "".join(continued.pieces) == whole


def test_images_cost_tokens() -> None:
    """Ollama counts 768 for each."""
    seen = replace(ASKED, messages=(replace(ASKED.messages[0], images=(b"x", b"y")),))

    assert scripted(seen).prompt_tokens - scripted(ASKED).prompt_tokens == 2 * 768


def test_the_context_of_generate_grows_with_the_conversation() -> None:
    """What was given comes back, followed by prompt and answer."""
    request = replace(ASKED, context=(1, 2, 3))
    ids = context_ids(request, scripted(request))

    assert (ids[:3], len(ids) > 20) == ((1, 2, 3), True)


def test_a_raw_prompt_has_no_context() -> None:
    """Ollama leaves it out."""
    assert context_ids(replace(ASKED, raw=True), scripted(ASKED)) == ()


TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"properties": {"city": {"type": "string"}}}}}
    for name in ("get_weather", "get_traffic")
)


@pytest.mark.parametrize("model", ["llama3.2:3b", "qwen2.5:7b"])
@pytest.mark.parametrize(("most", "called"), [(0.3, 0), (0.7, 1), (1.0, 2)])
def test_calls_that_were_written_to_their_end_are_calls(model: str, most: float, called: int) -> None:
    """Of a call that is cut off Ollama tells nothing, but where calls have no tag and there was none yet: it may be text."""
    both = (Message(role="user", content="What about weather and traffic in Zurich?"),)
    request = replace(ASKED, messages=both, tools=TOOLS)
    whole = scripted(request, model=model)
    cut = scripted(request, Options(num_predict=round(most * len(whole.pieces))), model=model)
    may_be_text = model.startswith("llama") and not called

    assert ("stop", "length" if most < 1 else "stop") == (whole.done_reason, cut.done_reason)
    assert (whole.tool_calls[:called], "".join(cut.pieces) if may_be_text else "") == (cut.tool_calls, cut.unparsed)
