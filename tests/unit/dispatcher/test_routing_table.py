"""The table: what is kept from decision to decision is what would be built anew, and its filters are those that give reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.messages import DeviceState, Heartbeat
from dispatcher.fleet import Device, Fleet, Liveness, Track, canonical
from dispatcher.routing import Ask, RoutingPolicy, Table, decide
from dispatcher.routing.filters import device_filter, model_filter
from tests.unit.dispatcher.builders import GB, ask, device, fleet, model

MODELS = [
    model(
        name,
        size_bytes=size,
        loaded=loaded,
        capabilities=capabilities,
        context_tokens=context,
        most_context_tokens=most,
        memory_bytes=GB // 2,
    )
    for name, size, loaded, capabilities, context, most in [
        ("m1:1b", GB, True, (), None, None),
        ("m1:1b", GB, False, ("completion",), 200, None),
        ("m2:3b", 3 * GB, False, ("completion", "tools"), 8192, 250),
        ("m2:3b", 3 * GB, True, ("completion", "vision"), 8192, 0),
        ("m3:8b", 9 * GB, False, ("completion", "vision", "tools"), None, 4096),
        ("m4:1b", GB, True, ("embedding",), None, None),
    ]
]


@st.composite
def devices(draw: st.DrawFn, name: str) -> Device:
    models = draw(st.lists(st.sampled_from(MODELS), unique_by=lambda one: one.name, max_size=4))
    beat = Heartbeat(
        device=name,
        boot="boot-1",
        seq=1,
        models=tuple(models),
        state=draw(st.sampled_from(DeviceState)),
        slots=draw(st.integers(0, 3)),
        topics=tuple(draw(st.lists(st.sampled_from(["code", "chat", "odd"]), unique=True, max_size=2))),
        memory_total_bytes=draw(st.sampled_from([None, 2 * GB, 64 * GB])),
        memory_available_bytes=draw(st.sampled_from([None, 0, 64 * GB])),
        temperature_c=draw(st.none() | st.floats(-300, 300)),
    )
    return Device(
        beat,
        {canonical(one.name): one for one in models},
        draw(st.sampled_from(Liveness)),
        draw(st.integers(0, 3)),
        draw(st.integers(0, 3)),
        Track(draw(st.floats(0, 1)), draw(st.none() | st.floats(0, 100))),
        answered=draw(st.frozensets(st.sampled_from([canonical(one.name) for one in MODELS]), max_size=2)),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Fleet]:
    """A fleet as it changes: attempts come and go, devices say new things, join and are forgotten."""
    known: dict[str, Device] = {}
    found = []
    for _ in range(draw(st.integers(1, 6))):
        for name in draw(st.lists(st.sampled_from("abcd"), max_size=3)):
            old = known.get(name)
            match draw(st.sampled_from(["own", "answered", "beat", "gone"])):
                case "own" if old is not None:
                    known[name] = replace(old, own=draw(st.integers(0, 3)))
                case "answered" if old is not None:
                    known[name] = replace(
                        old, answered=frozenset(draw(st.lists(st.sampled_from(list(old.models) or [""]))))
                    )
                case "gone":
                    known.pop(name, None)
                case _:
                    known[name] = draw(devices(name))
        found.append(Fleet(dict(known)))
    return found


QUESTIONS = st.builds(
    ask,
    st.sampled_from(["auto", "m1:1b", "m3:8b", "none:1b"]),
    device=st.sampled_from([None, None, "a", "zz"]),
    tools=st.booleans(),
    images=st.booleans(),
)


@given(histories(), QUESTIONS)
def test_a_table_that_is_kept_says_the_same_as_a_new_one(history: list[Fleet], question: Ask) -> None:
    """However a fleet changes, decisions with a table that followed it equal those with none."""
    table = Table()
    for now in history:
        kept = decide(question, now, RoutingPolicy(), {}, table)
        fresh = decide(question, now, RoutingPolicy(), {})

        assert list(fresh.candidates) == list(kept.candidates)
        assert list(fresh.removed) == list(kept.removed)


@given(st.lists(st.sampled_from("abcd"), unique=True).flatmap(lambda names: st.tuples(*map(devices, names))), QUESTIONS)
def test_candidates_are_those_that_no_filter_takes_out(house: tuple[Device, ...], question: Ask) -> None:
    """The filters over columns let through what the filters in words let through."""
    decision = decide(question, fleet(*house), RoutingPolicy(), {})
    let_through = {
        (one.name, info.name)
        for one in house
        if device_filter(one, pinned=question.device, excluded={}) is None
        for name, info in one.models.items()
        if question.model in {"auto", name} and model_filter(one, info, question.wanted) is None
    }

    assert let_through == {(one.device, one.model) for one in decision.candidates}


def test_a_decision_is_not_changed_by_what_comes_after() -> None:
    """Candidates and reasons that are looked at later are those of the moment of the decision."""
    table, before = Table(), fleet(device("a"), device("b", liveness=Liveness.DEAD))
    decision = decide(ask(), before, RoutingPolicy(), {}, table)
    decide(
        ask(), fleet(device("a", liveness=Liveness.DEAD), device("b", model("other:1b"))), RoutingPolicy(), {}, table
    )

    assert [("a", "llama3.2:1b")] == [(one.device, one.model) for one in decision.candidates]
    assert [("b", "it is dead")] == [(one.device, one.reason) for one in decision.removed]


def test_a_device_whose_figures_overflow_harms_only_itself() -> None:
    """Figures that no arithmetic bears take out that one device, with a reason."""
    odd = device("odd", model("huge:1b", size_bytes=10**400, loaded=False))
    decision = decide(ask(), fleet(odd, device("nano")), RoutingPolicy(), {})

    assert [("nano", "garbled")] == [(decision.candidates[0].device, decision.removed[0].filter)]


def test_an_unchanged_fleet_costs_no_new_columns() -> None:
    """The view of a fleet that did not change is the same one."""
    table, house = Table(), fleet(device("a"), device("b"))

    assert table.view(house) is table.view(house)
    assert np.array_equal(table.view(house).figures, Table().view(house).figures, equal_nan=True)
