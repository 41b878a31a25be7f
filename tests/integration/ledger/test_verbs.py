"""`drover ledger …` as people type it; all but `serve` need no server."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from common.votes import Vote, mark_of
from dispatcher.cli.ledger_verbs import app
from dispatcher.ledger.database import Place, opened
from dispatcher.ledger.sqlite_file import sole_writer
from dispatcher.ledger.store import Store
from dispatcher.ledger.votes.keeping import keep_vote
from tests.commands import DROVER, GUARD_S, clean_environment, drover, started
from tests.integration.ledger.builders import NOON, came, event, job, minute
from tests.integration.ledger.ledgers import records_in
from tests.integration.ledger.talks import ANNA, BERT, asked, talking


@pytest.fixture
def place(made_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A ledger with a few rows, where the verbs look for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DROVER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DATABASE_URL", "")
    (tmp_path / "state").mkdir()
    made = Place(file=shutil.copyfile(made_file, tmp_path / "state" / "ledger.db"))

    async def fill() -> None:
        async with opened(made) as database:
            await Store(database).write(came(job(1), job(2), event(), minute()))

    asyncio.run(fill())
    return made


def verb(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_stats_say_what_it_holds(place: Place) -> None:
    """For people, and for programs."""
    told, read = verb("stats"), json.loads(verb("stats", "--json").stdout)

    assert (0, True) == (told.exit_code, str(place.file) in told.stdout)
    assert {"jobs": 2, "shares": 4, "devices": 1, "power": 1, "rejected": 0, "keys": 0}.items() <= read["rows"].items()


def test_a_backup_is_restored_by_name_alone(place: Place) -> None:
    """Rows that are there stay, unless one says otherwise."""
    statuses = [
        verb("backup", "b.zip").exit_code,
        verb("backup", "b.db").exit_code,
        verb("restore", "b.zip").exit_code,
        verb("restore", "b.zip", "--force").exit_code,
        verb("restore", "b.db", "--force").exit_code,
        verb("check").exit_code,
    ]

    assert [0, 0, 1, 0, 0, 0] == statuses
    assert [job(1).record, job(2).record] == asyncio.run(records_in(place))


def test_the_ledger_is_not_written_over_itself(place: Place, tmp_path: Path) -> None:
    """By no verb, under no name: whoever writes it would go on in a file that no longer has one."""
    assert place.file is not None
    (tmp_path / "link.db").symlink_to(place.file)
    (tmp_path / "hard.db").hardlink_to(place.file)
    state = place.file.parent
    before = place.file.stat().st_ino
    names = [
        "state/ledger.db",
        "state/../state/ledger.db",
        "link.db",
        "hard.db",
        "state/ledger.db-wal",
        "state/ledger.db.lock",
    ]
    told = [verb(word, name) for name in names for word in ("backup", "export")]

    assert [(1, True)] * len(told) == [(one.exit_code, "own file" in one.stderr) for one in told]
    assert (before, ["ledger.db"]) == (place.file.stat().st_ino, [one.name for one in state.iterdir()])


def test_exports_are_written_whole_or_not_at_all(place: Place, tmp_path: Path) -> None:
    """CSV goes to standard output, too."""
    csv, parquet = verb("export", "-"), verb("export", "jobs.parquet", "--format", "parquet")
    wrong = [
        verb("export", "-", "--format", "parquet"),
        verb("export", "no/such/place.csv"),
        verb("export", "x", "--since", "soon"),
    ]

    assert (0, 3, 0, 2) == (
        csv.exit_code,
        len(csv.stdout.splitlines()),
        parquet.exit_code,
        pq.read_table("jobs.parquet").num_rows,
    )
    assert [1, 1, 1] == [one.exit_code for one in wrong]
    assert ["jobs.parquet", "state"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("span", "number"),
    [
        (("--since", "2026-11-21T12:00:02"), 1),
        (("--until", "2026-11-21T12:00:02"), 1),
        (("--until", "2000 w"), 0),
    ],
)
def test_an_export_takes_the_times_that_other_verbs_take(span: tuple[str, ...], number: int, place: Place) -> None:
    """A date, or so long ago, however it is spelled."""
    told = verb("export", "-", *span)

    assert (0, 1 + number) == (told.exit_code, len(told.stdout.splitlines()))


def test_old_rows_are_forgotten_when_asked(place: Place) -> None:
    """They are of the year 2026: by `--days` of no year before that."""
    told = verb("prune", "--days", "36500")

    assert (0, "0 jobs" in told.stderr) == (told.exit_code, True)
    assert 2 == len(asyncio.run(records_in(place)))


def test_what_one_user_has_said_is_forgotten_when_asked(place: Place) -> None:
    """Every conversation of that user, and nobody else's."""

    async def keep() -> None:
        async with opened(place) as database, talking(database) as talk:
            for owner in (ANNA, BERT):
                await talk.ask.append(owner, (await talk.ask.create(owner)).id, [asked("t1")])

    async def left() -> list[int]:
        async with opened(place) as database, talking(database) as talk:
            return [len((await talk.ask.listed(owner)).conversations) for owner in (ANNA, BERT)]

    asyncio.run(keep())
    told = verb("forget", "home", "anna")

    assert (0, "drover: 1 conversations of home/anna forgotten\n") == (told.exit_code, told.stderr)
    assert [0, 1] == asyncio.run(left())


def test_what_is_damaged_is_said(place: Place) -> None:
    """With status 1."""
    assert place.file is not None
    place.file.write_bytes(place.file.read_bytes()[:6000])
    told = verb("check")

    assert 1 == told.exit_code
    assert "Traceback" not in told.stderr


def test_a_ledger_that_runs_is_not_restored_into(place: Place) -> None:
    """Who has the file is said."""
    verb("backup", "b.zip")
    with sole_writer(place.file):
        told = verb("restore", "b.zip", "--force")

    assert (1, "already" in told.stderr) == (told.exit_code, True)


async def test_a_second_ledger_over_one_file_says_so_and_ends(tmp_path: Path) -> None:
    """With status 1: its supervisor starts it again, since the first may end."""
    with sole_writer(tmp_path / "state" / "ledger.db"):
        end = await drover("ledger", "serve", cwd=tmp_path, DROVER_STATE_DIR=str(tmp_path / "state"))

    assert (1, 1, True) == (end.status, len(end.err.splitlines()), "writes" in end.err)


@pytest.mark.parametrize(
    ("state", "status", "why"), [("state", 1, "make room there"), ("taken/state", 78, "Not a directory")]
)
async def test_a_file_that_can_t_be_written_is_one_line(tmp_path: Path, state: str, status: int, why: str) -> None:
    """It names the file and the way out. A full disk, played by a limit on the size of files, may have room again: status 1."""
    (tmp_path / "taken").touch()
    limited = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *DROVER, "ledger", "serve")
    knobs = clean_environment(DROVER_STATE_DIR=str(tmp_path / state))
    async with asyncio.timeout(GUARD_S), started(*limited, cwd=tmp_path, env=knobs, stderr=PIPE) as serve:
        said = (await serve.communicate())[1].decode().splitlines()

    assert (status, 1) == (serve.returncode, len(said))
    assert all(part in said[0] for part in (f"{tmp_path / state}/ledger.db", why, "set DROVER_STATE_DIR"))


def test_votes_are_moved_exported_and_forgotten_as_all_else_is(place: Place) -> None:
    """A backup has them, CSV and Parquet do, and who is forgotten takes its own along."""

    async def say() -> None:
        async with opened(place) as database:
            for user in ("anna", "bert"):
                voter = mark_of("default", user)
                asked = Vote(tenant="default", voter=voter, jobs=("job-1", "job-2"), winner="job-1")
                await keep_vote(database, asked, now_unix_s=NOON)

    asyncio.run(say())
    moved = [verb("backup", "b.zip").exit_code, verb("restore", "b.zip", "--force").exit_code]
    parquet = verb("export", "votes.parquet", "--format", "parquet", "--of", "feedback")
    told = verb("forget", "default", "anna")
    left = verb("export", "-", "--of", "feedback").stdout

    assert ([0, 0], 0, 4) == (moved, parquet.exit_code, pq.read_table("votes.parquet").num_rows)
    assert "drover: 0 conversations of default/anna forgotten, and 2 of its votes\n" == told.stderr
    assert 2 == left.count(mark_of("default", "bert")) == len(left.splitlines()) - 1
