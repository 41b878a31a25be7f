"""Who may publish and hear what, on a real server: the table is written by hand, and nothing of it is taken from the code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from common.bus import Delivery
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.client import Drover
from common.errors import ConfigError, NotPermitted
from dispatcher.cli.nats_config import USERS_FILE
from dispatcher.cli.nats_fleet import SEED_FILE, FleetDir
from dispatcher.cli.nats_roles import Role
from tests.commands import GUARD_S
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
# The cache, peers, and what all hear.
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
llm.v1.dev.pi.job                                        D        -
llm.v1.dev.pi.cancel                                     DO       -
llm.v1.dev.pi.probe                                      DO       -
llm.v1.dev.pi.drain                                      O        -
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


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One loop for the server, which all tests here share."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


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

    def bus(self, letter: str, **changes: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
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
    """Each user may publish and hear what the table says, and is refused all the rest of it; by a queue group as well."""
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
