"""What a reader is told before the figures, and what a fleet of the bench's own is set with."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import BadRequest
from dispatcher.cli.questions import Conversation, Question
from dispatcher.lab.bench.caveats import notes
from dispatcher.lab.bench.house import Simulated
from dispatcher.lab.bench.order import BenchOrder, outputs, settings_of
from dispatcher.lab.bench.plan import Arm, Asked, BenchPlan
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.summary import summarise
from dispatcher.lab.bench.surroundings import cleared, require_settings


def order(
    time_factor: float = 20.0, count: int = 6, repeat: int = 3, warm_up: bool = True, **settings: str
) -> BenchOrder:
    asked = tuple(Asked("s", Conversation(id=str(n), questions=(Question(messages=()),))) for n in range(count))
    return BenchOrder(
        plan=BenchPlan(arms=(Arm("hybrid"),), asked=asked, repeat=repeat),
        outputs=outputs(["s"], None, None, report=False),
        simulated=Simulated(devices="nano", time_factor=time_factor, settings=settings),
        warm_up=warm_up,
    )


def rows(count: int = 6, **fields: object) -> list[BenchRow]:
    """Give answers of 10 s: 1 s in the queue, 2 s to load, 1 s to read, 100 tokens at 20 a second, and 1 s of Drover's."""
    usual: dict[str, object] = {
        "success": True, "simulated": True, "latency_s": 10.0, "queue_s": 1.0, "load_s": 2.0, "prefill_s": 1.0,
        "completion_tokens": 100, "decode_tps": 20.0, "query_set": "s",
    }  # fmt: skip
    return [
        BenchRow(strategy="hybrid", query_id=str(n), repeat=repeat, **(usual | fields))  # type: ignore[arg-type]
        for n in range(count)
        for repeat in (1, 2, 3)
    ]


def said(order: BenchOrder, found: list[BenchRow]) -> str:
    return "\n".join(notes(order, found, summarise(found, order.plan.arms)))


def test_what_a_time_factor_magnifies_is_told_in_figures() -> None:
    """1 s of 10 is Drover's own; at 20 times life that was 50 ms."""
    assert "at the median 50 ms a question, which count as 1 s here, 10 % of the median latency" in said(
        order(), rows()
    )


def test_a_fleet_with_another_clock_is_noticed() -> None:
    """Its devices worked for 8 s, and 0.4 s were waited for them: it is some 20 times faster than it was taken for."""
    text = said(order(time_factor=1.0), rows(latency_s=0.4))

    assert "worked 20 times longer than was waited for them" in text
    assert "give the fleet's own --time-factor" in text
    assert "times longer" not in said(order(), rows())


def test_a_bench_that_was_late_says_so() -> None:
    """1 s of 10 is more than a twentieth; 0.1 s is not."""
    assert "the bench itself was up to 1 s late (p95)" in said(order(), rows(lag_s=1.0))
    assert "the bench itself" not in said(order(), rows(lag_s=0.1))


def test_few_conversations_are_called_few() -> None:
    """5 may all lean to one side by chance."""
    assert "5 conversations are too few to compare by" in said(order(count=5), rows(5))
    assert "too few" not in said(order(), rows())


def test_the_shell_and_its_file_stay_out(tmp_path: Path) -> None:
    """Each knob of ours that either of them has is emptied, which means the default; what is not ours stays."""
    (tmp_path / ".env").write_text("# DROVER_NOT=1\nexport DROVER_FEEDBACK = off\nNATS_URL=x\nPATH=/bin\n")
    found = cleared({"DROVER_STRATEGY": "perf", "drover_slots": "9", "HOME": "/root"}, tmp_path / ".env")

    assert {"DROVER_STRATEGY": "", "drover_slots": "", "DROVER_FEEDBACK": "", "NATS_URL": ""} == found
    assert {} == cleared({"HOME": "/root"}, tmp_path / "none")


@pytest.mark.parametrize("text", ["DROVER_SLOTS", "PATH=x", "=3", "DROVER_HTTP_PORT=1", "DROVER_CLOUD_MODELS=gpt"])
def test_what_can_not_be_set_is_refused(text: str) -> None:
    """What is no setting, what the bench sets itself, and what costs money."""
    with pytest.raises(BadRequest, match="--setting"):
        require_settings([text])


def test_rows_of_other_settings_do_not_mix(tmp_path: Path) -> None:
    """A setting, what is in the file that it names, and whether models were warm: each makes other rows."""
    policy = tmp_path / "routing.toml"
    policy.write_text("a = 1")
    named = order(DROVER_ROUTING_FILE=str(policy))
    found = [settings_of(order()), settings_of(order(warm_up=False)), settings_of(named)]
    policy.write_text("a = 2")
    found.append(settings_of(named))

    assert 4 == len({str(one) for one in found})
    assert found[0] == settings_of(order())


def test_a_cache_that_was_never_there_is_told_of() -> None:
    """Nothing was on but the bench's own wish."""
    assert "its DROVER_CACHE is off for who asked" in said(order(), rows(cache="on"))


def test_what_a_hit_rate_is_worth_is_told() -> None:
    """It is that of these questions; and whether an answer to another one was right, nobody has checked."""
    exact = said(order(), rows(cache="on", cache_outcome="hit", cache_kind="exact"))
    alike = said(order(), rows(cache="on", cache_outcome="hit", cache_kind="semantic"))

    assert (True, False) == ("the hit rate is that of these questions" in exact, "nothing here says whether" in exact)
    assert "Answers by likeness were given to other questions: nothing here says whether they were right." in alike


def test_without_a_cache_nothing_is_said_of_one() -> None:
    """Only what was asked for is explained."""
    assert "cache" not in said(order(), rows())
