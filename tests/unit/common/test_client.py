"""The producer's library against a dispatcher whose frames the test sends, on the memory bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common import codec, frames
from common.bus import Delivery
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.chat_stream import ChatStream
from common.client import RETURN_S, Drover
from common.errors import BadRequest, BusDisconnected, FleetError, GarbledReply, Interrupted, Stopping, UnknownModel
from common.frames import END_OF_STREAM, Ack, End, Err, Token
from common.messages import ChatRequest, Message, Role

GUARD_S = 20.0
"""Against hanging: well below the 15 s after which a silent dispatcher is given up."""


class Desk:
    """A dispatcher's side: the requests and the cancellations that came, and a way to answer."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self.requests: asyncio.Queue[Delivery] = asyncio.Queue()
        self.cancels: asyncio.Queue[Delivery] = asyncio.Queue()

    async def open(self) -> None:
        await self._bus.subscribe("llm.v1.chat.*", self.requests.put_nowait)
        await self._bus.subscribe("llm.v1.ctl.*.cancel.*", self._cancel)

    def _cancel(self, delivery: Delivery) -> None:
        self.cancels.put_nowait(delivery)

    async def say(self, *said: frames.Frame | bytes) -> Delivery:
        """Take the next request and answer it; bytes go as they are."""
        request = await self.requests.get()
        for one in said:
            payload = one if isinstance(one, bytes) else codec.encode(frames.to_wire(one))
            await self._bus.publish(request.reply, payload)
        return request


@asynccontextmanager
async def desk(**options: Any) -> AsyncIterator[tuple[Drover, Desk, MemoryBus]]:
    """A producer, a dispatcher, and the producer's own bus."""
    broker = MemoryBroker()
    async with (
        asyncio.timeout(GUARD_S),
        connect_memory(broker) as mine,
        connect_memory(broker) as theirs,
        Drover.over(mine, **options) as drover,
    ):
        there = Desk(theirs)
        await there.open()
        yield drover, there, mine


async def outcome(stream: ChatStream) -> FleetError | None:
    """Read to the end; give the error it ended with."""
    try:
        async for _ in stream:
            pass
    except FleetError as error:
        return error
    return None


async def talk(*said: frames.Frame | bytes) -> tuple[str, FleetError | None, bool]:
    """Have one answer told to a producer without patience; give its text, its error, and whether the job was cancelled."""
    async with desk(patience_s=0.0) as (drover, there, _), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.say(Ack("j"), *said))
        async with drover.chat("hi") as stream:
            error = await outcome(stream)
        await asyncio.sleep(0)  # the memory bus delivers in the next turn
        return stream.text, error, not there.cancels.empty()


async def test_an_answer_without_gaps_is_whole() -> None:
    """Pieces are counted from 0, and the end says how many there were."""
    text, error, cancelled = await talk(Token(0, "a"), Token(1, "b"), End(tokens=2), END_OF_STREAM)

    assert ("ab", None, False) == (text, error, cancelled)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((Token(0, "a"), Token(2, "c")), id="in the middle"),
        pytest.param((Token(0, "a"), Token(0, "a")), id="twice"),
    ],
)
async def test_a_gap_in_the_text_is_no_answer(said: tuple[frames.Frame, ...]) -> None:
    """The text so far stays readable, the error says that more is missing, and the job is cancelled."""
    text, error, cancelled = await talk(*said, End(tokens=3), END_OF_STREAM)

    assert ("a", Interrupted, True) == (text, type(error), cancelled)


async def test_a_lost_beginning_is_noticed() -> None:
    """A text that begins with its second piece is not shown."""
    text, error, cancelled = await talk(Token(1, "b"), End(tokens=2), END_OF_STREAM)

    assert ("", Interrupted, True) == (text, type(error), cancelled)


async def test_a_lost_last_piece_is_noticed_at_the_end() -> None:
    """The end counts one piece more than came; the job is over, so there is nothing to cancel."""
    text, error, cancelled = await talk(Token(0, "a"), End(tokens=2), END_OF_STREAM)

    assert ("a", Interrupted, False) == (text, type(error), cancelled)


async def test_a_lost_end_is_noticed() -> None:
    """A stream that stops without its end frame is no complete answer."""
    text, error, cancelled = await talk(Token(0, "a"), END_OF_STREAM)

    assert ("a", Interrupted, False) == (text, type(error), cancelled)


async def test_a_garbled_frame_ends_the_answer_and_cancels_the_job() -> None:
    """What can't be read is an error with a type."""
    text, error, cancelled = await talk(Token(0, "a"), b'{"t":"tok","s":"x"}')

    assert ("a", GarbledReply, True) == (text, type(error), cancelled)


async def test_a_lost_connection_fails_a_waiting_stream_at_once() -> None:
    """Frames that are sent meanwhile are lost, so there is nothing to wait for; what had arrived is still given."""
    async with desk(patience_s=0.0) as (drover, there, mine), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.say(Ack("j"), Token(0, "a")))
        source = drover.frames(ChatRequest(prompt="hi"))
        seen = [await anext(source), await anext(source)]
        asyncio.get_running_loop().call_soon(mine.disconnect)
        with pytest.raises(BusDisconnected):
            await anext(source)

    assert [Ack("j"), Token(0, "a")] == seen


async def test_an_answer_that_had_arrived_survives_the_connection() -> None:
    """Only what is still under way is lost."""
    async with desk() as (drover, there, mine), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.say(Token(0, "a"), Token(1, "b"), End(tokens=2), END_OF_STREAM))
        stream = drover.chat("hi")
        async for _ in stream:
            mine.disconnect()

    assert ("ab", True) == (stream.text, stream.answer is not None)


async def test_a_stream_after_the_connection_came_back_is_untouched() -> None:
    """The loss is a matter of the streams that were open."""
    async with desk() as (drover, there, mine), asyncio.TaskGroup() as tasks:
        mine.disconnect()
        mine.reconnect()
        tasks.create_task(there.say(Token(0, "a"), End(tokens=1), END_OF_STREAM))

        assert (await drover.ask("hi")).text == "a"


async def test_leaving_a_stream_cancels_the_job_of_its_own_tenant() -> None:
    """Ids are the producers' own, and others may hear the same job: the order says whose it is, and who leaves."""
    async with desk(tenant="acme") as (drover, there, _), asyncio.TaskGroup() as tasks:
        saying = tasks.create_task(there.say(Ack("j"), Token(0, "a")))
        async with drover.chat("hi", job="j1") as stream:
            async for _ in stream:
                break
        order, request = await there.cancels.get(), await saying

    body = codec.decode(order.data)
    assert ("llm.v1.ctl.j1.cancel.acme", "acme", request.reply) == (order.subject, body["tenant"], body["reply"])


async def test_a_request_of_another_tenant_is_cancelled_as_that_tenants() -> None:
    """Who speaks for several tenants cancels for the one that asked."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.say(Ack("j")))
        request = ChatRequest(prompt="hi", job="j2")
        source = drover.frames(request, tenant="other")
        await anext(source)
        await source.aclose()
        order = await there.cancels.get()

    assert codec.decode(order.data)["tenant"] == "other"


async def test_what_is_wished_of_the_cache_goes_with_the_question() -> None:
    """Which answers will do, and for whom it is asked; what is not said is left to the fleet's owner."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:
        ends = (End(), END_OF_STREAM)
        first = tasks.create_task(there.say(*ends))
        await drover.ask("hi", cache="semantic", user="alice")
        second = tasks.create_task(there.say(*ends))
        await drover.ask("hi")
    asked = [codec.decode(said.result().data) for said in (first, second)]

    assert [("semantic", "alice"), (None, None)] == [(one.get("cache"), one.get("user")) for one in asked]


@pytest.mark.parametrize("fields", [{"cache": "on"}, {"cache": ""}, {"user": ""}, {"user": "x" * 257}, {"user": 7}])
async def test_a_wish_that_can_not_be_is_refused_before_it_is_sent(fields: dict[str, Any]) -> None:
    """The error names the field."""
    async with desk() as (drover, there, _):
        with pytest.raises(BadRequest, match=next(iter(fields))):
            await drover.ask("hi", **fields)

        assert there.requests.empty()


async def test_cancel_sends_its_tenant() -> None:
    """`Drover.cancel` names the tenant too, its own unless another is given."""
    async with desk(tenant="acme") as (drover, there, mine), asyncio.TaskGroup() as tasks:

        async def agree() -> None:
            for _ in range(2):
                order = await there.cancels.get()
                heard.append(codec.decode(order.data))
                await mine.publish(order.reply, b'{"cancelled":true}')

        heard: list[object] = []
        tasks.create_task(agree())
        cancelled = (await drover.cancel("j1"), await drover.cancel("j1", tenant="other"))

    assert ((True, True), [{"tenant": "acme"}, {"tenant": "other"}]) == (cancelled, heard)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "prompt: it is null: give a text, or a list of messages"),
        (5, "prompt: it is a number: give a text, or a list of messages"),
        (b"hi", "prompt: it is of type bytes: give a text, or a list of messages"),
        ({"role": "user", "content": "hi"}, "prompt: it is an object: give a text, or a list of messages"),
        (Message(role=Role.USER), "prompt: it is a single message: give a text, or a list of messages"),
        ([5], "messages.0: Input should be an object (got 5)"),
    ],
)
async def test_what_is_no_prompt_is_refused_before_it_is_sent(prompt: Any, message: str) -> None:
    """A typed error with a way out, and the dispatcher hears nothing."""
    async with desk() as (drover, there, _):
        with pytest.raises(BadRequest) as caught:
            await drover.ask(prompt)

        assert (message, True) == (caught.value.message, there.requests.empty())


async def test_a_prompt_that_is_no_unicode_is_refused_before_it_is_sent() -> None:
    """The field is named; there is nothing to cancel."""
    async with desk() as (drover, there, _):
        with pytest.raises(BadRequest, match=r"messages\.0\.content: the text has a character that can't be sent"):
            await drover.ask("\udcff")

        assert (True, True) == (there.requests.empty(), there.cancels.empty())


# -- sending the same job again ----------------------------------------------------------------------------------


async def told_twice(
    first: tuple[frames.Frame | bytes, ...], second: tuple[frames.Frame | bytes, ...], **fields: Any
) -> tuple[str, FleetError | None, list[dict[str, Any]]]:
    """Have an answer break off and come again; give the text, the error, and the two requests."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:

        async def both() -> list[dict[str, Any]]:
            return [codec.decode((await there.say(*said)).data) for said in (first, second)]

        saying = tasks.create_task(both())
        async with drover.chat("hi", **fields) as stream:
            error = await outcome(stream)
        return stream.text, error, await saying


WHOLE = (Ack("j"), Token(0, "Once"), Token(1, " upon"), Token(2, " a time"), End(tokens=3), END_OF_STREAM)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param((Ack("j"), Token(0, "Once"), Token(2, " a")), id="a piece is lost"),
        pytest.param((Ack("j"), Token(0, "Once up"), END_OF_STREAM), id="the end is lost"),
        pytest.param((Ack("j"), Token(0, "Once"), End(tokens=3), END_OF_STREAM), id="the last pieces are lost"),
        pytest.param((Ack("j"), Token(0, "Once"), Err(Stopping()), END_OF_STREAM), id="the dispatcher stops"),
        pytest.param(
            (Ack("j"), Token(0, "Once"), Err(Interrupted("cut", cause="stopping")), END_OF_STREAM),
            id="the dispatcher cuts what is visible",
        ),
    ],
)
async def test_a_broken_answer_is_asked_for_again_and_goes_on_where_it_stopped(
    broken: tuple[frames.Frame | bytes, ...],
) -> None:
    """The reader sees each word once. The second request has the same id, the text that is there, and says that it is not the
    first."""
    text, error, (first, second) = await told_twice(broken, WHOLE)

    assert ("Once upon a time", None) == (text, error)
    assert (first["job"], 0, True) == (second["job"], first["resends"], text.startswith(second["resume"]))
    assert (1, True) == (second["resends"], second["resume"].startswith("Once"))


async def test_a_reader_sees_pieces_without_gaps_over_several_tries() -> None:
    """The frames are numbered anew, the job is accepted once, and the end counts what was given."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:

        async def both() -> None:
            await there.say(Ack("j"), Token(0, "Once"), END_OF_STREAM)
            await there.say(Ack("j"), Token(0, "Once upon"), Token(1, " a time"), End(tokens=2), END_OF_STREAM)

        tasks.create_task(both())
        seen = [frame async for frame in drover.frames(ChatRequest(prompt="hi"))]

    assert [Ack("j"), Token(0, "Once"), Token(1, " upon"), Token(2, " a time"), End(tokens=3)] == seen


async def test_an_answer_that_comes_again_with_other_words_is_interrupted() -> None:
    """Two answers are never spliced: the reader hears how much of the first it has."""
    other = (Ack("j"), Token(0, "There was"), End(tokens=1), END_OF_STREAM)
    text, error, _ = await told_twice((Ack("j"), Token(0, "Once upon"), END_OF_STREAM), other)

    assert ("Once upon", Interrupted, 9) == (text, type(error), error and error.details["delivered_chars"])


async def test_an_answer_that_comes_again_shorter_is_interrupted() -> None:
    """What the reader has and the answer does not was another answer's."""
    shorter = (Ack("j"), Token(0, "Once"), End(tokens=1), END_OF_STREAM)
    text, error, _ = await told_twice((Ack("j"), Token(0, "Once upon"), END_OF_STREAM), shorter)

    assert ("Once upon", Interrupted) == (text, type(error))


async def test_the_time_of_a_request_does_not_begin_anew() -> None:
    """The second request has what is left of the first one's time."""
    _, _, (first, second) = await told_twice((Ack("j"), END_OF_STREAM), WHOLE, timeout_s=30.0)

    assert second["timeout_s"] < first["timeout_s"] == 30.0


async def test_a_producer_that_comes_again_asks_that_its_job_be_kept() -> None:
    """It leaves the inbox that broke, and says for how long it may be missed: the job is not to be cancelled meanwhile."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:

        async def both() -> Delivery:
            broken = await there.say(Ack("j"), Token(1, "lost before"))
            await there.say(*WHOLE)
            return broken

        saying = tasks.create_task(both())
        await drover.ask("hi")
        order = codec.decode((await there.cancels.get()).data)

    assert (saying.result().reply, RETURN_S) == (order["reply"], order["keep_s"])


async def test_a_dispatcher_that_comes_late_is_found() -> None:
    """Nobody listens, then somebody does: the producer has not given up."""
    broker = MemoryBroker()
    async with (
        asyncio.timeout(GUARD_S),
        connect_memory(broker) as mine,
        connect_memory(broker) as theirs,
        Drover.over(mine) as drover,
        asyncio.TaskGroup() as tasks,
    ):
        missed = asyncio.Event()
        original = mine.publish

        async def witness(subject: str, data: bytes, **more: Any) -> None:
            await original(subject, data, **more)
            missed.set()

        mine.publish = witness  # type: ignore[method-assign]  # only to know when the first try was made
        asking = tasks.create_task(drover.ask("hi"))
        await missed.wait()
        there = Desk(theirs)
        await there.open()
        await there.say(*WHOLE)

    assert "Once upon a time" == asking.result().text


async def test_an_error_of_the_request_is_told_at_once() -> None:
    """Sending it again would not help."""
    async with desk() as (drover, there, _), asyncio.TaskGroup() as tasks:
        tasks.create_task(there.say(Err(UnknownModel("no such model")), END_OF_STREAM))
        async with drover.chat("hi") as stream:
            error = await outcome(stream)

        assert (UnknownModel, True) == (type(error), there.requests.empty())


async def test_a_drover_that_is_closed_leaves_nothing_on_the_bus() -> None:
    """A thousand of them over one bus, one after another, as a web server might open them."""
    async with connect_memory(MemoryBroker()) as bus:
        for _ in range(1000):
            async with Drover.over(bus):
                pass

        assert [] == bus._lost._hooks
