"""What a bench measures, in which order, and what it refuses."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from common.errors import BadRequest
from dispatcher.cli.questions import Conversation, Question
from dispatcher.lab.bench import sets
from dispatcher.lab.bench.cli import repeated
from dispatcher.lab.bench.order import outputs, require_url
from dispatcher.lab.bench.plan import (
    Arm,
    Arrival,
    Asked,
    BenchPlan,
    CacheMode,
    Load,
    arms,
    cache_modes,
    gaps_s,
    require_load,
)
from dispatcher.routing.strategies import STRATEGIES

OFF = (CacheMode.OFF,)
ASKED = tuple(
    Asked("small", Conversation(id=str(n), questions=(Question(messages=()),) * (1 + n % 2))) for n in range(6)
)


def names(strategies: list[str], thresholds: list[str]) -> list[str]:
    return [arm.strategy for arm in arms(strategies, thresholds, OFF)]


def test_token_runs_once_for_each_threshold() -> None:
    """The options of requirement A7: five names, four thresholds, eight arms."""
    found = names(["token", "heuristic", "semantic", "hybrid", "perf"], ["100", "500", "1000", "2000"])

    assert found == ["token:100", "token:500", "token:1000", "token:2000", "heuristic", "semantic", "hybrid", "perf"]


def test_all_is_every_strategy_and_every_mode_of_energy() -> None:
    """13 names: token gives 2 here, energy 3."""
    found = names(["all"], ["100", "500"])

    assert len(STRATEGIES) - 2 + 2 + 3 == len(found)
    assert {"energy:eco", "energy:balanced", "energy:fast", "token:500", "random", "learned"} <= set(found)


def test_a_strategy_that_is_named_twice_runs_once() -> None:
    """Also when it is part of all."""
    assert names(["hybrid", "perf", "hybrid"], ["1"]) == ["hybrid", "perf"]


def test_an_arm_knows_its_threshold() -> None:
    """Only token has one."""
    assert [500, None, None] == [Arm("token:500").threshold, Arm("token").threshold, Arm("energy:eco").threshold]


@pytest.mark.parametrize(
    ("strategies", "thresholds", "said"),
    [
        (["hybrit"], ["1"], "there is no strategy 'hybrit': use one of cascade, .* or all for all of them"),
        (["energy:green"], ["1"], "there is no energy mode 'green': use one of eco, balanced, fast"),
        (["token:many"], ["1"], "the threshold 'many' is no number of tokens"),
        (["token"], ["1e3"], "--thresholds '1e3' is no number of tokens: give whole numbers"),
        (["token"], ["0"], "--thresholds '0' is no number"),
        (["hybrid"], ["-5"], "--thresholds '-5' is no number"),
    ],
)
def test_what_there_is_not_is_refused_with_the_way_out(strategies: list[str], thresholds: list[str], said: str) -> None:
    """Names, variants and thresholds, before anything is started."""
    with pytest.raises(BadRequest, match=said):
        arms(strategies, thresholds, OFF)


def test_cache_modes_are_off_and_on() -> None:
    """Each once, in the order given; another word is refused."""
    assert ((CacheMode.ON, CacheMode.OFF), OFF) == (cache_modes(["on", "off", "on"]), cache_modes(["off"]))
    with pytest.raises(BadRequest, match="'maybe' is no cache mode: use off, on, or both"):
        cache_modes(["off", "maybe"])


def test_every_strategy_runs_with_each_cache_mode() -> None:
    """Side by side, and each is called by what it is."""
    found = arms(["hybrid", "perf"], ["1"], [CacheMode.OFF, CacheMode.ON])

    assert ["hybrid", "hybrid, cache on", "perf", "perf, cache on"] == [arm.name for arm in found]


def test_a_cache_that_is_on_is_used_for_all_that_it_has() -> None:
    """On asks for likeness too, which includes the very same question; off asks for nothing."""
    assert ["off", "semantic"] == [mode.wish for mode in CacheMode]


def test_every_arm_gets_the_same_questions_in_the_same_order() -> None:
    """Within a repeat; another repeat has another order, and the same seed the same."""
    plan = BenchPlan(arms=tuple(map(Arm, ("hybrid", "perf", "random"))), asked=ASKED, repeat=2, seed=3)
    laps = list(plan.laps())
    first, second = ({lap.order for lap in laps if lap.repeat == repeat} for repeat in (1, 2))

    assert (1, 1, 6) == (len(first), len(second), len(laps))
    assert first != second
    assert laps == list(plan.laps())


def test_a_plan_counts_its_questions() -> None:
    """3 conversations of 1 and 3 of 2 questions, twice, for 3 arms: 9 x 2 x 3."""
    plan = BenchPlan(arms=tuple(map(Arm, ("hybrid", "perf", "random"))), asked=ASKED, repeat=2)

    assert (9, 54) == (plan.questions, plan.total)


def test_arrivals_are_exponential_and_the_same_for_each_arm() -> None:
    """At 4 a second the mean gap is near 0.25 s: over 2,000 gaps, five standard errors are 0.028."""
    plan = BenchPlan(arms=(Arm("hybrid"), Arm("perf")), asked=ASKED * 334)
    load = Load(arrival=Arrival.POISSON, rate=4.0)
    one, other = (list(gaps_s(lap, load, seed=1)) for lap in islice(plan.laps(), 2))

    assert one == other
    assert 0.25 == pytest.approx(sum(one) / len(one), abs=0.028)


def test_rate_and_arrival_belong_together() -> None:
    """Either without the other would be ignored in silence."""
    with pytest.raises(BadRequest, match="--arrival poisson needs --rate"):
        require_load(Load(arrival=Arrival.POISSON))
    with pytest.raises(BadRequest, match="--rate belongs to --arrival poisson"):
        require_load(Load(rate=1.0))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--thresholds 100 500 --seed 1", "--thresholds 100 --thresholds 500 --seed 1"),
        ("--strategies token --strategies perf", "--strategies token --strategies perf"),
        ("-q a.json b.csv --no-report", "-q a.json -q b.csv --no-report"),
        ("--seed 1 2", "--seed 1 2"),
        ("--thresholds -5", "--thresholds -5"),
        ("--strategies", "--strategies"),
        ("", ""),
    ],
)
def test_a_list_may_stand_behind_one_option(words: str, expected: str) -> None:
    """As the original's command line has it; other options are left as they are."""
    assert expected.split() == list(repeated(words.split(), {"--thresholds", "--strategies", "-q"}))


def test_the_sets_that_come_with_drover_can_be_read() -> None:
    """JSON and CSV, short and long on both sides of every usual threshold, several turns, all the kinds of question."""
    asked = sets.load(["all"], None)
    tokens = {sum(len(message.content) for message in one.conversation.questions[0].messages) // 4 for one in asked}

    assert {"chat", "code", "long", "mixed", "multi_turn", "reasoning"} == {one.query_set for one in asked}
    assert {"chat", "code", "knowledge", "reasoning", "writing"} == {one.conversation.category for one in asked}
    assert {".csv", ".json"} == {path.suffix for path in sets.SHIPPED.iterdir()}
    ranges = [(0, 100), (100, 500), (500, 1000), (1000, 2000), (2000, 9999)]
    assert all(any(low < size <= high for size in tokens) for low, high in ranges)
    assert max(len(one.conversation.questions) for one in asked) > 2


def test_a_limit_is_spread_over_a_set() -> None:
    """Every fourth of twelve, not the first three."""
    assert ["greeting", "gift", "thanks"] == [one.conversation.id for one in sets.load(["chat"], 3)]


def test_a_set_that_there_is_not_is_refused() -> None:
    """With the names of those that there are, or as a file that is missing."""
    with pytest.raises(BadRequest, match=r"neither a file nor one of the sets .*chat, code, long, mixed"):
        sets.load(["chatty"], None)
    with pytest.raises(BadRequest, match=r"nowhere\.json: there is no such file"):
        sets.load(["nowhere.json"], None)


def test_files_lie_beside_one_another() -> None:
    """Summary, rows and report; one name for both tables is refused."""
    found = outputs(["a/quiz.json", "chat"], None, None, report=True)

    assert [Path("results/bench-quiz-chat.csv"), Path("results/bench-quiz-chat-queries.csv")] == [
        found.summary,
        found.per_query,
    ]
    assert Path("results/bench-quiz-chat.html") == found.report
    with pytest.raises(BadRequest, match="name the same file"):
        outputs(["chat"], Path("x.csv"), Path("x.csv"), report=True)


@pytest.mark.parametrize("url", ["localhost:4222", "ftp://host", "http://", ""])
def test_an_address_of_no_fleet_is_refused(url: str) -> None:
    """With what an address looks like."""
    with pytest.raises(BadRequest, match="write nats://host:4222 or http://host:8080"):
        require_url(url)
