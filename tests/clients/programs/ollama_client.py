"""ollama-python against the bridge."""

from __future__ import annotations

from functools import partial

import ollama
from steps import (
    ASK_WEATHER,
    BAD_KEY,
    EMBEDDER,
    KEY,
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


def connect(key: str) -> ollama.Client:
    return ollama.Client(URL, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=60)


client = connect(KEY)
me = Client("ollama")

with me.step("list models") as saw:
    names = [model.model for model in client.list().models]
    assert {"auto:latest", "auto:fast", "auto:eco", "auto:local", TALKER} <= set(names), names
    saw.append(f"{len(names)} models, auto among them")

with me.step("show a model") as saw:
    shown = client.show(TALKER)
    assert "tools" in (shown.capabilities or [])
    context = next(value for key, value in (shown.modelinfo or {}).items() if key.endswith(".context_length"))
    assert "completion" in (client.show("auto").capabilities or [])
    saw.append(f"context of {context}")

with me.step("chat with auto") as saw:
    whole = client.chat("auto", says(question("ollama")))
    saw.append(spoken(whole.message.content))
    assert whole.eval_count
    saw.append(f"{whole.model}, {whole.eval_count} tokens")

with me.step("chat, streaming") as saw:
    parts = list(client.chat(TALKER, says(question("ollama")), stream=True))
    saw.append(in_pieces([part.message.content for part in parts if part.message.content]))
    assert parts[-1].done_reason == "stop"

with me.step("generate, whole and streaming") as saw:
    saw.append(spoken(client.generate("auto", question("ollama")).response))
    parts = list(client.generate("auto", question("ollama"), stream=True))
    saw.append(in_pieces([part.response for part in parts if part.response]))

with me.step("tools, there and back") as saw:
    asked = says(ASK_WEATHER)
    answer = client.chat("auto", asked, tools=[WEATHER])
    call = (answer.message.tool_calls or [])[0].function
    assert call.arguments == {"city": "Accra"}
    after = client.chat(
        "auto", [*asked, answer.message, {"role": "tool", "tool_name": call.name, "content": "It rains."}]
    )
    saw.append(f"get_weather(city=Accra); then {spoken(after.message.content)}")

with me.step("tools, streaming") as saw:
    parts = list(client.chat("auto", asked, tools=[WEATHER], stream=True))
    assert [one.function.name for part in parts for one in part.message.tool_calls or []] == ["get_weather"]

with me.step("models in memory") as saw:
    held = client.ps().models
    assert held
    assert all(one.expires_at for one in held)
    saw.append(f"{len(held)}")

with me.step("embeddings, both ways") as saw:
    vectors = client.embed(EMBEDDER, ["one", "two"]).embeddings
    assert len(client.embeddings(EMBEDDER, "one").embedding) == len(vectors[0])
    saw.append(f"{len(vectors)} of {len(vectors[0])} numbers")

with me.step("an unknown model") as saw:
    saw.append(refused(ollama.ResponseError, partial(client.chat, UNKNOWN, says("hi")), UNKNOWN, "404"))

with me.step("pulling a model is refused") as saw:
    saw.append(refused(ollama.ResponseError, partial(client.pull, TALKER), "on the device itself"))

if KEY:
    with me.step("a bad key") as saw:
        saw.append(refused(ollama.ResponseError, partial(connect(BAD_KEY).chat, "auto", says("hi")), "401"))
