"""Programs that speak OpenAI's API by libraries of their own: LangChain and `llm`, each whole, in a stream, and with tools."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from common import vectors
from common.messages import ToolCall
from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

HANG_S = 60.0
CALL = ToolCall(name="weather", arguments={"city": "Bern"}, id="call_7")
TOOL = {
    "name": "weather",
    "description": "now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def call(job: ScriptedJob) -> None:
    """Want a function called, until it has been."""
    await job.ack()
    await job.route()
    if job.request["messages"][-1]["role"] == "tool":
        await job.token(f"It said {job.request['messages'][-1]['content']}")
        await job.end()
    else:
        await job.end(tool_calls=(CALL,))


@pytest_asyncio.fixture(loop_scope="module")
async def options(bridge: BridgeProcess) -> AsyncIterator[dict[str, Any]]:
    """How LangChain's models reach the bridge: by connections of their own, since those that they share are never closed."""
    async with openai.DefaultAsyncHttpxClient(timeout=HANG_S) as web:
        base = {"base_url": f"{bridge.url}/v1", "api_key": SecretStr("none"), "max_retries": 0}
        yield {**base, "http_async_client": web}


@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_asks(options: dict[str, Any], responses: bool) -> None:
    """Whole and in a stream, through the chat API and through responses."""
    model = ChatOpenAI(model="auto", use_responses_api=responses, **options)
    whole = await model.ainvoke("hi")
    pieces = [piece.text async for piece in model.astream("hi")]

    assert (whole.text, "".join(pieces), whole.usage_metadata and whole.usage_metadata["total_tokens"]) == (
        "Hello there!",
        "Hello there!",
        10,
    )


@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_calls_a_tool(options: dict[str, Any], fleet: ScriptedFleet, responses: bool) -> None:
    """The call comes apart, and what the tool gave goes back with its name, through either API."""
    fleet.script = call
    model = ChatOpenAI(model="auto", use_responses_api=responses, **options).bind_tools(
        [{"type": "function", "function": TOOL}]
    )
    asked = HumanMessage("Weather?")
    called = await model.ainvoke([asked])
    assert isinstance(called, AIMessage)
    answer = await model.ainvoke([asked, called, ToolMessage("sun", tool_call_id="call_7")])
    second = [fleet.jobs.get_nowait() for _ in range(2)][1].request["messages"][-1]

    assert (
        [(one["name"], one["args"], one["id"]) for one in called.tool_calls],
        answer.text,
        second["tool_name"],
    ) == ([("weather", {"city": "Bern"}, "call_7")], "It said sun", "weather")


async def test_langchain_embeds(options: dict[str, Any], fleet: ScriptedFleet) -> None:
    """Text for text, when it is told not to cut them into token numbers by a tokenizer that is not the model's."""

    async def script(job: ScriptedJob) -> None:
        await job.embed(*(vectors.pack([0.5, len(text)]) for text in job.request["inputs"]))

    fleet.script = script
    model = OpenAIEmbeddings(model="embed-small", check_embedding_ctx_length=False, **options)

    assert await model.aembed_documents(["a", "bcd"]) == [[0.5, 1.0], [0.5, 3.0]]


async def llm(bridge: BridgeProcess, *arguments: str) -> str:
    """Run the command of `llm` with a configuration of its own, and give what it writes."""
    with tempfile.TemporaryDirectory(prefix="drover-llm-") as home:
        models = [
            {"model_id": "fleet", "model_name": "auto", "api_base": f"{bridge.url}/v1", "supports_tools": True},
        ]
        (Path(home) / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
        (Path(home) / "keys.json").write_text(json.dumps({"openai": "none"}))
        plain = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TMPDIR")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "import sys; from llm.cli import cli; sys.exit(cli())", *arguments),
            env={**plain, "LLM_USER_PATH": home, "HOME": home, "LLM_LOAD_PLUGINS": ""},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(HANG_S):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return out.decode().strip()


@pytest.mark.parametrize("how", [[], ["--no-stream"]])
async def test_llm_asks(bridge: BridgeProcess, how: list[str]) -> None:
    """By its own file of extra models, in a stream, as it does by default, and whole."""
    assert await llm(bridge, "prompt", "-m", "fleet", *how, "hi") == "Hello there!"


async def test_llm_calls_a_tool(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """It runs its function, and gives the fleet what that said."""
    fleet.script = call
    function = "def weather(city: str) -> str:\n    return 'sun in ' + city\n"

    assert await llm(bridge, "prompt", "-m", "fleet", "--functions", function, "Weather?") == "It said sun in Bern"
