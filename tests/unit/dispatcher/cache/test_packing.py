"""An entry as bytes, and back."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import Usage
from dispatcher.cache.store.packing import Bounds, Foreign, Unreadable, hashed, pack, sealed, unpack
from dispatcher.cache.values import Entry, Place, Receipt
from tests.answers import entry

BOUNDS = Bounds(answer_bytes=64 << 10)

texts = st.text(max_size=3000)
numbers = st.floats(min_value=0, max_value=1e12)
entries = st.builds(
    Entry,
    place=st.builds(Place, tenant=texts, exact=texts, scope=texts, question=texts),
    text=texts,
    receipt=st.builds(
        Receipt,
        job=texts,
        device=texts,
        model=texts,
        digest=texts,
        usage=st.builds(Usage, prompt_tokens=st.integers(0, 10**6), completion_tokens=st.integers(0, 10**6)),
        total_s=numbers,
        energy_j=st.none() | numbers,
        cost_usd=st.none() | numbers,
        cost_estimated=st.booleans(),
        simulated=st.booleans(),
    ),
    created_unix_s=numbers,
)


def packed(one: Entry, bounds: Bounds = BOUNDS) -> bytes:
    value = pack(one, bounds)
    assert value is not None
    return value


@given(entries)
def test_whatever_was_packed_is_unpacked(one: Entry) -> None:
    """Every entry comes back as it was."""
    assert one == unpack(packed(one), BOUNDS)


@given(st.binary(max_size=200), st.booleans())
def test_noise_is_unreadable(noise: bytes, marked: bool) -> None:
    """Any bytes at all, also behind a head like ours, give an entry or `Unreadable`, and hardly the first."""
    with pytest.raises(Unreadable):
        unpack((b"dr\x02" if marked else b"") + noise, BOUNDS)


def test_every_flipped_bit_is_found_out() -> None:
    """Those too that deflate has no use for, behind its end."""
    value = packed(entry(text="Blue. " * 2000))
    for at in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(Unreadable):
            unpack(bytes(flipped), BOUNDS)


@given(st.data(), st.sampled_from(["Blue.", "Blue. " * 2000]))
def test_a_flipped_bit_is_found_out(data: st.DataObject, text: str) -> None:
    """Whichever bit of an entry is flipped, long or short, it is unreadable."""
    value = bytearray(packed(entry(text=text)))
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    value[at // 8] ^= 1 << at % 8

    with pytest.raises(Unreadable):
        unpack(bytes(value), BOUNDS)


def test_long_ones_shrink() -> None:
    """A long answer takes a part of its bytes; a short one is written as it is."""
    assert len(packed(entry(text="The sky is blue. " * 200))) < 600
    assert b"Blue." in packed(entry(text="Blue."))


def test_a_bomb_is_not_unfolded() -> None:
    """A few bytes that would become a gigabyte are given up as soon as they are more than any entry has."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    again = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    value = sealed(1, piece + again * 1023)
    tracemalloc.start()
    with pytest.raises(Foreign):
        unpack(value, BOUNDS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("text", ["x" * (64 << 10), "ä" * (32 << 10)])
def test_the_longest_answer_fits(text: str) -> None:
    """As many bytes as were set are kept, and not one more."""
    assert text == unpack(packed(entry(text=text)), BOUNDS).text
    assert pack(entry(text=text + "x"), BOUNDS) is None


names = st.text(max_size=20) | st.binary(max_size=20).map(lambda data: data.decode("latin-1"))


@given(names, st.data())
def test_tenants_that_differ_in_a_bit_have_other_names(tenant: str, data: st.DataObject) -> None:
    """Flip any bit of a tenant's name, and its place in a store is another one, of the same length."""
    raw = bytearray(tenant.encode() or b"\0")
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    other = raw.decode(errors="surrogateescape")
    if other == tenant:
        return

    assert hashed(tenant) != hashed(other)
    assert len(hashed(tenant)) == len(hashed(other)) == 24
