"""anthropic-python against the bridge."""

from __future__ import annotations

from functools import partial
from typing import Any

import anthropic
from steps import (
    ASK_WEATHER,
    BAD_KEY,
    KEY,
    SHOWN_KEY,
    TALKER,
    UNKNOWN,
    URL,
    WEATHER,
    Client,
    in_pieces,
    question,
    refused,
    says,
    spoken,
)

client = anthropic.Anthropic(base_url=URL, api_key=SHOWN_KEY, max_retries=0, timeout=60)
me = Client("anthropic")
function = WEATHER["function"]
TOOL: Any = {"name": function["name"], "description": function["description"], "input_schema": function["parameters"]}


with me.step("list models") as saw:
    names = [model.id for model in client.models.list()]
    assert {"auto", TALKER} <= set(names), names
    saw.append(f"{len(names)} models, auto among them")

with me.step("chat with auto") as saw:
    whole: Any = client.messages.create(model="auto", max_tokens=300, messages=says(question("anthropic")))
    saw.append(f"{spoken(whole.content[0].text)} by {whole.model}")

with me.step("chat, streaming") as saw:
    begun = client.messages.stream(model=TALKER, max_tokens=300, messages=says(question("anthropic")))
    with begun as stream:
        saw.append(in_pieces(list(stream.text_stream)))
        assert stream.get_final_message().stop_reason == "end_turn"

with me.step("tools, there and back") as saw:
    asked = says(ASK_WEATHER)
    answer: Any = client.messages.create(model="auto", max_tokens=300, messages=asked, tools=[TOOL])
    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.input == {"city": "Accra"}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "It rains."}]}
    told: Any = [*asked, {"role": "assistant", "content": answer.content}, result]
    after: Any = client.messages.create(model="auto", max_tokens=300, messages=told, tools=[TOOL])
    saw.append(f"get_weather(city=Accra); then {spoken(after.content[0].text)}")

with me.step("tools, streaming") as saw:
    with client.messages.stream(model="auto", max_tokens=300, messages=asked, tools=[TOOL]) as stream:
        final: Any = stream.get_final_message()
    assert [block.input for block in final.content if block.type == "tool_use"] == [{"city": "Accra"}]
    assert final.stop_reason == "tool_use"

with me.step("an unknown model") as saw:
    ask = partial(client.messages.create, model=UNKNOWN, max_tokens=9, messages=says("hi"))
    saw.append(refused(anthropic.NotFoundError, ask, UNKNOWN))

if KEY:
    with me.step("a bad key") as saw:
        stranger = client.with_options(api_key=BAD_KEY)
        ask = partial(stranger.messages.create, model="auto", max_tokens=9, messages=says("hi"))
        saw.append(refused(anthropic.AuthenticationError, ask))
