"""Intake: what a stranger may send, and the words for what it may not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codec
from common.bus import Delivery
from common.codec import Encoding
from common.errors import BadRequest, DeadlineExceeded, FleetError
from common.messages import ChatRequest, Role
from common.subjects import Subjects
from dispatcher.intake import Intake, wanted_model
from dispatcher.outcomes import Job
from tests.unit.dispatcher.builders import job

NOW_UNIX_S = 1_700_000_000.0
NOW_MS = 1_700_000_000_000


@dataclass(frozen=True)
class StoppedClock:
    """It is always the same moment."""

    def monotonic(self) -> float:
        return 50.0

    def unix_s(self) -> float:
        return NOW_UNIX_S


INTAKE = Intake(StoppedClock(), Subjects(), 600.0)


def read(payload: bytes, *, reply: str = "_INBOX.x", subject: str = "llm.v1.chat.acme") -> Job:
    return INTAKE.read(Delivery(subject, payload, reply))


def read_json(**fields: Any) -> Job:
    return read(codec.encode(fields))


def error_of(payload: bytes) -> FleetError | None:
    try:
        read(payload)
    except FleetError as error:
        return error
    return None


def test_a_prompt_becomes_one_user_message() -> None:
    """The shortest request is a prompt; everything else has a default."""
    one = read_json(prompt="hi")

    assert ("acme", "chat", "_INBOX.x", "auto", [(Role.USER, "hi")]) == (
        one.tenant,
        one.kind,
        one.reply,
        one.request.model,
        [(message.role, message.content) for message in one.messages],
    )


def test_messages_are_taken_as_they_are() -> None:
    """A conversation keeps its turns, without a prompt."""
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]

    assert ["be brief", "hi"] == [message.content for message in read_json(messages=turns).messages]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "images": ["aGk="]},
        {"role": "assistant", "tool_calls": [{"name": "f"}]},
        {"role": "user", "content": "x"},
    ],
)
def test_images_and_tool_calls_are_something_to_answer(message: dict[str, Any]) -> None:
    """A conversation need not have text, if it has something."""
    assert 1 == len(read_json(messages=[message]).messages)


def test_an_id_is_made_where_none_came() -> None:
    """A job has an id of its own, or the one that it was sent with."""
    one, other, named = read_json(prompt="hi"), read_json(prompt="hi"), read_json(prompt="hi", job="my-job_1")

    assert (26, True, "my-job_1") == (len(one.id), one.id != other.id, named.id)


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [
        (codec.encode({"prompt": "hi"}), Encoding.JSON),
        (codec.encode({"prompt": "hi"}, Encoding.MSGPACK), Encoding.MSGPACK),
    ],
)
def test_the_encoding_is_remembered(payload: bytes, encoding: Encoding) -> None:
    """The answer is to be written as the request was."""
    assert encoding is read(payload).encoding


@pytest.mark.parametrize(
    ("fields", "left_s"),
    [
        ({}, 600.0),  # the default
        ({"timeout_s": 5}, 5.0),
        ({"deadline_ms": NOW_MS + 2500}, 2.5),
        ({"timeout_s": 5, "deadline_ms": NOW_MS + 2500}, 2.5),  # the earlier one
        ({"timeout_s": 2, "deadline_ms": NOW_MS + 2500}, 2.0),
        ({"deadline_ms": NOW_MS + 900_000}, 600.0),  # a late deadline does not extend the default
        ({"deadline_ms": 2**63 - 1}, 600.0),
    ],
)
def test_the_deadline_stands_on_both_clocks(fields: dict[str, Any], left_s: float) -> None:
    """A job's deadline is the earliest of time-out, deadline and default, on the monotonic clock and in UTC."""
    one = read_json(prompt="hi", **fields)

    assert (pytest.approx(50.0 + left_s), pytest.approx(NOW_UNIX_S + left_s)) == (one.deadline_s, one.deadline_unix_s)


@pytest.mark.parametrize("deadline_ms", [0, NOW_MS - 1500, NOW_MS])
def test_a_deadline_in_the_past_is_refused(deadline_ms: int) -> None:
    """A job that can't be in time is not begun; the clock may be the reason."""
    error = error_of(codec.encode({"prompt": "hi", "deadline_ms": deadline_ms}))
    assert error is not None

    assert (DeadlineExceeded, True) == (type(error), "clock" in error.message)


def packed(**fields: Any) -> bytes:
    return codec.encode({"prompt": "hi", **fields})


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", ["empty"]),
        (b"hello", ["not JSON"]),
        (b"[1,2]", ["list"]),
        (b'"hi"', ["str"]),
        (b"\xff\xfe", ["not JSON"]),
        (b'{"prompt":"\xff"}', ["not JSON"]),
        (b'{"prompt":"\\ud800"}', ["not JSON"]),
        (b"\x81\xa6prompt\xa2\xff\xff", ["not MessagePack"]),
        (b"\x81\xa6prompt", ["not MessagePack"]),
        (b'{"prompt":' + b"[" * 200 + b"]" * 200 + b"}", ["64 levels"]),
        (b'{"tools":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", []),  # whoever notices first
        (b"{}", ["prompt is missing"]),
        (codec.encode({"messages": []}), ["prompt is missing"]),
        (codec.encode({"prompt": ""}), ["prompt is empty"]),
        (codec.encode({"prompt": " \n\t "}), ["prompt is empty"]),
        (codec.encode({"messages": [{"role": "user", "content": " "}]}), ["prompt is empty"]),
        (codec.encode({"prompt": "hi", "messages": [USER]}), ["both prompt and messages"]),
        (codec.encode({"prompt": 7}), ["prompt:", "got 7"]),
        (codec.encode({"messages": "hi"}), ["messages:"]),
        (codec.encode({"messages": ["hi"]}), ["messages.0"]),
        (codec.encode({"messages": [{"role": "robot", "content": "hi"}]}), ["messages.0.role", "'robot'"]),
        (codec.encode({"messages": [{"role": "user", "content": 3}]}), ["messages.0.content"]),
        (codec.encode({"messages": [USER] * 1001}), ["messages:"]),
        (packed(model=""), ["model:"]),
        (packed(model=["a"]), ["model:"]),
        (packed(model="x" * 201), ["model:"]),
        (packed(stream="perhaps"), ["stream:"]),
        (packed(job="a b"), ["job 'a b' is not a name"]),
        (packed(job="a.b"), ["job 'a.b' is not a name"]),
        (packed(job="x" * 65), ["job:"]),
        (packed(job="*"), ["job '*' is not a name"]),
        (packed(options={"temperature": "hot"}), ["options.temperature", "'hot'"]),
        (packed(options={"max_tokens": 0}), ["options.max_tokens"]),
        (packed(options={"top_p": 2}), ["options.top_p"]),
        (packed(options=[]), ["options:"]),
        (packed(tools={"a": 1}), ["tools:"]),
        (packed(tools=["f"]), ["tools.0"]),
        (packed(format="xml"), ["format"]),
        (packed(timeout_s=0), ["timeout_s:"]),
        (packed(timeout_s=-1), ["timeout_s:"]),
        (packed(timeout_s=1e9), ["timeout_s:"]),
        (packed(deadline_ms="tomorrow"), ["deadline_ms:"]),
        (packed(deadline_ms=-1), ["deadline_ms:"]),
        (packed(deadline_ms="9" * 400), ["deadline_ms:"]),  # more than a float holds
        (packed(options={"seed": "9" * 30}), ["options.seed"]),  # more than MessagePack holds
        (packed(device=""), ["device:"]),
        (packed(prompt=1, stream="x", timeout_s=-1), ["prompt:", "stream:", "timeout_s:"]),  # all at once
    ],
)
def test_bad_input_is_named(payload: bytes, words: list[str]) -> None:
    """Each wrong field is named, with the value that came where that helps, and the error is typed."""
    error = error_of(payload)
    assert error is not None

    assert (BadRequest, []) == (type(error), [word for word in words if word not in error.message])


def test_the_words_stay_short() -> None:
    """An error repeats no megabyte of the request."""
    error = error_of(codec.encode({"prompt": {"x": "y" * 500_000}, **{f"k{n}": n for n in range(1000)}}))
    assert error is not None

    assert len(error.message) < 1000


def test_a_message_that_nobody_waits_for_is_refused() -> None:
    """A request without a reply subject would keep a device busy for nobody."""
    with pytest.raises(BadRequest, match="nobody waits"):
        read(packed(), reply="")


@pytest.mark.parametrize(
    ("model", "device", "expected"),
    [
        ("auto", None, ("auto", None)),
        ("llama3.2", None, ("llama3.2:latest", None)),  # as Ollama has it
        ("llama3.2:1b", None, ("llama3.2:1b", None)),
        ("hf.co/some/model", None, ("hf.co/some/model:latest", None)),
        ("localhost:5000/model", None, ("localhost:5000/model:latest", None)),
        ("llama3.2:1b@nano", None, ("llama3.2:1b", "nano")),
        ("auto@nano", None, ("auto", "nano")),
        ("@nano", None, ("auto", "nano")),
        ("auto", "orin", ("auto", "orin")),
        ("llama3.2@nano", "nano", ("llama3.2:latest", "nano")),
    ],
)
def test_models_and_pins(model: str, device: str | None, expected: tuple[str, str | None]) -> None:
    """`model@device` pins, as the field does; a name without a tag means `latest`."""
    assert expected == wanted_model(job(model=model, device=device).request)


@pytest.mark.parametrize("model", ["auto@a b", "llama3.2:1b@>", "x@a.b"])
def test_a_pin_on_no_name_is_refused(model: str) -> None:
    """What can't be a device's name is a bad request."""
    with pytest.raises(BadRequest, match="device"):
        wanted_model(job(model=model).request)


# -- fuzz -----------------------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "prompt",
        "messages",
        "model",
        "stream",
        "hold",
        "job",
        "options",
        "tools",
        "format",
        "timeout_s",
        "deadline_ms",
        "device",
    ]
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "tool", "x"])}, optional={"content": VALUES, "tool_calls": VALUES}
    ),
    max_size=3,
)
REQUESTS = st.dictionaries(NAMES, VALUES | MESSAGES | st.text("0123456789", min_size=1, max_size=400), max_size=6)


@given(st.binary(max_size=300))
def test_any_bytes(payload: bytes) -> None:
    """Whatever bytes come, the worst is a typed error with words."""
    error = error_of(payload)

    assert error is None or error.message


@given(REQUESTS)
def test_any_object_in_messagepack(request: dict[str, Any]) -> None:
    """Whatever object comes as MessagePack, the worst is a typed error with words."""
    error = error_of(codec.encode(request, Encoding.MSGPACK))

    assert error is None or error.message


@given(REQUESTS)
def test_any_object_in_json(request: dict[str, Any]) -> None:
    """Whatever object comes as JSON, the worst is a typed error with words."""
    error = error_of(codec.encode(request))

    assert error is None or error.message


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdf\xff\xff\xff\xff",  # a map of four billion entries, says its head
        b"\x81\xa6prompt\xdb\xff\xff\xff\xff",  # a string of 4 GB, says its head
        b"\xdd" * 1_000_000,
        b"\x81\xa1a" * 300_000,
        b"{" * 1_000_000,
        b'{"messages":[' + b'{"role":"user"},' * 60_000 + b"{}]}",
        codec.encode({"prompt": "hi", "options": {"stop": ["x"] * 200_000}}),
    ],
)
def test_large_nonsense_is_refused_quickly(payload: bytes) -> None:
    """A megabyte of nonsense costs neither memory nor time worth mentioning."""
    started_s = time.process_time()
    error = error_of(payload)

    assert (True, True) == (isinstance(error, BadRequest), time.process_time() - started_s < 2.0)


def test_two_pins_that_differ_are_refused() -> None:
    """Neither the model's device nor the field wins in silence."""
    with pytest.raises(BadRequest, match=r"'orin', and the field device for 'pi5'") as caught:
        wanted_model(ChatRequest(prompt="hi", model="auto@orin", device="pi5"))

    assert "device" == caught.value.details["param"]
