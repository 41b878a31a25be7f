"""openai-python against the bridge."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import openai
from steps import (
    ASK_WEATHER,
    BAD_KEY,
    EMBEDDER,
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

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=SHOWN_KEY, max_retries=0, timeout=60)
me = Client("openai")


with me.step("list models") as saw:
    names = [model.id for model in client.models.list()]
    assert {"auto", "auto:fast", "auto:eco", "auto:local", TALKER} <= set(names), names
    assert client.models.retrieve("auto").id == "auto"
    saw.append(f"{len(names)} models, auto among them")

with me.step("chat with auto") as saw:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=says(question("openai")))
    whole: Any = raw.parse()
    saw.append(spoken(whole.choices[0].message.content))
    assert whole.model != "auto"
    saw.append(f"{whole.model} on {raw.headers['x-drover-device']}, {whole.usage.energy['joules']:.2g} J in usage")

with me.step("chat, streaming") as saw:
    chunks: list[Any] = list(
        client.chat.completions.create(
            model=TALKER,
            messages=says(question("openai")),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    saw.append(in_pieces([text for chunk in chunks if chunk.choices and (text := chunk.choices[0].delta.content)]))
    assert chunks[-1].usage.completion_tokens > 0

with me.step("tools, there and back") as saw:
    asked: Any = says(ASK_WEATHER)
    answer = client.chat.completions.create(model="auto", messages=asked, tools=[WEATHER])  # type: ignore[list-item]
    call: Any = answer.choices[0].message.tool_calls[0]  # type: ignore[index]
    assert json.loads(call.function.arguments) == {"city": "Accra"}
    told = [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "It rains."}]
    after: Any = client.chat.completions.create(model="auto", messages=[*asked, *told], tools=[WEATHER])  # type: ignore[list-item]
    saw.append(f"get_weather(city=Accra); then {spoken(after.choices[0].message.content)}")

with me.step("tools, streaming") as saw:
    chunks = list(client.chat.completions.create(model="auto", messages=asked, tools=[WEATHER], stream=True))  # type: ignore[list-item]
    calls = [one for chunk in chunks if chunk.choices for one in chunk.choices[0].delta.tool_calls or []]
    assert "".join(one.function.arguments for one in calls) == '{"city":"Accra"}', calls
    assert next(chunk.choices[0].finish_reason for chunk in reversed(chunks) if chunk.choices) == "tool_calls"

with me.step("JSON by a schema") as saw:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    shaped: Any = client.chat.completions.create(model="auto", messages=says("Where?"), response_format=form)
    assert set(json.loads(shaped.choices[0].message.content)) == {"city"}

with me.step("legacy completion") as saw:
    saw.append(spoken(client.completions.create(model="auto", prompt=question("openai")).choices[0].text))

with me.step("responses, whole and streaming") as saw:
    saw.append(spoken(client.responses.create(model="auto", input=question("openai")).output_text))
    with client.responses.stream(model="auto", input=question("openai")) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().status == "completed"
    saw.append(in_pieces(pieces))

with me.step("embeddings") as saw:
    vectors = client.embeddings.create(model=EMBEDDER, input=["one", "two"]).data
    saw.append(f"{len(vectors)} of {len(vectors[0].embedding)} numbers")
    plain = client.embeddings.create(model=EMBEDDER, input="one", encoding_format="float").data[0].embedding
    assert max(abs(a - b) for a, b in zip(plain, vectors[0].embedding, strict=True)) < 1e-6

with me.step("an unknown model") as saw:
    ask = partial(client.chat.completions.create, model=UNKNOWN, messages=says("hi"))
    saw.append(refused(openai.NotFoundError, ask, UNKNOWN, "use `auto`"))

if KEY:
    with me.step("a bad key") as saw:
        stranger = client.with_options(api_key=BAD_KEY)
        ask = partial(stranger.chat.completions.create, model="auto", messages=says("hi"))
        saw.append(refused(openai.AuthenticationError, ask))
