"""What is written is there once, and is read as it was written: on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select, text, update

from common.bus.streams import Kept
from common.conversations import Ended, Owner, Turn
from common.errors import ConfigError, LedgerUnavailable
from common.ledger import By, DevicesQuery, EnergyQuery, EnergyRow, JobsQuery
from common.messages import Message, Role, Usage
from common.records import STREAM_AGE_S, Entry, JobEntry
from dispatcher.cli.energy_view import total
from dispatcher.ledger import checking, queries, schema
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.moving import count, database_source
from dispatcher.ledger.retention import prune
from dispatcher.ledger.sqlite_file import sole_writer
from dispatcher.ledger.store import MOST_REJECTED, Came, Read, Store
from dispatcher.ledger.tables import ENDING, KEPT, jobs, power, rejected, turns
from dispatcher.ledger.talk.rows import turn_of, turn_row, turns_of
from tests.integration.ledger.builders import NOON, came, came_raw, elsewhere, event, hit, job, minute, payload

DAY_S = 86_400.0


async def rows(database: Database, *tables: Table) -> list[Sequence[Any]]:
    """All rows of some tables."""
    async with database.reading() as connection:
        return [
            tuple(row)
            for table in tables
            for row in await connection.execute(select(table).order_by(*table.primary_key.columns))
        ]


async def test_what_is_written_is_read_as_it_was(database: Database) -> None:
    """Each field of a job, an event and a minute of power; what a list leaves out is a job's decision alone."""
    await Store(database).write(came(job(), event(), minute()))

    assert [job()] == await queries.find_jobs(database, JobsQuery(job="job-1"))
    assert [job(decision=None)] == await queries.find_jobs(database, JobsQuery())
    assert [event()] == await queries.find_events(database, DevicesQuery())
    assert [minute()] == await queries.find_power(database, DevicesQuery())


async def test_a_bare_record_is_read_as_it_was(database: Database) -> None:
    """Of a request that was refused at the door nothing is known but that."""
    bare = JobEntry(
        record="01" + "0" * 24, dispatcher="d1", job="j", tenant="t", kind="chat", state="refused",
        received_unix_s=NOON, total_s=0.0, error="bad_request",
    )  # fmt: skip
    await Store(database).write(came(bare))

    assert [bare] == await queries.find_jobs(database, JobsQuery(job="j"))


async def test_what_comes_again_is_there_once(database: Database) -> None:
    """The stream gives again what was written and not acknowledged, also in the same batch as before or in another one."""
    store = Store(database)
    all_of_it = came(job(), job(2), event(), minute())
    await store.write(all_of_it)
    before = await rows(database, *KEPT)
    await store.write([*all_of_it, *all_of_it])
    await store.write(came(minute(), first_seq=9))

    assert before == await rows(database, *KEPT)


async def test_garbage_is_kept_apart(database: Database) -> None:
    """What can't be read holds up nothing, and can be looked at."""
    store = Store(database)
    bad = [
        came_raw("llm.v1.rec.job.default", b"{not json", 2),
        came_raw("llm.v1.rec.job.default", b'{"record":"x"}', 3),
        came_raw("llm.v1.rec.nonsense.default", b"{}", 4),
        came_raw("llm.v1.rec.job.other", payload(job()), 5),
        came_raw("llm.v1.rec.job.default", payload(job(reason="a\0b")), 6),
    ]
    refused = await store.write([*bad, *came(job())])
    async with database.reading() as connection:
        found = (await connection.execute(select(rejected.c.seq, rejected.c.why).order_by(rejected.c.seq))).all()

    assert (refused, [seq for seq, _ in found]) == (5, [2, 3, 4, 5, 6])
    assert [True] * 5 == [
        part in why for part, (_, why) in zip(("JSON", "record", "nonsense", "other", "NUL"), found, strict=True)
    ]
    assert [job()] == await queries.find_jobs(database, JobsQuery(job="job-1"))


async def test_of_garbage_the_newest_is_kept(database: Database) -> None:
    """A stranger that sends garbage for ever fills no disk."""
    for start in (0, 600):
        await Store(database).write([came_raw("llm.v1.rec.job.x", b"?", seq) for seq in range(start, start + 600)])
    async with database.reading() as connection:
        assert await count(connection, rejected) <= MOST_REJECTED


async def test_a_row_that_the_database_refuses_holds_up_no_other(database: Database) -> None:
    """Whatever was not thought of: it is kept apart, and those before and after it are written."""
    [fine] = came(job(), first_seq=1)
    odd = Read(Kept(subject="s", data=b"", seq=2, stored_unix_s=NOON), job(2, usage=Usage(prompt_tokens=2**64)))
    refused = await Store(database).write([fine, odd, *came(job(3), first_seq=3)])

    assert (1, ["job-3", "job-1"]) == (refused, [one.job for one in await queries.find_jobs(database, JobsQuery())])


async def test_pages_follow_one_another(database: Database) -> None:
    """Newest first, each once, also where more come meanwhile."""
    store = Store(database)
    await store.write(came(*(job(number) for number in range(1, 8))))
    first = await queries.find_jobs(database, JobsQuery(limit=3))
    await store.write(came(job(99), first_seq=99))
    second = await queries.find_jobs(database, JobsQuery(limit=3, before=first[2].record))

    assert ["job-7", "job-6", "job-5", "job-4"] == [one.job for one in first]
    assert ["job-4", "job-3", "job-2", "job-1"] == [one.job for one in second]


FOUND = [
    (JobsQuery(tenant="other"), ["job-2"]),
    (JobsQuery(device="nano"), ["job-3"]),
    (JobsQuery(model="m:3"), ["job-3"]),
    (JobsQuery(state="failed"), ["job-2"]),
    (JobsQuery(since_unix_s=NOON + 2), ["job-3", "job-2"]),
    (JobsQuery(until_unix_s=NOON + 2), ["job-1"]),
]


async def test_jobs_are_found_by_what_they_are(database: Database) -> None:
    """By tenant, device, model, state and time."""
    three = (job(1), job(2, tenant="other", state="failed"), job(3, device="nano", model="m:3"))
    await Store(database).write(came(*three))

    assert FOUND == [(query, [one.job for one in await queries.find_jobs(database, query)]) for query, _ in FOUND]


async def test_a_user_s_few_jobs_are_found_without_a_look_at_all_others(database: Database) -> None:
    """By an index that knows how ids end; whatever is shorter, or asked for otherwise, is found as well."""
    mark = "-0123456789abcdef"
    names = [f"mine{mark}", f"mine-{'f' * 16}", mark, "x", f"{mark[1:]}", f"2{mark}"]
    await Store(database).write(came(*(replace(job(number), job=name) for number, name in enumerate(names, 1))))
    found = [
        [one.job for one in await queries.find_jobs(database, JobsQuery(tenant="default", ending=ending))]
        for ending in (mark, mark[5:], f"e{mark}")
    ]
    plan = "EXPLAIN QUERY PLAN" if database.sqlite else "EXPLAIN"
    ask = f"SELECT * FROM jobs WHERE tenant = 't' AND {ENDING.text} = '{mark}' ORDER BY record DESC LIMIT 21"
    async with database.reading() as connection:
        if not database.sqlite:
            await connection.execute(text("SET LOCAL enable_seqscan = off"))  # which it prefers for a handful of rows
        told = "".join(map(str, (await connection.execute(text(f"{plan} {ask}"))).all()))

    assert [[names[5], names[2], names[0]], [names[5], names[2], names[0]], [names[0]]] == [
        [one for one in some if one != names[4]] for some in found
    ]
    assert "jobs_ending" in told


async def summed(database: Database, by: By) -> dict[str, EnergyRow]:
    return {row.key: row for row in await queries.sum_energy(database, EnergyQuery(by=by))}


async def test_one_tenant_s_sums_are_its_own_however_many_others_there_are(database: Database) -> None:
    """Among more than a page has a small one would not be found; jobs and joules are those that it has without the others."""
    await Store(database).write(came(job(1), replace(job(2), tenant="small"), job(3), replace(job(4), tenant="third")))
    one = await queries.sum_energy(database, EnergyQuery(by=By.TENANT, tenant="small", limit=1))
    every = await summed(database, By.TENANT)
    none = await queries.sum_energy(database, EnergyQuery(by=By.DEVICE, tenant="nobody"))

    assert ([every["small"]], 1, []) == (one, one[0].jobs, none)


@pytest.mark.parametrize("by", [By.DEVICE, By.TENANT, By.TIME])
async def test_sums_are_of_the_devices_and_models_that_are_asked_for(database: Database, by: By) -> None:
    """By patterns: jobs that they answered, and joules that they drew, also for what another one answered; a job that nobody was
    chosen for is in none."""
    there = job(1), job(2, device="pi", model="tiny:1b", attempts=()), job(3, device=None, model=None, attempts=())
    await Store(database).write(came(*there))
    everybody = await summed(database, By.DEVICE)

    async def only(**allowed: tuple[str, ...]) -> tuple[int, float]:
        rows = await queries.sum_energy(database, EnergyQuery(by=by, **allowed))
        return sum(row.jobs for row in rows), sum(row.joules for row in rows)

    lost = next(one for one in there[0].attempts if one.device != "orin").device
    assert (1, everybody["orin"].joules) == await only(allow_devices=("or*",))
    assert (0, everybody[lost].joules) == await only(allow_devices=(lost,))
    assert (1, everybody["pi"].joules) == await only(allow_devices=("*",), allow_models=("tiny*",))
    assert (0, 0.0) == await only(allow_devices=("nobody",))


async def test_joules_are_counted_where_they_were_drawn(database: Database) -> None:
    """A job is counted on the device that answered, and what a losing attempt took on the one that lost."""
    await Store(database).write(came(job(1), job(2)))
    by_device = await summed(database, By.DEVICE)

    assert {"orin": (2, 20.0, 0.0), "nano": (0, 4.0, 4.0)} == {
        key: (row.jobs, row.joules, row.lost_joules) for key, row in by_device.items()
    }
    assert (1.0, 1.0, "EUR", 0.5) == (
        by_device["orin"].joules_per_token,
        by_device["orin"].cost,
        by_device["orin"].currency,
        by_device["orin"].mean_first_token_s,
    )


async def test_what_cancelling_lost_is_told_apart_from_failures(database: Database) -> None:
    """Of what was lost that of cancelled jobs, on the device that drew it, however it is cut."""
    await Store(database).write(came(job(1), job(2, state="cancelled"), job(3, state="failed")))
    by_device = await summed(database, By.DEVICE)

    assert {"orin": (0.0, 0.0), "nano": (6.0, 2.0)} == {
        key: (row.lost_joules, row.cancelled_joules) for key, row in by_device.items()
    }
    for by in By:
        found = (await summed(database, by)).values()
        assert (by, 2.0) == (by, pytest.approx(sum(row.cancelled_joules for row in found)))


async def test_all_sums_are_of_the_same_whole(database: Database) -> None:
    """However it is cut, nothing is lost and nothing counted twice."""
    plain = job(3, energy=None, attempts=(), device=None, model=None, site=None, state="refused", cost_usd=None)
    hit = job(4, energy=None, attempts=(), cache={"outcome": "hit"}, received_unix_s=NOON + DAY_S)
    unmeasured = job(5, tenant="other", received_unix_s=NOON + DAY_S)
    assert unmeasured.energy is not None
    await Store(database).write(came(job(1), job(2), plain, hit, unmeasured))
    for by in By:
        found = (await summed(database, by)).values()
        assert (by, 5, 4, 1, 36.0, 6.0, 9.0, 1.0) == (
            by,
            sum(row.jobs for row in found),
            sum(row.answered for row in found),
            sum(row.cache_hits for row in found),
            pytest.approx(sum(row.joules for row in found)),
            pytest.approx(sum(row.lost_joules for row in found)),
            pytest.approx(sum(row.idle_joules for row in found)),
            pytest.approx(sum(row.cost_usd or 0.0 for row in found)),
        )


async def test_sums_by_time_are_of_steps_that_begin_with_1970(database: Database) -> None:
    """Newest first, without those in which nothing was; a job is in the step in which it came."""
    early, late = (job(number, received_unix_s=NOON + at_s) for number, at_s in ((1, 899.9), (2, 900.0)))
    await Store(database).write(came(early, late, hit(3), job(4, tenant="other")))
    query = EnergyQuery(by=By.TIME, step_s=900, tenant="default", since_unix_s=NOON)
    rows = await queries.sum_energy(database, query)
    [day] = await queries.sum_energy(database, replace(query, step_s=86_400))
    [newest, over] = await queries.sum_energy(database, replace(query, limit=1))

    assert [("2026-11-21T12:15Z", NOON + 900, 1, 12.0), ("2026-11-21T12:00Z", NOON, 2, 12.0)] == [
        (row.key, row.from_unix_s, row.jobs, row.joules) for row in rows
    ]
    assert ("2026-11-21T00:00Z", NOON - 43_200, 3, 24.0) == (day.key, day.from_unix_s, day.jobs, day.joules)
    assert rows == [newest, over]


async def test_savings_name_what_they_are_reckoned_against(database: Database) -> None:
    """Where that is one model for all; of a job from before it was kept, what it would have cost is what is known."""
    before = job(2, saved_against=None, cloud_usd=None)
    other = job(3, tenant="other", saved_against="opus@cloud")
    await Store(database).write(came(job(1), before, other))
    tenants = await summed(database, By.TENANT)
    [both] = (await summed(database, By.DAY)).values()

    assert ("gpt-4o@cloud", 0.25, 0.75) == (
        tenants["default"].saved_against,
        tenants["default"].saved_usd,
        tenants["default"].cloud_usd,
    )
    assert (None, 0.375, 1.125) == (both.saved_against, both.saved_usd, both.cloud_usd)


async def test_joules_for_an_answer_are_of_answers_that_took_some(database: Database) -> None:
    """Those from the cache, and of models elsewhere, make none look cheap; what was lost for one is in it."""
    await Store(database).write(came(job(1), job(2, state="failed"), hit(3), elsewhere(4)))
    [row] = (await summed(database, By.TENANT)).values()

    assert (1, 24.0, 3) == (row.energy_answers, row.joules_per_answer, row.answered)


async def test_answers_that_took_nothing_make_no_model_look_frugal(database: Database) -> None:
    """From the cache, and of a model elsewhere: their tokens are counted, and no joule is divided by them."""
    await Store(database).write(came(job(1), hit(2), hit(3), elsewhere(4)))
    for by in By:
        every = total(list((await summed(database, by)).values()))

        assert (by, 40, 10, 1.2, 2) == (
            by,
            every.completion_tokens,
            every.energy_tokens,
            pytest.approx(every.joules_per_token or 0.0),
            every.cache_hits,
        )
    models = await summed(database, By.MODEL)

    assert (1.0, 40) == (models["llama3.2:1b"].joules_per_token, models["llama3.2:1b"].completion_tokens)


async def test_sums_of_several_currencies_are_none(database: Database) -> None:
    """Euros and francs are not added."""
    one, other = job(1), job(2)
    assert other.energy is not None
    object.__setattr__(other.energy, "currency", "CHF")
    await Store(database).write(came(one, other))
    [row] = (await summed(database, By.TENANT)).values()

    assert (24.0, None, None) == (row.joules, row.cost, row.currency)


async def test_old_rows_go_and_minutes_become_hours(database: Database) -> None:
    """By the age of what they tell; what is put together has the same joules, and is put together once."""
    old = [job(1, received_unix_s=NOON - 400 * DAY_S), event(1, at_unix_s=NOON - 400 * DAY_S)]
    hour = [
        minute(n, from_unix_s=NOON - 20 * DAY_S + 60 * n, to_unix_s=NOON - 20 * DAY_S + 60 * (n + 1)) for n in range(30)
    ]
    young = [minute(100 + n) for n in range(3)]
    await Store(database).write(stored(NOON - 20 * DAY_S, *old, *hour))
    await Store(database).write(came(job(2), event(2), *young))
    gone = await prune(database, now_unix_s=NOON + DAY_S, days=365, power_days=14)
    again = await prune(database, now_unix_s=NOON + DAY_S, days=365, power_days=14)
    [merged, *rest] = reversed(await queries.find_power(database, DevicesQuery()))

    assert (1, 1, 0, 30) == (gone.jobs, gone.devices, gone.power, gone.power_merged)
    assert (0, 0, 0, 0) == (again.jobs, again.devices, again.power, again.power_merged)
    assert ["job-2"] == [one.job for one in await queries.find_jobs(database, JobsQuery())]
    assert rest == young
    assert (0, 1800, sum(one.energy_j for one in hour), 19.5, 4.0, 38.0, 360.0, 30) == (
        merged.seq,
        merged.samples,
        pytest.approx(merged.energy_j),
        pytest.approx(merged.mean_w),
        merged.least_w,
        merged.most_w,
        merged.jobs_j,
        merged.jobs,
    )
    assert (0.5, 64.5, (3 << 30) + 29, 8 << 30) == (
        pytest.approx(merged.in_flight),
        merged.temperature_c,
        merged.memory_used_bytes,
        merged.memory_total_bytes,
    )


def stored(unix_s: float, *entries: Entry) -> list[Came]:
    """Give entries as the stream gives them that took them at that time."""
    return [replace(one, kept=replace(one.kept, stored_unix_s=unix_s)) for one in came(*entries)]


async def drawn(database: Database) -> float:
    """All joules of all minutes and hours."""
    return sum(one.energy_j for one in await queries.find_power(database, DevicesQuery()))


async def test_minutes_that_come_again_are_in_their_hour_once(database: Database) -> None:
    """What the stream still has may be given again after it was written: until then minutes stay minutes, however old they are."""
    minutes = [minute(number) for number in range(5)]
    now = NOON + 5 * DAY_S
    await Store(database).write(came(*minutes))
    early = await prune(database, now_unix_s=now, days=0, power_days=1, sure=True)
    await Store(database).write(came(*minutes))
    late = await prune(database, now_unix_s=now + STREAM_AGE_S, days=0, power_days=1, sure=True)

    assert (0, 5) == (early.power_merged, late.power_merged)
    assert sum(one.energy_j for one in minutes) == await drawn(database)


async def test_a_device_without_a_clock_keeps_its_minutes_as_long(database: Database) -> None:
    """Its times are of 1970: how old they are is told by when they came."""
    without = [minute(number, from_unix_s=60.0 * number, to_unix_s=60.0 * (number + 1)) for number in range(5)]
    await Store(database).write(came(*without))
    merged = [
        (await prune(database, now_unix_s=NOON + age * DAY_S, days=0, power_days=14, sure=True)).power_merged
        for age in (0.001, 13, 15)
    ]

    assert [0, 0, 5] == merged


@pytest.mark.parametrize("entry", [job(), event(), minute()])
async def test_a_clock_that_is_far_ahead_forgets_nothing(entry: Entry, database: Database) -> None:
    """By it everything is old: it is not believed while the newest row is days old, unless somebody is sure."""
    await Store(database).write(came(entry))
    before = await rows(database, *KEPT)
    with pytest.raises(ConfigError, match="the clock may be wrong"):
        await prune(database, now_unix_s=NOON + 4000 * DAY_S, days=365, power_days=14)
    doubted = await rows(database, *KEPT)
    await prune(database, now_unix_s=NOON + 4000 * DAY_S, days=365, power_days=14, sure=True)

    assert (before, []) == (doubted, await rows(database, *KEPT))


async def test_nothing_goes_where_days_are_0(database: Database) -> None:
    """Who wants to keep all of it does."""
    await Store(database).write(came(job(1, received_unix_s=0.0), event()))
    gone = await prune(database, now_unix_s=NOON, days=0, power_days=14)

    assert (0, 1) == (gone.jobs, len(await queries.find_jobs(database, JobsQuery())))


async def test_the_steps_make_the_tables_that_the_code_knows(database: Database) -> None:
    """Each column of each table, as it is declared; a second start changes nothing."""
    await schema.upgrade(database)
    async with database.reading() as connection:
        found = await schema.columns(connection)

    assert {table.name: [column.name for column in table.c] for table in KEPT} == {
        name: columns for name, columns in found.items() if name != "ledger_version"
    }


FIRST = KEPT[:5]
"""The tables of the first step."""


async def test_an_earlier_step_is_brought_up_to_date(place: Place) -> None:
    """With its rows; what nobody knew then is absent, and stands in nobody's way."""
    async with opened(place) as database:
        await schema.upgrade(database)
        await Store(database).write(came(minute(1), minute(2)))
        async with database.writing() as connection:
            for statement in (
                "DROP INDEX power_stored",
                "DROP INDEX jobs_ending",
                "DROP INDEX power_device",
                "ALTER TABLE power DROP COLUMN stored_unix_s",
                "ALTER TABLE power DROP COLUMN in_flight",
                "ALTER TABLE power DROP COLUMN temperature_c",
                "ALTER TABLE power DROP COLUMN memory_used_bytes",
                "ALTER TABLE power DROP COLUMN memory_total_bytes",
                "ALTER TABLE jobs DROP COLUMN saved_against",
                "ALTER TABLE jobs DROP COLUMN cloud_usd",
                *(f"DROP TABLE {table.name}" for table in KEPT[len(FIRST) :]),
                "UPDATE ledger_version SET version_num = '0001'",
            ):
                await connection.execute(text(statement))
        await schema.upgrade(database)
        kept = await drawn(database)
        gone = await prune(database, now_unix_s=NOON + 30 * DAY_S, days=0, power_days=14, sure=True)

        assert (schema.newest(), 2) == (await schema.version(database), gone.power_merged)
        assert minute(1).energy_j + minute(2).energy_j == kept == await drawn(database)


async def test_answers_of_an_earlier_step_that_broke_off_say_so(place: Place) -> None:
    """Why, nobody knew then."""
    owner = Owner(tenant="default", user="anna")
    answers = {
        name: Turn(id=name, message=Message(role=Role.ASSISTANT), broken_off=name == "off") for name in ("off", "on")
    }
    async with opened(place) as database:
        await schema.upgrade(database)
        async with database.writing() as connection:
            await connection.execute(insert(turns), [turn_row(owner, "c", 1, turn) for turn in answers.values()])
            for statement in (
                "ALTER TABLE turns DROP COLUMN error",
                "ALTER TABLE turns DROP COLUMN given",
                "UPDATE ledger_version SET version_num = '0009'",
            ):
                await connection.execute(text(statement))
        await schema.upgrade(database)
        async with database.reading() as connection:
            rows = (await connection.execute(turns_of(owner, "c").order_by(turns.c.id))).mappings().all()

    fault = Ended(code="interrupted", message="it ended before it was complete")
    assert [replace(answers["off"], error=fault), answers["on"]] == [turn_of(row) for row in rows]


async def test_two_that_start_at_once_make_the_tables_once(place: Place) -> None:
    """Of PostgreSQL, where several may share a database; of a file there is one writer at a time."""
    async with opened(place) as first, opened(place) as second, asyncio.TaskGroup() as tasks:
        tasks.create_task(schema.upgrade(first))
        tasks.create_task(schema.upgrade(second))
    async with opened(place) as made:
        assert schema.newest() == await schema.version(made)


async def test_tables_of_a_newer_drover_are_not_touched(place: Place) -> None:
    """What it does not know it must not write."""
    async with opened(place) as database:
        await schema.upgrade(database)
        async with database.writing() as connection:
            await connection.execute(text("UPDATE ledger_version SET version_num = '9999'"))

        with pytest.raises(ConfigError, match="9999"):
            await schema.upgrade(database)
        with pytest.raises(ConfigError, match="9999"):
            await schema.require_newest(database)


async def test_a_database_without_a_ledger_is_said_to_have_none(place: Place) -> None:
    """Whoever only looks makes no tables, and no file."""
    async with opened(place) as empty:
        with pytest.raises(ConfigError, match="no ledger yet"):
            await checking.stats(empty)

    assert place.file is None or not place.file.exists()


async def test_it_says_how_much_it_holds_and_that_it_is_sound(database: Database) -> None:
    """And what is wrong, where something is."""
    await Store(database).write(came(job(1), job(2), event(), minute()))
    found = await checking.stats(database)
    sound = await checking.faults(database)
    async with database.writing() as connection:
        await connection.execute(update(jobs).where(jobs.c.job == "job-2").values(attempts="[{]"))
        await connection.execute(update(power).values(mean_w=-1.0))
    broken = await checking.faults(database)

    told = {"jobs": 2, "shares": 4, "devices": 1, "power": 1, "rejected": 0}
    assert (told, NOON + 1, NOON + 2, []) == (
        {name: found.rows[name] for name in told},
        found.first_unix_s,
        found.last_unix_s,
        sound,
    )
    assert [f"jobs {job(2).record}", "power nano/b1/1"] == [line.partition(":")[0] for line in broken]


async def test_readers_change_nothing(database: Database) -> None:
    """A bug in a query must not be one in the rows."""
    with pytest.raises(LedgerUnavailable):
        async with database.reading() as connection:
            await connection.execute(text("DELETE FROM jobs"))


async def test_a_reader_sees_one_state_of_all_tables(database: Database) -> None:
    """A backup that is made while rows come has no share without its job."""
    store = Store(database)
    await store.write(came(job(1)))
    async with database_source(database) as source:
        seen = [len(some) async for some in source.rows(jobs)]
        await store.write(came(job(2)))
        seen += [len(some) async for some in source.rows(jobs)]

    assert [1, 1] == seen


def rights(directory: Path) -> dict[str, int]:
    """What may be done with each file in it."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    """The file, what SQLite keeps beside it, and the lock: whatever the process allows for new files."""
    file = tmp_path / "state" / "ledger.db"
    before = os.umask(0)
    try:
        with sole_writer(file):
            async with opened(Place(file=file)) as made:
                await schema.upgrade(made)
                found = rights(file.parent)
    finally:
        os.umask(before)

    assert dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"), 0o600) == found


async def test_a_file_has_the_name_that_was_given(tmp_path: Path) -> None:
    """Also where an address would read it as something else: the lock is beside the file that is written."""
    file = tmp_path / "what?mode=memory&x#y%20.db"
    async with opened(Place(file=file)) as made:
        await schema.upgrade(made)
        await Store(made).write(came(job()))

    assert [file.name] == [*rights(tmp_path)]


async def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A file that is none: the ledger says so, and goes on trying."""
    (tmp_path / "ledger.db").write_bytes(b"this is no database, whatever its name says" * 100)
    async with opened(Place(file=tmp_path / "ledger.db")) as broken:
        with pytest.raises(LedgerUnavailable, match=r"ledger\.db"):
            await schema.upgrade(broken)
