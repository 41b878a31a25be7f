"""langchain-openai and langchain-ollama against the bridge."""

from __future__ import annotations

from typing import Any

import ollama
import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
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
    spoken,
)


def headers(key: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {key}"}} if key else {}


def over_openai(model: str, key: str = SHOWN_KEY) -> Any:
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, max_retries=0, timeout=60)  # type: ignore[arg-type]


def over_ollama(model: str, key: str = KEY) -> Any:
    return ChatOllama(model=model, base_url=URL, client_kwargs=headers(key), validate_model_on_init=model != UNKNOWN)


def chats(me: Client, make: Any) -> None:
    """What both do with the same verbs."""
    with me.step("chat with auto") as saw:
        answer = make("auto").invoke(question("langchain"))
        saw.append(spoken(answer.content))
        saw.append(f"{answer.usage_metadata['total_tokens']} tokens")

    with me.step("chat, streaming") as saw:
        saw.append(in_pieces([piece.content for piece in make(TALKER).stream(question("langchain")) if piece.content]))

    with me.step("tools, there and back") as saw:
        model, asked = make("auto").bind_tools([WEATHER]), HumanMessage(ASK_WEATHER)
        called = model.invoke([asked])
        assert [call["args"] for call in called.tool_calls] == [{"city": "Accra"}], called
        told = ToolMessage("It rains.", tool_call_id=called.tool_calls[0]["id"])
        saw.append(f"get_weather(city=Accra); then {spoken(model.invoke([asked, called, told]).content)}")

    with me.step("tools, streaming") as saw:
        pieces = list(model.stream([asked]))
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        assert [call["args"] for call in whole.tool_calls] == [{"city": "Accra"}], whole


one, other = Client("langchain-openai"), Client("langchain-ollama")
chats(one, over_openai)
with one.step("embeddings") as saw:
    # By default it counts tokens with a table from the Internet, and sends the numbers of OpenAI's own tokens, which no other
    # server reads.
    embedder = OpenAIEmbeddings(
        model=EMBEDDER,
        base_url=f"{URL}/v1",
        api_key=SHOWN_KEY,  # type: ignore[arg-type]
        check_embedding_ctx_length=False,
    )
    saw.append(f"{len(embedder.embed_query('one'))} numbers")
with one.step("an unknown model") as saw:
    saw.append(refused(openai.NotFoundError, lambda: over_openai(UNKNOWN).invoke("hi"), UNKNOWN))
if KEY:
    with one.step("a bad key") as saw:
        saw.append(refused(openai.AuthenticationError, lambda: over_openai("auto", BAD_KEY).invoke("hi")))

chats(other, over_ollama)
with other.step("embeddings") as saw:
    vectors = OllamaEmbeddings(model=EMBEDDER, base_url=URL, client_kwargs=headers(KEY)).embed_documents(["one", "two"])
    saw.append(f"{len(vectors)} of {len(vectors[0])} numbers")
with other.step("an unknown model") as saw:
    saw.append(refused(ollama.ResponseError, lambda: over_ollama(UNKNOWN).invoke("hi"), UNKNOWN))
if KEY:
    with other.step("a bad key") as saw:
        saw.append(refused((ollama.ResponseError, ValueError), lambda: over_ollama("auto", BAD_KEY).invoke("hi")))
