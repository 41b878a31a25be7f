"""The way to Redis: commands in one round trip, and one typed error for all that goes wrong. It knows no key and no value.

All callers share one connection, on which questions and answers are under way at the same time. A caller that stops waiting leaves
only its own answer behind: nothing is cut off, and nobody has to connect anew. That matters because callers wait for milliseconds:
with a connection for each of them, a server that is a little slower than their patience would see nothing but new connections,
and one whose handshake takes longer than that would never be reached.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from redis import exceptions as faults
from redis.asyncio.connection import AbstractConnection, Connection, parse_url

from common.clock import loop_s
from common.errors import CacheUnavailable, ConfigError
from common.lifecycle import guarding

CONNECT_S = 1.0
"""A connection that is not there by then is given up; callers wait for it as long as they have time, and mostly far shorter."""

STALLED_S = 1.0
"""A connection whose oldest question has waited so long may lead nowhere: the next question makes a new one."""

MOST_QUESTIONS = 512
MOST_BYTES = 32 << 20
"""What may be under way at once; a server that keeps up never has a tenth of it."""

Part: TypeAlias = bytes | str | int | float
Command: TypeAlias = Sequence[Part]
"""A command's name and arguments. What has white space in it must not stand first: `("CONFIG", "SET", ...)`."""


class State(StrEnum):
    """What is wrong, in a word: the `state` in the details of a `CacheUnavailable`."""

    AWAY = "away"  # it can't be reached, is silent, still loading, or speaks another language
    FULL = "full"  # it takes nothing more
    REFUSED = (
        "refused"  # it does not want to: a wrong password, a replica that can't be written, a value of another type
    )


@dataclass(frozen=True)
class Script:
    """A program in Lua that the server runs as one step."""

    text: str

    @cached_property
    def sha(self) -> str:
        """What the server calls it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """A server that all share. Open one with `redis_client`.

    Replies are as the server sends them in RESP2: bytes, whole numbers, None, and lists of them. Every method raises
    `CacheUnavailable`, with a `state` among its details and, of an error that the server told, its first word as `reply`.
    Cancelling a call is always possible, and costs nobody else anything.
    """

    def __init__(self, server: _Server, connect_s: float, spawn: _Spawn) -> None:
        self._server = server
        self._connect_s = connect_s
        self._spawn = spawn
        self._line: _Line | None = None
        self._arrival: asyncio.Future[_Line | CacheUnavailable] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.dials = 0
        """How often a connection was tried: another number, and the server may be another one."""

    @property
    def where(self) -> str:
        """Say which server it is, without secrets."""
        return self._server.where

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip, in their order, and give their replies; others' may be run in between. All are run, also
        where one of them fails, and the first error is raised."""
        replies = await self._ask(commands)
        for reply in replies:
            if isinstance(reply, faults.RedisError):
                raise _unavailable(reply, self.where) from reply
        return replies

    async def script(self, script: Script, keys: Sequence[Part], arguments: Sequence[Part] = ()) -> Any:
        """Run a script; the server is sent its text only if it does not know it."""
        rest = [len(keys), *keys, *arguments]
        (reply,) = await self._ask([("EVALSHA", script.sha, *rest)])
        if isinstance(reply, faults.NoScriptError):
            (reply,) = await self._ask([("EVAL", script.text, *rest)])
        if isinstance(reply, faults.RedisError):
            raise _unavailable(reply, self.where) from reply
        return reply

    async def info(self, section: str = "server") -> dict[str, str]:
        """Give what the server says of itself, such as `redis_version`."""
        (text,) = await self.run(("INFO", section))
        lines = text.decode(errors="replace").splitlines()
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    async def has(self, command: str) -> bool:
        """Tell whether the server knows a command, such as `VSIM`."""
        (told,) = await self.run(("COMMAND", "INFO", command))
        return bool(told and told[0])

    def start(self) -> None:
        """Begin to connect, and don't wait for it."""
        self._dial()

    def close(self) -> None:
        """Hang up for good; who still waits is told."""
        self._closed = True
        self._hang_up(f"the connection to Redis at {self.where} was closed")

    async def _ask(self, commands: Iterable[Command]) -> list[Any]:
        line = self._line
        if line is not None and line.oldest_s() > STALLED_S:
            self._hang_up(f"Redis at {self.where} has not answered for {STALLED_S:g} s")
        if line is None or line.ended is not None:
            arrived = await asyncio.shield(self._dial())
            if isinstance(arrived, CacheUnavailable):
                raise CacheUnavailable(arrived.message, **arrived.details)
            line = arrived
        return await line.ask(list(commands))

    def _dial(self) -> asyncio.Future[_Line | CacheUnavailable]:
        """Give what becomes of the connection that is being made: there is never more than one."""
        if self._closed:
            raise CacheUnavailable(f"the connection to Redis at {self.where} is closed", state=State.AWAY)
        if self._arrival is None:
            self.dials += 1
            self._arrival = asyncio.get_running_loop().create_future()
            self._task = self._spawn(self._keep(self._arrival))
        return self._arrival

    async def _keep(self, arrival: asyncio.Future[_Line | CacheUnavailable]) -> None:
        """Connect, and carry what is asked until the connection ends."""
        outcome: _Line | CacheUnavailable = CacheUnavailable(f"Redis at {self.where} is away", state=State.AWAY)
        connection = self._server.connection()
        try:
            try:
                async with asyncio.timeout(self._connect_s):
                    await connection.connect()  # type: ignore[no-untyped-call]  # it ships no annotation
                outcome = self._line = _Line(connection, self.where)
            except _FAULTS as error:
                outcome = _unavailable(error, self.where)
            finally:
                self._arrival = None
                if not arrival.done():
                    arrival.set_result(outcome)
            if isinstance(outcome, _Line):
                await outcome.carry()
        finally:
            await _disconnect(connection)

    def _hang_up(self, why: str) -> None:
        gone = CacheUnavailable(why, state=State.AWAY)
        if self._line is not None:
            self._line.end(gone)
            self._line = None
        if self._arrival is not None:  # its task may end before its first step
            self._arrival.set_result(gone)
            self._arrival = None
        if self._task is not None:
            self._task.cancel()
            self._task = None


@asynccontextmanager
async def redis_client(url: str, *, connect_s: float = CONNECT_S) -> AsyncIterator[RedisClient]:
    """Open the way to a server, which need not be there: it is looked for now, and then whenever something is asked.

    Raises `ConfigError` for a wrong `REDIS_URL`, and does not show it: it may hold a password.
    """
    server = _server(url)
    async with asyncio.TaskGroup() as tasks:
        client = RedisClient(server, connect_s, guarding(tasks))
        client.start()
        try:
            yield client
        finally:
            client.close()


_Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass(slots=True)
class _Question:
    """Commands under way: their replies come in this order, and are dropped where nobody waits any more."""

    answer: asyncio.Future[list[Any]]
    count: int
    size_bytes: int
    asked_s: float
    replies: list[Any] = field(default_factory=list)


class _Line:
    """One connection, with what is under way on it."""

    def __init__(self, connection: AbstractConnection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._waiting: deque[_Question] = deque()
        self._waiting_bytes = 0
        self._unsent: list[bytes] = []
        self._more = asyncio.Event()
        self.ended: CacheUnavailable | None = None

    def oldest_s(self) -> float:
        """Give how long the oldest question has waited."""
        return loop_s() - self._waiting[0].asked_s if self._waiting else 0.0

    async def ask(self, commands: list[Command]) -> list[Any]:
        """Send commands, and wait for all of their replies; errors that the server tells are among them."""
        if self.ended is not None:
            raise CacheUnavailable(self.ended.message, **self.ended.details)
        packed = self._packed(commands)
        size_bytes = sum(map(len, packed))
        if len(self._waiting) >= MOST_QUESTIONS or self._waiting_bytes + size_bytes > MOST_BYTES:
            raise CacheUnavailable(
                f"Redis at {self._where} does not keep up: {len(self._waiting)} questions of {self._waiting_bytes} bytes wait",
                state=State.AWAY,
            )
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Question(answer, len(commands), size_bytes, loop_s()))
        self._waiting_bytes += size_bytes
        self._unsent += packed
        self._more.set()
        return await answer

    def _packed(self, commands: list[Command]) -> list[bytes]:
        try:
            packed: list[bytes] = self._connection.pack_commands(commands)
        except faults.DataError as error:
            raise TypeError(f"a command for Redis has an argument that can't be sent: {error}") from error
        return packed

    async def carry(self) -> None:
        """Send and receive until the connection breaks or the task is cancelled; then everybody who waits is told."""
        why: CacheUnavailable | None = None
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._send())
                ways.create_task(self._receive())
        except* _FAULTS as errors:
            why = _unavailable(_first(errors), self._where)
        finally:
            self.end(why or CacheUnavailable(f"the connection to Redis at {self._where} ended", state=State.AWAY))

    def end(self, why: CacheUnavailable) -> None:
        """Take no more questions, and tell those who wait; the first reason stays."""
        if self.ended is None:
            self.ended = why
        for question in self._waiting:
            if not question.answer.done():
                question.answer.set_exception(CacheUnavailable(self.ended.message, **self.ended.details))
        self._waiting.clear()

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            packed, self._unsent = self._unsent, []
            await self._connection.send_packed_command(packed, check_health=False)

    async def _receive(self) -> None:
        while True:
            reply = await self._reply()
            if not self._waiting:
                raise faults.InvalidResponse("a reply that nobody asked for")
            question = self._waiting[0]
            question.replies.append(reply)
            if len(question.replies) == question.count:
                self._waiting.popleft()
                self._waiting_bytes -= question.size_bytes
                if not question.answer.done():
                    question.answer.set_result(question.replies)

    async def _reply(self) -> Any:
        """Give the next reply, or the error that the server told. What ends the connection is raised."""
        try:
            return await self._connection.read_response(disable_decoding=True)
        except faults.ResponseError as error:
            return error


_FAULTS = (faults.RedisError, OSError, EOFError, TimeoutError, ValueError, RecursionError)
"""What a connection ends with. The last two are what the library makes of bytes that are no Redis."""


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _disconnect(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except _FAULTS:
        pass  # it is gone


@dataclass(frozen=True, slots=True)
class _Server:
    """Where connections lead. `where` is fit to be shown."""

    where: str
    connection: Callable[[], AbstractConnection]


_OPTIONS = frozenset(
    ["db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"]
)
_OURS: dict[str, Any] = {
    # RESP2 is understood by every server, and has one shape for each reply.
    "protocol": 2,
    "client_name": "drover",
    # Whoever asks has a bound of its own, and a time-out of the library's would cut the connection.
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "socket_keepalive": True,
}


def _server(url: str) -> _Server:
    wrong = ConfigError(
        "REDIS_URL is no address of a Redis (it is not shown, as it may hold a password): write redis://host:6379/0, "
        "rediss://user:password@host:6380/0 or unix:///run/redis.sock?db=0, with a number for the database; special characters "
        f"of a password as %40; other options are not taken than {', '.join(sorted(_OPTIONS))}"
    )
    try:
        parts = urlsplit(url)
        wanted: dict[str, Any] = dict(parse_url(url))
        if not _sound(parts.scheme, parts.path, parts.query, wanted):
            raise wrong
        kind = wanted.pop("connection_class", Connection)
        options = wanted | _OURS
        if parts.scheme == "unix":
            del options["socket_keepalive"]
        kind(**options)  # what it does not take is found out now
    except (ValueError, TypeError, AttributeError, faults.RedisError):
        raise wrong from None  # the error may quote the password
    where = wanted.get("path") or f"{wanted.get('host', 'localhost')}:{wanted.get('port', 6379)}"
    return _Server(where, lambda: kind(**options))


def _sound(scheme: str, path: str, query: str, wanted: dict[str, Any]) -> bool:
    """The library passes over a database that is no number, and would take the first one."""
    if scheme == "unix":
        right = path.startswith("/") and len(path) > 1
    else:
        right = bool(wanted.get("host")) and (path.strip("/") == "" or path.strip("/").isdecimal())
    return right and set(parse_qs(query, keep_blank_values=True)) <= _OPTIONS and int(wanted.get("db", 0)) >= 0


def _unavailable(error: BaseException, where: str) -> CacheUnavailable:
    """Translate what went wrong. The server's own words are not passed on but for the first: they may quote what was sent."""
    state, reply = State.AWAY, None
    match error:
        case faults.OutOfMemoryError():
            state, reply, what = State.FULL, "OOM", f"Redis at {where} is full"
        case faults.BusyLoadingError():
            reply, what = "LOADING", f"Redis at {where} is still loading"
        case faults.AuthenticationError() | faults.AuthorizationError():
            state, reply = State.REFUSED, "NOAUTH"
            what = f"Redis at {where} did not accept our name or password: see REDIS_URL"
        case faults.ResponseError():
            return _told(error, where)
        case faults.InvalidResponse() | ValueError() | RecursionError() | EOFError():
            what = f"what listens at {where} does not speak as a Redis does"
        case _:
            what = f"Redis at {where} is away ({_reason(error)})"
    return CacheUnavailable(what, state=state, reply=reply)


def _told(error: faults.ResponseError, where: str) -> CacheUnavailable:
    """Translate an error that the server told of one command."""
    word = _KINDS.get(type(error), "") or (str(error).split(maxsplit=1) or ["ERR"])[0]
    inner = _INNER.search(str(error))  # Redis 6 says of each error in a script ERR, and then what it was
    word = inner[0] if inner else word
    word = word if word.isupper() and word.isalpha() and len(word) <= 16 else "ERR"
    if word == "OOM":
        return CacheUnavailable(f"Redis at {where} is full", state=State.FULL, reply=word)
    if word in _PASSING:
        return CacheUnavailable(f"Redis at {where} can't answer now ({word})", state=State.AWAY, reply=word)
    return CacheUnavailable(f"Redis at {where} refused a command ({word})", state=State.REFUSED, reply=word)


_KINDS: dict[type[faults.ResponseError], str] = {
    faults.ReadOnlyError: "READONLY",
    faults.NoPermissionError: "NOPERM",
    faults.NoScriptError: "NOSCRIPT",
    faults.ExecAbortError: "EXECABORT",
    faults.TryAgainError: "TRYAGAIN",
    faults.MovedError: "MOVED",
    faults.AskError: "ASK",
    faults.ClusterDownError: "CLUSTERDOWN",
    faults.ClusterCrossSlotError: "CROSSSLOT",
    faults.MasterDownError: "MASTERDOWN",
}
"""The library takes the first word away where it has a type for it."""

_INNER = re.compile(r"\b(?:OOM|WRONGTYPE|READONLY|MISCONF)\b")
_PASSING = frozenset(["BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"])


def _reason(error: BaseException) -> str:
    """Say why it can't be reached, in the system's words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return os.strerror(seen.errno)
        if isinstance(seen, TimeoutError | faults.TimeoutError):
            return "it does not answer"
        seen = seen.__cause__ or seen.__context__
    return "the connection broke" if isinstance(error, faults.ConnectionError) else type(error).__name__
