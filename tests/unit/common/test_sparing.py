"""What a process imports, and what it is spared."""

from __future__ import annotations

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

import pytest

from common.sparing import left_out

NEVER = {"dispatcher.bridge.app": {"rich", "numpy", "tokenizers", "typer"}, "dispatcher.app": {"rich", "tokenizers"}}
"""What costs megabytes and is of no use there: the dispatcher tokenizes only for an embedder."""


def test_what_is_left_out_is_not_found_and_what_was_there_stays() -> None:
    """Within, an import of it fails as where it is not installed; behind it all is as before."""
    before = dict(sys.modules)
    with left_out("this", "sys"):
        assert sys is sys.modules["sys"]
        with pytest.raises(ModuleNotFoundError):
            import this  # noqa: F401, PLC0415  # the test is the import

    assert before == sys.modules


@pytest.mark.parametrize("module", NEVER)
async def test_processes_import_no_ballast(module: str) -> None:
    """Each of these would take megabytes of a board's memory, and a part of a second at each start."""
    program = f"import sys, {module}; print(*(sys.modules.keys() & {NEVER[module]!r}))"
    process = await create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    out, _ = await process.communicate()

    assert (0, b"\n") == (process.returncode, out)
