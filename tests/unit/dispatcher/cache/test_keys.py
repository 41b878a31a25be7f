"""The names under which answers are kept."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import CacheWish, ChatRequest, Message, Options, Priority, Role, ToolCall
from dispatcher.cache import keys
from dispatcher.cache.keys import place
from dispatcher.cache.values import Place
from dispatcher.outcomes import Job
from tests.unit.dispatcher.builders import job

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def named(one: Job, *, strategy: str = "hybrid", epoch: str = "") -> Place:
    return place(one, strategy=strategy, epoch=epoch)


def talk(*messages: Message) -> Job:
    return replace(job(), messages=messages)


def user(text: str, *images: str) -> Message:
    return Message(role=Role.USER, content=text, images=images)


SAME: list[tuple[Job, Job]] = [
    (job("hi"), job("hi", name="another")),
    (job("hi"), job("  hi\n")),
    (job("a\nb"), job("a\r\nb")),
    (job("caf\u00e9"), job("cafe\u0301")),
    (job("hi", stream=True), job("hi", hold=True)),
    (job("hi", timeout_s=5.0), job("hi", priority=Priority.BATCH, keep_s=3.0)),
    (job("hi", cache=CacheWish.SEMANTIC), job("hi", cache=CacheWish.REFRESH)),
    (job("hi", provider_key="sk-one"), job("hi", provider_key="sk-two")),
    (job("hi", allow_models=("a", "b")), job("hi", allow_models=("b", "a", "b"))),
    (talk(user("what is it", "aGVsbG8=")), talk(user("what is it", "aGVs\nbG8="))),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_does_not_change_an_answer_is_no_part_of_its_name(one: Job, other: Job) -> None:
    """Delivery, time, white space around the text, and how letters or base64 are written."""
    assert named(one).exact == named(other).exact


DIFFERENT: dict[str, tuple[Job, Job]] = {
    "text": (job("hi"), job("ho")),
    "case": (job("us"), job("US")),
    "inner space": (job("a b"), job("a  b")),
    "tenant": (job("hi", tenant="a"), job("hi", tenant="b")),
    "user": (job("hi", user="a"), job("hi", user="b")),
    "a user at all": (job("hi"), job("hi", user="a")),
    "kind": (job("hi"), replace(job("hi"), kind="code")),
    "model": (job("hi", model="a"), job("hi", model="b")),
    "pin": (job("hi", model="a"), job("hi", model="a@pi5")),
    "models that are allowed": (job("hi", allow_models=("a*",)), job("hi", allow_models=("b*",))),
    "devices that are allowed": (job("hi", allow_devices=("a*",)), job("hi", allow_devices=("b*",))),
    "any list": (job("hi"), job("hi", allow_models=("*",))),
    "which list": (job("hi", allow_models=("a",)), job("hi", allow_devices=("a",))),
    "money": (job("hi"), job("hi", max_cost_usd=0.0)),
    "own key": (job("hi"), job("hi", provider_key="sk-one")),
    "temperature": (job("hi"), job("hi", options=Options(temperature=0.0))),
    "seed": (job("hi", options=Options(seed=1)), job("hi", options=Options(seed=2))),
    "length": (job("hi"), job("hi", options=Options(max_tokens=5))),
    "stop": (job("hi"), job("hi", options=Options(stop=("x",)))),
    "format": (job("hi"), job("hi", format="json")),
    "tools": (job("hi"), job("hi", tools=({"type": "function"},))),
    "role": (talk(user("hi")), talk(Message(role=Role.SYSTEM, content="hi"))),
    "image": (talk(user("what", "aGVsbG8=")), talk(user("what", "aGVsbG9v"))),
    "no image": (talk(user("what")), talk(user("what", "aGVsbG8="))),
    "order": (talk(user("a"), user("b")), talk(user("b"), user("a"))),
    "borders": (talk(user("a"), user("bc")), talk(user("ab"), user("c"))),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_changes_an_answer_is_part_of_its_name(what: str) -> None:
    """All that a model sees, who asks, and how its device is chosen."""
    one, other = DIFFERENT[what]

    assert named(one).exact != named(other).exact


@pytest.mark.parametrize("knob", [{"strategy": "energy"}, {"epoch": "2"}])
def test_strategy_and_epoch_are_part_of_the_name(knob: dict[str, str]) -> None:
    """Another way to choose, or the owner's own word, and nothing that was kept is found."""
    assert named(job()).exact != named(job(), **knob).exact
    assert named(job()).scope != named(job(), **knob).scope


def test_ids_of_calls_say_only_which_belong_together() -> None:
    """Clients draw them by lot; their order is what a model sees of them."""

    def called(first: str, second: str) -> Job:
        calls = tuple(ToolCall(name="look", arguments={"at": at}, id=name) for at, name in enumerate((first, second)))
        replies = (Message(role=Role.TOOL, content="x", tool_call_id=first), user("so?"))
        return talk(user("hi"), Message(role=Role.ASSISTANT, tool_calls=calls), *replies)

    assert named(called("call_a", "call_b")).exact == named(called("call_7", "call_9")).exact
    assert named(called("call_a", "call_b")).exact != named(called("call_a", "call_a")).exact


def test_a_scope_is_the_request_without_its_last_question() -> None:
    """Two questions in one context share it, and the same question in another context does not."""
    system = Message(role=Role.SYSTEM, content="be brief")
    one, other = named(talk(system, user("hi"))), named(talk(system, user("ho")))

    assert (one.scope, one.question, other.question) == (other.scope, "hi", "ho")
    assert one.scope != named(talk(user("hi"))).scope
    assert one.scope != named(talk(system, user("hi", "aGVsbG8="))).scope
    assert one.scope != one.exact


def test_a_last_word_that_is_not_the_users_has_no_scope() -> None:
    """An answer to be continued, or a tool's reply, is no question."""
    assert named(talk(user("hi"), Message(role=Role.ASSISTANT, content="well,"))).scope == ""


def test_a_question_can_not_stand_for_a_blank() -> None:
    """Whatever a request says, its own name is never the scope of another one."""
    empty = named(talk(user("hi"), user("")))

    assert empty.exact != named(talk(user("hi"), user("ho"))).scope


@given(TEXT, TEXT)
def test_tenants_never_meet(one: str, other: str) -> None:
    """Neither key nor scope of a tenant is ever another's, and a single other character is another tenant."""
    first, second = named(job(tenant=one)), named(job(tenant=other))

    assert (one == other) == (first.exact == second.exact) == (first.scope == second.scope)


@given(st.dictionaries(TEXT, st.integers(-(2**53), 2**53) | TEXT, max_size=4))
def test_the_order_of_an_objects_fields_is_no_part_of_the_name(schema: dict[str, Any]) -> None:
    """JSON says the same in any order."""
    turned = dict(reversed(schema.items()))

    assert named(job(format=schema)).exact == named(job(format=turned)).exact


def test_what_json_can_not_say_has_no_name() -> None:
    """MessagePack may bring bytes; such a request is run, and not kept."""
    with pytest.raises(TypeError):
        named(job(tools=({"x": b"\xff"},)))


def test_a_field_of_a_request_is_part_of_its_name_unless_it_was_left_out_on_purpose() -> None:
    """Whoever adds one decides: a name that ignores it would give an answer to another question."""
    aside = {"prompt", "messages", "model", "device", "strategy", "provider_key"}
    delivery = {"stream", "hold", "job", "timeout_s", "deadline_ms", "keep_s", "resends", "resume", "priority", "cache"}
    asked = {"options", "tools", "format", "max_cost_usd", "local", "user", "allow_models", "allow_devices"}
    asked |= {"inputs", "dimensions", "truncate"}

    assert aside | delivery | asked == {field.name for field in fields(ChatRequest)}
    assert aside | delivery == set(keys._ASIDE)
