"""Reading files of questions: what becomes of each form, and what is said of each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import BadRequest
from common.messages import Role
from dispatcher.cli.questions import READERS, Conversation, parse, read


def parsed(kind: str, text: str) -> list[Conversation]:
    return parse(text, READERS[kind], f"questions{kind}")


def shape(conversation: Conversation) -> list[list[str]]:
    """The messages that each question adds, as `role first-letter: content`."""
    return [[f"{message.role[0]}:{message.content}" for message in q.messages] for q in conversation.questions]


MT_BENCH = '{"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]}'


@pytest.mark.parametrize(
    ("kind", "text", "shapes"),
    [
        (".jsonl", MT_BENCH, [[["u:Write."], ["u:Rewrite."]]]),
        (".json", f"[{MT_BENCH}]", [[["u:Write."], ["u:Rewrite."]]]),
        (".json", MT_BENCH, [[["u:Write."], ["u:Rewrite."]]]),
        (".jsonl", '{"prompt": "a"}\n\n{"prompt": "b"}\n', [[["u:a"]], [["u:b"]]]),
        (".jsonl", '{"prompt": "a\u2028b"}', [[["u:a\u2028b"]]]),
        (".jsonl", '{"prompt": "a", "system": "Be brief."}', [[["s:Be brief.", "u:a"]]]),
        (".csv", 'prompt\n"a, b"\n"c\nd"\n', [[["u:a, b"]], [["u:c\nd"]]]),
        (".csv", "id,prompt,category\n7,hi,\n", [[["u:hi"]]]),
        (
            ".jsonl",
            (
                '{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "a"},'
                ' {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},'
                ' {"role": "user", "content": "d"}]}'
            ),
            [[["s:S", "u:a", "a:b", "u:c"], ["u:d"]]],
        ),
    ],
)
def test_every_form_becomes_questions_with_what_comes_before_them(
    kind: str, text: str, shapes: list[list[list[str]]]
) -> None:
    """Each row is a conversation; a user's message that is answered in the file is history, every other one is a question."""
    assert shapes == [shape(conversation) for conversation in parsed(kind, text)]


def test_mt_bench_columns_are_kept() -> None:
    """`question_id` becomes the id, and the category stays."""
    [conversation] = parsed(".jsonl", MT_BENCH)

    assert (conversation.id, conversation.category, len(conversation.questions)) == ("81", "writing", 2)


def test_rows_without_an_id_are_numbered() -> None:
    """The number counts conversations from 1."""
    assert [c.id for c in parsed(".csv", "prompt\na\nb\n")] == ["1", "2"]


def test_a_row_may_name_its_model() -> None:
    """The row's model is kept for the asker."""
    assert [c.model for c in parsed(".jsonl", '{"prompt": "a", "model": "llama3.2:3b"}')] == ["llama3.2:3b"]


def test_the_last_message_is_the_question() -> None:
    """Whatever comes before it, a question ends with the user's words."""
    [conversation] = parsed(".jsonl", '{"system": "S", "turns": ["a", "b"]}')

    assert [question.messages[-1].role for question in conversation.questions] == [Role.USER, Role.USER]


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (".jsonl", '{"prompt": "a"}\n{"prompt": ', "questions.jsonl line 2: not JSON"),
        (".json", '[\n{"prompt": "a"},\n]', "questions.json line 3: not JSON"),
        (".jsonl", "\n\n3", "questions.jsonl line 3: an object was expected, not a number"),
        (".jsonl", '{"text": "a"}', "line 1: exactly one of prompt, turns, messages is needed, the row has only text"),
        (
            ".jsonl",
            '{"prompt": "a", "turns": ["b"]}',
            "line 1: exactly one of prompt, turns, messages is needed, the row has",
        ),
        (".jsonl", '{"prompt": "  "}', "line 1: a question is empty"),
        (".jsonl", '{"turns": ["a", ""]}', "line 1: a question is empty"),
        (".jsonl", '{"turns": "a"}', "line 1: turns must be a list, not a string"),
        (".jsonl", '{"turns": [1]}', "line 1: content: Input should be a valid string (got 1)"),
        (".jsonl", '{"messages": ["a"]}', "line 1: a message must be an object"),
        (".jsonl", '{"messages": [{"role": "boss", "content": "a"}]}', "line 1: role: Input should be"),
        (
            ".jsonl",
            '{"messages": [{"role": "assistant", "content": "a"}]}',
            "line 1: the conversation must end with a user's",
        ),
        (".json", '[{"prompt": "a"}, {"prompt": ""}]', "questions.json item 2: exactly one of"),
        (".jsonl", '{"id": 1, "prompt": "a"}\n{"id": "1", "prompt": "b"}', "line 2: the id '1' stands twice"),
        (".csv", "question\na\n", "line 1: no column is named prompt (the columns are: question)"),
        (".csv", "prompt\na,b\n", "line 2: more cells than the 1 columns"),
        (".csv", 'prompt\nok\n"a"b\n', "line 3: not CSV"),
        (".csv", "", "line 1: no column is named prompt (the columns are: none)"),
        (".jsonl", "", "questions.jsonl holds no question"),
        (".json", "[]", "questions.json holds no question"),
    ],
)
def test_a_fault_is_named_with_its_line(kind: str, text: str, says: str) -> None:
    """A wrong file gives a typed error that names the file, the line or item, and what was expected."""
    with pytest.raises(BadRequest) as caught:
        parsed(kind, text)

    assert says in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(BadRequest, match=r"nothing\.jsonl: there is no such file"):
        read(tmp_path / "nothing.jsonl")


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """The format is told by the ending of the name."""
    with pytest.raises(BadRequest, match=r"must end in one of \.json \.jsonl \.ndjson \.csv"):
        read(tmp_path / "questions.txt")


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    """The position helps to find the place."""
    path = tmp_path / "latin.csv"
    path.write_bytes(b"prompt\ncaf\xe9\n")

    with pytest.raises(BadRequest, match="byte 10 is not UTF-8"):
        read(path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    path = tmp_path / "sheet.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt\nhi\n")

    assert [shape(conversation) for conversation in read(path)] == [[["u:hi"]]]
