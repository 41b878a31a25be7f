"""An agent for paid models as a process on a real bus: what it says of itself, and what its jobs cost."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.messages import DeviceState
from tests.agent_process import Device, agent_environment, agent_process, device_seen
from tests.commands import started
from tests.integration.agents.rigs import bus_on
from tests.integration.agents.test_openai_backend import RATE_LIMITED
from tests.nats_server import NatsServer, nats_server
from tests.provider_process import KEY, ProviderProcess, provider

MODEL = "gpt-small"
ANSWER_USD = 0.002


@dataclass(frozen=True, slots=True)
class Rig:
    """A provider, and an agent for it that is being started."""

    nats: NatsServer
    provider: ProviderProcess
    device: Device
    knobs: dict[str, str]


@asynccontextmanager
async def no_agent(state: Path, **environment: str) -> AsyncIterator[Rig]:
    """All but the agent."""
    async with provider() as one, nats_server() as nats, bus_on(nats) as bus, device_seen(bus, "cloud") as device:
        knobs = {
            "DROVER_BACKEND": "openai",
            "DROVER_CLOUD_MODELS": f"{MODEL}=1/2 8k",
            "DROVER_STATE_DIR": str(state),
            "DROVER_POLL_S": "0.3",
            "OPENAI_BASE_URL": one.base_url,
            "OPENAI_API_KEY": KEY,
        }
        yield Rig(nats, one, device, knobs | environment)


@asynccontextmanager
async def rig(state: Path, **environment: str) -> AsyncIterator[Rig]:
    async with no_agent(state, **environment) as standing, agent_process(standing.nats.url, "cloud", **standing.knobs):
        await standing.device.until(lambda beat: beat.state is not DeviceState.STARTING, ever=True)
        yield standing


async def test_it_says_that_its_models_are_elsewhere_and_what_they_cost(tmp_path: Path) -> None:
    """Remote, with prices, eight slots, and no memory or heat of a machine that runs none of it."""
    async with rig(tmp_path) as standing:
        beat = await standing.device.until(lambda beat: beat.state is DeviceState.READY)
        [model] = beat.models

        assert (beat.backend, beat.remote, beat.continues, beat.slots) == ("openai", True, False, 8)
        assert (beat.memory_total_bytes, beat.temperature_c) == (None, None)
        assert (model.name, model.loaded, model.context_tokens) == (MODEL, True, 8000)
        assert (model.input_usd_per_mtok, model.output_usd_per_mtok) == (1.0, 2.0)


async def test_a_job_s_end_tells_its_cost(tmp_path: Path) -> None:
    """A job like any other, and what it cost in its last frame."""
    async with rig(tmp_path) as standing:
        stream = await standing.device.send(model=MODEL)
        end = await stream.until("end")

        assert (stream.text, end["cost_usd"], end["usage"]["total_tokens"]) == (
            "Hello from the cloud",
            ANSWER_USD,
            1500,
        )


SHORT = {"options": {"max_tokens": 500}}
"""At most 0.001 dollars for the answer, and its prompt."""


async def test_a_spent_budget_makes_it_faulty_also_after_a_restart(tmp_path: Path) -> None:
    """Routing leaves it out and says why; who sends a job all the same is refused."""
    async with no_agent(tmp_path, DROVER_CLOUD_BUDGET_USD="0.002") as standing:
        async with agent_process(standing.nats.url, "cloud", **standing.knobs):
            await standing.device.until(lambda beat: beat.state is DeviceState.READY, ever=True)
            await (await standing.device.send(model=MODEL, **SHORT)).until("end")
            faulty = await standing.device.until(lambda beat: beat.state is DeviceState.FAULTY)
            refused = await (await standing.device.send(model=MODEL, **SHORT)).until("err")
        async with agent_process(standing.nats.url, "cloud", **standing.knobs):
            again = await standing.device.until(
                lambda beat: beat.boot != faulty.boot and beat.state is DeviceState.FAULTY
            )

        assert "raise DROVER_CLOUD_BUDGET_USD" in (faulty.reason or "")
        assert (again.reason, again.slots) == (faulty.reason, 0)
        assert (refused["code"], refused["retry"]) == ("budget", True)
        assert (await standing.provider.state())["asked"] == 1


async def test_a_job_that_is_too_dear_for_the_budget_is_refused_before_it_is_accepted(tmp_path: Path) -> None:
    """8,000 tokens may come; a job that asks for few is taken."""
    async with rig(tmp_path, DROVER_CLOUD_BUDGET_USD="0.01") as standing:
        dear = await standing.device.send(model=MODEL)
        refused = await dear.until("err")
        short = await standing.device.send(model=MODEL, **SHORT)
        await short.until("end")

        assert (dear.kinds[0], refused["code"], "up to 0.016" in refused["message"]) == ("err", "budget", True)


async def test_an_answer_in_the_middle_of_which_the_agent_is_killed_is_paid_for(tmp_path: Path) -> None:
    """By what was held for it, which stood in the file before the request was sent; the next agent books it, and says that the
    budget is spent."""
    async with no_agent(tmp_path, DROVER_CLOUD_BUDGET_USD="0.0012") as standing:
        await standing.provider.order({"texts": ["word " * 3000], "then": "hold"})
        async with agent_process(standing.nats.url, "cloud", **standing.knobs) as agent:
            await standing.device.until(lambda beat: beat.state is DeviceState.READY, ever=True)
            await (await standing.device.send(model=MODEL, **SHORT)).until("tok")
            agent.signal(signal.SIGKILL)
            await standing.provider.until(lambda state: state["hung_up"] == 1)
        killed = codec.decode((tmp_path / "cloud-cloud.json").read_bytes())
        async with agent_process(standing.nats.url, "cloud", **standing.knobs):
            refused = await _refused(standing.device)
        booked = codec.decode((tmp_path / "cloud-cloud.json").read_bytes())

        assert killed["held_usd"] > 0.001
        assert (booked["total_usd"], booked["held_usd"]) == (killed["total_usd"] + killed["held_usd"], 0.0)
        assert "raise DROVER_CLOUD_BUDGET_USD" in refused["message"]


async def _refused(device: Device) -> dict[str, Any]:
    """Send a job as soon as a new life of the device takes any, and give its error."""
    boot = device.heartbeats[-1].boot
    await device.until(lambda beat: beat.boot != boot and beat.state is not DeviceState.STARTING, ever=True)
    return await (await device.send(model=MODEL, **SHORT)).until("err")


async def test_what_a_cancelled_job_has_cost_is_told_with_its_error(tmp_path: Path) -> None:
    """As the estimate that it is."""
    async with rig(tmp_path) as standing:
        await standing.provider.order({"texts": ["word " * 3000], "then": "hold"})
        stream = await standing.device.send(model=MODEL, job="j1")
        await stream.until("tok")
        await standing.device.ask("cancel", codec.encode({"job": "j1"}))
        details = (await stream.until("err"))["details"]

        assert (details["cost_usd"] > 0.004, details["cost_estimated"]) == (True, True)


async def test_a_used_up_rate_limit_leaves_no_slot(tmp_path: Path) -> None:
    """The heartbeat says so, and who sends a job all the same is told when to come again."""
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0s"}
    async with rig(tmp_path) as standing:
        await standing.provider.order({"headers": headers})
        await (await standing.device.send(model=MODEL)).until("end")
        beat = await standing.device.until(lambda beat: beat.slots == 0 and beat.in_flight == 0)
        refused = await (await standing.device.send(model=MODEL)).until("err")

        assert beat.state is DeviceState.READY
        assert (refused["code"], 0 < refused["retry_after_s"] <= 60) == ("busy", True)


async def test_slots_come_back_with_the_quota(tmp_path: Path) -> None:
    """Half a second of pause, and the next heartbeat has room again."""
    async with rig(tmp_path, DROVER_CLOUD_RETRIES="0") as standing:
        await standing.provider.order(RATE_LIMITED | {"headers": {"retry-after-ms": "500"}})
        failed = await (await standing.device.send(model=MODEL)).until("err")
        await standing.device.until(lambda beat: beat.slots == 0, ever=True)
        await standing.device.until(lambda beat: beat.slots == 8)

        assert failed["code"] == "busy"


@pytest.mark.parametrize("order", [{"texts": ["Once"], "then": "hold"}, {"raw": [], "then": "hold"}, {"mute": True}])
async def test_a_cancelled_job_hangs_up_at_once(tmp_path: Path, order: dict[str, object]) -> None:
    """In the middle of the text, before it, and before the provider has said anything: no slot is held for what would go on."""
    async with rig(tmp_path) as standing:
        await standing.provider.order(order)
        stream = await standing.device.send(model=MODEL, job="j1")
        await (stream.until("tok") if "texts" in order else standing.provider.until(lambda state: state["asked"] == 1))
        await standing.device.ask("cancel", codec.encode({"job": "j1"}))
        await stream.until("err")
        await standing.provider.until(lambda state: state["hung_up"] == 1)
        beat = await standing.device.until(lambda beat: beat.in_flight == 0)

        assert (stream.error, beat.jobs_by_dispatcher) == ("cancelled", {})


async def test_a_refused_key_is_a_reason_and_no_secret(tmp_path: Path) -> None:
    """Faulty, with the way out; the key stands in no heartbeat, no frame and no line of the log, however much is logged."""
    key = "sk-wrong-abcdefghijklmnop"
    async with AsyncExitStack() as stack:
        standing = await stack.enter_async_context(no_agent(tmp_path, OPENAI_API_KEY=key))
        environment = agent_environment(standing.nats.url, "cloud", LOG_LEVEL="DEBUG", **standing.knobs)
        agent = await stack.enter_async_context(
            started(sys.executable, "-m", "agents", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE)
        )
        beat = await standing.device.until(lambda beat: beat.state is DeviceState.FAULTY, ever=True)
        stream = await standing.device.send(model=MODEL)
        await stream.until("err")
        agent.terminate()
        _, logged = await agent.communicate()

        assert "set OPENAI_API_KEY" in (beat.reason or "")
        told = [*(repr(one) for one in standing.device.heartbeats), *map(repr, stream.raw), logged.decode()]
        assert [text for text in told if "abcdefgh" in text or "mnop" in text] == []
        assert "backend.faulty" in logged.decode()


async def test_without_its_package_it_says_what_to_install(tmp_path: Path) -> None:
    """A device that was installed without the extra `cloud`."""
    (tmp_path / "openai.py").write_text("raise ImportError('No module named openai')")
    environment = agent_environment("nats://127.0.0.1:1", "cloud", DROVER_BACKEND="openai")
    # before all other places, as if nothing else were there
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    async with started(
        sys.executable,
        "-c",
        "from agents.backends import open_backend; from agents.settings import AgentSettings; "
        "from common.settings import load; open_backend(load(AgentSettings), None)",
        cwd=tmp_path,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    ) as process:
        _, said = await process.communicate()

    assert "install drover with the extra cloud" in said.decode()
