"""A fleet behind its HTTP bridge, over OpenAI's API; one connection a question, so that giving up a question hangs up on it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from common import codec
from common.errors import BusDisconnected, FleetError, GarbledReply, from_wire
from common.messages import Message
from dispatcher.lab.bench.rows import Heard
from dispatcher.lab.bench.target import PROBE, Target

CONNECT_S = 10.0
MOST_HEAD = 65_536


class HttpTarget:
    """Speaks HTTP/1.1 to one bridge."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._root = parts.hostname or "", parts.path.rstrip("/").removesuffix("/v1")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._url = f"{parts.scheme}://{self._host}:{self._port}"  # without what stands before an @
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
        told = await self._call("POST", "/v1/chat/completions", _body(messages, fields), _headers(fields))
        choice, usage = (told.get("choices") or [{}])[0], told.get("usage") or {}
        return Heard(
            text=(choice.get("message") or {}).get("content") or "",
            finish=choice.get("finish_reason") or "",
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            route=told.get("x_drover") or {},
            why={},
        )

    async def why(self, heard: Heard) -> Heard:
        try:
            return replace(heard, why=await self._call("GET", f"/v1/route/{heard.route.get('job', 'none')}"))
        except FleetError:
            return heard  # as over NATS

    async def explain(self, strategy: str) -> dict[str, Any]:
        fields = {"strategy": strategy}
        return await self._call("POST", "/v1/route/explain", _body(PROBE, fields), _headers(fields))

    async def _call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Give the object that is answered. Raises the error that the bridge names, `BusDisconnected`, `GarbledReply`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=MOST_HEAD)
        except (OSError, TimeoutError) as error:
            raise BusDisconnected(f"nobody answers at {self._url} ({str(error) or 'no answer in time'})") from error
        try:
            writer.write(self._head(method, path, body, headers or {}) + body)
            status, told = await _response(reader)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise GarbledReply(f"{self._url}{path} gave no answer in HTTP: {type(error).__name__}") from error
        finally:
            writer.close()
        if status != 200:
            raise _error(status, told, f"{self._url}{path}")
        return told

    def _head(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        fields = {
            "Host": f"{self._host}:{self._port}",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }
        lines = (f"{method} {self._root}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()))
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _body(messages: Sequence[Message], fields: Mapping[str, Any]) -> bytes:
    options = fields.get("options") or {}
    known = {name: options[name] for name in ("max_tokens", "seed", "temperature") if name in options}
    turns = [{"role": str(one.role), "content": one.content} for one in messages]
    return codec.encode({"model": fields.get("model", "auto"), "messages": turns, **known})


def _headers(fields: Mapping[str, Any]) -> dict[str, str]:
    names = {"strategy": "X-Drover-Strategy", "timeout_s": "X-Drover-Timeout"}
    return {header: str(fields[name]) for name, header in names.items() if fields.get(name) is not None}


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    elif "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    else:
        body = await reader.read()
    told: object = codec.decode(body) if body else {}
    return int(lines[0].split()[1]), told if isinstance(told, dict) else {}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        whole += await reader.readexactly(size)
        await reader.readexactly(2)
    return whole


def _error(status: int, told: Mapping[str, Any], where: str) -> FleetError:
    said = told.get("error")
    if not isinstance(said, Mapping) or not said.get("code"):
        return GarbledReply(f"{where} answered {status}, and not as a bridge of Drover does")
    return from_wire({"code": str(said["code"]), "message": str(said.get("message") or f"status {status}")})


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Target]:
    """Use a bridge. Whether one is there shows with the first question."""
    yield HttpTarget(url)
