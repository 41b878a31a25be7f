"""Models for money: who may use them, when a question is worth it, what it would cost, and what staying at home saved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import NotAllowed, TooDear
from common.messages import Usage
from dispatcher.fleet import Device, Fleet
from dispatcher.outcomes import Decision, Price
from dispatcher.routing import Ask, Cloud, RoutingPolicy, Verdict, decide, explain, nobody
from dispatcher.routing.ask import Caps, TenantRules
from tests.unit.dispatcher.builders import GB, ask, device, fleet, model, speed

GPT = model(
    "gpt-4o-mini:latest", size_bytes=0, input_usd_per_mtok=0.15, output_usd_per_mtok=0.6, capabilities=("completion",)
)
DEAR = replace(GPT, name="gpt-4o:latest", input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
POLICY = RoutingPolicy()
HARD = {"topics": {"reasoning": 0.9}, "complexity": 0.6}
"""Deserves 0.7 + 0.3 x (1.2 - 0.5) = 0.91."""

EASY = {"topics": {"chat": 0.9}, "complexity": 0.0}
"""Deserves 0.25 - 0.15 = 0.1."""


def cloud(*models: object, name: str = "cloud", **fields: object) -> Device:
    """A device of a provider: fast, with room, and no power of ours."""
    fast = {one: speed(decode_tps=120.0, prefill_tps=5000.0)["llama3.2:1b"] for one in (GPT.name, DEAR.name)}
    return device(name, *(models or (GPT,)), remote=True, slots=8, speeds=fast, **fields)  # type: ignore[arg-type]


def house(*more: Device) -> Fleet:
    """A slow local device with a small model beside the cloud."""
    return fleet(
        device("pi", model(parameters_b=1.0), speeds=speed(decode_tps=8.0, prefill_tps=60.0)), *(more or (cloud(),))
    )


def first(decision: Decision) -> str:
    return decision.candidates[0].device


def order(question: Ask, policy: RoutingPolicy = POLICY, where: Fleet | None = None) -> list[str]:
    return [one.device for one in decide(question, where or house(), policy, {}).candidates]


@pytest.mark.parametrize(
    "strategy", ["hybrid", "perf", "heuristic", "token", "energy:fast", "semantic", "llm", "cascade"]
)
def test_what_is_easy_stays_at_home(strategy: str) -> None:
    """The cloud is far faster and stronger, and gets small talk only when nobody else can."""
    question = replace(ask(**EASY), strategy=strategy)

    assert (["pi", "cloud"], ["cloud"]) == (order(question), order(question, where=fleet(cloud())))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (ask(**HARD), "cloud"),
        (replace(ask(**HARD), verdict=Verdict(gain=-0.1, strong=False), strategy="hybrid"), "pi"),
        (replace(ask(**EASY), verdict=Verdict(gain=0.4, strong=True), strategy="learned"), "cloud"),
        (replace(ask(**EASY), verdict=Verdict(gain=-0.4, strong=False), strategy="learned"), "pi"),
        (replace(ask(**EASY), difficulty=0.8, strategy="llm"), "cloud"),
        (replace(ask(**HARD), difficulty=0.3, strategy="llm"), "pi"),
        (replace(ask(**EASY), escalated=True, strategy="cascade"), "cloud"),
    ],
)
def test_who_says_what_is_hard(question: Ask, expected: str) -> None:
    """The trained router has the word, or else the classifying model, or else the rules; an answer that did not hold goes up."""
    assert expected == order(question)[0]


def test_a_weak_answer_that_may_still_hold_comes_from_home() -> None:
    """Even for a hard question a cascade does not begin with a weak model for money, though that is the faster one."""
    where = house(cloud(replace(GPT, parameters_b=1.0), replace(DEAR, parameters_b=70.0)))
    question = replace(ask(**HARD), strategy="cascade")

    assert "pi" == order(question, where=where)[0]


def test_the_owner_says_from_where_on() -> None:
    """`cloud_from` is the line: just above what a question deserves it stays."""
    assert ("cloud", "pi") == (
        order(ask(**HARD), replace(POLICY, cloud_from=0.90))[0],
        order(ask(**HARD), replace(POLICY, cloud_from=0.92))[0],
    )


def test_a_cloud_that_is_no_stronger_is_not_worth_it() -> None:
    """A hard question stays with a local model as strong as the cloud's."""
    strong = device("orin", model("local:70b", parameters_b=70.0, size_bytes=40 * GB))

    assert order(ask(**HARD), where=fleet(strong, cloud()))[0] == "orin"


def test_preferred_is_before_all() -> None:
    """An owner may want the cloud first, and what is local as its substitute; a tenant may want it otherwise."""
    policy = replace(POLICY, cloud=Cloud.PREFERRED, tenants={"alice": TenantRules(cloud=Cloud.ALLOWED)})

    assert (["cloud", "pi"], ["pi", "cloud"]) == (
        order(ask(**EASY), policy),
        order(replace(ask(**EASY), tenant="alice"), policy),
    )


@pytest.mark.parametrize("question", [ask(**HARD), ask(GPT.name), ask(device="cloud")])
def test_never_is_never(question: Ask) -> None:
    """A closed cloud is out, with its reason, whatever is asked for; where nothing else can, the job is not allowed."""
    policy = replace(POLICY, cloud=Cloud.NEVER)
    where = house()
    decision = decide(question, where, policy, {})
    reasons = {one.filter for one in decision.removed if one.device == "cloud"}

    assert {"cloud"} == reasons
    if not decision.candidates:
        assert isinstance(nobody(question, decision, where), NotAllowed)


def test_a_request_may_stay_in_the_house() -> None:
    """Whatever it deserves, and whatever its tenant may: `auto:local`."""
    question = replace(ask(**HARD), local=True)

    refused = nobody(question, decide(question, fleet(cloud()), POLICY, {}), fleet(cloud()))

    assert (["pi"], NotAllowed) == (order(question), type(refused))
    assert "closed to this request" in refused.message


def test_a_job_may_have_a_limit() -> None:
    """10 tokens in and 100 out cost $0.0000615 with the small one and $0.001025 with the dear one: the limit lies between."""
    where = fleet(cloud(GPT, DEAR))
    decision = decide(replace(ask(), max_cost_usd=0.0005), where, POLICY, {})
    told = [(one.model, one.filter, one.reason) for one in decision.removed]

    assert [GPT.name] == [one.model for one in decision.candidates]
    assert [(DEAR.name, "cost", "it may cost $0.001025, and the job may cost $0.0005")] == told


UNPRICED = model("mystery:latest", size_bytes=0, capabilities=("completion",))


def test_a_price_that_nobody_told_is_above_any_limit() -> None:
    """A remote model without a price might cost anything: under a limit it is out, and says why."""
    where = house(cloud(UNPRICED))
    decision = decide(replace(ask(**HARD), max_cost_usd=1e6), where, POLICY, {})
    told = [(one.filter, one.reason) for one in decision.removed]

    assert ["pi"] == [one.device for one in decision.candidates]
    assert [("cost", "nobody said what it costs, and the job may cost $1e+06")] == told


def test_a_price_that_nobody_told_comes_behind_one_that_is_known() -> None:
    """Of two models that score the same, one with a price goes first, and of the other none is predicted."""
    twin = replace(GPT, name="a-mystery:latest", input_usd_per_mtok=None, output_usd_per_mtok=None)
    decision = decide(ask(**HARD), fleet(device("cloud", GPT, twin, remote=True)), POLICY, {})
    costs = {one.model: one.predicted_cost_usd for one in decision.candidates}

    assert [GPT.name, twin.name] == list(costs)
    assert (True, None) == (costs[GPT.name] is not None, costs[twin.name])


def test_a_limit_counts_what_the_answer_may_take() -> None:
    """A request that allows 16,000 tokens is held to them: at $10 a million they may cost $0.16, though 100 are likely."""
    where = fleet(cloud(DEAR))
    short, long = (replace(ask(most_answer_tokens=most), max_cost_usd=0.01) for most in (800, 16_000))
    fits, dear = decide(short, where, POLICY, {}), decide(long, where, POLICY, {})

    assert (1, 0) == (len(fits.candidates), len(dear.candidates))
    assert ["it may cost $0.160025, and the job may cost $0.01"] == [one.reason for one in dear.removed]


def test_a_limit_counts_the_prompt_by_a_careful_estimate() -> None:
    """What a prompt likely takes is less than what it may."""
    where = fleet(cloud(DEAR))
    question = replace(ask(prompt_tokens=10, most_prompt_tokens=10_000), max_cost_usd=0.02)

    assert ["cost"] == [one.filter for one in decide(question, where, POLICY, {}).removed]


def test_an_answer_without_a_limit_gets_what_the_money_pays_for() -> None:
    """$0.01 less 10 tokens read pays for 997 tokens at $10 a million, and no more are dispatched; without a limit, any number."""
    where = fleet(cloud(DEAR))
    limited = decide(replace(ask(), max_cost_usd=0.01), where, POLICY, {}).candidates[0]
    named = decide(replace(ask(most_answer_tokens=500), max_cost_usd=0.01), where, POLICY, {}).candidates[0]
    free = decide(ask(), where, POLICY, {}).candidates[0]

    assert [997, None, None] == [limited.most_tokens, named.most_tokens, free.most_tokens]
    assert [0.009995, 0.005025, 0.0] == pytest.approx([limited.most_cost_usd, named.most_cost_usd, free.most_cost_usd])


def test_too_small_a_limit_is_an_error_of_its_own() -> None:
    """Who sets max_cost_usd too low is told of that field, and not that the tenant may not use the model."""
    question, where = replace(ask(), max_cost_usd=0.0), fleet(cloud(GPT))
    error = nobody(question, decide(question, where, POLICY, {}), where)

    assert (TooDear, "max_cost_usd") == (type(error), error.details["param"])
    assert "raise max_cost_usd" in error.message
    assert error.message.endswith("or ask for a shorter answer (max_tokens)")


def test_nothing_may_cost_nothing() -> None:
    """A limit of 0 keeps a job with models that cost nothing."""
    assert order(replace(ask(**HARD), max_cost_usd=0.0)) == ["pi"]


def test_equals_go_by_price() -> None:
    """Of two models that score the same the cheaper one is taken, though its name comes last."""
    twin = replace(GPT, name="a-dear:latest", output_usd_per_mtok=0.9)
    decision = decide(ask(device="cloud"), fleet(device("cloud", GPT, twin, remote=True)), POLICY, {})

    assert [GPT.name, "a-dear:latest"] == [one.model for one in decision.candidates]


def test_what_it_would_cost_is_told() -> None:
    """10 x 0.15 + 100 x 0.6 dollars per million; joules are not ours to know."""
    options = {one["device"]: one["predicted"] for one in explain(ask(), house(), POLICY)["options"]}

    assert (pytest.approx(6.15e-5), None) == (options["cloud"]["cost_usd"], options["cloud"]["energy_j"])
    assert (0.0, True) == (options["pi"]["cost_usd"], options["pi"]["energy_j"] > 0)


def test_a_provider_that_takes_our_joules_for_none_is_not_frugal() -> None:
    """`eco` does not take the cloud for free energy: those whose joules nobody knows come behind the able local ones."""
    able = device("orin", model(parameters_b=8.0), busy_w=40.0)
    question = replace(ask(**HARD), strategy="energy:eco")

    assert order(question, where=fleet(able, cloud())) == ["orin", "cloud"]


def test_the_cloud_draws_nothing_from_our_sockets() -> None:
    """A cap on watts is one on the house's."""
    policy = replace(POLICY, caps=Caps(device_w=5.0, fleet_w=5.0))
    where = fleet(cloud(busy_w=500.0))

    assert order(ask(**HARD), policy, where) == ["cloud"]


def test_of_equals_the_local_one_and_then_the_cheaper_comes_first() -> None:
    """An idle fleet is equally loaded everywhere: that is no reason to pay, or to pay more."""
    paid = cloud(DEAR, GPT)
    found = [
        one.model for one in decide(replace(ask(**EASY), strategy="least_loaded"), house(paid), POLICY, {}).candidates
    ]

    assert [GPT.name, DEAR.name] == found[1:]


@pytest.mark.parametrize("strategy", ["round_robin", "random"])
def test_baselines_know_no_money(strategy: str) -> None:
    """What deals out devices whatever is asked does so with the cloud as well, unless it is closed."""
    seen = {
        first(decide(replace(ask(**EASY), strategy=strategy, seed=one, turn=one), house(), POLICY, {}))
        for one in range(20)
    }

    assert ("cloud" in seen) is True


# -- savings ----------------------------------------------------------------------------------------------------------------


def test_savings_are_against_the_dearest_or_the_named() -> None:
    """1,000 tokens in and 500 out: $0.0075 with the dearest model, $0.00045 with the named one."""
    usage = Usage(prompt_tokens=1000, completion_tokens=500)
    where = house(cloud(GPT, DEAR))
    found = [
        decide(ask(), where, policy, {}).reference() for policy in (POLICY, replace(POLICY, cloud_reference=GPT.name))
    ]

    assert [DEAR.name, GPT.name] == [one.model for one in found if one]
    assert [pytest.approx(0.0075), pytest.approx(0.00045)] == [one.saved_usd(usage, None) for one in found if one]


def test_what_was_paid_is_no_saving() -> None:
    """An answer of the reference itself saves nothing, and a dearer one less than that."""
    price, usage = Price("m", "cloud", 1.0, 2.0), Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)

    assert [3.0, 0.0, -1.0] == [price.saved_usd(usage, paid) for paid in (None, 3.0, 4.0)]


def test_without_prices_there_is_nothing_to_save() -> None:
    """A fleet of local devices has no reference."""
    assert decide(ask(), fleet(device("pi")), POLICY, {}).reference() is None


def test_a_device_without_a_key_is_for_those_who_bring_one() -> None:
    """It is no choice for others, who are told what to send."""
    where = fleet(cloud(needs_key=True))
    decision = decide(ask(), where, POLICY, {})

    assert order(replace(ask(), brings_key=True), where=where) == ["cloud"]
    assert [one.filter for one in decision.removed] == ["key"]
    assert "X-Drover-Provider-Key" in nobody(ask(), decision, where).message


@pytest.mark.parametrize(
    ("worth", "lately", "first_model"),
    [
        (None, 120.0, GPT.name),  # equally strong, as far as anybody knows, and equally fast
        (None, 150.0, GPT.name),  # the dear one was somewhat faster lately
        (400.0, 120.0, DEAR.name),  # the owner holds it for the stronger one, and the question deserves it
    ],
)
def test_of_equals_in_the_cloud_the_cheaper_one_comes_first(
    worth: float | None, lately: float, first_model: str
) -> None:
    """Chance in their speeds is no reason to pay sixteen times as much; that one is held to be stronger is."""
    speeds = {
        GPT.name: speed(decode_tps=120.0, prefill_tps=5000.0)["llama3.2:1b"],
        DEAR.name: speed(decode_tps=lately, prefill_tps=5000.0)["llama3.2:1b"],
    }
    small = replace(GPT, parameters_b=8.0) if worth else GPT
    paid = device("cloud", small, replace(DEAR, parameters_b=worth), remote=True, slots=8, speeds=speeds)
    question = replace(ask(**HARD), strategy="heuristic") if worth else ask(**EASY)
    decision = decide(question, house(paid), replace(POLICY, cloud=Cloud.PREFERRED), {})

    assert first_model == decision.candidates[0].model
