"""A conversation as Markdown for people to read, some turns at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from common.conversations import Conversation, Given, GivenFile, Turn
from common.dates import dated
from common.messages import Role

_NAMES = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant", Role.TOOL: "Tool"}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")


def heading(conversation: Conversation) -> str:
    """Give what stands first."""
    title = _in_line(conversation.title) or "Conversation"
    return f"# {title}\n\n*{_when(conversation.created_unix_s)}*\n"


def pieces(turns: Iterable[Turn]) -> Iterator[str]:
    """Give a piece for each turn. What it says stands as it was written, but for a block of code without end, which would go on
    over the turns behind it; images only as their number. Of a question with files stands what its user gave: what those
    say was for the model."""
    for turn in turns:
        facts = [_when(turn.created_unix_s), *(fact for fact in (turn.model, turn.device) if fact)]
        if turn.broken_off:
            why = "" if turn.error is None else f" ({turn.error.code})"
            facts.append(f"{'no answer' if turn.wordless else 'broken off'}{why}")
        given = turn.given or Given(images=len(turn.message.images))
        text = turn.message.content[given.begin :]
        told = [_ended(text)] if text else []
        told += [f"*({_file(one)})*" for one in given.files]
        if images := len(turn.message.images[: given.images]):
            told.append(f"*({images} {'image' if images == 1 else 'images'})*")
        told += [f"*(calls {call.name})*" for call in turn.message.tool_calls]
        yield "\n".join(("", f"## {_NAMES[turn.message.role]}", "", f"*{', '.join(facts)}*", "", "\n\n".join(told), ""))


def _ended(text: str) -> str:
    """End the block of code that a text leaves open, by the rules of CommonMark (0.31, 4.5)."""
    opened = ""
    for fence, rest in (found.groups() for line in text.split("\n") if (found := _FENCE.fullmatch(line))):
        if not opened:
            opened = fence if fence[0] == "~" or "`" not in rest else ""
        elif fence.startswith(opened) and not rest.strip():
            opened = ""
    return f"{text}\n{opened}" if opened else text


def _file(one: GivenFile) -> str:
    pages = f", {one.pages} {'page' if one.pages == 1 else 'pages'}" if one.pages else ""
    return f"{_in_line(one.name)}{pages}{f', {one.read} read' if one.read < one.pages else ''}"


def _in_line(name: str) -> str:
    """Write what somebody has called something, so that it neither ends its line nor marks it up."""
    return _SPECIAL.sub(r"\\\1", " ".join(name.split()))


def _when(unix_s: float) -> str:
    return dated(unix_s).strftime("%Y-%m-%d %H:%M UTC")
