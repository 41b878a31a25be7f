"""The decision: order, weights, formula, and a reason for everyone who is out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.errors import FleetError, NoDevice, UnknownDevice, UnknownModel, UnsupportedByModel
from common.messages import DeviceState, ModelInfo
from dispatcher.fleet import Device, Fleet, Liveness, Track
from dispatcher.outcomes import Decision
from dispatcher.routing import Ask, Cloud, RoutingPolicy, decide, nobody
from dispatcher.routing.ask import TenantRules
from tests.unit.dispatcher.builders import GB, ask, bare, device, fleet, model

POLICY = RoutingPolicy()


def order(decision: Decision) -> list[tuple[str, str]]:
    return [(one.device, one.model) for one in decision.candidates]


def out(decision: Decision) -> dict[str, str]:
    return {one.device: one.filter for one in decision.removed}


def refusal(question: Ask, *devices: Device, excluded: dict[str, str] | None = None) -> FleetError:
    """What the caller is told when nobody is left."""
    decision = decide(question, fleet(*devices), POLICY, excluded or {})
    assert not decision.candidates
    return nobody(question, decision, fleet(*devices))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((0.4, 0.2, 0.4), (0.4, 0.2, 0.4)),
        ((2, 1, 1), (0.5, 0.25, 0.25)),
        ((0, 0, 7), (0.0, 0.0, 1.0)),
        ((1000, 1000, 0), (0.5, 0.5, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),  # nothing counts: the order is that of the names
    ],
)
def test_weights_are_normalised(weights: tuple[float, float, float], expected: tuple[float, float, float]) -> None:
    """The weights of a decision add up to 1, or are all 0, and travel with it."""
    tokens, topic, health = weights
    policy = RoutingPolicy(tokens=tokens, topic=topic, health=health)
    decision = decide(ask(), fleet(device()), policy, {})

    assert pytest.approx(expected) == tuple(decision.weights[name] for name in ("tokens", "topic", "health"))


def test_without_weights_the_names_decide() -> None:
    """All weights 0 is a choice without preference, and still a choice."""
    decision = decide(ask(), fleet(device("b"), device("a")), RoutingPolicy(tokens=0, topic=0, health=0), {})

    assert [("a", "llama3.2:1b"), ("b", "llama3.2:1b")] == order(decision)


@given(st.tuples(*[st.floats(0, 1000)] * 3), st.floats(0, 1), st.floats(0, 100))
def test_the_score_is_the_formula(weights: tuple[float, float, float], complexity: float, temperature_c: float) -> None:
    """S = w1*C_tokens + w2*Sim_centroid + w3*H_latency, to the last digit."""
    tokens, topic, health = weights
    policy = RoutingPolicy(tokens=tokens, topic=topic, health=health)
    decision = decide(
        ask(complexity=complexity), fleet(device(temperature_c=temperature_c, topics=("chat",))), policy, {}
    )
    best, w = decision.candidates[0], decision.weights

    assert (
        w["tokens"] * best.terms.tokens + w["topic"] * best.terms.topic + w["health"] * best.terms.health == best.score
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (device("z"), device("a", temperature_c=88.0)),
        (device("z"), device("a", track=Track(error_rate=0.5))),
        (device("z", model(loaded=True)), device("a", model(loaded=False))),
        (device("z", topics=("chat",)), device("a", topics=("code",))),  # the question chats: 0.8 against 0
        (device("z", slots=2, own=1), device("a", slots=2, own=2)),
        (device("z", throttled=False), device("a", throttled=True)),
    ],
)
def test_the_better_device_comes_first(better: Device, worse: Device) -> None:
    """Of two devices that differ in one thing, the better one leads, though its name comes last."""
    assert ["z", "a"] == [one.device for one in decide(ask(), fleet(worse, better), POLICY, {}).candidates]


def test_equal_scores_are_ordered_by_name() -> None:
    """Equals come in the order of their names, so that a decision can be repeated."""
    two = (model("b:1b"), model("a:1b"))
    decision = decide(ask(), fleet(device("y", *two), device("x", *two)), POLICY, {})

    assert [("x", "a:1b"), ("x", "b:1b"), ("y", "a:1b"), ("y", "b:1b")] == order(decision)


@pytest.mark.parametrize(
    ("question", "excluded", "candidates", "removed"),
    [
        (ask("llama3.2:1b"), {}, ["nano", "orin"], {"pi5": "model"}),
        (ask("llama3.2:1b", device="orin"), {}, ["orin"], {"nano": "pin", "pi5": "pin"}),
        (ask("llama3.2:1b"), {"nano": "busy"}, ["orin"], {"nano": "tried", "pi5": "model"}),
        (ask(), {"nano": "x", "orin": "y"}, ["pi5"], {"nano": "tried", "orin": "tried"}),
        (ask("qwen2.5:1.5b"), {}, ["pi5"], {"nano": "model", "orin": "model"}),
    ],
)
def test_pins_and_exclusions(
    question: Ask, excluded: dict[str, str], candidates: list[str], removed: dict[str, str]
) -> None:
    """A pin leaves one device, an exclusion all others, and each one that is out has its filter."""
    house = fleet(device("nano"), device("orin"), device("pi5", model("qwen2.5:1.5b")))
    decision = decide(question, house, POLICY, excluded)

    assert (candidates, removed) == (sorted(one.device for one in decision.candidates), out(decision))


def test_auto_ranks_every_model_of_every_device() -> None:
    """`auto` leaves the model open as well."""
    decision = decide(
        ask(), fleet(device("nano", model("a:1b"), model("b:1b")), device("orin", model("c:1b"))), POLICY, {}
    )

    assert [("nano", "a:1b"), ("nano", "b:1b"), ("orin", "c:1b")] == sorted(order(decision))


def test_auto_never_takes_an_embedding_model() -> None:
    """A model that only embeds is out, however good it looks, and its device stays in with the others."""
    embed = model("nomic-embed-text:latest", size_bytes=GB // 4, capabilities=("embedding",))
    chat = model("big:70b", size_bytes=40 * GB, loaded=False, capabilities=("completion",))
    decision = decide(ask(), fleet(device("nano", embed, chat)), POLICY, {})

    assert ([("nano", "big:70b")], {"nano": "capability"}) == (order(decision), out(decision))


@pytest.mark.parametrize("needs", ["images", "tools"])
def test_auto_finds_the_model_that_can(needs: str) -> None:
    """A question with images or tools goes to a model that says it can."""
    can = {"images": "vision", "tools": "tools"}[needs]
    plain, able = model("plain:1b", capabilities=("completion",)), model("able:9b", capabilities=("completion", can))
    decision = decide(ask("auto", device=None, **{needs: True}), fleet(device("nano", plain, able)), POLICY, {})

    assert [("nano", "able:9b")] == order(decision)


def test_a_device_without_memory_for_it_is_out() -> None:
    """A model too large for the device is not chosen there, and is chosen where it fits."""
    big = model("big:8b", size_bytes=5 * GB, loaded=False)
    house = fleet(device("nano", big, memory_total_bytes=2 * GB), device("orin", big, memory_total_bytes=8 * GB))
    decision = decide(ask("big:8b"), house, POLICY, {})

    assert ([("orin", "big:8b")], {"nano": "memory"}) == (order(decision), out(decision))


@pytest.mark.parametrize("question", [ask(), ask("llama3.2:1b")])
def test_every_device_is_in_or_out(question: Ask) -> None:
    """No device is left out without a reason, also one without models."""
    house = fleet(
        device("alive"),
        device("dead", liveness=Liveness.DEAD),
        device("other", model("nomic:1b", capabilities=("embedding",))),
        bare("bare"),
    )
    decision = decide(question, house, POLICY, {})

    assert set(house.devices) == {one.device for one in decision.candidates} | set(out(decision))
    assert all(one.reason for one in decision.removed)


def test_a_suspect_device_without_the_model_is_not_worth_waiting_for() -> None:
    """A device that is away for now, and would not help if it came back, is out for good; one that may have the model is not."""
    house = fleet(
        device("away", state=DeviceState.FAULTY),
        device("late", liveness=Liveness.SUSPECT),
        bare("starting", state=DeviceState.STARTING),
    )
    decision = decide(ask("other:7b"), house, POLICY, {})

    assert {"away": False, "late": False, "starting": True} == {one.device: one.for_now for one in decision.removed}


# -- nobody ---------------------------------------------------------------------------------------------------------------


def test_an_empty_fleet_says_how_to_start_one() -> None:
    """1. Without devices the message names the commands."""
    error = refusal(ask())

    assert (NoDevice, True, True) == (type(error), error.retryable, "drover-agent" in error.message)


def test_an_unknown_device_names_those_there_are() -> None:
    """2. A pin on a device that nobody knows lists the known ones."""
    error = refusal(ask(device="nono"), device("nano"), device("orin"))

    assert (UnknownDevice, "there is no device 'nono': known are nano, orin") == (type(error), error.message)


def test_an_unknown_model_names_those_there_are() -> None:
    """3. A model that no device has lists `auto` and the known ones, and can't be cured by waiting."""
    error = refusal(ask("gpt-5:latest"), device("nano", model("a:1b")), device("orin", model("b:1b")))

    assert (UnknownModel, False, "no device has the model 'gpt-5:latest': use `auto`, or one of a:1b, b:1b") == (
        type(error),
        error.retryable,
        error.message,
    )


EMBEDS = model("embedder:1b", capabilities=("embedding",))


@pytest.mark.parametrize(
    ("other", "question", "policy"),
    [
        (device("orin", EMBEDS, embeds=True), {}, POLICY),
        (device("orin", model("b:1b"), liveness=Liveness.DEAD), {}, POLICY),
        (device("orin", model("b:1b"), state=DeviceState.STOPPED), {}, POLICY),
        (device("orin", model("b:1b"), remote=True), {"local": True}, POLICY),
        (device("orin", model("b:1b"), remote=True), {}, RoutingPolicy(cloud=Cloud.NEVER)),
        (device("orin", model("b:1b"), needs_key=True), {}, POLICY),
        (device("orin", model("b:1b")), {"allow_models": ("a*", "gpt*")}, POLICY),
        (device("orin", model("b:1b")), {"allow_devices": ("nano",)}, POLICY),
        (device("orin", model("b:1b")), {"tenant": "x"}, RoutingPolicy(tenants={"x": TenantRules(models=("a*",))})),
    ],
    ids=["kind", "dead", "signed-off", "local", "cloud", "key", "own-models", "own-devices", "tenant"],
)
def test_the_models_named_instead_would_do(other: Device, question: dict[str, Any], policy: RoutingPolicy) -> None:
    """3. What makes embeddings, is gone, or is not for this request, is not offered to who asked for something else."""
    asked, house = replace(ask("gpt-5:latest"), **question), fleet(device("nano", model("a:1b")), other)
    error = nobody(asked, decide(asked, house, policy, {}), house, policy)

    assert (UnknownModel, "no device has the model 'gpt-5:latest': use `auto`, or one of a:1b") == (
        type(error),
        error.message,
    )


def test_where_nothing_would_do_no_model_is_named() -> None:
    """3. An empty list is no way out."""
    error = refusal(ask("gpt-5:latest"), device("orin", model("b:1b"), liveness=Liveness.DEAD))

    assert "no device has the model 'gpt-5:latest': none that would do is there now" == error.message


def test_a_model_that_the_pinned_device_lacks_is_unknown_there() -> None:
    """3. A pin on a device that does not have the model lists what it has."""
    error = refusal(ask("b:1b", device="nano"), device("nano", model("a:1b")), device("orin", model("b:1b")))

    assert (UnknownModel, "device nano does not have the model 'b:1b': use `auto`, or one of a:1b") == (
        type(error),
        error.message,
    )


FAULTY: dict[str, Any] = {"state": DeviceState.FAULTY, "reason": "today's budget for paid models is spent"}


@pytest.mark.parametrize("pin", ["cloud", None])
def test_a_device_that_is_out_of_order_may_have_the_model(pin: str | None) -> None:
    """3. An agent that starts without money or with a wrong key lists no models: that is its fault, and not the request's."""
    error = refusal(ask("big:1b", device=pin), bare("cloud", **FAULTY), device("nano", model("a:1b")))

    assert (NoDevice, True) == (type(error), error.retryable)
    assert "cloud: it is faulty: today's budget for paid models is spent" in error.message


def test_a_dead_device_without_models_excuses_no_misspelt_one() -> None:
    """3. It is gone, and nobody waits for what it may have had."""
    error = refusal(
        ask("big:1b"), Device(bare("cloud", **FAULTY).beat, {}, Liveness.DEAD), device("nano", model("a:1b"))
    )

    assert UnknownModel is type(error)


def test_what_no_model_can_do_is_unsupported() -> None:
    """4. Where the model is there and can't, the message says what it can't."""
    error = refusal(ask("a:1b", tools=True), device("nano", model("a:1b", capabilities=("completion",))))

    assert (UnsupportedByModel, "no model can do this: nano (a:1b): it can't call tools") == (
        type(error),
        error.message,
    )


@pytest.mark.parametrize(
    ("devices", "excluded", "words"),
    [
        ([device("nano", liveness=Liveness.DEAD)], {}, "nano: it is dead"),
        ([device("nano")], {"nano": "silent: no accept"}, "nano: tried already: silent: no accept"),
        ([bare("nano")], {}, "nano: it has no models"),
    ],
)
def test_those_that_could_are_away(devices: list[Device], excluded: dict[str, str], words: str) -> None:
    """5. Where the fleet could, and can't now, the message says why for each device, and when to try again."""
    error = refusal(ask(), *devices, excluded=excluded)

    assert (NoDevice, True, f"no device can take the job now: {words}") == (
        type(error),
        error.retry_after_s is not None,
        error.message,
    )


def test_a_cause_is_said_once_for_all_its_devices() -> None:
    """A thousand devices don't make a message of a thousand reasons; the commonest cause comes first."""
    dead = [device(name, liveness=Liveness.DEAD) for name in ("pi5", "nano", "orin")]
    error = refusal(ask(), bare("tx2"), *dead)

    assert (
        error.message == "no device can take the job now: 3 devices: it is dead: nano, orin, pi5; tx2: it has no models"
    )


def test_many_devices_of_one_cause_are_counted() -> None:
    """Six are named, of however many."""
    error = refusal(ask(), *[device(f"d{number:03}", liveness=Liveness.DEAD) for number in range(1000)])

    assert error.message == (
        "no device can take the job now: 1000 devices: it is dead: d000, d001, d002, d003, d004, d005, …"
    )


def test_many_causes_are_bounded() -> None:
    """The message stays near 300 characters, and says how many it leaves out."""
    excluded = {f"d{number:03}": f"reason {number}" for number in range(100)}
    error = refusal(ask(), *[device(name) for name in excluded], excluded=excluded)
    left_out = 100 - error.message.count("reason")

    assert (True, True) == (error.message.endswith(f"; and {left_out} more"), len(error.message) <= 310)


# -- properties -----------------------------------------------------------------------------------------------------------


@st.composite
def fleets(draw: st.DrawFn) -> list[Device]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    found = []
    for name in names:
        models = [
            model(
                one,
                size_bytes=draw(st.sampled_from([0, GB, 9 * GB])),
                loaded=draw(st.booleans()),
                capabilities=draw(st.sampled_from([(), ("completion",), ("embedding",), ("completion", "tools")])),
                context_tokens=draw(st.sampled_from([None, 5, 8192])),
            )
            for one in draw(st.lists(st.sampled_from(["m1:1b", "m2:3b", "m3:8b"]), unique=True, max_size=3))
        ]
        fields = {
            "liveness": draw(st.sampled_from(Liveness)),
            "own": draw(st.integers(0, 3)),
            "state": draw(st.sampled_from(DeviceState)),
            "memory_total_bytes": draw(st.sampled_from([None, 2 * GB, 64 * GB])),
            "memory_available_bytes": draw(st.sampled_from([None, 0, 64 * GB])),
        }
        found.append(device(name, *models, **fields) if models else bare(name, state=fields["state"]))
    return found


QUESTIONS = st.builds(
    ask,
    st.sampled_from(["auto", "m1:1b", "m3:8b", "none:1b"]),
    device=st.sampled_from([None, None, "a", "zz"]),
    tools=st.booleans(),
    images=st.booleans(),
)


@given(fleets(), QUESTIONS, st.sets(st.sampled_from("abcdefgh")))
def test_nobody_is_in_and_out(devices: list[Device], question: Ask, tried: set[str]) -> None:
    """A candidate is never among the removed for the same model, a removed device has no candidate, and nobody is forgotten."""
    decision = decide(question, fleet(*devices), POLICY, dict.fromkeys(tried, "silent"))
    candidates = set(order(decision))
    gone = {(one.device, one.model) for one in decision.removed}
    whole = {one.device for one in decision.removed if one.model is None}

    assert set() == candidates & gone
    assert set() == {name for name, _ in candidates} & whole
    assert {one.name for one in devices} == {name for name, _ in candidates} | {name for name, _ in gone}
    assert all(one.reason for one in decision.removed)


@given(fleets(), QUESTIONS, st.randoms(use_true_random=False))
def test_the_order_of_devices_does_not_matter(devices: list[Device], question: Ask, rng: random.Random) -> None:
    """The same fleet in another order gives the same decision."""
    shuffled = devices.copy()
    rng.shuffle(shuffled)

    assert order(decide(question, fleet(*devices), POLICY, {})) == order(decide(question, fleet(*shuffled), POLICY, {}))


@given(fleets(), QUESTIONS)
def test_the_best_comes_first(devices: list[Device], question: Ask) -> None:
    """Scores fall along the list, and stay in [0, 1]."""
    scores = [one.score for one in decide(question, fleet(*devices), POLICY, {}).candidates]

    assert sorted(scores, reverse=True) == scores
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)


@given(fleets(), QUESTIONS)
def test_nobody_always_has_a_way_out(devices: list[Device], question: Ask) -> None:
    """Whatever the fleet is like, a decision without candidates gives a typed error with words."""
    house = fleet(*devices)
    decision = decide(question, house, POLICY, {})
    assume(not decision.candidates)
    error = nobody(question, decision, house)

    assert isinstance(error, NoDevice | UnknownDevice | UnknownModel | UnsupportedByModel)
    assert error.message.strip(" :") == error.message


def test_an_empty_fleet_gives_an_empty_decision() -> None:
    """No devices, no candidates, no reasons."""
    decision = decide(ask(), Fleet(), POLICY, {})

    assert ([], []) == (list(decision.candidates), list(decision.removed))


def test_a_prompt_that_no_model_holds_is_refused_by_its_length() -> None:
    """OpenAI's own code, the estimate, and the reason of each model: the model's limit here, the device's memory there."""
    small = device("nano", model("a:1b", context_tokens=2048))
    tight = device("pi", model("b:3b", context_tokens=32_768, most_context_tokens=4096))
    question = ask(context_tokens=6000)
    decision = decide(question, fleet(small, tight), RoutingPolicy(), {})
    error = nobody(question, decision, fleet(small, tight))

    assert (error.code, error.details) == (
        "context_length_exceeded",
        {"param": "messages", "estimated_tokens": 6000},
    )
    assert "nano (a:1b)" in error.message
    assert "memory holds 4096" in error.message


@pytest.mark.parametrize(
    "other", [model("embed:1b", capabilities=("embedding",)), model("huge:70b", size_bytes=10**12, loaded=False)]
)
def test_a_long_prompt_is_told_beside_models_that_could_not_help(other: ModelInfo) -> None:
    """A shorter text would do: what models lack that are for something else, or too large, is another matter."""
    house = (device("nano", model("a:1b", context_tokens=2048), other, memory_total_bytes=8 * 10**9),)
    error = refusal(ask(context_tokens=6000), *house)

    assert ("context_length_exceeded", "messages", False) == (
        error.code,
        error.details["param"],
        other.name in error.message,
    )


def test_a_prompt_goes_where_it_fits() -> None:
    """The model that holds it is taken, however the others score."""
    small = device("nano", model("a:1b", context_tokens=2048))
    large = device("orin", model("b:3b", context_tokens=32_768, most_context_tokens=16_384))
    decision = decide(ask(context_tokens=6000), fleet(small, large), RoutingPolicy(), {})

    assert [candidate.device for candidate in decision.candidates] == ["orin"]
