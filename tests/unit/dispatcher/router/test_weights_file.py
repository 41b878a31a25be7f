"""Trained weights on disk: what is written comes back, and what is damaged or foreign is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import WeightsError, WeightsMismatch
from dispatcher.router.trained_file import read_router, write_router
from dispatcher.routing.trained import Blend, FeatureSpace, Kernel, Memory, TrainedRouter

SIGNALS = ("a", "b")


def router() -> TrainedRouter:
    """A small one, with two signals and vectors of three numbers."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    rows = draw(6, 4)
    return TrainedRouter(
        space=FeatureSpace(
            signals=SIGNALS, embedder="toy-3@1", mean=draw(2), scale=np.ones(2, np.float32), weight=2.0, centre=draw(5)
        ),
        ridge=draw(5),
        ridge_bias=0.1,
        memory=Memory(
            axes=draw(5, 4),
            rows=rows / np.linalg.norm(rows, axis=1, keepdims=True),
            gains=draw(6),
            heads=("é", "", *"cdef"),
            count=3,
            least_similarity=0.2,
        ),
        kernel=Kernel(rows=np.arange(6), weights=draw(6), gamma=0.5, bias=0.0),
        blend=Blend(bias=0.0, ridge=0.3, kernel=0.3, knn=0.4),
        quantiles=np.linspace(-1, 1, 101).astype(np.float32),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_router(tmp_path / "r.npz", router(), {"data": {"rows": 6}})
    return tmp_path / "r.npz"


def _read(path: Path, signals: tuple[str, ...] = SIGNALS, embedder: str | None = "toy-3@1") -> TrainedRouter:
    return read_router(path, signals=signals, embedder=embedder)[0]


def test_a_router_comes_back_as_it_was(path: Path) -> None:
    """The same prompt is judged alike."""
    vector = np.array([0.6, 0.8, 0.0], dtype=np.float32)

    assert _read(path).gain((0.5, 2.0), vector) == router().gain((0.5, 2.0), vector)


def test_the_card_says_what_it_is_for(path: Path) -> None:
    """Kind, version, digest, embedder and signals stand beside what training says."""
    card = json.loads(path.with_suffix(".json").read_text())

    assert (card["kind"], card["version"], card["embedder"], card["signals"], card["data"]) == (
        "drover.router",
        1,
        "toy-3@1",
        ["a", "b"],
        {"rows": 6},
    )


def test_another_embedder_is_refused(path: Path) -> None:
    """Vectors of two embedders can't be compared."""
    with pytest.raises(WeightsMismatch, match="trained with the embedder toy-3@1, and other is in use"):
        _read(path, embedder="other")


def test_no_embedder_is_refused(path: Path) -> None:
    """Nor can a vector be left out."""
    with pytest.raises(WeightsMismatch, match="and none is in use"):
        _read(path, embedder=None)


def test_other_signals_are_refused(path: Path) -> None:
    """Weights of signals that this version has no more mean nothing."""
    with pytest.raises(WeightsMismatch, match="other text signals"):
        _read(path, signals=("a", "c"))


def test_a_vector_of_another_length_is_refused(path: Path) -> None:
    """Also when somebody asks with it."""
    with pytest.raises(WeightsMismatch, match="vectors of 3 numbers"):
        _read(path).gain((0.0, 0.0), np.zeros(4, dtype=np.float32))


@pytest.mark.parametrize(("key", "value"), [("kind", "drover.topics"), ("version", 99)])
def test_another_kind_or_version_is_refused(path: Path, key: str, value: object) -> None:
    """A card may be of another program, or of a later version of this one."""
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, key: value}))
    with pytest.raises(WeightsMismatch):
        _read(path)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_file_that_was_cut_is_refused(path: Path, cut: int) -> None:
    """Before anything in it is read."""
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(WeightsError, match=r"not the file that r\.json describes"):
        _read(path)


@pytest.mark.parametrize("text", ["", "no json", "[1]", "\xff", '{"kind": 1'])
def test_a_card_that_is_none_is_refused(path: Path, text: str) -> None:
    """Whatever it holds."""
    path.with_suffix(".json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match="is no card"):
        _read(path)


@pytest.mark.parametrize("gone", [".npz", ".json"])
def test_a_missing_file_is_refused(path: Path, gone: str) -> None:
    """Both are needed."""
    path.with_suffix(gone).unlink()
    with pytest.raises(WeightsError, match="can't be read"):
        _read(path)


def _forged(path: Path, data: bytes) -> None:
    """Put other arrays under the card, with the digest that belongs to them."""
    card = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps({**card, "sha256": hashlib.sha256(data).hexdigest()}))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_a_pickle_is_not_opened(path: Path) -> None:
    """An array of objects would run code."""
    witness: list[int] = []

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return witness.append, (1,)

    _forged(path, _packed({**_arrays(path), "ridge": np.array([Trap()], dtype=object)}))
    with pytest.raises(WeightsError, match="is damaged"):
        _read(path)

    assert witness == []


@pytest.mark.parametrize(
    "name", ["rows", "ridge", "gains", "kernel_weights", "axes", "signal_mean", "heads", "scalars", "quantiles"]
)
def test_parts_that_do_not_fit_are_refused(path: Path, name: str) -> None:
    """No request shall find out that a part is too short."""
    arrays = _arrays(path)
    _forged(path, _packed({**arrays, name: arrays[name][:1]}))
    with pytest.raises(WeightsError, match="is damaged"):
        _read(path)


def test_a_missing_part_is_refused(path: Path) -> None:
    """By its name."""
    arrays = _arrays(path)
    del arrays["gains"]
    _forged(path, _packed(arrays))
    with pytest.raises(WeightsError, match="gains"):
        _read(path)


def test_numbers_that_are_none_are_refused(path: Path) -> None:
    """A NaN would make every score one."""
    arrays = _arrays(path)
    arrays["ridge"][0] = np.nan
    _forged(path, _packed(arrays))
    with pytest.raises(WeightsError, match="ridge holds numbers that are none"):
        _read(path)


def test_a_foreign_file_is_refused(path: Path) -> None:
    """Under a card that names it, too."""
    _forged(path, b"PK\x03\x04 this is no archive")
    with pytest.raises(WeightsError, match="is damaged"):
        _read(path)


def test_a_bomb_is_not_unpacked(path: Path) -> None:
    """A small archive whose members are larger than memory is refused by what they say of themselves."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rows.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    _forged(path, buffer.getvalue())
    with pytest.raises(WeightsError, match="unpacks to 314572800 bytes"):
        _read(path)


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    """Where the folder would be, there is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="can't be written"):
        write_router(tmp_path / "file" / "r.npz", router(), {})
