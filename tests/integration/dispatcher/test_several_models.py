"""A router of three models, trained on labels by the command, on a bus: where jobs go, and what is told of it."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.messages import ModelInfo
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House
from tests.integration.dispatcher.scripted import PATIENCE_S, answer

MODELS = {"tiny:1b": 1.0, "poet:3b": 3.0, "solver:70b": 70.0}
SUM = "I have 12 and 47 and 81 and 55 hats. How many are they in all?"
POEM = "Write a long and gentle poem about hats and lamps, with the evening sea, number 76."
GREETING = "Hi hats 77!"


def labelled(path: Path) -> Path:
    """Greetings go well with all, poems with all but the tiny one, sums with the large one alone."""
    draw = random.Random(3)
    things = "apples boats candles doors engines forks gardens hats islands jackets kettles lamps".split()  # noqa: SIM905
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", *MODELS, "domain"])
        for number in range(360):
            first, second = draw.sample(things, 2)
            match number % 3:
                case 0:
                    counts = " and ".join(str(draw.randint(2, 99)) for _ in range(draw.randint(3, 6)))
                    table.writerow([f"I have {counts} {first}. How many are they in all?", 0, 0, 1, "sums"])
                case 1:
                    words = f"Write a long and gentle poem about {first} and {second}, with the evening sea, number {number}."
                    table.writerow([words, 0, 1, 1, "poems"])
                case _:
                    table.writerow([f"Hi {first} {number}!", 1, 1, 1, "talk"])
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the command writes them."""
    folder = tmp_path_factory.mktemp("several")
    base, *others = MODELS
    words = ["--base", base, *(word for model in others for word in ("--model", model)), "--no-eval"]
    end = subprocess.run(
        [sys.executable, "-m", "dispatcher", "lab", "train", "--from", str(labelled(folder / "labels.csv")), *words,
         "--embedder", "none", "-o", str(folder / "r.npz")],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)},
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert end.returncode == 0, end.stderr
    return folder / "r.npz"


def section(weights: Path, **fields: Any) -> RoutingSection:
    usual: dict[str, Any] = {"strategy": "learned", "router_file": str(weights), "strong_share": 1.0}
    return RoutingSection(**usual | fields)


async def devices(house: House, *names: str) -> None:
    """A device for each model, called as the model is without its size."""
    for name in names:
        info = ModelInfo(name=name, size_bytes=10**9, loaded=True, parameters_b=MODELS.get(name, 8.0))
        await house.device(name.partition(":")[0], answer("hi"), models=(info,))


async def gone(house: House, prompt: str) -> dict[str, Any]:
    """Run a job to its end and give its account."""
    stream = await house.ask(prompt)
    return dict((await stream.reply())["route"])


async def test_each_kind_goes_to_the_model_that_it_needs(a_house: OpenHouse, weights: Path) -> None:
    """Sums to the large one; poems and greetings never there when its calls are not to be paid, and the account says why."""
    async with a_house(routing=section(weights)) as house:
        await devices(house, *MODELS)
        told = await gone(house, SUM)
        choice = told["features"]["choice"]

        assert ("solver", "solver:70b", "trained router") == (told["device"], choice["model"], choice["by"])
        assert choice["probabilities"].keys() == MODELS.keys()
        assert choice["confidence"] >= choice["probabilities"]["solver:70b"] > 0.5
        assert "neighbours" not in choice

    async with a_house(routing=section(weights, strong_share=0.0)) as house:
        await devices(house, *MODELS)
        poem, held = await gone(house, POEM), await gone(house, SUM)

        assert "poet" == poem["device"]
        assert "solver" != held["device"]


async def test_it_is_explained(a_house: OpenHouse, weights: Path) -> None:
    """The way through domain and complexity, all probabilities, and the labelled prompts without their words."""
    async with a_house(routing=section(weights)) as house:
        await devices(house, *MODELS)
        reply = await house.world.request(
            house.subjects.work("route", "t"), codec.encode({"prompt": SUM}), timeout_s=PATIENCE_S
        )
        told = codec.decode(reply.data)
        choice = told["features"]["choice"]
        job = await house.ask(SUM, job="job-7")
        await job.reply()
        kept = await house.order("job-7", "why")

        assert ("solver", "reasoning") == (told["chosen"]["device"], choice["domain"])
        assert choice["level"] in {"easy", "middling", "hard"}
        assert choice["neighbours"]
        assert not any("prompt" in one for one in choice["neighbours"])
        assert {"probability", "gain"} == told["options"][0]["details"].keys()
        assert choice["probabilities"] == kept["features"]["choice"]["probabilities"]


async def test_a_fleet_that_it_does_not_know_goes_by_rules(a_house: OpenHouse, weights: Path) -> None:
    """And one that it knows in part has its other models behind."""
    async with a_house(routing=section(weights)) as house:
        await devices(house, "other:8b")
        strange = await gone(house, SUM)
        await devices(house, "poet:3b")
        partly = await gone(house, SUM)

        assert "the trained router knows none of the models at hand" == strange["features"]["choice"]["reason"]
        assert ("poet", ["tiny:1b", "solver:70b"], ["other:8b"]) == (
            partly["device"],
            partly["features"]["choice"]["not_at_hand"],
            partly["features"]["choice"]["not_known"],
        )


async def test_below_the_confidence_rules_decide(a_house: OpenHouse, weights: Path) -> None:
    """As `heuristic` would, and the account says how sure it was."""
    async with a_house(routing=section(weights, router_confidence=1.0)) as house:
        await devices(house, *MODELS)
        told = await gone(house, GREETING)
        rules = await house.ask(GREETING, strategy="heuristic")

        assert ("rules", (await rules.reply())["route"]["device"]) == (told["features"]["choice"]["by"], told["device"])
