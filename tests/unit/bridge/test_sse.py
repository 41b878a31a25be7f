"""Server-sent events over bare ASGI, and the watch for a client that hangs up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dispatcher.bridge.sse import DONE, Curfew, ReaderStalled, Stream, event, while_connected


class Client:
    """The client's end of an ASGI exchange: it notes what it gets, and hangs up when told."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.gone = asyncio.Event()
        self.asked = 0

    async def send(self, message: Any) -> None:
        self.got.append(message)

    async def receive(self) -> dict[str, str]:
        self.asked += 1
        if self.asked == 1:
            return {"type": "http.request"}
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_a_stream_on_the_wire() -> None:
    """Headers, one `data:` block for each event, nothing for nothing, `[DONE]`, end."""
    client = Client()
    events = Stream(client.send)
    await events.start([(b"x-job", b"1")])
    await events.put(event(b'{"a":1}'))
    await events.put(b"")
    await events.close(DONE)
    start, *bodies = client.got

    assert ((b"x-job", b"1") in start["headers"], [body["body"] for body in bodies], bodies[-1]["more_body"]) == (
        True,
        [b'data: {"a":1}\n\n', b"data: [DONE]\n\n"],
        False,
    )


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    """Its buffers are full and it does not say good-bye: the stream ends by itself."""
    never = asyncio.Event()

    async def send(_: Any) -> None:
        await never.wait()

    with pytest.raises(ReaderStalled):
        await Stream(send, stalled_s=0.01).put(b"{}")


async def test_work_that_ends_ends_the_watch() -> None:
    """The answer was given while the client was there."""
    client = Client()

    async def work() -> None:
        await client.send("answer")

    assert (await while_connected(client.receive, work()), client.got) == (True, ["answer"])


async def test_a_hangup_cancels_the_work() -> None:
    """The work sees its cancellation, and the caller hears that the client left."""
    client = Client()
    seen: list[str] = []

    async def work() -> None:
        client.gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    assert (await while_connected(client.receive, work()), seen) == (False, ["cancelled"])


async def test_a_bug_in_the_work_is_not_hidden() -> None:
    """What the work raises reaches the server's own error handling."""

    async def work() -> None:
        raise LookupError("a bug")

    with pytest.raises(ExceptionGroup) as caught:
        await while_connected(Client().receive, work())

    assert caught.group_contains(LookupError)


async def test_the_curfew_ends_what_is_open_and_nothing_else() -> None:
    """The bound scope expires at once; one that was left before does not count."""
    curfew = Curfew()
    with curfew.bind(asyncio.timeout(None)):
        pass
    bound = asyncio.Event()

    async def wait() -> str:
        try:
            async with asyncio.timeout(None) as scope:
                with curfew.bind(scope):
                    bound.set()
                    await asyncio.Event().wait()
        except TimeoutError:
            return "ended"
        return "went on"

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait())
        await bound.wait()
        count = curfew.fall()

    assert (count, waiting.result()) == (1, "ended")


async def test_who_comes_behind_the_curfew_is_ended_too() -> None:
    """It was let in just before: else it would stay open when nobody ends it any more."""
    curfew = Curfew()
    curfew.fall()

    async def wait() -> None:
        async with asyncio.timeout(None) as scope:
            with curfew.bind(scope):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
