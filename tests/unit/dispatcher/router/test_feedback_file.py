"""The file of what was learned: written whole, tried again when a disk did not take it, and missed when it is deleted."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread

from structlog.testing import capture_logs

from dispatcher.router.feedback_file import FeedbackFile

GUARD_S = 20.0


def kept(path: Path) -> object:
    return json.loads(path.read_bytes())


def test_the_latest_state_is_kept(tmp_path: Path) -> None:
    """Of two that were handed over the last one is written, once, and no half of a file is left."""
    file = FeedbackFile(tmp_path / "deep" / "f.json")
    file.hold({"n": 1})
    file.hold({"n": 2})
    file.keep()
    stamp = (tmp_path / "deep" / "f.json").stat().st_mtime_ns
    file.keep()

    assert {"n": 2} == kept(tmp_path / "deep" / "f.json")
    assert ["f.json"] == [path.name for path in (tmp_path / "deep").iterdir()]
    assert stamp == (tmp_path / "deep" / "f.json").stat().st_mtime_ns


def test_a_disk_that_does_not_take_it_is_tried_again(tmp_path: Path) -> None:
    """It is told once, and once when it works again; what was learned meanwhile is written, and deleting the file still counts."""
    path = tmp_path / "state" / "f.json"
    path.parent.write_text("a file where the directory should be")
    file = FeedbackFile(path)
    with capture_logs() as lines:
        for number in range(3):
            file.hold({"n": number})
            file.keep()
        file.keep()
        path.parent.unlink()
        file.keep()
    written = kept(path)
    path.unlink()
    file.keep()

    assert ["feedback.unwritten", "feedback.written"] == [line["event"] for line in lines]
    assert ({"n": 2}, True) == (written, file.taken_away())


def test_a_state_that_was_not_written_gives_way_to_a_later_one(tmp_path: Path) -> None:
    """What failed does not come back over it."""
    path = tmp_path / "state" / "f.json"
    path.parent.write_text("")
    file = FeedbackFile(path)
    file.hold({"n": 1})
    file.keep()
    file.hold({"n": 2})
    path.parent.unlink()
    file.keep()

    assert {"n": 2} == kept(path)


def test_a_deleted_file_is_missed_once(tmp_path: Path) -> None:
    """What was handed over meanwhile is not written: the owner wants it forgotten. What is learned from then on is."""
    path = tmp_path / "f.json"
    file = FeedbackFile(path)
    file.hold({"n": 1})
    file.keep()
    before = file.taken_away()
    path.unlink()
    file.hold({"n": 2})
    file.keep()
    seen = [file.taken_away(), path.exists(), file.taken_away()]
    file.hold({"n": 3})
    file.keep()

    assert (False, [True, False, False], {"n": 3}) == (before, seen, kept(path))


def test_the_loop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """While a thread writes, the next state is handed over; a second writer waits for the first, and writes that."""
    file = FeedbackFile(tmp_path / "f.json")
    file.hold({"n": 1})
    with file._writing:
        writer = Thread(target=file.keep)
        writer.start()
        file.hold({"n": 2})
        waits = (file.taken_away(), (tmp_path / "f.json").exists())
    writer.join(GUARD_S)

    assert ((False, False), {"n": 2}) == (waits, kept(tmp_path / "f.json"))
