"""Whose a job is, as its id tells, and what of a decision a key for a part of the fleet is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import codec
from common.errors import BadRequest, LedgerUnavailable, NoDispatcher, NotAllowed, UnknownJob
from common.keys import Grant, Scope
from common.subjects import is_token
from dispatcher.bridge.callers import Caller, Jobs, Part, first_known, granted, listed
from dispatcher.bridge.entry import chat_entry, entry
from dispatcher.bridge.presence import narrowed
from dispatcher.bridge.seeing import within
from dispatcher.routing import Ask, RoutingPolicy, explain
from dispatcher.routing.table import Table
from tests.unit.dispatcher.builders import ask, device, fleet, model

GRANT = Grant(key="k1234567", name="ann", tenant="acme", user="ann")
ANN, BOB = granted(GRANT), granted(replace(GRANT, user="bob"))
NAMES = st.one_of(st.text(min_size=1, max_size=80), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))


@given(NAMES)
def test_an_id_is_its_own_name_and_nobody_elses(name: str) -> None:
    """Whatever was chosen: a token with room for the number of a part, which its own user finds by name and by id, and which no
    name of anybody else leads to."""
    found = ANN.job(name)

    assert (True, True) == (is_token(found), len(found) <= 56 or found == name)
    assert found == ANN.job(found)
    assert found.endswith(ANN.mark)
    assert not BOB.job(name).endswith(ANN.mark)
    assert BOB.job(found) != found


@given(NAMES, NAMES)
def test_two_names_are_two_jobs(one: str, other: str) -> None:
    """Unless one is the id that the other got."""
    if one != other and ANN.mark not in one + other:
        assert ANN.job(one) != ANN.job(other)


def test_a_user_of_another_tenant_is_another() -> None:
    """And where nobody is told apart, ids are as they were chosen."""
    there = replace(ANN, tenant="evil")

    assert (False, "j1", "") == (there.mark == ANN.mark, Caller(tenant="acme").job("j1"), Caller(tenant="acme").mark)


@pytest.mark.parametrize(
    ("scope", "sees", "changes"),
    [(Scope.CHAT, False, False), (Scope.ROUTE, False, False), (Scope.FLEET, True, False), (Scope.ADMIN, True, True)],
)
def test_who_may_see_others_jobs_and_who_may_end_them(scope: Scope, sees: bool, changes: bool) -> None:
    """Reading is of who may see the fleet, the rest is an administrator's."""
    caller, theirs = granted(replace(GRANT, scopes=(scope,))), BOB.job("j1")

    assert (sees, changes) == (theirs in caller.jobs_to_see(theirs), theirs in caller.jobs_to_change(theirs))


@pytest.mark.parametrize("confined", [{"devices": ("nano",)}, {"models": ("tiny*",)}])
def test_who_sees_a_part_of_the_fleet_sees_its_own_jobs(confined: dict[str, Any]) -> None:
    """Others' tell where else they were tried; an administrator, who makes keys, sees all."""
    scopes = (Scope.CHAT, Scope.ROUTE, Scope.FLEET)
    part = granted(replace(GRANT, scopes=scopes, **confined))
    admin = granted(replace(GRANT, scopes=(Scope.ADMIN,), **confined))
    theirs = BOB.job("j1")

    assert (False, False, Part(**confined)) == (part.sees_all, part.oversees, part.part)
    assert (False, Jobs("acme", ANN.mark)) == (theirs in part.jobs_to_see(theirs), part.jobs_listed)
    assert (True, True, None, Jobs()) == (admin.sees_all, admin.oversees, admin.part, admin.jobs_listed)
    with pytest.raises(NotAllowed, match="part of the fleet"):
        listed(part, "other")
    with pytest.raises(NotAllowed, match="lacks the scope read:fleet"):
        listed(ANN, "other")


@given(NAMES)
def test_whoever_may_see_others_jobs_finds_its_own_first(name: str) -> None:
    """By the name that it chose; what runs under that very id comes behind it."""
    admin = granted(replace(GRANT, scopes=(Scope.ADMIN,)))
    own = ANN.job(name)

    assert [own] == list(ANN.jobs_to_see(name)) == list(ANN.jobs_to_change(name))
    assert list(dict.fromkeys([own, name])) == list(admin.jobs_to_see(name)) == list(admin.jobs_to_change(name))


async def test_the_first_id_that_is_known_counts() -> None:
    """And who knows none is told so of the last; what else goes wrong is told at once."""
    asked: list[str] = []

    async def ask(one: str) -> str:
        asked.append(one)
        if one == "away":
            raise LedgerUnavailable(one)
        if one == "nobody":
            raise NoDispatcher(one)
        if one.startswith("no"):
            raise UnknownJob(one)
        return one

    found = [await first_known(ids, ask) for ids in (("a", "b"), ("no", "b"), ("nobody", "b"), ("b",))]
    with pytest.raises(UnknownJob, match="none"):
        await first_known(("no", "none"), ask)
    with pytest.raises(NoDispatcher):
        await first_known(("no", "nobody"), ask)
    with pytest.raises(LedgerUnavailable):
        await first_known(("away", "b"), ask)

    assert ["a", "b", "b", "b"] == found
    assert ["a", "no", "b", "nobody", "b", "b", "no", "none", "no", "nobody", "away"] == asked


def test_headers_are_read_once_for_all() -> None:
    """The header's id wins over the body's; a conversation is refused by name where it would be ignored."""
    headers = {"x-drover-job": "mine", "x-drover-priority": "batch", "x-drover-conversation": "new"}
    come = chat_entry(ANN, headers, job="body")
    bare = entry(ANN, {}, job="body")
    with pytest.raises(BadRequest, match="x-drover-conversation means nothing here"):
        entry(ANN, headers)

    assert (ANN.job("mine"), True, "batch", "new") == (come.job, come.chosen, come.priority, come.talk)
    assert (ANN.job("body"), True, None) == (bare.job, bare.chosen, bare.talk)
    assert (False, True) == (entry(ANN, {}).chosen, entry(ANN, {}).job.endswith(ANN.mark))


HOUSE = fleet(
    device("nano", model("tiny:latest"), model("secret-model:8b", parameters_b=8.0)),
    device("hidden-orin", model("tiny:latest")),
    device("hidden-pi", model("secret-model:8b")),
)
KEPT = narrowed(HOUSE, models=("tiny*",), devices=("nano",))


def confined(wanted: Ask) -> Ask:
    return replace(wanted, allow_models=("tiny*",), allow_devices=("nano",))


@pytest.mark.parametrize("wanted", [ask(), ask("tiny:latest"), ask("secret-model:8b"), ask(device="hidden-orin")])
def test_a_key_is_told_nothing_of_what_it_may_not_use(wanted: Ask) -> None:
    """No name of another device or model is in what it is told, but those that it has named itself."""
    told = explain(confined(wanted), HOUSE, RoutingPolicy(), Table())
    seen = within(told, KEPT)
    text = codec.encode(seen).decode()
    named = {wanted.model, wanted.device}

    assert [] == [one for one in ("hidden-orin", "hidden-pi", "secret-model:8b") if one in text and one not in named]
    assert [one["device"] for one in told["options"]] == [one["device"] for one in seen["options"]]
    assert seen["removed_in_all"] == len(seen["removed"])


def test_why_shows_what_the_key_may_see_still() -> None:
    """A decision of before, when the key allowed more: what is closed to it now is left out, and the choice too."""
    told: dict[str, Any] = explain(ask("secret-model:8b"), HOUSE, RoutingPolicy(), Table())
    told |= {
        "cache": {"outcome": "hit", "source": {"device": "hidden-pi", "model": "secret-model:8b"}},
        "new_field": "hidden-pi",
    }
    seen = within({name: told[name] for name in told if name not in {"strategies", "changes"}}, KEPT)

    assert (None, [], {"outcome": "hit"}) == (seen["chosen"], seen["options"], seen["cache"])
    assert b"hidden" not in codec.encode(seen)
