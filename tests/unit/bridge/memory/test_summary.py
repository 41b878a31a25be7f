"""Old turns become a summary: when, which ones, how it is asked for, and that nothing is lost or told twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.conversations import MOST_SUMMARY_CHARS, Conversation, Given, GivenFile, Summary, Turn
from common.messages import Message, Role, ToolCall
from common.prompts import prompt_tokens
from dispatcher.bridge.memory.markdown import heading, pieces
from dispatcher.bridge.memory.summary import SUMMARY_TOKENS, Fold, recalled, summary_of, summary_prompt, to_fold
from dispatcher.bridge.memory.title import MOST_CHARS, title_of


def turns(*roles: Role, words: int = 30) -> list[Turn]:
    """Turns t1, t2, …, of so many words each."""
    return [
        Turn(
            id=f"t{number}",
            parent=f"t{number - 1}" if number > 1 else None,
            message=Message(role=role, content="word " * words),
        )
        for number, role in enumerate(roles, 1)
    ]


U, A, T, S = Role.USER, Role.ASSISTANT, Role.TOOL, Role.SYSTEM
ROLES = st.lists(st.sampled_from(Role), max_size=30)
COVERS = st.none() | st.integers(1, 30).map(lambda number: Summary(covers=f"t{number}", text="before"))


def test_a_short_history_is_not_summarised() -> None:
    """While it is less than half of the context."""
    assert to_fold(turns(U, A, U, A), None, context_tokens=4096) is None


def test_the_older_half_is() -> None:
    """Up to an answer; the rest goes on as it is."""
    fold = to_fold(turns(U, A, U, A, U, A, U, A), None, context_tokens=400)

    assert fold is not None
    assert (("t1", "t2"), "t2") == (tuple(turn.id for turn in fold.turns)[:2], fold.turns[1].id)
    assert fold.covers in {"t2", "t4"}


def test_one_exchange_alone_never_is() -> None:
    """However long it is: it is what the conversation is about now."""
    assert to_fold(turns(U, A, T, A, words=5000), None, context_tokens=512) is None


@settings(max_examples=100, deadline=None)
@given(roles=ROLES, summary=COVERS, context_tokens=st.integers(256, 4000), words=st.integers(0, 200))
def test_a_fold_and_what_stays_are_all_there_is(
    roles: list[Role], summary: Summary | None, context_tokens: int, words: int
) -> None:
    """A fold goes on where the summary ends, stops before a question of the user's, and never takes the newest one."""
    told = turns(*roles, words=words)
    before = recalled(told, summary)
    fold = to_fold(told, summary, context_tokens=context_tokens)
    if fold is None:
        return
    after = recalled(told, Summary(covers=fold.covers, text="new"))
    stays = told[after.covered :]

    assert tuple(told[before.covered : after.covered]) == fold.turns
    assert stays[0].message.role is Role.USER
    assert before.summary == fold.earlier
    assert [turn.message for turn in stays] == list(after.messages[len(after.messages) - len(stays) :])


@settings(max_examples=50, deadline=None)
@given(
    roles=ROLES.filter(bool),
    words=st.sampled_from([1, 50, 3000]),
    earlier=st.sampled_from(["", "long " * 2000]),
    context_tokens=st.integers(1500, 8000),
)
def test_asking_for_a_summary_fits_the_context(
    roles: list[Role], words: int, earlier: str, context_tokens: int
) -> None:
    """Also of turns that are far too long for it."""
    told = turns(*roles, words=words)
    asked = summary_prompt(Fold(turns=tuple(told), covers=told[-1].id, earlier=earlier), context_tokens=context_tokens)

    assert [Role.SYSTEM, Role.USER] == [one.role for one in asked]
    assert prompt_tokens(asked) <= context_tokens - SUMMARY_TOKENS


def test_what_a_model_is_shown() -> None:
    """Who said what, what was called, and the summary before; the system's words are not the conversation's."""
    said = [
        Turn(id="t1", message=Message(role=S, content="secret rules")),
        Turn(id="t2", message=Message(role=U, content="Weather?", images=("aGk=",))),
        Turn(id="t3", message=Message(role=A, tool_calls=(ToolCall(name="weather"),))),
        Turn(id="t4", message=Message(role=T, content="rain")),
    ]
    shown = summary_prompt(Fold(turns=tuple(said), covers="t4", earlier="They met."), context_tokens=4096)[1].content

    assert (
        "Summary of what was before:\nThey met.\n\nUser: Weather? [1 images]\n\nAssistant:  [calls weather]\n\nTool: rain"
        == shown
    )


def test_rules_outlive_the_turns_that_a_summary_covers() -> None:
    """They are no part of what was talked about."""
    told = turns(S, U, A, U, A)
    found = recalled(told, Summary(covers="t3", text="so it began"))

    assert ([told[0].message, told[3].message, told[4].message], "so it began", 3) == (
        list(found.messages),
        found.summary,
        found.covered,
    )


def test_what_a_model_wrote_is_bounded_and_nothing_is_none() -> None:
    """A summary of nothing would forget the turns."""
    fold = Fold(turns=tuple(turns(U)), covers="t1")
    long = summary_of(fold, "x" * (2 * MOST_SUMMARY_CHARS))

    assert summary_of(fold, " \n") is None
    assert long is not None
    assert (MOST_SUMMARY_CHARS, "t1") == (len(long.text), long.covers)


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Why is the sky blue? And the sea?", "Why is the sky blue?"),
        ("Hi. How do I sort a list in Python?", "Hi. How do I sort a list in Python?"),
        ("\n\n## Plan a trip\nto Rome", "Plan a trip"),
        ("1. Plan a trip", "Plan a trip"),
        ("```python\nprint(1)\n```", "python"),
        ("Version 3.14 is out today", "Version 3.14 is out today"),
        ("a\x1b[31mb\u202ec", "a [31mb c"),
        ("word " * 40, f"{'word ' * 15}word…"),
        ("x" * 300, f"{'x' * 79}…"),
        ("天空为什么是蓝色的呢请告诉我？还有海洋", "天空为什么是蓝色的呢请告诉我？"),  # noqa: RUF001  # as it is written
        ("", ""),
        ("?!\n---", ""),
    ],
)
def test_a_title_is_the_first_sentence(question: str, title: str) -> None:
    """Of the first line that says something, without its marks."""
    assert title == title_of(question)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_a_title_is_one_short_line_of_what_was_asked(question: str) -> None:
    """Whatever was asked."""
    title = title_of(question)

    assert len(title) <= MOST_CHARS
    assert title == " ".join(title.split())
    assert all(sign in f"{question}… " for sign in title)


def test_a_conversation_as_markdown() -> None:
    """What was said stands as it was written; a title can't end its line."""
    kept = Conversation(id="c", title="a\n# b *c*", created_unix_s=0.0)
    said = Turn(
        id="t",
        message=Message(role=A, content="**yes**", images=("aGk=",)),
        created_unix_s=60.0,
        model="m",
        device="nano",
        broken_off=True,
    )

    assert "# a \\# b \\*c\\*\n\n*1970-01-01 00:00 UTC*\n" == heading(kept)
    assert ["\n## Assistant\n\n*1970-01-01 00:01 UTC, m, nano, broken off*\n\n**yes**\n\n*(1 image)*\n"] == list(
        pieces([said])
    )


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (None, "🦕 says: Why?\n\n*(2 images)*"),
        (Given(begin=8, images=1), "Why?\n\n*(1 image)*"),
        (Given(begin=8, files=(GivenFile(name="one.pdf", pages=1, read=1),)), "Why?\n\n*(one.pdf, 1 page)*"),
        (Given(begin=8, files=(GivenFile(name="a *b*\n", pages=60, read=50),)), r"Why?@*(a \*b\*, 60 pages, 50 read)*"),
        (Given(begin=99, images=99, files=(GivenFile(name="odd", pages=0, read=0),)), "*(odd)*\n\n*(2 images)*"),
    ],
)
def test_of_a_question_with_files_markdown_has_what_its_user_gave(of: Given | None, told: str) -> None:
    """Its text, counted as Unicode does, without what the files say; their names, which can't end the line or mark it up, with
    their pages; and no pages that went as images."""
    said = Message(role=U, content="🦕 says: Why?", images=("aGk=", "aG8="))
    (piece,) = pieces([Turn(id="t", message=said, given=of)])

    assert f"\n## User\n\n*1970-01-01 00:00 UTC*\n\n{told}\n".replace("@", "\n\n") == piece


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Why?\n```\nopen", "\n```"),
        ("~~~~ python\n~~~\n```", "\n~~~~"),  # shorter ones, and those of another sign, are part of the code
        ("   ```\na\n```` ", ""),
        ("```\n``` python", "\n```"),  # what begins a block ends none
        ("a\n    ```", ""),  # indented so far it is code itself
        ("``` `a` ```", ""),
    ],
)
def test_a_block_of_code_without_end_ends_with_its_turn(text: str, end: str) -> None:
    """Else all that was said behind it would be shown as code."""
    (piece,) = pieces([Turn(id="t", message=Message(role=U, content=text))])

    assert f"\n## User\n\n*1970-01-01 00:00 UTC*\n\n{text}{end}\n" == piece
