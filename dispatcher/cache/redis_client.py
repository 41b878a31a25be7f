"""The way to Redis: commands in one round trip, and one typed error for all that goes wrong. It knows no key and no value.

Callers wait for milliseconds, and a call of the library's that is cut off takes its connection along: a server that is a little
slower than their patience would see nothing but new connections, and a handshake that takes longer than that would never end.
So nobody who asks holds a connection. A few workers ask in their stead, and who stops waiting leaves only the answer behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, urlsplit

from redis import exceptions as faults
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.errors import CacheUnavailable, ConfigError

CALL_S = 1.0
"""What takes so long, connecting included, is given up with its connection; callers have left mostly far earlier."""

CONNECTIONS = 16
"""At most; made when they are needed. With a server that is 5 ms away they carry three thousand questions a second."""

MOST_WAITING = 512
"""Questions that no connection is free for; a server that keeps up never has a tenth of it."""

Part: TypeAlias = bytes | str | int | float
Command: TypeAlias = Sequence[Part]
"""A command's name and arguments. What has white space in it must not stand first: `("CONFIG", "SET", ...)`."""

_Outcome: TypeAlias = list[Any] | Exception


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

    def __init__(self, pool: ConnectionPool, where: str, call_s: float, tasks: asyncio.TaskGroup) -> None:
        self._redis = Redis(connection_pool=pool)
        self._redis.response_callbacks.clear()  # replies as they come
        self._call_s = call_s
        self._closed = CacheUnavailable(f"the connection to Redis at {where} is closed", state=State.AWAY)
        self._questions: asyncio.Queue[tuple[Sequence[Command], asyncio.Future[_Outcome]]] = asyncio.Queue(MOST_WAITING)
        self._workers = [tasks.create_task(self._work()) for _ in range(CONNECTIONS)]
        self.where = where
        """Which server it is, without secrets."""

    async def run(self, *commands: Command) -> list[Any]:
        """Run commands in one round trip, in their order, and give their replies; others' may be run in between. All are run, also
        where one of them fails, and the first error is raised."""
        answer: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        if not self._workers:
            raise CacheUnavailable(self._closed.message, **self._closed.details)
        try:
            self._questions.put_nowait((commands, answer))
        except asyncio.QueueFull:
            what = f"Redis at {self.where} does not keep up: {MOST_WAITING} questions wait"
            raise CacheUnavailable(what, state=State.AWAY) from None
        match await answer:
            case list() as replies:
                return replies
            case faults.DataError() as error:
                raise TypeError(f"a command for Redis has an argument that can't be sent: {error}") from error
            case faults.RedisError() | OSError() | EOFError() | ValueError() | RecursionError() as error:
                # the last two are what the library makes of bytes that are no Redis
                raise _unavailable(error, self.where) from error
            case error:
                raise error

    async def script(self, script: Script, keys: Sequence[Part], arguments: Sequence[Part] = ()) -> Any:
        """Run a script; the server is sent its text only if it does not know it."""
        rest = [len(keys), *keys, *arguments]
        try:
            (reply,) = await self.run(("EVALSHA", script.sha, *rest))
        except CacheUnavailable as error:
            if error.details.get("reply") != "NOSCRIPT":
                raise
            (reply,) = await self.run(("EVAL", script.text, *rest))
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

    def close(self) -> None:
        """Take no more questions; who still waits is told."""
        for worker in self._workers:
            worker.cancel()
        self._workers.clear()
        while not self._questions.empty():
            _settle(self._questions.get_nowait()[1], self._closed)

    async def _work(self) -> None:
        """Ask one question after the other, on a connection of the pool."""
        while True:
            commands, answer = await self._questions.get()
            if answer.done():  # nobody waits any more
                continue
            outcome: _Outcome = self._closed
            try:
                async with asyncio.timeout(self._call_s):
                    outcome = await self._replies(commands)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's, who raises it
                outcome = error
            finally:
                _settle(answer, outcome)

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        if len(commands) == 1:  # a pipeline takes a third longer
            return [await self._redis.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # it ships no annotation
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return list(replies)


def _settle(answer: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)


@asynccontextmanager
async def redis_client(url: str, *, call_s: float = CALL_S) -> AsyncIterator[RedisClient]:
    """Open the way to a server, which need not be there: it is looked for whenever something is asked.

    Raises `ConfigError` for a wrong `REDIS_URL`, and does not show it: it may hold a password.
    """
    pool, where = _pool(url)
    try:
        async with asyncio.TaskGroup() as tasks:
            client = RedisClient(pool, where, call_s, tasks)
            try:
                yield client
            finally:
                client.close()
    finally:
        with suppress(faults.RedisError, OSError):  # a connection that does not even end is none
            await pool.aclose()


_OPTIONS = frozenset(
    ["db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"]
)
_OURS: dict[str, Any] = {
    "max_connections": CONNECTIONS,
    "protocol": 2,  # every server understands it, and it has one shape for each reply
    "client_name": "drover",
    "socket_connect_timeout": CALL_S,
    "socket_timeout": None,  # a question has its time as a whole
    "retry": Retry(NoBackoff(), 0),
}


def _pool(url: str) -> tuple[ConnectionPool, str]:
    """Give connections to a server, and its name, which is fit to be shown."""
    wrong = ConfigError(
        "REDIS_URL is no address of a Redis (it is not shown, as it may hold a password): write redis://host:6379/0, "
        "rediss://user:password@host:6380/0 or unix:///run/redis.sock?db=0, with a number for the database; special characters "
        f"of a password as %40; other options are not taken than {', '.join(sorted(_OPTIONS))}"
    )
    try:
        pool = ConnectionPool.from_url(url, **_OURS)
        taken = pool.connection_kwargs
        if not _sound(urlsplit(url), int(taken.get("db", 0))):
            raise wrong
        pool.make_connection()  # type: ignore[no-untyped-call]  # what it does not take is found out now
    except (ValueError, TypeError, AttributeError, faults.RedisError):
        raise wrong from None  # the error may quote the password
    return pool, taken.get("path") or f"{taken['host']}:{taken.get('port', 6379)}"


def _sound(parts: SplitResult, db: int) -> bool:
    """The library passes over a database that is no number, and would take the first one."""
    if parts.scheme == "unix":
        right = len(parts.path) > 1
    else:
        right = bool(parts.hostname) and (parts.path.strip("/") == "" or parts.path.strip("/").isdecimal())
    return right and set(parse_qs(parts.query, keep_blank_values=True)) <= _OPTIONS and db >= 0


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
    word = (str(error).split(maxsplit=1) or ["ERR"])[0]
    if type(error) is not faults.ResponseError:  # the library has taken the word away, and named the type after it
        word = type(error).__name__.removesuffix("Error").upper()
    inner = _INNER.search(str(error))  # Redis 6 says of each error in a script ERR, and then what it was
    word = inner[0] if inner else word
    word = word if word.isupper() and word.isalpha() and len(word) <= 16 else "ERR"
    if word == "OOM":
        return CacheUnavailable(f"Redis at {where} is full", state=State.FULL, reply=word)
    if word in _PASSING:
        return CacheUnavailable(f"Redis at {where} can't answer now ({word})", state=State.AWAY, reply=word)
    return CacheUnavailable(f"Redis at {where} refused a command ({word})", state=State.REFUSED, reply=word)


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
