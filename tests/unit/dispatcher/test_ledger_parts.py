"""The ledger's plain parts: addresses, garbage, shares, hours, harmless cells; no server runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import codec
from common.bus.streams import Kept
from common.errors import ConfigError
from common.ledger import By
from common.records import JobEntry, records_stream
from common.subjects import Subjects
from dispatcher.cells import harmless, text_of
from dispatcher.ledger import rows
from dispatcher.ledger.database import place_of
from dispatcher.ledger.queries import _KEYS
from dispatcher.ledger.reading import read
from dispatcher.ledger.store import Read, Rejected

SUBJECTS = Subjects()
DIR = Path("/state")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", "/state/ledger.db"),
        ("sqlite:////var/lib/a%20b.db", "/var/lib/a b.db"),
        ("postgres://u:hidden-word@db.lan:5433/drover?sslmode=require", "postgresql://db.lan:5433/drover"),
        ("postgresql://u:hidden-word@/drover?host=/run/postgresql", "postgresql:///drover"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """As people write it, in all usual ways."""
    assert shown == place_of(url, DIR).shown


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden-word@host/db",
        "sqlite://hidden-word",
        "sqlite:///",
        "sqlite:///x.db?mode=hidden-word",
        "postgresql://",
        "postgresql://u:hidden-word@host:many/db",
        "hidden-word",
    ],
)
def test_a_wrong_address_is_refused_and_not_shown(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError) as told:
        place_of(url, DIR)

    assert "hidden-word" not in told.value.message
    assert told.value.message.startswith("DATABASE_URL")


@given(st.sampled_from(["job", "device", "power", "x"]), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(what: str, data: bytes) -> None:
    """No garbage raises: the one who reads must go on."""
    came = read(Kept(subject=SUBJECTS.record(what, "t"), data=data, seq=1, stored_unix_s=0.0), SUBJECTS)

    assert isinstance(came, Rejected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SOUND = {
    "record": "01" + "0" * 24, "dispatcher": "d", "job": "j", "tenant": "t", "kind": "chat", "state": "done",
    "received_unix_s": 1.0, "total_s": 1.0,
}  # fmt: skip


@given(st.dictionaries(st.sampled_from(list(JobEntry.__dataclass_fields__)), JSON, max_size=3))
def test_any_object_is_read_or_refused(changes: dict[str, object]) -> None:
    """What is read can be written down and read back as it was; the rest is refused."""
    try:
        data = codec.encode(SOUND | changes)
    except Exception:  # noqa: BLE001  # what can't even be sent does not come
        return
    came = read(Kept(subject=SUBJECTS.record("job", "t"), data=data, seq=1, stored_unix_s=0.0), SUBJECTS)
    if isinstance(came, Rejected):
        return

    assert isinstance(came.entry, JobEntry)
    assert rows.job_entry(rows.job_row(came.entry)) == came.entry


@pytest.mark.parametrize("encoding", codec.Encoding)
@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"reason": "a\0b"}, False),
        ({"cache": {"\0": 1}}, False),
        ({"decision": {"deep": [{"x": "\0"}]}}, False),
        ({"reason": "a\\u0000b", "total_s": 0.0}, True),
    ],
)
def test_the_character_that_no_database_keeps_is_refused(
    changes: dict[str, object], taken: bool, encoding: codec.Encoding
) -> None:
    """However it is written; what only looks like it is taken."""
    data = codec.encode(SOUND | changes, encoding)
    came = read(Kept(subject=SUBJECTS.record("job", "t"), data=data, seq=1, stored_unix_s=0.0), SUBJECTS)

    assert taken is isinstance(came, Read)
    assert taken or (isinstance(came, Rejected) and "NUL" in came.why)


def test_bytes_are_looked_at_as_the_text_that_they_become() -> None:
    """MessagePack has bytes, and a field of text takes them."""
    data = codec.encode(SOUND | {"reason": b"a\0b"}, codec.Encoding.MSGPACK)
    came = read(Kept(subject=SUBJECTS.record("job", "t"), data=data, seq=1, stored_unix_s=0.0), SUBJECTS)

    assert isinstance(came, Rejected)


@pytest.mark.parametrize(
    ("at", "day"), [(-5.0, "1970-01-01"), (0.0, "1970-01-01"), (86_400.0, "1970-01-02"), (1e15, "9999-12-31")]
)
def test_every_time_has_a_day(at: float, day: str) -> None:
    """Whatever a clock says."""
    assert day == rows.day_of(at)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-2", "'-2"),
        ("+x", "'+x"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("a=b", "a=b"),
        (-2.5, -2.5),
        (None, None),
    ],
)
def test_no_text_is_a_formula(value: object, cell: object) -> None:
    """Numbers stay what they are, also below 0."""
    assert cell == harmless(value)


@given(st.text(alphabet="'=+-@\t\rax", max_size=6))
@example("'til noon")
@example("'=1")
def test_every_text_comes_back_from_its_cell(text: str) -> None:
    """An apostrophe that somebody wrote stays, and only the one that keeps spreadsheets from running a text is taken off."""
    assert text == text_of(harmless(text))


def test_the_stream_forgets_the_oldest_and_is_bounded() -> None:
    """By age and by bytes, and only what the ledger has had a week for."""
    spec = records_stream(Subjects("a.b"))

    assert ("A_B_RECORDS", ("a.b.rec.*.*",), True) == (spec.name, spec.subjects, spec.drop_oldest)
    assert (7 * 86_400.0, 128 << 20) == (spec.max_age_s, spec.max_bytes)


def test_every_way_to_sum_has_a_column() -> None:
    """A new one must not be asked for in vain."""
    assert set(By) == set(_KEYS)
