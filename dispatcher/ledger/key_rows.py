"""Keys, budgets and reservations to rows of tables and back. Pure; it knows no connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common import codec
from common.errors import BadRequest
from common.key_requests import MOST_AMOUNT, AddKey, Limit, ReleaseJob
from common.keys import Grant, Reservation, Unit
from dispatcher.ledger.budgets import Account, Amounts, shown, window
from dispatcher.ledger.rows import Row, as_text, of_text

_AS_IS = ("name", "tenant", "user", "requests_per_minute", "parallel", "created_unix_s", "expires_unix_s")  # fmt: skip
_LISTS = ("scopes", "models", "devices")


def key_row(key: str, secret_digest: str, wanted: AddKey, now_unix_s: float) -> Row:
    """Give the row of a new key."""
    told = codec.plain(wanted)
    return {
        **{name: told.get(name) for name in _AS_IS},
        **{name: texts(told.get(name, ())) for name in _LISTS},
        "id": key,
        "parent": None,
        "digest": secret_digest,
        "old_digest": None,
        "old_until_unix_s": None,
        "user": wanted.user or key,
        "created_unix_s": now_unix_s,
        "last_used_unix_s": None,
        "revoked_unix_s": None,
    }


def session_row(session: str, secret_digest: str, parent: Mapping[str, Any], until: float, now_unix_s: float) -> Row:
    """Give the row of a session; all but its time is in the row of its key."""
    return {
        **key_row(
            session,
            secret_digest,
            AddKey(name=parent["name"], tenant=parent["tenant"], user=parent["user"]),
            now_unix_s,
        ),
        "parent": parent["id"],
        "expires_unix_s": until,
    }


def grant_of(row: Mapping[str, Any]) -> Grant:
    """Read the row of a key, without its budgets. Raises `BadRequest` where it holds what none can."""
    wire = {name: row[name] for name in (*_AS_IS, "last_used_unix_s")}
    lists = {name: read_texts(row[name]) for name in _LISTS}
    return codec.build(Grant, {**wire, **lists, "key": row["id"], "revoked": row["revoked_unix_s"] is not None})


def filled(grant: Grant, accounts: Sequence[Account], reserved: Amounts, now_unix_s: float) -> Grant:
    """Give a grant with its budgets."""
    return replace(grant, budgets=tuple(shown(one, reserved, now_unix_s) for one in accounts))


def account_row(key: str, account: Account) -> Row:
    """Give the row of a budget."""
    return {
        "key": key,
        "unit": str(account.unit),
        "period": str(account.period),
        "limit": account.limit,
        "window_unix_s": account.window_unix_s,
        "spent": account.spent,
    }


def account_of(row: Mapping[str, Any]) -> Account:
    """Read the row of a budget. Raises `BadRequest`."""
    return codec.build(Account, {name: row[name] for name in ("unit", "period", "limit", "window_unix_s", "spent")})


def opened_account(limit: Limit, now_unix_s: float) -> Account:
    """Give a new budget."""
    begin, _ = window(limit.period, now_unix_s)
    return Account(unit=limit.unit, period=limit.period, limit=limit.limit, window_unix_s=begin)


def reservation_row(wanted: Reservation, amounts: Amounts, now_unix_s: float) -> Row:
    """Give the row of what is set aside."""
    return {
        "tenant": wanted.tenant,
        "job": wanted.job,
        "key": wanted.key,
        **{str(unit): min(amounts.get(unit, 0), MOST_AMOUNT) for unit in Unit},
        "reserved_unix_s": now_unix_s,
        "expires_unix_s": now_unix_s + wanted.expires_s,
        "lapsed_unix_s": None,
        "holder": wanted.holder,
    }


def given_up_row(tenant: str, released: ReleaseJob, now_unix_s: float) -> Row:
    """Give the row that notes a wish which was taken back before it came: of nothing, and over."""
    never = Reservation(key=released.key, tenant=tenant, job=released.job, tokens=0, holder=released.holder)
    return {**reservation_row(never, {}, now_unix_s), "lapsed_unix_s": now_unix_s}


def amounts_of(row: Mapping[str, Any]) -> dict[Unit, int]:
    """Read what is set aside, by unit."""
    return {unit: int(row[str(unit)] or 0) for unit in Unit}


def reservation_of(row: Mapping[str, Any]) -> Reservation:
    """Read the row of what is set aside, to see whether it is sound. Raises `BadRequest`."""
    lasts_s = row["expires_unix_s"] - row["reserved_unix_s"]
    wire = {name: row[name] for name in ("key", "tenant", "job", "tokens", "micro_usd")}
    return codec.build(Reservation, wire | {"expires_s": lasts_s})


def texts(some: Sequence[str]) -> str:
    """Write a list into a text."""
    return as_text([str(one) for one in some])


def read_texts(text: str) -> list[str]:
    """Read it again. Raises `BadRequest`."""
    found = of_text(text)
    if not isinstance(found, list):
        raise BadRequest("it is no list")
    return found
