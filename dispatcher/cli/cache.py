"""`drover cache`: what the caches of all dispatchers hold and save, to forget it, and to report a wrong answer; it keeps nothing.

What a dispatcher did not answer is said, and then the exit status is 1: it may hold what is not shown, or not forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from common import codec
from common.cache_orders import CacheOrders, entries, first_error, purged, reported
from common.errors import BadRequest, UnknownJob
from common.gathering import Gathered
from common.subjects import Subjects, is_token
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.cache_view import entry_table, figures, whole
from dispatcher.cli.cache_words import plain
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.running import FAILED, say

Entry = Mapping[str, Any]


@asynccontextmanager
async def _orders(tenant: str | None) -> AsyncIterator[CacheOrders]:
    settings = shell_settings()
    async with open_bus(settings) as bus:
        yield CacheOrders(bus, Subjects(settings.bus.prefix), tenant=tenant)


async def stats(*, tenant: str | None, as_json: bool) -> int:
    """Print what the caches hold, did and saved. Raises the errors of `CacheOrders`."""
    async with _orders(tenant) as orders:
        found = await orders.stats()
    ordered = sorted(found.told, key=lambda answer: str(answer.get("dispatcher", "")))
    if as_json:
        _json({"dispatchers": ordered, "silent": list(found.silent)})
    else:
        console = _console()
        console.print(figures(ordered, console.width))
    return _status(found)


async def show(which: str | None, *, limit: int, tenant: str | None, as_json: bool) -> int:
    """Print the entries that were used last, or those whose id begins with `which`; a single one with its answer.

    Raises `UnknownJob` when there is none of that id, and the errors of `CacheOrders`.
    """
    if which is not None and not is_token(which):
        raise BadRequest(f"{which[:80]!r} is no id of an entry: `drover cache show` lists them")
    async with _orders(tenant) as orders:
        found = await (orders.show(limit=limit) if which is None else orders.find(which))
    listed = entries(found.told)
    if which is not None and not listed:
        raise UnknownJob(
            f"no entry has an id that begins with {which}: it has expired, made room, or is of another tenant"
        )
    if as_json:
        _json({"entries": [{**entry, **_whole_of(found, entry)} for entry in listed], "silent": list(found.silent)})
    else:
        _draw(found, listed)
    return _status(found)


def _whole_of(found: Gathered, entry: Entry) -> Entry:
    """Give text and receipt of an entry that a dispatcher told whole."""
    for answer in found.told:
        if "text" in answer and answer.get("entries") and answer["entries"][0].get("id") == entry.get("id"):
            return {"text": answer["text"], "receipt": answer.get("receipt")}
    return {}


def _draw(found: Gathered, listed: Sequence[Entry]) -> None:
    console = _console()
    told = [answer for answer in found.told if "text" in answer and answer.get("entries")]
    if told and len({(entry.get("tenant"), entry.get("id")) for entry in listed}) == 1:
        console.print(whole(told[0]))
    else:
        console.print(entry_table(listed, console.width) if listed else "no entries")


def may_purge(tenant: str | None) -> bool:
    """Ask whoever sits at the terminal whether to forget all. Without a terminal nobody can be asked, and it was meant."""
    if not sys.stdin.isatty():
        return True
    whose = "all tenants" if tenant is None else f"the tenant {tenant}"
    sys.stderr.write(f"forget all kept answers of {whose}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def purge(*, tenant: str | None, as_json: bool) -> int:
    """Have all entries be forgotten, and print how many there were. Raises the errors of `CacheOrders`."""
    async with _orders(tenant) as orders:
        found = await orders.purge()
    count = purged(found.told)
    if as_json:
        _json({"removed": count, "silent": list(found.silent)})
    else:
        sys.stdout.write(f"{count} {'entry' if count == 1 else 'entries'} forgotten\n")
    return _status(found)


async def report_bad(which: str, *, tenant: str | None, as_json: bool) -> int:
    """Say that an answer was wrong, and print what went with it. Raises `UnknownJob`, `BadRequest`, and those of `CacheOrders`."""
    async with _orders(tenant) as orders:
        found = await orders.report(which)
    removed = reported(found.told)
    if as_json:
        _json({"removed": removed, "silent": list(found.silent)})
    else:
        sys.stdout.writelines(f"{plain(one)} removed\n" for one in removed)
        if not removed:
            say("the report is counted; its entry was gone already")
    return _status(found)


def _status(found: Gathered) -> int:
    """Say who did not answer, and what could not be done; then it was not all."""
    if found.silent:
        say(f"{', '.join(found.silent)} did not answer: what is told is without it")
    if (error := first_error(found)) is not None:
        say(f"a dispatcher could not: {error.message}")
    return FAILED if found.silent or error is not None else 0


def _json(told: dict[str, object]) -> None:
    sys.stdout.write(f"{codec.encode_pretty(told)}\n")


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
