"""OpenAI requests as values, and their mapping to ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest, FleetError
from common.messages import CacheWish, ChatRequest, Priority, Role
from dispatcher.bridge.openai import request

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
HI = [{"role": "user", "content": "hi"}]


def mapped(**fields: Any) -> ChatRequest:
    body = json.dumps({"messages": HI, **fields}).encode()
    return request.to_chat(request.read(body), job="j1")


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        (None, Priority.NORMAL),
        ("auto", Priority.NORMAL),
        ("default", Priority.NORMAL),
        ("flex", Priority.BATCH),
        ("priority", Priority.INTERACTIVE),
    ],
)
def test_the_tier_is_a_priority(tier: str | None, expected: Priority) -> None:
    """OpenAI's tiers say how urgent a request is while jobs wait."""
    assert expected is mapped(service_tier=tier).priority


def test_another_tier_is_refused_by_name() -> None:
    """A tier that we don't have is no ordinary one in silence."""
    error = refused(service_tier="platinum")

    assert (error.code, error.details["param"]) == ("bad_request", "service_tier")


def test_a_given_priority_wins_over_the_tier() -> None:
    """What the header says counts, whatever the body says."""
    body = json.dumps({"messages": HI, "service_tier": "flex"}).encode()
    chat = request.to_chat(request.read(body), job="j1", priority=Priority.INTERACTIVE)

    assert Priority.INTERACTIVE is chat.priority


def refused(**fields: Any) -> FleetError:
    with pytest.raises(FleetError) as caught:
        mapped(**fields)
    return caught.value


def test_a_short_request_asks_the_fleet_to_choose() -> None:
    """Messages alone make a job for `auto`, streamed on the bus, without options."""
    chat = mapped()

    assert (chat.model, chat.device, chat.stream, chat.job) == ("auto", None, True, "j1")


@pytest.mark.parametrize(("stream", "hold"), [(True, False), (False, True), (None, True)])
def test_a_whole_answer_is_held_until_it_is_complete(stream: bool | None, hold: bool) -> None:
    """Nothing of it is shown before, so the dispatcher may begin it again on another device."""
    chat = mapped(stream=stream)

    assert (True, hold) == (chat.stream, chat.hold)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("auto", ("auto", None)),
        ("a@b@nano", ("a@b", "nano")),
        ("llama3.2:3b", ("llama3.2:3b", None)),
        ("hf.co/some/model:Q4", ("hf.co/some/model:Q4", None)),
        ("llama3.2:3b@orin", ("llama3.2:3b", "orin")),
        ("auto@pi-5", ("auto", "pi-5")),
        ("@nano", ("auto", "nano")),
    ],
)
def test_model_and_device_stand_in_one_name(name: str, expected: tuple[str, str | None]) -> None:
    """`model@device` pins a device; what stands before the last `@` is the model."""
    chat = mapped(model=name)

    assert (chat.model, chat.device) == expected


@pytest.mark.parametrize("name", ["auto@", "auto@a b", "auto@a.b", "auto@*"])
def test_a_pin_that_is_no_device_name_is_refused(name: str) -> None:
    """A device name is one subject token; anything else could reach another subject."""
    assert refused(model=name).details["param"] == "model"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"top_p": 0}, {"top_p": request.LEAST_TOP_P}),
        ({"seed": -1}, {"seed": -1}),
        ({"stop": "END"}, {"stop": ("END",)}),
        ({"stop": ["a", "", "b"]}, {"stop": ("a", "b")}),
        ({"frequency_penalty": 1.5, "presence_penalty": -2}, {"frequency_penalty": 1.5, "presence_penalty": -2.0}),
        ({"temperature": None, "stop": None, "tools": None, "n": 1, "logprobs": False}, {}),
        ({"parallel_tool_calls": True, "prompt_cache_key": "k", "reasoning_effort": "xhigh", "user": "u"}, {}),
    ],
)
def test_sampling_fields_become_options(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each sampling field has its place in the options; null and unknown fields leave none."""
    options = mapped(**fields).options
    given_ones = {key: value for key in options.__slots__ if (value := getattr(options, key)) not in (None, ())}

    assert given_ones == expected


PARTS = [{"type": "text", "text": "look"}]
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def picture(image: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*PARTS, {"type": "image_url", "image_url": image}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": ""}]}, "messages"),
        ({"messages": [{"role": "alien", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [*PARTS, {"type": "image_url"}]}]},
            "messages[0].content[1].image_url",
        ),
        ({"messages": [picture({})]}, "messages[0].content[1].image_url.url"),
        ({"messages": [picture({"url": 5})]}, "messages[0].content[1].image_url.url"),
        ({"messages": [picture({"url": "http://x/a.png"})]}, "messages[0].content[1].image_url.url"),
        ({"messages": [picture("http://x/a.png")]}, "messages[0].content[1].image_url"),
        ({"messages": [*HI, {"role": "user", "content": [PNG_PART] * 17}]}, "messages[1].content"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    """The refusal names the field as the sender wrote it."""
    assert refused(**fields).details["param"] == param


@pytest.mark.parametrize(
    "body", [b"", b"hi", b"[]", b"5", b"{", b"\xff\xfe", b'{"a":"\xff"}', b"\x81\xa1a\x01", b"{" * 9999]
)
def test_a_body_that_is_no_json_object_is_refused_with_an_example(body: bytes) -> None:
    """Whatever is no JSON object, MessagePack included, gets an example of one."""
    with pytest.raises(BadRequest, match="messages"):
        request.read(body)


def test_a_body_that_nests_too_deep_is_refused() -> None:
    """Depth is bounded before any field is looked at."""
    deep = b'{"messages":' + b"[" * 500 + b"]" * 500 + b"}"

    with pytest.raises(BadRequest, match="deeper"):
        request.read(deep)


def test_every_wrong_field_is_reported_at_once() -> None:
    """Three faults, one refusal that names all three."""
    message = refused(model=7, stream="x", n="y").message

    assert [name in message for name in ("model:", "stream:", "n:")] == [True, True, True]


def test_developer_speaks_as_system() -> None:
    """Newer clients call the system's role `developer`."""
    chat = mapped(messages=[{"role": "developer", "content": "be brief"}, *HI])

    assert [message.role for message in chat.messages] == [Role.SYSTEM, Role.USER]


def test_text_parts_are_joined_and_images_lose_their_head() -> None:
    """Parts become one text and a list of bare base64 images, in either spelling of the image's address."""
    uri = f"data:image/png;base64,{PNG}"
    parts = [
        {"type": "text", "text": "what"},
        {"type": "image_url", "image_url": {"url": uri, "detail": "low"}},
        {"type": "text", "text": "is this?"},
        {"type": "image_url", "image_url": f"data:;base64,{PNG}"},
    ]
    message = mapped(messages=[{"role": "user", "content": parts}]).messages[0]

    assert (message.content, message.images) == ("what\nis this?", (PNG, PNG))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.org/a.png", "fetches nothing"),
        ("http://169.254.169.254/latest", "fetches nothing"),
        ("file:///etc/passwd", "no image"),
        (f"data:image/svg+xml;base64,{PNG}", "no image"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,!!!!", "not base64"),
        ("data:image/png;base64,A", "not base64"),
        ("data:image/png;base64," + "A" * 100_001, "not base64"),
        ("data:image/png;base64,!" + "A" * 99_999, "not base64"),
        ("data:image/png;base64," + "A" * 99_999 + "!", "not base64"),
    ],
)
def test_an_image_that_is_not_carried_along_is_refused(url: str, says: str) -> None:
    """The bridge fetches nothing and passes on no rubbish."""
    content = [{"type": "image_url", "image_url": {"url": url}}]

    assert says in refused(messages=[{"role": "user", "content": content}]).message


def test_calls_and_their_results_find_each_other() -> None:
    """Arguments become an object, and a result gets the function's name from the call that it answers."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}
    turns = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    _, asked, answered = mapped(messages=turns).messages
    made = asked.tool_calls[0]

    assert (made.name, made.arguments, answered.tool_name, answered.tool_call_id) == (
        "weather",
        {"city": "Graz"},
        "weather",
        "c1",
    )


@pytest.mark.parametrize("arguments", ["[1]", "5", "{", "not json", '{"a":'])
def test_arguments_that_are_no_json_object_are_refused(arguments: str) -> None:
    """The model's own earlier call must be readable."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    turns = [*HI, {"role": "assistant", "tool_calls": [call]}]

    assert refused(messages=turns).details["param"] == "messages[1].tool_calls[0].function.arguments"


TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, "strict": True}}
    for name in ("one", "two")
]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ["one", "two"]),
        ("auto", ["one", "two"]),
        ("none", []),
    ],
)
def test_the_choice_decides_which_tools_are_offered(choice: Any, expected: list[str]) -> None:
    """A backend knows no choice: what must not be called is not offered."""
    offered = mapped(tools=TOOLS, tool_choice=choice).tools

    assert [tool["function"]["name"] for tool in offered] == expected


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ("required", "'required'"),
        ({"type": "function", "function": {"name": "two"}}, "'two'"),
        ({"type": "function", "function": {"name": "absent"}}, "'absent'"),
    ],
)
def test_a_choice_that_can_not_be_obeyed_is_refused(choice: Any, named: str) -> None:
    """The error names the field, the value and what works; an engine without the field would answer in prose."""
    error = refused(tools=TOOLS, tool_choice=choice)

    assert (error.code, error.details["param"]) == ("unsupported", "tool_choice")
    assert all(part in error.message for part in (named, '"auto"', '"none"'))


def test_tools_are_passed_on_whole() -> None:
    """Fields of a tool that this version does not know reach the device."""
    assert list(mapped(tools=TOOLS).tools) == TOOLS


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, {"type": "object"}),
    ],
)
def test_the_response_format_becomes_the_backend_s(wanted: dict[str, Any], expected: Any) -> None:
    """`json` or a schema, as Ollama takes them."""
    assert mapped(response_format=wanted).format == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
known_fields = st.sampled_from([*request.ChatCompletionRequest.model_fields, "unknown"])
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "alien"])
turns = st.fixed_dictionaries(
    {"role": roles | json_values, "content": json_values},
    optional={"tool_calls": json_values, "tool_call_id": json_values, "name": json_values},
)


def outcome(body: bytes) -> ChatRequest | FleetError:
    """Read and map; a typed refusal is an outcome, anything else that is raised is not."""
    try:
        return request.to_chat(request.read(body), job="j1")
    except FleetError as error:
        return error


@given(st.dictionaries(known_fields, json_values, max_size=6), st.lists(turns, max_size=3) | json_values)
def test_any_object_is_mapped_or_refused_by_a_typed_error(fields: dict[str, Any], messages: Any) -> None:
    """No object makes the mapping raise anything but a typed error, and what it maps has something to say."""
    found = outcome(json.dumps({**fields, "messages": messages}).encode())
    says = found.message if isinstance(found, FleetError) else found.messages

    assert says


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_a_typed_error(body: bytes) -> None:
    """No bytes make the reader raise anything but a typed error."""
    assert isinstance(outcome(body), FleetError | ChatRequest)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(" Token:500 ", "token:500"), ("weighted:Utility", "weighted:Utility"), ("", None), (None, None)],
)
def test_a_body_may_name_a_strategy(given: str | None, expected: str | None) -> None:
    """As on NATS, and as the header has it."""
    assert expected == mapped(strategy=given).strategy


def test_a_body_may_name_the_most_that_it_may_cost() -> None:
    """In US dollars."""
    assert 0.002 == mapped(max_cost_usd=0.002).max_cost_usd


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", 5),
        ("strategy", "x" * 65),
        ("max_cost_usd", "0.1"),
        ("max_cost_usd", -1),
        ("max_cost_usd", True),
        ("cache", "on"),
        ("cache", "EXACT"),
        ("cache", ""),
        ("cache", True),
        ("cache", {"no-cache": True}),
        ("user", 5),
        ("user", {"id": "alice"}),
        ("safety_identifier", ["alice"]),
    ],
)
def test_a_wish_of_ours_that_makes_no_sense_is_refused(field: str, value: object) -> None:
    """It is named: what is ignored in silence may cost money."""
    error = refused(**{field: value})

    assert ("bad_request", field) == (error.code, error.details["param"])


@pytest.mark.parametrize("wish", CacheWish)
def test_a_body_may_say_which_answers_will_do(wish: CacheWish) -> None:
    """The four words mean what they mean on NATS."""
    assert wish is mapped(cache=str(wish)).cache


def test_a_wrong_wish_of_the_cache_names_the_right_ones() -> None:
    """The error says what can be sent."""
    message = refused(cache="on").message

    assert [] == [str(wish) for wish in CacheWish if f"'{wish}'" not in message]


ALICE, LONG = "alice", "x" * (request.MOST_USER + 1)


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({}, None),
        ({"user": None}, None),
        ({"user": ""}, "sha256:4069618436e444cfad09c0e58e5ec5f84503b594619e967e7e514eb41c62ef12"),
        ({"user": ALICE}, ALICE),
        ({"safety_identifier": ALICE}, ALICE),
        ({"safety_identifier": ALICE, "user": ALICE}, ALICE),
        ({"user": LONG[:-1]}, LONG[:-1]),
    ],
)
def test_for_whom_it_is_asked(fields: dict[str, Any], user: str | None) -> None:
    """OpenAI's old and new name of the field both name the user; an empty one names nobody."""
    assert user == mapped(**fields).user


def test_users_who_are_named_otherwise_are_others() -> None:
    """Whoever is named too long, or by two names, goes by a digest: as many users as there are ways to be named."""
    named: list[dict[str, str]] = [
        {"user": LONG},
        {"user": f"{LONG}y"},
        {"user": ALICE, "safety_identifier": "bob"},
        {"user": "bob", "safety_identifier": ALICE},
        {"user": ALICE},
        {"user": "bob"},
    ]
    users = [mapped(**fields).user or "" for fields in named]

    assert (len(set(users)), max(map(len, users)) <= request.MOST_USER) == (len(named), True)


@pytest.mark.parametrize("field", sorted(request.IN_CHAT))
def test_what_is_said_elsewhere_is_not_ignored(field: str) -> None:
    """A pin, a limit or a key as NATS takes it is refused with the place where HTTP takes it."""
    error = refused(**{field: "pi5"})

    assert ("bad_request", field, True) == (
        error.code,
        error.details["param"],
        request.IN_CHAT[field] in error.message,
    )
