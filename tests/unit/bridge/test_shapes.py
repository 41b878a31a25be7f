"""What is described of answers: the schemas that follow from types, and what a small fleet never shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, NotRequired

import pytest
from jsonschema_rs import Draft202012Validator
from typing_extensions import TypeAliasType, TypedDict

from common import codec, conversations, key_requests
from common.energy import Energy
from common.frames import End
from common.messages import Usage
from dispatcher.bridge.decisions import RouteTold
from dispatcher.bridge.openai.reply import receipt, usage_of
from dispatcher.bridge.openai.shapes import Receipt, ToldUsage
from dispatcher.bridge.schemas import Together, schemas
from dispatcher.outcomes import Cached, CacheOutcome, Cascaded, Delivered, Settled
from dispatcher.record.account import route
from dispatcher.routing import RoutingPolicy, decide, explain, unfold
from dispatcher.routing.ask import Caps
from dispatcher.routing.limits import Limit
from dispatcher.routing.strategies import STRATEGIES
from dispatcher.tariff import Rate
from tests.unit.dispatcher.builders import ask, attempt, candidate, device, fleet, job, model


@dataclass(frozen=True, slots=True, kw_only=True)
class Bee:
    """What is written of it leaves out what is absent."""

    name: str
    stripes: int = 5
    hive: str | None = None
    secret: str = ""


class Flight(TypedDict):
    """Where it flies."""

    height_m: float | None
    over: NotRequired[list[str]]


FlyingBee = TypeAliasType("FlyingBee", Annotated[Flight | Bee, Together(without=("secret",))])
Striped = TypeAliasType("Striped", Annotated[Flight | Bee, Together(only=("stripes",))])


def written(**kinds: Any) -> dict[str, Any]:
    return schemas({name: ("serialization", kind) for name, kind in kinds.items()})


@cache
def validator(kind: Any) -> Draft202012Validator:
    return Draft202012Validator({"$ref": "#/components/schemas/It", "components": {"schemas": written(It=kind)}})


def faults(kind: Any, body: Any) -> list[str]:
    """Say what in a body is not as its type has it."""
    return [one.message for one in validator(kind).iter_errors(body)]


def test_a_dataclass_is_described_as_it_is_written() -> None:
    """Each field has to be there but those that may be absent, which are never null; and there are no others."""
    found = written(Bee=Bee)["Bee"]
    bees = [codec.plain(Bee(name="Maja")), codec.plain(Bee(name="Willi", hive="home"))]

    assert (["name", "stripes", "secret"], {"type": "string"}) == (found["required"], found["properties"]["hive"])
    assert [[], []] == [faults(Bee, bee) for bee in bees]
    assert all(faults(Bee, bees[0] | wrong) for wrong in ({"hive": None}, {"stripes": "5"}, {"sting": 1}))


def test_two_types_can_stand_together() -> None:
    """With the fields of both, or with some of the second; the parts are not told of by themselves."""
    found = written(FlyingBee=FlyingBee, Striped=Striped)
    told = {name: (set(one["properties"]), set(one["required"])) for name, one in found.items()}

    assert {
        "FlyingBee": ({"name", "stripes", "hive", "height_m", "over"}, {"name", "stripes", "height_m"}),
        "Striped": ({"stripes", "height_m", "over"}, {"stripes", "height_m"}),
    } == told


def test_a_type_goes_by_the_name_that_its_route_gives_it() -> None:
    """Two of one name are told apart; what they hold is there, and all that is referred to."""
    found = written(KeyPage=key_requests.Listed, TalkPage=conversations.Page, OneListed=conversations.Listed)

    assert {"KeyPage", "TalkPage", "OneListed", "Grant", "Conversation"} <= found.keys()
    assert {"$ref": "#/components/schemas/OneListed"} == found["TalkPage"]["properties"]["conversations"]["items"]
    assert ["keys", "next"] == list(found["KeyPage"]["properties"])


def test_what_is_read_is_described_as_before() -> None:
    """A body may leave out what has a default, and say null."""
    found = schemas({"Bee": ("validation", Bee)})["Bee"]

    assert (["name"], {"type": "null"}) == (found["required"], found["properties"]["hive"]["anyOf"][1])


HOUSE = fleet(
    device("pi", idle_w=3.0, busy_w=10.0, site="home"),
    device("orin", model("llama3.1:8b", parameters_b=8.0, loaded=False), topics=("code",)),
    device("cloud", remote=True),
)
LIMITED = RoutingPolicy(
    limits=(Limit(name="all", watts=25.0),),
    caps=Caps(sites={"home": 100.0}),
    rate=Rate(per_kwh=0.3),  # and nobody says how many grams
)


@pytest.mark.parametrize("policy", [RoutingPolicy(), LIMITED])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_decision_is_as_described(strategy: str, policy: RoutingPolicy) -> None:
    """By any strategy, with limits on watts and without, in full and in short; also one that finds nobody."""
    asked = replace(ask(), strategy=strategy)
    told = [
        explain(asked, HOUSE, policy),
        explain(replace(asked, model="none:1b"), HOUSE, policy),
        unfold(decide(asked, HOUSE, policy, {}).brief()),
    ]

    assert [[], [], []] == [faults(RouteTold, codec.decode(codec.encode(one))) for one in told]


def test_an_account_with_all_that_there_can_be_is_as_described() -> None:
    """Attempts beside one another and paid ones, a cascade, what was saved, the cache, and energy; in the usage too."""
    took = Energy(joules=12.0, tokens=30, cost=0.1, currency="EUR", co2e_g=1.0)
    cascaded = Cascaded(
        weak=candidate("pi5"),
        escalated=True,
        score=0.9,
        threshold=0.5,
        by="rules",
        why="it refuses",
        faults={"refusal": 0.9},
        given="strong",
        usage=Usage(prompt_tokens=7, completion_tokens=3),
        strong=candidate("cloud"),
        instead="it was late",
    )
    delivered = Delivered(
        attempts=(
            attempt(1, "pi5", "device_lost", detail="gone"),
            attempt(2, "cloud", beside=True, cost_usd=0.1, energy=took),
        ),
        decision=Settled(
            strategy="cascade", leaders=(candidate(),), weights={"tokens": 1.0}, features={"kind": "code"}
        ),
        chosen=candidate("cloud"),
        end=End(cost_usd=0.1, cost_estimated=True),
        cascaded=cascaded,
        cached=Cached(
            outcome=CacheOutcome.HIT,
            kind="semantic",
            id="a",
            similarity=0.9,
            chance=0.8,
            age_s=3.0,
            source={"device": "pi5"},
            saved={"joules": 1.0},
            shadow={"would": True},
            why="alike",
        ),
        queue_s=0.1,
        first_token_s=0.2,
    )
    talk = {"id": "a", "told": 3, "left_out": 1, "summarised": True, "kept": False, "why": "ledger_unavailable"}
    account = {**route(job(), delivered, total_s=1.0), "replayed": True, "conversation": talk}
    end = End(route=account, energy=took)

    assert ([], []) == (faults(Receipt, receipt("j", end)), faults(ToldUsage, usage_of(end)))
    assert Receipt.__annotations__.keys() - receipt("j", end).keys() <= {"saved_usd", "saved_against"}
