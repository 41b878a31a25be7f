"""Why a job goes where it goes, on a bus: explaining, asking after the fact, rules of tenants, files that change, conversations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from common import codec
from common.client import Drover
from common.errors import BadRequest, BusTimeout, UnknownJob, UnknownModel
from common.messages import ChatRequest, DeviceState, ModelInfo
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House
from tests.integration.dispatcher.scripted import PATIENCE_S, Hold, answer, until
from tests.provider_process import GUEST_KEY

WEAK = ModelInfo(name="weak:1b", size_bytes=10**9, loaded=True, parameters_b=1.0)
STRONG = ModelInfo(name="strong:70b", size_bytes=4 * 10**10, loaded=True, parameters_b=70.0)
HOT = {"temperature_c": 85.0}


async def explained(house: House, tenant: str = "default", **fields: Any) -> dict[str, Any]:
    """Ask the door as a bare producer does."""
    question = codec.encode({"prompt": "hi", **fields})
    reply = await house.world.request(house.subjects.work("route", tenant), question, timeout_s=PATIENCE_S)
    return codec.decode(reply.data)


async def route(house: House, **fields: Any) -> dict[str, Any]:
    """Run a job to its end and give its account."""
    stream = await house.ask(**fields)
    return dict((await stream.reply())["route"])


def rewrite(path: Path, text: str, second: int) -> None:
    """Write a file with a time of its own."""
    path.write_text(text)
    os.utime(path, (second, second))


async def test_explaining_runs_nothing(a_house: OpenHouse) -> None:
    """All devices are told, or the filter that keeps them out; none of them hears of it, and no job is told."""
    async with a_house() as house:
        nano = await house.device("nano", answer("hi"))
        orin = await house.device("orin", answer("hi"), models=(STRONG,), state=DeviceState.FAULTY, reason="no disk")
        told = await explained(house)
        await house.bus.flush()

        assert ("nano", [("orin", "health", "it is faulty: no disk")]) == (
            told["chosen"]["device"],
            [(one["device"], one["filter"], one["reason"]) for one in told["removed"]],
        )
        assert ([], [], [], 0) == (nano.attempts, orin.attempts, house.job_events, house.pipeline.tally.jobs)


async def test_what_is_explained_is_what_is_done(a_house: OpenHouse) -> None:
    """The job behind the question goes where the explanation says, whatever the strategy."""
    async with a_house() as house:
        for name, models in (("a", (WEAK,)), ("b", (STRONG,)), ("c", (WEAK, STRONG))):
            await house.device(name, answer("hi"), models=models)
        pairs = []
        for strategy in ("hybrid", "energy:eco", "token", "round_robin", "round_robin", "least_loaded", "heuristic"):
            told = (await explained(house, strategy=strategy))["chosen"]
            done = await route(house, strategy=strategy)
            pairs.append(((told["device"], told["model"]), (done["device"], done["model"])))

        assert [told for told, _ in pairs] == [done for _, done in pairs]
        assert len({done for _, done in pairs}) > 1  # they are not all of one mind


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"strategy": "best"}, "bad_request"),
        ({"strategy": "energy:warm"}, "bad_request"),
        ({"prompt": ""}, "bad_request"),
    ],
)
async def test_a_wrong_question_is_told_so(a_house: OpenHouse, fields: dict[str, Any], code: str) -> None:
    """The explanation of what would be refused is the refusal."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        told = await explained(house, **fields)

        assert code == told["error"]["code"]


async def test_where_nobody_can_the_error_and_the_filters_are_told(a_house: OpenHouse) -> None:
    """A model that there is not: every device is out for it."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        told = await explained(house, model="nope:1b")

        assert ("unknown_model", ["model"]) == (told["error"]["code"], [one["filter"] for one in told["removed"]])


async def test_a_job_can_be_asked_for_afterwards(a_house: OpenHouse) -> None:
    """`why` tells the decision of a job that ran here, and for any other one that nobody knows it."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        done = await route(house, job="job-7", strategy="perf")
        told = await house.order("job-7", "why")
        strange = await house.order("job-8", "why")

        assert ("job-7", "perf", done["device"], done["reason"], done["score"]) == (
            told["job"],
            told["strategy"],
            told["chosen"]["device"],
            told["chosen"]["reason"],
            told["options"][0]["score"],
        )
        assert strange["error"]["code"] == "unknown_job"


async def test_the_client_asks_both(a_house: OpenHouse) -> None:
    """`Drover.explain` and `Drover.why` give what the doors tell, and raise what they refuse with."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        await route(house, job="job-7")
        async with Drover.over(house.world) as drover:
            told = await drover.explain(ChatRequest(prompt="hi"), timeout_s=PATIENCE_S)
            why = await drover.why("job-7", timeout_s=PATIENCE_S)
            nobody = await drover.explain(ChatRequest(prompt="hi", model="nope:1b"), timeout_s=PATIENCE_S)
            with pytest.raises(BadRequest, match="no strategy"):
                await drover.explain(ChatRequest(prompt="hi", strategy="best"), timeout_s=PATIENCE_S)
            with pytest.raises(UnknownJob):
                await drover.why("job-8", timeout_s=PATIENCE_S)

        assert ("nano", "nano", UnknownModel.code) == (
            told["chosen"]["device"],
            why["chosen"]["device"],
            nobody["error"]["code"],
        )


async def test_a_dispatcher_that_hangs_is_told_with_a_way_out(a_house: OpenHouse) -> None:
    """Somebody listens and nobody answers: the error says so, and names no subject."""
    async with a_house() as house:
        await house.world.subscribe("other.v1.route.default", lambda _: None)
        async with Drover.over(house.world, prefix="other.v1") as drover:
            with pytest.raises(BusTimeout, match=r"none answered within 0\.1 s: .* restart it"):
                await drover.explain(ChatRequest(prompt="hi"), timeout_s=0.1)


# -- rules ------------------------------------------------------------------------------------------------------------------

RULES = """
strategy = "token:5"
[tenants.alice]
strategy = "energy:eco"
models = ["weak*"]
[tenants.bob]
devices = ["orin"]
[tenants.carol]
devices = ["nowhere"]
"""


async def test_tenants_have_rules_of_their_own(a_house: OpenHouse, tmp_path: Path) -> None:
    """A tenant's strategy, models and devices hold for it alone; what the request asks for goes before the tenant's strategy."""
    (tmp_path / "rules.toml").write_text(RULES)
    async with a_house(routing=RoutingSection(file=str(tmp_path / "rules.toml"))) as house:
        await house.device("nano", answer("hi"), models=(WEAK, STRONG))
        await house.device("orin", answer("hi"), models=(WEAK, STRONG))
        told = {who: await explained(house, who) for who in ("alice", "bob", "carol", "dora")}
        own = await explained(house, "alice", strategy="perf")

        assert {"alice": "energy:eco", "bob": "token:5", "carol": "token:5", "dora": "token:5"} == {
            who: one["strategy"] for who, one in told.items()
        }
        assert ({"weak:1b"}, {"orin"}, "perf") == (
            {one["model"] for one in told["alice"]["options"]},
            {one["device"] for one in told["bob"]["options"]},
            own["strategy"],
        )
        assert told["carol"]["error"]["code"] == "not_allowed"


async def test_a_job_that_its_tenant_may_not_run_is_refused(a_house: OpenHouse, tmp_path: Path) -> None:
    """What is forbidden is not only advised against."""
    (tmp_path / "rules.toml").write_text('[tenants.default]\nmodels = ["weak*"]')
    async with a_house(routing=RoutingSection(file=str(tmp_path / "rules.toml"))) as house:
        orin = await house.device("orin", answer("hi"), models=(STRONG,))
        stream = await house.stream(model="strong:70b")
        error = await stream.error()

        assert ("not_allowed", []) == (error.error.code, orin.attempts)


async def test_a_hot_device_is_capped(a_house: OpenHouse, tmp_path: Path) -> None:
    """Above the owner's cap a device gets nothing, and below it everything again."""
    (tmp_path / "rules.toml").write_text("[caps]\ncelsius = 80")
    async with a_house(routing=RoutingSection(file=str(tmp_path / "rules.toml"))) as house:
        nano = await house.device("nano", answer("hi"), **HOT)
        hot = await explained(house)
        await house.beat(nano, temperature_c=60.0)
        cool = await explained(house)

        assert ("heat", "nano") == (hot["removed"][0]["filter"], cool["chosen"]["device"])


async def test_the_routing_file_is_read_again(a_house: OpenHouse, tmp_path: Path) -> None:
    """What the owner writes holds within moments, without a restart; a wrong file changes nothing, and harms nobody."""
    path = tmp_path / "rules.toml"
    rewrite(path, 'strategy = "perf"', 1_000_000_000)
    async with a_house(routing=RoutingSection(file=str(path))) as house:
        await house.device("nano", answer("hi"))
        rules = house.pipeline.router.rules
        before = (await explained(house))["strategy"]
        rewrite(path, 'strategy = "random"', 1_000_000_001)
        await until(lambda: rules.policy.strategy == "random", "the file is read again")
        after = (await explained(house))["strategy"]
        with capture_logs() as lines:
            rewrite(path, "strategy = " + "[" * 50_000, 1_000_000_002)
            await until(lambda: any(line["event"] == "policy.refused" for line in lines), "the wrong file is looked at")
        wrong = (await explained(house))["strategy"]

        assert ("perf", "random", "random") == (before, after, wrong)


# -- conversations ----------------------------------------------------------------------------------------------------------

LONG = "tell me a story " * 2000


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]


async def test_a_conversation_stays_where_it_was_read(a_house: OpenHouse) -> None:
    """The second turn goes where the first one was answered, though a cooler device has come since; a new one goes to that."""
    async with a_house() as house:
        await house.device("warm", answer("once"), temperature_c=74.0)
        first = await route(house, prompt=LONG)
        await house.device("cool", answer("once"))
        second = await route(house, prompt=None, messages=turns(LONG, "once", "go on"))
        other = await route(house, prompt=None, messages=turns(LONG.replace("story", "joke"), "once", "go on"))

        assert ("warm", "warm", "cool") == (first["device"], second["device"], other["device"])


async def test_a_conversation_yields_to_load(a_house: OpenHouse) -> None:
    """Where the first turn was answered another job holds the slot: the second one does not wait for it."""
    async with a_house() as house:
        hold = Hold("x")
        await house.device("warm", answer("once"), hold, answer("more"))
        first = await route(house, prompt=LONG)
        held = await house.stream("hold")
        await hold.reached.wait()
        await house.device("cool", answer("once"))
        second = await route(house, prompt=None, messages=turns(LONG, "once", "go on"))
        hold.released.set()
        await held.end()

        assert ("warm", "cool") == (first["device"], second["device"])


async def test_explaining_a_conversation_changes_nothing(a_house: OpenHouse) -> None:
    """An explained turn is no turn: the rota and the memory of conversations stay as they are."""
    async with a_house() as house:
        for name in ("a", "b", "c"):
            await house.device(name, answer("hi"))
        for _ in range(5):
            await explained(house, strategy="round_robin")
        jobs = [(await route(house, strategy="round_robin"))["device"] for _ in range(3)]
        told = [(await explained(house, strategy="round_robin"))["chosen"]["device"] for _ in range(3)]

        assert {"a", "b", "c"} == set(jobs)
        assert [jobs[0]] * 3 == told


# -- the record, and money --------------------------------------------------------------------------------------------------

PAID = ModelInfo(
    name="gpt-4o-mini:latest",
    loaded=True,
    input_usd_per_mtok=1.0,
    output_usd_per_mtok=2.0,
    capabilities=("completion",),
)


async def test_the_event_of_a_job_tells_its_decision(a_house: OpenHouse) -> None:
    """Strategy, weights, options with their figures, and who was out and why, in less than 8 KiB."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        await house.device("orin", answer("hi"), state=DeviceState.FAULTY, reason="no disk")
        await route(house, job="job-7")
        event = await house.event("job-7")
        told = event["decision"]

        assert ("hybrid", "nano", 1, "it is faulty: no disk") == (
            told["strategy"],
            told["options"][0][0],
            told["options_in_all"],
            told["removed"][0]["reason"],
        )
        assert len(codec.encode(event)) < 8192


async def test_what_stays_at_home_says_what_it_saved(a_house: OpenHouse) -> None:
    """7 tokens in and 1 out at $1 and $2 a million: the answer's route and the job's event tell it, and against what."""
    async with a_house() as house:
        await house.device("nano", answer("hi"))
        await house.device("cloud", answer("hi"), models=(PAID,), remote=True)
        done = await route(house, job="job-7")
        event = await house.event("job-7")

        assert ("nano", "gpt-4o-mini:latest@cloud") == (done["device"], done["saved_against"])
        assert (pytest.approx(9e-6), pytest.approx(9e-6)) == (done["saved_usd"], event["saved_usd"])
        assert ("gpt-4o-mini:latest@cloud", pytest.approx(9e-6)) == (event["saved_against"], event["cloud_usd"])


async def test_a_job_with_a_limit_is_refused_what_is_dearer(a_house: OpenHouse) -> None:
    """Where only the cloud could answer and it costs more than the job may, the error says so, and nothing is sent there."""
    async with a_house() as house:
        paid = await house.device("cloud", answer("hi"), models=(PAID,), remote=True)
        error = await (await house.stream(max_cost_usd=0.0)).error()
        done = await route(house, max_cost_usd=0.01)

        assert ("too_dear", "max_cost_usd", True, "cloud", 1) == (
            error.error.code,
            error.error.details["param"],
            "and the job may cost $0" in error.error.message,
            done["device"],
            len(paid.attempts),
        )


async def test_a_key_goes_to_paid_models_alone(a_house: OpenHouse) -> None:
    """The provider's device gets it with the attempt; one in the house does not, and no event has it."""
    async with a_house() as house:
        nano = await house.device("nano", answer("hi"))
        paid = await house.device("cloud", answer("hi"), models=(PAID,), remote=True)
        for number, device in enumerate(("nano", "cloud")):
            await route(house, job=f"job-{number}", device=device, provider_key=GUEST_KEY)
        event = await house.event("job-1")

        assert [None, GUEST_KEY] == [one.attempts[0].dispatch.provider_key for one in (nano, paid)]
        assert GUEST_KEY not in str(event)


@pytest.mark.parametrize("key", ["", "two words", "k" * 257, "schlüssel", 5555555, ["sk-1234567890"]])
async def test_what_can_be_no_key_is_refused_and_not_quoted(a_house: OpenHouse, key: object) -> None:
    """The error names the field, says what a key is, and keeps what came to itself."""
    async with a_house() as house:
        error = (await (await house.stream(provider_key=key)).error()).error

        assert ("bad_request", "provider_key") == (error.code, error.details["param"])
        assert "1 to 256 printable ASCII characters" in error.message
        assert not str(key) or str(key)[:12] not in error.message


async def test_the_cloud_can_be_closed(a_house: OpenHouse, tmp_path: Path) -> None:
    """`DROVER_CLOUD=never` keeps everything in the house, and a tenant's rule may open it."""
    (tmp_path / "rules.toml").write_text('[tenants.alice]\ncloud = "preferred"')
    async with a_house(routing=RoutingSection(cloud="never", file=str(tmp_path / "rules.toml"))) as house:
        await house.device("nano", answer("hi"))
        await house.device("cloud", answer("hi"), models=(PAID,), remote=True)
        told = await explained(house, model=PAID.name)
        open_to = await explained(house, "alice")

        assert ("not_allowed", "cloud") == (told["error"]["code"], open_to["chosen"]["device"])


async def test_a_full_house_overflows_into_an_open_cloud(a_house: OpenHouse) -> None:
    """While the local slots are taken an allowed cloud answers at once: waiting is not cheaper for whoever waits."""
    async with a_house() as house:
        hold = Hold("x")
        await house.device("nano", hold)
        held = await house.stream("hold")
        await hold.reached.wait()
        await house.device("cloud", answer("hi"), models=(PAID,), remote=True)
        done = await route(house)
        hold.released.set()
        await held.end()

        assert done["device"] == "cloud"
