"""An explained decision on terminals of any width: nothing that decides is cut."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from dispatcher.cli.explain_view import explained
from dispatcher.fleet import Liveness
from dispatcher.routing import Forecast, RoutingPolicy, explain
from dispatcher.routing.limits import Limit, Scope
from dispatcher.tariff import Rate
from tests.unit.dispatcher.builders import ask, device, fleet, model

HOUSE = fleet(
    device("jetson-orin-nano-1", model("qwen2.5-coder:7b-instruct", parameters_b=7.0), topics=("code",)),
    device("raspberry-pi-5-kitchen", model("llama3.2:1b"), topics=("chat",)),
    device("pi3", liveness=Liveness.DEAD),
)


def drawn(told: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(explained(told, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_nothing_is_cut(width: int) -> None:
    """Devices, models, scores and predictions are whole, and no line is longer than the terminal."""
    text = drawn(explain(ask(), HOUSE, RoutingPolicy()), width)
    words = ("jetson-orin-nano-1", "qwen2.5-coder:7b-instruct", "raspberry-pi-5-kitchen", "1st", "it is dead")

    assert ([], False) == ([word for word in words if word not in text], "…" in text)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_the_bars_are_as_long_as_the_score(width: int) -> None:
    """The three parts stand one behind the other, each with its sign, and a better option has the longer bar."""
    told = explain(ask(), HOUSE, RoutingPolicy())
    lines = [line for line in drawn(told, width).splitlines() if "█" in line and "▒" in line and "fit" not in line]
    lengths = [sum(line.count(sign) for sign in "█▓▒") for line in lines]

    assert (len(told["options"]), sorted(lengths, reverse=True)) == (len(lines), lengths)
    assert all(sign in lines[0] for sign in "█▓▒")


def test_a_decision_without_anybody_says_why() -> None:
    """The filters and the error are there, and no table of options."""
    text = drawn(explain(ask("none:1b"), HOUSE, RoutingPolicy()), 80)

    assert ("nobody" in text, "none:1b is not installed" in text, "score" in text) == (True, True, False)


def test_many_options_are_counted() -> None:
    """A large fleet does not scroll the answer away."""
    house = fleet(*[device(f"d{number:03}") for number in range(50)])
    text = drawn(explain(ask(), house, RoutingPolicy()), 80)

    assert "and 30 more options" in text


def test_what_the_strategy_lacks_is_told() -> None:
    """A strategy that had to do without something says so."""
    text = drawn(explain(replace(ask(), lacks="a trained router: none is set"), HOUSE, RoutingPolicy()), 80)

    assert "without a trained router: none is set" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_device_under_strain_is_named_once(width: int) -> None:
    """However many models it has, and only devices that are."""
    house = fleet(
        device("pi", model("a:1b"), model("b:1b"), throttling=("under-voltage",)), device("nano", model("a:1b"))
    )
    text = drawn(explain(ask(), house, RoutingPolicy()), width)

    assert ["under strain: pi: under-voltage"] == [line.strip() for line in text.splitlines() if "strain" in line]


def test_words_of_others_are_no_markup() -> None:
    """Brackets in the name of a model or in a reason are told as they are, and never end the drawing."""
    told = explain(ask(), HOUSE, RoutingPolicy())
    told["removed"] = [{"device": "pi[/x]", "model": "[qwen]", "filter": "mo[del]", "reason": "lacks [red]it[/red]"}]
    text = drawn(told, 120)

    assert [] == [words for words in ("pi[/x] ([qwen])", "mo[del]", "lacks [red]it[/red]") if words not in text]


def test_a_choice_among_several_models_is_drawn() -> None:
    """The way through domain and complexity, each model's probability, why, and neighbours without their words."""
    names = "llama3.2:1b", "qwen2.5-coder:7b-instruct"
    told = {"domain": "sums", "similarity": 0.7, "level": "hard", "complexity": 0.6, "base": names[0],
            "neighbours": [{"similarity": 0.9, "gain": 1.0}]}  # fmt: skip
    said = Forecast(
        base=names[0],
        gains={names[0]: 0.0, names[1]: 0.3, "absent:9b": 0.4},
        strong=frozenset(names[1:]),
        temperature=0.1,
        told=told,
    )
    text = drawn(explain(replace(ask(), strategy="learned", forecast=said), HOUSE, RoutingPolicy()), 200)

    assert "sums (0.70) > hard (0.60) > qwen2.5-coder:7b-instruct, confidence 0.95" in text
    assert "llama3.2:1b: probability 0.05, gain +0.00 over llama3.2:1b" in text
    assert "not at hand: absent:9b" in text
    assert "like (0.90, gain +1.00)\n" in "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (120, 1), (200, 1)])
def test_an_option_takes_one_line_where_there_is_room(width: int, lines: int) -> None:
    """On a narrow terminal the model stands below its device."""
    text = drawn(explain(ask(), HOUSE, RoutingPolicy()), width).splitlines()
    at = next(number for number, line in enumerate(text) if line.startswith("raspberry-pi-5-kitchen"))

    assert lines == 1 + next(number for number, line in enumerate(text[at:]) if "llama3.2:1b" in line)


CHECK: dict[str, Any] = {
    "given": "weak",
    "escalated": True,
    "why": "rules: 0.80 over 0.50",
    "faults": {"refuses": 0.8},
    "weak": {"device": "pi5", "model": "llama3.2:1b", "s": 2.1},
    "strong": {"device": "orin", "model": "llama3.2:3b"},
    "instead": "silent: orin fell silent",
}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (CHECK, ("pi5", "did not hold (rules: 0.80", "refuses 0.80", "the weak answer, of pi5", "orin fell silent")),
        ({**CHECK, "given": "strong", "instead": ""}, ("the strong answer, of orin with llama3.2:3b",)),
        ({**CHECK, "escalated": False, "faults": {}}, ("it held", "the weak answer, of pi5")),
    ],
)
def test_a_checked_answer_tells_its_verdict(check: dict[str, Any], words: tuple[str, ...]) -> None:
    """Who answered first, whether it held and why, and whose answer was given."""
    text = drawn({**explain(ask(), HOUSE, RoutingPolicy()), "cascade": check}, 200)

    assert [] == [word for word in words if word not in text], text


@pytest.mark.parametrize("width", [80, 120])
def test_watts_limits_and_the_price_are_told(width: int) -> None:
    """What the fleet draws, what energy costs, each limit with what is left of it, and what a job would add on each device."""
    house = fleet(device("orin", idle_w=5.0, busy_w=15.0, site="attic"), device("pi", idle_w=3.0, busy_w=10.0, own=1))
    policy = RoutingPolicy(
        rate=Rate(per_kwh=0.32, g_co2e_per_kwh=380.0),
        limits=(
            Limit(name="attic", watts=12.0, scope=Scope.SITE, of="attic"),
            Limit(name="cool", watts=20.0, on_battery=True),
        ),
    )
    text = " ".join(drawn(explain(ask(), house, policy), width).split())

    assert [] == [
        words
        for words in (
            "power: the fleet draws 15.0 W; energy costs 0.32 EUR/kWh; 380 g CO2e/kWh",
            "limit attic: 5.0 of 12 W on site attic",
            "limit cool: 15.0 of 20 W on the fleet, on battery (does not hold now)",
            "now and with a job: orin 5.0 > 15.0 W, pi 10.0 > 10.0 W",
            "limit attic: site attic would draw at least 15.0 W with the job, and 12 W are allowed",
        )
        if words not in text
    ]
