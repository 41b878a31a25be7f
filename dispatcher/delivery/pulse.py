"""Whether the devices that work for us are still there: asked several times a second, on the bus, at no cost to their backends.

NATS answers at once when nobody listens on a subject, so an agent that was killed is found before its heartbeat is missed. An agent
that is suspected of a hung backend is asked to generate one token with a model that is in memory.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.bus.mux import ReplyMux
from common.errors import BusError, FleetError
from common.subjects import Subjects

INTERVAL_S = 0.1
"""A crash is found in half of this on average."""

MOST_PER_S = 500.0
"""Questions a second, all devices together: with more of them each is asked less often."""

PROBE_S = 5.0
"""What one token may take on a device that is suspected: a Pi does with a loaded model in less than 2 s."""

AGAIN_S = 10.0
"""A device that has just proved that it works is not asked again for so long."""


RECONNECT_S = 2.0
"""After a broker came back its clients come back one by one: an agent that is not heard yet is not gone."""


class Pulse:
    """Asks. `busy` gives the devices that have attempts of ours; `gone` and `hung` are told what was found; `back` is awaited
    when the connection is back."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        *,
        busy: Callable[[], list[str]],
        gone: Callable[[str], None],
        hung: Callable[[str, str], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._busy = busy
        self._gone = gone
        self._hung = hung
        self._back = back
        self.returning = False
        """True from a reconnect until `back` is awaited."""
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._fresh = itertools.count()
        self._heard: set[str] = set()
        self._doubted_s: dict[str, float] = {}
        self._reply: Callable[[int], str] = _nowhere
        self._quiet_until_s = 0.0
        bus.on_reconnect(self._reconnected)

    async def beat(self, mux: ReplyMux) -> None:
        """Ask for ever; cancel it to end. Needs a slot of the mux for the answers."""
        with mux.slot(self._answered) as reply:
            self._reply = reply
            try:
                while True:
                    await asyncio.sleep(max(INTERVAL_S, len(self._busy()) / MOST_PER_S))
                    if self.returning:
                        self.returning = False  # before: the connection may go and come again meanwhile
                        await self._back()
                    await self._ask()
            finally:
                self._reply = _nowhere

    async def doubt(self, device: str) -> None:
        """Have a device generate one token, unless it was asked a moment ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._doubted_s.get(device, -AGAIN_S) + AGAIN_S:
            return
        self._doubted_s[device] = now_s
        await self._send(device, {"generate": True, "timeout_s": PROBE_S}, self._number(device) + 1)

    def forget(self, device: str) -> None:
        """Drop what is known of a device that is no more."""
        self._names.pop(self._numbers.pop(device, -1), None)
        self._heard.discard(device)
        self._doubted_s.pop(device, None)

    async def _ask(self) -> None:
        if asyncio.get_running_loop().time() < self._quiet_until_s:
            return
        for device in self._busy():
            await self._send(device, {}, self._number(device))

    async def _send(self, device: str, body: dict[str, Any], number: int) -> None:
        if self._reply is _nowhere or not self._bus.connected:
            return
        try:
            await self._bus.publish(
                self._subjects.device(device, "probe"), codec.encode(body), reply=self._reply(number)
            )
        except BusError:
            pass  # the next beat asks again, on the next connection

    def _answered(self, number: int, delivery: Delivery) -> None:
        """Even numbers ask for presence, odd ones for proof."""
        device = self._names.get(number // 2)
        if device is None:
            return
        if not delivery.no_responders:
            self._heard.add(device)
            if number % 2:
                self._judge(device, delivery.data)
        elif device in self._heard and asyncio.get_running_loop().time() >= self._quiet_until_s:
            self._gone(device)  # one that has never answered may be of a kind that does not

    def _judge(self, device: str, answer: bytes) -> None:
        """A device is hung when it says so; one whose slots are all taken can't prove anything, and one that can't answer is
        found by other clocks."""
        try:
            proof = codec.decode(answer)
        except FleetError:
            return
        if proof.get("ok") is False:
            self._hung(device, str(proof.get("reason") or "it generates nothing")[:200])

    def _number(self, device: str) -> int:
        number = self._numbers.get(device)
        if number is None:
            number = self._numbers[device] = next(self._fresh)
            self._names[number] = device
        return 2 * number

    def _reconnected(self) -> None:
        self.returning = True
        self._quiet_until_s = asyncio.get_running_loop().time() + RECONNECT_S


def _nowhere(_: int) -> str:
    return ""
