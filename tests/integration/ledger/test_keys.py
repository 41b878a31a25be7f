"""Keys, sessions and budgets in both databases: who is let in, what is set aside, what a record settles."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select, update
from sqlalchemy.event import listen, remove

from common.energy import Energy
from common.errors import BadRequest, DuplicateJob, FleetError, QuotaSpent, Unauthorized, UnknownKey
from common.key_requests import (
    AddKey,
    ChangeKey,
    CheckKey,
    Issued,
    Liftable,
    Limit,
    ListKeys,
    LoginKey,
    ReleaseJob,
    RotateKey,
)
from common.keys import Budget, Period, Reservation, Reserved, Scope, Unit, new_id, new_secret, parse
from common.ledger import Span
from common.messages import Usage
from common.records import JobEntry
from dispatcher.ledger import checking, key_changes, keyring, purse, schema
from dispatcher.ledger.archive import backup, source_of
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.export import write_csv
from dispatcher.ledger.moving import restore
from dispatcher.ledger.reserving import USUAL_J_PER_TOKEN, Reserving
from dispatcher.ledger.retention import prune
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import KEPT, budgets, keys, reservations
from tests.integration.ledger.builders import NOON, came, hit, job
from tests.integration.ledger.conftest import BOTH
from tests.postgres_server import PostgresServer, needs_postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_S = 86_400.0
GUARD_S = 60.0
TOKENS = Limit(unit=Unit.TOKENS, limit=1000, period=Period.DAY)


class HandClock:
    """The time of day, as a test says it."""

    def __init__(self) -> None:
        self.now_s = NOON

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True, slots=True)
class World:
    """A ledger's keys, and the time."""

    database: Database
    clock: HandClock
    reserving: Reserving
    store: Store

    async def add(self, name: str = "laptop", *limits: Limit, **changes: Any) -> Issued:
        return await key_changes.add(self.database, AddKey(name=name, budgets=limits, **changes), self.clock())

    async def check(self, secret: str) -> Any:
        return await keyring.check(self.database, asked(secret), self.clock())

    async def why(self, secret: str) -> str:
        """Say why a secret is no good."""
        with pytest.raises(Unauthorized) as refused:
            await self.check(secret)
        return refused.value.message

    async def reserve(self, key: Issued, name: str, tokens: int = 100, **changes: Any) -> Any:
        return await self.reserving.reserve(wanted(key, name, tokens, **changes))

    async def release(self, key: Issued, name: str, holder: str) -> bool:
        return await self.reserving.release(ReleaseJob(key=key.grant.key, job=name, holder=holder))

    async def budgets(self, key: Issued) -> Sequence[Budget]:
        return (await self.list(which=key.grant.key))[0].budgets

    async def list(self, **query: Any) -> list[Any]:
        return await key_changes.found(self.database, ListKeys(**query), self.clock())

    async def used(self, key: Issued) -> list[tuple[int, int]]:
        return [(one.spent, one.reserved) for one in await self.budgets(key)]


def wanted(key: Issued, name: str, tokens: int = 100, **changes: Any) -> Reservation:
    return Reservation(key=key.grant.key, tenant=key.grant.tenant, job=name, tokens=tokens, **changes)


def asked(secret: str) -> CheckKey:
    shown = parse(secret)
    return CheckKey(key=shown.id, key_digest=shown.key_digest)


def log_in(secret: str, ttl_s: float = 3600.0) -> LoginKey:
    shown = parse(secret)
    return LoginKey(key=shown.id, key_digest=shown.key_digest, ttl_s=ttl_s)


def ended(name: str, tokens: int = 10, number: int = 1, **changes: Any) -> JobEntry:
    """A record of a job that took so many tokens, and nothing else."""
    plain = {"usage": Usage(completion_tokens=tokens), "energy": None, "cost_usd": None}
    return replace(job(number), job=name, **plain | changes)


@pytest.fixture(scope="module", params=BOTH)
def shared_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if request.param == "postgres":
        server: Place = request.getfixturevalue("made_server")
        return server
    made: Path = request.getfixturevalue("made_file")
    return Place(file=Path(shutil.copyfile(made, tmp_path_factory.mktemp("keys") / "ledger.db")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_place: Place) -> AsyncIterator[Database]:
    """One way to each database for all tests: most of the time goes into statements that each new one has to learn."""
    async with opened(shared_place) as database:
        yield database


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared: Database) -> World:
    """A ledger without rows."""
    async with shared.writing() as connection:
        for table in KEPT:
            await connection.execute(delete(table))
    clock = HandClock()
    return World(shared, clock, Reserving(shared, clock), Store(shared, clock=clock))


async def test_a_key_is_what_it_was_made_for(world: World) -> None:
    """All of it, and its user is itself where none was named."""
    made = await world.add(
        "laptop",
        TOKENS,
        scopes=(Scope.CHAT, Scope.ROUTE),
        models=("llama3*",),
        devices=("orin",),
        requests_per_minute=60,
        parallel=2,
        expires_unix_s=NOON + DAY_S,
    )
    grant = await world.check(made.secret)

    assert grant == made.grant
    assert (made.grant.key, (Scope.CHAT, Scope.ROUTE), ("llama3*",), ("orin",), 60, 2) == (
        grant.user, grant.scopes, grant.models, grant.devices, grant.requests_per_minute, grant.parallel,
    )  # fmt: skip


async def test_nobody_learns_which_ids_there_are(world: World) -> None:
    """A wrong secret of a key and one of no key are refused with the same words; so is a revoked key's wrong one."""
    one, other = await world.add("one"), await world.add("other")
    await key_changes.revoke(world.database, other.grant.key, NOON)
    tail = one.secret[11:-1] + ("B" if one.secret.endswith("A") else "A")
    told = {await world.why(f"dr_{name}{tail}") for name in (one.grant.key, other.grant.key, "zzzz9999")}

    assert 1 == len(told)


async def test_whoever_has_the_right_secret_is_told_why_it_is_no_good(world: World) -> None:
    """Revoked, expired and replaced: with a way out."""
    revoked, short, rotated = await world.add("a"), await world.add("b", expires_unix_s=NOON + 10), await world.add("c")
    await key_changes.revoke(world.database, "a", NOON)
    await key_changes.rotate(world.database, RotateKey(which="c"), NOON)
    world.clock.now_s += 10
    told = [await world.why(one.secret) for one in (revoked, short, rotated)]

    assert [True] * 3 == [
        word in text for word, text in zip(("revoked", "expired at 2026-11-21", "replaced"), told, strict=True)
    ]


async def test_an_old_secret_lives_on_for_its_overlap(world: World) -> None:
    """Both are good until then, and sessions of it too, those that begin meanwhile among them."""
    old = await world.add()
    before = await keyring.login(world.database, log_in(old.secret), NOON)
    new = await key_changes.rotate(world.database, RotateKey(which="laptop", overlap_s=60.0), NOON)
    meanwhile = await keyring.login(world.database, log_in(old.secret), NOON)
    world.clock.now_s += 59
    good = [(await world.check(secret)).key for secret in (old.secret, new.secret, before.secret, meanwhile.secret)]
    world.clock.now_s += 2
    told = [await world.why(secret) for secret in (old.secret, before.secret, meanwhile.secret)]

    assert ([old.grant.key] * 4, old.grant.key) == (good, (await world.check(new.secret)).key)
    assert [True, True, True] == ["replaced" in told[0], *("expired" in text for text in told[1:])]


async def test_a_session_is_its_key_for_a_while(world: World) -> None:
    """Its rights are those that the key has now, and it is marked."""
    key = await world.add("laptop", TOKENS)
    session = await keyring.login(world.database, log_in(key.secret), NOON)
    await key_changes.change(world.database, ChangeKey(which="laptop", scopes=(Scope.ADMIN,)), NOON)
    grant = await world.check(session.secret)

    assert (key.grant.key, (Scope.ADMIN,), True, NOON + 3600.0) == (
        grant.key,
        grant.scopes,
        grant.session,
        grant.expires_unix_s,
    )


async def test_a_session_tells_its_own_end_and_its_key_s(world: World) -> None:
    """They are two things to whoever has logged in: when to do so again, and when to ask for another key."""
    sessions = [
        await keyring.login(world.database, log_in((await world.add(name, expires_unix_s=ends)).secret), NOON)
        for name, ends in (("for ever", None), ("for a day", NOON + 86_400.0))
    ]
    told = [await world.check(one.secret) for one in sessions]

    assert [(NOON + 3600.0, None), (NOON + 3600.0, NOON + 86_400.0)] == [
        (one.expires_unix_s, one.key_expires_unix_s) for one in told
    ]


async def test_a_session_ends_with_its_key(world: World) -> None:
    """Or before: by itself, or by a logout, which only who has it can ask for."""
    key = await world.add(expires_unix_s=NOON + 7200.0)
    sessions = [await keyring.login(world.database, log_in(key.secret, ttl_s), NOON) for ttl_s in (60.0, 1e4, 1e4)]
    wrong = replace(asked(sessions[1].secret), key_digest="0" * 64)
    left = [
        await keyring.logout(world.database, wrong),
        await keyring.logout(world.database, asked(sessions[1].secret)),
    ]
    world.clock.now_s += 61
    told = [await world.why(one.secret) for one in sessions[:2]]
    alive = await world.check(sessions[2].secret)
    await key_changes.revoke(world.database, key.grant.key, world.clock())

    assert ([False, True], NOON + 7200.0) == (left, alive.expires_unix_s)
    assert [True, True, True] == [
        "log in again" in told[0],
        "no such key" in told[1],
        "no such key" in await world.why(sessions[2].secret),
    ]


async def test_a_session_makes_no_session_and_a_key_is_not_logged_out(world: World) -> None:
    """Else it would never end, and the other would."""
    key = await world.add()
    session = await keyring.login(world.database, log_in(key.secret), NOON)
    with pytest.raises(Unauthorized):
        await keyring.login(world.database, log_in(session.secret), NOON)
    with pytest.raises(Unauthorized):
        await keyring.logout(world.database, asked(key.secret))

    assert key.grant.key == (await world.check(key.secret)).key


async def test_nobody_writes_for_strangers(world: World) -> None:
    """Who logs in without a key, or out without a session, is answered while somebody else writes: there is one writer."""
    key = await world.add()
    wrong = replace(asked(key.secret), key_digest="0" * 64)
    async with asyncio.timeout(GUARD_S), world.database.writing():
        left = [await keyring.logout(world.database, one) for one in (wrong, asked(new_secret(new_id(), session=True)))]
        with pytest.raises(Unauthorized):
            await keyring.logout(world.database, asked(key.secret))
        with pytest.raises(Unauthorized):
            await keyring.login(world.database, replace(log_in(key.secret), key_digest=wrong.key_digest), NOON)

    assert [False, False] == left


async def test_sessions_of_a_key_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes: a browser that logs in again and again fills no disk."""
    monkeypatch.setattr(keyring, "MOST_SESSIONS", 2)
    key = await world.add()
    made = [await keyring.login(world.database, log_in(key.secret), NOON + second) for second in range(4)]
    told = await world.why(made[1].secret)

    assert (True, [True, True]) == (
        "no such key" in told,
        [(await world.check(one.secret)).session for one in made[2:]],
    )


async def test_names_are_one_key_s_while_it_lives(world: World) -> None:
    """Of one tenant; who has ended gives his name away, and does not get it back while another one has it."""
    first = await world.add()
    elsewhere = await world.add(tenant="other")
    with pytest.raises(BadRequest, match=f"{first.grant.key}.*already"):
        await world.add()
    with pytest.raises(BadRequest, match="by its id"):
        await world.list(which="laptop")
    await key_changes.change(world.database, ChangeKey(which=first.grant.key, expires_unix_s=NOON - 1), NOON)
    again = await world.add()
    with pytest.raises(BadRequest, match="already"):
        await key_changes.change(world.database, ChangeKey(which=first.grant.key, lift=(Liftable.EXPIRY,)), NOON)

    assert {again.grant.key, elsewhere.grant.key} == {one.key for one in await world.list()}
    assert 3 == len(await world.list(all=True))


async def test_two_that_want_a_name_at_once_are_one(world: World) -> None:
    """Also on a server where they are written at the same time."""
    made = await asyncio.gather(*(world.add() for _ in range(5)), return_exceptions=True)

    assert [1, 4] == [sum(isinstance(one, kind) for one in made) for kind in (Issued, BadRequest)]


async def test_no_name_of_a_key_is_a_typed_error(world: World) -> None:
    """Which does not repeat what looks like a secret."""
    secret = (await world.add()).secret
    with pytest.raises(UnknownKey) as plain:
        await world.list(which="nobody")
    with pytest.raises(UnknownKey) as like_a_key:
        await world.list(which=secret)

    assert (True, False) == ("'nobody'" in plain.value.message, secret[3:] in like_a_key.value.message)


async def test_a_change_leaves_what_it_does_not_name(world: World) -> None:
    """A budget that goes on keeps what is spent of it."""
    key = await world.add("laptop", TOKENS, parallel=2, models=("a*",))
    await world.reserve(key, "j1")
    await world.store.write(came(ended("j1", 70)))
    more, other = replace(TOKENS, limit=5000), Limit(unit=Unit.MONEY, limit=7)
    changed = await key_changes.change(world.database, ChangeKey(which="laptop", budgets=(more, other)), NOON)
    lifted = await key_changes.change(
        world.database, ChangeKey(which="laptop", models=(), lift=(Liftable.PARALLEL,)), NOON
    )

    assert {(Unit.TOKENS, 5000, 70), (Unit.MONEY, 7, 0)} == {
        (one.unit, one.limit, one.spent) for one in changed.budgets
    }
    assert (2, ("a*",), None, ()) == (changed.parallel, changed.models, lifted.parallel, lifted.models)


async def test_what_is_revoked_stays_so(world: World) -> None:
    """Nothing is changed about it."""
    key = await world.add()
    await key_changes.revoke(world.database, "laptop", NOON)
    again = await key_changes.revoke(world.database, key.grant.key, NOON + 5)
    with pytest.raises(BadRequest, match="for ever"):
        await key_changes.rotate(world.database, RotateKey(which=key.grant.key), NOON)

    assert (True, 0) == (again.revoked, await keyring.count_live(world.database, NOON))


async def test_only_keys_that_live_are_counted(world: World) -> None:
    """A session is none, nor what has ended."""
    key = await world.add("a")
    await world.add("b", expires_unix_s=NOON + 1)
    await keyring.login(world.database, log_in(key.secret), NOON)

    assert (2, 1) == (
        await keyring.count_live(world.database, NOON),
        await keyring.count_live(world.database, NOON + 1),
    )


async def test_a_job_holds_what_it_may_use_until_its_record_comes(world: World) -> None:
    """Then it has spent what it took, and a record that comes twice changes nothing."""
    key = await world.add("laptop", TOKENS)
    told = await world.reserve(key, "j1", 300)
    held = await world.used(key)
    for _ in range(2):
        await world.store.write(came(ended("j1", 120)))

    assert ([(0, 300)], [(0, 300)], [(120, 0)]) == (
        [(one.spent, one.reserved) for one in told.budgets],
        held,
        await world.used(key),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "cancelled", "error": "cancelled"},
        {"state": "failed", "error": "device_lost"},
        {"state": "refused", "error": "no_device"},
    ],
)
async def test_however_a_job_ends_its_record_settles_it(changes: dict[str, str], world: World) -> None:
    """What it took until then is spent, and no more."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300)
    await world.store.write(came(ended("j1", 7, **changes)))

    assert [(7, 0)] == await world.used(key)


async def test_money_and_joules_are_what_the_record_says(world: World) -> None:
    """Rounded up, and for an answer from the cache nothing but its tokens."""
    limits = [Limit(unit=unit, limit=10**9) for unit in Unit]
    key = await world.add("laptop", *limits)
    await world.reserve(key, "paid", 300, micro_usd=400_000)
    await world.reserve(key, "cached", 300, micro_usd=400_000)
    took = Energy(joules=1.2345, idle_joules=9.0, measured=True, tokens=10)
    await world.store.write(came(ended("paid", 10, cost_usd=0.07, energy=took)))
    first = {one.unit: one.spent for one in await world.budgets(key)}
    await world.store.write(came(replace(hit(2), job="cached")))
    both = {one.unit: one.spent for one in await world.budgets(key)}

    assert {Unit.TOKENS: 10, Unit.MONEY: 70_000, Unit.ENERGY: 1235} == first
    assert {Unit.TOKENS: 50, Unit.MONEY: 70_000, Unit.ENERGY: 1235} == both


async def test_a_record_of_another_request_under_the_same_id_settles_nothing(world: World) -> None:
    """Else whoever sends an id twice would free what the first has set aside."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300)
    await world.store.write(came(ended("j1", 0, state="refused", error=DuplicateJob.code)))

    assert [(0, 300)] == await world.used(key)


async def test_a_record_of_another_tenant_settles_nothing(world: World) -> None:
    """Ids of jobs are each tenant's own."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300)
    await world.store.write(came(ended("j1", 0, tenant="other")))

    assert [(0, 300)] == await world.used(key)


async def test_a_job_that_is_reserved_twice_counts_once(world: World) -> None:
    """And is told apart, so that who came second does not release it; one that wants more is another job."""
    key, other = await world.add("a", TOKENS), await world.add("b", TOKENS)
    first, second = await world.reserve(key, "j1", 300), await world.reserve(key, "j1", 300)
    for who, tokens in ((key, 301), (other, 300)):
        with pytest.raises(DuplicateJob):
            await world.reserve(who, "j1", tokens)

    assert (True, False, [(0, 300)], [(0, 0)]) == (
        first.anew,
        second.anew,
        await world.used(key),
        await world.used(other),
    )


async def test_what_never_ran_is_given_back(world: World) -> None:
    """Once, and only to the key that has it, by who has reserved it."""
    key, other = await world.add("a", TOKENS), await world.add("b", TOKENS)
    await world.reserve(key, "j1", 300, holder="me")
    asking = [(other, "me"), (key, "you"), (key, "me"), (key, "me")]
    given = [await world.release(one, "j1", holder) for one, holder in asking]

    assert ([False, False, True, False], [(0, 0)]) == (given, await world.used(key))


async def test_a_job_that_would_do_with_less_is_let_in_on_what_is_left(world: World) -> None:
    """Of twenty at once the first has the rest, and no two have the same tokens; below the least it is refused by that."""
    key = await world.add("small", TOKENS)
    await world.reserve(key, "before", 300)
    told = await asyncio.gather(
        *(world.reserve(key, f"j{number}", 4100, least_tokens=100) for number in range(20)), return_exceptions=True
    )
    given = [one.tokens for one in told if not isinstance(one, BaseException)]
    refused = [one for one in told if isinstance(one, QuotaSpent)]

    assert ([700], 19, [(0, 1000)]) == (given, len(refused), await world.used(key))
    assert {(100, 5.0)} == {(one.details["wanted"], one.retry_after_s) for one in refused}


async def test_the_same_request_is_told_again_what_it_was_given(world: World) -> None:
    """Whose answer was lost on its way asks once more, and nothing more is set aside."""
    key = await world.add("small", TOKENS)
    told = [await world.reserve(key, "j1", 4100, least_tokens=100, holder="aaaa1111") for _ in range(2)]

    assert [(1000, True)] * 2 == [(one.tokens, one.anew) for one in told]
    assert [(0, 1000)] == await world.used(key)


async def test_what_several_requests_reserved_nobody_gives_back(world: World) -> None:
    """Neither the one that came first nor the one that joined knows whether the other runs: a record tells. The same request twice
    is one."""
    key = await world.add("laptop", TOKENS)
    told = [await world.reserve(key, "j1", 300, holder=holder) for holder in ("a", "a", "b")]
    given = [await world.release(key, "j1", holder) for holder in ("a", "b")]
    held = await world.used(key)
    await world.store.write(came(ended("j1", 120)))

    assert ([True, True, False], [False, False]) == ([one.anew for one in told], given)
    assert ([(0, 300)], [(120, 0)]) == (held, await world.used(key))


async def test_a_job_that_several_requests_mean_may_run_more_than_once(world: World) -> None:
    """Whoever cancels it and sends it again, before the first record has come, pays for both; who comes later sets aside anew."""
    key = await world.add("laptop", TOKENS)
    for holder in ("a", "b"):
        await world.reserve(key, "j1", 300, holder=holder)
    first, second, third = (ended("j1", tokens, number) for number, tokens in ((1, 5), (2, 200), (3, 70)))
    seen = []
    for records in ((first,), (first, second), (second,)):
        await world.store.write(came(*records))
        seen += await world.used(key)
    await world.reserve(key, "j1", 250, holder="c")
    seen += [*await world.used(key), await world.release(key, "j1", "c")]
    await world.store.write(came(third))
    seen += await world.used(key)

    assert [(5, 0), (205, 0), (205, 0), (205, 250), False, (275, 0)] == seen


async def test_a_record_that_comes_twice_settles_no_later_request(world: World) -> None:
    """It was spent with the first."""
    key = await world.add("laptop", TOKENS)
    for name in ("a", "b"):
        await world.reserve(key, "j1", 300, holder=name)
        await world.store.write(came(ended("j1", 20)))

    assert [(20, 300)] == await world.used(key)


@pytest.mark.parametrize(
    ("record", "spent"),
    [
        ({"state": "done"}, 20),
        ({"state": "cancelled"}, 320),
        ({"state": "done", "received_unix_s": NOON - 2 * DAY_S}, 320),
    ],
    ids=["answered", "cancelled", "long-ago"],
)
async def test_an_answer_that_is_told_again_lapses_for_nothing(
    record: dict[str, Any], spent: int, world: World
) -> None:
    """Who hangs up while it is told has used nothing more; a job that had no answer would have run anew."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300)
    await world.store.write(came(ended("j1", 20, **{"received_unix_s": NOON} | record)))
    await world.reserve(key, "j1", 300, expires_s=60.0)
    world.clock.now_s += 60
    lapsed = await world.reserving.lapse()

    assert (1, [(spent, 0)]) == (lapsed, await world.used(key))


async def test_a_job_that_does_not_fit_is_told_all_about_it(world: World) -> None:
    """Which budget, how much of it, and when it begins anew."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 900)
    await world.store.write(came(ended("j1", 950)))
    with pytest.raises(QuotaSpent) as refused:
        await world.reserve(key, "j2", 51)
    text = refused.value.message

    assert (43_200.0, 1000, 950) == (
        refused.value.retry_after_s,
        *(refused.value.details[n] for n in ("limit", "spent")),
    )
    assert [True] * 4 == [part in text for part in ("1000 tokens a day", "950 are spent", "51", "2026-11-22 00:00 UTC")]


async def test_what_a_job_takes_too_much_keeps_the_next_one_out(world: World) -> None:
    """Until the period is over."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 900)
    await world.store.write(came(ended("j1", 5000)))
    with pytest.raises(QuotaSpent):
        await world.reserve(key, "j2", 1)
    world.clock.now_s += DAY_S
    told = await world.reserve(key, "j3", 1000)

    assert [(0, 1000)] == [(one.spent, one.reserved) for one in told.budgets]


async def test_a_job_without_a_record_is_spent_when_its_time_is_over(world: World) -> None:
    """Whoever kills a dispatcher has no free jobs; when the record comes after all, what it took is what counts."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300, expires_s=60.0)
    before = await world.reserving.lapse()
    world.clock.now_s += 60
    lapsed = [await world.reserving.lapse(), await world.reserving.lapse()]
    counted = await world.used(key)
    with pytest.raises(DuplicateJob):
        await world.reserve(key, "j1", 301)
    for _ in range(2):
        await world.store.write(came(ended("j1", 20)))

    assert (0, [1, 0], [(300, 0)], [(20, 0)]) == (before, lapsed, counted, await world.used(key))


async def test_the_same_request_that_has_lapsed_is_let_in_and_not_charged_twice(world: World) -> None:
    """As for a durable job that lies in the queue for long: what it counted as spent is set aside again, also where nothing else
    is left, and nobody gives it back; its record says what it took."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 4100, least_tokens=100, expires_s=60.0)
    world.clock.now_s += 60
    await world.reserving.lapse()
    seen = await world.used(key)
    told = await world.reserve(key, "j1", 4100, least_tokens=100, holder="b")
    seen += [*await world.used(key), await world.release(key, "j1", "b")]
    await world.store.write(came(ended("j1", 20)))
    seen += await world.used(key)

    assert (1000, [(1000, 0), (0, 1000), False, (20, 0)]) == (told.tokens, seen)


async def test_what_lapsed_yesterday_is_let_in_on_what_is_left_today(world: World) -> None:
    """Of the budget that begins anew each day, and not of the one for ever, in which it counts already."""
    ever = replace(TOKENS, limit=1000, period=Period.EVER)
    key = await world.add("laptop", TOKENS, ever)
    await world.reserve(key, "j1", 600, expires_s=60.0)
    world.clock.now_s += 60
    await world.reserving.lapse()
    world.clock.now_s += DAY_S
    await world.reserve(key, "j2", 300)
    today = await world.used(key)
    await world.reserve(key, "j1", 600)
    again = await world.used(key)
    world.clock.now_s += 900
    await world.reserving.lapse()

    assert ([(0, 300), (600, 300)], [(0, 900)] * 2, [(900, 0)] * 2) == (today, again, await world.used(key))


async def test_money_makes_no_other_request(world: World) -> None:
    """One that was let in without any, or on an older price list, comes again: it may cost what it might at first."""
    key = await world.add("laptop", Limit(unit=Unit.MONEY, limit=1000))
    await world.reserve(key, "before", micro_usd=900)
    with pytest.raises(QuotaSpent):
        await world.reserve(key, "j1", micro_usd=200)
    told = [await world.reserve(key, "j1", micro_usd=amount, holder="h") for amount in (0, 200)]
    told += [await world.reserve(key, "j2", micro_usd=amount, holder="h") for amount in (50, 60)]

    assert [0, 0, 50, 50] == [one.micro_usd for one in told]
    assert [(0, 950)] == await world.used(key)


async def test_the_second_run_of_a_shared_job_is_charged_after_midnight_too(world: World) -> None:
    """What its first record emptied was counted in no period."""
    key = await world.add("laptop", TOKENS)
    for holder in ("a", "b"):
        await world.reserve(key, "j1", 300, holder=holder)
    await world.store.write(came(ended("j1", 20)))
    world.clock.now_s += DAY_S
    await world.store.write(came(ended("j1", 200, 2)))

    assert [(200, 0)] == await world.used(key)


async def test_who_comes_again_when_the_budget_is_lifted_is_bounded_by_nothing(world: World) -> None:
    """What is settled says nothing of what may be used."""
    key = await world.add("laptop", TOKENS)
    for holder in ("a", "b"):
        await world.reserve(key, "j1", 300, holder=holder)
    await world.store.write(came(ended("j1", 20)))
    await key_changes.change(world.database, ChangeKey(which="laptop", budgets=()), world.clock())
    told = await world.reserve(key, "j1", 300)

    assert (None, None) == (told.tokens, told.micro_usd)


async def test_a_refill_forgets_what_is_spent(world: World) -> None:
    """Not what is set aside; and a record that comes late takes nothing off what is spent since."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "late", 300, expires_s=1.0)
    await world.reserve(key, "open", 200)
    world.clock.now_s += 1
    await world.reserving.lapse()
    await key_changes.refill(world.database, "laptop", world.clock())
    await world.reserve(key, "new", 100)
    await world.store.write(came(ended("new", 90, 1), ended("late", 1, 2)))

    assert [(90, 200)] == await world.used(key)


async def test_a_period_that_ends_takes_open_jobs_along(world: World) -> None:
    """They are spent in the one in which they end."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 600)
    await world.reserve(key, "j2", 300)
    await world.store.write(came(ended("j1", 600, 1)))
    world.clock.now_s += DAY_S
    tomorrow = await world.used(key)
    await world.store.write(came(ended("j2", 250, 2)))

    assert ([(0, 300)], [(250, 0)]) == (tomorrow, await world.used(key))


async def test_joules_are_set_aside_by_what_tokens_took_lately(world: World) -> None:
    """Of the tenant, else of all, else a stated number."""
    limit = Limit(unit=Unit.ENERGY, limit=10**12)
    mine, other = await world.add("a", limit), await world.add("b", limit, tenant="other")
    unknown = (await world.reserve(mine, "j1", 100)).budgets[0].reserved
    took = [Energy(joules=joules, measured=True, tokens=10) for joules in (20.0, 60.0)]
    records = [ended(f"r{number}", 10, number, energy=one) for number, one in enumerate(took, 1)]
    await world.store.write(came(records[0], replace(records[1], tenant="third")))
    world.clock.now_s += 61
    its_own = (await world.reserve(mine, "j2", 100)).budgets[0].reserved - unknown
    all_s = (await world.reserve(other, "j3", 100)).budgets[0].reserved

    assert (100_000 * USUAL_J_PER_TOKEN, 200_000, 400_000) == (unknown, its_own, all_s)


async def test_who_may_not_reserve(world: World) -> None:
    """A key that ended since it was checked, another tenant, a session, nobody."""
    key, revoked = await world.add("a", TOKENS), await world.add("b", TOKENS)
    session = parse((await keyring.login(world.database, log_in(key.secret), NOON)).secret)
    await key_changes.revoke(world.database, "b", NOON)
    asking = [
        wanted(revoked, "j1"),
        replace(wanted(key, "j1"), tenant="other"),
        replace(wanted(key, "j1"), key=session.id),
        replace(wanted(key, "j1"), key="zzzz9999"),
    ]
    told = await asyncio.gather(*(world.reserving.reserve(one) for one in asking), return_exceptions=True)

    assert [Unauthorized, BadRequest, UnknownKey, UnknownKey] == [type(one) for one in told]


async def test_a_key_without_budgets_needs_nothing_set_aside(world: World) -> None:
    """No row is written for its jobs."""
    key = await world.add()
    told = await world.reserve(key, "j1", 10**12)

    assert ((), 0) == (told.budgets, await count(world.database, reservations))


async def test_fifty_at_once_overspend_nothing(url: str, place: Place) -> None:
    """Twenty fit; through two ledgers where a database is shared by several."""
    async with opened(place) as one, opened(place) as other:
        await schema.upgrade(one)
        clock = HandClock()
        doors = [Reserving(one, clock), Reserving(one if one.sqlite else other, clock)]
        key = await key_changes.add(one, AddKey(name="laptop", budgets=(TOKENS,)), NOON)
        told = await asyncio.gather(
            *(doors[number % 2].reserve(wanted(key, f"j{number}", 50)) for number in range(50)), return_exceptions=True
        )
        in_time = [number for number, one in enumerate(told) if not isinstance(one, BaseException)]
        records = [ended(f"j{number}", 40, number + 1) for number in in_time]
        await asyncio.gather(
            *(
                Store(one if number % 2 or one.sqlite else other, clock=clock).write(came(*some))
                for number, some in enumerate((records[:12], records[8:]))
            )
        )
        after = (await key_changes.found(one, ListKeys(which="laptop"), NOON))[0].budgets[0]

    assert {QuotaSpent} == {type(one) for one in told if isinstance(one, BaseException)}
    assert (20, 800, 0) == (len(in_time), after.spent, after.reserved)


async def test_whatever_comes_at_once_nothing_is_lost_or_doubled(world: World) -> None:
    """Reservations, records that come twice, releases and lapses by the dozen at once: the sum is that of an account book."""
    chance = random.Random(20261121)
    key = await world.add("laptop", replace(TOKENS, limit=2000), replace(TOKENS, limit=10**6, period=Period.EVER))
    running: dict[str, int] = {}
    expected = 0
    for step in range(4):
        names = [f"j{step}-{number}" for number in range(10)]
        asking = [world.reserve(key, name, 100, expires_s=10.0, holder=name) for name in [*names, *names[:3]]]
        told = await asyncio.gather(*asking, return_exceptions=True)
        running |= {name: 100 for name, one in zip(names, told, strict=False) if not isinstance(one, FleetError)}
        some = sorted(running)
        chance.shuffle(some)
        settled, released = some[:5], some[5:7]
        took = {name: chance.randrange(100) for name in settled}
        records = [ended(name, took[name], 100 * step + number + 1) for number, name in enumerate(settled)]
        await asyncio.gather(
            world.store.write(came(*records)),
            world.store.write(came(*records[2:])),
            *(world.release(key, name, name) for name in released),
        )
        expected += sum(took.values())
        for name in settled + released:
            del running[name]
        if step % 2:
            world.clock.now_s += 10
            await asyncio.gather(world.reserving.lapse(), world.reserving.lapse())
            expected += sum(running.values())
            running.clear()
        ever, day = sorted(await world.budgets(key), key=lambda one: one.period, reverse=True)

        assert (expected, sum(running.values())) == (ever.spent, ever.reserved)
        assert (ever.spent, ever.reserved) == (day.spent, day.reserved)
        assert day.spent + day.reserved <= 2000


@asynccontextmanager
async def kept_waiting(world: World, key: Issued) -> AsyncIterator[None]:
    """Have nobody let in before the end of the context."""
    await world.reserve(key, "warm", 1)  # what a token usually takes is known then
    async with world.database.writing() as connection:
        await purse.hold(connection, [key.grant.key])
        yield


async def all_waiting() -> None:
    """Have what was started go on to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_that_wait_are_let_in_together(world: World) -> None:
    """By two transactions at most: the one that had begun when they came, and the next. Who is refused is refused alone, also one
    that the database can't take."""
    key, other = await world.add("a", TOKENS), await world.add("b", tenant="other")
    commits: list[object] = []
    engine, note = world.database.writer.sync_engine, commits.append
    listen(engine, "commit", note)
    asking = [
        wanted(key, "j1", 500),
        replace(wanted(key, "j2"), key="zzzz9999"),
        wanted(key, "j3", 400),
        replace(wanted(other, "j4"), tenant="default"),
        wanted(key, "j4", 400),
        wanted(key, "j1", 501),
        wanted(other, "j5"),
    ]
    async with kept_waiting(world, key):
        commits.clear()
        all_at_once = asyncio.gather(*map(world.reserving.reserve, asking), return_exceptions=True)
        await all_waiting()
    told = await all_at_once
    together = len(commits)
    asking = [wanted(key, "j6", 1), wanted(key, "\ud800", 1), wanted(key, "j7", 1)]
    bad = await asyncio.gather(*map(world.reserving.reserve, asking), return_exceptions=True)
    remove(engine, "commit", note)

    assert [Reserved, UnknownKey, Reserved, BadRequest, QuotaSpent, DuplicateJob, Reserved] == [
        type(one) for one in told
    ]
    assert together <= 3  # and that of who kept them waiting
    assert [True, False, True] == [isinstance(one, Reserved) for one in bad]
    assert [(0, 903)] == await world.used(key)


async def test_who_gives_up_takes_nobody_along(world: World) -> None:
    """Whoever was first decides for all that wait: when he is cancelled another one does."""
    key = await world.add("a", TOKENS)
    async with asyncio.TaskGroup() as tasks, kept_waiting(world, key):
        first, *others = [tasks.create_task(world.reserve(key, f"j{number}", 100)) for number in range(5)]
        await all_waiting()
        first.cancel()
        await asyncio.wait([first])

    assert (True, [Reserved] * 4) == (first.cancelled(), [type(one.result()) for one in others])
    assert [(0, 401)] == await world.used(key)


async def test_a_release_comes_behind_the_wish_that_it_takes_back(world: World) -> None:
    """Who gives up waiting takes back at once what may not have been decided yet."""
    key = await world.add("a", TOKENS)
    async with kept_waiting(world, key):
        both = world.reserve(key, "j1", 100), world.reserve(key, "j2", 100, holder="h")
        all_at_once = asyncio.gather(*both, world.release(key, "j2", "h"))
        await all_waiting()
    *_, released = await all_at_once

    assert (True, [(0, 101)]) == (released, await world.used(key))


async def test_a_release_comes_behind_its_wish_also_where_the_wish_has_much_to_ask(world: World) -> None:
    """A ledger that has just begun asks first what a token usually takes: the wish has its turn before that."""
    key = await world.add("a", TOKENS)
    _, released = await asyncio.gather(world.reserve(key, "j1", 100, holder="h"), world.release(key, "j1", "h"))

    assert (True, [(0, 0)]) == (released, await world.used(key))


async def test_a_wish_that_was_taken_back_before_it_came_is_refused(world: World) -> None:
    """Of two ledgers the other one may have had it so long. Whoever sends the job again has it as if nothing had been, also by
    another key; a record of somebody else's job of the name charges nobody for it."""
    key, second = await world.add("a", TOKENS), await world.add("b", TOKENS)
    early = await world.release(key, "j1", "h"), await world.release(second, "j2", "h")
    with pytest.raises(DuplicateJob, match="taken it back"):
        await world.reserve(key, "j1", 300, holder="h")
    seen = await world.used(key)
    anew = [await world.reserve(key, name, 200, holder="i") for name in ("j1", "j2")]
    seen += [*await world.used(key), await world.release(key, "j1", "i"), *await world.used(key)]
    await world.release(key, "j3", "h")
    await world.store.write(came(ended("j3", 50)))

    assert ((False, False), [(True, 200)] * 2) == (early, [(one.anew, one.tokens) for one in anew])
    assert [(0, 0), (0, 400), True, (0, 200)] == seen
    assert ([(0, 200)], [(0, 0)]) == (await world.used(key), await world.used(second))


async def test_a_wish_that_was_taken_back_is_refused_where_the_job_has_run_before(world: World) -> None:
    """What a settled job stays for is kept: records of further runs are spent."""
    key = await world.add("a", TOKENS)
    for holder in ("a", "b"):
        await world.reserve(key, "j1", 300, holder=holder)
    world.clock.now_s += 1
    await world.store.write(came(ended("j1", 20)))
    await world.release(key, "j1", "h")
    with pytest.raises(DuplicateJob, match="taken it back"):
        await world.reserve(key, "j1", 300, holder="h")
    for number in (2, 3):
        world.clock.now_s += 1
        await world.store.write(came(ended("j1", 7, number)))

    assert [(34, 0)] == await world.used(key)


async def test_two_keys_that_want_the_name_of_what_was_taken_back_do_not_share_it(url: str, place: Place) -> None:
    """The tenant's other keys may use the name; of two at once one has it, and the other is told so."""
    async with opened(place) as database:
        await schema.upgrade(database)
        clock = HandClock()
        doors = [Reserving(database, clock) for _ in range(2)]
        made = [await key_changes.add(database, AddKey(name=name, budgets=(TOKENS,)), NOON) for name in ("a", "b", "c")]
        await doors[0].release(ReleaseJob(key=made[2].grant.key, job="j1", holder="h"))
        told = await asyncio.gather(
            *(door.reserve(wanted(key, "j1")) for door, key in zip(doors, made, strict=False)), return_exceptions=True
        )
        page = await key_changes.found(database, ListKeys(), NOON)

    assert {Reserved, DuplicateJob} == {type(one) for one in told}
    assert [0, 0, 100] == sorted(one.budgets[0].reserved for one in page)


async def test_together_they_are_told_what_each_would_be_told_alone(world: World) -> None:
    """The same wishes, one after the other and all at once: the same answers, and the same rows."""
    chance = random.Random(20261122)
    for number in range(4):
        keys_of = [
            [await world.add(f"{name}{number}", *limits, tenant=f"{how}{number}") for name, limits in _KEYS.items()]
            for how in ("alone", "together")
        ]
        wishes = [
            (chance.randrange(3), f"j{chance.randrange(6)}", chance.choice((100, 200)), chance.choice("xy"))
            for _ in range(25)
        ]
        ends = [ended(name, 30, 50 + at) for at, name in enumerate(chance.sample([f"j{one}" for one in range(6)], 3))]
        seen = []
        for made in keys_of:
            asking = [world.reserve(made[at], name, tokens, holder=holder) for at, name, tokens, holder in wishes]
            first, then = asking[:12], asking[12:]
            tenant = made[0].grant.tenant
            its = [replace(one, tenant=tenant, record=f"01{number}{tenant[0].upper()}{one.record[4:]}") for one in ends]
            told = await _told(first, together=made is keys_of[1])
            await world.store.write(came(*its))
            told += await _told(then, together=made is keys_of[1])
            ids = {one.grant.key: at for at, one in enumerate(made)}
            seen.append((told, await _rows_of(world, tenant, ids), [await world.used(one) for one in made]))

        assert seen[0] == seen[1]


_KEYS = {"a": (TOKENS, replace(TOKENS, limit=700, period=Period.EVER)), "b": (replace(TOKENS, limit=450),), "c": ()}


async def _told(asking: Sequence[Coroutine[Any, Any, Any]], *, together: bool) -> list[object]:
    if together:
        told: list[object] = list(await asyncio.gather(*asking, return_exceptions=True))
    else:
        told = [(await asyncio.gather(one, return_exceptions=True))[0] for one in asking]
    return [one if isinstance(one, Reserved) else type(one) for one in told]


async def _rows_of(world: World, tenant: str, ids: dict[str, int]) -> list[tuple[Any, ...]]:
    its = reservations.c
    ask = select(its.job, its.key, its.tokens, its.holder, its.lapsed_unix_s).where(its.tenant == tenant)
    async with world.database.reading() as connection:
        found = (await connection.execute(ask.order_by(its.job))).all()
    return [(job, ids[key], *rest) for job, key, *rest in found]


async def test_when_a_key_was_used_is_written_once_a_minute(world: World) -> None:
    """By whoever comes first."""
    key = await world.add("laptop", TOKENS)
    seen = []
    for wait_s in (0.0, 30.0, 31.0):
        world.clock.now_s += wait_s
        await world.reserve(key, f"j{wait_s}", 1)
        seen.append((await world.list(which="laptop"))[0].last_used_unix_s)

    assert [NOON, NOON, NOON + 61] == seen


async def test_a_backup_has_keys_and_an_export_has_no_secret(world: World, tmp_path: Path) -> None:
    """What is restored is good for the same secrets; what other programs get has neither them nor their digests."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1", 300)
    await backup(world.database, tmp_path / "b.zip")
    await key_changes.revoke(world.database, "laptop", NOON)
    restored = await restore(world.database, source_of(tmp_path / "b.zip"), force=True)
    table = io.StringIO()
    await write_csv(world.database, "keys", Span(), table)

    assert (1, 1, 1) == tuple(restored[name] for name in ("keys", "budgets", "reservations"))
    assert ([(0, 300)], key.grant.key) == (await world.used(key), (await world.check(key.secret)).key)
    assert (True, False, False) == tuple(
        part in table.getvalue() for part in (key.grant.key, "digest", parse(key.secret).key_digest)
    )


async def test_what_is_wrong_with_keys_is_found(world: World) -> None:
    """Rows that nobody could have written."""
    key = await world.add("laptop", TOKENS)
    await world.reserve(key, "j1")
    sound = await checking.faults(world.database)
    async with world.database.writing() as connection:
        await connection.execute(update(keys).values(scopes='["all"]'))
        await connection.execute(update(budgets).values(period="week"))
        await connection.execute(update(reservations).values(tokens=-1))

    assert [] == sound
    assert ["keys", "budgets", "reservations"] == [line.split()[0] for line in await checking.faults(world.database)]


async def test_what_has_ended_long_ago_is_forgotten(world: World) -> None:
    """With its budgets; sessions that are over at once. What lives stays, however old."""
    old, live = await world.add("old", TOKENS, expires_unix_s=NOON + 10), await world.add("live", TOKENS)
    for one in (old, live):
        await keyring.login(world.database, log_in(one.secret, 5.0), NOON)
    await world.reserve(live, "lost", 10, expires_s=1.0)
    world.clock.now_s += 2
    await world.reserving.lapse()
    early = await prune(world.database, now_unix_s=NOON + 7, days=365, power_days=14, sure=True)
    kept = [await count(world.database, table) for table in (keys, budgets, reservations)]
    late = await prune(world.database, now_unix_s=NOON + 400 * DAY_S, days=365, power_days=14, sure=True)

    assert (0, [2, 2, 1]) == (early.keys, kept)
    assert (1, [1, 1, 0]) == (
        late.keys,
        [await count(world.database, table) for table in (keys, budgets, reservations)],
    )


@needs_postgres
async def test_keys_move_to_another_database(postgres: PostgresServer, made_file: Path, tmp_path: Path) -> None:
    """With all that is good there."""
    del made_file
    async with opened(Place(file=tmp_path / "a.db")) as first, opened(Place(dsn=postgres.database())) as server:
        for one in (first, server):
            await schema.upgrade(one)
        made = await key_changes.add(first, AddKey(name="laptop", budgets=(TOKENS,)), NOON)
        await backup(first, tmp_path / "a.zip")
        await restore(server, source_of(tmp_path / "a.zip"), force=False)

        assert made.grant == await keyring.check(server, asked(made.secret), NOON)


async def count(database: Database, table: Any) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
