"""`drover keys`: asks the ledger that runs; the database itself is not touched."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console

from common import codec, key_client
from common.bus.nats import NatsBus
from common.errors import BadRequest
from common.key_requests import AddKey, ChangeKey, Issued, Liftable, ListKeys, RotateKey
from common.keys import MOST_NAME_CHARS, Grant
from common.subjects import Subjects, require_token
from dispatcher.cli import key_words, keys_view
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.running import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a key is to be for, as it was written; what is None was not."""

    name: str | None = None
    tenant: str | None = None
    user: str | None = None
    scopes: Sequence[str] | None = None
    models: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    rpm: int | None = None
    parallel: int | None = None
    budgets: Sequence[str] | None = None
    expires: str | None = None


@asynccontextmanager
async def _ledger() -> AsyncIterator[tuple[NatsBus, Subjects]]:
    settings = shell_settings()
    async with open_bus(settings) as bus:
        yield bus, Subjects(settings.bus.prefix)


async def add(wanted: Wanted, *, as_json: bool) -> int:
    """Make a key, and show its secret: nobody can show it again."""
    told = _told(wanted)
    told["name"] = _name(wanted.name or "")
    told["tenant"] = require_token("--tenant", wanted.tenant or shell_settings().bridge.tenant)
    if wanted.user is not None:
        told["user"] = require_token("--user", wanted.user)
    asked = codec.build(AddKey, told)
    async with _ledger() as (bus, subjects):
        issued = await key_client.add(bus, subjects, asked)
    return _issued(issued, "made", as_json=as_json)


async def rotate(which: str, *, overlap: str, as_json: bool) -> int:
    """Give a key another secret."""
    asked = RotateKey(which=key_words.which(which), overlap_s=key_words.overlap_s(overlap))
    async with _ledger() as (bus, subjects):
        issued = await key_client.rotate(bus, subjects, asked)
    say(f"the old secret of {issued.grant.key} {_lives(asked.overlap_s, overlap)}")
    return _issued(issued, "has another secret", as_json=as_json)


async def show_all(*, tenant: str | None, ended: bool, as_json: bool) -> int:
    """List keys."""
    if tenant is not None:
        require_token("--tenant", tenant)
    found: list[Grant] = []
    async with _ledger() as (bus, subjects):
        after: str | None = None
        while True:
            page = await key_client.listed(bus, subjects, ListKeys(tenant=tenant, all=ended, after=after))
            found += page.keys
            if page.next is None or not page.keys:
                break
            after = page.next
    found.sort(key=lambda one: (one.tenant, one.name, one.created_unix_s))
    if as_json:
        return _json({"keys": [codec.plain(one) for one in found]})
    if not found:
        say("there are no keys: `drover keys add NAME` makes one")
        return 0
    console = Console()
    console.print(keys_view.table(found, now=datetime.now(UTC), width=console.width))
    return 0


async def show(which: str, *, as_json: bool) -> int:
    """Show one key."""
    asked = ListKeys(which=key_words.which(which))
    async with _ledger() as (bus, subjects):
        page = await key_client.listed(bus, subjects, asked)
    return _shown(page.keys[0], as_json=as_json)


async def change(which: str, wanted: Wanted, *, lift: Sequence[Liftable], as_json: bool) -> int:
    """Change what a key is for."""
    told = _told(wanted)
    if wanted.name is not None:
        told["name"] = _name(wanted.name)
    for one in lift:
        if str(one) in told:
            raise BadRequest(f"{one} is given and taken away: do one of it")
    if not told and not lift:
        raise BadRequest("nothing is to be changed: see `drover keys change --help`")
    asked = codec.build(ChangeKey, {**told, "which": key_words.which(which), "lift": [*lift]})
    async with _ledger() as (bus, subjects):
        grant = await key_client.change(bus, subjects, asked)
    return _shown(grant, as_json=as_json)


async def revoke(which: str) -> int:
    """End a key for ever."""
    named = key_words.which(which)
    async with _ledger() as (bus, subjects):
        grant = await key_client.revoke(bus, subjects, named)
    say(
        f"key {grant.key} ({grant.name}) is revoked, and its sessions are over; what runs for it over HTTP ends, and durable "
        "jobs that it has submitted stay in the queue"
    )
    return 0


async def adopt(which: str) -> int:
    """Give a key's user what was said before there were keys."""
    named = key_words.which(which)
    async with _ledger() as (bus, subjects):
        found = await key_client.adopt(bus, subjects, named)
    grant, count = found.grant, found.conversations
    what = f"{count} conversation{'' if count == 1 else 's'}"
    say(
        f"{what} of the tenant {grant.tenant} that had no user now belong to {grant.user}, whom the key {grant.name} is for"
    )
    return 0


async def refill(which: str, *, as_json: bool) -> int:
    """Have what is spent of a key's budgets forgotten."""
    named = key_words.which(which)
    async with _ledger() as (bus, subjects):
        grant = await key_client.refill(bus, subjects, named)
    return _shown(grant, as_json=as_json)


def _told(wanted: Wanted) -> dict[str, object]:
    """Read what was written. Raises `BadRequest`."""
    found: dict[str, object | None] = {
        "scopes": None if wanted.scopes is None else key_words.scopes([*wanted.scopes]),
        "models": None if wanted.models is None else tuple(wanted.models),
        "devices": None if wanted.devices is None else tuple(wanted.devices),
        "requests_per_minute": wanted.rpm,
        "parallel": wanted.parallel,
        "budgets": None if wanted.budgets is None else key_words.budgets([*wanted.budgets]),
        "expires_unix_s": None if wanted.expires is None else key_words.expiry(wanted.expires, now=datetime.now(UTC)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _name(text: str) -> str:
    """Give a name as it may stand in tables. Raises `BadRequest`."""
    name = text.strip()
    if not 1 <= len(name) <= MOST_NAME_CHARS or not name.isprintable():
        raise BadRequest(f"a key's name has 1 to {MOST_NAME_CHARS} characters, all of them printable")
    if name.startswith(("dr_", "drs_")):
        raise BadRequest("a key's name is not like a key: give it another one")
    return name


def _issued(issued: Issued, how: str, *, as_json: bool) -> int:
    """Show a secret, on standard output alone."""
    if as_json:
        return _json({"secret": issued.secret, "key": codec.plain(issued.grant)})
    say(f"key {issued.grant.key} ({issued.grant.name}) {how}; this is its secret, and nobody can show it again:")
    sys.stdout.write(f"{issued.secret}\n")
    return 0


def _lives(lasts_s: float, text: str) -> str:
    return f"is good for {text} more" if lasts_s else "is good no more"


def _shown(grant: Grant, *, as_json: bool) -> int:
    if as_json:
        return _json(codec.plain(grant))
    sys.stdout.writelines(f"{line}\n" for line in keys_view.lines(grant, now=datetime.now(UTC)))
    return 0


def _json(value: object) -> int:
    sys.stdout.write(f"{codec.encode_pretty(value)}\n")
    return 0
