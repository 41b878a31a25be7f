"""Affinity: a conversation is found where its beginning was read, as long as the engine can still have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import Message, Role, ToolCall
from dispatcher.fleet import Fleet, Liveness
from dispatcher.roster import Change, DeviceEvent
from dispatcher.router.affinity import MOST_PLACES, Affinity, goes_on
from dispatcher.routing.warmth import LEAST_TOKENS, MOST_BEGINNINGS, Trail, Warmth, answered, trail
from tests.unit.dispatcher.builders import device, fleet, model

MODEL = "llama3.2:1b"
NANO, ORIN = ("nano", MODEL), ("orin", MODEL)
FLEET = fleet(device("nano"), device("orin", slots=2))


def said(*texts: str) -> tuple[Message, ...]:
    """A conversation: the user first, then in turns, each text long enough to count."""
    return tuple(
        Message(role=Role.ASSISTANT if number % 2 else Role.USER, content=f"{text} {'.' * 80}")
        for number, text in enumerate(texts)
    )


def noted(affinity: Affinity, place: tuple[str, str], *texts: str, of: str = "alice", there: Fleet = FLEET) -> None:
    """Have a conversation been read there."""
    affinity.note(place, trail(of, said(*texts)).names, tenant=of, fleet=there)


def warm(affinity: Affinity, *texts: str, of: str = "alice") -> dict[str, int]:
    """Where a conversation is warm, and how many of its messages."""
    one = trail(of, said(*texts))
    return {found.device: list(map(int, one.tokens)).index(found.tokens) + 1 for found in affinity.warm(one)}


def test_the_next_turn_finds_what_was_read() -> None:
    """A longer conversation, the same one again, and another branch of it: each is warm as far as it is the same."""
    affinity = Affinity()
    noted(affinity, NANO, "a", "b", "c")

    assert {"nano": 3} == warm(affinity, "a", "b", "c", "d", "e") == warm(affinity, "a", "b", "c")
    assert {"nano": 2} == warm(affinity, "a", "b", "another question")
    assert {} == warm(affinity, "another beginning", "b", "c")


def test_the_answer_is_warm_where_the_client_repeats_it() -> None:
    """White space around it does not matter; a client that changed it has the turns before it."""
    affinity, begun = Affinity(), said("a")
    affinity.note(NANO, answered(trail("alice", begun).names, "Rayleigh. " * 20), tenant="alice", fleet=FLEET)

    def after(text: str) -> int:
        next_turn = (*begun, Message(role=Role.ASSISTANT, content=text), Message(role=Role.USER, content="And?"))
        one = trail("alice", next_turn)
        return list(map(int, one.tokens)).index(affinity.warm(one)[0].tokens) + 1

    assert (2, 2, 1) == (after("Rayleigh. " * 20), after(("Rayleigh. " * 20).strip()), after("Mie."))


def test_nobody_finds_what_another_one_asked() -> None:
    """Neither another tenant nor another user of the same tenant."""
    affinity = Affinity()
    noted(affinity, NANO, "a", "b", "c", of="alice\0ann")

    assert ({}, {}, {"nano": 3}) == tuple(
        warm(affinity, "a", "b", "c", of=one) for one in ("alice", "alice\0bob", "alice\0ann")
    )


def test_another_conversation_takes_the_slot() -> None:
    """A device with one slot has the last conversation alone; with two, the last two."""
    affinity = Affinity()
    for place in (NANO, ORIN):
        for begun in "abc":
            noted(affinity, place, begun, "x")

    assert [{}, {"orin": 2}, {"orin": 2, "nano": 2}] == [warm(affinity, begun, "x") for begun in "abc"]


def test_a_conversation_that_goes_on_takes_its_own_slot() -> None:
    """It costs no other one its place; one that shares a beginning overwrites the rest, as engines do."""
    affinity = Affinity()
    noted(affinity, ORIN, "a", "b", "c")
    noted(affinity, ORIN, "z")
    noted(affinity, ORIN, "a", "b", "c", "d", "e")
    both = warm(affinity, "a", "b", "c", "d", "e"), warm(affinity, "z")
    noted(affinity, ORIN, "a", "b", "other")

    assert ({"orin": 5}, {"orin": 1}) == both
    assert ({"orin": 2}, {"orin": 1}) == (warm(affinity, "a", "b", "c", "d", "e"), warm(affinity, "z"))


def test_what_is_not_known_takes_a_slot_too() -> None:
    """An attempt that failed or was overtaken has left something there."""
    affinity = Affinity()
    noted(affinity, NANO, "a", "b")
    affinity.note(NANO, (), tenant="alice", fleet=FLEET)

    assert {} == warm(affinity, "a", "b")


def test_a_model_that_was_loaded_anew_has_forgotten() -> None:
    """What was read before the load is gone; what the load was for is there."""
    affinity = Affinity()
    noted(affinity, ORIN, "a", "b")
    affinity.note(ORIN, trail("alice", said("c")).names, tenant="alice", fleet=FLEET, loaded=True)

    assert ({}, {"orin": 1}) == (warm(affinity, "a", "b"), warm(affinity, "c"))


def test_heartbeats_end_it() -> None:
    """Another boot, a model that left memory or came back with another context, a device that is lost; not its mere jobs."""
    nano = device("nano", model(loaded_context_tokens=4096))
    events = {
        "busy": (Change.ROOM, replace(nano, own=1)),
        "suspect": (Change.SUSPECT, replace(nano, liveness=Liveness.SUSPECT)),
        "restarted": (Change.RESTARTED, device("nano", boot="boot-2")),
        "unloaded": (Change.ROOM, device("nano", model(loaded=False))),
        "other context": (Change.ROOM, device("nano", model(loaded_context_tokens=8192))),
        "removed": (Change.CHANGED, device("nano", model("qwen2.5:7b"))),
        "lost": (Change.LOST, replace(nano, liveness=Liveness.DEAD)),
        "forgotten": (Change.FORGOTTEN, nano),
    }
    left = {}
    for what, (change, now) in events.items():
        affinity = Affinity()
        noted(affinity, NANO, "a", there=fleet(nano))
        affinity.hear(DeviceEvent(change, now))
        left[what] = bool(warm(affinity, "a")), len(affinity), affinity.places

    assert (True, 1, 1) == left.pop("busy") == left.pop("suspect")
    assert {(False, 0, 0)} == set(left.values())


def test_a_heartbeat_from_before_the_load_ends_nothing() -> None:
    """The model is told to be in memory one heartbeat later, with its context; from then on both count."""
    affinity, before = Affinity(), device("nano", model(loaded=False))
    affinity.note(NANO, trail("alice", said("a")).names, tenant="alice", fleet=fleet(before), loaded=True)
    known = []
    for there in (model(loaded=False), model(loaded_context_tokens=8192), model(loaded_context_tokens=4096)):
        affinity.hear(DeviceEvent(Change.ROOM, device("nano", there)))
        known.append(warm(affinity, "a"))

    assert [{"nano": 1}, {"nano": 1}, {}] == known


def test_a_tenant_that_asks_much_pushes_nobody_out() -> None:
    """Of what is too much the tenant with most loses its oldest; who has less keeps all."""
    wide = fleet(device("nano", slots=64), device("orin", slots=64))
    affinity = Affinity(most=40)
    noted(affinity, ORIN, "mine", "b", "c", there=wide)
    for number in range(60):
        noted(affinity, NANO, f"much {number}", of="eve", there=wide)

    assert {"orin": 3} == warm(affinity, "mine", "b", "c")
    assert ({}, {"nano": 1}) == (warm(affinity, "much 0", of="eve"), warm(affinity, "much 59", of="eve"))
    assert 40 == len(affinity)


def test_names_tell_all_that_an_engine_reads() -> None:
    """Who speaks, what is called with what, pictures and tools; not the ids of calls, nor white space around a text."""

    def name(message: Message, tools: Sequence[dict[str, object]] = ()) -> int:
        return trail("alice", (message,), tools).names[-1]

    plain = Message(role=Role.USER, content="hi")
    call = Message(role=Role.ASSISTANT, tool_calls=(ToolCall(name="look", arguments={"at": 1}, id="one"),))
    others = (
        replace(plain, role=Role.SYSTEM), replace(plain, content="ho"), replace(plain, images=("aGVsbG8=",)), call,
        replace(call, tool_calls=(ToolCall(name="look", arguments={"at": 2}),)),
    )  # fmt: skip

    assert name(plain) == name(replace(plain, content=" hi\n"))
    assert name(call) == name(replace(call, tool_calls=(ToolCall(name="look", arguments={"at": 1}, id="two"),)))
    assert 7 == len({name(plain), name(plain, [{"type": "function"}]), *map(name, others)})


def test_only_later_turns_go_on() -> None:
    """A first question has no answer before it."""
    assert (False, True) == (goes_on(said("a")), goes_on(said("a", "b", "c")))


# -- against a plain model of the same ----------------------------------------------------------------------------------

TALK = st.lists(st.sampled_from("ab"), min_size=1, max_size=5).map("".join)
EVENTS = st.one_of(
    st.tuples(st.just("note"), st.sampled_from(["nano", "orin", "pi"]), st.sampled_from(["alice", "bob"]), TALK),
    st.tuples(st.sampled_from(["unloaded", "loaded"]), st.sampled_from(["nano", "orin"]), st.just("alice"), TALK),
)
SLOTS = {"nano": 1, "orin": 2}


def name_of(of: str, talk: str) -> tuple[int, ...]:
    """Names of all beginnings of a talk, the same in each run."""
    return tuple(hash((of, talk[:end])) for end in range(1, len(talk) + 1))


def common(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=25))
def test_the_tracker_is_what_the_slots_would_hold(events: list[tuple[str, str, str, str]]) -> None:
    """After any sequence of jobs, loads and unloads a conversation is warm exactly where a slot's text begins like it: never
    for another tenant, never beyond the slots, never on a device that is not there; and what is forgotten leaves no trace."""
    affinity, there = Affinity(), fleet(*(device(name, slots=slots) for name, slots in SLOTS.items()))
    slots: dict[str, list[tuple[str, str]]] = {name: [] for name in SLOTS}
    for what, name, of, talk in events:
        if what == "unloaded":
            affinity.hear(DeviceEvent(Change.ROOM, device(name, model(loaded=False), slots=SLOTS[name])))
            slots[name] = []
            continue
        affinity.note((name, MODEL), name_of(of, talk), tenant=of, fleet=there, loaded=what == "loaded")
        if name not in slots:
            continue
        affinity.hear(DeviceEvent(Change.ROOM, there.devices[name]))
        held = [] if what == "loaded" else slots[name]
        shared = [common(talk, text) if of == whose else 0 for whose, text in held]
        if any(shared):
            held = [one for number, one in enumerate(held) if number != shared.index(max(shared))]
        slots[name] = [*held[-(SLOTS[name] - 1) :], (of, talk)] if SLOTS[name] > 1 else [(of, talk)]

    for of in ("alice", "bob"):
        for asked in ("aabba", "babab", "aaaaa"):
            one = Trail(name_of(of, asked), tuple(LEAST_TOKENS * end for end in range(1, len(asked) + 1)))
            depth = {
                name: max((common(asked, text) for whose, text in held if whose == of), default=0)
                for name, held in slots.items()
            }
            expected = {Warmth(name, MODEL, LEAST_TOKENS * deep) for name, deep in depth.items() if deep}
            assert expected == set(affinity.warm(one))
    for name in SLOTS:
        affinity.hear(DeviceEvent(Change.FORGOTTEN, there.devices[name]))
    assert (0, 0, {}, {}) == (len(affinity), affinity.places, affinity._by_name, affinity._shares)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["a", "b"]), st.integers(0, 400)), max_size=60),
    st.integers(0, 200),
)
def test_it_never_holds_more_than_it_may(noting: list[tuple[str, str, int]], most: int) -> None:
    """Neither beginnings in all, nor of one conversation, nor places for one."""
    wide, affinity = fleet(*(device(name, slots=9999) for name in "xyz")), Affinity(most=most)
    for name, of, length in noting:
        turns = tuple(Message(role=Role.USER, content=str(at)) for at in range(length % 97))
        affinity.note((name, MODEL), trail(of, turns).names, tenant=of, fleet=wide)
        found = affinity.warm(trail(of, turns))

        assert len(affinity) <= most
        assert len(found) <= MOST_PLACES
    assert all(len(engine[MODEL].slots) <= 64 for engine in affinity._engines.values())
    assert MOST_BEGINNINGS == len(trail("a", said(*map(str, range(97)))).names)
