"""What the page's streams are told, by what each of them knows already; no socket, no loop."""

from __future__ import annotations

from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, MemoryBus
from common.durable_backlog import Backlog
from common.errors import BadRequest, BusDisconnected, FleetError
from common.frames import Phase
from common.keys import Scope
from common.messages import Heartbeat, ModelInfo, Speed
from common.running import Running, RunningJob
from common.subjects import Subjects
from dispatcher.bridge.backlog import Untaken
from dispatcher.bridge.callers import Caller, Jobs, Part
from dispatcher.bridge.live.devices import MOST_GONE, Boards, DeviceBoard
from dispatcher.bridge.live.endings import Ending, ended_card, read_ending
from dispatcher.bridge.live.feed import Feed, Sources
from dispatcher.bridge.live.jobs import ECHO_S, MOST_OVER, JobBook
from dispatcher.bridge.live.queue import SILENT_S, Queue, sums
from dispatcher.bridge.live.routes import wanted
from dispatcher.bridge.live.writing import Behind, Latest
from dispatcher.bridge.presence import Presence
from dispatcher.roster import Roster
from tests.answers import HandClock

SUBJECTS = Subjects()
EVERYBODY = Jobs()


def read(event: bytes) -> dict[str, Any]:
    """Give what an event says."""
    return codec.decode(event.split(b"data: ", 1)[1])


class Fleet:
    """Devices that are heard, a clock, and their board."""

    def __init__(self) -> None:
        self.clock = HandClock()
        roster = Roster(forget_after_s=60.0)
        self.presence = Presence(MemoryBus(MemoryBroker()), SUBJECTS, roster, self.clock)
        self.board = DeviceBoard(self.presence)
        self._beats = 0

    def beat(self, *names: str, **fields: Any) -> None:
        for name in names:
            self._beats += 1
            usual = {"models": (ModelInfo(name="tiny", loaded=True, expires_unix_s=5.0),)}
            beat = Heartbeat(**{"device": name, "boot": "b1", "seq": self._beats, **usual, **fields})
            self.presence.hear(Delivery(SUBJECTS.heartbeat(name), codec.encode(codec.plain(beat))))

    def since(self, version: int) -> dict[str, Any]:
        """Look, and give what a stream is told that knows a version."""
        self.board.look()
        return read(self.board.since(version))


def names(told: dict[str, Any]) -> list[str]:
    return [card["name"] for card in told["devices"]]


def test_a_board_tells_all_and_then_what_changed() -> None:
    """One that knows all is told nothing; a device that is forgotten is gone, and one that falls silent is another card."""
    fleet = Fleet()
    empty = fleet.since(-1)
    fleet.beat("nano", "pi")
    whole = fleet.since(-1)
    known = fleet.board.version
    nothing = fleet.board.since(known)
    fleet.beat("nano", temperature_c=60.0)
    hot = fleet.since(known)
    fleet.clock.now_s += 4
    silent = fleet.since(fleet.board.version)
    known = fleet.board.version
    fleet.clock.now_s += 61
    fleet.beat("pi")
    fleet.board.look()
    gone = fleet.since(known)

    assert ({"whole": True, "devices": []}, ["nano", "pi"], b"") == (empty, names(whole), nothing)
    assert (["nano"], 60.0) == (names(hot), hot["devices"][0]["temperature_c"])
    assert {"suspect"} == {card["liveness"] for card in silent["devices"]}
    assert (["pi"], ["nano"]) == (names(gone), gone["gone"])


def test_a_heartbeat_that_changes_nothing_tells_its_moment() -> None:
    """Whole cards each second, for all devices and all pages, would say nothing new."""
    fleet = Fleet()
    fleet.beat("nano", "pi", uptime_s=1.0)
    fleet.board.look()
    known = fleet.board.version
    fleet.clock.now_s += 1
    fleet.beat("nano", uptime_s=2.0)
    told = fleet.since(known)

    assert {"devices": [], "seen": {"nano": fleet.clock.now_s}} == told
    assert {"nano": fleet.clock.now_s, "pi": fleet.clock.now_s - 1} == {
        card["name"]: card["seen_unix_s"] for card in fleet.since(-1)["devices"]
    }


def test_a_slow_stream_is_told_what_is_so_now() -> None:
    """However much happened meanwhile: each device once, and those in step are told with the same bytes."""
    fleet = Fleet()
    fleet.beat("nano", "pi")
    fleet.board.look()
    slow = Behind(fleet.board.since, lambda: fleet.board.version)
    quick = Behind(fleet.board.since, lambda: fleet.board.version)
    slow.news()
    for degrees in range(50):
        fleet.beat("nano", temperature_c=float(degrees))
        fleet.board.look()
        quick.news()
    fleet.beat("pi", temperature_c=1.0)
    fleet.board.look()
    known = fleet.board.version

    told = read(slow.news())
    assert {"nano": 49.0, "pi": 1.0} == {card["name"]: card["temperature_c"] for card in told["devices"]}
    assert (["pi"], b"", b"") == (names(read(quick.news())), quick.news(), slow.news())
    assert fleet.board.since(known - 1) is fleet.board.since(known - 1)


def test_too_many_names_that_are_gone_cost_the_whole_list() -> None:
    """They are not kept for ever."""
    fleet = Fleet()
    fleet.beat(*(f"d{number}" for number in range(MOST_GONE + 1)))
    fleet.board.look()
    known = fleet.board.version
    fleet.clock.now_s += 61
    fleet.board.look()  # found dead
    told = fleet.since(known)

    assert (True, []) == (told["whole"], told["devices"])


def test_many_devices_are_looked_at_less_often() -> None:
    """Of a thousand the cards would take a good part of a core."""
    fleet = Fleet()
    boards = Boards(fleet.presence)
    boards.want(None, 1)
    few = boards.every_s
    fleet.beat(*(f"d{number}" for number in range(500)))
    boards.look()

    assert (1.0, 5.0) == (few, boards.every_s)


def test_a_board_of_a_part_tells_of_that() -> None:
    """Of the devices that fit, with the models that do; what does not any more is gone, and the rest of the fleet is no news."""
    fleet = Fleet()
    fleet.beat("nano", "pi", speeds={"tiny": Speed(jobs=1)})
    boards, lab, big = Boards(fleet.presence), Part(devices=("n*",)), Part(models=("llama*",))
    for part in (lab, big, lab):
        boards.want(part, 1)
    first, nothing = read(boards.of(lab).since(-1)), read(boards.of(big).since(-1))
    known = boards.of(lab).version
    fleet.beat("pi", temperature_c=60.0)
    fleet.beat("pi", models=(ModelInfo(name="tiny"), ModelInfo(name="llama3")), speeds={"tiny": Speed(jobs=1)})
    boards.look()
    grown, known_big = read(boards.of(big).since(0)), boards.of(big).version
    fleet.beat("pi")
    boards.look()

    assert (["nano"], [], b"") == (names(first), names(nothing), boards.of(lab).since(known))
    assert [("pi", ["llama3:latest"], {})] == [
        (card["name"], [model["name"] for model in card["models"]], card["speeds"]) for card in grown["devices"]
    ]
    assert ["pi"] == read(boards.of(big).since(known_big))["gone"]


def test_a_board_that_nobody_looks_at_is_dropped() -> None:
    """As long as one does it is the same."""
    boards, lab = Boards(Fleet().presence), Part(devices=("n*",))
    boards.want(lab, 1)
    board = boards.of(lab)
    boards.want(lab, 1)
    boards.want(lab, -1)

    assert boards.of(lab) is board
    boards.want(lab, -1)
    boards.want(lab, 1)
    assert boards.of(lab) is not board


# -- jobs ------------------------------------------------------------------------------------------------------------------------


def job(name: str, tenant: str = "acme", **fields: Any) -> RunningJob:
    usual: dict[str, Any] = {"state": "running", "phase": Phase.DECODE, "kind": "chat", "asked_model": "auto"}
    return RunningJob(**{"id": name, "tenant": tenant, "queued_unix_s": 100.0, **usual, **fields})


def has(*jobs: RunningJob, dispatcher: str = "one", **fields: Any) -> Running:
    return Running(dispatcher=dispatcher, jobs=jobs, **fields)


def ending(name: str, tenant: str = "acme", **fields: Any) -> Ending:
    return Ending(**{"job": name, "tenant": tenant, "state": "done", "total_s": 2.0, **fields})


def told(book: JobBook, version: int = -1, seen: Jobs = EVERYBODY) -> dict[str, str]:
    """Give the states that a stream is told."""
    event = book.since(version, seen)
    return {one["id"]: one["state"] for one in read(event)["jobs"]} if event else {}


def at(book: JobBook) -> int:
    assert book.version is not None
    return book.version


def test_a_book_says_nothing_before_anybody_has_told_anything() -> None:
    """No jobs would be a statement."""
    book = JobBook()
    before = book.version
    book.take(has(), 0.0)

    assert (None, 0, {"whole": True, "jobs": []}) == (before, book.version, read(book.since(-1, EVERYBODY)))


def test_a_job_is_told_when_it_changes_and_when_it_ends() -> None:
    """An answer that was under way does not bring it back, and a newcomer is told of what runs alone."""
    book = JobBook()
    book.take(has(job("a", phase=Phase.PREFILL), job("b")), 0.0)
    first, known = told(book), at(book)
    book.take(has(job("a"), job("b")), 1.0)
    second, known = told(book, known), at(book)
    book.end(ending("a"), 1.5, 102.0)
    third = told(book, known)
    book.take(has(job("a"), job("b")), 2.0)

    assert ({"a": "running", "b": "running"}, {"a": "running"}, {"a": "done"}) == (first, second, third)
    assert ({"a": "done"}, {"b": "running"}) == (told(book, known), told(book))
    book.take(has(job("a"), job("b")), 1.5 + ECHO_S)
    assert {"a": "running", "b": "running"} == told(book)  # the id came again


def test_a_job_that_is_missed_twice_is_gone() -> None:
    """Once it may have ended a moment ago; where a list is cut short it says nothing of those that are not on it, and where
    another dispatcher has the job, the first one's list does not."""
    book = JobBook()
    book.take(has(job("a"), job("b"), job("c")), 0.0)
    book.take(has(job("c"), dispatcher="two"), 0.5)
    book.take(has(job("b"), more=True), 1.0)
    book.take(has(job("b")), 2.0)
    once = told(book)
    known = at(book)
    book.take(has(job("b")), 3.0)

    assert ({"a", "b", "c"}, {"a": "gone"}) == (set(once), told(book, known))
    book.silent("two", 4.0)
    assert {"b": "running"} == told(book)


def test_each_is_told_of_its_own_jobs() -> None:
    """Of those of a tenant, or of one user in it; and nothing at all where only others' changed."""
    book = JobBook()
    book.take(has(job("a-me"), job("b-you"), job("c-me", tenant="other")), 0.0)
    known = at(book)
    book.end(ending("b-you"), 1.0, 102.0)

    assert {"a-me": "running"} == told(book, seen=Jobs("acme", "-me"))
    assert {"a-me"} == set(told(book, seen=Jobs("acme")))
    assert (b"", {"b-you": "done"}) == (book.since(known, Jobs("acme", "-me")), told(book, known, Jobs("acme")))


def test_ends_are_kept_for_slow_streams_up_to_a_bound() -> None:
    """One that missed more is told all that runs anew."""
    book = JobBook()
    book.take(has(job("a")), 0.0)
    known = at(book)
    for number in range(MOST_OVER):
        book.end(ending(f"e{number}"), 1.0, 102.0)
    within = read(book.since(known, EVERYBODY))
    book.end(ending("last"), 1.0, 102.0)
    beyond = read(book.since(known, EVERYBODY))

    assert (MOST_OVER, False) == (len(within["jobs"]), "whole" in within)
    assert (["a"], True) == ([one["id"] for one in beyond["jobs"]], beyond["whole"])


def test_an_end_stands_on_the_subject_of_its_job() -> None:
    """What comes on another's, or can't be read, is no end of anything."""
    body = codec.encode({"job": "a", "tenant": "acme", "state": "done", "total_s": 1.0, "decision": {"x": 1}})
    assert "a" == read_ending(Delivery(SUBJECTS.job_event("done", "a"), body)).job
    for subject, data in ((SUBJECTS.job_event("done", "b"), body), (SUBJECTS.job_event("done", "a"), b'{"job":"a"}')):
        with pytest.raises(BadRequest):
            read_ending(Delivery(subject, data))


def test_an_end_of_which_nothing_was_known_has_its_times() -> None:
    """By the bridge's clock, and the durations that the event tells."""
    card = ended_card(ending("a", first_token_s=0.5, error="deadline", state="failed", energy={"joules": -1}), {}, 50.0)

    assert (48.0, 48.5, 50.0, "deadline", False) == (
        card["queued_unix_s"],
        card["first_token_unix_s"],
        card["ended_unix_s"],
        card["error_code"],
        "joules" in card,
    )


# -- the queue, and what is asked for --------------------------------------------------------------------------------------------


def test_the_queue_is_the_sum_of_all_lines() -> None:
    """Of dispatchers that still say something; what is waited for is told only to who sees the fleet."""
    queue = Queue()
    nothing = queue.told(Part())
    queue.take(Running(dispatcher="one", running=5, waiting=2, queue_limit=10, waiting_by_model={"auto": 2}), 0.0)
    queue.take(Running(dispatcher="two", running=1, waiting=1, queue_limit=10, waiting_by_model={"auto": 1}), SILENT_S)
    both = read(queue.told(None))
    silent = queue.sweep(SILENT_S + 1)

    assert (b"", {"waiting": 3, "running": 3, "limit": 20, "dispatchers": 2}) == (nothing, both)
    assert ({"one"}, {"auto": 1}) == (silent, read(queue.told(Part()))["by_model"])
    assert {"waiting": 0, "running": 0, "limit": 0, "dispatchers": 0} == sums([], None)


def test_what_lies_in_the_durable_queue_is_told_beside_it() -> None:
    """Also while no dispatcher says anything, once they have had the time to; and left out where nobody knows."""
    queue, lies = Queue(), Backlog(waiting=3, oldest_unix_s=100.0)
    queue.lie(lies)
    first = queue.told(None)
    queue.lie(lies)
    alone = read(queue.told(None))
    queue.take(Running(dispatcher="one", waiting=2), 0.0)
    both = read(queue.told(None))
    queue.lie(None)

    assert (b"", {"waiting": 3, "oldest_unix_s": 100.0}, 0) == (first, alone["durable"], alone["dispatchers"])
    assert (2, 3, False) == (both["waiting"], both["durable"]["waiting"], "durable" in read(queue.told(None)))


def test_who_sees_a_part_is_told_what_waits_for_that() -> None:
    """And how many wait in all, as everybody is."""
    line = Running(
        dispatcher="one", waiting=3, waiting_by_model={"tiny": 2, "large": 1}, waiting_by_device={"nano": 1, "pi": 1}
    )
    told = [sums([line], part) for part in (Part(models=("tiny*",)), Part(devices=("nano",)))]

    assert [({"tiny": 2}, {"nano": 1, "pi": 1}), ({"tiny": 2, "large": 1}, {"nano": 1})] == [
        (one["by_model"], one["by_device"]) for one in told
    ]
    assert {3} == {one["waiting"] for one in told}


def test_what_is_told_whole_is_told_when_it_differs() -> None:
    """And not again."""
    now = [b"", b"a", b"a", b"b"]
    latest = Latest(lambda: now.pop(0))

    assert [b"", b"a", b"", b"b"] == [latest.news() for _ in range(4)]


def test_what_is_asked_for_must_be_there() -> None:
    """Devices and jobs are left out for who may not see them; a word that names no events is refused with those that there are."""
    everything, nothing = Caller(tenant="acme"), Caller(tenant="acme", scopes=frozenset())
    chats, sees, asks = (
        Caller(tenant="acme", scopes=frozenset({one})) for one in (Scope.CHAT, Scope.FLEET, Scope.ROUTE)
    )

    assert ("fleet", "devices", "jobs", "queue") == wanted(None, everything)
    assert (("jobs", "fleet"), ()) == (wanted("jobs,fleet,jobs", everything), wanted("devices,jobs", nothing))
    assert [("fleet", "jobs", "queue"), ("fleet", "devices", "jobs", "queue"), ("fleet", "queue")] == [
        wanted(None, caller) for caller in (chats, sees, asks)
    ]
    with pytest.raises(BadRequest, match="only=fleet,devices,jobs,queue"):
        wanted("weather", everything)


class HalfDeaf(MemoryBus):
    """A bus that goes away between the first subscription and the second; it counts those that are held."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker())
        self.held = 0

    async def subscribe(self, *args: Any, **options: Any) -> Any:
        if self.held:
            raise BusDisconnected("gone")
        self.held += 1
        return self

    async def unsubscribe(self) -> None:
        self.held -= 1


async def test_a_feed_that_can_not_hear_all_holds_nothing() -> None:
    """It is begun again each second for as long as there is no bus: what one run had subscribed would stay for ever."""
    bus, presence, clock = HalfDeaf(), Fleet().presence, HandClock()
    untaken = Untaken(bus, SUBJECTS, clock)
    feed = Feed(Sources(bus=bus, subjects=SUBJECTS, presence=presence, untaken=untaken, clock=clock))
    with pytest.raises(FleetError, match="gone"):
        await feed.run()

    assert 0 == bus.held
