"""Conversations over HTTP: a real bridge, a real ledger over a file, and a scripted fleet; two people, each with a key."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import errors, key_client
from common.conversations import MOST_IMAGE_CHARS
from common.key_requests import AddKey
from common.keys import Scope
from common.messages import ToolCall
from common.subjects import Subjects
from tests.bridge_process import BridgeProcess, bridge_process
from tests.integration.bridge.conftest import HOLD
from tests.integration.bridge.files.documents import written
from tests.integration.bridge.files.pictures import drawn, noise
from tests.integration.ledger.ledgers import LedgerProcess, ledger_process, until
from tests.nats_server import NatsServer, nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

HANG_S = 30.0
CONTEXT = 2048
CHATS = "/v1/chat/completions"
TALKS = "/api/v1/conversations"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(slots=True)
class House:
    """All that runs, and the keys of who may come in."""

    nats: NatsServer
    fleet: ScriptedFleet
    directory: Path
    running: AsyncExitStack
    ledger: LedgerProcess = field(init=False)
    bridge: BridgeProcess = field(init=False)
    keys: dict[str, str] = field(default_factory=dict)
    summaries: bool = False

    async def start(self) -> None:
        """Run a ledger and a bridge over what is there."""
        settings = {**HOLD, "DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
        if self.summaries:
            settings["DROVER_HTTP_SUMMARIES"] = "true"
        await self.start_ledger()
        self.bridge = await self.running.enter_async_context(bridge_process(self.nats.url, **settings))
        await self.fleet.beat(context_tokens=CONTEXT)

    async def start_ledger(self) -> None:
        """Run a ledger over the file, and wait until it answers."""
        database = f"sqlite:///{self.directory}/ledger.db"
        self.ledger = await self.running.enter_async_context(ledger_process(self.nats.url, database, self.directory))
        await until(lambda: _knows(self.fleet))

    async def start_again(self) -> None:
        """End both, and run them anew; from then on conversations are summarised."""
        await self.running.aclose()
        self.summaries = True
        await self.start()


async def _knows(fleet: ScriptedFleet) -> bool:
    try:
        await key_client.state(fleet.bus, Subjects())
    except errors.FleetError:
        return False
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with (
        nats_server(jetstream=True) as nats,
        scripted_fleet(nats.url) as fleet,
        AsyncExitStack() as running,
    ):
        found = House(nats, fleet, tmp_path_factory.mktemp("ledger"), running)
        await found.start()
        people = (
            AddKey(name="anna"),
            AddKey(name="ben"),
            AddKey(name="guard", scopes=(Scope.FLEET,)),
            AddKey(name="single", parallel=1),
            AddKey(name="router", scopes=(Scope.ROUTE,)),
        )
        for asked in people:
            found.keys[asked.name] = (await key_client.add(fleet.bus, Subjects(), asked)).secret
        yield found


@pytest.fixture(autouse=True)
def fleet(house: House) -> ScriptedFleet:
    house.fleet.forget()
    return house.fleet


def client(house: House, name: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {house.keys[name]}"}
    return httpx.AsyncClient(base_url=house.bridge.url, timeout=HANG_S, trust_env=False, headers=headers)


@pytest_asyncio.fixture(loop_scope="module")
async def anna(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with client(house, "anna") as http:
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def ben(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with client(house, "ben") as http:
        yield http


def says(*texts: str) -> Any:
    """A script that answers so."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens(*texts)
        await job.end()

    return script


async def ask(http: httpx.AsyncClient, text: str, talk: str = "new", **more: Any) -> Any:
    """Ask something in a conversation, and give the answer."""
    headers = more.pop("headers", None)
    body = {"messages": [{"role": "user", "content": text}], "conversation_id": talk, **more}
    answer = await http.post(CHATS, json=body, headers=headers)
    assert 200 == answer.status_code, answer.text
    return answer.json()


async def told(fleet: ScriptedFleet) -> list[tuple[str, str]]:
    """Who says what in the job that came."""
    async with asyncio.timeout(HANG_S):
        job = await fleet.jobs.get()
    return [(one["role"], one.get("content", "")) for one in job.request["messages"]]


async def turns(http: httpx.AsyncClient, talk: str) -> list[tuple[str, str, bool]]:
    """What is kept of a conversation: who said what, and whether it broke off."""
    found = (await http.get(f"{TALKS}/{talk}")).json()["turns"]
    return [(one["message"]["role"], one["message"].get("content", ""), one.get("broken_off", False)) for one in found]


async def test_the_second_turn_is_told_the_first(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A new conversation has a title, and its id comes back in a header and in the account; what was said stands in front."""
    body = {"messages": [{"role": "user", "content": "What do bees eat?"}], "conversation_id": "new"}
    first = await anna.post(CHATS, json=body)
    talk = first.headers["x-drover-conversation"]
    await told(fleet)
    fleet.script = says("In", " spring.")
    second = await ask(anna, "And when?", talk)
    listed = (await anna.get(TALKS)).json()["conversations"][0]

    assert [("user", "What do bees eat?"), ("assistant", "Hello there!"), ("user", "And when?")] == await told(fleet)
    assert talk == first.json()["x_drover"]["conversation"]["id"] == second["x_drover"]["conversation"]["id"]
    assert ("What do bees eat?", 4) == (listed["conversation"]["title"], listed["conversation"]["turns"])
    assert [
        ("user", "What do bees eat?", False),
        ("assistant", "Hello there!", False),
        ("user", "And when?", False),
        ("assistant", "In spring.", False),
    ] == await turns(anna, talk)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_id_comes_by_header_too_for_clients_that_cannot_change_their_bodies(
    anna: httpx.AsyncClient, fleet: ScriptedFleet, stream: bool
) -> None:
    """Streamed or not; and two that differ are refused."""
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": stream}
    first = await anna.post(CHATS, json=body, headers={"X-Drover-Conversation": "new"})
    talk = first.headers["x-drover-conversation"]
    await anna.post(CHATS, json=body, headers={"X-Drover-Conversation": talk})
    refused = await anna.post(CHATS, json={**body, "conversation_id": "other"}, headers={"X-Drover-Conversation": talk})

    assert 1 == len(await told(fleet))
    assert 3 == len(await told(fleet))
    assert 400 == refused.status_code


async def test_what_does_not_fit_the_context_is_left_out_and_that_is_said(
    anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """The oldest goes first, whole exchanges; what is new and too long by itself is refused with the code that clients know."""
    talk = (await ask(anna, "oldest " * 225))["x_drover"]["conversation"]["id"]
    await ask(anna, "middle " * 225, talk)
    for _ in range(2):
        await told(fleet)
    third = await ask(anna, "newest " * 225, talk)
    heard = await told(fleet)
    body = {"messages": [{"role": "user", "content": "word " * 4000}], "conversation_id": talk}
    refused = await anna.post(CHATS, json=body)

    assert ["middle", "Hello", "newest"] == [text.split()[0] for _, text in heard]
    assert (2, 3, True) == tuple(third["x_drover"]["conversation"][one] for one in ("left_out", "told", "kept"))
    assert (400, "context_length_exceeded") == (refused.status_code, refused.json()["error"]["code"])


async def test_who_hangs_up_finds_what_was_said_so_far(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """It is marked as broken off, and the job is cancelled as always."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("Once", " upon")
        await job.cancelled.wait()

    fleet.script = script
    body = {"messages": [{"role": "user", "content": "A tale"}], "conversation_id": "new", "stream": True}
    async with anna.stream("POST", CHATS, json=body) as answer:
        talk = answer.headers["x-drover-conversation"]
        async for line in answer.aiter_lines():
            if " upon" in line:
                break
    async with asyncio.timeout(HANG_S):
        await fleet.cancels.get()

    async def kept() -> bool:
        return any(text for _, text, broken_off in await turns(anna, talk) if broken_off)

    await until(kept)
    assert [("user", "A tale", False), ("assistant", "Once upon", True)] == await turns(anna, talk)
    last = (await anna.get(f"{TALKS}/{talk}")).json()["turns"][-1]
    assert ("hangup", "nano", "llama3.2:1b") == (last["error"]["code"], last["device"], last["model"])


async def test_a_question_is_kept_before_its_answer_which_takes_the_place_of_what_stood_for_it(
    anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """A bridge that is killed meanwhile leaves it to be asked again. One who cancels the job has stopped it, and has not left."""
    goes_on = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Once")
        await job.stay(goes_on, "decode")
        if not job.cancelled.is_set():
            await job.end()

    fleet.script = script
    meanwhile, ended = list[Any](), list[Any]()
    talk = "new"
    for stops in (False, True):
        goes_on.clear()
        body = {"messages": [{"role": "user", "content": "A tale"}], "conversation_id": talk, "stream": True}
        async with anna.stream("POST", CHATS, json=body) as answer:
            talk = answer.headers["x-drover-conversation"]
            number = 2 * len(ended) + 2
            await until(partial(_has_turns, anna, talk, number))
            last = (await anna.get(f"{TALKS}/{talk}")).json()["turns"][-1]
            meanwhile.append((last["message"].get("content", ""), last["error"]["code"]))
            if stops:
                gone = await anna.delete(f"/api/v1/jobs/{answer.headers['x-drover-job']}")
                assert gone.json()["cancelled"], gone.text
            goes_on.set()
            await answer.aread()
        page = (await anna.get(f"{TALKS}/{talk}/export", params={"whole": True})).json()
        last = page["turns"][-1]
        ended.append((last["message"]["content"], last.get("error", {}).get("code"), len(page["turns"])))
        assert (last["id"], len(page["turns"])) == (page["conversation"]["head"], page["conversation"]["turns"])

    assert [("", "pending")] * 2 == meanwhile
    assert [("Once", None, 2), ("Once", "cancelled", 4)] == ended


async def _has_turns(http: httpx.AsyncClient, talk: str, number: int) -> bool:
    return len(await turns(http, talk)) == number


async def test_what_broke_off_says_why_and_a_question_that_got_no_word_is_kept_until_it_is_asked_again(
    anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """No model is told of it. Asked in the same words it stands there once, whatever became of it; in other words beside."""

    async def breaks(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Half")
        await job.fail(errors.DeviceLost("nano went away"))

    async def refuses(job: ScriptedJob) -> None:
        await job.fail(errors.NoDevice("no device is ready"))

    def body(text: str, talk: str) -> Any:
        return {"messages": [{"role": "user", "content": text}], "conversation_id": talk, "stream": True}

    fleet.script = refuses
    refused = [await anna.post(CHATS, json=body("first words", "new"))]
    talk = refused[0].headers["x-drover-conversation"]
    refused += [await anna.post(CHATS, json=body(text, talk)) for text in ("first words", "hi " * 4000, "hi", "hi")]
    after_refusals = await turns(anna, talk)
    found = (await anna.get(TALKS, params={"q": "first words"})).json()["conversations"]
    fleet.script = breaks
    await anna.post(CHATS, json=body("hi", talk))
    page = (await anna.get(f"{TALKS}/{talk}")).json()
    beside = page["branches"][page["turns"][0]["id"]]
    first = (await anna.get(f"{TALKS}/{talk}", params={"turn": beside[0]})).json()["turns"]
    whole = (await anna.get(f"{TALKS}/{talk}/export", params={"whole": True})).json()
    asked = [await told(fleet) for _ in range(5)]

    assert [503, 503, 400, 503, 503] == [one.status_code for one in refused]
    assert {talk} == {one.headers["x-drover-conversation"] for one in refused}
    assert [("user", "hi", False), ("assistant", "", True)] == after_refusals
    assert [(talk, 6, True)] == [
        (one["conversation"]["id"], one["conversation"]["turns"], "turn" in one) for one in found
    ]
    assert [1] * 5 == [len(one) for one in asked]
    assert [("user", "hi", False), ("assistant", "Half", True)] == await turns(anna, talk)
    assert ["first words"] == [one["message"]["content"] for one in first]
    assert {"code": "device_lost", "message": "nano went away"} == page["turns"][1]["error"]
    assert [("", "no_device"), ("", "context_length_exceeded"), ("Half", "device_lost")] == [
        (one["message"].get("content", ""), one["error"]["code"]) for one in whole["turns"] if "error" in one
    ]
    assert (6, 6) == (len(whole["turns"]), whole["conversation"]["turns"])


async def test_the_same_job_sent_twice_is_kept_once(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """It makes one conversation, and the second time it is told the same as the first."""
    headers = {"Idempotency-Key": "bees-1"}
    first = await ask(anna, "Bees?", headers=headers)
    second = await ask(anna, "Bees?", headers=headers)
    talk = first["x_drover"]["conversation"]["id"]
    await ask(anna, "And wasps?", talk)
    third = await ask(anna, "Bees?", talk, headers=headers)

    assert [1, 1, 3, 1] == [len(await told(fleet)) for _ in range(4)]
    assert talk == second["x_drover"]["conversation"]["id"] == third["x_drover"]["conversation"]["id"]
    assert ["Bees?", "Hello there!", "And wasps?", "Hello there!"] == [text for _, text, _ in await turns(anna, talk)]


async def test_two_at_once_become_branches(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Both stand behind the turn that they were asked behind; none is lost, and the one that ended last goes on."""
    talk = (await ask(anna, "Begin"))["x_drover"]["conversation"]["id"]
    both, left = asyncio.Event(), asyncio.Event()
    came: list[ScriptedJob] = []

    async def script(job: ScriptedJob) -> None:
        came.append(job)
        if len(came) == 2:
            both.set()
        await both.wait()
        asked = job.request["messages"][-1]["content"]
        if asked == "right":
            await left.wait()
        await job.ack()
        await job.route()
        await job.token(f"to the {asked}")
        await job.end()

    fleet.script = script
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(ask(anna, "left", talk))
        first.add_done_callback(lambda _: left.set())
        tasks.create_task(ask(anna, "right", talk))
    page = (await anna.get(f"{TALKS}/{talk}")).json()
    there = first.result()["x_drover"]["conversation"]["turn"]
    await anna.post(f"{TALKS}/{talk}/select", json={"turn": there})

    assert ["Begin", "Hello there!", "right", "to the right"] == [one["message"]["content"] for one in page["turns"]]
    assert 2 == len(next(iter(page["branches"].values())))
    assert ["Begin", "Hello there!", "left", "to the left"] == [text for _, text, _ in await turns(anna, talk)]


async def test_the_first_question_can_be_asked_another_way(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """At its start a conversation remembers nothing, and what is asked there stands beside the first question."""
    talk = (await ask(anna, "Begin"))["x_drover"]["conversation"]["id"]
    await told(fleet)
    unsaid = await anna.post(f"{TALKS}/{talk}/select", json={})
    started = await anna.post(f"{TALKS}/{talk}/select", json={"turn": None})
    empty = (await anna.get(f"{TALKS}/{talk}")).json()
    await ask(anna, "Begin otherwise", talk)
    heard = await told(fleet)
    page = (await anna.get(f"{TALKS}/{talk}")).json()

    assert (400, 200, 2) == (unsaid.status_code, started.status_code, started.json()["turns"])
    assert ([], 1) == (empty["turns"], len(empty["beginnings"]))
    assert [("user", "Begin otherwise")] == heard
    assert [empty["beginnings"][0], page["turns"][0]["id"]] == page["branches"][page["turns"][0]["id"]]


async def test_calls_of_functions_and_their_answers_are_remembered(
    anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """The answer of a tool goes to the call that it belongs to, though the client sends the answer alone."""

    async def calls(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.end("tool_calls", (ToolCall(name="weather", arguments={"city": "Bern"}, id="c1"),))

    fleet.script = calls
    talk = (await ask(anna, "Rain?"))["x_drover"]["conversation"]["id"]
    fleet.script = says("No.")
    body = {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "dry"}], "conversation_id": talk}
    answer = await anna.post(CHATS, json=body)
    await told(fleet)
    assert 200 == answer.status_code, answer.text
    async with asyncio.timeout(HANG_S):
        heard = (await fleet.jobs.get()).request["messages"]

    assert ["user", "assistant", "tool"] == [one["role"] for one in heard]
    assert "weather" == heard[1]["tool_calls"][0]["name"]


async def test_a_search_that_can_not_be_done_names_its_own_parameter(anna: httpx.AsyncClient) -> None:
    """`q`, whatever it is called where it is looked for: too many words, none, too long."""
    many = " ".join(map(str, range(17)))
    told = [(await anna.get(TALKS, params={"q": words})).json()["error"] for words in (many, " ", "", "x" * 201)]

    assert [("bad_request", "q")] * 4 == [(one["code"], one["param"]) for one in told]


@pytest.mark.parametrize("sign", ["\u202e", "\x1b", "\n"])
async def test_a_title_has_no_sign_that_turns_what_stands_behind_it(anna: httpx.AsyncClient, sign: str) -> None:
    """By whichever verb it is given: with it one conversation would look like another, and so would the page behind it."""
    talk = (await anna.post(TALKS, json={"title": "zebra fdp"})).json()["id"]
    title = {"title": f"zebra {sign}fdp"}
    refused = [
        await anna.post(TALKS, json=title),
        await anna.patch(f"{TALKS}/{talk}", json=title),
        await anna.post(f"{TALKS}/{talk}/branch", json={"turn": "t1", **title}),
    ]
    kept = (await anna.get(f"{TALKS}/{talk}")).json()["conversation"]["title"]
    await anna.delete(f"{TALKS}/{talk}")

    assert [(400, "title")] * 3 == [(one.status_code, one.json()["error"]["param"]) for one in refused]
    assert [True] * 3 == [f"U+{ord(sign):04X} is no sign that can be seen" in one.text for one in refused]
    assert "zebra fdp" == kept


async def test_one_is_renamed_searched_branched_and_exported(anna: httpx.AsyncClient) -> None:
    """What its owner does with it, by every verb."""
    talk = (await ask(anna, "The zebra"))["x_drover"]["conversation"]["id"]
    here = (await anna.get(f"{TALKS}/{talk}")).json()["turns"]
    renamed = await anna.patch(f"{TALKS}/{talk}", json={"title": "Stripes"})
    found = (await anna.get(TALKS, params={"q": "zebra"})).json()["conversations"]
    branch = await anna.post(f"{TALKS}/{talk}/branch", json={"turn": here[0]["id"], "title": "Only asked"})
    by_hand = await anna.post(
        f"{TALKS}/{branch.json()['id']}/turns", json={"messages": [{"role": "assistant", "content": "I know."}]}
    )
    as_json = await anna.get(f"{TALKS}/{talk}/export")
    as_text = await anna.get(f"{TALKS}/{talk}/export", params={"format": "markdown"})

    assert ("Stripes", [talk]) == (renamed.json()["title"], [one["conversation"]["id"] for one in found])
    assert (201, 201, 2) == (branch.status_code, by_hand.status_code, by_hand.json()["conversation"]["turns"])
    assert ["The zebra", "Hello there!"] == [one["message"]["content"] for one in as_json.json()["turns"]]
    assert f'attachment; filename="conversation-{talk}.md"' == as_text.headers["content-disposition"]
    assert ("nosniff", True) == (as_text.headers["x-content-type-options"], as_text.text.startswith("# Stripes\n"))


async def test_lists_come_in_pages(ben: httpx.AsyncClient) -> None:
    """`next` of one is `before` of the next; what can't be asked is refused."""
    made = [(await ben.post(TALKS, json={"title": f"{number}"})).json()["id"] for number in range(3)]
    first = (await ben.get(TALKS, params={"limit": 2})).json()
    rest = (await ben.get(TALKS, params={"limit": 2, "before": first["next"]})).json()
    refused = [
        (await ben.get(TALKS, params=query)).status_code for query in ({"limit": 0}, {"limt": 2}, {"limit": "x"})
    ]
    unsure = await ben.delete(TALKS)
    gone = await ben.delete(TALKS, params={"confirm": "all"})

    assert made[::-1] == [one["conversation"]["id"] for one in (*first["conversations"], *rest["conversations"])]
    assert [400, 400, 400, 400] == [*refused, unsure.status_code]
    assert {"conversations": 3} == gone.json()


async def test_nobody_elses_is_found_by_any_verb(anna: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
    """Ben is of the same tenant, and knows the id: for him it is not there, and afterwards it is as it was."""
    talk = (await ask(anna, "My secret quokka"))["x_drover"]["conversation"]["id"]
    before = (await anna.get(f"{TALKS}/{talk}")).json()
    turn, here = before["turns"][0]["id"], f"{TALKS}/{talk}"
    said = {"messages": [{"role": "user", "content": "hi"}]}
    tried = [
        await ben.get(here),
        await ben.patch(here, json={"title": "mine"}),
        await ben.delete(here),
        await ben.get(f"{here}/export"),
        await ben.post(f"{here}/turns", json=said),
        await ben.post(f"{here}/branch", json={"turn": turn}),
        await ben.post(f"{here}/select", json={"turn": turn}),
        await ben.post(CHATS, json={**said, "conversation_id": talk}),
        await ben.post("/api/v1/chat", json={"prompt": "hi", "conversation_id": talk}),
    ]
    listed = (await ben.get(TALKS)).json()["conversations"]
    found = (await ben.get(TALKS, params={"q": "quokka"})).json()["conversations"]
    await ben.delete(TALKS, params={"confirm": "all"})

    assert [404] * len(tried) == [one.status_code for one in tried]
    assert (["unknown_conversation"] * len(tried), [], []) == (
        [one.json()["error"]["code"] for one in tried],
        listed,
        found,
    )
    assert before == (await anna.get(here)).json()


async def test_a_key_without_the_scope_keeps_no_conversations(house: House) -> None:
    """Who may see the fleet may not ask it, nor keep anything."""
    async with client(house, "guard") as guard:
        refused = [await guard.get(TALKS), await guard.post(TALKS, json={})]

    assert [403, 403] == [one.status_code for one in refused]


CHAT_BODIES: dict[str, dict[str, Any]] = {
    CHATS: {"model": "auto", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "auto", "input": "hi"},
    "/v1/messages": {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "/api/chat": {"model": "auto", "stream": False, "messages": [{"role": "user", "content": "hi"}]},
    "/api/v1/chat": {"prompt": "hi"},
}
OTHER_BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "auto", "prompt": "hi"},
    "/v1/embeddings": {"model": "llama3.2:1b", "input": "hi"},
    "/api/generate": {"model": "auto", "stream": False, "prompt": "hi"},
    "/api/embed": {"model": "llama3.2:1b", "input": "hi"},
    "/api/v1/jobs": {"prompt": "hi"},
    "/route": {"prompt": "hi"},
}


@pytest.mark.parametrize("path", CHAT_BODIES)
async def test_every_chat_may_belong_to_a_conversation(
    anna: httpx.AsyncClient, fleet: ScriptedFleet, path: str
) -> None:
    """By the header, whichever API it comes by: what was said before stands in front, and its turns are kept."""
    talk = (await ask(anna, "Begin"))["x_drover"]["conversation"]["id"]
    await told(fleet)
    answer = await anna.post(path, json=CHAT_BODIES[path], headers={"X-Drover-Conversation": talk})
    said = await told(fleet)

    assert (200, talk) == (answer.status_code, answer.headers["x-drover-conversation"])
    assert ["user", "assistant", "user"] == [role for role, _ in said]
    assert ("user", "hi", False) == (await turns(anna, talk))[2]


@pytest.mark.parametrize("path", OTHER_BODIES)
async def test_what_is_no_chat_says_that_it_belongs_to_none(
    anna: httpx.AsyncClient, fleet: ScriptedFleet, path: str
) -> None:
    """Nobody believes that something was remembered which was not."""
    answer = await anna.post(path, json=OTHER_BODIES[path], headers={"X-Drover-Conversation": "new"})

    assert (400, True, 0) == (answer.status_code, "x-drover-conversation" in answer.text, fleet.jobs.qsize())


async def test_an_own_stream_in_a_conversation(anna: httpx.AsyncClient) -> None:
    """The native frames say at the end where it is kept."""
    answer = await anna.post("/api/v1/chat", json={"prompt": "hi", "conversation_id": "new", "stream": True})
    last = json.loads(answer.text.strip().rsplit("data: ", 1)[1])

    assert (answer.headers["x-drover-conversation"], True) == (
        last["route"]["conversation"]["id"],
        last["route"]["conversation"]["kept"],
    )


async def test_who_hangs_up_while_the_answer_is_kept_finds_all_of_it(
    house: House, anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """The ledger hangs just then: the whole answer is sent to it once more, and stands there once, not marked. The first that is
    sent to it is the question, which is kept before that."""
    ends, appends = asyncio.Event(), asyncio.Queue[None]()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("Once", " upon")
        await job.stay(ends, "decode")
        await job.end()

    fleet.script = script
    heard = await fleet.bus.subscribe(Subjects().conversations("append"), lambda _: appends.put_nowait(None))
    await fleet.bus.flush()
    body = {"messages": [{"role": "user", "content": "Another tale"}], "conversation_id": "new", "stream": True}
    try:
        async with anna.stream("POST", CHATS, json=body) as answer, asyncio.timeout(HANG_S):
            talk = answer.headers["x-drover-conversation"]
            async for line in answer.aiter_lines():
                if " upon" in line:  # leaving the loop is hanging up
                    await appends.get()
                    await until(partial(_has_turns, anna, talk, 2))
                    house.ledger.process.send_signal(signal.SIGSTOP)
                    ends.set()
                    await appends.get()
                    break
        async with asyncio.timeout(HANG_S):
            await appends.get()
    finally:
        house.ledger.process.send_signal(signal.SIGCONT)
        await heard.unsubscribe()

    async def kept() -> bool:
        return "Once upon" in [text for _, text, _ in await turns(anna, talk)]

    await until(kept)
    assert [("user", "Another tale", False), ("assistant", "Once upon", False)] == await turns(anna, talk)
    assert {} == (await anna.get(f"{TALKS}/{talk}")).json().get("branches", {})


async def cut_off(
    house: House, http: httpx.AsyncClient, fleet: ScriptedFleet, **body: Any
) -> tuple[str, dict[str, Any]]:
    """Ask something whose ledger is killed before the answer ends; gives the conversation, and what is said of it at the end."""
    ends = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("Once", " upon")
        await job.stay(ends, "decode")
        await job.end()

    fleet.script = script
    said: dict[str, Any] = {}
    async with http.stream("POST", CHATS, json={"stream": True, **body}) as answer, asyncio.timeout(HANG_S):
        async for line in answer.aiter_lines():
            if " upon" in line:
                await house.ledger.kill()
                ends.set()
            if '"x_drover"' in line and '"conversation"' in line:
                said = json.loads(line.removeprefix("data: "))["x_drover"]["conversation"]
    return answer.headers["x-drover-conversation"], said


async def test_an_answer_outlives_the_ledger_that_is_killed_before_its_end(
    house: House, anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """It says that it is kept later, and is, once, as soon as there is a ledger."""
    question = {"role": "user", "content": "A tale"}
    talk, said = await cut_off(house, anna, fleet, messages=[question], conversation_id="new")
    await house.start_ledger()

    async def kept() -> bool:
        return bool(await turns(anna, talk))

    await until(kept)
    here = (await anna.get(f"{TALKS}/{talk}")).json()
    assert (False, True, "ledger") == (said["kept"], said["later"], said["why"])
    assert [("user", "A tale", False), ("assistant", "Once upon", False)] == await turns(anna, talk)
    assert (said["turn"], {}) == (here["conversation"]["head"], here.get("branches", {}))


async def test_the_next_question_is_told_an_answer_that_waited_for_the_ledger(
    house: House, anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """Asked at once when the ledger is back, by whoever is quicker: the past is whole, and one branch."""
    question = {"role": "user", "content": "A tale"}
    talk, _ = await cut_off(house, anna, fleet, messages=[question], conversation_id="new")
    await house.start_ledger()
    fleet.forget()
    await ask(anna, "And then?", talk)

    async def whole() -> bool:
        return 4 == len(await turns(anna, talk))

    await until(whole)
    assert ["A tale", "Once upon", "And then?"] == [text for _, text in await told(fleet)]
    assert {} == (await anna.get(f"{TALKS}/{talk}")).json().get("branches", {})


async def test_a_photograph_is_kept_as_it_was_sent_or_smaller(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """As it came it would be too large to be kept: the next turn is told it nevertheless."""
    picture = base64.b64encode(noise(700)).decode()
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
    ]
    body = {"messages": [{"role": "user", "content": parts}], "conversation_id": "new"}
    answer = await anna.post(CHATS, json=body)
    assert 200 == answer.status_code, answer.text
    here = (await anna.get(f"{TALKS}/{answer.headers['x-drover-conversation']}")).json()["turns"]
    async with asyncio.timeout(HANG_S):
        (sent,) = (await fleet.jobs.get()).request["messages"][0]["images"]
    (image,) = here[0]["message"]["images"]

    assert len(picture) > len(sent) > MOST_IMAGE_CHARS >= len(image)
    assert ("What is it?", True) == (here[0]["message"]["content"], image.startswith("/9j/"))


def a_pdf(name: str = "bees.pdf") -> dict[str, str]:
    """A file as `POST /api/v1/chat` takes it."""
    return {"name": name, "data": base64.b64encode(written("Bees sleep in winter.")).decode()}


async def test_what_was_given_of_a_question_with_files_is_told_apart(
    anna: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """Its own words, which name the conversation, its own image, and its PDFs with their pages. Asked another way it has the same
    files without sending them again; the bridge says so at the end, too."""
    image = base64.b64encode(drawn("PNG")).decode()
    question = {"role": "user", "content": "When 🐝 do they sleep?", "images": [image]}
    body = {"messages": [question], "files": [a_pdf(), a_pdf("two.pdf")], "conversation_id": "new"}
    first = await anna.post("/api/v1/chat", json=body)
    talk = first.headers["x-drover-conversation"]
    kept = (await anna.get(f"{TALKS}/{talk}")).json()
    turn = kept["turns"][0]
    again = {"prompt": "Where do they sleep?", "conversation_id": talk, "files_of": turn["id"]}
    select = await anna.post(f"{TALKS}/{talk}/select", json={"turn": None})
    second = await anna.post("/api/v1/chat", json=again)
    heard = [await told(fleet) for _ in range(2)]
    other = (await anna.get(f"{TALKS}/{talk}")).json()["turns"][0]
    page = (await anna.get(f"{TALKS}/{talk}/export", params={"format": "markdown"})).text
    files = [{"name": name, "pages": 1, "read": 1} for name in ("bees.pdf", "two.pdf")]

    assert (200, 200, 200) == (first.status_code, select.status_code, second.status_code), first.text + second.text
    assert (
        "When 🐝 do they sleep?"
        == turn["message"]["content"][turn["given"]["begin"] :]
        == kept["conversation"]["title"]
    )
    assert (files, 1, 1) == (turn["given"]["files"], turn["given"]["images"], len(turn["message"]["images"]))
    assert [files, files] == [one.json()["x_drover"]["conversation"]["files"] for one in (first, second)]
    assert ("Where do they sleep?", files) == (
        other["message"]["content"][other["given"]["begin"] :],
        other["given"]["files"],
    )
    assert heard[1][0][1] == heard[0][0][1].replace("When 🐝 do they sleep?", "Where do they sleep?")
    assert (True, False) == ("bees.pdf, 1 page" in page, "Bees sleep in winter." in page)


async def test_files_of_a_turn_that_has_none_are_refused(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Nothing is asked without the files that were meant."""
    answer = await ask(anna, "Why?")
    talk = answer["x_drover"]["conversation"]
    asked = [
        ("a", {}, "files_of names a turn of a conversation"),
        ("a", {"conversation_id": "new"}, "files_of names a turn of a conversation"),
        (talk["turn"], {"conversation_id": talk["id"]}, "has no files: leave files_of out"),
        ("none", {"conversation_id": talk["id"]}, "the conversation has no turn none"),
        ("a b", {"conversation_id": talk["id"]}, "turn"),
        ("a" * 65, {"conversation_id": talk["id"]}, "files_of"),
    ]
    for files_of, where, why in asked:
        refused = await anna.post("/api/v1/chat", json={"prompt": "What is it?", "files_of": files_of, **where})
        error = refused.json()["error"]

        assert (400, "files_of", True) == (refused.status_code, error["param"], why in error["message"]), refused.text
    assert 1 == fleet.jobs.qsize()


async def test_what_a_pdf_says_is_remembered(anna: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Its text stands before the question, with and without a conversation; the next question is told it, too."""
    body = {"prompt": "When do they sleep?", "files": [a_pdf()]}
    alone = await anna.post("/api/v1/chat", json=body)
    answer = await anna.post("/api/v1/chat", json={**body, "conversation_id": "new"})
    next_one = {"prompt": "And bears?", "conversation_id": answer.headers["x-drover-conversation"]}
    await anna.post("/api/v1/chat", json=next_one)
    heard = [await told(fleet) for _ in range(3)]
    question = "The file 'bees.pdf' has 1 page(s):\n\nBees sleep in winter.\n\nWhen do they sleep?"

    assert (200, 200) == (alone.status_code, answer.status_code), answer.text
    assert [("user", question)] == heard[0] == heard[1]
    assert [("user", question), ("assistant", "Hello there!"), ("user", "And bears?")] == heard[2]


@pytest.mark.parametrize("conversation", [{}, {"conversation_id": "new"}], ids=["alone", "in a conversation"])
@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([{"name": "a.pdf", "data": "%%%"}], "files.0.data of 'a.pdf' is no base64"),
        ([{"name": "a.pdf", "data": base64.b64encode(b"%PDF-1.7 garbage").decode()}], "a.pdf: "),
        ([{"name": "a\u202e.pdf", "data": base64.b64encode(b"%PDF-1.7 garbage").decode()}], "a.pdf: "),
        ([a_pdf(f"{number}.pdf") for number in range(5)], "files"),
        ([{"name": "a.pdf", "data": ""}], "files.0.data"),
        ([{"name": "a" * 201, "data": "AAAA"}], "files.0.name"),
    ],
    ids=["no base64", "no PDF", "a turned name", "too many", "empty", "a long name"],
)
async def test_files_of_a_chat_are_refused_by_name(
    anna: httpx.AsyncClient, files: list[dict[str, str]], says: str, conversation: dict[str, str]
) -> None:
    """Nobody is asked then, and it is said which file it was, and why."""
    refused = await anna.post("/api/v1/chat", json={"prompt": "What is it?", "files": files, **conversation})

    assert 400 == refused.status_code, refused.text
    assert says in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/route/explain", "/api/v1/route/explain"])
async def test_a_chat_of_a_conversation_is_not_explained_as_if_it_had_none(house: House, path: str) -> None:
    """By body or header: what it would be told is not looked at there, and that is said."""
    body = {"messages": [{"role": "user", "content": "hi"}]}
    async with client(house, "router") as http:
        by_body = await http.post(path, json={**body, "conversation_id": "new"})
        by_header = await http.post(path, json=body, headers={"X-Drover-Conversation": "new"})

    assert [400, 400] == [by_body.status_code, by_header.status_code]
    named = [one.json()["error"]["param"] for one in (by_body, by_header)]
    assert ["conversation_id", "x-drover-conversation"] == named


async def test_what_was_said_survives_the_bridge_and_the_ledger(house: House, fleet: ScriptedFleet) -> None:
    """Both are ended and started again; the second question is told the first. Meanwhile it is said what is missing."""
    async with client(house, "anna") as http:
        talk = (await ask(http, "What do wasps eat?"))["x_drover"]["conversation"]["id"]
        await house.ledger.kill()
        body = {"messages": [{"role": "user", "content": "hi"}], "conversation_id": talk}
        without = await http.post(CHATS, json=body)
    await house.start_again()
    fleet.forget()
    async with client(house, "anna") as http:
        await ask(http, "And when?", talk)
    heard = await told(fleet)

    assert (503, "ledger") == (without.status_code, without.json()["error"]["code"])
    assert ["What do wasps eat?", "Hello there!", "And when?"] == [text for _, text in heard]


async def test_a_conversation_that_outgrows_its_context_is_summarised(house: House, fleet: ScriptedFleet) -> None:
    """Where its owner has that turned on: a job of the lowest priority, in the name of who asked, whose own jobs do not wait for
    it; the next question is told the summary in place of the turns."""
    folds, goes_on = asyncio.Event(), asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        if job.request.get("priority") == "batch":
            folds.set()
            await job.stay(goes_on, "decode")
            await job.token("They spoke of ships.")
        else:
            await job.token("Hello there!")
        await job.end()

    if not house.summaries:
        await house.start_again()
    fleet.script = script
    async with client(house, "single") as http:
        talk = (await ask(http, "ships " * 300))["x_drover"]["conversation"]["id"]
        await ask(http, "boats " * 300, talk)
        async with asyncio.timeout(HANG_S):
            await folds.wait()
        await ask(http, "And meanwhile?")
        goes_on.set()

        async def summarised() -> bool:
            return "summary" in (await http.get(f"{TALKS}/{talk}")).json()

        await until(summarised)
        fleet.forget()
        await ask(http, "And rafts?", talk)
    heard = await told(fleet)

    assert ("system", True) == (heard[0][0], "They spoke of ships." in heard[0][1])
    assert ["user", "assistant", "user"] == [role for role, _ in heard[1:]]
