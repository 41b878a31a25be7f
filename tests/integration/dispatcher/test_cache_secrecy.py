"""What a tenant's look-up does is the same whatever other tenants have asked: so its time tells nothing.

Work is counted as calls, which a clock on a busy machine would blur; `python -m dispatcher.lab.speed.secrecy` measures time.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Coroutine
from types import FrameType
from typing import Any

from common.clock import LoopClock
from common.codec import Encoding
from common.frames import End
from common.messages import CacheWish, ChatRequest, Heartbeat, Message, ModelInfo, Role
from dispatcher.cache import Cache, running_cache
from dispatcher.cache.keys import place
from dispatcher.cache.plan import plan
from dispatcher.delivery.sink import AnswerSink
from dispatcher.embed import Tier, embedding, open_embedder
from dispatcher.fleet import Device, Fleet
from dispatcher.outcomes import Candidate, Delivered, Job, Terms
from dispatcher.settings import CacheSection

SECRET, LIKE, UNLIKE = "How do I paint the garden gate?", "How can I paint the garden gate?", "Why is the sea so salty?"
OTHER, OTHER_LIKE = "How do I reset the kitchen clock?", "How can I reset the kitchen clock?"
ONE_BIT = ("alice", "alicd")
MODEL = ModelInfo(name="llama3.2:1b", size_bytes=10**9)
NANO = Device(Heartbeat(device="nano", boot="boot", seq=1, models=(MODEL,)), {MODEL.name: MODEL})
CHOSEN = Candidate(
    device="nano", model=MODEL.name, score=1.0, terms=Terms(0.5, 0.5, 0.5), reason="", warm=True,
    predicted_first_token_s=0.1, predicted_total_s=1.0,
)  # fmt: skip


class Heard:
    """A sink of somebody who has the whole answer."""

    text = "It depends."
    visible_chars = 0
    streams = False

    def restart(self) -> None:
        """Forget nothing."""

    def __getattr__(self, name: str) -> Any:
        async def nothing(*_: object) -> None:
            return

        return nothing


def job(tenant: str, question: str, wish: CacheWish) -> Job:
    messages = (Message(role=Role.USER, content=question),)
    return Job(
        id="job", tenant=tenant, kind="chat", request=ChatRequest(messages=messages, cache=wish), messages=messages, model="auto",
        device=None, reply="", encoding=Encoding.JSON, received_s=0.0, received_unix_s=0.0, deadline_s=1e9, deadline_unix_s=1e9,
    )  # fmt: skip


async def ran(_: AnswerSink) -> Delivered:
    """Be a device."""
    return Delivered(chosen=CHOSEN, end=End())


async def calls(work: Coroutine[Any, Any, object]) -> Counter[str]:
    """Do something, and count what it calls.

    The collector rests meanwhile, else what another test left is freed, and counted, here. How often the loop compares two timers
    depends on those of others, so that, and what it calls, is not counted.
    """
    made: Counter[str] = Counter()

    def count(frame: FrameType, event: str, arg: Any) -> None:
        if frame.f_code.co_qualname == "TimerHandle.__lt__":
            return
        if event == "call":
            made[f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            made[f"{frame.f_code.co_filename}:{arg.__qualname__}"] += 1

    gc.collect()
    gc.disable()
    sys.setprofile(count)
    try:
        await work
    finally:
        sys.setprofile(None)
        gc.enable()
    return made


async def asked(cache: Cache, tenant: str, question: str, wish: CacheWish) -> None:
    serving, out = cache.serving(job(tenant, question, wish)), Heard()
    await serving.finish(await serving.answer(out, ran), out.text)
    await serving.close()


async def looked(before: tuple[str, ...], own: tuple[str, ...], wish: CacheWish) -> Counter[str]:
    """Count what one tenant's look-up calls: after another tenant has asked some questions, and it has asked some of its own."""
    async with (
        embedding(open_embedder(Tier.STATIC)) as vectors,
        running_cache(
            CacheSection(mode="semantic", verifier="rules"),
            embedding=vectors,
            fleet=lambda: Fleet({"nano": NANO}),
            strategy=lambda _: "hybrid",
            may_use=lambda *_: True,
            clock=LoopClock(),
        ) as cache,
    ):
        vectors.inline_chars = 1000  # else other tasks would run meanwhile, where a machine is slow
        first, second = ONE_BIT
        for tenant, questions in ((first, before), (second, own)):
            for question in questions:
                await asked(cache, tenant, question, wish)
        one = job(second, SECRET, wish)
        where = place(one, strategy="hybrid", epoch="")
        wanted, asking = plan(one, "semantic", max_temperature=1.0), cache.shelter.request()
        looking = cache.finder.look(where, wanted, asking, asker=one.asker, may_use=lambda *_: True)
        return await calls(looking)


async def test_an_exact_look_is_the_same() -> None:
    """Whether another tenant has asked the very same, or something else."""
    known = await looked((SECRET,), (UNLIKE,), CacheWish.EXACT)
    fresh = await looked((OTHER,), (UNLIKE,), CacheWish.EXACT)

    assert fresh == known


async def test_a_look_by_likeness_is_the_same() -> None:
    """Also where there is a vector of it, and a like one, in the same context of another tenant."""
    known = await looked((SECRET, LIKE), (UNLIKE,), CacheWish.SEMANTIC)
    fresh = await looked((OTHER, OTHER_LIKE), (UNLIKE,), CacheWish.SEMANTIC)

    assert fresh == known


async def test_a_judged_question_is_the_same() -> None:
    """Also where it is held against a like one of the tenant's own: what was read for another tenant is read anew."""
    known = await looked((SECRET, LIKE), (LIKE,), CacheWish.SEMANTIC)
    fresh = await looked((OTHER, OTHER_LIKE), (LIKE,), CacheWish.SEMANTIC)

    assert fresh == known


async def test_one_s_own_question_is_not() -> None:
    """The count sees what a tenant may know: an answer of its own is found without any likeness."""
    known = await looked((), (SECRET,), CacheWish.SEMANTIC)
    fresh = await looked((), (UNLIKE,), CacheWish.SEMANTIC)

    assert fresh != known
