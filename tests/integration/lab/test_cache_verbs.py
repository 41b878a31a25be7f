"""`drover lab train-verifier` and `cache-eval` on small data of our own: files in, a verifier that judges, and tables out."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import LabelsError
from dispatcher.cache.judges import trained
from dispatcher.embed.static import StaticEmbedder
from dispatcher.lab.cache.evaluate import Wish
from dispatcher.lab.cache.growing import Recipe
from dispatcher.lab.cache.learning import Plan
from dispatcher.lab.cache.verbs import CROSSED, eval_verb, train_verb
from dispatcher.lab.cli import app
from dispatcher.lab.embedding import Choice
from tests.experiments import sound

THINGS = "rice bread soup coffee tea pasta beans fish"
INTENTS = {
    "cook": "how do I cook {0}|what is the way to cook {0}|tell me how {0} is cooked|explain cooking {0} to me",
    "buy": "where can I buy {0}|which shop sells {0}|where is {0} sold|what place has {0} for sale",
    "keep": "how long does {0} keep|how many days can I keep {0}|when does {0} go bad|after how long is {0} bad",
}
_FAST = Recipe(trees=30, bins=16)
QUICK = Plan(recipe=_FAST, swap_recipe=_FAST, scopes=12, asked=30, inner=2, made=100, alike_pairs=200)


def labelled(folder: Path) -> Path:
    """Twenty-four intents of four questions each, as a table."""
    lines = ["text,intent"]
    for (intent, forms), thing in product(INTENTS.items(), THINGS.split()):
        lines += [f"{form.format(thing)},{intent} {thing}" for form in forms.split("|")]
    path = folder / "kitchen.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_verifier_is_trained_and_judges(tmp_path: Path) -> None:
    """In seconds; it is bound to the embedder, and what it was trained on stands in its card."""
    output = tmp_path / "verifier.npz"
    told = train_verb([labelled(tmp_path)], Choice(), output, QUICK, evaluation=False)
    judge = trained(output, StaticEmbedder.open().identity, 0.05)

    assert "pairs that it was not trained on" in told
    assert json.loads(output.with_suffix(".json").read_text())["data"]["intents"] == 24
    assert judge.judge("how do I cook rice", "How do I cook rice?", 0.99).chance is not None


def test_the_same_seed_gives_the_same_verifier(tmp_path: Path) -> None:
    """Byte by byte."""
    made = []
    for name in ("one", "two"):
        train_verb([labelled(tmp_path)], Choice(), tmp_path / f"{name}.npz", QUICK, evaluation=False)
        made.append((tmp_path / f"{name}.npz").read_bytes())

    assert made[0] == made[1]


def test_too_little_is_refused(tmp_path: Path) -> None:
    """Before anything is computed, with what is needed."""
    path = tmp_path / "few.csv"
    path.write_text("text,intent\nhello,greet\nhi,greet\nbye,leave\n", encoding="utf-8")

    with pytest.raises(LabelsError, match=r"2 intents and 0 labelled pairs .* are too little"):
        train_verb([path], Choice(), tmp_path / "verifier.npz", QUICK, evaluation=False)


def test_pairs_alone_will_do(tmp_path: Path) -> None:
    """As the mode shadow writes them, judged: cuts are then found on pairs that the trees did not see."""
    pairs = []
    for forms in INTENTS.values():
        for thing, one, other in product(THINGS.split(), forms.split("|"), forms.split("|")):
            pairs.append({"asked": one.format(thing), "kept": other.format(thing), "same": True, "similarity": 0.9})
            pairs.append(
                {"asked": one.format(thing), "kept": other.format("bread rolls"), "same": False, "similarity": 0.9}
            )
    path = tmp_path / "shadow.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    train_verb([path], Choice(), tmp_path / "verifier.npz", QUICK, evaluation=False)
    judge = trained(tmp_path / "verifier.npz", StaticEmbedder.open().identity, 0.05)

    same = judge.judge("how do I cook rice", "tell me how rice is cooked", 0.9)
    other = judge.judge("how do I cook rice", "tell me how bread rolls is cooked", 0.7)

    assert same.chance is not None
    assert other.chance is not None
    assert same.chance > other.chance


def test_pairs_that_nobody_judged_are_too_little(tmp_path: Path) -> None:
    """What the mode shadow has written says nothing yet."""
    path = tmp_path / "shadow.jsonl"
    path.write_text('{"asked": "a", "kept": "b", "similarity": 0.9}\n' * 500, encoding="utf-8")

    with pytest.raises(LabelsError, match="0 labelled pairs"):
        train_verb([path], Choice(), tmp_path / "verifier.npz", QUICK, evaluation=False)


def test_questions_of_others_are_measured(tmp_path: Path) -> None:
    """With look-ups, streams and scope sizes, for each policy; figures and plot as files."""
    wish = Wish(folds=2, repeats=1, each=(1,), plan=QUICK)
    told = eval_verb(
        [labelled(tmp_path)], Choice(), CROSSED, wish, plot=tmp_path / "cache.png", output=tmp_path / "cache.json"
    )
    rows = json.loads((tmp_path / "cache.json").read_text())["rows"]

    assert {"kitchen: 1 kept of each intent", "kitchen: stream, 200 entries"} == {row["test"] for row in rows}
    assert {"exact only", "plain cosine", "cosine + rules", "verifier", "verifier + refusals"} <= {
        row["policy"] for row in rows
    }
    assert (tmp_path / "cache.png").stat().st_size > 10_000
    assert "by scope size" in told
    [run] = sound(tmp_path)
    assert ("cache", len(rows), {row["test"] for row in rows}) == (
        str(run.manifest.kind),
        len(run.manifest.arms),
        {plot.title for plot in run.manifest.plots},
    )


def test_a_test_part_alone_is_measured(tmp_path: Path) -> None:
    """Half of its questions are kept then: else there would be nothing to find, and nothing to draw."""
    path = labelled(tmp_path).rename(tmp_path / "kitchen_test.csv")
    wish = Wish(folds=2, repeats=1, each=(1,), streams=False, sizes=False, plan=QUICK)
    eval_verb([path], Choice(), "rules", wish, plot=tmp_path / "cache.png", output=tmp_path / "cache.json")

    assert json.loads((tmp_path / "cache.json").read_text())["rows"]
    assert (tmp_path / "cache.png").stat().st_size > 10_000


def test_exact_answers_alone_err_never(tmp_path: Path) -> None:
    """And no question here is asked twice: there is no hit."""
    wish = Wish(folds=2, repeats=1, each=(1,), streams=False, sizes=False, plan=QUICK)
    eval_verb([labelled(tmp_path)], Choice(), "rules", wish, plot=None, output=tmp_path / "cache.json")
    [row] = [one for one in json.loads((tmp_path / "cache.json").read_text())["rows"] if one["policy"] == "exact only"]

    assert (row["at_error"]["hits"][0], row["at_error"]["errors"][0]) == (0.0, 0.0)


def test_pairs_alone_are_judged(tmp_path: Path) -> None:
    """A file of pairs without any question: each is judged, and what is served and wrong is listed."""
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "how do I cook rice", "b": "How do I cook rice?", "same": false}\n', encoding="utf-8")
    told = eval_verb([path], Choice(), "shipped", Wish(), plot=None, output=None)

    assert "given and wrong: 'how do I cook rice' for 'How do I cook rice?'" in told


def test_a_wrong_file_ends_the_command_with_what_is_wrong(tmp_path: Path) -> None:
    """One line and a status of its own, no traceback."""
    path = tmp_path / "a.csv"
    path.write_text("word\nx\n", encoding="utf-8")
    ran = CliRunner().invoke(app, ["cache-eval", "--data", str(path)])

    assert isinstance(ran.exception, SystemExit)
    assert "there is no text under text" in ran.stderr
