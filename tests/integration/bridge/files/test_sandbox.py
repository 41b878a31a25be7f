"""The process that looks at files: what it may take, and how it ends."""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

import pytest

from common.errors import QueueFull, UnreadableFile
from dispatcher.bridge.files.sandbox import Limits, Sandbox, Work
from tests.integration.bridge.files import documents, pictures

AMPLE = Limits(memory_bytes=512 << 20, cpu_s=15, wall_s=60.0)
HANG_S = 60.0


def images(*given: bytes, room_bytes: int = 900_000) -> Work:
    parts = [pictures.plain(one).encode() for one in given]
    return Work(task="images", head={"room_bytes": room_bytes}, parts=parts)


def slow() -> Work:
    """A PDF whose reading takes many seconds of work: fifty pages, each of a quarter of a million operators."""
    shown = documents.stream(zlib.compress(b"BT /F1 1 Tf " + b"(x) Tj " * 240_000), b"/Filter/FlateDecode")
    pages = dict.fromkeys(range(10, 60), documents.PAGE % (5, b"/Font<</F1 3 0 R>>"))
    pdf = documents.pdf({1: documents.CATALOG, 2: documents.tree(list(pages)), 3: documents.FONT, 5: shown} | pages)
    head = {"room_bytes": 900_000, "most_pages": 50, "most_characters": 100_000_000}
    return Work(task="pdf", head=head, parts=[pdf])


def children() -> set[str]:
    """The processes that this one has started, and that are not gone."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def begun(before: set[str]) -> set[str]:
    """Wait for a new process, and give it."""
    async with asyncio.timeout(HANG_S):
        while not (new := children() - before):  # noqa: ASYNC110
            await asyncio.sleep(0)  # the kernel has no event for it; the loop goes round
    return new


async def test_the_largest_image_stays_within_its_memory() -> None:
    """24 million pixels, which are 96 MB each time they are held, are read in less than the limit."""
    told, parts = await Sandbox().run(images(pictures.png(4_898, 4_899, pictures.black(4_898, 4_899))), AMPLE)

    assert (len(parts), 0 < int(told["peak_kib"]) * 1024 < AMPLE.memory_bytes) == (1, True)


async def test_what_needs_more_memory_than_there_is_is_told_so() -> None:
    """With a tenth of the memory the same image is refused, by a process that lives to say so."""
    large = pictures.saved(pictures.Image.new("RGBA", (4_800, 4_900)), "PNG", compress_level=1)
    with pytest.raises(UnreadableFile, match="it takes more memory than it may: send a smaller one"):
        await Sandbox().run(images(large), Limits(memory_bytes=96 << 20, cpu_s=15, wall_s=60.0))


async def test_what_takes_too_much_work_is_ended_by_the_kernel() -> None:
    """A PDF that keeps its reader busy is over after one second of the processor's time."""
    with pytest.raises(UnreadableFile, match="it takes more than 1 s of work to read"):
        await Sandbox().run(slow(), Limits(memory_bytes=512 << 20, cpu_s=1, wall_s=60.0))


async def test_what_takes_too_long_is_killed() -> None:
    """A process that is not done in time is refused, and is gone when that is said."""
    before = children()
    with pytest.raises(UnreadableFile, match=r"it takes longer than 0\.05 s to read"):
        await Sandbox().run(slow(), Limits(memory_bytes=512 << 20, cpu_s=15, wall_s=0.05))

    assert children() - before == set()


async def test_a_client_that_leaves_takes_its_process_along() -> None:
    """When who waits is cancelled, the process is killed, and its place is free for the next."""
    sandbox, before = Sandbox(at_once=1), children()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(sandbox.run(slow(), AMPLE))
        await begun(before)
        waiting.cancel()
    left = children() - before
    _, parts = await sandbox.run(images(pictures.drawn("PNG")), AMPLE)

    assert (left, len(parts)) == (set(), 1)


async def test_more_requests_than_can_wait_are_sent_away() -> None:
    """With one place and none to wait in, the second is told to come again, and when."""
    sandbox, before = Sandbox(at_once=1, waiting=0), children()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(sandbox.run(slow(), AMPLE))
        await begun(before)
        with pytest.raises(QueueFull, match="too many files wait") as refused:
            await sandbox.run(images(pictures.drawn("PNG")), AMPLE)
        running.cancel()

    assert refused.value.retry_after_s == 5


async def test_nobody_has_more_than_half_of_the_places() -> None:
    """Of four places one name has two, and is told to come again for a third; another name, and who has none, still find one."""
    sandbox, work = Sandbox(at_once=1, waiting=3), images(pictures.drawn("PNG"))
    async with asyncio.TaskGroup() as group:
        ours = [group.create_task(sandbox.run(slow(), AMPLE, "greedy"))]
        ours.append(group.create_task(sandbox.run(work, AMPLE, "greedy")))
        await asyncio.sleep(0)  # both are inside
        with pytest.raises(QueueFull, match="2 requests of this key have files that wait"):
            await sandbox.run(work, AMPLE, "greedy")
        theirs = [group.create_task(sandbox.run(work, AMPLE, whose)) for whose in ("modest", None)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="too many files wait"):
            await sandbox.run(work, AMPLE, "late")
        ours[0].cancel()
    _, again = await sandbox.run(work, AMPLE, "greedy")

    assert ([1, 1, 1], 1) == ([len(one.result()[1]) for one in (ours[1], *theirs)], len(again))


async def test_a_process_that_says_something_else_is_not_believed() -> None:
    """A task that breaks its process is an unreadable file, and no answer."""
    with pytest.raises(UnreadableFile, match="it breaks its reader"):
        await Sandbox().run(Work(task="images", head={}, parts=[]), AMPLE)
