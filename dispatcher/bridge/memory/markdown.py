"""A conversation as Markdown for people to read, some turns at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from common.conversations import Conversation, Turn
from common.dates import dated
from common.messages import Role

_NAMES = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant", Role.TOOL: "Tool"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")


def heading(conversation: Conversation) -> str:
    """Give what stands first."""
    title = _SPECIAL.sub(r"\\\1", " ".join(conversation.title.split())) or "Conversation"
    return f"# {title}\n\n*{_when(conversation.created_unix_s)}*\n"


def pieces(turns: Iterable[Turn]) -> Iterator[str]:
    """Give a piece for each turn; what it says stands as it was written, and images only as their number."""
    for turn in turns:
        facts = [_when(turn.created_unix_s), *(fact for fact in (turn.model, turn.device) if fact)]
        if turn.broken_off:
            why = "" if turn.error is None else f" ({turn.error.code})"
            facts.append(f"{'no answer' if turn.wordless else 'broken off'}{why}")
        told = [turn.message.content] if turn.message.content else []
        if images := len(turn.message.images):
            told.append(f"*({images} {'image' if images == 1 else 'images'})*")
        told += [f"*(calls {call.name})*" for call in turn.message.tool_calls]
        yield "\n".join(("", f"## {_NAMES[turn.message.role]}", "", f"*{', '.join(facts)}*", "", "\n\n".join(told), ""))


def _when(unix_s: float) -> str:
    return dated(unix_s).strftime("%Y-%m-%d %H:%M UTC")
