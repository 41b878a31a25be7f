"""Request bodies: what is understood, and Ollama's words for what is not."""

from __future__ import annotations

import json

import pytest

from agents.simulator.clock import FOREVER_S
from agents.simulator.errors import Refused
from agents.simulator.options import Options, parse_options
from agents.simulator.requests import (
    parse_chat,
    parse_embed,
    parse_generate,
    parse_named,
)


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "unexpected EOF"),
        (b'{"model":"x', "unexpected EOF"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"model" 1}', "invalid character '1' after object key"),
        (b'{"model":"x"} x', "invalid character 'x' after top-level value"),
        (b'{"model":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"[1]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b"3", "json: cannot unmarshal number into Go value of type api.ChatRequest"),
        (body(model=1), "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        (
            body(model="x", stream="no"),
            "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool",
        ),
        (
            body(model="x", messages="hi"),
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message",
        ),
        (
            body(model="x", messages=[{"role": "user", "content": 5}]),
            "json: cannot unmarshal number into Go struct field ChatRequest.messages.content of type string",
        ),
        (body(model="x", keep_alive="5 apples"), 'time: invalid duration "5 apples"'),
        (body(model="x", keep_alive="5"), 'time: missing unit in duration "5"'),
        (body(model="x", keep_alive=True), "Unsupported type: 'bool'"),
        (
            body(model="x", think=3),
            'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
        ),
        (
            body(model="x", think="hard"),
            'invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)',
        ),
        (body(model="x", top_logprobs=21), "top_logprobs must be between 0 and 20"),
        (body(model="x", messages=[{"images": ["%%%"]}]), "illegal base64 data at input byte 0"),
    ],
)
def test_a_bad_body_is_refused_in_ollamas_words(raw: bytes, message: str) -> None:
    """Clients show these messages to people, so they are the ones that Ollama writes."""
    with pytest.raises(Refused) as caught:
        parse_chat(raw)

    assert (400, message) == (caught.value.status, caught.value.message)


def test_deep_nesting_is_refused() -> None:
    """A body that nests a hundred thousand arrays does not end the process."""
    with pytest.raises(Refused) as caught:
        parse_chat(b'{"messages":' + b"[" * 100_000)

    assert caught.value.status == 400


def test_streaming_is_the_default() -> None:
    """Ollama streams unless it is told not to."""
    assert parse_chat(body(model="x")).stream is True


def test_null_is_absent() -> None:
    """Clients that write out their unset fields are understood."""
    parsed = parse_chat(body(model="x", stream=None, options=None, keep_alive=None, tools=None, think=None))

    assert (parsed.stream, parsed.raw_options, parsed.keep_alive_s, parsed.tools) == (True, {}, None, ())


@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [(0, 0.0), ("0", 0.0), (30, 30.0), (1.5, 1.5), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), (-1, FOREVER_S)],
)
def test_keep_alive_is_a_number_or_a_go_duration(keep_alive: object, seconds: float) -> None:
    """Numbers are seconds, negative is for ever."""
    assert parse_chat(body(model="x", keep_alive=keep_alive)).keep_alive_s == seconds


def test_a_negative_duration_is_for_ever() -> None:
    """ "-1m" means what -1 means."""
    assert parse_chat(body(model="x", keep_alive="-1m")).keep_alive_s == FOREVER_S


def test_images_are_decoded() -> None:
    """Base64 in a message becomes bytes."""
    parsed = parse_chat(body(model="x", messages=[{"role": "USER", "content": "see", "images": ["aGk="]}]))

    assert (parsed.messages[0].role, parsed.messages[0].images) == ("user", (b"hi",))


def test_generate_turns_system_and_prompt_into_messages() -> None:
    """A generate request is a chat of one question."""
    parsed = parse_generate(body(model="x", system="be brief", prompt="hi"))

    assert [(m.role, m.content) for m in parsed.messages] == [("system", "be brief"), ("user", "hi")]


@pytest.mark.parametrize(
    ("given", "inputs"), [("one", ("one",)), (["a", "b"], ("a", "b")), ("", ()), ([], ()), (None, ())]
)
def test_embed_takes_one_text_or_many(given: object, inputs: tuple[str, ...]) -> None:
    """A string, a list, or nothing."""
    assert parse_embed(body(model="x", input=given)).inputs == inputs


@pytest.mark.parametrize("given", [5, {"a": 1}, ["a", 5]])
def test_embed_refuses_other_inputs(given: object) -> None:
    """Ollama's word for them is "invalid input type"."""
    with pytest.raises(Refused, match="invalid input type"):
        parse_embed(body(model="x", input=given))


@pytest.mark.parametrize("field", ["model", "name"])
def test_a_model_may_be_called_name(field: str) -> None:
    """Older clients send `name`."""
    assert parse_named(body(**{field: "x"}), "ShowRequest").model == "x"


def test_known_options_are_read_and_unknown_ones_ignored() -> None:
    """Options outside the struct only make Ollama log a warning."""
    parsed = parse_options(
        {"num_predict": 5.0, "num_ctx": 64, "stop": ["x"], "seed": 7, "colour": "red", "top_k": None}
    )

    assert parsed == Options(num_predict=5, num_ctx=64, stop=("x",), seed=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_predict": "5"}, 'option "num_predict" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_options_of_the_wrong_type_are_a_500(options: dict[str, object], message: str) -> None:
    """Ollama finds these while it schedules, after the body was accepted."""
    with pytest.raises(Refused) as caught:
        parse_options(options)

    assert (500, message) == (caught.value.status, caught.value.message)
