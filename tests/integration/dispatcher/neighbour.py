"""A dispatcher's neighbour that a test plays by hand: it says that it lives, asks, and answers questions when it is told to."""

from __future__ import annotations

import asyncio
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from tests.integration.dispatcher.house import House, Stream
from tests.integration.dispatcher.scripted import until


class Neighbour:
    """Speaks as a dispatcher speaks to others; `asked` are the questions that it heard."""

    def __init__(self, house: House, name: str = "zz-neighbour") -> None:
        self.asked: list[Delivery] = []
        self.name = name
        self._house = house
        self._bus: Bus = house.world

    async def move_in(self) -> None:
        """Say that it lives; the dispatcher knows it on return."""
        await self._bus.subscribe("llm.v1.peer.*.attach", self._hear)
        await self._bus.flush()
        await self._bus.publish(f"llm.v1.peer.{self.name}", b'{"state":"here"}')
        peers = self._house.pipeline.sharing.peers
        await until(lambda: self.name in peers.others, f"the dispatcher knows {self.name}")

    async def question(self, number: int) -> dict[str, Any]:
        """Wait for the n-th question."""
        await until(lambda: len(self.asked) >= number, f"{number} questions")
        return dict(codec.decode(self.asked[number - 1].data))

    async def say(self, number: int, word: str) -> None:
        """Answer the n-th question."""
        await self.question(number)
        await self._bus.publish(self.asked[number - 1].reply, codec.encode({"from": self.name, "word": word}))

    async def ask(self, ears: Stream, *, takes: bool = True, **fields: Any) -> Stream:
        """Ask that `ears` may hear job j1, and take an offer unless told otherwise; gives the stream of the answers to the question
        itself."""
        answers = Stream(self._bus, self._bus.new_inbox())
        loop, taking = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def hear(delivery: Delivery) -> None:
            answers.arrived.append(delivery)
            if takes and delivery.reply:
                taking.add(loop.create_task(self._bus.publish(delivery.reply, b"{}")))

        await self._bus.subscribe(answers.inbox, hear)
        order = {
            "job": "j1",
            "tenant": "default",
            "fingerprint": "",
            "reply": ears.inbox,
            "encoding": "json",
            "framed": True,
            "held": False,
            "left_s": 60.0,
            "keep_s": 0.0,
        }
        await self._bus.publish(f"llm.v1.peer.{self.name}.attach", codec.encode(order | fields), reply=answers.inbox)
        await self._bus.flush()
        return answers

    def _hear(self, delivery: Delivery) -> None:
        if delivery.subject != f"llm.v1.peer.{self.name}.attach":
            self.asked.append(delivery)


async def ears(house: House) -> Stream:
    """Open an inbox of somebody who has sent no job."""
    stream = Stream(house.world, house.world.new_inbox())
    await house.world.subscribe(stream.inbox, stream.arrived.append)
    return stream
