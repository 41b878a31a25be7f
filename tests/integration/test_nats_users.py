"""Who may publish and hear what, on a real server: the table is written by hand, and nothing of it is taken from the code."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from common import codec
from common.bus import Delivery
from common.bus.jetstream import JetStream
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.bus.options import options_from
from common.bus.streams import StreamSpec
from common.client import Drover
from common.durable import Note, Stage, encode_note
from common.errors import BusDisconnected, ConfigError, NoDevice, NotPermitted, UnknownJob
from common.gathering import gather
from common.settings import BusSection
from common.subjects import Subjects
from dispatcher.cli.board import Board, follow
from dispatcher.cli.nats_config import USERS_FILE
from dispatcher.cli.nats_fleet import SEED_FILE, FleetDir
from dispatcher.cli.nats_roles import Role
from dispatcher.cli.sight import Watch
from dispatcher.cli.top import watching
from tests.commands import GUARD_S, started
from tests.listening import Listener
from tests.nats_server import NatsServer, nats_server

USERS = {
    "D": (Role.DISPATCHER, "", "_INBOX_dispatcher"),
    "B": (Role.BRIDGE, "", "_INBOX_bridge"),
    "L": (Role.LEDGER, "", "_INBOX_ledger"),
    "O": (Role.OPERATOR, "", "_INBOX_operator"),
    "V": (Role.OBSERVER, "", "_INBOX_observer"),
    "P": (Role.PRODUCER, "acme", "_INBOX_producer.acme"),
    "N": (Role.DEVICE, "nano", "_INBOX_device.nano"),
}
"""One user of each kind, by a letter. The tenant `other` and the device `pi` are somebody else's."""

TABLE = """
subject                                                  publish  hear
# Asking. A producer asks for its own tenant, and only dispatchers hear it.
llm.v1.chat.acme                                         BOP      D
llm.v1.chat.other                                        BO       D
llm.v1.route.acme                                        BOP      D
llm.v1.route.other                                       BO       D
llm.v1.embed.acme                                        BOP      D
llm.v1.embed.other                                       BO       D
llm.v1.chat.*                                            -        D
# Orders for a job: with a tenant its own, without one operators' (and a dispatcher's to its peers).
llm.v1.ctl.j1.cancel.acme                                BOP      D
llm.v1.ctl.j1.status.acme                                BOP      D
llm.v1.ctl.j1.why.acme                                   BOP      D
llm.v1.ctl.j1.feedback.acme                              BOP      D
llm.v1.ctl.j1.cancel.other                               BO       D
llm.v1.ctl.j1.why.other                                  BO       D
llm.v1.ctl.j1.cancel                                     DO       D
llm.v1.ctl.j1.status                                     O        D
llm.v1.ctl.j1.why                                        O        D
llm.v1.ctl.j1.feedback                                   O        D
llm.v1.ctl.j1.attach                                     -        D
# What runs, the cache, peers, and what all hear.
llm.v1.running                                           BOV      D
llm.v1.cache.stats                                       O        D
llm.v1.cache.acme.purge                                  O        D
llm.v1.cache.acme.bar                                    DO       D
llm.v1.peer.d1                                           D        DO
llm.v1.peer.d1.attach                                    D        D
llm.v1.roll                                              DO       N
llm.v1.reload.check                                      O        DBLN
llm.v1.reload.apply                                      O        DBLN
# Devices: each hears its own jobs, and speaks for itself.
llm.v1.dev.nano.job                                      D        N
llm.v1.dev.nano.cancel                                   DO       N
llm.v1.dev.nano.probe                                    DON      N
llm.v1.dev.nano.drain                                    O        N
llm.v1.dev.nano.load                                     O        N
llm.v1.dev.pi.job                                        D        -
llm.v1.dev.pi.cancel                                     DO       -
llm.v1.dev.pi.probe                                      DO       -
llm.v1.dev.pi.drain                                      O        -
llm.v1.dev.pi.load                                       O        -
llm.v1.dev.*.job                                         -        -
llm.v1.dev.>                                             -        -
llm.v1.hb.nano                                           N        DBOVN
llm.v1.hb.pi                                             -        DBOV
llm.v1.power.nano                                        N        BOV
llm.v1.power.pi                                          -        BOV
# What is kept.
llm.v1.rec.power.nano                                    N        -
llm.v1.rec.power.pi                                      -        -
llm.v1.rec.job.acme                                      D        -
llm.v1.rec.device.nano                                   D        -
llm.v1.rec.>                                             -        -
llm.v1.jobs.acme.normal                                  BOP      -
llm.v1.jobs.other.normal                                 BO       -
llm.v1.jobs.acme.bogus                                   -        -
llm.v1.result.acme.j1                                    D        BOP
llm.v1.result.other.j1                                   D        BO
llm.v1.dlq.expired.acme                                  D        O
# The ledger, keys and conversations.
llm.v1.ledger.jobs                                       BOV      L
llm.v1.ledger.stats                                      BO       L
llm.v1.ledger.thumb                                      DBO      L
llm.v1.ledger.vote                                       DBO      L
llm.v1.keys.check                                        B        L
llm.v1.keys.reserve                                      B        L
llm.v1.keys.release                                      B        L
llm.v1.keys.login                                        B        L
llm.v1.keys.add                                          O        L
llm.v1.keys.revoke                                       O        L
llm.v1.talk.get                                          B        L
# What happens.
llm.v1.evt.job.done.j1                                   D        BOV
llm.v1.evt.dev.joined.nano                               D        BOV
llm.v1.evt.route.changed.d1                              D        BOV
llm.v1.evt.key.changed.k1                                L        BO
# Answers: each user hears its own, and who answers may write below.
_INBOX_disp.d1.1-ab.1                                    DN       D
_INBOX_dispatcher.c.1                                    DLN      D
_INBOX_bridge.c.1                                        DL       B
_INBOX_ledger.c.1                                        -        L
_INBOX_operator.c.1                                      DBLN     O
_INBOX_observer.c.1                                      DBLN     V
_INBOX_producer.acme.c.1                                 D        P
_INBOX_producer.other.c.1                                D        -
_INBOX_device.nano.c.1                                   N        N
_INBOX_device.pi.c.1                                     -        -
_INBOX.c.1                                               -        -
_INBOX_producer.>                                        -        -
_INBOX_device.>                                          -        -
_INBOX.>                                                 -        -
# Discovery.
$SRV.PING                                                OV       DBLN
$SRV.STATS.llm-dispatcher                                BOV      D
$SRV.PING.llm-dispatcher                                 BOV      D
$SRV.INFO.llm-dispatcher                                 OV       D
$SRV.PING.llm-agent                                      OV       N
$SRV.STATS.llm-agent.01ABC                               OV       N
$SRV.STATS.llm-ledger                                    OV       L
# Streams: dispatchers keep them, the ledger reads the records; a producer sees the newest note of its own jobs alone.
$JS.API.STREAM.CREATE.LLM_JOBS                           D        -
$JS.API.STREAM.UPDATE.LLM_RESULTS                        D        -
$JS.API.STREAM.CREATE.LLM_RECORDS                        DL       -
$JS.API.STREAM.CREATE.KV_LLM_CLAIMS                      D        -
$JS.API.STREAM.CREATE.MINE                               -        -
$JS.API.STREAM.DELETE.LLM_JOBS                           -        -
$JS.API.STREAM.PURGE.LLM_JOBS                            -        -
$JS.API.STREAM.PURGE.LLM_RESULTS                         O        -
$JS.API.STREAM.SNAPSHOT.LLM_JOBS                         -        -
$JS.API.STREAM.MSG.GET.LLM_JOBS                          -        -
$JS.API.STREAM.MSG.DELETE.LLM_JOBS                       D        -
$JS.API.STREAM.MSG.DELETE.LLM_DLQ                        O        -
$JS.API.STREAM.MSG.DELETE.LLM_RECORDS                    -        -
$JS.API.STREAM.INFO.LLM_JOBS                             DBO      -
$JS.API.STREAM.INFO.LLM_RECORDS                          DLO      -
$JS.API.STREAM.NAMES                                     O        -
$JS.API.CONSUMER.DURABLE.CREATE.LLM_JOBS.normal          D        -
$JS.API.CONSUMER.DURABLE.CREATE.LLM_JOBS.spy             -        -
$JS.API.CONSUMER.DURABLE.CREATE.LLM_RECORDS.ledger       L        -
$JS.API.CONSUMER.CREATE.LLM_RESULTS                      -        -
$JS.API.CONSUMER.CREATE.LLM_RESULTS.spy                  -        -
$JS.API.CONSUMER.DELETE.LLM_JOBS.normal                  -        -
$JS.API.CONSUMER.INFO.LLM_RECORDS.ledger                 DLO      -
$JS.API.CONSUMER.INFO.LLM_JOBS.normal                    DBO      -
$JS.API.CONSUMER.MSG.NEXT.LLM_JOBS.normal                D        -
$JS.API.CONSUMER.MSG.NEXT.LLM_RECORDS.ledger             L        -
$JS.API.DIRECT.GET.LLM_JOBS                              DBO      -
$JS.API.DIRECT.GET.LLM_RESULTS                           DBO      -
$JS.API.DIRECT.GET.LLM_RESULTS.llm.v1.result.acme.j1     DBOP     -
$JS.API.DIRECT.GET.LLM_RESULTS.llm.v1.result.other.j1    DBO      -
$JS.API.DIRECT.GET.LLM_RECORDS                           -        -
$JS.API.DIRECT.GET.KV_LLM_ANSWERS                        D        -
$JS.API.ACCOUNT.PURGE.FLEET                              -        -
$JS.ACK.LLM_JOBS.normal.1.1.1.1.1                        D        -
$JS.ACK.LLM_RECORDS.ledger.1.1.1.1.1                     L        -
$JS.ACK.LLM_RESULTS.any.1.1.1.1.1                        -        -
$KV.LLM_CLAIMS.acme.j1                                   D        -
$KV.LLM_ANSWERS.x                                        D        -
# Everybody's and the server's.
>                                                        -        -
llm.v1.>                                                 -        -
$SYS.>                                                   -        -
$SYS.REQ.SERVER.PING                                     -        -
$JS.EVENT.ADVISORY.>                                     -        -
other.v1.chat.acme                                       -        -
"""

_ROWS = [line.split() for line in TABLE.splitlines() if line and not line.startswith(("#", "subject"))]
ALLOWED: Mapping[str, tuple[str, str]] = {subject: (publish, hear) for subject, publish, hear in _ROWS}


class Ground:
    """A server that knows one user of each kind."""

    def __init__(self, server: NatsServer, fleet: FleetDir) -> None:
        self.server = server
        self.fleet = fleet

    def seed(self, role: Role, name: str = "") -> str:
        return str(self.fleet.pack(role, name) / SEED_FILE)

    @asynccontextmanager
    async def raw(self, role: Role, name: str, inbox: str, said: list[str]) -> AsyncIterator[Client]:
        """Connect with the vendor's own client, which tells of each refusal."""

        async def note(error: Exception) -> None:
            said.append(str(error))

        client = await nats.connect(
            self.server.url,
            nkeys_seed=self.seed(role, name),
            inbox_prefix=inbox,
            error_cb=note,
            connect_timeout=int(GUARD_S),
        )
        try:
            yield client
        finally:
            await client.close()

    def options(self, letter: str, **changes: object) -> NatsOptions:
        role, name, inbox = USERS[letter]
        known = {"nkey_file": self.seed(role, name), "inbox_prefix": inbox, "name": f"test-{role}"} | changes
        return NatsOptions(urls=(self.server.url,), initial_connect_timeout_s=GUARD_S, **known)  # type: ignore[arg-type]

    def bus(self, letter: str, **changes: object) -> AbstractAsyncContextManager[NatsBus]:
        return connect_nats(self.options(letter, **changes))


@asynccontextmanager
async def ground(directory: Path) -> AsyncIterator[Ground]:
    fleet = FleetDir(directory / "users")
    fleet.init(url="nats://127.0.0.1:1", host="127.0.0.1", port=1, tenant="acme", prefix="llm.v1")
    fleet.add(Role.DEVICE, "nano")
    async with nats_server(jetstream=True, config_extra=(fleet.path / USERS_FILE).read_text()) as server:
        yield Ground(server, fleet)


_REFUSED = re.compile(r'violation for (publish|subscription) to "([^"]+)"')


async def refused(place: Ground, letter: str) -> tuple[set[str], set[str]]:
    """Try all subjects as one user; give those of which the server refuses to publish, and those it refuses to let it hear."""
    said: list[str] = []

    async def ignore(_: Msg) -> None:
        """What comes is not looked at."""

    async with place.raw(*USERS[letter], said) as client:
        for subject in ALLOWED:
            await client.subscribe(subject, cb=ignore)
        await client.flush(timeout=int(GUARD_S))
        for subject in ALLOWED:
            if not set(subject) & set("*>"):
                await client.publish(subject, b"")
        for _ in range(2):  # the vendor's PING overtakes what it has buffered, and not what was written before
            await client.flush(timeout=int(GUARD_S))
    found = [match.groups() for text in said if (match := _REFUSED.search(text))]
    assert len(found) == len(said), said
    return {one for kind, one in found if kind == "publish"}, {one for kind, one in found if kind != "publish"}


async def test_each_role_and_each_subject(tmp_path: Path) -> None:
    """Each user may publish and hear what the table says, and is refused all the rest of it."""
    wrong = []
    async with ground(tmp_path) as place:
        for letter in USERS:
            unpublished, unheard = await refused(place, letter)
            for subject, (publish, hear) in ALLOWED.items():
                may_publish = subject.lower() not in unpublished
                may_hear = subject.lower() not in unheard
                if not set(subject) & set("*>") and may_publish != (letter in publish):
                    wrong.append(f"{USERS[letter][0]} publishes {subject}: {may_publish}")
                if may_hear != (letter in hear):
                    wrong.append(f"{USERS[letter][0]} hears {subject}: {may_hear}")
    assert [] == wrong


LONG_S = 600.0
"""Nobody waits so long: what takes it has not been told."""


def nothing(_: Delivery) -> None:
    """A handler for what should not come."""


async def test_a_refusal_is_told_at_once(tmp_path: Path) -> None:
    """Whoever asks where it may not is told so, typed, and does not wait for an answer: a request, a chat, a stream's reader and
    a question to all. The log names the subject and the user, once."""
    async with ground(tmp_path) as place, place.bus("P") as bus, Drover.over(bus, tenant="other") as other:
        with capture_logs() as logs:
            with pytest.raises(NotPermitted, match=r"test-producer \(nkey U.*publish on 'llm.v1.keys.list'"):
                await bus.request("llm.v1.keys.list", b"{}", timeout_s=LONG_S)
            with pytest.raises(NotPermitted, match=r"llm\.v1\.keys\.list"):
                await bus.request("llm.v1.keys.list", b"{}", timeout_s=LONG_S)
            with pytest.raises(NotPermitted, match=r"llm\.v1\.chat\.other"):
                await other.ask("hi", timeout_s=LONG_S)
            async with JetStream(bus).puller("LLM_JOBS", "normal") as puller:
                with pytest.raises(NotPermitted, match="LLM_JOBS"):
                    await puller.fetch(1, wait_s=LONG_S)
            asked = await gather(
                bus, "llm-dispatcher", "llm.v1.cache.stats", b"{}", named_by="dispatcher", within_s=LONG_S
            )
    told = [entry["subject"] for entry in logs if entry["event"] == "bus.not_permitted"]
    assert [NotPermitted] == [type(error) for error in asked.errors]
    assert {"llm.v1.keys.list": 1, "llm.v1.chat.other": 1} == {
        subject: told.count(subject) for subject in ("llm.v1.keys.list", "llm.v1.chat.other")
    }


async def test_a_subscription_that_is_refused_is_logged(tmp_path: Path) -> None:
    """The log names what a process may not hear; its other subscriptions and its connection stay."""
    async with ground(tmp_path) as place, place.bus("N") as device, place.bus("D") as dispatcher:
        with capture_logs() as logs:
            ears = Listener()
            await device.subscribe("llm.v1.dev.pi.job", nothing)
            await device.subscribe("llm.v1.dev.nano.job", ears)
            await device.flush()
            await dispatcher.publish("llm.v1.dev.pi.job", b"not yours")
            await dispatcher.publish("llm.v1.dev.nano.job", b"yours")
            heard = (await ears.until(1))[0].data
    told = [(entry["subject"], entry["publishing"]) for entry in logs if entry["event"] == "bus.not_permitted"]
    assert (b"yours", [("llm.v1.dev.pi.job", False)], 0) == (heard, told, device.counters.reconnects)


@pytest.mark.parametrize(("letter", "sees"), [("P", False), ("N", False), ("V", True), ("O", True)])
async def test_a_fleet_that_may_not_be_seen_is_not_an_empty_one(tmp_path: Path, letter: str, sees: bool) -> None:
    """Who may not hear devices is told so, and whose seed would do: `drover devices` and `drover top` follow it."""
    async with ground(tmp_path) as place, place.bus(letter) as bus:
        said = ""
        try:
            async with follow(bus, Board(), Subjects()):
                pass
        except NotPermitted as error:
            said = error.message

    assert (not sees, not sees) == ("the fleet can't be seen" in said, "the operator's" in said)


async def test_what_leaves_a_watch_leaves_it_as_itself(tmp_path: Path) -> None:
    """One clear line, and no trace of a group: as where no device has been heard."""
    async with ground(tmp_path) as place, place.bus("O") as bus:
        watch = Watch(Board(), Subjects(), server="", since_s=0.0)
        with pytest.raises(NoDevice):
            async with watching(bus, Subjects(), watch):
                raise NoDevice("none")


def moved(file: Path, name: str) -> Path:
    return file.rename(file.with_name(name))


async def test_a_seed_that_is_gone_when_the_server_comes_back_is_named(tmp_path: Path) -> None:
    """With its path, once; the process goes on asking for it, and comes back when it is there again."""
    async with ground(tmp_path) as place:
        seed, back = Path(place.seed(Role.DEVICE, "nano")), Listener()
        async with place.bus("N") as device:
            device.on_reconnect(partial(back, Delivery("back", b"")))
            aside = moved(seed, "aside")
            with capture_logs() as logs:
                await place.server.restart()
                async with asyncio.timeout(GUARD_S):
                    while not (told := [one["error"] for one in logs if one["event"] == "bus.unusable"]):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                moved(aside, seed.name)
                await back.until(1)

    assert (1, True) == (len(told), f"NATS_NKEY: {seed} can't be read" in told[0])


async def test_an_inbox_that_is_anothers_is_told_at_the_start(tmp_path: Path) -> None:
    """A process whose answers would come where its user may not hear does not start, and is told what to set."""
    async with ground(tmp_path) as place:
        with pytest.raises(ConfigError, match="NATS_INBOX_PREFIX"):
            async with place.bus("P", inbox_prefix="_INBOX_producer.other"):
                raise AssertionError("it was let in")


async def test_whose_key_is_unknown_is_not_let_in(tmp_path: Path) -> None:
    """A seed that the server does not know ends the start with what to check."""
    strangers = FleetDir(tmp_path / "strangers")
    strangers.init(url="nats://x:1", host="x", port=1, tenant="acme", prefix="llm.v1")
    seed = str(strangers.pack(Role.OPERATOR) / SEED_FILE)
    async with ground(tmp_path) as place:
        with pytest.raises(ConfigError, match="check NATS_NKEY"):
            async with place.bus("O", nkey_file=seed):
                raise AssertionError("it was let in")


async def test_a_process_with_a_seed_comes_back(tmp_path: Path) -> None:
    """After the server was away it signs in again, with all its subscriptions."""
    async with ground(tmp_path) as place, place.bus("N") as device, place.bus("D") as dispatcher:
        heard, back = Listener(), (Listener(), Listener())
        await device.subscribe("llm.v1.dev.nano.job", heard)
        for bus, ears in zip((device, dispatcher), back, strict=True):
            bus.on_reconnect(partial(ears, Delivery("back", b"")))
        await place.server.restart()
        for ears in back:
            await ears.until(1)
        await dispatcher.publish("llm.v1.dev.nano.job", b"again")
        assert b"again" == (await heard.until(1))[0].data


async def test_a_tenant_reads_its_own_results_and_no_others(tmp_path: Path) -> None:
    """A producer sees how its own job ended, and nothing of another tenant's, even when it knows the id."""
    spec = StreamSpec(name="LLM_RESULTS", subjects=("llm.v1.result.*.*",))
    note = {name: Note(job="j1", tenant=name, state=Stage.DONE, at_unix_s=1.0, answer={}) for name in ("acme", "other")}
    async with ground(tmp_path) as place, place.bus("D") as dispatcher, place.bus("P") as bus:
        streams = JetStream(dispatcher)
        await streams.declare(spec)
        for name, one in note.items():
            await streams.publish(Subjects().result(name, "j1"), encode_note(one))
        async with Drover.over(bus, tenant="acme", newest_only=True) as mine:
            seen = await mine.durable.look("j1")
            events = [event.note.state async for event in mine.durable.events("j1")]
            with pytest.raises(UnknownJob):
                await mine.durable.look("j2")
            with pytest.raises(NotPermitted):
                await mine.durable.look("j1", tenant="other")
        with pytest.raises(NotPermitted):
            await JetStream(bus).next("LLM_RESULTS", "llm.v1.result.other.j1", 1)
        query = codec.encode({"last_by_subj": "llm.v1.result.other.j1"})
        with pytest.raises(NotPermitted):
            await bus.request("$JS.API.DIRECT.GET.LLM_RESULTS", query, timeout_s=LONG_S)
    assert (note["acme"], [Stage.DONE]) == (seen, events)


async def test_a_stream_s_answer_under_an_order_s_subject_waits_for_nobody(tmp_path: Path) -> None:
    """The server asks no rights for where a stream's answer goes: a producer can have one arrive under another's order, and a
    device's door. It has no reply subject, and by that it is told from an order."""
    doors, ears = {"D": "llm.v1.ctl.j1.cancel.other", "N": "llm.v1.dev.nano.drain"}, Listener()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(ground(tmp_path))
        users = {letter: await stack.enter_async_context(place.bus(letter)) for letter in "DNP"}
        await JetStream(users["D"]).declare(StreamSpec(name="LLM_RESULTS", subjects=("llm.v1.result.*.*",)))
        for letter, subject in doors.items():
            await users[letter].subscribe(subject, ears)
            await users[letter].flush()
        for subject in doors.values():
            await users["P"].publish("$JS.API.DIRECT.GET.LLM_RESULTS.llm.v1.result.acme.none", b"", reply=subject)
        seen = await ears.until(2)

    assert sorted(doors.values()) == sorted(one.subject for one in seen)
    assert {("", b"")} == {(one.reply, one.data) for one in seen}


async def test_a_note_under_another_s_subject_is_none(tmp_path: Path) -> None:
    """A producer has what is told of its own job stored as if it were told of another tenant's: nobody takes it for that."""
    ears = Listener()
    async with ground(tmp_path) as place, place.bus("D") as dispatcher, place.bus("P") as producer:
        streams, subjects = JetStream(dispatcher), Subjects()
        await streams.declare(StreamSpec(name="LLM_RESULTS", subjects=("llm.v1.result.*.*",)))
        own = Note(job="j1", tenant="acme", state=Stage.DONE, at_unix_s=1.0, answer={"text": "forged"})
        await streams.publish(subjects.result("acme", "j1"), encode_note(own))
        async with place.bus("O") as operator:
            await operator.subscribe("llm.v1.result.other.*", ears)
            await operator.flush()
            asked = "$JS.API.DIRECT.GET.LLM_RESULTS.llm.v1.result.acme.j1"
            await producer.publish(asked, b"", reply=subjects.result("other", "j1"))
            await ears.until(1)
        kept = await streams.last("LLM_RESULTS", subjects.result("other", "j1"))
        async with Drover.over(dispatcher, tenant="other", newest_only=True) as victim:
            with pytest.raises(UnknownJob):
                await victim.durable.look("j1")
    assert kept is not None
    assert b"forged" in kept.data


async def test_the_systems_user_is_apart(tmp_path: Path) -> None:
    """It may ask the server itself, and sees nothing of the fleet; a user of the fleet sees nothing of the server."""
    said: list[str] = []
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(ground(tmp_path))
        dispatcher = await stack.enter_async_context(place.bus("D"))
        system = await stack.enter_async_context(place.raw(Role.SYSTEM, "", "_INBOX_system", said))
        answer = await system.request("$SYS.REQ.SERVER.PING", b"", timeout=GUARD_S)
        fleet = await system.subscribe("llm.v1.>")
        await system.flush()
        await dispatcher.publish("llm.v1.dev.nano.job", b"secret")
        await dispatcher.flush()
        await system.flush()
        assert (True, 0, []) == (b"server" in answer.data, fleet.pending_msgs, said)


async def test_an_encrypted_line_or_none(tmp_path: Path) -> None:
    """With NATS_CA a process talks to the server that this certificate is of, by that name, and to no other: neither to one that
    speaks in the clear, nor under another name, nor without trusting it."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    named = ("-subj", "/CN=hub", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert))
    async with started("openssl", *made, *named, stderr=DEVNULL) as openssl:
        assert 0 == await openssl.wait()
    trusting = BusSection().model_copy(update={"ca_file": str(cert)})
    tls = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
    async with nats_server(config_extra=tls) as secure, nats_server() as open_:

        async def reached(url: str, section: BusSection, wait_s: float) -> bool:
            at = section.model_copy(update={"url": url, "connect_wait_s": wait_s})
            try:
                async with connect_nats(options_from(at, name="x")) as bus:
                    return bus.connected
            except (BusDisconnected, ConfigError):
                return False

        assert await reached(secure.url, trusting, GUARD_S)
        assert not await reached(secure.url.replace("127.0.0.1", "localhost"), trusting, 1.0)
        assert not await reached(secure.url, BusSection(), 1.0)
        assert not await reached(open_.url, trusting, 1.0)
        with pytest.raises(ConfigError, match="speaks no TLS"):
            async with connect_nats(options_from(trusting.model_copy(update={"url": open_.url}), name="x")):
                raise AssertionError("it talks in the clear")
