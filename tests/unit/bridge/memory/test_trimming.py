"""What a model is told of a conversation: whatever was said, it fits, is whole, and is nothing but what was said."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import Message, Role, ToolCall
from common.prompts import prompt_tokens
from dispatcher.bridge.memory.trimming import SUMMARY_HEAD, Trimmed, trimmed

TEXT = st.integers(0, 30).map(lambda number: f"{number} " + "word " * number)


def user(text: str = "why?") -> Message:
    return Message(role=Role.USER, content=text)


def answer(text: str = "so.", *calls: str) -> Message:
    return Message(role=Role.ASSISTANT, content=text, tool_calls=tuple(ToolCall(name="f", id=one) for one in calls))


def result(call: str | None = None) -> Message:
    return Message(role=Role.TOOL, content="42", tool_name="f", tool_call_id=call)


def system(text: str = "be kind") -> Message:
    return Message(role=Role.SYSTEM, content=text)


CALLED = st.integers(1, 3).map(
    lambda n: [answer("", *(f"c{i}" for i in range(n))), *(result(f"c{i}") for i in range(n))]
)
PIECE = st.one_of(
    TEXT.map(lambda text: [user(text)]),
    TEXT.map(lambda text: [answer(text)]),
    CALLED,
    CALLED.map(lambda called: called[:-1]),  # broken off
    st.just([result("c0")]),
    TEXT.map(lambda text: [system(text)]),
)
HISTORY = st.lists(PIECE, max_size=12).map(lambda pieces: [one for piece in pieces for one in piece])
NEW = st.builds(
    lambda head, said: [*head, *said],
    st.sampled_from([[], [system("new rules")]]),
    st.one_of(TEXT.map(lambda text: [user(text)]), st.just([result("c0")]), st.just([])),
)
ANY = {
    "history": HISTORY,
    "new": NEW,
    "context_tokens": st.integers(64, 2000),
    "summary": st.sampled_from(["", "it was long"]),
}


def told(
    history: Sequence[Message], new: Sequence[Message], context_tokens: int = 10_000, summary: str = ""
) -> Trimmed:
    return trimmed(history, new, context_tokens=context_tokens, answer_tokens=32, summary=summary)


def is_part(some: Sequence[Message], of: Sequence[Message]) -> bool:
    """Tell whether all stand there, in this order: each as the very same object."""
    rest = iter(of)
    return all(any(one is other for other in rest) for one in some)


@settings(max_examples=100, deadline=None)
@given(**ANY)
def test_it_fits_and_is_whole_and_nothing_is_invented(
    history: list[Message], new: list[Message], context_tokens: int, summary: str
) -> None:
    """In the order in which it was said; the newest words of the user are there, and no half of a pair."""
    found = told(history, new, context_tokens, summary)
    bodies = [one for one in found.messages if one.role is not Role.SYSTEM]
    kept = bodies[: len(bodies) - len([one for one in new if one.role is not Role.SYSTEM])]
    asked = [one for one in [*history, *new] if one.role is Role.USER]

    assert found.tokens == prompt_tokens(found.messages)
    assert found.fits == (found.tokens <= context_tokens - 32)
    assert is_part(bodies, [*history, *new])
    assert not asked or asked[-1] in bodies
    assert not kept or kept[0].role is Role.USER
    assert found.left_out == len([one for one in history if one.role is not Role.SYSTEM]) - len(kept)
    assert len([one for one in found.messages if one.role is Role.SYSTEM]) <= 1
    assert_paired(kept, goes_on=new)


def assert_paired(kept: list[Message], goes_on: list[Message]) -> None:
    """Each answer of a tool stands behind its call, and each call before as many answers, but for the last, which new ones may
    follow."""
    for place, one in enumerate(kept):
        if one.role is Role.TOOL:
            assert kept[place - 1].role is Role.TOOL or kept[place - 1].tool_calls
        if one.tool_calls:
            answers = kept[place + 1 : place + 1 + len(one.tool_calls)]
            assert all(other.role is Role.TOOL for other in answers)
            whole = len(answers) == len(one.tool_calls)
            assert whole or all(other.role is not Role.USER for other in goes_on)


@settings(max_examples=50, deadline=None)
@given(**ANY)
def test_it_fits_unless_what_is_new_is_too_long(
    history: list[Message], new: list[Message], context_tokens: int, summary: str
) -> None:
    """Where even that does not fit, nothing that could be left out is there."""
    found = told(history, new, context_tokens, summary)
    alone = told(history, new, 0, "")

    assert found.fits or found.messages == alone.messages


@settings(max_examples=50, deadline=None)
@given(history=HISTORY, new=NEW, context_tokens=st.integers(64, 2000))
def test_more_room_never_tells_less(history: list[Message], new: list[Message], context_tokens: int) -> None:
    """And what was told in less is the end of what is told in more."""
    less, more = told(history, new, context_tokens), told(history, new, context_tokens + 200)

    assert is_part(less.messages, more.messages)


def test_all_is_told_where_there_is_room() -> None:
    """Nothing is left out, and nothing moves."""
    history = [system(), user("1"), answer("a"), user("2"), answer("", "c0"), result("c0"), answer("b")]
    found = told(history, [user("3")])

    assert ((*history, user("3")), 0, True) == (found.messages, found.left_out, found.fits)


def test_the_oldest_go_first_and_are_counted() -> None:
    """Whole exchanges of them."""
    history = [system(), *(one for number in range(20) for one in (user(f"{number} " + "x " * 20), answer("y " * 20)))]
    found = told(history, [user("now")], 400)

    assert history[0] == found.messages[0]
    assert tuple(history[-(len(found.messages) - 2) :]) == found.messages[1:-1]
    assert 40 - (len(found.messages) - 2) == found.left_out > 0


def test_the_answer_of_a_tool_brings_its_question() -> None:
    """However little room there is: alone no engine takes it."""
    history = [user("old"), answer("a"), user("weather?"), answer("", "c0")]
    found = told(history, [result("c0")], 1)

    assert (*history[2:], result("c0")) == found.messages
    assert not found.fits


def test_calls_that_nobody_answered_are_left_out() -> None:
    """As those of a turn that broke off: the question stays."""
    history = [user("weather?"), answer("", "c0", "c1"), result("c0"), user("hello?"), answer("yes")]
    found = told(history, [user("now")])

    assert (history[0], *history[3:], user("now")) == found.messages
    assert 2 == found.left_out


def test_new_rules_stand_for_the_old_ones() -> None:
    """Clients that send their own system text mean it."""
    found = told([system("old"), user("a"), answer("b")], [system("new"), user("c")])

    assert ["new", "a", "b", "c"] == [one.content for one in found.messages]


def test_a_summary_is_written_behind_the_rules() -> None:
    """In one message of the system; without rules it is one by itself."""
    ruled = told([system("rules"), user("a"), answer("b")], [user("c")], summary="they met")
    alone = told([user("a"), answer("b")], [user("c")], summary="they met")

    assert f"rules\n\n{SUMMARY_HEAD}\nthey met" == ruled.messages[0].content
    assert (Role.SYSTEM, f"{SUMMARY_HEAD}\nthey met") == (alone.messages[0].role, alone.messages[0].content)
    assert ruled.summarised
    assert alone.summarised


def test_a_summary_that_does_not_fit_is_not_told() -> None:
    """What is new comes first."""
    found = told([user("a"), answer("b")], [user("c")], 80, summary="long " * 100)

    assert (False, True) == (found.summarised, found.fits)
    assert not any(SUMMARY_HEAD in one.content for one in found.messages)
