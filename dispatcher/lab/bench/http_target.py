"""A fleet behind its HTTP bridge, over OpenAI's API; one connection a question, so that giving up a question hangs up on it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from common import codec
from common.errors import BusDisconnected, BusTimeout, FleetError, GarbledReply, NotAllowed, from_wire
from common.messages import Message
from dispatcher.lab import http
from dispatcher.lab.bench.rows import Heard
from dispatcher.lab.bench.target import PROBE, Target

ASK_S = 600.0
"""What a fleet gives a question without a time-out, unless it's set otherwise there."""

MARGIN_S = 10.0
"""How much later than the fleet itself the bench gives up a question: the fleet knows what became of it."""

TOLD_S = 10.0
"""What is asked of the dispatcher alone takes milliseconds."""


class HttpTarget:
    """Speaks HTTP/1.1 to one bridge."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._root = parts.hostname or "", parts.path.rstrip("/").removesuffix("/v1")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._url = f"{parts.scheme}://{http.bracketed(self._host)}:{self._port}"  # without what stands before an @
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
        limit_s = (fields.get("timeout_s") or ASK_S) + MARGIN_S
        body, headers = _body(messages, fields), _headers(fields)
        told = await self._call("POST", "/v1/chat/completions", body, headers, timeout_s=limit_s)
        choice, usage = (told.get("choices") or [{}])[0], told.get("usage") or {}
        return Heard(
            text=(choice.get("message") or {}).get("content") or "",
            finish=choice.get("finish_reason") or "",
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            route=told.get("x_drover") or {},
            why={},
            energy=usage.get("energy") or {},
        )

    async def why(self, heard: Heard) -> Heard:
        try:
            return replace(heard, why=await self._call("GET", f"/v1/route/{heard.route.get('job', 'none')}"))
        except FleetError:
            return heard  # as over NATS

    async def explain(self, strategy: str) -> dict[str, Any]:
        fields = {"strategy": strategy}
        return await self._call("POST", "/v1/route/explain", _body(PROBE, fields), _headers(fields))

    async def forget(self) -> None:
        raise NotAllowed("a bridge empties no cache: give the fleet's nats:// address")

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = TOLD_S,
    ) -> dict[str, Any]:
        """Give the object that is answered.

        Raises the error that the bridge names, `BusDisconnected`, `BusTimeout`, `GarbledReply`.
        """
        try:
            connection = await http.connect(self._host, self._port, tls=self._tls)
        except OSError as error:
            raise BusDisconnected(f"nobody answers at {self._url} ({str(error) or 'no answer in time'})") from error
        once = {"Connection": "close", **(headers or {})}
        try:
            status, answer = await connection.call(method, self._root + path, body, once, timeout_s=timeout_s)
            told = _object(answer)
        except TimeoutError as error:
            raise BusTimeout(f"{self._url}{path} did not answer within {timeout_s:.0f} s") from error
        except (OSError, EOFError) as error:
            raise BusDisconnected(f"{self._url} hung up in the middle of an answer") from error
        except (ValueError, FleetError) as error:
            raise GarbledReply(f"{self._url}{path} gave no answer in HTTP and JSON: {error}") from error
        finally:
            connection.abandon()
        if status != 200:
            raise _error(status, told, f"{self._url}{path}")
        return told


def _body(messages: Sequence[Message], fields: Mapping[str, Any]) -> bytes:
    options = fields.get("options") or {}
    known = {name: options[name] for name in ("max_tokens", "seed", "temperature") if name in options}
    turns = [{"role": str(one.role), "content": one.content} for one in messages]
    return codec.encode({"model": fields.get("model", "auto"), "messages": turns, **known})


def _headers(fields: Mapping[str, Any]) -> dict[str, str]:
    names = {"strategy": "X-Drover-Strategy", "timeout_s": "X-Drover-Timeout", "cache": "X-Drover-Cache"}
    return {header: str(fields[name]) for name, header in names.items() if fields.get(name) is not None}


def _object(answer: bytes) -> dict[str, Any]:
    told: object = codec.decode(answer) if answer else {}
    return told if isinstance(told, dict) else {}


def _error(status: int, told: Mapping[str, Any], where: str) -> FleetError:
    said = told.get("error")
    if not isinstance(said, Mapping) or not said.get("code"):
        return GarbledReply(f"{where} answered {status}, and not as a bridge of Drover does")
    return from_wire({"code": str(said["code"]), "message": str(said.get("message") or f"status {status}")})


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Target]:
    """Use a bridge. Whether one is there shows with the first question."""
    yield HttpTarget(url)
