"""Keys over the bus: what the bridge and the command line ask a ledger, and what nobody may read anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from common import codec, key_client
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.clock import LoopClock
from common.conversation_client import Conversations
from common.conversations import Owner
from common.errors import BadRequest, LedgerUnavailable, QuotaSpent, Unauthorized, UnknownKey
from common.key_requests import AddKey, ChangeKey, Limit, ListKeys, RotateKey
from common.keys import Period, Reservation, Scope, Unit, new_secret, parse
from dispatcher.cli import keys as cli
from dispatcher.cli.keys_verbs import app
from dispatcher.ledger.database import Database, Place, opened
from dispatcher.ledger.key_desk import KeyDesk
from dispatcher.ledger.talk.desk import TalkDesk
from tests.commands import DROVER, clean_environment, drover, end
from tests.integration.ledger.builders import SUBJECTS
from tests.integration.ledger.ledgers import GUARD_S
from tests.nats_server import nats_server

TOKENS = Limit(unit=Unit.TOKENS, limit=1000, period=Period.DAY)
HALF = "Zz9_-Zz9_-Zz9_-Zz9_-"
"""A part of a secret."""

VERBS = (
    "check",
    "reserve",
    "release",
    "login",
    "logout",
    "add",
    "list",
    "change",
    "rotate",
    "revoke",
    "refill",
    "adopt",
)


@dataclass(frozen=True, slots=True)
class Open:
    """A desk that answers, and what it has told."""

    bus: Bus
    database: Database
    url: str
    changed: list[str]

    async def until_changed(self, *keys: str) -> None:
        """Wait until it has been told that these have changed, in this order, and nothing else has."""
        async with asyncio.timeout(GUARD_S):
            while len(self.changed) < len(keys):  # noqa: ASYNC110  # a list raises no event
                await asyncio.sleep(0.01)
        assert [*keys] == self.changed
        self.changed.clear()


@pytest_asyncio.fixture
async def desk(made_file: Path, tmp_path: Path) -> AsyncIterator[Open]:
    path = Path(shutil.copyfile(made_file, tmp_path / "ledger.db"))
    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,))) as bus,
        opened(Place(file=path)) as database,
        KeyDesk(bus, SUBJECTS, database).open(),
    ):
        changed: list[str] = []

        def hear(delivery: Delivery) -> None:
            changed.append(delivery.subject.rpartition(".")[2])

        await bus.subscribe(SUBJECTS.key_event("*"), hear)
        await bus.flush()
        yield Open(bus, database, server.url, changed)


async def test_a_key_goes_its_way(desk: Open) -> None:
    """Made, checked, charged, changed, rotated, refilled, revoked: each change is told to all who remember keys."""
    bus = desk.bus
    made = await key_client.add(bus, SUBJECTS, AddKey(name="laptop", budgets=(TOKENS,)))
    name, shown = made.grant.key, parse(made.secret)
    states = [await key_client.state(bus, SUBJECTS)]
    grant = await key_client.check(bus, SUBJECTS, shown)
    wanted = Reservation(key=name, tenant=grant.tenant, job="j1", tokens=900)
    reserved = await key_client.reserve(bus, SUBJECTS, wanted)
    with pytest.raises(QuotaSpent) as spent:
        await key_client.reserve(bus, SUBJECTS, Reservation(key=name, tenant=grant.tenant, job="j2", tokens=900))
    released = [await key_client.release(bus, SUBJECTS, wanted) for _ in range(2)]
    session = await key_client.login(bus, SUBJECTS, shown, ttl_s=60.0)
    in_session = await key_client.check(bus, SUBJECTS, parse(session.secret))
    await key_client.logout(bus, SUBJECTS, parse(session.secret))
    changed = await key_client.change(bus, SUBJECTS, ChangeKey(which="laptop", scopes=(Scope.ADMIN,)))
    rotated = await key_client.rotate(bus, SUBJECTS, RotateKey(which=name))
    await key_client.refill(bus, SUBJECTS, name)
    listed = await key_client.listed(bus, SUBJECTS, ListKeys())
    await key_client.revoke(bus, SUBJECTS, name)
    states.append(await key_client.state(bus, SUBJECTS))

    assert (900, [True, False], "tokens") == (reserved.budgets[0].reserved, released, spent.value.details["unit"])
    assert (True, (Scope.ADMIN,), [name], [1, 0]) == (
        in_session.session,
        changed.scopes,
        [one.key for one in listed.keys],
        states,
    )
    await desk.until_changed(name, parse(session.secret).id, name, name, name, name)
    for secret in (made.secret, rotated.secret, session.secret):
        with pytest.raises(Unauthorized):
            await key_client.check(bus, SUBJECTS, parse(secret))


async def test_a_list_comes_in_pages(desk: Open) -> None:
    """Each key once."""
    made = {(await key_client.add(desk.bus, SUBJECTS, AddKey(name=f"k{number}"))).grant.key for number in range(5)}
    told: list[str] = []
    after: str | None = None
    while True:
        page = await key_client.listed(desk.bus, SUBJECTS, ListKeys(limit=2, after=after))
        told += [one.key for one in page.keys]
        if page.next is None:
            break
        after = page.next

    assert sorted(made) == told


async def test_a_wrong_question_is_answered_with_what_is_wrong(desk: Open) -> None:
    """By each verb, and without what stood where a secret belongs."""
    secret = new_secret("abcd1234")
    body = json.dumps({"key": secret, "key_digest": secret, "nonsense": 1}).encode()
    for verb in VERBS:
        told = (await desk.bus.request(SUBJECTS.keys(verb), body, timeout_s=20.0)).data

        assert (verb, BadRequest.code, False) == (
            verb,
            codec.decode(told)["error"]["code"],
            secret[20:].encode() in told,
        )


async def test_the_time_of_a_use_is_written_behind_the_answer(desk: Open) -> None:
    """A check answers first."""
    made = await key_client.add(desk.bus, SUBJECTS, AddKey(name="laptop"))
    first = await key_client.check(desk.bus, SUBJECTS, parse(made.secret))
    async with asyncio.timeout(GUARD_S):
        while (await key_client.listed(desk.bus, SUBJECTS, ListKeys())).keys[0].last_used_unix_s is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert first.last_used_unix_s is None


async def test_a_database_that_is_away_is_a_typed_error(desk: Open) -> None:
    """Nobody is let in by it, and a retry may help."""
    async with desk.database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE keys")
    with pytest.raises(LedgerUnavailable) as told:
        await key_client.check(desk.bus, SUBJECTS, parse(new_secret("abcd1234")))

    assert told.value.retryable


async def test_where_no_ledger_runs_it_is_said() -> None:
    """With the way out."""
    async with nats_server() as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        with pytest.raises(LedgerUnavailable, match="drover ledger serve"):
            await key_client.state(bus, SUBJECTS)


@pytest.fixture
def shell(desk: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """The settings of whoever types the verbs."""
    for name in [*os.environ]:
        if name.startswith(("DROVER_", "LOG_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_URL", desk.url)
    monkeypatch.setenv("DROVER_NATS_CONNECT_WAIT_S", "20")
    return desk


async def test_the_verbs_do_what_they_say(shell: Open, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret is all of standard output, so that it can be piped; what a budget has spent is told as used of its limit."""
    wanted = cli.Wanted(name="laptop", budgets=["1ktokens/day", "5usd/month"], models=["llama3*"], expires="90d")
    await cli.add(wanted, as_json=False)
    first = capsys.readouterr()
    shown = parse(first.out.strip())
    grant = await key_client.check(shell.bus, SUBJECTS, shown)
    await key_client.reserve(shell.bus, SUBJECTS, Reservation(key=shown.id, tenant="default", job="j", tokens=200))
    await cli.show_all(tenant=None, ended=False, as_json=False)
    table = capsys.readouterr().out
    await cli.show_all(tenant="default", ended=True, as_json=True)
    rows = json.loads(capsys.readouterr().out)["keys"]
    await cli.change("laptop", cli.Wanted(rpm=60, budgets=()), lift=[cli.Liftable.EXPIRY], as_json=False)
    changed = capsys.readouterr().out
    await cli.rotate("laptop", overlap="1h", as_json=True)
    rotated = json.loads(capsys.readouterr().out)
    await cli.adopt("laptop")
    adopted = capsys.readouterr().err
    await cli.revoke(rotated["secret"])

    assert "0 conversations of the tenant default that had no user now belong to " in adopted
    assert (("llama3*",), 1, True) == (grant.models, len(rows), "nobody can show it again" in first.err)
    assert [True, True] == [part in table for part in ("200/1000tokens/day", "laptop")]
    assert [True, True, False] == [part in changed for part in ("60 a minute", "expires    never", "budget")]
    assert (shown.id, 0) == (rotated["key"]["key"], await key_client.state(shell.bus, SUBJECTS))


async def test_verbs_that_can_t_are_typed_refusals(shell: Open) -> None:
    """Before anything is asked, or by the ledger."""
    await cli.add(cli.Wanted(name="laptop"), as_json=True)
    with pytest.raises(BadRequest, match="already"):
        await cli.add(cli.Wanted(name="laptop"), as_json=False)
    with pytest.raises(UnknownKey, match="desktop"):
        await cli.show("desktop", as_json=False)
    with pytest.raises(BadRequest, match="nothing is to be changed"):
        await cli.change("laptop", cli.Wanted(), lift=[], as_json=False)


@pytest.mark.parametrize(
    "words",
    [
        ("add", ""),
        ("add", "x", "--budget", "10"),
        ("add", "x", "--budget", "10apples/day"),
        ("add", "x", "--budget", "10tokens/year"),
        ("add", "x", "--budget", "0.5tokens"),
        ("add", "x", "--budget", "1usd", "--budget", "2usd/ever"),
        ("add", "x", "--budget", "99999999999999tokens"),
        ("add", "x", "--scope", "all"),
        ("add", "x", "--tenant", "a.b"),
        ("add", "x", "--user", "*"),
        ("add", "x", "--model", ""),
        ("add", "x", "--expires", "soon"),
        ("add", "x", "--expires", "2001-01-01"),
        ("add", "dr_abcd"),
        ("add", "a\nb"),
        ("change", "x", "--rpm", "5", "--no-rpm"),
        ("change", "x", "--model", "a", "--any-model"),
        ("rotate", "x", "--overlap", "90d"),
        ("rotate", "x", "--overlap", "-1h"),
        ("list", "--tenant", "a b"),
        ("show", f"dr_abcd1234_{HALF}"),
        ("revoke", f"drs_abcd1234_{HALF}"),
    ],
)
def test_a_wrong_option_is_one_line(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 1, before a server is looked for; a key that is cut short is not repeated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    told = CliRunner().invoke(app, words, catch_exceptions=False)

    assert (1, 1, False) == (told.exit_code, len(told.stderr.splitlines()), "127.0.0.1" in told.stderr)
    assert HALF not in told.output


async def test_no_secret_stands_in_any_log(tmp_path: Path) -> None:
    """A ledger and the command line tell all they can, also of what goes wrong: neither secrets nor digests are among it."""
    knobs = {"LOG_LEVEL": "DEBUG", "DROVER_STATE_DIR": str(tmp_path / "state")}
    with (tmp_path / "log").open("wb") as log:
        async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
            knobs["NATS_URL"] = server.url
            ledger = await asyncio.create_subprocess_exec(
                *DROVER,
                "ledger",
                "serve",
                cwd=tmp_path,
                env=clean_environment(**knobs),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                await _answers(bus)
                made = await drover("keys", "add", "laptop", cwd=tmp_path, **knobs)
                secret = made.out.strip()
                session = await key_client.login(bus, SUBJECTS, parse(secret), ttl_s=60.0)
                wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
                for bad in (wrong, new_secret("zzzz9999")):
                    with pytest.raises(Unauthorized):
                        await key_client.check(bus, SUBJECTS, parse(bad))
                garbage = json.dumps({"which": secret, "key": secret, "key_digest": secret}).encode()
                for verb in VERBS:
                    await bus.request(SUBJECTS.keys(verb), garbage, timeout_s=GUARD_S)
                rotated = await drover("keys", "rotate", secret, "--json", cwd=tmp_path, **knobs)
            finally:
                await end(ledger)
    new = json.loads(rotated.out)["secret"]
    said = (tmp_path / "log").read_text() + made.err + rotated.err
    canaries = [part for one in (secret, session.secret, new, wrong) for part in (one[-40:-2], parse(one).key_digest)]

    assert (0, 0, True) == (made.status, rotated.status, "key.changed" in said)
    assert [] == [canary for canary in canaries if canary in said]


async def _answers(bus: Bus) -> None:
    """Wait until a ledger does."""
    async with asyncio.timeout(GUARD_S):
        while True:
            try:
                await key_client.state(bus, SUBJECTS)
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_key_s_user_gets_what_was_said_before_there_were_keys(desk: Open) -> None:
    """By the key's name; the one that was revoked gets nothing."""
    bus = desk.bus
    talk = Conversations(bus, SUBJECTS)
    made = await key_client.add(bus, SUBJECTS, AddKey(name="laptop", tenant="home", user="anna"))
    async with TalkDesk(bus, SUBJECTS, desk.database, clock=LoopClock(), most=9, most_bytes=1 << 20).open():
        old = await talk.create(Owner(tenant="home"), title="before")
        told = await key_client.adopt(bus, SUBJECTS, "laptop")
        found = await talk.listed(Owner(tenant="home", user="anna"))
    await key_client.revoke(bus, SUBJECTS, "laptop")
    with pytest.raises(BadRequest, match="was revoked"):
        await key_client.adopt(bus, SUBJECTS, made.grant.key)

    assert (made.grant, 1, [old.id]) == (
        told.grant,
        told.conversations,
        [one.conversation.id for one in found.conversations],
    )
