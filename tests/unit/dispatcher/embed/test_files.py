"""The files of embedders: what is not whole, not ours or not of this format is refused with a way out."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from dispatcher.embed import EmbedderUnusable, Tier, open_embedder
from dispatcher.embed.protocol import Vector
from dispatcher.embed.sealed import FORMAT, seal, unseal, write
from dispatcher.embed.static import StaticEmbedder
from dispatcher.embed.table import Table, dump, read

PIECES = ("[UNK]", "cat", "dog", "##s")


def unit(place: int) -> Vector:
    """A unit vector of four dimensions."""
    return np.eye(4, dtype=np.float32)[place]


def small() -> Table:
    """A table whose pieces stand at right angles."""
    rows = (np.eye(4) * 100).astype(np.int8)
    return Table(rows=rows, scale=np.ones(4, np.float32), nothing=unit(0), pieces=PIECES, card={"from": "a test"})


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Rows, pieces and card."""
    write(tmp_path / "t.bin", dump(small()))
    table, _ = read(tmp_path / "t.bin")

    assert (PIECES, {"from": "a test"}) == (table.pieces, dict(table.card))
    assert np.array_equal(small().rows, table.rows)


def test_the_same_table_is_the_same_file() -> None:
    """No date and no chance in it, so a hash names a content."""
    assert dump(small()) == dump(small())


def test_a_text_is_the_sum_of_its_pieces(tmp_path: Path) -> None:
    """cat + dog + ##s, each 1 in its direction: 1 / sqrt(3)."""
    write(tmp_path / "t.bin", dump(small()))
    [row] = StaticEmbedder.open(tmp_path / "t.bin").embed(["Cat DOGS"])

    assert [0, 3**-0.5, 3**-0.5, 3**-0.5] == pytest.approx(row.tolist())


def test_the_scale_of_a_column_counts(tmp_path: Path) -> None:
    """cat is 100 x 3, dog 100 x 4: 3 : 4, so 0.6 and 0.8."""
    write(tmp_path / "t.bin", dump(replace(small(), scale=np.array([1, 3, 4, 1], np.float32))))
    [row] = StaticEmbedder.open(tmp_path / "t.bin").embed(["cat dog"])

    assert [0, 0.6, 0.8, 0] == pytest.approx(row.tolist())


def test_pieces_that_cancel_out_count_as_nothing(tmp_path: Path) -> None:
    """A sum of zero has no direction."""
    rows = small().rows.copy()
    rows[2] = -rows[1]
    write(tmp_path / "t.bin", dump(replace(small(), rows=rows)))

    assert unit(0).tolist() == StaticEmbedder.open(tmp_path / "t.bin").embed(["cat dog"])[0].tolist()


@pytest.mark.parametrize("cut", [0, 10, 20, 40, 64, 70, -1])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    """Wherever the copy ended."""
    path = tmp_path / "t.bin"
    path.write_bytes(dump(small())[:cut])

    with pytest.raises(EmbedderUnusable, match=r"t\.bin"):
        read(path)


@pytest.mark.parametrize("place", [0, 5, 20, 33, 50, 100, 300, -1])
def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path, place: int) -> None:
    """Anywhere: head, hash or content."""
    raw = bytearray(dump(small()))
    raw[place] ^= 0x40
    (tmp_path / "t.bin").write_bytes(raw)

    with pytest.raises(EmbedderUnusable, match=r"t\.bin"):
        read(tmp_path / "t.bin")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"PK\x03\x04 an archive of another kind", "no embedder of Drover"),
        (b"", "no embedder of Drover"),
        (seal(Tier.MINILM, b"x"), "tier 'minilm', not of 'static'"),
        (seal(Tier.STATIC, b"no archive"), "holds no static table"),
        (dump(small()).replace(bytes([FORMAT]), bytes([FORMAT + 1]), 1), f"format {FORMAT + 1}"),
        (dump(replace(small(), pieces=PIECES[:3])), "holds no static table"),
        (dump(replace(small(), scale=np.ones(3, np.float32))), "holds no static table"),
        (dump(replace(small(), scale=np.full(4, np.nan, np.float32))), "holds no static table"),
        (dump(replace(small(), pieces=("a", "b", "c", "d"))), r"no \[UNK\]"),
    ],
    ids=["foreign", "empty", "other tier", "garbage", "newer", "too few pieces", "too few scales", "nan", "no unknown"],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path: Path, raw: bytes, reason: str) -> None:
    """A typed error of the settings' kind, which names what is wrong."""
    (tmp_path / "t.bin").write_bytes(raw)

    with pytest.raises(ConfigError, match=reason):
        open_embedder(Tier.STATIC, tmp_path / "t.bin")


@pytest.mark.parametrize("place", ["there/is/none.bin", "."])
def test_what_can_t_be_read_is_refused(tmp_path: Path, place: str) -> None:
    """A missing file, and a directory."""
    with pytest.raises(EmbedderUnusable, match="can't be read"):
        unseal(tmp_path / place, Tier.STATIC)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old file, and nothing beside it."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "in the way").touch()

    with pytest.raises(EmbedderUnusable, match="can't be written"):
        write(tmp_path / "there", b"x")  # a directory that is not empty can't be replaced
    assert [tmp_path / "there"] == list(tmp_path.iterdir())


def test_a_written_file_has_the_permissions_asked_for(tmp_path: Path) -> None:
    """Not those of a temporary file, which others could not read."""
    write(tmp_path / "sub" / "x", b"x")

    assert 0o644 == stat.S_IMODE((tmp_path / "sub" / "x").stat().st_mode)


def test_no_tier_is_no_embedder() -> None:
    """`none` opens as nothing."""
    assert open_embedder(Tier.NONE) is None
