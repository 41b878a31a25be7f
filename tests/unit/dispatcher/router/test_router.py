"""The router: what it adds to a decision from trained parts, rules and earlier jobs, and what explaining must not touch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import frames
from common.errors import BadRequest
from common.messages import Message, Role, Usage
from dispatcher.embed import Bounds, embedding
from dispatcher.embed.protocol import EmbedderId, Vectors
from dispatcher.outcomes import Decision, Delivered, Job
from dispatcher.roster import Roster
from dispatcher.router import Router
from dispatcher.router.judging import Wishes
from dispatcher.router.multi_file import write_multi
from dispatcher.router.policy_file import PolicyFile, policy_from
from dispatcher.router.weights import WeightFiles, Weights
from dispatcher.routing import RoutingPolicy
from tests.unit.dispatcher.builders import attempt, beat, job, model
from tests.unit.dispatcher.router.parts import flat_multi, save_router, save_topics

SMALL, LARGE = model("small:1b", parameters_b=1.0), model("large:70b", parameters_b=70.0, size_bytes=40 * 10**9)


class Axes:
    """An embedder for which a text that names a word of its list lies on that word's axis. It counts the texts."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.texts = 0

    @property
    def identity(self) -> EmbedderId:
        return EmbedderId(name="axes", version="abc", dimensions=4)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += len(texts)
        rows = np.zeros((len(texts), 4), dtype=np.float32)
        for number, text in enumerate(texts):
            rows[number, next((place for place, word in enumerate(self.words) if word in text), 3)] = 1.0
        return rows


class Stage:
    """A router and a fleet that tests change."""

    def __init__(self, tmp_path: Path) -> None:
        self.axes = Axes("contract", "soup")
        self.path = tmp_path
        self.roster = Roster(dispatcher="d", suspect_after=2.5, dead_after=5.0, forget_after_s=60.0)
        self.files = WeightFiles(topics=tmp_path / "t.npz", router=tmp_path / "r.npz")
        self.policy = RoutingPolicy()
        self.embedder: Axes | None = self.axes
        self.wishes = Wishes()

    def hear(self, device: str, **fields: Any) -> None:
        self.roster.observe(beat(device, **fields), 0.0)

    def tiers(self) -> None:
        """A device with a weak model and one with a strong one."""
        self.hear("nano", models=(SMALL,))
        self.hear("orin", models=(LARGE,))

    async def decided(self, *jobs: Job, explained: Sequence[Job] = ()) -> list[Decision]:
        """Explain some jobs, then decide others."""
        identity = None if self.embedder is None else str(self.embedder.identity)
        async with embedding(self.embedder, Bounds()) as vectors:
            router = Router(
                self.roster,
                PolicyFile(None, self.policy),
                embedding=vectors,
                weights=Weights(self.files, identity),
                strong_share=0.5,
                wishes=self.wishes,
            )
            self.router = router
            for one in explained:
                await router.explain(one)
            return [router.decide(await router.ask(one), {}) for one in jobs]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def first(decision: Decision) -> str:
    return decision.candidates[0].device


async def test_trained_topics_place_a_question(stage: Stage) -> None:
    """The device that is meant for the topic gets it, and the record names the embedder."""
    save_topics(stage.files.topics or Path(), "axes-4@abc", "law", "food")
    stage.hear("a", topics=("law",))
    stage.hear("b", topics=("food",))
    law, food = await stage.decided(
        job("read this contract", strategy="semantic"), job("a soup, please", strategy="semantic")
    )

    assert ("a", "b", "axes-4@abc") == (first(law), first(food), law.features["embedder"])


async def test_a_fleet_without_topics_costs_no_vector(stage: Stage) -> None:
    """A vector that would say nothing is not made."""
    save_topics(stage.files.topics or Path(), "axes-4@abc", "law", "food")
    stage.hear("a")
    async with embedding(stage.axes, Bounds()) as vectors:
        before = stage.axes.texts  # the service times its embedder when it opens
        router = Router(
            stage.roster, PolicyFile(None, stage.policy), embedding=vectors, weights=Weights(stage.files, "axes-4@abc")
        )
        await router.ask(job("read this contract"))
        without = stage.axes.texts - before
        stage.hear("b", topics=("law",))
        await router.ask(job("read this contract"))

    assert (0, 1) == (without, stage.axes.texts - before)


async def test_topics_of_another_embedder_are_said_to_lack(stage: Stage) -> None:
    """A file that can't be used is told in the record, and the words of the question do instead."""
    save_topics(stage.files.topics or Path(), "minilm-384@def", "law", "food")
    stage.hear("a", topics=("code",))
    (decision,) = await stage.decided(job("fix my python function"))

    assert "trained with the embedder minilm-384@def" in decision.features["lacks"]
    assert decision.candidates[0].terms.topic > 0.2


@pytest.mark.parametrize(("gain", "expected"), [(0.9, "orin"), (-0.9, "nano")])
async def test_the_trained_router_chooses_the_tier(stage: Stage, gain: float, expected: str) -> None:
    """A gain above what the share of strong calls lets through goes to the strong model, one below it to the weak one."""
    save_router(stage.files.router or Path(), gain)
    stage.tiers()
    (decision,) = await stage.decided(job(strategy="learned"))

    assert (expected, gain) == (first(decision), decision.features["verdict"]["gain"])


async def test_out_of_its_domain_the_rules_decide(stage: Stage) -> None:
    """Whatever gain is guessed for a prompt unlike all labelled ones: small talk stays with the weak model."""
    save_router(stage.files.router or Path(), 0.9, in_domain=False)
    stage.tiers()
    (decision,) = await stage.decided(job("hello, how are you today my friend", name="job-2", strategy="learned"))

    assert (first(decision), decision.features["verdict"]["reason"]) == (
        "nano",
        "unlike all labelled prompts: the rules decide",
    )


async def test_without_a_trained_router_the_lack_is_told(stage: Stage) -> None:
    """`learned` without weights goes by rules, and says which file it misses."""
    stage.tiers()
    (decision,) = await stage.decided(job(strategy="learned"))

    assert decision.features["lacks"] == f"a trained router: {stage.files.router} is not there"


async def test_a_named_model_is_not_judged(stage: Stage) -> None:
    """Where the producer chose the model there is nothing to choose; what runs is booked all the same."""
    save_router(stage.files.router or Path(), 0.9)
    stage.tiers()
    named, free = await stage.decided(job(strategy="learned", model="small:1b"), job(strategy="learned", name="job-2"))

    assert ("verdict" in named.features, free.features["verdict"]["strong"]) == (False, True)


def ran(stage: Stage, one: Job, decision: Decision, device: str | None) -> None:
    """Note that a job ended on a device, or before it got to one."""
    chosen = next((found for found in decision.candidates if found.device == device), None)
    tried = () if chosen is None else (attempt(device=chosen.device),)
    stage.router.note(one, Delivered(decision=decision.settled(), chosen=chosen, attempts=tried, end=frames.End()))


@pytest.mark.parametrize(
    ("fields", "gain", "device", "expected"),
    [
        pytest.param({}, 0.9, "orin", 1.0, id="as judged"),
        pytest.param({}, -0.9, "orin", 1.0, id="the weak tier was full"),
        pytest.param({}, 0.9, "nano", 0.0, id="the strong tier was away"),
        pytest.param({"model": "large:70b"}, -0.9, "orin", 1.0, id="a strong model was named"),
        pytest.param({"model": "small:1b"}, 0.9, "nano", 0.0, id="a weak model was named"),
        pytest.param({"model": "auto@orin"}, -0.9, "orin", 1.0, id="the strong device was pinned"),
        pytest.param({}, 0.9, None, 0.0, id="it was cancelled in the queue"),
    ],
)
async def test_the_budget_books_what_ran(
    stage: Stage, fields: dict[str, str], gain: float, device: str | None, expected: float
) -> None:
    """Whatever was judged: the share of strong calls counts the tier that answered."""
    save_router(stage.files.router or Path(), gain)
    stage.tiers()
    one = job(strategy="learned", **fields)
    (decision,) = await stage.decided(one)
    ran(stage, one, decision, device)

    assert expected == await realised(stage)


async def realised(stage: Stage, tenant: str = "default") -> float:
    """The share of strong calls that a tenant has had, as it is explained."""
    told = await stage.router.explain(job(strategy="learned", name="asked", tenant=tenant))
    return float(told["features"]["verdict"]["strong_share"])


async def test_pins_to_the_strong_model_are_made_up_for(stage: Stage) -> None:
    """One tenant's job in five is pinned to it, and the rules want the rest there: half of what ran is strong, as is wished; and
    another tenant has had nothing."""
    save_router(stage.files.router or Path(), 0.9, in_domain=False)
    stage.tiers()
    await stage.decided()
    hard = "Prove step by step that the algorithm is correct, and explain why it terminates. " * 8
    for number in range(600):
        model = "auto" if number % 5 else "large:70b"
        one = job(hard, strategy="learned", name=f"job-{number}", model=model)
        decision = stage.router.decide(await stage.router.ask(one), {})
        ran(stage, one, decision, decision.candidates[0].device)

    assert (pytest.approx(0.5, abs=0.05), 0.0) == (await realised(stage), await realised(stage, "bob"))


async def test_another_router_starts_with_its_own_thresholds(stage: Stage) -> None:
    """Scores of the router before say nothing of those of the next one: its budget begins anew."""
    path = stage.files.router or Path()
    save_router(path, 0.9)
    stage.tiers()
    await stage.decided(*[job(strategy="learned", name=f"job-{number}") for number in range(20)])
    save_router(path, 0.8, in_domain=True)
    stage.router.reread()
    decision = stage.router.decide(await stage.router.ask(job(strategy="learned")), {})

    assert (decision.features["verdict"]["strong"], decision.features["verdict"]["strong_share"]) == (True, 0.0)


async def test_explaining_leaves_no_trace(stage: Stage) -> None:
    """Neither the turn of the rota nor the budget of strong calls moves, and what is told is what the next job gets."""
    save_router(stage.files.router or Path(), 0.9)
    stage.tiers()
    asked = [job(strategy="round_robin", name="x"), job(strategy="learned", name="y")] * 5
    after = await stage.decided(job(strategy="round_robin"), job(strategy="learned"), explained=asked)
    plain = await stage.decided(job(strategy="round_robin"), job(strategy="learned"))

    assert [first(one) for one in plain] == [first(one) for one in after]
    assert plain[1].features["verdict"] == after[1].features["verdict"]


async def test_explaining_tells_whose_turn_is_next(stage: Stage) -> None:
    """The rota as the next job will find it."""
    for name in ("a", "b", "c"):
        stage.hear(name)
    await stage.decided()
    chosen = []
    for number in range(4):
        one = job(strategy="round_robin", name=f"job-{number}")
        told = await stage.router.explain(one)
        chosen.append((told["chosen"]["device"], first(stage.router.decide(await stage.router.ask(one), {}))))

    assert all(told == done for told, done in chosen), chosen
    assert {"a", "b", "c"} == {done for _, done in chosen}


async def test_a_strategy_that_there_is_not_is_refused(stage: Stage) -> None:
    """The error names those there are."""
    await stage.decided()
    with pytest.raises(BadRequest, match="there is no strategy 'best': use one of cascade, energy"):
        await stage.router.explain(job(strategy="best"))


# -- what is learnt from job to job -----------------------------------------------------------------------------------------


def spoken(*texts: str) -> tuple[Message, ...]:
    """A conversation, the user first."""
    return tuple(
        Message(role=Role.ASSISTANT if number % 2 else Role.USER, content=text) for number, text in enumerate(texts)
    )


async def test_a_conversation_goes_where_its_prompt_was_read(stage: Stage) -> None:
    """The second turn of a long conversation costs no prefill where the first one was, so it goes there; another one does not."""
    for name in ("a", "b"):
        stage.hear(name, slots=2)
    opening = job("tell " * 4000)
    (decision,) = await stage.decided(opening)
    last = decision.candidates[1]  # not the one that names would choose
    end = frames.End(tokens=1, usage=Usage(prompt_tokens=4000, completion_tokens=1))
    stage.router.note(opening, Delivered(decision=decision.settled(), chosen=last, end=end))
    second = replace(opening, messages=spoken("tell " * 4000, "once", "go on"))
    other = replace(opening, messages=spoken("sing " * 4000, "la", "go on"))
    again, elsewhere = [stage.router.decide(await stage.router.ask(one), {}) for one in (second, other)]

    assert ("a", "b", "b", "a") == (first(decision), last.device, first(again), first(elsewhere))


async def test_a_job_can_be_asked_for_by_its_tenant_alone(stage: Stage) -> None:
    """What is kept of a job is told to its tenant, and to whoever may ask for all."""
    stage.tiers()
    one = job(tenant="alice")
    (decision,) = await stage.decided(one)
    stage.router.note(one, Delivered(decision=decision.settled(), chosen=decision.candidates[0]))
    told = {tenant: stage.router.explained(one.id, tenant) for tenant in ("alice", "bob", None)}

    assert {"alice": True, "bob": False, None: True} == {tenant: found is not None for tenant, found in told.items()}


async def test_rules_on_the_kind_of_question_use_trained_topics(stage: Stage) -> None:
    """`heuristic` asks for the kind of question also where no device names topics, and topics that were not trained keep theirs."""
    save_topics(stage.files.topics or Path(), "axes-4@abc", "reasoning", "law")
    stage.axes.words = ("riddle", "contract")
    stage.tiers()
    (decision,) = await stage.decided(job("here is a riddle", strategy="heuristic"))
    ask = await stage.router.ask(job("def f(): return python code", strategy="heuristic"))

    assert ("orin", "axes-4@abc") == (first(decision), decision.features["embedder"])
    assert {"chat", "code", "knowledge", "law", "reasoning", "writing"} == set(ask.wanted.topics)


# -- a router of several models ---------------------------------------------------------------------------------------------

MIDDLE = model("middle:8b", parameters_b=8.0)


def three(stage: Stage, **how: Any) -> None:
    """A router of three models, and a device for each of them."""
    gains = {"middle:8b": 0.3, "large:70b": 0.9}
    write_multi(stage.files.router or Path(), flat_multi(gains, base="small:1b", **how), {})
    stage.tiers()
    stage.hear("xavier", models=(MIDDLE,))


async def test_several_models_are_told_apart(stage: Stage) -> None:
    """The likeliest comes first; the record has confidence, probabilities, the way there, and neighbours without their words."""
    three(stage)
    (decision,) = await stage.decided(job(strategy="learned"))
    told = decision.features["choice"]

    assert ("large:70b", "orin", "easy") == (told["model"], first(decision), told["level"])
    assert told["probabilities"].keys() == {"small:1b", "middle:8b", "large:70b"}
    assert [{"similarity", "gain"}] == [one.keys() for one in told["neighbours"]]


async def test_the_budget_counts_strong_models_alone(stage: Stage) -> None:
    """Its share of the jobs goes to the strong one, and the others to the best of the rest: the base never comes first."""
    three(stage)
    decisions = await stage.decided(*(job(strategy="learned", name=f"job-{number}") for number in range(200)))
    chosen = Counter(one.candidates[0].model for one in decisions)

    assert {"large:70b", "middle:8b"} == chosen.keys()
    assert 60 <= chosen["large:70b"] <= 120  # equal scores come in bursts


async def test_without_a_strong_model_at_hand_nothing_is_booked(stage: Stage) -> None:
    """Nothing can be saved, so the budget stays as it was."""
    three(stage)
    stage.roster = Roster(dispatcher="d", suspect_after=2.5, dead_after=5.0, forget_after_s=60.0)
    stage.hear("pi", models=(SMALL,))
    stage.hear("xavier", models=(MIDDLE,))
    decisions = await stage.decided(*(job(strategy="learned", name=f"job-{number}") for number in range(5)))

    assert {("xavier", 0.0)} == {(first(one), one.features["choice"]["strong_share"]) for one in decisions}


async def test_the_owner_says_how_sure_is_sure(stage: Stage) -> None:
    """With a confidence that nothing reaches the rules decide, and the record says so."""
    three(stage)
    stage.wishes = Wishes(confidence=1.0)
    (decision,) = await stage.decided(job(strategy="learned"))

    assert "rules" == decision.features["choice"]["by"]
    assert 1.0 == decision.features["choice"]["least_confidence"]


async def test_explored_jobs_are_marked(stage: Stage) -> None:
    """Out of the domain some 3 % try what the rules would not, and their record says so: their answers can be labelled."""
    three(stage, in_domain=False)
    asked = [job(strategy="learned", name=f"job-{number}") for number in range(400)]
    marked = [one.features["choice"] for one in await stage.decided(*asked)]
    save_router(stage.files.router or Path(), 0.9, in_domain=False)
    tiers = [one.features["verdict"] for one in await stage.decided(*asked)]

    assert 4 <= sum(one["explored"] for one in marked) <= 25
    assert [one["explored"] for one in marked] == [one["explored"] for one in tiers]


async def test_the_owner_lets_labelled_prompts_be_shown(stage: Stage) -> None:
    """How they begin is told where it was asked for, and nowhere else."""
    save_router(stage.files.router or Path(), 0.9)
    stage.tiers()
    (without,) = await stage.decided(job(strategy="learned"))
    stage.wishes = Wishes(heads=True)
    (shown,) = await stage.decided(job(strategy="learned"))

    assert ("hi there" in repr(without.features), "hi there" in repr(shown.features)) == (False, True)


async def test_a_large_fleet_is_explained_off_the_loop(stage: Stage) -> None:
    """While a decision over 300 devices is explained the loop turns and the fleet grows, and what is told is of one moment."""
    for number in range(300):
        stage.hear(f"pi-{number:03}")
    await stage.decided()
    turned = 0
    async with asyncio.TaskGroup() as tasks:
        explaining = tasks.create_task(stage.router.explain(job()))
        while not explaining.done() and turned < 100_000:
            await asyncio.sleep(0)
            turned += 1
            if turned > 1:  # by then it has begun
                stage.hear(f"new-{turned % 50:02}", boot=f"boot-{turned}")
    told = explaining.result()

    assert (300, 100) == (told["options_in_all"], len(told["options"]))
    assert turned > 2


HOURS = """
timezone = "UTC"
[tenants.alice]
strategy = "perf"
[[limit]]
name = "peak"
device = "nano"
watts = 0
from = "17:00"
to = "20:00"
[[schedule]]
name = "eco at the peak"
strategy = "energy:eco"
tariff_above = 0.4
[tariff]
per_kwh = 0.3
[[tariff.hours]]
from = "17:00"
to = "20:00"
per_kwh = 0.45
"""


async def test_the_moment_brings_its_own_strategy_price_and_limits(stage: Stage) -> None:
    """At 18:00 the fleet's strategy is another one, but not that of a tenant with its own, a kilowatt-hour costs more, and a device
    is shut; at 21:00 all is as at noon."""
    stage.tiers()
    clock = 0.0
    async with embedding(None, Bounds()) as vectors:
        router = Router(
            stage.roster,
            PolicyFile(None, policy_from(HOURS, RoutingPolicy())),
            embedding=vectors,
            weights=Weights(stage.files, None),
            unix_s=lambda: clock,
        )
        seen = []
        for hour in (12, 18, 21):
            clock = hour * 3600.0
            ask = await router.ask(job())
            out = [one.reason for one in router.decide(ask, {}).removed]
            own = await router.ask(job(tenant="alice"))
            seen.append((ask.strategy, own.strategy, router.rate().per_kwh, sorted(router.shut()), out))

    usual: Any = ("hybrid", "perf", 0.3, [], [])
    closed = "limit peak (17:00 to 20:00) allows no job on device nano"
    assert [usual, ("energy:eco", "perf", 0.45, ["nano"], [closed]), usual] == seen
