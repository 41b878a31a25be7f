"""litellm as a client: its providers for OpenAI, Ollama and Anthropic, each with the bridge as its server."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches its prices at the import
os.environ["LITELLM_LOCAL_POLICY_TEMPLATES"] = "True"

import litellm  # it reads the above at its import
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

litellm.telemetry = False
litellm.suppress_debug_info = True


PROVIDERS = {"openai": f"{URL}/v1", "ollama_chat": URL, "ollama": URL, "anthropic": URL}
ERRORS = (litellm.NotFoundError, litellm.APIConnectionError, litellm.BadRequestError, litellm.InternalServerError)

for provider, base in PROVIDERS.items():
    me = Client("litellm", name=f"litellm ({provider}/…)")
    key = SHOWN_KEY if provider in {"openai", "anthropic"} else KEY or None
    ask: Any = partial(litellm.completion, api_base=base, api_key=key, timeout=60, num_retries=0, max_tokens=300)
    auto = f"{provider}/auto"

    with me.step("chat with auto") as saw:
        whole = ask(model=auto, messages=says(question("litellm")))
        saw.append(f"{spoken(whole.choices[0].message.content)} by {whole.model}, {whole.usage.total_tokens} tokens")

    with me.step("chat, streaming") as saw:
        chunks = list(ask(model=f"{provider}/{TALKER}", messages=says(question("litellm")), stream=True))
        saw.append(in_pieces([text for chunk in chunks if chunk.choices and (text := chunk.choices[0].delta.content)]))

    if provider != "ollama":  # its generate has no tools: litellm asks for JSON by a prompt there
        asked = says(ASK_WEATHER)
        with me.step("tools, there and back") as saw:
            message = ask(model=auto, messages=asked, tools=[WEATHER]).choices[0].message
            call = message.tool_calls[0]
            assert json.loads(call.function.arguments) == {"city": "Accra"}
            told = {"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": "It rains."}
            after = ask(model=auto, messages=[*asked, message.model_dump(), told], tools=[WEATHER])
            saw.append(f"get_weather(city=Accra); then {spoken(after.choices[0].message.content)}")

        with me.step("tools, streaming") as saw:
            chunks = list(ask(model=auto, messages=asked, tools=[WEATHER], stream=True))
            calls = [one for chunk in chunks if chunk.choices for one in chunk.choices[0].delta.tool_calls or []]
            assert json.loads("".join(one.function.arguments or "" for one in calls)) == {"city": "Accra"}, calls

    def embed(texts: list[str], provider: str = provider, base: str = base, key: str | None = key) -> Any:
        form = {"encoding_format": "float"} if provider == "openai" else {}
        return litellm.embedding(model=f"{provider}/{EMBEDDER}", input=texts, api_base=base, api_key=key, **form)

    if provider == "openai" or (provider == "ollama" and not KEY):
        with me.step("embeddings") as saw:
            made = embed(["one", "two"]).data
            saw.append(f"{len(made)} of {len(made[0]['embedding'])} numbers")
    elif provider == "ollama":
        with me.step("embeddings, with which it sends no key") as saw:
            saw.append(refused(litellm.AuthenticationError, partial(embed, ["one"]), "a key is needed"))

    with me.step("an unknown model") as saw:
        saw.append(refused(ERRORS, partial(ask, model=f"{provider}/{UNKNOWN}", messages=says("hi")), UNKNOWN))

    if KEY:
        with me.step("a bad key") as saw:
            wrong = (litellm.AuthenticationError, litellm.APIConnectionError)
            saw.append(refused(wrong, partial(ask, model=auto, messages=says("hi"), api_key=BAD_KEY)))

me = Client("litellm", name="litellm (ollama/…)")
with me.step("what a model is, by /api/show") as saw:
    os.environ["OLLAMA_API_BASE"] = URL
    if KEY:
        os.environ["OLLAMA_API_KEY"] = KEY
    info: Any = litellm.get_model_info(f"ollama/{TALKER}")
    assert info["supports_function_calling"], info
    saw.append(f"context of {info['max_tokens']}, calls functions")
