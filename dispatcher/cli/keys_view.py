"""Keys as a table, and one of them line by line; it asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.table import Table

from common.keys import Budget, Grant
from dispatcher.cli import key_words
from dispatcher.cli.cache_words import plain
from dispatcher.cli.columns import Column, fitted


def table(grants: Sequence[Grant], *, now: datetime, width: int) -> Table:
    """Draw one line for each key."""
    return fitted(_columns(now), grants, width)


def _columns(now: datetime) -> Sequence[Column[Grant]]:
    return (
        Column("key", 0, lambda one: one.key, right=False),
        Column("name", 0, lambda one: one.name, right=False, words=True),
        Column("state", 2, lambda one: key_words.state(one, now=now), right=False),
        Column("tenant", 4, lambda one: one.tenant, right=False),
        Column("user", 7, lambda one: one.user, right=False),
        Column("scopes", 3, lambda one: " ".join(one.scopes), right=False, names=True),
        Column("used", 1, lambda one: " ".join(map(_unbroken, one.budgets)) or "no budget", right=False, names=True),
        Column("last used", 5, lambda one: key_words.day(one.last_used_unix_s, "never"), right=False),
        Column("expires", 6, lambda one: key_words.day(one.expires_unix_s, "never"), right=False),
    )


def _unbroken(budget: Budget) -> str:
    return key_words.used(budget).replace(" ", "")


def lines(grant: Grant, *, now: datetime) -> Iterator[str]:
    """Tell all of one key."""
    told = [
        ("key", grant.key),
        ("name", grant.name),
        ("state", key_words.state(grant, now=now)),
        ("tenant", grant.tenant),
        ("user", grant.user),
        ("scopes", ", ".join(grant.scopes)),
        ("models", ", ".join(grant.models) or "all"),
        ("devices", ", ".join(grant.devices) or "all"),
        ("requests", "no limit" if grant.requests_per_minute is None else f"{grant.requests_per_minute} a minute"),
        ("parallel", "no limit" if grant.parallel is None else f"{grant.parallel} jobs at once"),
        *(("budget", _budget(one)) for one in grant.budgets),
        ("created", f"{key_words.day(grant.created_unix_s, '?')} UTC"),
        ("last used", key_words.day(grant.last_used_unix_s, "never")),
        ("expires", key_words.day(grant.expires_unix_s, "never")),
    ]
    width = max(len(name) for name, _ in told)
    return (plain(f"{name:<{width}}  {value}") for name, value in told)


def _budget(one: Budget) -> str:
    anew = "" if one.resets_unix_s is None else f"; anew at {key_words.day(one.resets_unix_s, '')} UTC"
    aside = f", of that {one.reserved} {one.unit} set aside" if one.reserved else ""
    return f"{key_words.used(one)}{aside}{anew}"
