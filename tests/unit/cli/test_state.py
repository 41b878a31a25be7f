"""The state directory of `drover up`: who may read what stands in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dispatcher.cli.state import Addresses, StateDir

ADDRESSES = Addresses(pid=1, nats_url="nats://ann:secret@hub:4222", http_url="http://127.0.0.1:8080")


@pytest.mark.parametrize("left_behind", [False, True])
def test_nobody_else_can_read_where_the_fleet_listens(tmp_path: Path, left_behind: bool) -> None:
    """The NATS URL may hold a password: the file is its owner's from the start, also when an open draft lay there."""
    state = StateDir(tmp_path)
    if left_behind:
        (tmp_path / "up.tmp").write_text("{}")
        (tmp_path / "up.tmp").chmod(0o644)
    before = os.umask(0)
    try:
        with state.held():
            state.publish(ADDRESSES)
            mode, known = stat.S_IMODE((tmp_path / "up.json").stat().st_mode), state.running()
    finally:
        os.umask(before)

    assert (0o600, ADDRESSES) == (mode, known)
