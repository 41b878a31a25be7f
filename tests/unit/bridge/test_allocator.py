"""What the C library is told of large blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GROWN_KIB = """
import sys
from dispatcher.bridge.allocator import return_large_blocks

def resident_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:"))

told = return_large_blocks() if sys.argv[1] == "told" else None
for size in (20_000_000, 19_000_000):  # the first that is given back is what raises the library's own bound
    block = bytearray(size)
    keep = bytearray(1000)
    before_kib = resident_kib()
    del block
print(told, before_kib - resident_kib())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process what it holds")
def test_a_large_block_goes_back_at_once() -> None:
    """The second body of 19 MB leaves the process as soon as nobody needs it, though one as large came before it."""
    ran = subprocess.run([sys.executable, "-c", GROWN_KIB, "told"], capture_output=True, text=True, check=True)
    told, given_back_kib = ran.stdout.split()

    assert (told, int(given_back_kib) > 18_000) == ("True", True)
