"""What `/openapi.json` says of answers, and a request for each route, so that real ones can be held against it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator

Json = dict[str, Any]

POLL_S = 0.05
HI: Json = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


@dataclass(slots=True)
class Description:
    """The document of `/openapi.json`."""

    document: Json
    _validators: dict[str, Draft202012Validator] = field(default_factory=dict)

    def bodies(self) -> dict[tuple[str, str, str], str]:
        """Give the JSON that routes answer with when nothing is wrong: method, path and status, and how it is called."""
        return {
            (method.upper(), path, status): said["content"]["application/json"]["schema"].get("$ref", "")
            for path, operations in self.document["paths"].items()
            for method, operation in operations.items()
            for status, said in operation["responses"].items()
            if status.startswith("2") and "application/json" in said.get("content", {})
        }

    def faults(self, ref: str, body: Any) -> list[str]:
        """Say what in a body is not as described."""
        if ref not in self._validators:
            self._validators[ref] = Draft202012Validator({"$ref": ref, "components": self.document["components"]})
        return [
            f"{'/'.join(map(str, one.instance_path))}: {one.message[:300]}"
            for one in self._validators[ref].iter_errors(body)
        ]


@dataclass(slots=True)
class Asker:
    """Asks as one key, and notes each answer by the path that is described."""

    http: httpx.AsyncClient
    headers: dict[str, str]
    answers: list[tuple[tuple[str, str, str], httpx.Response]] = field(default_factory=list)

    async def ask(self, method: str, path: str, /, json: Any = None, names: Json | None = None, **more: Any) -> Any:
        """Ask, and give the body; `names` stand in the path. Fails for an error."""
        headers = self.headers | more.pop("headers", {})
        answer = await self.http.request(method, path.format(**names or {}), json=json, headers=headers, **more)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        self.answers.append(((method, path, str(answer.status_code)), answer))
        return answer.json() if answer.headers.get("content-type") == "application/json" else None

    async def until(
        self, method: str, path: str, /, json: Any = None, names: Json | None = None, *, state: str | None = None
    ) -> Any:
        """Ask until the answer is no error, and of this state: the ledger is a moment behind, and so is who hears of a device."""
        while True:
            answer = await self.http.request(method, path.format(**names or {}), json=json, headers=self.headers)
            if answer.status_code < 300 and state in {None, answer.json().get("state")}:
                return await self.ask(method, path, json, names)
            await asyncio.sleep(POLL_S)


async def ask_everything(asker: Asker, secret: str) -> None:
    """Ask each route that answers with JSON for something that there is; `secret` is the asker's key."""
    job, model, device = await _openai(asker)
    await _others(asker, model)
    await _talk(asker)
    await _jobs(asker, job)
    await _figures(asker, secret)
    await _fleet(asker, device)


async def _openai(asker: Asker) -> tuple[str, str, str]:
    said = await asker.ask("POST", "/v1/chat/completions", {**HI, "conversation_id": "new"})
    await asker.ask("POST", "/v1/chat/completions", HI)
    receipt = said["x_drover"]
    await asker.ask("POST", "/v1/completions", {"prompt": "hi", "echo": True})
    await asker.ask("POST", "/v1/responses", {"input": "hi", "instructions": "be short", "metadata": {"a": "b"}})
    for headers in ({}, {"anthropic-version": "2023-06-01"}):
        await asker.ask("GET", "/v1/models", headers=headers)
        for model in ("auto", receipt["model"]):
            await asker.ask("GET", "/v1/models/{model}", names={"model": model}, headers=headers)
    for encoding in ("float", "base64"):
        await asker.ask(
            "POST", "/v1/embeddings", {"model": receipt["model"], "input": "hi", "encoding_format": encoding}
        )
    return receipt["job"], receipt["model"], receipt["device"]


async def _others(asker: Asker, model: str) -> None:
    """Anthropic's, Ollama's and the smart router's."""
    message = {"model": "auto", "max_tokens": 9, "messages": HI["messages"]}
    await asker.ask("POST", "/v1/messages", message)
    await asker.ask("POST", "/v1/messages/count_tokens", message)
    chat = {"model": "auto", "stream": False}
    await asker.ask("POST", "/api/chat", {**chat, "messages": HI["messages"]})
    await asker.ask("POST", "/api/chat", chat)
    await asker.ask("POST", "/api/generate", {**chat, "prompt": "hi"})
    await asker.ask("POST", "/api/generate", {**chat, "keep_alive": 0})
    for words in (["hi", "ho"], []):
        await asker.ask("POST", "/api/embed", {"model": model, "input": words})
    for text in ("hi", ""):
        await asker.ask("POST", "/api/embeddings", {"model": model, "prompt": text})
    for name in ("auto", model):
        await asker.ask("POST", "/api/show", {"model": name})
    for path in ("/api/tags", "/api/ps", "/api/version", "/health", "/models"):
        await asker.ask("GET", path)
    await asker.ask("POST", "/route", {"prompt": "hi"})
    await asker.ask("POST", "/route/with-file", files={"prompt": (None, "hi")})
    await asker.ask("POST", "/route/with-file", data={"prompt": "hi"}, files={"file": ("a.png", b"no image")})


async def _talk(asker: Asker) -> None:
    await asker.ask("POST", "/api/v1/chat", {"prompt": "hi"})
    path = "/api/v1/conversations"
    names = {"conversation": (await asker.ask("POST", path, {"title": "Bees"}))["id"]}
    said = {"messages": [{"role": "user", "content": "a bee"}, {"role": "assistant", "content": "sings"}]}
    turns = (await asker.ask("POST", path + "/{conversation}/turns", said, names))["turns"]
    await asker.ask("POST", path + "/{conversation}/select", {"turn": turns[0]}, names)
    await asker.ask("POST", path + "/{conversation}/turns", said, names)
    await asker.ask("POST", path + "/{conversation}/branch", {"turn": turns[1]}, names)
    await asker.ask("POST", "/v1/chat/completions", {**HI, "conversation_id": names["conversation"]})
    await asker.ask("PATCH", path + "/{conversation}", {"title": "Wasps"}, names)
    await asker.ask("GET", path + "/{conversation}", names=names)
    await asker.ask("POST", path + "/{conversation}/select", {"turn": None}, names)
    await asker.ask("GET", path + "/{conversation}", names=names)
    await asker.ask("GET", path + "/{conversation}/export", names=names)
    await asker.ask("GET", path, params={"limit": 1})
    await asker.ask("GET", path, params={"q": "bee"})
    await asker.ask("DELETE", path, params={"confirm": "all"})


async def _jobs(asker: Asker, ended: str) -> None:
    path = "/api/v1/jobs"
    begun = await asker.ask("POST", path, {"prompt": "hi"})
    await asker.ask("GET", "/api/v1/running")
    await asker.until("GET", path + "/{job}", names={"job": begun["id"]}, state="done")
    await asker.ask("DELETE", path + "/{job}", names={"job": begun["id"]})
    await asker.until("GET", path + "/{job}", names={"job": ended})
    await asker.ask("GET", path, params={"limit": 1})
    await asker.until("POST", "/api/v1/votes", {"jobs": [ended, begun["id"]], "winner": ended})
    for prefix in ("/v1", "/api/v1"):
        await asker.ask("POST", f"{prefix}/route/explain", HI)
        await asker.ask("GET", f"{prefix}/route/{{job}}", names={"job": ended})
        await asker.ask("POST", f"{prefix}/feedback", {"job": ended, "rating": "up"})
        await asker.ask("POST", f"{prefix}/feedback", {"job": ended, "rating": None})


async def _figures(asker: Asker, secret: str) -> None:
    """Sums, keys and sessions."""
    for by in ("device", "model", "strategy"):
        await asker.ask("GET", "/api/v1/votes", params={"by": by})
    for by in ("device", "model", "tenant", "day", "site", "time"):
        await asker.ask("GET", "/api/v1/energy", params={"by": by})
    await asker.ask("GET", "/api/v1/latency")
    await asker.ask("GET", "/api/v1/usage")
    (run,) = (await asker.ask("GET", "/api/v1/experiments"))["experiments"]
    await asker.ask("GET", "/api/v1/experiments/{experiment}", names={"experiment": run["id"]})
    path, budget = "/api/v1/keys", {"unit": "tokens", "limit": 1000, "period": "day"}
    made = await asker.ask("POST", path, {"name": "schema", "budgets": [budget], "models": ["echo*"]})
    names = {"which": made["key"]["key"]}
    await asker.ask("PATCH", path + "/{which}", {"requests_per_minute": 60, "parallel": 2}, names)
    await asker.ask("POST", path + "/{which}/rotate", {"overlap_s": 60}, names)
    await asker.ask("POST", path + "/{which}/refill", names=names)
    await asker.ask("GET", path, params={"limit": 1})
    await asker.ask("DELETE", path + "/{which}", names=names)
    await asker.ask("POST", "/api/v1/session", {"key": secret})
    asker.http.cookies.clear()
    await asker.ask("GET", "/api/v1/session")


async def _fleet(asker: Asker, device: str) -> None:
    await asker.ask("GET", "/api/v1/models")
    await asker.ask("GET", "/api/v1/limits")
    await asker.ask("GET", "/api/v1/devices")
    await asker.ask("GET", "/api/v1/devices/{name}/history", names={"name": device})
    devices = (await asker.ask("GET", "/api/v1/devices"))["devices"]
    model = {one["name"]: one["models"] for one in devices}[device][0]["name"]
    await asker.ask("POST", "/api/v1/devices/{name}/load", {"model": model}, {"name": device})
    for verb in ("drain", "resume"):
        await asker.ask("POST", f"/api/v1/devices/{{name}}/{verb}", names={"name": device})
    await asker.until("POST", "/v1/chat/completions", HI)
