"""Who may publish and hear what on the bus, for each kind of user: the one place from which the server's configuration is written.

Allow-lists only; what is not named is refused. Nobody gets `allow_responses`: a reply subject is chosen by whoever asks, and would
be a right to publish there. Who answers may publish below the inboxes of those that may ask it, and each user hears only its own.
It knows no file and no server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from common.durable import Names
from common.messages import Priority
from common.subjects import Subjects, own_inbox, require_token


class Role(StrEnum):
    """What kind of user it is."""

    DISPATCHER = "dispatcher"
    BRIDGE = "bridge"
    LEDGER = "ledger"
    OPERATOR = "operator"  # whoever runs `drover` for the fleet
    OBSERVER = "observer"  # sees devices, watts and what happens; changes nothing, and reads no answer
    PRODUCER = "producer"  # one for each tenant
    DEVICE = "device"  # one for each device
    SYSTEM = "system"  # of the account $SYS: the server's own state, and none of the fleet's subjects


NAMED = frozenset({Role.PRODUCER, Role.DEVICE})
"""Of these there are many, each with a name."""

SINGLE = tuple(role for role in Role if role not in NAMED)


@dataclass(frozen=True, slots=True)
class Rights:
    """The subjects that a user may publish on, and hear."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The subjects and streams of one fleet, and whose rights are meant."""

    subjects: Subjects
    names: Names
    user: str

    def __call__(self, *tails: str) -> tuple[str, ...]:
        return tuple(f"{self.subjects.prefix}.{tail}" for tail in tails)


def rights(role: Role, name: str = "", *, prefix: str = "llm.v1") -> Rights | None:
    """Give the rights of a user; None for the system's, which has an account of its own and needs none in this one.

    Raises `BadRequest` for a name that can't be, or that is missing.
    """
    user = require_token(role, name) if role in NAMED else ""
    if role is Role.SYSTEM:
        return None
    subjects = Subjects(prefix)
    fleet = _Fleet(subjects, Names.below(subjects), user)
    given = _OF[role](fleet)
    inbox = f"{inbox_of(role, user)}.>"
    return Rights(publish=_sorted(given.publish), subscribe=_sorted((*given.subscribe, inbox)))


def inbox_of(role: Role, name: str = "") -> str:
    """Give the prefix of a user's answers."""
    return own_inbox(role, name if role in NAMED else "")


def _sorted(subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(subjects)))


_ATTEMPTS = "_INBOX_disp.>"
"""Where dispatchers hear devices, and one another: the slot in it can't be guessed."""

_KINDS = ("chat", "route", "embed")
_ORDERS = ("cancel", "status", "why", "feedback")
_PRIORITIES = tuple(str(priority) for priority in Priority)
_DOOR_KEYS = ("check", "reserve", "release", "login", "logout", "state")
_KEYRING = ("state", "add", "list", "change", "rotate", "revoke", "refill", "adopt")
"""What the bridge may ask of keys, and what operators may; the bridge, which strangers talk to, makes none."""

_ROLLED = ("reload.*",)
"""What all processes hear."""


def _answers(*roles: Role) -> tuple[str, ...]:
    return tuple(f"{own_inbox(role)}.>" for role in roles)


def _discovered(service: str) -> tuple[str, ...]:
    """What a service hears that can be found; where its own id stands, `*`: it is new at each start."""
    return ("$SRV.*", f"$SRV.*.{service}", f"$SRV.*.{service}.*")


def _kept(streams: Iterable[str]) -> tuple[str, ...]:
    """To have streams be there, and say how they are."""
    return tuple(f"$JS.API.STREAM.{verb}.{stream}" for stream in streams for verb in ("CREATE", "UPDATE", "INFO"))


def _read(stream: str, *consumers: str) -> tuple[str, ...]:
    """To read by consumers of a stream, and to say what becomes of it; servers of 2.15 put domain and account in front."""
    return tuple(
        subject
        for consumer in consumers
        for subject in (
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}",
            f"$JS.API.CONSUMER.INFO.{stream}.{consumer}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
            f"$JS.ACK.{stream}.{consumer}.>",
            f"$JS.ACK.*.*.{stream}.{consumer}.>",
        )
    )


def _looked(*streams: str) -> tuple[str, ...]:
    """To look at any message of a stream."""
    return tuple(f"$JS.API.DIRECT.GET.{stream}{tail}" for stream in streams for tail in ("", ".>"))


def _dispatcher(fleet: _Fleet) -> Rights:
    names = fleet.names
    buckets = (names.claims, names.answers)
    streams = (names.jobs, names.results, names.dead, names.advisories, names.records)
    return Rights(
        publish=(
            *fleet("dev.*.job", "dev.*.cancel", "dev.*.probe", "roll", "peer.*", "peer.*.attach", "ctl.*.cancel"),
            *fleet("cache.*.bar", "evt.job.*.*", "evt.dev.*.*", "evt.route.*.*", "rec.job.*", "rec.device.*"),
            *fleet("ledger.thumb", "ledger.vote"),
            *fleet("result.*.*", "dlq.*.*"),
            *_answers(Role.DISPATCHER, Role.BRIDGE, Role.OPERATOR, Role.OBSERVER),
            f"{own_inbox(Role.PRODUCER)}.>",
            _ATTEMPTS,
            *(f"$KV.{bucket}.>" for bucket in buckets),
            *_kept((*streams, *(f"KV_{bucket}" for bucket in buckets))),
            *_read(names.jobs, *_PRIORITIES),
            *_read(names.advisories, "janitor"),
            f"$JS.API.CONSUMER.INFO.{names.records}.ledger",
            *_looked(names.jobs, names.results, names.dead, *(f"KV_{bucket}" for bucket in buckets)),
            f"$JS.API.STREAM.MSG.DELETE.{names.jobs}",
            *(f"$JS.API.STREAM.MSG.DELETE.KV_{bucket}" for bucket in buckets),
        ),
        subscribe=(
            *fleet(*(f"{kind}.*" for kind in _KINDS)),
            *fleet("hb.*", "ctl.*.*", "ctl.*.*.*", "peer.*", "peer.*.attach", "cache.*", "cache.*.*", *_ROLLED),
            *fleet("running"),
            *_discovered("llm-dispatcher"),
            _ATTEMPTS,
        ),
    )


def _bridge(fleet: _Fleet) -> Rights:
    names = fleet.names
    return Rights(
        publish=(
            *fleet(*(f"{kind}.*" for kind in _KINDS)),
            *fleet(*(f"ctl.*.{order}.*" for order in _ORDERS)),
            *fleet(*(f"jobs.*.{priority}" for priority in _PRIORITIES)),
            *fleet(*(f"keys.{verb}" for verb in _DOOR_KEYS), "talk.*", "ledger.*", "running"),
            "$SRV.PING.llm-dispatcher",
            "$SRV.STATS.llm-dispatcher",
            f"$JS.API.STREAM.INFO.{names.jobs}",
            *(f"$JS.API.CONSUMER.INFO.{names.jobs}.{priority}" for priority in _PRIORITIES),
            *_looked(names.jobs, names.results),
            *_answers(Role.OPERATOR, Role.OBSERVER),
        ),
        subscribe=(
            *fleet("hb.*", "power.*", "evt.>", "result.*.*", *_ROLLED),
            *_discovered("llm-bridge"),
        ),
    )


def _ledger(fleet: _Fleet) -> Rights:
    records = fleet.names.records
    return Rights(
        publish=(
            *fleet("evt.key.changed.*"),
            *_kept((records,)),
            *_read(records, "ledger"),
            *_answers(Role.DISPATCHER, Role.BRIDGE, Role.OPERATOR, Role.OBSERVER),
        ),
        subscribe=(*fleet("ledger.*", "keys.*", "talk.*", *_ROLLED), *_discovered("llm-ledger")),
    )


def _operator(fleet: _Fleet) -> Rights:
    """All that is told, and no door where requests come in: what stands there is secret, and whoever hears there takes away the
    server's word that nobody does."""
    names = fleet.names
    return Rights(
        publish=(
            *fleet(*(f"{kind}.*" for kind in _KINDS)),
            *fleet(*(f"ctl.*.{order}{tail}" for order in _ORDERS for tail in ("", ".*"))),
            *fleet(*(f"jobs.*.{priority}" for priority in _PRIORITIES)),
            *fleet("dev.*.cancel", "dev.*.drain", "dev.*.load", "dev.*.probe"),
            *fleet("cache.*", "cache.*.*", "ledger.*", "running"),
            *fleet(*(f"keys.{verb}" for verb in _KEYRING), "reload.*", "roll"),
            "$SRV.>",
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in _all(names)),
            *(f"$JS.API.CONSUMER.{verb}.{stream}" for stream in _all(names) for verb in ("LIST", "NAMES", "INFO")),
            *(f"$JS.API.CONSUMER.INFO.{stream}.*" for stream in _all(names)),
            *_looked(names.jobs, names.results, names.dead),
            f"$JS.API.STREAM.MSG.DELETE.{names.dead}",
            f"$JS.API.STREAM.PURGE.{names.results}",
        ),
        subscribe=fleet("hb.*", "power.*", "evt.>", "peer.*", "result.*.*", "dlq.*.*"),
    )


def _all(names: Names) -> tuple[str, ...]:
    buckets = tuple(f"KV_{bucket}" for bucket in (names.claims, names.answers))
    return (names.jobs, names.results, names.dead, names.advisories, names.records, *buckets)


def _observer(fleet: _Fleet) -> Rights:
    return Rights(
        publish=(
            *fleet("ledger.jobs", "ledger.devices", "ledger.energy", "ledger.latency", "ledger.history", "running"),
            *(f"$SRV.{verb}{tail}" for verb in ("PING", "INFO", "STATS") for tail in ("", ".>")),
        ),
        subscribe=fleet("hb.*", "power.*", "evt.job.*.*", "evt.dev.*.*", "evt.route.*.*"),
    )


def _producer(fleet: _Fleet) -> Rights:
    tenant = fleet.user
    return Rights(
        publish=(
            *fleet(*(f"{kind}.{tenant}" for kind in _KINDS)),
            *fleet(*(f"ctl.*.{order}.{tenant}" for order in _ORDERS)),
            *fleet(*(f"jobs.{tenant}.{priority}" for priority in _PRIORITIES)),
            # The newest note of a job of its own; by any other way of reading a stream it would see other tenants'.
            *(f"$JS.API.DIRECT.GET.{fleet.names.results}.{subject}" for subject in fleet(f"result.{tenant}.*")),
        ),
        subscribe=fleet(f"result.{tenant}.*"),
    )


def _device(fleet: _Fleet) -> Rights:
    device = fleet.user
    return Rights(
        publish=(
            *fleet(f"hb.{device}", f"power.{device}", f"rec.power.{device}"),
            *fleet(f"dev.{device}.probe"),  # to find whether another one has its name
            f"{inbox_of(Role.DEVICE, device)}.>",
            *_answers(Role.DISPATCHER, Role.OPERATOR, Role.OBSERVER),
            _ATTEMPTS,
        ),
        subscribe=(*fleet(f"dev.{device}.*", f"hb.{device}", "roll", *_ROLLED), *_discovered("llm-agent")),
    )


_OF: Mapping[Role, Callable[[_Fleet], Rights]] = {
    Role.DISPATCHER: _dispatcher,
    Role.BRIDGE: _bridge,
    Role.LEDGER: _ledger,
    Role.OPERATOR: _operator,
    Role.OBSERVER: _observer,
    Role.PRODUCER: _producer,
    Role.DEVICE: _device,
}
