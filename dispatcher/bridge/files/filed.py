"""A question with its files: what they say becomes a part of it, and what its user gave can still be told from that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.conversations import Given, GivenFile, Turn
from common.errors import BadRequest
from common.messages import ChatRequest, Message, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A chat, and what of its last message its user gave; None is all of it. Images are to be added before documents: the pages of
    those may be images, too."""

    chat: ChatRequest
    given: Given | None = None

    def with_image(self, image: str) -> Filed:
        """Add an image, as base64."""
        return replace(self, chat=_with(self.chat, "", (image,)))

    def with_document(self, text: str, images: Sequence[str], *files: GivenFile) -> Filed:
        """Put what documents say, and show, before what the user says."""
        given = self.given or Given(images=len(_last(self.chat).images))
        head = f"{text}\n\n"
        given = replace(given, begin=len(head) + given.begin, files=(*given.files, *files))
        return Filed(chat=_with(self.chat, head, images), given=given)

    def with_files_of(self, turn: Turn) -> Filed:
        """Put the documents of an earlier question before this one, which asks it another way. Raises `BadRequest`."""
        message, given = turn.message, turn.given
        if given is None:
            raise BadRequest(f"turn {turn.id} has no files: leave files_of out", param="files_of")
        return self.with_document(message.content[: given.begin].rstrip(), message.images[given.images :], *given.files)


def _last(chat: ChatRequest) -> Message:
    return chat.messages[-1] if chat.messages else Message(role=Role.USER, content=chat.prompt or "")


def _with(chat: ChatRequest, head: str, images: Sequence[str]) -> ChatRequest:
    last = _last(chat)
    content = f"{head}{last.content}".strip() if head else last.content
    last = replace(last, content=content, images=(*last.images, *images))
    return replace(chat, prompt=None, messages=(*chat.messages[:-1], last))
