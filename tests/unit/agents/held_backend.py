"""A backend that a test plays by hand: it holds each answer until it is told to go on, and witnesses who hung up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext

from agents.backends import BackendDone, BackendText, Bill, OnDevice, Piece, Version
from common.errors import DeviceBusy
from common.messages import Dispatch, ModelInfo
from tests.listening import GUARD_S


class HeldBackend(OnDevice):
    """Answers what `say` and `finish` put in; `fault` makes its questions fail, `crash` its chats; `refuses` lets none begin."""

    name = "held"
    continues = True
    lets_go = False

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        self.closings = asyncio.Semaphore(0)
        self.fault: Exception | None = None
        self.crash: Exception | None = None
        self.refuses: DeviceBusy | None = None
        self.owes_usd: float | None = None
        """What each job costs, however it ends."""
        self.admitting: Callable[[], AbstractContextManager[Bill]] = self._ordinary
        self.listed: tuple[ModelInfo, ...] = ()
        self.looks = 0
        self.probed: list[str] = []
        self.probing = asyncio.Event()
        self.token = asyncio.Event()
        """Set when a probe gets its token."""
        self.loads: list[tuple[str, float | None]] = []
        self.loading = asyncio.Event()
        self.memory = asyncio.Event()
        """Set when what loads is in memory."""
        self._pieces: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

    def refusal(self) -> DeviceBusy | None:
        return self.refuses

    def admit(self, dispatch: Dispatch) -> AbstractContextManager[Bill]:
        if self.refuses is not None:
            raise self.refuses
        return self.admitting()

    def _ordinary(self) -> AbstractContextManager[Bill]:
        bill = Bill()
        if self.owes_usd is not None:
            bill.owe(self.owes_usd, estimated=True)
        return nullcontext(bill)

    def say(self, text: str) -> None:
        self._pieces.put_nowait(BackendText(text))

    def finish(self, done: BackendDone | None = None) -> None:
        self._pieces.put_nowait(done or BackendDone())

    def fail(self, error: Exception) -> None:
        """Make the answer under way fail."""
        self._pieces.put_nowait(error)

    def break_off(self) -> None:
        self._pieces.put_nowait(None)

    async def hung_up(self, count: int) -> None:
        """Return when `count` more chats were closed."""
        async with asyncio.timeout(GUARD_S):
            for _ in range(count):
                await self.closings.acquire()

    async def idle(self) -> None:
        """Return when all that was said was dealt with."""
        async with asyncio.timeout(GUARD_S):
            await self._pieces.join()

    async def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        self.started.set()
        if self.crash:
            raise self.crash
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                # the worker has dealt with a piece when it asks for the next
                self._pieces.task_done()
                if isinstance(piece, BackendDone):
                    return
        finally:
            self.closed.set()
            self.closings.release()

    def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        return self.chat(dispatch, bill)

    async def models(self) -> tuple[ModelInfo, ...]:
        self.looks += 1
        if self.fault:
            raise self.fault
        return self.listed

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        if self.fault:
            raise self.fault
        return tuple(model for model in self.listed if model.loaded)

    async def one_token(self, model: ModelInfo) -> None:
        self.probed.append(model.name)
        self.probing.set()
        await self.token.wait()
        if self.crash:
            raise self.crash

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        self.loads.append((model.name, keep_s))
        self.loading.set()
        await self.memory.wait()
        if self.crash:
            raise self.crash

    async def version(self) -> Version:
        return Version("held")
