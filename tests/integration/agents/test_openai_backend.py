"""The backend for paid models against a provider in a process of its own that answers as it is ordered to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.backends import Backend, BackendDone, BackendText, Bill, Version
from agents.backends.openai import open_openai
from agents.settings import CloudSection
from common import codec
from common.errors import (
    BackendError,
    BadRequest,
    BudgetSpent,
    ConfigError,
    ContextTooLong,
    DeviceBusy,
    FleetError,
    GarbledReply,
    UnknownModel,
)
from common.messages import Dispatch, Message, Options, Role, ToolCall
from common.prompts import prompt_tokens
from tests.provider_process import GUEST_KEY, KEY, ProviderProcess, provider

MODELS = "gpt-small=1/2/0.5 8k vision tools json, gpt-large=3/10"
ANSWER_USD = 0.002  # 1,000 tokens at 1 and 500 at 2 dollars per million, as the provider counts by default

RATE_LIMITED = {
    "status": 429,
    "error": {
        "message": "Rate limit reached",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    },
}
NO_CREDIT = {
    "status": 429,
    "error": {"message": "No quota", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"},
}
OVERLOADED = {
    "status": 503,
    "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None},
}


@dataclass(frozen=True, slots=True)
class Rig:
    """A provider, and a backend that talks to it."""

    provider: ProviderProcess
    backend: Backend
    account: Path

    async def ask(self, model: str = "gpt-small", **fields: Any) -> tuple[str, BackendDone]:
        """Have a chat; gives the text and the end."""
        text, done, _ = await self.billed(model, **fields)
        return text, done

    async def billed(self, model: str = "gpt-small", **fields: Any) -> tuple[str, BackendDone, Bill]:
        """The same, with what it costs."""
        wanted = dispatch(model, **fields)
        with self.backend.admit(wanted) as bill:
            pieces = [piece async for piece in self.backend.chat(wanted, bill)]
        assert isinstance(pieces[-1], BackendDone)
        return "".join(piece.text for piece in pieces if isinstance(piece, BackendText)), pieces[-1], bill

    async def failed(self, model: str = "gpt-small", **fields: Any) -> tuple[FleetError, Bill]:
        """Have a chat that fails; gives the error, and what it costs all the same."""
        wanted = dispatch(model, **fields)
        with pytest.raises(FleetError) as caught, self.backend.admit(wanted) as bill:
            async for _ in self.backend.chat(wanted, bill):
                pass
        return caught.value, bill

    @property
    def spent_usd(self) -> float:
        """What the file says."""
        return float(codec.decode(self.account.read_bytes())["total_usd"])


def dispatch(model: str = "gpt-small", **fields: Any) -> Dispatch:
    turns = fields.pop("messages", (Message(role=Role.USER, content="hi"),))
    return Dispatch(job="j", attempt=1, dispatcher="d", model=model, messages=turns, **fields)


NOWHERE = "http://127.0.0.1:9/v1"
"""The discard port: nothing is there."""


def section(state_dir: Path, **fields: Any) -> CloudSection:
    known = {"models": MODELS, "base_url": NOWHERE, "api_key": KEY, "state_dir": state_dir, "silence_s": 20.0}
    return CloudSection.model_validate(known | fields)


@asynccontextmanager
async def rig(state_dir: Path, **fields: Any) -> AsyncIterator[Rig]:
    async with (
        provider() as one,
        open_openai(section(state_dir, base_url=one.base_url, **fields), device="cloud") as backend,
    ):
        yield Rig(one, backend, state_dir / "cloud-cloud.json")


async def test_an_answer_and_what_it_costs(tmp_path: Path) -> None:
    """The text, the tokens that the provider counted, and their price, which the account remembers."""
    async with rig(tmp_path) as standing:
        text, done, bill = await standing.billed()

        assert (text, done.usage.total_tokens, bill.usd) == ("Hello from the cloud", 1500, pytest.approx(ANSWER_USD))
        assert not bill.estimated
        assert standing.spent_usd == pytest.approx(ANSWER_USD)


async def test_the_request_is_streamed_and_counted(tmp_path: Path) -> None:
    """The key goes as a bearer token, the usage is asked for, tools and the form of the answer go along."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    async with rig(tmp_path) as standing:
        await standing.ask(tools=(tool,), format="json")
        seen = (await standing.provider.state())["seen"][-1]

        assert seen["headers"]["authorization"] == f"Bearer {KEY}"
        assert seen["body"] == {
            "model": "gpt-small",
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [tool],
            "response_format": {"type": "json_object"},
            "stream": True,
            "stream_options": {"include_usage": True},
        }


async def test_called_functions_arrive(tmp_path: Path) -> None:
    """Whole, with their ids."""
    deltas = [
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"cats"}'}}]},
    ]
    async with rig(tmp_path) as standing:
        await standing.provider.order({"deltas": deltas, "finish": "tool_calls"})
        _, done = await standing.ask()

        assert done.tool_calls == (ToolCall(name="look", arguments={"at": "cats"}, id="call_1"),)


async def test_the_models_carry_their_prices(tmp_path: Path) -> None:
    """Looked at, the provider answers; the version names it, since it has none."""
    async with rig(tmp_path) as standing:
        models = await standing.backend.models()

        assert [(one.name, one.input_usd_per_mtok, one.output_usd_per_mtok) for one in models] == [
            ("gpt-small", 1.0, 2.0),
            ("gpt-large", 3.0, 10.0),
        ]
        assert await standing.backend.version() == Version(standing.provider.host)


@pytest.mark.parametrize("trouble", [OVERLOADED, RATE_LIMITED])
async def test_what_passes_is_asked_again(tmp_path: Path, trouble: dict[str, Any]) -> None:
    """Twice refused, answered the third time: the job hears nothing of it."""
    patient = trouble | {"headers": {"retry-after-ms": "20"}}
    async with rig(tmp_path) as standing:
        await standing.provider.order(patient, patient)
        text, _ = await standing.ask()

        assert (text, (await standing.provider.state())["asked"]) == ("Hello from the cloud", 3)


@pytest.mark.parametrize(
    ("trouble", "headers", "asked", "expected"),
    [
        (OVERLOADED, {"retry-after-ms": "10"}, 3, BackendError),  # it does not pass
        (OVERLOADED, {"x-should-retry": "false"}, 1, BackendError),
        (OVERLOADED, {"retry-after": "3600"}, 1, BackendError),
        (RATE_LIMITED, {"retry-after": "30"}, 1, DeviceBusy),
        (NO_CREDIT, {}, 1, BudgetSpent),
    ],
)
async def test_what_does_not_pass_is_told(
    tmp_path: Path, trouble: dict[str, Any], headers: dict[str, str], asked: int, expected: type[FleetError]
) -> None:
    """After the last try, or at once where the provider says that there is no use; nothing is spent."""
    async with rig(tmp_path) as standing:
        await standing.provider.order(*[trouble | {"headers": headers}] * 3)
        with pytest.raises(FleetError) as caught:
            await standing.ask()

        assert (type(caught.value), (await standing.provider.state())["asked"]) == (expected, asked)
        assert standing.spent_usd == 0.0


async def test_a_rate_limit_closes_the_door_until_its_reset(tmp_path: Path) -> None:
    """The last request of a minute is answered, and its headers say that it was: nothing more is taken."""
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}
    async with rig(tmp_path) as standing:
        before = standing.backend.refusal()
        await standing.provider.order({"headers": headers})
        await standing.ask()
        refusal = standing.backend.refusal()

        assert before is None
        assert refusal is not None
        assert (refusal.code, 0 < (refusal.retry_after_s or 0) <= 60) == ("busy", True)


async def test_a_pause_ends_by_itself(tmp_path: Path) -> None:
    """Once the provider's time is over, jobs are taken again."""
    async with rig(tmp_path, retries=0) as standing:
        await standing.provider.order(RATE_LIMITED | {"headers": {"retry-after-ms": "1"}})
        with pytest.raises(DeviceBusy):
            await standing.ask()
        await standing.provider.until(lambda _: standing.backend.refusal() is None)
        text, _ = await standing.ask()

        assert text == "Hello from the cloud"


async def test_a_key_that_is_refused_makes_the_device_faulty(tmp_path: Path) -> None:
    """The way out is named, the key is not."""
    async with rig(tmp_path, api_key="sk-wrong-0123456789") as standing:
        with pytest.raises(ConfigError) as looked:
            await standing.backend.models()
        with pytest.raises(ConfigError) as asked:
            await standing.ask()

        assert "OPENAI_API_KEY" in looked.value.message
        assert [text for text in (looked.value.message, asked.value.message) if "sk-" in text or "6789" in text] == []


async def test_an_account_without_credit_makes_the_device_faulty(tmp_path: Path) -> None:
    """The list of models would still be given; the job that was refused knows better."""
    async with rig(tmp_path) as standing:
        await standing.backend.models()
        await standing.provider.order(NO_CREDIT)
        with pytest.raises(BudgetSpent):
            await standing.ask()
        with pytest.raises(BudgetSpent, match="add credit"):
            await standing.backend.models()


async def test_a_model_that_the_provider_lacks_is_no_longer_offered(tmp_path: Path) -> None:
    """The other one is none the worse for it."""
    missing = {"message": "no such model", "type": "invalid_request_error", "param": None, "code": "model_not_found"}
    async with rig(tmp_path) as standing:
        await standing.provider.order({"status": 404, "error": missing})
        with pytest.raises(UnknownModel, match="gpt-large"):
            await standing.ask("gpt-large")

        assert [model.name for model in await standing.backend.models()] == ["gpt-small"]


async def test_a_request_that_is_too_long_is_told_as_such(tmp_path: Path) -> None:
    """By OpenAI's own code, which is ours too."""
    error = {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    async with rig(tmp_path) as standing:
        await standing.provider.order({"status": 400, "error": error})
        with pytest.raises(ContextTooLong) as caught:
            await standing.ask()

        assert caught.value.details["param"] == "messages"


HALF = 'data: {"choices":[{"index":0,"delta":{"content":"Ha"},"finish_reason":null}]}\n\n'
LATE_ERROR = 'data: {"error":{"message":"boom","type":"server_error","param":null,"code":null}}\n\n'


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"raw": [HALF]}, BackendError),
        ({"raw": []}, BackendError),
        ({"raw": [HALF], "then": "sever"}, BackendError),
        ({"raw": [HALF, LATE_ERROR]}, BackendError),
        ({"raw": [HALF, "data: {broken\n\n"]}, GarbledReply),
        ({"raw": ["data: [1]\n\n"]}, GarbledReply),
        ({"raw": ['data: {"choices":7}\n\n']}, GarbledReply),
        ({"raw": ['data: {"choices":[{"delta":[]}]}\n\n', "data: [DONE]\n\n"]}, BackendError),
        ({"raw": ["<html>hello</html>"]}, GarbledReply),
        ({"raw": ['{"object":"chat.completion","choices":[]}\n']}, GarbledReply),
        ({"raw": ["dat", "a: {"]}, BackendError),
        ({"texts": ["no"], "finish": "content_filter"}, BadRequest),
        ({"status": 500, "body": "<html>oops</html>"}, BackendError),
        ({"status": 404, "body": "404 page not found"}, BackendError),
    ],
)
async def test_a_broken_answer_is_a_typed_error(
    tmp_path: Path, order: dict[str, Any], expected: type[FleetError]
) -> None:
    """Whatever a server sends, nothing of the package's leaves the backend, and half an answer is not taken for a whole one."""
    async with rig(tmp_path, retries=0) as standing:
        await standing.provider.order(order)

        with pytest.raises(FleetError) as caught:
            await standing.ask()

        assert type(caught.value) is expected
        assert expected is not GarbledReply or "OPENAI_BASE_URL" in caught.value.message


async def test_closing_an_answer_hangs_up_at_once(tmp_path: Path) -> None:
    """The provider sees it; what was said so far is paid for by estimate, and so is the prompt."""
    async with rig(tmp_path) as standing:
        await standing.provider.order({"texts": ["Once upon a time"], "then": "hold"})
        with standing.backend.admit(dispatch()) as bill:
            async with aclosing(standing.backend.chat(dispatch(), bill)) as pieces:
                async for piece in pieces:
                    if piece == BackendText("Once upon a time"):
                        break
        state = await standing.provider.until(lambda state: state["hung_up"] == 1)

        assert state["hung_up"] == 1
        assert 0 < standing.spent_usd < ANSWER_USD


async def test_a_provider_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    """Within the limit for silence, and nothing is left open."""
    async with rig(tmp_path, silence_s=0.2, retries=0) as standing:
        await standing.provider.order({"mute": True})
        with pytest.raises(BackendError, match="fell silent"):
            await standing.ask()
        state = await standing.provider.until(lambda state: state["hung_up"] == 1)

        assert state["asked"] == 1


async def test_a_prompt_that_was_sent_is_paid_for(tmp_path: Path) -> None:
    """Cancelled before the provider has said anything: it may have read 20,000 words by then, and counts them."""
    words = (Message(role=Role.USER, content="word " * 20_000),)
    async with rig(tmp_path) as standing:
        await standing.provider.order({"mute": True})

        async def ask() -> None:
            await standing.billed(messages=words)

        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask())
            await standing.provider.until(lambda state: state["asked"] == 1)
            asking.cancel()

        assert standing.spent_usd == pytest.approx(prompt_tokens(words) / 1e6)


async def test_what_fell_silent_is_paid_for_and_not_asked_again(tmp_path: Path) -> None:
    """It may be computed still: another try would be paid for beside it."""
    async with rig(tmp_path, silence_s=0.2, retries=2) as standing:
        await standing.provider.order({"mute": True})
        error, bill = await standing.failed()

        assert (error.code, (await standing.provider.state())["asked"]) == ("backend", 1)
        assert (bill.usd, bill.estimated) == (pytest.approx(standing.spent_usd), True)
        assert standing.spent_usd > 0


async def test_nothing_is_paid_for_what_was_never_sent(tmp_path: Path) -> None:
    """Nobody is at the address."""
    async with open_openai(section(tmp_path, retries=0), device="cloud") as backend:
        wanted = dispatch()
        with pytest.raises(BackendError), backend.admit(wanted) as bill:
            async for _ in backend.chat(wanted, bill):
                pass

    assert bill.usd is None


@pytest.mark.parametrize(
    "order",
    [
        {"texts": ["word " * 2000], "usage": None},
        {"deltas": [{"reasoning_content": "hmm " * 2000}], "then": "sever"},
        {"deltas": [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "word " * 2000}}]}]}
        | {"then": "sever"},
    ],
)
async def test_what_the_provider_does_not_count_is_an_estimate(tmp_path: Path, order: dict[str, Any]) -> None:
    """Text, thoughts and arguments, whole or broken off: account and bill say the same, and that it is an estimate."""
    wanted = dispatch()
    async with rig(tmp_path) as standing:
        await standing.provider.order(order)
        with suppress(BackendError), standing.backend.admit(wanted) as bill:
            async for _ in standing.backend.chat(wanted, bill):
                pass

        assert (bill.usd, bill.estimated) == (pytest.approx(standing.spent_usd), True)
        assert (
            standing.spent_usd > 2000 * 0.75 * 2 / 1e6
        )  # words, at least three quarters of a token each, at 2 dollars


async def test_an_answer_that_may_be_too_dear_is_refused(tmp_path: Path) -> None:
    """Before anything is sent; one that the request keeps short is answered."""
    async with rig(tmp_path, budget_usd=0.01) as standing:
        with pytest.raises(BudgetSpent, match=r"up to 0\.016"):  # 8,000 tokens at 2 dollars per million
            await standing.ask()
        text, _ = await standing.ask(options=Options(max_tokens=500))

        assert (text, (await standing.provider.state())["asked"]) == ("Hello from the cloud", 1)


NO_RIGHT = {"status": 403, "error": {"message": "Missing scopes", "type": "invalid_request_error", "code": None}}
FLAGGED = {"status": 403, "error": {"message": "your input was flagged for violence", "code": 403, "type": None}}


async def test_a_prompt_that_is_flagged_is_its_sender_s_matter(tmp_path: Path) -> None:
    """The list of models says that the key is fine: nobody else is kept out."""
    async with rig(tmp_path) as standing:
        await standing.provider.order(FLAGGED)
        error, _ = await standing.failed()
        models = await standing.backend.models()
        text, _ = await standing.ask()

        assert (type(error), "flagged" in error.message) == (BadRequest, True)
        assert (len(models), text) == (2, "Hello from the cloud")


async def test_a_key_that_may_do_nothing_locks_the_device(tmp_path: Path) -> None:
    """Neither chat nor see the list."""
    async with rig(tmp_path) as standing:
        await standing.provider.order(FLAGGED)
        await standing.provider.order_listing(NO_RIGHT)
        await standing.failed()

        with pytest.raises(ConfigError, match="project and region"):
            await standing.backend.models()


async def test_a_line_without_end_is_given_up(tmp_path: Path) -> None:
    """A few megabytes of it are kept, and no more."""
    async with rig(tmp_path) as standing:
        await standing.provider.order({"raw": ["data: ", *["x" * 1_000_000] * 30]})
        error, _ = await standing.failed()

        assert (type(error), "4 MiB" in error.message) == (GarbledReply, True)


async def test_a_key_is_taken_without_the_line_end_behind_it(tmp_path: Path) -> None:
    """As a file brings it."""
    async with rig(tmp_path, api_key=KEY + "\n") as standing:
        text, _ = await standing.ask()

        assert text == "Hello from the cloud"


async def test_a_provider_that_is_not_there_is_told_at_the_first_look(tmp_path: Path) -> None:
    """Its address is named, and what to check."""
    async with open_openai(section(tmp_path), device="cloud") as backend:
        with pytest.raises(BackendError, match=r"127\.0\.0\.1:9 .* OPENAI_BASE_URL"):
            await backend.models()


@pytest.mark.parametrize("listing", [{"status": 404, "body": "no such page"}, NO_RIGHT, RATE_LIMITED])
async def test_a_server_without_a_list_is_none_the_worse(tmp_path: Path, listing: dict[str, Any]) -> None:
    """Small servers have none, a key may have no right to it, and a busy one may have no time; all of them answer chats."""
    async with rig(tmp_path) as standing:
        await standing.provider.order_listing(listing)

        assert len(await standing.backend.models()) == 2


async def test_a_probe_costs_nothing(tmp_path: Path) -> None:
    """A token would: so nothing counts as in memory, and who insists gets a look at the list of models."""
    async with rig(tmp_path) as standing:
        [model, _] = await standing.backend.models()
        await standing.backend.one_token(model)

        assert (await standing.backend.in_memory(), (await standing.provider.state())["asked"]) == ((), 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"models": ""}, "DROVER_CLOUD_MODELS"),
        ({"api_key": None, "base_url": "https://api.openai.com/v1"}, "OPENAI_API_KEY is not set"),
        ({"models": "m=1/2, n", "budget_usd": 1.0}, "no price for n"),
    ],
)
async def test_what_can_t_be_is_said_at_the_start(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """Before the first job, with the way out."""
    with pytest.raises(ConfigError, match=words):
        async with open_openai(section(tmp_path, **fields), device="cloud"):
            raise AssertionError("it was opened")


async def test_who_brings_a_key_pays_with_it(tmp_path: Path) -> None:
    """The provider sees the guest's key and not the house's organization; the answer tells its cost, and the house pays nothing."""
    async with rig(tmp_path, organization="org-house") as standing:
        text, _, bill = await standing.billed(provider_key=GUEST_KEY)
        headers = (await standing.provider.state())["seen"][-1]["headers"]

        assert (text, bill.usd, standing.spent_usd) == ("Hello from the cloud", ANSWER_USD, 0.0)
        assert headers["authorization"] == f"Bearer {GUEST_KEY}"
        assert "openai-organization" not in headers


WRONG_KEY = "sk-wrong-1111222233334444"


@pytest.mark.parametrize(
    ("key", "orders", "wanted"),
    [
        (WRONG_KEY, [], BadRequest),
        (GUEST_KEY, [NO_CREDIT], BadRequest),
        (GUEST_KEY, [{"texts": ["Once"], "raw": [f"data: {codec.encode(NO_CREDIT).decode()}\n\n"]}], BadRequest),
        (GUEST_KEY, [RATE_LIMITED], DeviceBusy),
    ],
)
async def test_a_guest_s_troubles_are_not_the_house_s(
    tmp_path: Path, key: str, orders: list[dict[str, Any]], wanted: type[FleetError]
) -> None:
    """A wrong key, an empty account, a used up limit: told to who brought the key, without the key, and the device stays well."""
    async with rig(tmp_path, retries=0) as standing:
        await standing.provider.order(*orders)
        with pytest.raises(wanted) as refused:
            await standing.ask(provider_key=key)
        text, _ = await standing.ask()

        assert key[-6:] not in str(refused.value)
        assert (text, standing.backend.refusal()) == ("Hello from the cloud", None)
        assert len(await standing.backend.models()) == 2


async def test_a_device_without_a_key_serves_who_brings_one(tmp_path: Path) -> None:
    """It offers its models without ever asking the provider, and asks it only with the keys of requests."""
    async with rig(tmp_path, api_key=None, key_from="request") as standing:
        offered = await standing.backend.models()
        with pytest.raises(BadRequest, match="provider_key"):
            await standing.ask()
        text, _ = await standing.ask(provider_key=GUEST_KEY)

        assert (len(offered), standing.backend.needs_key, text) == (2, True, "Hello from the cloud")


def test_a_key_is_in_no_repr() -> None:
    """Nor in what the device gets, as it would be logged."""
    assert GUEST_KEY not in repr(dispatch(provider_key=GUEST_KEY))
