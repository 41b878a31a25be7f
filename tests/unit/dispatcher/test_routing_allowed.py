"""Allow-lists that travel with a request: what they close, beside the tenant's, and what those are told who ask for it."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import codec
from common.errors import BadRequest, FleetError, NoDevice, NotAllowed, UnknownModel
from common.fingerprint import fingerprint
from common.messages import ChatRequest
from dispatcher.fleet import Device, Liveness
from dispatcher.outcomes import Decision
from dispatcher.routing import Ask, RoutingPolicy, decide, explain, nobody
from dispatcher.routing.ask import TenantRules
from dispatcher.routing.strategies import STRATEGIES
from tests.unit.dispatcher.builders import ask, device, fleet, model

SMALL, LARGE = model("llama3.2:1b", parameters_b=1.2), model("qwen2.5:7b", parameters_b=7.6)
HOUSE = (device("pi4", SMALL), device("pi5", SMALL, LARGE), device("orin", LARGE))


def asked(
    model: str = "auto", *, device: str | None = None, models: tuple[str, ...] = (), devices: tuple[str, ...] = ()
) -> Ask:
    return replace(ask(model, device=device), tenant="alice", allow_models=models, allow_devices=devices)


def decided(one: Ask, policy: RoutingPolicy = RoutingPolicy(), house: tuple[Device, ...] = HOUSE) -> Decision:  # noqa: B008
    return decide(one, fleet(*house), policy, {})


def refused(one: Ask, house: tuple[Device, ...] = HOUSE) -> FleetError:
    decision = decided(one, house=house)
    assert not decision.candidates
    return nobody(one, decision, fleet(*house))


def used(decision: Decision) -> set[tuple[str, str]]:
    return {(one.device, one.model) for one in decision.candidates}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (asked(), {("pi4", "llama3.2:1b"), ("pi5", "llama3.2:1b"), ("pi5", "qwen2.5:7b"), ("orin", "qwen2.5:7b")}),
        (asked(models=("llama*",)), {("pi4", "llama3.2:1b"), ("pi5", "llama3.2:1b")}),
        (asked(devices=("pi5", "or?n")), {("pi5", "llama3.2:1b"), ("pi5", "qwen2.5:7b"), ("orin", "qwen2.5:7b")}),
        (asked(models=("qwen*",), devices=("pi*",)), {("pi5", "qwen2.5:7b")}),
        (asked("qwen2.5:7b", models=("qwen*", "llama*"), devices=("orin",)), {("orin", "qwen2.5:7b")}),
        (asked(models=("*",), devices=("*",), device="pi4"), {("pi4", "llama3.2:1b")}),
    ],
)
def test_a_request_gets_what_its_lists_allow(one: Ask, expected: set[tuple[str, str]]) -> None:
    """Patterns name models and devices; empty lists allow all."""
    assert expected == used(decided(one))


def test_the_tenant_and_the_request_must_both_allow_it() -> None:
    """Neither list opens what the other one closes, and each is told by its own name."""
    policy = RoutingPolicy(tenants={"alice": TenantRules(models=("qwen*",))})
    decision = decided(asked(devices=("pi*",)), policy)

    assert {("pi5", "qwen2.5:7b")} == used(decision)
    assert {("orin", None, "allow_list"), ("pi4", "llama3.2:1b", "tenant"), ("pi5", "llama3.2:1b", "tenant")} == {
        (out.device, out.model, out.filter) for out in decision.removed
    }


NAMES = st.sampled_from(["a1", "a2", "b1", "b2", "c1"])
PATTERNS = st.lists(st.sampled_from(["a*", "b*", "?1", "c1", "[ab]2", "*", "x*"]), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    house=st.dictionaries(NAMES, st.sets(NAMES, min_size=1, max_size=3), min_size=1, max_size=5),
    models=PATTERNS,
    devices=PATTERNS,
    tenant=st.none() | st.tuples(PATTERNS, PATTERNS),
    strategy=st.sampled_from(sorted(STRATEGIES)),
)
def test_no_strategy_ever_leaves_the_lists(
    house: dict[str, set[str]],
    models: tuple[str, ...],
    devices: tuple[str, ...],
    tenant: tuple[tuple[str, ...], tuple[str, ...]] | None,
    strategy: str,
) -> None:
    """Whatever is chosen fits both lists; whatever fits both, on a sound device, is among the candidates; the rest has a reason."""

    def fits(name: str, patterns: tuple[str, ...], *, empty: bool) -> bool:
        return (empty and not patterns) or any(fnmatchcase(name, pattern) for pattern in patterns)

    there = tuple(device(name, *(model(f"{one}:1b") for one in sorted(there))) for name, there in house.items())
    rules = {} if tenant is None else {"alice": TenantRules(models=tenant[0], devices=tenant[1])}
    one = replace(asked(models=models, devices=devices), strategy=strategy, escalated=True)
    decision = decided(one, RoutingPolicy(tenants=rules), there)
    expected = {
        (name, f"{known}:1b")
        for name, all_known in house.items()
        for known in all_known
        if fits(f"{known}:1b", models, empty=True) and fits(name, devices, empty=True)
        if tenant is None or (fits(f"{known}:1b", tenant[0], empty=False) and fits(name, tenant[1], empty=False))
    }

    assert used(decision) <= expected
    assert strategy in {"llm", "learned", "cascade"} or used(decision) == expected
    assert {name for name in house if not any(of == name for of, _ in expected)} <= {
        out.device for out in decision.removed if out.filter in {"allow_list", "tenant"}
    }


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (asked("qwen2.5:7b", models=("llama*",)), ["'qwen2.5:7b'", "llama*"]),
        (asked("no-such:1b", models=("llama*",)), ["'no-such:1b'", "llama*"]),
        (asked("qwen2.5:7b", device="orin", devices=("pi*",)), ["'qwen2.5:7b'", "'orin'", "pi*"]),
        (asked("qwen2.5:7b", devices=("pi4",)), ["'qwen2.5:7b'", "pi4"]),
        (asked(models=("gemma*",)), ["auto", "gemma*"]),
    ],
)
def test_who_asks_for_what_is_closed_is_told_so(one: Ask, words: list[str]) -> None:
    """What is asked, that the key does not allow it, and what it allows; not whether the fleet has it, nor on which device."""
    error = refused(one)

    assert (NotAllowed, False) == (type(error), error.retryable)
    assert "the key does not allow" in error.message
    assert [] == [word for word in words if word not in error.message]
    assert "orin" not in error.message or one.device == "orin"


def test_a_key_is_told_of_no_models_but_its_own() -> None:
    """One that misspells a model is told those that it may use."""
    error = refused(asked("llama3.2:70b", models=("llama*",)))

    assert isinstance(error, UnknownModel)
    assert ("llama3.2:1b" in error.message, "qwen" in error.message) == (True, False)


def test_an_allowed_device_that_is_away_may_come_back() -> None:
    """The refusal is not for good, and names nothing that is closed; a closed device that is away changes nothing."""
    away = (device("pi4", SMALL, liveness=Liveness.DEAD), device("orin", LARGE, liveness=Liveness.DEAD))
    back, never = refused(asked(devices=("pi4",)), away), refused(asked(models=("gemma*",)), away)

    assert (NoDevice, True, False) == (type(back), back.retryable, "orin" in back.message)
    assert NotAllowed is type(never)


def test_no_job_waits_for_the_memory_of_a_model_that_it_may_not_use() -> None:
    """What would fit only beside nothing else is worth waiting for, by those who may use it."""
    big = model("big:7b", size_bytes=4 << 30, loaded=False)
    full = (device("nano", SMALL, big, memory_total_bytes=8 << 30, memory_available_bytes=1 << 30),)

    assert decided(asked("big:7b"), house=full).wants_memory()
    assert not decided(asked("big:7b", models=("llama*",)), house=full).wants_memory()
    policy = RoutingPolicy(tenants={"alice": TenantRules(models=("llama*",))})
    assert not decided(asked("big:7b"), policy, full).wants_memory()


def test_explain_tells_the_list() -> None:
    """What a list keeps out stands there with its reason, and no strategy is told to choose it."""
    told = explain(asked(models=("llama*",), devices=("pi*",)), fleet(*HOUSE), RoutingPolicy())

    assert {"device": "orin", "filter": "allow_list", "reason": "the key does not allow it", "for_now": False} in told[
        "removed"
    ]
    assert {"pi4", "pi5"} == {one["device"] for one in told["options"]}
    assert {"llama3.2:1b@pi4", "llama3.2:1b@pi5"} >= set(told["strategies"].values())
    assert not any("orin" in change for change in told["changes"])


def test_what_may_answer_is_part_of_what_is_asked() -> None:
    """Else one that knows a job's id would be given what a closed device said. Order and repeats say nothing."""
    plain = ChatRequest(prompt="hi")
    one = replace(plain, allow_models=("a", "b"))

    assert fingerprint(one) == fingerprint(replace(plain, allow_models=("b", "a", "b")))
    assert 4 == len(
        {
            fingerprint(two)
            for two in (plain, one, replace(plain, allow_devices=("a", "b")), replace(one, allow_models=("a",)))
        }
    )


@pytest.mark.parametrize(
    "lists", [{"allow_models": ["x"] * 101}, {"allow_devices": ["x" * 201]}, {"allow_models": [""]}]
)
def test_lists_are_bounded(lists: dict[str, list[str]]) -> None:
    """A hundred patterns, of a model's name in length; one that fits nothing is a mistake."""
    with pytest.raises(BadRequest, match="allow_"):
        codec.build(ChatRequest, {"prompt": "hi", **lists})
