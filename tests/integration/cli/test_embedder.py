"""`drover embedder` as a person types it: a process, its exit status, and what it prints."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.commands import DROVER, GUARD_S, clean_environment

ROOT = Path(__file__).parents[3]


async def drover(*words: str, cwd: Path) -> tuple[int | None, str, str]:
    """Run a verb to its end in a directory of its own."""
    process = await asyncio.create_subprocess_exec(
        *DROVER, *words, cwd=cwd, env=clean_environment(PYTHONPATH=str(ROOT)), stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(GUARD_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def test_check_tells_that_the_shipped_table_is_whole_and_how_fast(tmp_path: Path) -> None:
    """Without a word it checks what is in use, which is the table that comes with Drover."""
    texts = tmp_path / "t.txt"
    texts.write_text("one\ntwo\nthree\nfour\n")
    status, out, err = await drover("embedder", "check", "--texts", "t.txt", "--json", cwd=tmp_path)

    assert 0 == status, err
    figures = json.loads(out)
    assert 0 < figures["features_p50_us"] <= figures["features_p95_us"]
    assert ("static", 4, True) == (figures["tier"], figures["texts"], 0 < figures["p50_us"] <= figures["p95_us"])


async def test_use_writes_what_check_then_finds(tmp_path: Path) -> None:
    """`use none`, and there is nothing to check; `use static`, and there is."""
    first = await drover("embedder", "use", "none", cwd=tmp_path)
    nothing = await drover("embedder", "check", cwd=tmp_path)
    second = await drover("embedder", "use", "static", cwd=tmp_path)

    assert (0, 1, 0) == (first[0], nothing[0], second[0])
    assert "has nothing to check" in nothing[2]
    assert "DROVER_EMBEDDER=static\n" == (tmp_path / ".env").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("use", "static", "--path", "none.bin"), "none.bin can't be read"),
        (("use", "minilm"), "drover embedder build minilm"),
        (("check", "static", "--path", "foreign.bin"), "is no embedder of Drover"),
        (("check", "--texts", "foreign.bin"), "is a .bin file"),
        (("build", "static", "--sentences", "0"), "name files with --texts"),
    ],
)
async def test_what_can_t_be_done_ends_with_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    """Status 1, the thing, the reason, no traceback, and `.env` untouched."""
    (tmp_path / "foreign.bin").write_bytes(b"something else")
    status, _, err = await drover("embedder", *words, cwd=tmp_path)

    assert (1, 1, True) == (status, len(err.strip().splitlines()), message in err)
    assert not (tmp_path / ".env").exists()


async def test_other_verbs_don_t_load_what_embeds(tmp_path: Path) -> None:
    """`drover version` must stay quick: neither numpy nor the tokenizers come with the list of verbs."""
    code = "import sys, dispatcher.verbs; print(sorted({'numpy', 'tokenizers', 'dispatcher.embed'} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=tmp_path, env=clean_environment(PYTHONPATH=str(ROOT)), stdout=PIPE
    )
    out, _ = await process.communicate()

    assert "[]" == out.decode().strip()
