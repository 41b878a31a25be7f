"""What neither side can prove alone: the agent's idea of a job and of silence, and the dispatcher's, are the same."""

from __future__ import annotations

from common import codec
from common.frames import Phase, RouteNote, Token
from tests.integration.dispatcher.house import Stream
from tests.integration.dispatcher.scripted import until
from tests.integration.real.rigs import Rig, rig


async def asked(standing: Rig, *, job: str, tenant: str = "default") -> Stream:
    """Send a job under an id of the producer's choice."""
    body = {"prompt": "hi", "stream": True, "model": "m", "job": job}
    return await standing.house.send(codec.encode(body), tenant=tenant)


async def test_a_job_id_that_is_used_twice_runs_once() -> None:
    """A producer that sends its job again, because it lost the answer: the backend has nothing more to do."""
    async with rig() as standing:
        texts = []
        for say in (True, False):
            stream = await asked(standing, job="job-1")
            if say:
                standing.backend.say("first")
                standing.backend.finish()
            end = await stream.end()
            texts.append((stream.text, len((end.route or {})["attempts"]), (end.route or {}).get("replayed", False)))

        assert (texts, standing.wire.accepted) == ([("first", 1, False), ("first", 1, True)], 1)


async def test_two_tenants_may_use_the_same_job_id() -> None:
    """One after the other, on the same device; neither knows of the other."""
    async with rig() as standing:
        texts = []
        for tenant in ("north", "south"):
            stream = await asked(standing, job="job-1", tenant=tenant)
            standing.backend.say(tenant)
            standing.backend.finish()
            await stream.end()
            texts.append(stream.text)

        assert texts == ["north", "south"]


async def test_two_tenants_may_use_the_same_job_id_at_once() -> None:
    """Both run side by side, and both are answered."""
    async with rig(slots=2) as standing:
        streams = [await asked(standing, job="job-1", tenant=tenant) for tenant in ("north", "south")]
        await until(lambda: standing.wire.accepted == 2, "both are accepted")
        for stream in streams:
            await stream.seen(RouteNote)
            standing.backend.finish()

        ends = [await stream.end() for stream in streams]

        assert [len((end.route or {})["attempts"]) for end in ends] == [1, 1]


async def test_cancelling_one_tenants_job_spares_the_other_of_the_same_id() -> None:
    """The device stops the one that its dispatcher means."""
    async with rig(slots=2) as standing:
        north, south = [await asked(standing, job="job-1", tenant=tenant) for tenant in ("north", "south")]
        for _ in range(2):
            standing.backend.say("Well, ")
        await north.seen(Token)
        await south.seen(Token)

        standing.house.pipeline.cancel("job-1", "in a test", tenant="north")
        error = await north.error()
        await standing.backend.hung_up(1)
        standing.backend.say("south")
        standing.backend.finish()
        await south.end()

        assert (error.error.code, south.text) == ("cancelled", "Well, south")


async def test_a_backend_that_hangs_after_its_first_token_is_told_by_its_silence() -> None:
    """The agent lives and says so; how long its backend has been silent grows with each keep-alive."""
    async with rig() as standing:
        stream = await asked(standing, job="hangs")
        standing.backend.say("Once upon")
        await stream.seen(Token)

        before = len(standing.wire.keep_alives)  # a busy machine may have had time for one before the text

        first, second = (await standing.wire.until_keep_alives(before + 2))[before:][:2]

        await standing.house.order("hangs", "cancel")
        await stream.error()
        assert (first.phase, second.phase) == (Phase.DECODE, Phase.DECODE)
        assert (second.silent_s or 0) > (first.silent_s or 0) >= 0.9


async def test_a_backend_that_hangs_is_given_up_on_although_its_agent_lives() -> None:
    """The dispatcher believes what the keep-alives say of the backend, and the attempt is told as silent."""
    async with rig(between_tokens_s=1.5) as standing:
        stream = await asked(standing, job="hangs")
        standing.backend.say("Once upon")

        error = await stream.error()
        await standing.backend.hung_up(1)

        assert [one["outcome"] for one in (error.route or {})["attempts"]] == ["silent"]


async def test_a_backend_that_thinks_is_not_given_up_on() -> None:
    """For longer than the limit nothing is to be seen, and never for so long is nothing produced."""
    limit_s = 4.0  # three seconds more than the wait between two looks, for a busy machine's pauses
    async with rig(between_tokens_s=limit_s) as standing:
        stream = await asked(standing, job="thinks")
        standing.backend.say("Hm. ")
        await stream.seen(Token)
        for count in range(1, 6):  # a second each
            await standing.wire.until_keep_alives(count)
            standing.backend.say("")
        standing.backend.say("Yes")
        standing.backend.finish()
        await stream.end()

        assert stream.text == "Hm. Yes"
