"""The same request again is answered without a device; what is not whole never is; many at once are one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common import codec, errors
from common.frames import Ack, End, Finish, RouteNote, Token
from common.messages import ModelInfo, ToolCall
from common.subjects import Subjects
from dispatcher.cache.values import Entry
from dispatcher.settings import CacheSection
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House
from tests.integration.dispatcher.scripted import (
    MODEL,
    PATIENCE_S,
    Attempt,
    Hold,
    Script,
    answer,
    babble,
    fail,
    go_on,
    stall,
    until,
)

EXACT = CacheSection(mode="exact")


async def desk(house: House, verb: str, tenant: str | None = None, **body: Any) -> dict[str, Any]:
    """Ask the dispatcher's cache as an operator does."""
    subject = Subjects().cache(verb, tenant)
    answered = await house.world.request(subject, codec.encode(body), timeout_s=PATIENCE_S)
    return codec.decode(answered.data)


async def test_the_same_request_is_answered_once(a_house: OpenHouse) -> None:
    """The second one gets the first one's text as a stream of the same frames, without a device; its account says whose it is."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("Rayleigh ", "scattering."))
        first = await house.stream("why is the sky blue", job="first")
        made = await first.end()
        again = await house.stream("why is the sky blue", job="again")
        end = await again.end()
        event = await house.event("again")

    assert ("Rayleigh scattering.", 1) == (again.text, len(nano.attempts))
    assert [kind for kind in first.kinds if kind != "KeepAlive"] == again.kinds
    assert (made.usage, made.finish) == (end.usage, end.finish)
    route = end.route or {}
    assert ("cache", MODEL, "hit", "exact") == (
        route["device"], route["model"], route["cache"]["outcome"], route["cache"]["kind"],
    )  # fmt: skip
    assert {"job": "first", "device": "nano", "model": MODEL} == route["cache"]["source"]
    assert {"s", "tokens"} <= set(route["cache"]["saved"])
    note = next(frame for frame in again.frames if isinstance(frame, RouteNote))
    assert note.cache is not None
    assert ("cache", "exact", 1.0) == (note.device, note.cache["kind"], note.cache["similarity"])
    assert ("done", "hit", 0) == (event["state"], event["cache"]["outcome"], event["attempts"])
    assert "miss" == (made.route or {})["cache"]["outcome"]


async def test_one_reply_gets_it_too(a_house: OpenHouse) -> None:
    """Who does not stream gets one reply with the same account; how it was asked for first does not matter."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("Paris"))
        await (await house.stream("capital of France")).end()
        body = await (await house.ask("capital of France")).reply()

    assert ("Paris", "cache", "exact", 1) == (
        body["text"], body["device"], body["route"]["cache"]["kind"], len(nano.attempts),
    )  # fmt: skip


async def test_off_is_off(a_house: OpenHouse) -> None:
    """Without a cache the second one runs, and no account speaks of one."""
    async with a_house() as house:
        nano = await house.device("nano", answer("x"))
        for _ in range(2):
            end = await (await house.stream("hi")).end()

    assert (2, False) == (len(nano.attempts), "cache" in (end.route or {}))


@pytest.mark.parametrize(
    ("first", "second", "runs"),
    [
        ({}, {"cache": "off"}, 2),
        ({}, {"cache": "refresh"}, 2),
        ({"cache": "off"}, {}, 2),
        ({"cache": "refresh"}, {}, 1),
        ({"options": {"temperature": 1.5}}, {"options": {"temperature": 1.5}}, 2),
        ({"options": {"temperature": 0.2}}, {"options": {"temperature": 0.2}}, 1),
        ({"user": "ann"}, {"user": "bob"}, 2),
        ({"user": "ann"}, {"user": "ann"}, 1),
        ({"model": MODEL}, {"model": "auto"}, 2),
    ],
)
async def test_wishes(a_house: OpenHouse, first: dict[str, Any], second: dict[str, Any], runs: int) -> None:
    """A request says for itself what it wants of the cache, and what another user was answered is nobody else's."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("x"))
        await (await house.stream("hi", **first)).end()
        await (await house.stream("hi", **second)).end()

    assert runs == len(nano.attempts)


async def test_a_refreshed_answer_replaces_the_kept_one(a_house: OpenHouse) -> None:
    """Who asks for a new answer has it kept for those after."""
    async with a_house(cache=EXACT) as house:
        await house.device("nano", answer("old"), answer("new"))
        await (await house.stream("hi")).end()
        await (await house.stream("hi", cache="refresh")).end()
        last = await house.stream("hi")
        await last.end()

    assert "new" == last.text


async def test_tenants_are_apart(a_house: OpenHouse) -> None:
    """The same words of another tenant, also one whose name differs by a bit, are another request."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("for a"), answer("for b"), answer("for A"))
        said = []
        for tenant in ("a", "b", "A", "a"):
            stream = await house.send(codec.encode({"prompt": "hi", "stream": True}), tenant=tenant)
            await stream.end()
            said.append(stream.text)

    assert (["for a", "for b", "for A", "for a"], 3) == (said, len(nano.attempts))


async def cut(attempt: Attempt) -> None:
    """End at the length that was allowed."""
    await attempt.ack()
    await attempt.tokens("half")
    await attempt.send(End(finish=Finish.LENGTH, tokens=1))
    await attempt.raw(b"")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (cut, "it was cut off"),
        (answer("x", tool_calls=(ToolCall(name="look"),)), "it calls tools"),
        (answer(" "), "it is empty"),
    ],
)
async def test_what_is_not_whole_is_not_kept(a_house: OpenHouse, script: Script, why: str) -> None:
    """Truncated, calling tools, empty: the next one runs."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", script)
        for _ in range(2):
            await (await house.stream("hi")).end()
        told = await desk(house, "stats")

    assert (2, {why: 2}, 0) == (len(nano.attempts), told["counts"]["not_kept"], told["store"]["entries"])


async def test_a_failed_answer_is_not_kept(a_house: OpenHouse) -> None:
    """Half an answer that nobody could go on with is no answer."""
    async with a_house(cache=EXACT) as house:
        await house.device(
            "nano", fail(errors.BackendError("out of memory"), "Once "), answer("whole"), continues=False
        )
        await (await house.stream("tell")).error()
        again = await house.stream("tell")
        await again.end()

    assert "whole" == again.text


async def test_a_migrated_answer_is_not_kept(a_house: OpenHouse) -> None:
    """Two devices wrote it: its producer has it, and nobody else gets it."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("Once ", then=_give_up)
        await house.device("bad", hold)
        await house.device("good", answer("upon a time"), temperature_c=89.0)
        stream = await house.stream("tell")
        await until(lambda: stream.text == "Once ", "the text is visible")
        hold.released.set()
        await stream.end()
        told = await desk(house, "stats")

    assert ("Once upon a time", {"several devices wrote it": 1}, 0) == (
        stream.text, told["counts"]["not_kept"], told["store"]["entries"],
    )  # fmt: skip


async def test_a_fenced_attempt_leaves_nothing(a_house: OpenHouse) -> None:
    """A device that failed before anybody saw its text, and goes on sending, is not in what is kept."""
    async with a_house(cache=EXACT) as house:
        await house.device("bad", babble(Ack(boot="boot-1"), Token(1, "poison"), Token(2, "poison")))
        good = await house.device("good", answer("clean"), temperature_c=89.0)
        await (await house.stream("tell")).end()
        again = await house.stream("tell")
        await again.end()

    assert ("clean", 1) == (again.text, len(good.attempts))


async def test_a_cancelled_answer_is_not_kept(a_house: OpenHouse) -> None:
    """Its producer left in the middle."""
    async with a_house(cache=EXACT) as house:
        await house.device("nano", stall("Once "), answer("whole"))
        stream = await house.stream("tell", job="left")
        await until(lambda: stream.text == "Once ", "the text is visible")
        await house.order("left", "cancel")
        await stream.error()
        again = await house.stream("tell")
        await again.end()

    assert "whole" == again.text


async def test_resumed_text_is_not_kept(a_house: OpenHouse) -> None:
    """What a producer says that it had already may be anything."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("b"), answer("whole"))
        await (await house.stream("tell", resume="poison ")).end()
        again = await house.stream("tell")
        await again.end()

    assert ("whole", 2) == (again.text, len(nano.attempts))


async def test_another_model_under_the_name_is_another_answer(a_house: OpenHouse) -> None:
    """When the weights behind a name change, what the old ones said is forgotten."""
    async with a_house(cache=EXACT) as house:
        old, new = (ModelInfo(name=MODEL, size_bytes=10**9, loaded=True, digest=one) for one in ("aaa", "bbb"))
        nano = await house.device("nano", answer("old"), answer("new"), models=(old,))
        await (await house.stream("hi")).end()
        await house.beat(nano, models=(new,))
        again = await house.stream("hi")
        await again.end()

    assert ("new", 2) == (again.text, len(nano.attempts))


async def test_a_conversation_is_part_of_the_question(a_house: OpenHouse) -> None:
    """The same last words behind another beginning are answered anew."""

    def talk(first: str) -> bytes:
        messages = [{"role": "system", "content": first}, {"role": "user", "content": "go on"}]
        return codec.encode({"messages": messages, "stream": True})

    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("x"))
        for first in ("be brief", "be long", "be brief"):
            await (await house.send(talk(first))).end()

    assert 2 == len(nano.attempts)


# -- many at once ----------------------------------------------------------------------------------------------------


async def test_many_at_once_are_one(a_house: OpenHouse) -> None:
    """One of them runs; the others hear its text as it comes, each with its own end and its own record."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=go_on("two"))
        nano = await house.device("nano", hold, slots=8)
        streams = [await house.stream("hi", job=f"j-{number}") for number in range(5)]
        late = await house.ask("hi", job="late")
        await until(lambda: all(stream.text == "one " for stream in streams), "all hear it as it comes")
        hold.released.set()
        ends = [await stream.end() for stream in streams]
        body = await late.reply()
        events = [await house.event(f"j-{number}") for number in range(5)]

    assert (1, {"one two"}, "one two") == (len(nano.attempts), {stream.text for stream in streams}, body["text"])
    kinds = [(end.route or {})["cache"].get("kind", "made") for end in ends]
    assert ["attached"] * 4 + ["made"] == sorted(kinds)
    assert {"done"} == {event["state"] for event in events}
    assert "attached" == body["route"]["cache"]["kind"]


async def test_a_leader_that_fails_leaves_its_followers_to_themselves(a_house: OpenHouse) -> None:
    """One of them runs then, from the text that it has told; nothing is told twice."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ")
        nano = await house.device("nano", hold, answer("two"), slots=8)
        leader = await house.stream("hi", job="leader")
        await until(lambda: leader.text == "one ", "the leader runs")
        follower = await house.stream("hi", job="follower")
        await until(lambda: follower.text == "one ", "the follower hears it")
        await house.order("leader", "cancel")
        await leader.error()
        await follower.end()

    assert ("one two", "one ", 2) == (follower.text, leader.text, len(nano.attempts))


async def test_a_follower_that_was_told_nothing_begins_anew(a_house: OpenHouse) -> None:
    """Who waits for the whole answer gets a whole one of one device, and that one is kept."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("half ")
        nano = await house.device("nano", hold, answer("whole"), slots=8)
        leader = await house.ask("hi", job="leader")
        await hold.reached.wait()
        followers = [await house.ask("hi") for _ in range(3)]
        await until(lambda: house.pipeline.running == 4, "all are in the house")
        await house.order("leader", "cancel")
        await leader.reply()
        bodies = [await one.reply() for one in followers]

    assert (["whole"] * 3, 2) == ([body["text"] for body in bodies], len(nano.attempts))


async def test_a_follower_that_leaves_costs_nobody_anything(a_house: OpenHouse) -> None:
    """The leader, and the others, hear their answer to its end."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=go_on("two"))
        await house.device("nano", hold)
        leader, left, stays = [await house.stream("hi", job=name) for name in ("leader", "left", "stays")]
        await until(lambda: stays.text == "one " == left.text, "all hear it")
        await house.order("left", "cancel")
        await left.error()
        hold.released.set()
        await leader.end()
        await stays.end()

    assert ("one two", "one two") == (leader.text, stays.text)


async def test_the_urgent_do_not_wait_behind_the_patient(a_house: OpenHouse) -> None:
    """A batch job that stands in the line is no reason for somebody at a screen to stand there too."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("busy")
        await house.device("nano", hold, answer("fast"), answer("slow"))
        other = await house.stream("something else")
        await hold.reached.wait()
        batch = await house.stream("hi", priority="batch", job="batch")
        await house.waiting(1)
        urgent = await house.stream("hi", priority="interactive", job="urgent")
        await house.waiting(2)
        hold.released.set()
        for stream in (other, urgent, batch):
            await stream.end()

    assert "fast" == urgent.text


async def test_a_followers_deadline_is_its_own(a_house: OpenHouse) -> None:
    """It hears the leader no longer than it asked for."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=go_on("two"))
        await house.device("nano", hold)
        leader = await house.stream("hi")
        await hold.reached.wait()
        hurried = await house.stream("hi", timeout_s=0.3)
        failed = await hurried.error()
        hold.released.set()
        await leader.end()

    assert isinstance(failed.error, errors.DeadlineExceeded)


async def test_a_follower_that_ran_out_of_time_is_no_hit(a_house: OpenHouse) -> None:
    """Its record says that it failed, and nothing of an answer that it got."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=go_on("two"))
        await house.device("nano", hold)
        leader = await house.stream("hi")
        await hold.reached.wait()
        late = await house.stream("hi", job="late", timeout_s=0.3)
        await late.error()
        event = await house.event("late")
        hold.released.set()
        await leader.end()

    assert ("failed", False) == (event["state"], "cache" in event)


async def test_what_a_party_that_left_had_heard_is_glued_to_nothing(a_house: OpenHouse) -> None:
    """Of a follower's two parties the one that watched has left; when the leader fails, the other one gets one whole answer."""
    async with a_house(cache=EXACT) as house:
        hold = Hold(then=stall("abc "))
        nano = await house.device("nano", hold, answer("WHOLE ", "ANSWER"), slots=8)
        leader = await house.ask("hi", job="leader")
        await hold.reached.wait()
        other = await house.ask("hi", job="other")
        watches = await house.stream("hi", job="two")
        await until(lambda: house.pipeline.running == 3, "all are in the house")
        waits = await house.ask("hi", job="two")
        await until(lambda: len(house.pipeline.sharing.audience) == 4, "it is there too")
        house.streams.remove(watches)
        assert house.pipeline.leave("two", watches.inbox, tenant="default")
        hold.released.set()
        await until(lambda: nano.attempts[0]._tokens == 1, "it has begun")
        await house.order("leader", "cancel")
        await leader.reply()
        bodies = [await one.reply() for one in (waits, other)]

    assert ["WHOLE ANSWER"] * 2 == [body["text"] for body in bodies]


async def test_the_followers_of_one_that_can_not_be_answered_don_t_queue_up(a_house: OpenHouse) -> None:
    """When the leader has failed by itself, all of them try at once, and not one after the other."""
    async with a_house(cache=EXACT) as house:
        fails = Hold(then=fail(errors.UnsupportedByModel("no")))
        later = Hold("x")
        nano = await house.device("nano", fails, later, slots=8)
        leader = await house.ask("hi", job="leader")
        await fails.reached.wait()
        followers = [await house.ask("hi") for _ in range(4)]
        await until(lambda: house.pipeline.running == 5, "all are in the house")
        fails.released.set()
        await leader.reply()
        await nano.attempt(5)
        later.released.set()
        bodies = [await one.reply() for one in followers]

    assert (["x"] * 4, 4) == ([body["text"] for body in bodies], nano.most_at_once)


async def test_whoever_comes_to_a_waiting_follower_and_watches_hears_it_live(a_house: OpenHouse) -> None:
    """The same job asked for again, as a stream, beside somebody who waits for the whole."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=Hold("two ", then=go_on("three")))
        await house.device("nano", hold)
        leader = await house.stream("hi", job="leader")
        await hold.reached.wait()
        waits = await house.ask("hi", job="same")
        await until(lambda: house.pipeline.running == 2, "both are in the house")
        watches = await house.stream("hi", job="same")
        await watches.seen(Ack)
        hold.released.set()
        await until(lambda: watches.text == "one two ", "it hears what is said")
        hold._then.released.set()  # type: ignore[union-attr]
        for stream in (leader, watches):
            await stream.end()
        body = await waits.reply()

    assert "one two three" == body["text"] == watches.text


async def test_requests_with_tools_are_not_heard_by_each_other(a_house: OpenHouse) -> None:
    """A call that two agents hear would be made twice; each gets its own."""
    tools = [{"type": "function", "function": {"name": "pay", "parameters": {}}}]
    async with a_house(cache=EXACT) as house:
        hold = Hold(then=answer(tool_calls=(ToolCall(name="pay"),)))
        nano = await house.device("nano", hold, slots=8)
        streams = [await house.stream("hi", tools=tools) for _ in range(2)]
        await nano.attempt(2)
        hold.released.set()
        for stream in streams:
            await stream.end()

    assert 2 == len(nano.attempts)


async def test_a_store_that_breaks_fails_no_job(a_house: OpenHouse) -> None:
    """What it raises that nobody expected is logged; the job was answered, and is."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("x"))

        async def broken(*_: object) -> None:
            raise ValueError("boom")

        store: Any = house.pipeline.cache.shelter._answers
        store.put = store.get = broken
        for _ in range(2):
            await (await house.stream("hi")).end()

    assert 2 == len(nano.attempts)


async def test_a_cancel_behind_the_end_changes_nothing(a_house: OpenHouse) -> None:
    """While a told answer is being kept its job is over: followers have it, and the record is whole."""
    async with a_house(cache=EXACT) as house:
        store: Any = house.pipeline.cache.shelter._answers
        put, keeping, kept = store.put, asyncio.Event(), asyncio.Event()

        async def slow(entry: Entry) -> None:
            keeping.set()
            await kept.wait()
            await put(entry)

        store.put = slow
        hold = Hold("one ", then=go_on("two"))
        nano = await house.device("nano", hold, slots=8)
        leader = await house.stream("hi", job="leader")
        follower = await house.stream("hi", job="follower")
        await until(lambda: follower.text == "one ", "it hears")
        hold.released.set()
        await keeping.wait()
        await house.world.publish(house.subjects.control("leader", "cancel"), b"{}", reply=house.world.new_inbox())
        await follower.end()
        kept.set()
        await leader.end()
        event = await house.event("leader")

    assert ("one two", "done", 1, 1) == (follower.text, event["state"], event["attempts"], len(nano.attempts))


async def test_a_job_that_was_attached_can_be_asked_for_and_reported(a_house: OpenHouse) -> None:
    """Its own id names the answer that it heard; so does that of the job that made it."""
    async with a_house(cache=EXACT) as house:
        hold = Hold("one ", then=go_on("two"))
        await house.device("nano", hold, slots=8)
        first = await house.stream("hi", job="first-job")
        second = await house.stream("hi", job="second-job")
        await until(lambda: second.text == "one ", "it hears")
        hold.released.set()
        for stream in (first, second):
            await stream.end()
        why = await house.order("second-job", "why")
        await until(lambda: not len(house.pipeline.cache.flights), "the answer is kept")
        told = [await desk(house, "report", id=name) for name in ("second-job", "first-job")]

    assert "attached" == why["cache"]["kind"]
    assert [1, 0] == [len(one["removed"]) for one in told]


async def test_replay_at_reading_speed(a_house: OpenHouse) -> None:
    """By option a kept answer comes as devices speak, piece by piece; together the pieces are the answer."""
    text = "The sky is blue because small molecules scatter short waves more than long ones. " * 3
    async with a_house(cache=CacheSection(mode="exact", replay_chars_s=2000.0)) as house:
        await house.device("nano", answer(text))
        await (await house.stream("hi")).end()
        again = await house.stream("hi")
        await again.end()

    assert text == again.text
    assert 5 < sum(isinstance(frame, Token) for frame in again.frames)


# -- operators -------------------------------------------------------------------------------------------------------


async def test_the_desk(a_house: OpenHouse) -> None:
    """Figures, entries, one entry with its answer, forgetting: of one tenant or of all."""
    async with a_house(cache=EXACT) as house:
        await house.device("nano", answer("Paris"))
        for tenant in ("a", "a", "b"):
            await (await house.send(codec.encode({"prompt": "capital?", "stream": True}), tenant=tenant)).end()
        stats = await desk(house, "stats")
        listed = await desk(house, "show")
        mine = await desk(house, "show", "a")
        one = await desk(house, "show", "a", id=mine["entries"][0]["id"])
        foreign = await desk(house, "show", "b", id=mine["entries"][0]["id"])
        own, nobody = await desk(house, "stats", "b"), await desk(house, "stats", "nobody")
        gone = await desk(house, "purge", "a")
        left = await desk(house, "stats")

    assert (1, 2, 2, "open") == (
        stats["counts"]["exact"], stats["counts"]["miss"], stats["store"]["entries"], stats["store"]["state"],
    )  # fmt: skip
    assert (2, [("a", "capital?", 1)]) == (
        len(listed["entries"]), [(entry["tenant"], entry["question"], entry["hits"]) for entry in mine["entries"]],
    )  # fmt: skip
    assert ("Paris", "nano") == (one["text"], one["receipt"]["device"])
    assert "unknown_job" == foreign["error"]["code"]
    assert (1, 1) == (gone["removed"], left["store"]["entries"])
    assert (0, 1, 1) == (own["counts"]["exact"], own["counts"]["miss"], own["store"]["entries"])
    assert (0, 0, 0) == (nobody["counts"]["exact"], nobody["counts"]["miss"], nobody["store"]["entries"])
    assert not {"tenants", "index"} & set(own)


async def test_a_job_that_was_not_run_tells_whose_answer_it_got(a_house: OpenHouse) -> None:
    """Who asks why a job went where it went hears of the cache; of another tenant's job nothing is told."""
    async with a_house(cache=EXACT) as house:
        await house.device("nano", answer("Paris"))
        for name in ("made", "given"):
            await (await house.stream("capital?", job=name)).end()
        told = await house.order("given", "why")
        subject = house.subjects.control("given", "why")
        foreign = await house.world.request(subject, b'{"tenant":"b"}', timeout_s=PATIENCE_S)

    assert ("hit", "made", "default") == (told["cache"]["outcome"], told["cache"]["source"]["job"], told["tenant"])
    assert "unknown_job" == codec.decode(foreign.data)["error"]["code"]


@pytest.mark.parametrize("body", [{"id": "abc"}, {"id": 7}, {}, {"id": "f" * 65}])
async def test_a_report_must_name_an_entry(a_house: OpenHouse, body: dict[str, Any]) -> None:
    """What is none is refused, by name."""
    async with a_house(cache=EXACT) as house:
        told = await desk(house, "report", **body)

    assert ("bad_request", "id") == (told["error"]["code"], told["error"]["details"]["param"])


async def test_a_wrong_answer_is_reported_by_its_job(a_house: OpenHouse) -> None:
    """Whoever got it names the job; it is forgotten, and the question runs again."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("wrong"), answer("right"))
        await (await house.stream("hi")).end()
        await (await house.stream("hi", job="got-it")).end()
        told = await desk(house, "report", "default", id="got-it")
        again = await house.stream("hi")
        await again.end()

    assert (1, "right", 2) == (len(told["removed"]), again.text, len(nano.attempts))


async def test_explain_tells_what_the_cache_would_do(a_house: OpenHouse) -> None:
    """Without a trace: no hit is counted, and nothing runs."""
    async with a_house(cache=EXACT) as house:
        nano = await house.device("nano", answer("x"))
        before = await _explained(house)
        await (await house.stream("hi")).end()
        after = await _explained(house)
        told = await desk(house, "stats")

    assert ("miss", "hit", 0, 1) == (
        before["cache"]["outcome"], after["cache"]["outcome"], told["counts"]["exact"], len(nano.attempts),
    )  # fmt: skip


async def _explained(house: House) -> dict[str, Any]:
    subject = house.subjects.work("route", "default")
    return codec.decode((await house.world.request(subject, b'{"prompt":"hi"}', timeout_s=PATIENCE_S)).data)


async def _give_up(attempt: Attempt) -> None:
    await attempt.fail(errors.BackendError("out of memory"))
