"""The way to a real redis-server, and what becomes of its faults."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest
from redis import exceptions as faults

from common.errors import CacheUnavailable, ConfigError
from dispatcher.cache import redis_client as ways
from dispatcher.cache.redis_client import RedisClient, Script, State, redis_client
from tests.redis_server import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

GUARD_S = 30.0
PATIENCE_S = 0.02
"""As long as a request waits."""


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    async with redis_client(server.url) as one:
        yield one


async def impatient(client: RedisClient) -> bool:
    """Ask as a request does; gives whether there was an answer in time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.run(("PING",))
    except TimeoutError:
        return False
    return True


async def refusal(client: RedisClient, *command: str) -> CacheUnavailable:
    """Give the error of a command."""
    with pytest.raises(CacheUnavailable) as caught:
        await client.run(command)
    return caught.value


async def until_answered(client: RedisClient) -> None:
    """Ask until there is an answer."""
    async with asyncio.timeout(GUARD_S):
        while not await answered(client):  # noqa: ASYNC110  # nobody is told that a server goes on
            await asyncio.sleep(0)


async def answered(client: RedisClient) -> bool:
    try:
        return [b"PONG"] == await client.run(("PING",))
    except CacheUnavailable:
        return False


async def connections(server: RedisServer) -> tuple[int, int]:
    """Ask the server how many connections it has and how many have ended, without this question's own one."""
    async with redis_client(server.url) as fresh:
        made = int((await fresh.info("stats"))["total_connections_received"])
        there = int((await fresh.info("clients"))["connected_clients"])
    return there - 1, made - there


async def test_replies_come_in_the_order_of_the_commands(client: RedisClient) -> None:
    """Bytes stay bytes, and what is not there is None."""
    assert [b"OK", b"\xff\0", None, 2] == await client.run(
        ("SET", "a", b"\xff\0"), ("GET", "a"), ("GET", "b"), ("RPUSH", "c", "x", 1)
    )


async def test_many_ask_at_once_on_few_connections(client: RedisClient, server: RedisServer) -> None:
    """Everybody gets its own answer."""
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(client.run(("ECHO", str(number)))) for number in range(300)]
    there, _ = await connections(server)

    assert [[str(number).encode()] for number in range(300)] == [task.result() for task in asked]
    assert 1 <= there <= ways.CONNECTIONS


async def test_all_commands_are_run_where_one_fails(client: RedisClient) -> None:
    """The first error is raised, and what stands behind it was done."""
    with pytest.raises(CacheUnavailable):
        await client.run(("SET", "a", "1"), ("LPUSH", "a", "x"), ("SET", "b", "2"))

    assert [b"2"] == await client.run(("GET", "b"))


async def test_a_script_is_known_after_a_restart(client: RedisClient, server: RedisServer) -> None:
    """The server is told the text again when it has forgotten it."""
    script = Script("return {KEYS[1], ARGV[1]}")
    first = await client.script(script, ["k"], [1])
    await client.run(("SCRIPT", "FLUSH"))

    assert [b"k", b"1"] == first == await client.script(script, ["k"], [1])


async def test_it_tells_what_the_server_knows(client: RedisClient) -> None:
    """Commands that the server has and one that no server has, and a version."""
    told = (await client.has("GET"), await client.has("NOSUCHCOMMAND"))

    assert (True, False) == told
    assert (await client.info())["redis_version"][0].isdigit()


async def test_a_connection_outlives_those_who_leave(server: RedisServer) -> None:
    """Callers that stop waiting for a frozen server have no connection cut, and nobody gets another's answer afterwards. What could
    not begin before its caller left is not done."""
    async with redis_client(server.url, call_s=GUARD_S) as client:
        await client.run(("SET", "a", "1"))
        _, ended = await connections(server)
        server.pause()
        in_time = await asyncio.gather(*(impatient(client) for _ in range(2 * ways.CONNECTIONS)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await client.run(("SET", "a", "late"))
        server.resume()
        found = await client.run(("GET", "a"))
        there, ended_now = await connections(server)

    assert ({False}, [b"1"]) == (set(in_time), found)
    assert there <= ways.CONNECTIONS
    assert ended + 1 == ended_now  # that of the first question about connections


async def test_a_connection_is_made_while_nobody_waits(server: RedisServer) -> None:
    """A handshake that takes longer than anybody's patience is finished all the same."""
    _, ended = await connections(server)
    server.pause()
    async with redis_client(server.url, call_s=GUARD_S) as client:
        in_time = [await impatient(client) for _ in range(5)]
        server.resume()
        await client.run(("PING",))
        there, ended_now = await connections(server)

    assert ([False] * 5, ended + 1) == (in_time, ended_now)
    assert 1 <= there <= 6


async def test_a_connection_that_leads_nowhere_is_left(server: RedisServer) -> None:
    """A question that was not answered for long ends with its connection, and the next one makes another."""
    async with redis_client(server.url, call_s=0.2) as client:
        await until_answered(client)
        _, ended = await connections(server)
        server.pause()
        silent = await refusal(client, "PING")
        server.resume()
        await until_answered(client)
        _, ended_now = await connections(server)

    assert (State.AWAY, "does not answer" in silent.message) == (silent.details["state"], True)
    assert ended + 2 <= ended_now  # this one, and that of the first question about connections


async def test_leaving_at_any_moment_leaves_a_way_that_works(client: RedisClient, server: RedisServer) -> None:
    """Before a connection is there, while it is made, and while an answer comes: the next one gets its own."""
    wrong = []
    for number in range(60):
        async with asyncio.TaskGroup() as tasks:
            leaving = [tasks.create_task(client.run(("ECHO", "left"))) for _ in range(3)]
            for _ in range(number % 20):
                await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
        (told,) = await client.run(("ECHO", str(number)))
        wrong += [told] if told != str(number).encode() else []

    assert [] == wrong
    assert (await connections(server))[0] <= ways.CONNECTIONS


async def test_closing_at_any_moment_tells_everybody(server: RedisServer) -> None:
    """Whoever still waits gets an answer or is told, and no connection is left."""
    ends: list[object] = []

    async def ask(client: RedisClient) -> None:
        try:
            ends.extend(await client.run(("PING",)))
        except CacheUnavailable as error:
            ends.append(error.details["state"])

    for number in range(30):
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks, redis_client(server.url) as client:
            for _ in range(5):
                tasks.create_task(ask(client))
            for _ in range(number):
                await asyncio.sleep(0)

    assert (150, 0) == (len(ends), (await connections(server))[0])
    assert {b"PONG", State.AWAY} >= set(ends)
    assert State.AWAY in ends


async def test_a_server_that_comes_back_is_found(client: RedisClient, server: RedisServer) -> None:
    """Killed, it is away; started again, the next question is answered."""
    await client.run(("PING",))
    await server.kill()
    away = [(await refusal(client, "PING")).details["state"] for _ in range(3)]
    await server.restart()

    assert ([State.AWAY] * 3, [b"PONG"]) == (away, await client.run(("PING",)))


async def test_a_restart_is_survived_at_the_next_question(client: RedisClient, server: RedisServer) -> None:
    """Connections that ended meanwhile are made anew, and no question is lost with one."""
    await asyncio.gather(*(client.run(("PING",)) for _ in range(5)))
    await server.restart()

    assert [[b"PONG"]] * 5 == [await client.run(("PING",)) for _ in range(5)]


async def test_who_waits_when_it_dies_is_told(client: RedisClient, server: RedisServer) -> None:
    """Nobody waits for an answer that can't come."""
    server.pause()
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(refusal(client, "PING")) for _ in range(3)]
        await asyncio.sleep(0)
        await server.kill()

    assert [State.AWAY] * 3 == [task.result().details["state"] for task in waiting]


async def test_nobody_waits_for_a_client_that_is_closed(server: RedisServer) -> None:
    """Neither those who asked before, nor those who ask afterwards."""
    server.pause()
    async with asyncio.TaskGroup() as tasks, redis_client(server.url) as client:
        early = tasks.create_task(refusal(client, "PING"))
        await asyncio.sleep(0)
    late = await refusal(client, "PING")

    assert [State.AWAY, State.AWAY] == [early.result().details["state"], late.details["state"]]


async def test_what_waits_is_bounded(client: RedisClient, server: RedisServer) -> None:
    """A server that does not keep up is told no more than so many questions."""
    await client.run(("PING",))
    server.pause()
    too_many: list[CacheUnavailable] = []

    async def ask() -> None:
        try:
            await client.run(("PING",))
        except CacheUnavailable as error:
            too_many.append(error)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(ways.MOST_WAITING + 7):
            tasks.create_task(ask())
        await asyncio.sleep(0)
        count = len(too_many)
        server.resume()

    assert (7, 7) == (count, len(too_many))


async def test_a_full_server_says_so(client: RedisClient) -> None:
    """Out of memory is a state of its own: it can still be read."""
    await client.run(("CONFIG", "SET", "maxmemory", "64kb"), ("CONFIG", "SET", "maxmemory-policy", "noeviction"))

    assert State.FULL is (await refusal(client, "SET", "a", "1")).details["state"]


async def test_a_full_server_says_so_of_a_script(client: RedisClient) -> None:
    """The error comes out of a script as it does of a command."""
    await client.run(("CONFIG", "SET", "maxmemory", "64kb"), ("CONFIG", "SET", "maxmemory-policy", "noeviction"))
    with pytest.raises(CacheUnavailable) as caught:
        await client.script(Script("return redis.call('SET', 'a', '1')"), [])

    assert (State.FULL, "OOM") == (caught.value.details["state"], caught.value.details["reply"])


async def test_a_replica_refuses_to_be_written(client: RedisClient) -> None:
    """Its address is the wrong one: that is no fault that passes."""
    await client.run(("REPLICAOF", "127.0.0.1", "1"))

    told = (await refusal(client, "SET", "a", "1")).details

    assert (State.REFUSED, "READONLY") == (told["state"], told["reply"])


async def test_a_server_that_is_busy_with_a_script_is_away(client: RedisClient, server: RedisServer) -> None:
    """It says so, and is itself again when the script was ended."""
    await client.run(("CONFIG", "SET", "lua-time-limit", "1"))
    async with redis_client(server.url) as other, asyncio.TaskGroup() as tasks:
        endless = tasks.create_task(refusal(other, "EVAL", "while true do end", "0"))
        async with asyncio.timeout(GUARD_S):
            busy = None
            while busy is None:
                try:
                    await client.run(("GET", "a"))
                except CacheUnavailable as error:
                    busy = error
        await client.run(("SCRIPT", "KILL"))
        await endless

    assert (State.AWAY, "BUSY") == (busy.details["state"], busy.details["reply"])
    assert [None] == await client.run(("GET", "a"))


@pytest.mark.parametrize("user", ["", ":falsch-und-geheim@", "niemand:falsch-und-geheim@"])
async def test_a_wrong_password_is_refused_and_not_shown(user: str) -> None:
    """No password, a wrong one, and a user that is not there; what is said has none of it."""
    async with (
        redis_server("--requirepass", "richtig") as server,
        redis_client(server.url.replace("//", f"//{user}")) as client,
    ):
        error = await refusal(client, "PING")
        told = str(error.to_wire())

    assert State.REFUSED is error.details["state"]
    assert "geheim" not in told


async def test_the_right_password_opens(server: RedisServer) -> None:
    """With special characters as well, written as in any address."""
    await _run(server, ("CONFIG", "SET", "requirepass", "p@ss/w:rd"))

    async with redis_client(server.url.replace("//", "//:p%40ss%2Fw%3Ard@")) as client:
        assert [b"PONG"] == await client.run(("PING",))


async def test_each_database_is_another_one(server: RedisServer) -> None:
    """The number in the address is heeded, also after the connection was made anew."""
    await _run(server, ("SET", "a", "1"))
    async with redis_client(server.url.removesuffix("/0") + "/3") as client:
        await client.run(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))

        assert [None] == await client.run(("GET", "a"))


async def test_a_socket_in_the_file_system_will_do(server: RedisServer) -> None:
    """`unix://` with a path."""
    async with redis_client(f"unix://{server.directory / 'socket'}?db=0") as client:
        assert [b"PONG"] == await client.run(("PING",))


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"*-7\r\n", b"$x\r\n", b":1\r\n" * 9, b"-", b""]
)
async def test_what_is_no_redis_is_away(noise: bytes) -> None:
    """Whatever it says, and if it hangs up, the error is the same one, and soon there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(noise)
        writer.close()
        await writer.wait_closed()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with other, redis_client(f"redis://127.0.0.1:{port}") as client, asyncio.timeout(GUARD_S):
        assert State.AWAY is (await refusal(client, "PING")).details["state"]


async def test_one_that_accepts_and_is_silent_has_few_callers_at_a_time() -> None:
    """However many ask, there are only so many connections, and all who ask are told when these are given up."""
    there, most = 0, 0
    gone = asyncio.Condition()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal there, most
        there += 1
        most = max(most, there)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        async with gone:
            there -= 1
            gone.notify_all()

    other = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with other, redis_client(f"redis://127.0.0.1:{port}", call_s=0.2) as client, asyncio.timeout(GUARD_S):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(refusal(client, "PING")) for _ in range(4 * ways.CONNECTIONS)]
        async with gone:
            await gone.wait_for(lambda: there == 0)

    assert {State.AWAY} == {task.result().details["state"] for task in asked}
    assert 1 <= most <= 2 * ways.CONNECTIONS  # one may hear that it was left after the next has come


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://:geheim@host",
        "redis://",
        "redis://:geheim@",
        "redis://:geheim@host/keys",
        "redis://:geheim@host/-1",
        "redis://:geheim@host:99999",
        "redis://:ge/heim@host",
        "redis://:geheim@host?socket_timeout=geheim",
        "redis://:geheim@host?db=geheim",
        "unix://",
        "unix://:geheim@",
        "rediss://:geheim@host?ssl_cert_reqs=geheim",
        "redis://[geheim",
    ],
)
async def test_a_wrong_address_is_named_and_not_shown(url: str) -> None:
    """The setting is named, how it is to be written is told, and no part of the address stands in the message."""
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup(), redis_client(url):
            pass
    (error,) = caught.value.exceptions

    assert isinstance(error, ConfigError)
    assert "REDIS_URL" in error.message
    assert "heim" not in error.message


def test_every_error_of_the_library_is_translated() -> None:
    """Each of its types becomes `CacheUnavailable` with one of our states; a type that is new here is to be looked at."""
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(faults, inspect.isclass)
        if issubclass(kind, faults.RedisError) and kind.__module__ == faults.__name__
    }
    made = {name: kind("7 127.0.0.1:1") for name, kind in kinds.items()}

    states = {name: ways._unavailable(error, "here").details["state"] for name, error in made.items()}

    refused = {name for name, state in states.items() if state is State.REFUSED}
    full = {name for name, state in states.items() if state is State.FULL}
    assert {"OutOfMemoryError"} == full
    assert {
        "AskError",
        "AuthenticationError",
        "AuthenticationWrongNumberOfArgsError",
        "AuthorizationError",
        "ClusterCrossSlotError",
        "ExecAbortError",
        "ModuleError",
        "MovedError",
        "NoPermissionError",
        "NoScriptError",
        "NoSuchFieldsetError",
        "ReadOnlyError",
        "ResponseError",
    } == refused
    assert 30 == len(states)


async def _run(server: RedisServer, *commands: tuple[str, ...]) -> None:
    async with redis_client(server.url) as client:
        await client.run(*commands)
