"""The strategies: what each prefers, by fleets in which one thing differs; shares by counting; bad variants refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadRequest
from common.messages import Speed
from dispatcher.fleet import Device, Track
from dispatcher.outcomes import Decision
from dispatcher.routing import Ask, RoutingPolicy, Warmth, decide
from dispatcher.routing.ask import TenantRules, Verdict
from dispatcher.routing.strategies import STRATEGIES
from tests.unit.dispatcher.builders import GB, ask, device, fleet, model

POLICY = RoutingPolicy()

SMALL = model("small:1b", parameters_b=1.0)
LARGE = model("large:8b", size_bytes=5 * GB, parameters_b=8.0)
SPEEDS = {"small:1b": Speed(decode_tps=20.0, prefill_tps=100.0), "large:8b": Speed(decode_tps=15.0, prefill_tps=400.0)}
HOUSE = (
    device("nano", SMALL, speeds=SPEEDS, topics=("chat",)),
    device("orin", LARGE, speeds=SPEEDS, topics=("code",)),
)


def by(strategy: str, *house: Device, policy: RoutingPolicy = POLICY, **fields: Any) -> Decision:
    """Decide with a strategy; `fields` are those of `Ask`, or features."""
    asked = {name: fields.pop(name) for name in list(fields) if name in Ask.__slots__}
    question = replace(ask(**fields), strategy=strategy, **asked)
    return decide(question, fleet(*(house or HOUSE)), policy, {})


def best(strategy: str, *house: Device, policy: RoutingPolicy = POLICY, **fields: Any) -> str:
    return by(strategy, *house, policy=policy, **fields).candidates[0].device


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@given(
    fields=st.fixed_dictionaries(
        {
            "complexity": st.floats(0, 1),
            "prompt_tokens": st.integers(1, 10**6),
            "context_tokens": st.just(1),
            "seed": st.integers(0, 2**63),
            "turn": st.integers(0, 2**40),
        }
    ),
    jobs=st.integers(0, 5),
)
def test_every_strategy_ranks_everyone(strategy: str, fields: dict[str, Any], jobs: int) -> None:
    """Scores are in [0, 1], fall along the list, leave nobody out, and are the same for the same question."""
    house = (replace(HOUSE[0], own=jobs), HOUSE[1], device("pi5", SMALL, LARGE))
    decision, again = (by(strategy, *house, **fields) for _ in range(2))
    scores = [one.score for one in decision.candidates]

    assert {("nano", "small:1b"), ("orin", "large:8b"), ("pi5", "small:1b"), ("pi5", "large:8b")} == {
        (one.device, one.model) for one in decision.candidates
    }
    assert sorted(scores, reverse=True) == scores
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)
    assert list(again.candidates) == list(decision.candidates)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_bears_an_empty_fleet(strategy: str) -> None:
    """Where nobody is left there is nothing to rank, and nothing that breaks."""
    assert not decide(replace(ask("none:1b"), strategy=strategy), fleet(*HOUSE), POLICY, {}).candidates


@pytest.mark.parametrize(
    ("strategy", "fields", "expected"),
    [
        ("token", {"prompt_tokens": 499, "context_tokens": 600}, "nano"),
        ("token", {"prompt_tokens": 500, "context_tokens": 600}, "orin"),
        ("token:100", {"prompt_tokens": 100, "context_tokens": 600}, "orin"),
        ("token:2000", {"prompt_tokens": 1999, "context_tokens": 2600}, "nano"),
        ("heuristic", {"topics": {"chat": 0.9}, "complexity": 0.0}, "nano"),
        ("heuristic", {"topics": {"reasoning": 0.9}, "complexity": 0.8}, "orin"),
        ("semantic", {"topics": {"chat": 0.9, "code": 0.1}}, "nano"),
        ("semantic", {"topics": {"chat": 0.1, "code": 0.9}}, "orin"),
        ("learned", {"verdict": Verdict(gain=0.4, strong=True)}, "orin"),
        ("learned", {"verdict": Verdict(gain=-0.1, strong=False)}, "nano"),
        ("learned", {"topics": {"reasoning": 0.9}, "complexity": 0.8}, "orin"),  # no verdict: the rules
        ("cascade", {}, "nano"),
        ("cascade", {"escalated": True}, "orin"),
        ("llm", {"difficulty": 0.1}, "nano"),
        ("llm", {"difficulty": 0.7}, "orin"),
        ("round_robin", {"turn": 0}, "nano"),
        ("round_robin", {"turn": 1}, "orin"),
        ("round_robin", {"turn": 2}, "nano"),
    ],
)
def test_what_a_question_decides(strategy: str, fields: dict[str, Any], expected: str) -> None:
    """The same two devices, and what about the question makes the choice."""
    assert expected == best(strategy, **fields)


@pytest.mark.parametrize(
    ("strategy", "better", "worse"),
    [
        ("perf", device("z"), device("a", track=Track(error_rate=0.6))),
        ("perf", device("z"), device("a", own=1)),
        ("least_loaded", device("z", slots=4, own=1), device("a", slots=2, own=1)),
        ("energy:eco", device("z", busy_w=5.0, idle_w=2.0), device("a", busy_w=30.0, idle_w=5.0)),
        (
            "energy:fast",
            device("z", busy_w=60.0, speeds={"llama3.2:1b": Speed(decode_tps=50.0)}),
            device("a", busy_w=3.0, speeds={"llama3.2:1b": Speed(decode_tps=5.0)}),
        ),
        (
            "energy",  # balanced: 5 x the energy and a tenth of the time
            device("z", busy_w=60.0, speeds={"llama3.2:1b": Speed(decode_tps=50.0, prefill_tps=400.0)}),
            device("a", busy_w=1.2, speeds={"llama3.2:1b": Speed(decode_tps=5.0, prefill_tps=40.0)}),
        ),
    ],
)
def test_what_a_device_decides(strategy: str, better: Device, worse: Device) -> None:
    """The same question, and two devices of which the one with the later name is better."""
    assert "z" == best(strategy, worse, better)


def test_energy_does_not_save_on_a_model_that_can_not() -> None:
    """The frugal device comes last when its model is far too weak for the question."""
    frugal = device("nano", model("tiny:0.5b", parameters_b=0.5), busy_w=2.0)
    able = device("orin", LARGE, busy_w=25.0)

    assert ("nano", "orin") == tuple(best("energy:eco", frugal, able, complexity=hard) for hard in (0.0, 1.0))


def test_a_workload_is_shared_as_its_weights_say() -> None:
    """Coding 80/20: of 4,000 jobs each device gets its share, within three standard deviations (3 x 25 = 76)."""
    policy = RoutingPolicy(workloads={"code": {"orin": 80.0, "nano": 20.0}})
    counts = Counter(best("weighted", policy=policy, workload="code", seed=seed) for seed in range(4000))

    assert 3200 - 76 <= counts["orin"] <= 3200 + 76


def test_roles_stand_behind_one_another() -> None:
    """Who has a share comes first, then who has a share of 0, then who is not named."""
    policy = RoutingPolicy(workloads={"code": {"orin": 1.0, "nano": 0.0}})
    house = (*HOUSE, device("agx", SMALL), device("zx", SMALL))
    orders = {
        tuple(
            dict.fromkeys(
                one.device for one in by("weighted", *house, policy=policy, workload="code", seed=seed).candidates
            )
        )[:2]
        for seed in range(50)
    }

    assert {("orin", "nano")} == orders


def test_the_kind_of_question_is_the_workload_when_none_is_named() -> None:
    """A question that looks like code takes the shares of code."""
    policy = RoutingPolicy(workloads={"code": {"nano": 1.0}, "chat": {"orin": 1.0}})

    assert ("nano", "orin") == tuple(best("weighted", policy=policy, topics={topic: 0.9}) for topic in ("code", "chat"))


def test_chance_is_even() -> None:
    """By lot each device is first about as often: 2,000 of 4,000, within four standard deviations (4 x 32)."""
    counts = Counter(best("random", seed=seed) for seed in range(4000))

    assert abs(counts["nano"] - 2000) <= 128


@pytest.mark.parametrize(
    "name",
    [
        "token:", "token:0x10", "token:ten", "token:-5", "token:99999999", "energy:green", "nonsense", "",
        "learned:0.5", "cascade:x", "perf:foo", "semantic:1", "heuristic:x", "hybrid:", "llm:x", "random:7",
    ],
)  # fmt: skip
def test_a_strategy_that_is_none_is_refused(name: str) -> None:
    """What can't be meant is refused by name, with the way out; an empty variant is the usual one."""
    if name == "token:":
        assert best("token:") == best("token")
        return
    with pytest.raises(BadRequest, match=r"write token:500|use one of|has no variants") as refusal:
        by(name)
    assert "strategy" == refusal.value.details["param"]


def test_strong_models_can_be_said() -> None:
    """`strong_from` decides which tier a model is of, whatever the others are."""
    strict = RoutingPolicy(strong_from=0.9)  # none is
    usual = by("cascade", escalated=True).candidates[0]
    none = by("cascade", escalated=True, policy=strict).candidates[0]

    assert (True, False) == (usual.score > 0.5, none.score > 0.5)


def test_a_conversation_stays_where_its_prompt_was_read() -> None:
    """Of two equal devices the one that has read 900 of 1,000 tokens comes first, and yields when it is busy."""
    speeds = {"llama3.2:1b": Speed(decode_tps=20.0, prefill_tps=100.0)}
    a, z = (device(name, speeds=speeds) for name in "az")
    warmth = (Warmth("z", "llama3.2:1b", 900),)

    assert ("a", "z", "a") == (
        best("hybrid", a, z, prompt_tokens=1000, context_tokens=1100),
        best("hybrid", a, z, prompt_tokens=1000, context_tokens=1100, warmth=warmth),
        best("hybrid", a, replace(z, own=1), prompt_tokens=1000, context_tokens=1100, warmth=warmth),
    )


def test_a_model_that_left_memory_has_forgotten() -> None:
    """Warmth counts only while the model is loaded."""
    speeds = {"llama3.2:1b": Speed(decode_tps=20.0, prefill_tps=100.0)}
    cold = device("z", model(loaded=False), speeds=speeds)
    one = by(
        "perf", cold, prompt_tokens=1000, context_tokens=1100, warmth=(Warmth("z", "llama3.2:1b", 1000),)
    ).candidates[0]

    assert pytest.approx(one.predicted_load_s + 10.0) == one.predicted_first_token_s  # 1,000 / 100


def test_health_does_not_move_the_shares() -> None:
    """8,000 to 2,000 is four to one, also when the device with the small share is the only healthy one."""
    house = (device("nano"), device("orin", temperature_c=89.0))
    policy = RoutingPolicy(workloads={"code": {"orin": 8000.0, "nano": 2000.0}})
    counts = Counter(by("weighted:code", *house, policy=policy, seed=seed).candidates[0].device for seed in range(4000))

    assert pytest.approx(0.8, abs=0.02) == counts["orin"] / 4000


def test_a_thousand_equal_shares_are_equal() -> None:
    """Nobody is left out because lots are too small to be told apart."""
    shares = {f"d{number:04}": 1.0 for number in range(1000)}
    policy = RoutingPolicy(workloads={"code": shares})
    house = [device(name) for name in shares]
    first = {by("weighted:code", *house, policy=policy, seed=seed).candidates[0].device for seed in range(60)}

    assert len(first) > 50


def test_a_workload_can_be_named() -> None:
    """The role of the small boards is a workload of its own; one that there is not is refused with those there are."""
    house = (device("pi3"), device("orin", model(parameters_b=8.0)))
    policy = RoutingPolicy(workloads={"utility": {"pi3": 1.0}})

    assert by("weighted:utility", *house, policy=policy).candidates[0].device == "pi3"
    with pytest.raises(BadRequest, match="there is no workload 'utilty': use one of utility"):
        by("weighted:utilty", *house, policy=policy)


def test_shares_of_devices_that_a_tenant_may_not_use_are_not_told() -> None:
    """Only those of devices that could have had the job."""
    rules = {"alice": TenantRules(devices=("a",))}
    policy = RoutingPolicy(workloads={"code": {"a": 80.0, "secret": 20.0}}, tenants=rules)
    question = replace(ask(), strategy="weighted:code", tenant="alice")

    assert {"a": 80.0} == decide(question, fleet(device("a"), device("secret")), policy, {}).weights


def test_weighted_without_shares_says_so() -> None:
    """It scores as hybrid does, under its own name: whoever compares strategies must know. With shares it lacks nothing."""
    shared = RoutingPolicy(workloads={"code": {"nano": 1.0}})
    lacking, having = (by("weighted", policy=policy, workload="code").features for policy in (POLICY, shared))

    assert "shares for the workload code (scored as hybrid)" == lacking["lacks"]
    assert "lacks" not in having
