"""What befalls the durable lane: the server falls silent or crashes, a dispatcher freezes, or dies at the worst moment."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from common.bus import Delivery
from common.durable import Names
from common.subjects import Subjects
from dispatcher.durable.janitor import KEY as JANITOR
from tests.simulation.hosts import Host
from tests.simulation.ledger import Ledger
from tests.simulation.queue_ledger import QueueLedger
from tests.simulation.queuers import Queuers
from tests.simulation.schedule import Action, Kind
from tests.simulation.weather import Weather


class Moment(StrEnum):
    """When a dispatcher dies that is lain in wait for."""

    CLAIMED = "claimed"  # the claim is made, and it does not know yet
    TOLD = "told"  # a note is stored, which may be the result
    FINISHED = "finished"  # the final note is stored, and the job not acknowledged
    BURIED = "buried"  # the dead letter is stored, and nothing told of it
    SETTLING = "settling"  # it knows that the result is stored, and is about to say so


MOMENTS = (*Moment, Moment.FINISHED, Moment.SETTLING, Moment.BURIED)
FREEZES_S = (0.7, 2.5, 3.5, 4.5, 6.5)
"""Below and above the ack wait."""


class Ambush:
    """Does it."""

    def __init__(self, hosts: list[Host], weather: Weather, queuers: Queuers, queue: QueueLedger) -> None:
        self._hosts = hosts
        self._weather = weather
        self._queuers = queuers
        self._queue = queue
        self._subjects, self._names = Subjects(), Names()
        self._armed: dict[str, Moment] = {}
        weather.watches.append(self._watch)
        for host in hosts:
            host.settling = self._settling

    @property
    def _ledger(self) -> Ledger:
        return self._queue.ledger

    def _harm(self, action: Action) -> None:
        self._ledger.happened(action.kind)
        self._ledger.replays = False
        self._queue.fault()
        if action.kind is not Kind.AMBUSH:  # a death is what the store of answers is for
            self._ledger.forgetful = True

    async def do_ambush(self, action: Action) -> None:
        """Let a dispatcher die when it comes to a certain point."""
        host = self._hosts[action.who % len(self._hosts)]
        if host.alive:
            self._harm(action)
            self._armed[host.name] = MOMENTS[action.how % len(MOMENTS)]
            self._ledger.note("--", "in wait for", f"{host.name}: {self._armed[host.name]}")

    def _watch(self, delivery: Delivery) -> None:
        """Look at what the server has done just now, and for whom."""
        host = next((one for one in self._hosts if one.alive and one.asked(delivery.reply)), None)
        if host is not None and host.name in self._armed and self._fits(self._armed[host.name], delivery):
            self._strike(host)

    def _fits(self, moment: Moment, delivery: Delivery) -> bool:
        """Tell whether this was the message behind which the moment lies."""
        result = delivery.subject.startswith(self._subjects.result("*", "*")[: -len("*.*")])
        match moment:
            case Moment.CLAIMED:
                return self._claimed(delivery)
            case Moment.TOLD:
                return result
            case Moment.FINISHED:
                return result and delivery.headers.get("Nats-Msg-Id", "").endswith("-final")
            case Moment.BURIED:
                return delivery.subject.startswith(self._subjects.dead("*", "*")[: -len("*.*")])
            case Moment.SETTLING:
                return False

    def _claimed(self, delivery: Delivery) -> bool:
        """Tell whether this has claimed a job: it may have been refused, or be the janitor's."""
        claims = f"$KV.{self._names.claims}."
        if not delivery.subject.startswith(claims) or delivery.subject == claims + JANITOR:
            return False
        kept = self._queue.streams[f"KV_{self._names.claims}"].last(delivery.subject)
        return kept is not None and kept.data == delivery.data != b""

    def _settling(self, host: Host) -> bool:
        """A dispatcher is about to acknowledge a job: True when it dies instead."""
        if self._armed.get(host.name) is not Moment.SETTLING:
            return False
        self._strike(host)
        return True

    def _strike(self, host: Host) -> None:
        moment = self._armed.pop(host.name)
        self._ledger.note("--", "strikes", f"{host.name}: {moment}")
        self._ledger.happened(f"struck when {moment}")
        host.kill()

    async def do_dispatcher_freeze(self, action: Action) -> None:
        """Let a dispatcher hear and say nothing for a while; then all of it arrives."""
        host = self._hosts[action.who % len(self._hosts)]
        if host.alive and host.wire.connected:
            self._harm(action)
            host.freeze(FREEZES_S[action.how % len(FREEZES_S)])

    async def do_streams_mute(self, action: Action) -> None:
        """Let the streams be silent for a while."""
        if not self._weather.mute:
            self._harm(action)
            self._weather.mute = True
            asyncio.get_running_loop().call_later(0.3 + action.how % 8, self._speak)

    def _speak(self) -> None:
        self._weather.mute = False

    async def do_streams_lose(self, action: Action) -> None:
        """Lose some of the server's next answers."""
        self._harm(action)
        self._weather.lose_next = 1 + action.how % 4

    async def do_streams_crash(self, action: Action) -> None:
        """Kill the server, and start it again on what it has on disk: all connections break, and come back."""
        self._harm(action)
        for host in self._hosts:
            if host.alive:
                host.offline()
        self._queuers.wire.disconnect()
        self._weather.crash(forgets=action.how % 4 == 3)
        asyncio.get_running_loop().call_later(0.3 + action.how // 4 % 3, self._back)

    def _back(self) -> None:
        for host in self._hosts:
            host.back()
        self._queuers.wire.reconnect()

    async def mend(self) -> None:
        """End what goes on."""
        self._armed.clear()
        self._weather.lose_next = 0
        self._speak()
        self._back()
