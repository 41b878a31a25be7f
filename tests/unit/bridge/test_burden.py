"""What a bridge holds of a request with files while its job waits: nothing of them that is not counted."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from common import frames
from common.conversations import Given, Owner
from common.errors import UnreadableFile
from common.messages import ChatRequest, Message, Role
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.burden import Burdens
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.files.desk import Attached
from dispatcher.bridge.gate import Place
from dispatcher.bridge.keeping import Begun, Said, asked_turns
from dispatcher.bridge.remembering import Remembering, Told
from dispatcher.bridge.smart.routes import SmartDialect, _frames
from dispatcher.bridge.threads import Thread

Source = AsyncGenerator[frames.Frame, None]

NOBODY = Caller(tenant="t")
HELD = set[int]()
"""What came, and is still somewhere."""


class Image(str):
    """One that is known to be there until it is gone."""

    __slots__ = ()

    def __new__(cls, text: str) -> Image:
        made = super().__new__(cls, text)
        HELD.add(id(made))
        return made

    def __del__(self) -> None:
        HELD.discard(id(self))


class File(bytes):
    """The same of bytes."""

    __slots__ = ()

    def __new__(cls, data: bytes) -> File:
        made = super().__new__(cls, data)
        HELD.add(id(made))
        return made

    def __del__(self) -> None:
        HELD.discard(id(self))


@dataclass(frozen=True, slots=True)
class Files:
    """Makes every image a small one, and reads files, or not."""

    broken: bool

    async def prepared(self, chat: ChatRequest, attached: Sequence[Attached] = (), *, whose: str | None) -> ChatRequest:
        assert whose is None
        await asyncio.sleep(0)
        if self.broken and attached:
            raise UnreadableFile("broken")
        small = (replace(one, images=("small",) if one.images else ()) for one in chat.messages)
        return replace(chat, messages=tuple(small))


class Gate:
    def running(self, _: Caller) -> AbstractContextManager[None]:
        return nullcontext()

    @asynccontextmanager
    async def job(self, _: Caller, chat: ChatRequest) -> AsyncIterator[Place]:
        yield Place(chat)


class Fleet:
    """Has a route and a word for a job, and then nothing for ever."""

    async def frames(self, _: ChatRequest, **__: Any) -> Source:
        yield frames.RouteNote("j1", "nano", "llama3.2:1b", "hybrid", 1)
        yield frames.Token(0, "So")
        await asyncio.Event().wait()


class Keeper:
    """Notes the turns that it is given."""

    def __init__(self) -> None:
        self.kept: Sequence[Any] = ()

    def begin(self, _: ChatRequest, __: Thread, asked: Sequence[Any]) -> Begun:
        return Begun(asked=tuple(asked))

    async def keep(self, _: ChatRequest, __: Thread, asked: Sequence[Any], ___: Said) -> dict[str, Any]:
        self.kept = asked
        return {}


class Memory(Remembering):
    """Without a past."""

    async def told(self, chat: ChatRequest, caller: Caller, thread: Thread, given: Given | None = None) -> Told:
        return Told(chat=chat, asked=asked_turns(chat, (), chat.messages), facts={})


def asking(*, broken: bool = False) -> Asking:
    return Asking(drover=cast("Any", Fleet()), gate=cast("Any", Gate()), files=cast("Any", Files(broken)))


def with_image() -> ChatRequest:
    message = Message(role=Role.USER, content="x", images=(Image("A" * 100),))
    return ChatRequest(messages=(message,), model="auto", job="j1")


def plain(there: Asking) -> Source:
    return there.frames(with_image(), NOBODY)


def remembered(there: Asking, keeper: Keeper | None = None) -> Source:
    nothing, kept = cast("Any", None), cast("Any", keeper or Keeper())
    memory = Memory(asking=there, threads=nothing, keeping=kept, presence=nothing)
    return memory.answered(with_image(), NOBODY, Thread(id="c1", owner=Owner(tenant="t")))


def filed(there: Asking) -> Source:
    file = Attached(name="a.pdf", data=File(b"A" * 100))
    chat = ChatRequest(prompt="hi", model="auto", job="j1")
    return _frames(there, chat, NOBODY, file, SmartDialect(job="j1", filed=True))


@pytest.mark.parametrize(("source", "broken"), [(plain, False), (remembered, False), (filed, False), (filed, True)])
async def test_what_is_not_counted_any_more_is_not_held(source: Callable[[Asking], Source], *, broken: bool) -> None:
    """Images and a file are gone as soon as they have been read, or could not be, though the job waits for hours."""
    together = Burdens()
    with together.one() as burden:
        burden.grow(100, 1000)
        coming = source(asking(broken=broken))
        before = len(HELD)
        await anext(coming)
        gc.collect()
        after = (together.bytes, len(HELD))
        await coming.aclose()

    assert (1, (0, 0)) == (before, after)


async def test_what_is_kept_of_a_chat_has_the_images_that_were_sent() -> None:
    """A camera's are too large to be kept."""
    keeper = Keeper()
    coming = remembered(asking(), keeper)
    said = [await anext(coming) for _ in range(2)]
    await coming.aclose()

    assert (2, [("small",)]) == (len(said), [turn.message.images for turn in keeper.kept])
