"""What a caller's chat goes through on its way to the bus, as one source of frames: its files, what its caller may,
and then the job itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from common import frames
from common.client import Drover
from common.messages import ChatRequest
from dispatcher.bridge.burden import lighten
from dispatcher.bridge.callers import Caller, on_behalf
from dispatcher.bridge.files.desk import Attached, Desk
from dispatcher.bridge.files.filed import Filed
from dispatcher.bridge.gate import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Sends chats for callers. All that is done for one is done while its client waits, and ends when that hangs up."""

    drover: Drover
    gate: Gate
    files: Desk

    async def frames(
        self,
        chat: ChatRequest,
        caller: Caller,
        attached: Sequence[Attached] = (),
        *,
        sent: Callable[[ChatRequest], None] | None = None,
    ) -> AsyncGenerator[frames.Frame, None]:
        """Give the frames of a chat's answer; `sent` is handed the chat with its files as they travel.

        Raises what its files and the gate refuse it with, and what `Drover.frames` does.
        """
        with self.gate.running(caller):
            chat = await self.prepared(chat, caller, attached)
            attached = ()  # what has been read is not kept for as long as the job waits and runs
            if sent is not None:
                sent(chat)
            async with (
                self.gate.job(caller, on_behalf(caller, chat)) as place,
                aclosing(self.drover.frames(place.request, tenant=caller.tenant, handover=place.handover)) as source,
            ):
                async for frame in source:
                    yield frame

    async def filed(self, chat: ChatRequest, caller: Caller, attached: Sequence[Attached]) -> Filed:
        """Give a chat with what its files say, and what of it the user gave. Raises what they, and the gate, refuse it with."""
        with self.gate.running(caller):
            found = await self.files.filed(chat, attached, whose=_whose(caller))
            lighten()
            return found

    async def prepared(self, chat: ChatRequest, caller: Caller, attached: Sequence[Attached] = ()) -> ChatRequest:
        """Give a chat whose files were looked at. Raises what they are refused with."""
        found = await self.files.prepared(chat, attached, whose=_whose(caller))
        lighten()
        return found


def _whose(caller: Caller) -> str | None:
    return None if caller.grant is None else caller.grant.key
