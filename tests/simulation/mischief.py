"""What befalls devices and dispatchers."""

from __future__ import annotations

import asyncio

from common.bus import Delivery
from common.subjects import Subjects
from tests.simulation.hosts import Host
from tests.simulation.ledger import Ledger
from tests.simulation.moods import MOODS
from tests.simulation.network import Wire
from tests.simulation.node import Node
from tests.simulation.schedule import DELAYS_S, Action


class Mischief:
    """Does it."""

    def __init__(
        self, hosts: list[Host], devices: list[Node], ledger: Ledger, group: asyncio.TaskGroup, *, stranger: Wire
    ) -> None:
        self._hosts = hosts
        self._devices = devices
        self._ledger = ledger
        self._group = group
        self._stranger = stranger
        self._subjects = Subjects()

    def _device(self, action: Action) -> Node:
        return self._devices[action.who % len(self._devices)]

    async def do_wait(self, action: Action) -> None:
        """Let time pass."""
        self._ledger.happened(action.kind)

    async def do_mood(self, action: Action) -> None:
        """Let a device treat its next jobs otherwise."""
        self._ledger.happened(action.kind)
        device = self._device(action)
        device.mood = MOODS[action.how % len(MOODS)]
        self._ledger.note(device.name, "mood:", device.mood.name)

    async def do_kill(self, action: Action) -> None:
        """Kill a device."""
        device = self._device(action)
        if device.alive:
            self._ledger.happened(action.kind)
            device.kill()

    async def do_restart(self, action: Action) -> None:
        """Start what is dead; a device that lives is killed first half of the times, and spared the other half."""
        device = self._device(action)
        if device.alive and action.how % 2:
            device.kill()
        if not device.alive:
            self._ledger.happened(action.kind)
            device.mood = MOODS[0]
            await device.start(self._group)

    async def do_stop(self, action: Action) -> None:
        """Freeze a device."""
        device = self._device(action)
        if device.alive and not device.stopped:
            self._ledger.happened(action.kind)
            device.stop()

    async def do_continue(self, action: Action) -> None:
        """Thaw one."""
        stopped = [device for device in self._devices if device.alive and device.stopped]
        if stopped:
            self._ledger.happened(action.kind)
            stopped[action.who % len(stopped)].go_on()

    async def do_cut(self, action: Action) -> None:
        """Swallow all from and to a device."""
        device = self._device(action)
        if device.alive and not device.cut:
            self._ledger.happened(action.kind)
            device.sever(up=True, down=True)

    async def do_cut_one_way(self, action: Action) -> None:
        """Swallow what it sends, or what it gets."""
        device = self._device(action)
        if device.alive and not device.cut:
            self._ledger.happened(action.kind)
            device.sever(up=bool(action.how % 2), down=not action.how % 2)

    async def do_heal(self, action: Action) -> None:
        """Join what is cut; the connection of a device that has noticed comes back as a new one."""
        cut = [device for device in self._devices if device.alive and device.cut]
        if cut:
            self._ledger.happened(action.kind)
            cut[action.who % len(cut)].join()

    async def do_delay(self, action: Action) -> None:
        """Make somebody's connection slower or faster."""
        self._ledger.happened(action.kind)
        everybody: list[Host | Node] = [*self._hosts, *self._devices]
        one = everybody[action.who % len(everybody)]
        one.delay_s = DELAYS_S[action.how % len(DELAYS_S)]
        if one.alive:
            one.wire.up.delay_s = one.wire.down.delay_s = one.delay_s

    async def do_drop(self, action: Action) -> None:
        """Lose some of a device's next messages."""
        device = self._device(action)
        if device.alive:
            self._ledger.happened(action.kind)
            pipe = device.wire.up if action.how % 2 else device.wire.down
            pipe.drop_next = 1 + action.how // 2 % 3

    async def do_repeat(self, action: Action) -> None:
        """Deliver some of them twice."""
        device = self._device(action)
        if device.alive:
            self._ledger.happened(action.kind)
            pipe = device.wire.up if action.how % 2 else device.wire.down
            pipe.repeat_next = 1 + action.how // 2 % 3

    async def do_replay_beat(self, action: Action) -> None:
        """Send a heartbeat that is old: those that waited in a network come late."""
        device = self._device(action)
        if device.last_beat:
            self._ledger.happened(action.kind)
            payload = device.last_beat
            asyncio.get_running_loop().call_later(
                0.5 + action.how % 4, self._stranger.say, Delivery(self._subjects.heartbeat(device.name), payload)
            )

    async def do_drain(self, action: Action) -> None:
        """Let a device take no new jobs, or take them again."""
        device = self._device(action)
        if device.alive:
            self._ledger.happened(action.kind)
            device.drain(on=not device.draining)

    async def do_faulty(self, action: Action) -> None:
        """Take a device's backend, or give it back."""
        device = self._device(action)
        if device.alive:
            self._ledger.happened(action.kind)
            device.fault(on=not device.faulty)

    # -- dispatchers ---------------------------------------------------------------------------------------------

    def _host(self, action: Action) -> Host:
        return self._hosts[action.who % len(self._hosts)]

    async def do_dispatcher_stop(self, action: Action) -> None:
        """Ask a dispatcher to stop."""
        host = self._host(action)
        if host.alive:
            self._ledger.happened(action.kind)
            self._ledger.replays = False
            host.stop()

    async def do_dispatcher_kill(self, action: Action) -> None:
        """Kill a dispatcher."""
        host = self._host(action)
        if host.alive:
            self._ledger.happened(action.kind)
            self._ledger.replays = False
            host.kill()

    async def do_dispatcher_offline(self, action: Action) -> None:
        """Take a dispatcher's connection for some seconds."""
        host = self._host(action)
        if host.alive and host.wire.connected:
            self._ledger.happened(action.kind)
            self._ledger.replays = False
            self._ledger.forgetful = True
            host.offline()
            asyncio.get_running_loop().call_later(0.3 + action.how % 4, host.back)

    async def do_dispatcher_start(self, action: Action) -> None:
        """Start one that is gone."""
        host = self._host(action)
        if not host.alive:
            self._ledger.happened(action.kind)
            self._ledger.replays = False
            await host.start(self._group)
