"""`drover lab` as a command: train, evaluate, and what it says of bad tables."""

from __future__ import annotations

import csv
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.router.multi_file import read_multi
from dispatcher.router.trained_file import read_router, write_router
from dispatcher.routing.answer_signals import ANSWER_SIGNALS
from dispatcher.routing.features import looks
from dispatcher.routing.multi import Choice, MultiRouter, choose
from dispatcher.routing.prompt_signals import SIGNALS, prompt_signals
from tests.experiments import sound

THINGS = "apples boats candles doors engines forks gardens hats islands jackets kettles lamps mirrors nails oars pens".split()  # noqa: SIM905


def _labels(path: Path, rows: int = 240) -> Path:
    """Small talk, which both models answer, and sums, which the weak one often gets wrong: more so the longer they are."""
    draw = random.Random(7)
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "weak", "strong", "weak_response", "domain"])
        for number in range(rows):
            first, second = draw.choice(THINGS), draw.choice(THINGS)
            if number % 2:
                table.writerow(
                    [f"Tell me about {first} and {second}, number {number}.", 1, 1, f"About {first}.", "talk"]
                )
                continue
            counts = [draw.randint(2, 99) for _ in range(draw.randint(2, 6))]
            right = draw.random() > len(counts) / 6
            said = sum(counts) + (0 if right else draw.randint(1, 9))
            prompt = f"I have {' and '.join(map(str, counts))} {first}. How many are they in all?"
            table.writerow([prompt, int(right), 1, f"{' + '.join(map(str, counts))} = {said}", "sums"])
    return path


def _drover(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dispatcher", "lab", *map(str, words)]
    root = Path(__file__).parents[3]
    return subprocess.run(
        command, cwd=cwd, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(cwd)},
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip


def test_a_router_is_trained_without_any_embedder(tmp_path: Path) -> None:
    """Weights, card and model card come out; a sum then promises more gain than small talk."""
    end = _drover(
        "train", "--from", _labels(tmp_path / "l.csv"), "-o", "r.npz", "--embedder", "none", "--no-eval", cwd=tmp_path
    )

    assert end.returncode == 0, end.stderr
    router, card = read_router(tmp_path / "r.npz", signals=SIGNALS, embedder=None)
    hard, easy = (
        router.gain(prompt_signals(text), None).score
        for text in (
            "I have 12 and 7 and 81 and 5 and 33 hats. How many are they in all?",
            "Tell me about pens and oars.",
        )
    )

    assert (hard > 0.3, easy < 0.2, card["data"]["rows"]) == (True, True, 240)
    assert "# Model card: r" in (tmp_path / "r.md").read_text()


def test_the_same_seed_writes_the_same_weights(tmp_path: Path) -> None:
    """Byte for byte."""
    labels = _labels(tmp_path / "l.csv", 80)
    digests = []
    for name in ("a", "b"):
        end = _drover("train", "--from", labels, "-o", f"{name}.npz", "--embedder", "none", "--no-eval", cwd=tmp_path)
        assert end.returncode == 0, end.stderr
        digests.append(json.loads((tmp_path / f"{name}.json").read_text())["sha256"])

    assert digests[0] == digests[1]


def test_an_evaluation_is_reported(tmp_path: Path) -> None:
    """Every method beside each other, as JSON, as Markdown and as plots; the router beats length, the answer helps."""
    pytest.importorskip("matplotlib", reason="plots need the extra lab")
    words = ["--embedder", "none", "--draws", "50", "--folds", "3", "--without", "talk", "-o", "out"]
    end = _drover("eval", "--from", _labels(tmp_path / "l.csv"), *words, cwd=tmp_path)

    assert end.returncode == 0, end.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {row["method"]: row["order"]["apgr"]["value"] for row in report["rows"] if row["test"] == "all"}

    assert sorted(found) == [
        "cascade",
        "domain mean",
        "oracle",
        "prompt length",
        "random",
        "router",
        "text signals only",
    ]
    assert found["oracle"] >= found["cascade"] > found["router"] > 0.6 > found["random"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "apgr.png", "apgr.svg", "pgr.png", "pgr.svg", "report.json", "report.md", "router.csv", "router.manifest.json",
    ]  # fmt: skip
    assert "always weak" in (tmp_path / "out" / "report.md").read_text()
    [run] = sound(tmp_path / "out")
    manifest = run.manifest
    told = {arm.name: arm.figures["apgr"].value for arm in manifest.arms if arm.test == "all"}
    assert ("router", found, len(report["rows"])) == (str(manifest.kind), told, manifest.rows.count)
    assert set(found) == {one.name for one in manifest.plots[0].lines}


TEMPLATE = (
    "You are a careful assistant. Read the question, think about it step by step, and answer it in a single line: "
)


def _changed(path: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> Path:
    """Write a table anew, each row changed."""
    with path.open(newline="") as stream:
        rows = [change(row) for row in csv.DictReader(stream)]
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_prompts_of_one_template_are_judged_by_copies(tmp_path: Path) -> None:
    """What all begin with is no passage: the report says that copies alone are kept together, and has figures with intervals."""
    labels = _changed(_labels(tmp_path / "l.csv"), lambda row: row | {"prompt": TEMPLATE + row["prompt"]})
    words = ["--embedder", "none", "--draws", "20", "--folds", "2", "--no-plots", "-o", "out"]
    end = _drover("eval", "--from", labels, *words, cwd=tmp_path)

    assert end.returncode == 0, end.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {row["method"]: row["order"]["apgr"] for row in report["rows"] if row["test"] == "all"}["router"]
    assert (report["plan"]["grouped"], found["low"] < found["value"] < found["high"]) == (False, True)
    assert "were not kept together" in end.stdout


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"prompt": "How many hats?"}, [], "240 labels of 1 prompts"),
        ({}, ["--train-rows", "240"], "leaves none of 240 labels to test on: say at most 239"),
        (
            {"weak": "1", "strong": "1"},
            [],
            "no gap to learn: the strong model is 100.0 % right and the weak one 100.0 %",
        ),
        ({}, ["--without", "songs"], "--without songs: the labels have no such domain, but sums, talk"),
        ({}, ["--without", "sums", "--without", "talk"], "leaves no prompt"),
        ({}, ["--column", "domain=topic"], "lacks the columns topic: it has prompt, weak"),
    ],
)
def test_labels_that_allow_no_figures_are_refused(
    tmp_path: Path, change: dict[str, str], words: list[str], said: str
) -> None:
    """On one line, with status 1 and the way out."""
    labels = _changed(_labels(tmp_path / "l.csv"), lambda row: row | change)
    end = _drover("eval", "--from", labels, "--embedder", "none", "--no-plots", *words, cwd=tmp_path)

    assert (end.returncode, said in end.stderr) == (1, True), end.stderr


def test_where_there_is_no_gap_nothing_is_trained(tmp_path: Path) -> None:
    """A router between equals would be noise."""
    labels = _changed(_labels(tmp_path / "l.csv"), lambda row: row | {"strong": "0"})
    end = _drover("train", "--from", labels, "--embedder", "none", "--no-eval", "-o", "r.npz", cwd=tmp_path)

    assert (end.returncode, (tmp_path / "r.npz").exists()) == (1, False)
    assert "has no gap to learn" in end.stderr


def test_figures_can_be_computed_again_from_the_scores(tmp_path: Path) -> None:
    """The table holds each method's score of each test prompt, by the label's row; what is judged is told as it goes."""
    words = ["--embedder", "none", "--draws", "5", "--folds", "2", "--repeats", "2", "--no-plots"]
    end = _drover(
        "eval", "--from", _labels(tmp_path / "l.csv"), *words, "-o", "out", "--scores", "s/scores.csv", cwd=tmp_path
    )

    assert end.returncode == 0, end.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    told = {row["method"]: row["order"]["apgr"]["value"] for row in report["rows"] if row["test"] == "all"}
    with (tmp_path / "s" / "scores.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["test"] == "all"]
    parts = [[row for row in rows if row["repeat"] == repeat] for repeat in "12"]
    again = {
        method: sum(
            _apgr([(float(row[method]), float(row["strong"]) - float(row["weak"])) for row in part]) for part in parts
        )
        / 2
        for method in told
    }

    assert [sorted(int(row["row"]) for row in part) for part in parts] == [list(range(1, 241))] * 2
    assert again == pytest.approx(told)
    assert "judging all: router, 2 of 2" in end.stderr


def _apgr(scored: list[tuple[float, float]]) -> float:
    """The area under the part of the gap that is recovered, by the most promising prompts first; equal scores share their gain."""
    total, points = sum(gain for _, gain in scored), [0.0]
    for score in sorted({score for score, _ in scored}, reverse=True):
        alike = [gain for one, gain in scored if one == score]
        points += [points[-1] + sum(alike) / len(alike) * at for at in range(1, len(alike) + 1)]
    return sum((low + high) / 2 for low, high in itertools.pairwise(points)) / total / len(scored)


@pytest.mark.parametrize(
    ("settings", "words", "status", "said"),
    [
        ("DROVER_EMBEDDER=none\n", [], 0, "trained on 240"),
        ("DROVER_EMBEDDER=static\nDROVER_EMBEDDER_PATH=own.bin\n", [], 1, "own.bin can't be read"),
        (
            "DROVER_EMBEDDER=static\nDROVER_EMBEDDER_PATH=own.bin\n",
            ["--embedder-path", "other.bin"],
            1,
            "other.bin can't",
        ),
        ("DROVER_EMBEDDER=minilm\nDROVER_EMBEDDER_PATH=own.bin\n", ["--embedder", "none"], 0, "trained on 240"),
    ],
)
def test_the_embedder_is_the_one_of_the_settings(
    tmp_path: Path, settings: str, words: list[str], status: int, said: str
) -> None:
    """With its file, as the dispatcher takes it and `drover embedder use` wrote it, unless an option says otherwise."""
    (tmp_path / ".env").write_text(settings)
    end = _drover("train", "--from", _labels(tmp_path / "l.csv"), "-o", "r.npz", "--no-eval", *words, cwd=tmp_path)

    assert (end.returncode, said in end.stdout + end.stderr) == (status, True), end.stderr
    if status == 0:
        assert read_router(tmp_path / "r.npz", signals=SIGNALS, embedder=None)[0].space.embedder is None


def test_topics_take_the_embedder_of_the_settings(tmp_path: Path) -> None:
    """With its file, too."""
    (tmp_path / ".env").write_text("DROVER_EMBEDDER_PATH=own.bin\n")
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"question {number}\n" for number in range(8)))
    end = _drover("centroids", "--from", "t.csv", cwd=tmp_path)

    assert (end.returncode, "own.bin can't be read" in end.stderr) == (1, True), end.stderr


def test_the_same_evaluation_draws_the_same_plots(tmp_path: Path) -> None:
    """Byte for byte, and every method that is judged has its place in them."""
    pytest.importorskip("matplotlib", reason="plots need the extra lab")
    labels = _labels(tmp_path / "l.csv")
    words = ["--embedder", "none", "--draws", "5", "--folds", "2", "--without", "talk"]
    ends = [_drover("eval", "--from", labels, *words, "-o", out, cwd=tmp_path) for out in ("one", "two")]

    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    for name in ("pgr.svg", "apgr.svg", "pgr.png", "apgr.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    text = (tmp_path / "one" / "apgr.svg").read_text()
    assert [word for word in ("router", "cascade", "domain mean", "all, without talk") if word not in text] == []


def _trained(tmp_path: Path, rows: int = 160) -> tuple[Path, list[str]]:
    """Train on the first rows; give all lines of the table too, its head first."""
    lines = _labels(tmp_path / "l.csv").read_text().splitlines(keepends=True)
    labels = tmp_path / "train.csv"
    labels.write_text("".join(lines[: rows + 1]))
    end = _drover("train", "--from", labels, "-o", "r.npz", "--embedder", "none", "--no-eval", cwd=tmp_path)
    assert end.returncode == 0, end.stderr
    return labels, lines


def _judge(tmp_path: Path, labels: Path, name: str) -> subprocess.CompletedProcess[str]:
    words = ["--from", labels, "--weights", name, "--embedder", "none", "--no-plots", "--draws", "50", "-o", "out"]
    return _drover("eval", *words, "--scores", "s.csv", cwd=tmp_path)


@pytest.mark.parametrize(("name", "method"), [("r.npz", "router"), ("r.cascade.npz", "cascade")])
def test_weights_are_judged_on_other_labels(tmp_path: Path, name: str, method: str) -> None:
    """Labels that were not trained on, nothing trained anew; those that were are known again and left out."""
    _, lines = _trained(tmp_path)
    every = tmp_path / "every.csv"
    every.write_text("".join(lines).replace("Tell me about", "TELL  me about"))
    end = _judge(tmp_path, every, name)

    assert end.returncode == 0, end.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {row["method"]: row["order"]["apgr"]["value"] for row in report["rows"]}
    assert found["oracle"] >= found[method] > 0.6
    assert {row["count"] for row in report["rows"]} == {80}
    with (tmp_path / "s.csv").open(newline="") as stream:
        assert [int(row["row"]) for row in csv.DictReader(stream)] == list(range(161, 241))
    assert "160 of 240 prompts are left out" in (tmp_path / "out" / "report.md").read_text()


def test_what_was_trained_on_is_never_reported_as_unseen(tmp_path: Path) -> None:
    """The training file is refused, also under another name and in another order; so is a file that has too little else."""
    _, lines = _trained(tmp_path)
    again, few = tmp_path / "again.csv", tmp_path / "few.csv"
    again.write_text("".join([lines[0], *lines[160:0:-1]]))
    few.write_text("".join(lines[: 160 + 39 + 1]))
    ends = [_judge(tmp_path, path, "r.npz") for path in (again, few)]

    assert [end.returncode for end in ends] == [1, 1]
    assert "trained on 160 of the 160 prompts" in ends[0].stderr
    assert "39 are left" in ends[1].stderr


def test_weights_that_do_not_know_their_prompts_say_so(tmp_path: Path) -> None:
    """Files of an earlier version: their own training file is refused by its digest, and of others the report claims nothing."""
    labels, lines = _trained(tmp_path)
    router, card = read_router(tmp_path / "r.npz", signals=SIGNALS, embedder=None)
    write_router(tmp_path / "old.npz", router, {"data": card["data"]})
    rest = tmp_path / "rest.csv"
    rest.write_text("".join([lines[0], *lines[161:]]))
    refused, judged = _judge(tmp_path, labels, "old.npz"), _judge(tmp_path, rest, "old.npz")

    assert (refused.returncode, judged.returncode) == (1, 0)
    assert "can be judged on other labels alone" in refused.stderr
    assert "is the caller's word" in (tmp_path / "out" / "report.md").read_text()


def test_a_judge_of_answers_has_a_card_of_its_own(tmp_path: Path) -> None:
    """What its own training chose, and the figures, also for people."""
    labels = _labels(tmp_path / "l.csv")
    words = ["-o", "r.npz", "--embedder", "none", "--draws", "20", "--folds", "2"]
    end = _drover("train", "--from", labels, *words, cwd=tmp_path)

    assert end.returncode == 0, end.stderr
    judge, card = read_router(tmp_path / "r.cascade.npz", signals=(*SIGNALS, *ANSWER_SIGNALS), embedder=None)
    assert card["chosen"]["blend"]["ridge"] == pytest.approx(judge.blend.ridge)
    assert "cascade" in {row["method"] for row in card["evaluation"]["rows"]}
    assert (card["sees"], "sees the prompt and weak answer" in (tmp_path / "r.cascade.md").read_text()) == (
        "prompt and weak answer",
        True,
    )


def test_bad_rows_end_it_with_their_lines(tmp_path: Path) -> None:
    """On one line of standard error, with status 1."""
    path = _labels(tmp_path / "l.csv")
    path.write_text(path.read_text() + "lost,maybe,1,,\n")
    end = _drover("train", "--from", path, "--embedder", "none", cwd=tmp_path)

    assert (end.returncode, "line 242: weak is 'maybe', no number" in end.stderr) == (1, True)


def test_vectors_that_are_there_already_are_taken(tmp_path: Path) -> None:
    """A row for each label, or it is refused; the weights are bound to the embedder that is said to have made them."""
    import numpy as np  # noqa: PLC0415  # this test alone makes vectors

    np.save(tmp_path / "v.npy", np.eye(240, 8, dtype=np.float32))
    labels = _labels(tmp_path / "l.csv")
    words = ["--vectors", "v.npy", "--embedder-identity", "toy-8@1", "--no-eval"]
    good = _drover("train", "--from", labels, *words, "-o", "r.npz", cwd=tmp_path)
    bad = _drover("train", "--from", _labels(tmp_path / "m.csv", 100), *words, cwd=tmp_path)

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "a row of numbers for each of 100 labels is needed" in bad.stderr
    assert read_router(tmp_path / "r.npz", signals=SIGNALS, embedder="toy-8@1")[0].space.dimensions == 8


def test_vectors_that_nobody_named_train_nothing(tmp_path: Path) -> None:
    """Weights bound to no embedder that there is could never be used; figures alone need no name."""
    import numpy as np  # noqa: PLC0415  # as above

    np.save(tmp_path / "v.npy", np.eye(240, 8, dtype=np.float32))
    labels = _labels(tmp_path / "l.csv")
    refused = _drover("train", "--from", labels, "--vectors", "v.npy", "--no-eval", cwd=tmp_path)
    words = ["--folds", "2", "--draws", "5", "--unseen-folds", "0", "--no-plots", "-o", "out"]
    judged = _drover("eval", "--from", labels, "--vectors", "v.npy", *words, cwd=tmp_path)

    assert (refused.returncode, judged.returncode) == (1, 0)
    assert "--embedder-identity" in refused.stderr


@pytest.mark.parametrize("pair", ["weak", "small=qwen", "weak="])
def test_a_column_that_is_none_of_ours_is_wrong_usage(tmp_path: Path, pair: str) -> None:
    """With the names that there are."""
    end = _drover("train", "--from", _labels(tmp_path / "l.csv"), "--column", pair, cwd=tmp_path)

    assert (end.returncode, "prompt, strong, weak" in end.stderr) == (2, True)


def _three(path: Path, tmp_path: Path) -> Path:
    """The same prompts for three models: talk goes well with all but the tiniest, sums with the largest alone."""
    with _labels(tmp_path / "l.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["prompt", "tiny", "poet", "solver", "domain"])
        table.writerows([row["prompt"], row["weak"], int(row["domain"] == "talk"), 1, row["domain"]] for row in rows)
    return path


def _chosen(multi: MultiRouter, text: str) -> Choice:
    topics, complexity = looks(text)
    predicted = multi.predict(prompt_signals(text), None, topics=topics, complexity=complexity)
    return choose(predicted.gains, base=multi.base, temperature=multi.temperature)


def test_several_models_are_trained(tmp_path: Path) -> None:
    """Weights, card and model card come out: sums go to the model that can do them, and the probabilities say so."""
    words = ["--base", "tiny:1b=tiny", "--model", "poet:3b=poet", "--model", "solver:70b=solver", "--embedder", "none"]
    end = _drover("train", "--from", _three(tmp_path / "m.csv", tmp_path), *words, "-o", "m.npz", cwd=tmp_path)

    assert end.returncode == 0, end.stderr
    multi, card = read_multi(tmp_path / "m.npz", signals=SIGNALS, embedder=None)
    hard, easy = (
        _chosen(multi, text)
        for text in (
            "I have 12 and 7 and 81 and 5 and 33 hats. How many are they in all?",
            "Tell me about pens and oars.",
        )
    )

    assert (hard.model, sorted(hard.probabilities)) == ("solver:70b", ["poet:3b", "solver:70b", "tiny:1b"])
    assert hard.probabilities["poet:3b"] < 0.2 < hard.confidence
    assert easy.confidence < hard.confidence
    assert (card["strong"], card["splits"]["folds"], len(card["data"]["sha256"])) == (["solver:70b"], 5, 64)
    rows = {row["method"]: row for row in card["evaluation"]["rows"]}
    assert rows["oracle"]["quality"]["value"] >= rows["router, any cost"]["quality"]["value"]
    assert rows["router, 30 % strong"]["quality"]["value"] > rows["random"]["quality"]["value"]
    assert all(row["quality"]["low"] <= row["quality"]["value"] <= row["quality"]["high"] for row in rows.values())
    assert "| always solver:70b |" in (tmp_path / "m.md").read_text()


def test_weights_of_several_models_are_judged_on_other_labels(tmp_path: Path) -> None:
    """By the same columns, and by no others."""
    train, rest = tmp_path / "train.csv", tmp_path / "rest.csv"
    head, *rows = _three(tmp_path / "m.csv", tmp_path).read_text().splitlines(keepends=True)
    train.write_text(head + "".join(rows[:160]))
    rest.write_text(head + "".join(rows[160:]))
    words = ["--base", "tiny", "--model", "poet", "--model", "solver", "--embedder", "none", "--draws", "50"]
    first = _drover("train", "--from", train, *words, "--no-eval", "-o", "m.npz", cwd=tmp_path)
    end = _drover("eval", "--from", rest, *words, "--weights", "m.npz", "-o", "out", cwd=tmp_path)
    other = _drover(
        "eval", "--from", rest, *words[2:], "--base", "poet", "--weights", "m.npz", "-o", "out", cwd=tmp_path
    )

    assert (first.returncode, end.returncode, other.returncode) == (0, 0, 1), first.stderr + end.stderr
    found = json.loads((tmp_path / "out" / "choices.json").read_text())
    quality = {row["method"]: row["quality"]["value"] for row in found["rows"]}
    assert (found["count"], quality["oracle"] >= quality["router, any cost"] > quality["always tiny"]) == (80, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--base", "tiny"], "--base and --model belong together"),
        (["--base", "tiny", "--model", "tiny"], "different models"),
        (["--base", "tiny", "--model", "poet", "--strong", "bard"], "--strong bard: there is no such model"),
        (["--base", "tiny", "--model", "bard"], "lacks the columns bard"),
    ],
)
def test_models_that_are_none_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    """With what is wrong."""
    end = _drover("train", "--from", _three(tmp_path / "m.csv", tmp_path), *words, "--embedder", "none", cwd=tmp_path)

    assert (end.returncode != 0, said in " ".join(end.stderr.split())) == (True, True), end.stderr
