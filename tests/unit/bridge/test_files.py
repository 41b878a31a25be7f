"""What the bridge and the process that looks at files say to each other, and what that process can't do."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.bridge.files.wire import MOST_PARTS, framed, parts_of

SHUT_OFF = """
import os, socket
from dispatcher.bridge.files.worker.confining import confine, shut_off
confine(256 << 20, 5)
shut_off()
for attempt in (socket.socket, lambda: open("/etc/passwd"), lambda: open("/tmp/x", "w"), os.pipe, lambda: __import__("wave")):
    try:
        attempt()
        print("did it")
    except (OSError, ImportError) as error:
        print(type(error).__name__)
os.close(0)
try:
    socket.socket()
    print("did it")
except OSError as error:
    print(type(error).__name__)
try:
    bytearray(300 << 20)
except MemoryError:
    print("MemoryError")
"""


@given(st.lists(st.binary(max_size=50), max_size=10))
@settings(max_examples=50, deadline=None)
def test_pieces_are_read_as_they_were_written(parts: list[bytes]) -> None:
    """Whatever they hold, and where they are empty."""
    assert parts_of(b"".join(framed(parts))) == parts


@pytest.mark.parametrize(
    "data", [b"\0", b"\0\0\0\5abc", b"\xff\xff\xff\xff", b"\0\0\0\0" * (MOST_PARTS + 1), b"<html>garbage</html>"]
)
def test_what_was_not_written_so_is_refused(data: bytes) -> None:
    """Pieces that are cut off, too long or too many are an error, and are not read."""
    with pytest.raises(ValueError, match="piece"):
        parts_of(data)


def test_a_process_that_is_shut_off_opens_nothing_any_more() -> None:
    """Neither a socket, nor a file, nor a pipe, nor what would be imported; not in the place of what it closes; and its memory
    ends where it was told."""
    said = subprocess.run(
        [sys.executable, "-I", "-c", SHUT_OFF], capture_output=True, check=True, text=True, timeout=60
    ).stdout.split()

    assert said == ["OSError"] * 4 + ["ModuleNotFoundError", "OSError", "MemoryError"]
