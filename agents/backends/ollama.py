"""Chats on Ollama (or on the device simulator) through the `ollama` package; it knows neither bus nor frames.

What the package gets wrong for us is put right here and in `ollama_wire`: it opens an image string as a local file when
one has that name, it drops nested fields of tool schemas, and it waits for ever by default.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, cast

import httpx
import ollama

from agents.backends import Backend, BackendDone, BackendText, Bill, OnDevice, Piece, Version
from agents.backends import ollama_wire as wire
from agents.backends.ollama_context import Held, cache_bytes_per_token, chosen, longest, most_tokens, require_room
from agents.backends.ollama_faults import fault_of
from agents.settings import AgentSettings, OllamaSection
from agents.telemetry import Readings
from common.errors import BackendError, BadRequest, GarbledReply
from common.frames import MAX_LOGPROBS
from common.logs import get_logger
from common.messages import Dispatch, Message, ModelInfo, Options, Role, ToolCall
from common.prompts import context_need

log = get_logger("ollama")

CONNECT_S = 3.0
ASK_S = 5.0
"""How long a question that needs no model work may take; a board that swaps needs seconds to answer."""


class OllamaBackend(OnDevice):
    """One Ollama. Made by `open_ollama`."""

    name = "ollama"
    continues = True

    def __init__(
        self,
        client: ollama.AsyncClient,
        http: httpx.AsyncClient,
        section: OllamaSection,
        readings: Callable[[], Readings],
        *,
        slots: int,
    ) -> None:
        self._client = client
        self._http = http
        self._host = section.host
        self._tune(section, slots)
        self._readings = readings
        self._held = Held()
        self._known: dict[str, ModelInfo] = {}
        """What was listed last, by name."""
        self._defaults: dict[str, int] = {}
        """The contexts that models' own Modelfiles set, by name."""
        self._shown: dict[str, Mapping[str, Any]] = {}
        """What `/api/show` said, by digest: under the same digest it stays the same."""
        self._odd: set[str] = set()
        """The models that can't be read, each of them logged once."""

    async def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:  # noqa: ARG002  # it costs nothing
        """Stream one answer. Closing the generator closes the HTTP stream, at which Ollama stops computing.

        Raises `ContextTooLong` and `ModelNotLoadable` for a prompt that Ollama would have to cut.
        """
        calls: list[ToolCall] = []
        sure: list[float] = []
        done: BackendDone | None = None
        with self._context(dispatch) as context_tokens, translated(self._host, dispatch.model):
            async with aclosing(await self._begin(dispatch, context_tokens)) as chunks:
                # read to its end, also behind the last line: only then does the next job find the connection open
                async for chunk in chunks:
                    calls += _tool_calls(chunk.message)
                    sure += [one.logprob for one in chunk.logprobs or () if len(sure) < MAX_LOGPROBS]
                    if chunk.message.content or not chunk.done:
                        yield BackendText(chunk.message.content or "")
                    if chunk.done:
                        done = replace(_done(chunk, tuple(calls)), logprobs=wire.logprobs_of(sure))
        if done is None:
            raise BackendError(
                f"Ollama broke off its answer with {dispatch.model!r}: its runner may have crashed, see its log"
            )
        yield done

    def tune(self, settings: AgentSettings) -> None:
        """Take from the settings how long models stay, their context, and the slots."""
        self._tune(settings.ollama, settings.slots)

    def _tune(self, section: OllamaSection, slots: int) -> None:
        self._keep_alive = section.keep_alive
        self._default_context = section.context_length or None
        self._slots = slots

    async def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:  # noqa: ARG002  # it costs nothing
        """Embed texts in one request; nothing comes before all of them are done."""
        with self._context(dispatch) as context_tokens, translated(self._host, dispatch.model):
            arguments = wire.embed_to_wire(dispatch, self._keep_alive, context_tokens)
            answer = await self._client.embed(**arguments)
            embeddings = wire.packed(answer.embeddings)
        if len(embeddings) != len(dispatch.inputs or ()):
            raise GarbledReply(f"Ollama gave {len(embeddings)} embeddings of {len(dispatch.inputs or ())} texts")
        load_ns, total_ns = answer.load_duration, answer.total_duration
        prefill_ns = None if total_ns is None else max(0, total_ns - (load_ns or 0))
        yield BackendDone(
            usage=wire.usage_of(answer.prompt_eval_count, None),
            engine=wire.timings_of(load_ns, prefill_ns, None),
            embeddings=embeddings,
        )

    async def models(self) -> tuple[ModelInfo, ...]:
        """List what is on disk, and what of it is in memory now; a model that can't be read is left out."""
        mark = self._held.mark()
        with translated(self._host):
            async with asyncio.timeout(ASK_S):
                listed = [model.model_dump() for model in (await self._client.list()).models if model.model]
                loaded = {str(model.model): model.model_dump() for model in (await self._client.ps()).models}
                listed.sort(
                    key=lambda model: str(model["model"])
                )  # Ollama's order changes with each use and each restart
                shown = [await self._show(model) for model in listed]
            joined = [
                self._join(one, loaded.get(one["model"]), about) for one, about in zip(listed, shown, strict=True)
            ]
        known = {model.name: model for model in joined if model is not None}
        self._held.listed({name: model.loaded_context_tokens or 0 for name, model in known.items()}, mark)
        self._known = self._bounded(known, {one["model"]: about for one, about in zip(listed, shown, strict=True)})
        return tuple(self._known.values())

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """List what is in memory at this moment, with what was listed of it before."""
        with translated(self._host):
            async with asyncio.timeout(ASK_S):
                loaded = [model.model_dump() for model in (await self._client.ps()).models if model.model]
            joined = [self._join(one, one, {}) for one in loaded]
        return tuple(
            replace(model, capabilities=self._known[model.name].capabilities) if model.name in self._known else model
            for model in joined
            if model is not None
        )

    async def one_token(self, model: ModelInfo) -> None:
        """Ask a model that is in memory for one token, with the context that it is loaded with: another would load it anew."""
        options = wire.options_to_wire(Options(max_tokens=1), model.loaded_context_tokens or self._held.of(model.name))
        turn = wire.turn_to_wire(Message(role=Role.USER, content="hi"))
        keep_alive = wire.keep_alive_to_wire(self._keep_alive)
        with translated(self._host, model.name):
            await self._client.chat(
                model=model.name, messages=[turn], options=options, keep_alive=keep_alive, stream=False
            )

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        """Ask for nothing, at which Ollama loads: with the context that it is loaded with, or else of Ollama's own choice."""
        require_room(model, self._readings().memory_total_bytes)
        options = wire.options_to_wire(Options(), self._held.of(model.name))
        keep_alive = wire.keep_alive_to_wire(self._keep_alive) if keep_s is None else keep_s
        with translated(self._host, model.name):
            if wire.only_embeds(model):  # `/api/generate` refuses it
                await self._client.embed(model=model.name, input=[], options=options, keep_alive=keep_alive)
            else:
                await self._client.generate(model=model.name, options=options, keep_alive=keep_alive, stream=False)

    async def version(self) -> Version:
        """Ask for the version; the device simulator names itself in it."""
        with translated(self._host):
            async with asyncio.timeout(ASK_S):
                answer = await self._http.get(f"{self._host}/api/version")
                text = str(answer.json()["version"]) if answer.is_success else "unknown"
        return Version(text, simulated="simulated" in text)

    @contextmanager
    def _context(self, dispatch: Dispatch) -> Iterator[int | None]:
        """Choose the size of the context for one job, and remember it as long as the job runs."""
        name = wire.full_name(dispatch.model)
        known = self._known.get(name)
        tokens = chosen(
            context_need(dispatch.messages, dispatch.tools, dispatch.options)
            if dispatch.inputs is None
            else longest(dispatch.inputs, dispatch.options, known),
            dispatch.model,
            known,
            held=self._held.of(name),
            default=self._defaults.get(name) or self._default_context,
        )
        self._held.begin(name, tokens)
        try:
            yield tokens
        finally:
            self._held.end(name)

    def _bounded(self, known: Mapping[str, ModelInfo], shown: Mapping[str, Mapping[str, Any]]) -> dict[str, ModelInfo]:
        """Add to each model how large a context the device's memory allows."""
        now = self._readings()
        free_bytes = now.memory_available_bytes
        if free_bytes is not None:
            free_bytes += sum(model.memory_bytes for model in known.values())
        self._defaults = {name: default for name in known if (default := wire.default_context(shown[name]))}
        return {
            name: replace(
                model,
                most_context_tokens=most_tokens(
                    model,
                    cache_bytes_per_token(shown[name].get("modelinfo") or {}),
                    slots=self._slots,
                    total_bytes=now.memory_total_bytes,
                    free_bytes=free_bytes,
                ),
            )
            for name, model in known.items()
        }

    async def _begin(self, dispatch: Dispatch, context_tokens: int | None) -> AsyncGenerator[ollama.ChatResponse, None]:
        """Build the request; nothing is sent before the first chunk is asked for."""
        arguments = wire.chat_to_wire(dispatch, self._keep_alive, context_tokens)
        try:
            with warnings.catch_warnings():
                # the raw schema inside a Tool is written whole, and pydantic warns that it is no `Function`
                warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
                stream = await self._client.chat(**arguments, tools=_tools(dispatch.tools), stream=True)
        except ValueError as error:
            raise BadRequest(f"the request can't be put to Ollama: {error}") from error
        return cast("AsyncGenerator[ollama.ChatResponse, None]", stream)  # declared as AsyncIterator; it is a generator

    def _join(
        self, listed: Mapping[str, Any], loaded: Mapping[str, Any] | None, shown: Mapping[str, Any]
    ) -> ModelInfo | None:
        try:
            return wire.model_of(listed, loaded, shown)
        except (BadRequest, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            name = str(listed["model"])
            if name not in self._odd:
                self._odd.add(name)
                log.warning("model.unreadable", model=name[:200], error=f"{type(error).__name__}: {error}"[:300])
            return None

    async def _show(self, listed: Mapping[str, Any]) -> Mapping[str, Any]:
        digest = str(listed.get("digest") or listed["model"])
        if digest not in self._shown:
            try:
                self._shown[digest] = (await self._client.show(listed["model"])).model_dump()
            except (ollama.ResponseError, ValueError):
                return {}  # deleted meanwhile, or broken: the other models are none the worse for it
        return self._shown[digest]


@asynccontextmanager
async def open_ollama(
    section: OllamaSection, readings: Callable[[], Readings], *, slots: int
) -> AsyncIterator[Backend]:
    """Open the HTTP connections; whether anything answers shows with the first question. `readings` gives the device's memory,
    `slots` the requests that Ollama runs at once, each with a cache of its own."""
    timeout = httpx.Timeout(section.silence_s, connect=CONNECT_S)
    # No limit on connections: the agent's slots are the limit, and a poll must not wait behind chats.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with (
        ollama.AsyncClient(section.host, timeout=timeout, limits=limits, trust_env=False) as client,
        httpx.AsyncClient(timeout=ASK_S, trust_env=False) as http,
    ):
        yield OllamaBackend(client, http, section, readings, slots=slots)


@contextmanager
def translated(host: str, model: str = "") -> Iterator[None]:
    """Turn everything that the package and its HTTP client raise into our errors; the one place that knows theirs."""
    try:
        yield
    except ollama.ResponseError as error:
        raise fault_of(error.status_code, str(error.error), model) from error
    except ollama.RequestError as error:
        raise BadRequest(f"Ollama's client refuses the request: {error.error}") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, ConnectionError) as error:
        raise BackendError(f"no Ollama answers at {host}: start it (`ollama serve`) or set OLLAMA_HOST") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise BackendError(
            f"Ollama at {host} fell silent ({type(error).__name__}): restart it if this goes on"
        ) from error
    except (httpx.DecodingError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise GarbledReply(
            f"what {host} sent is not Ollama's format ({type(error).__name__}): is OLLAMA_HOST right?"
        ) from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise BackendError(
            f"Ollama at {host} broke off: it was stopped, or it crashed; ask again, and another device if that goes on",
            fault=f"{type(error).__name__}: {error}"[:200],
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as error:
        said = str(error) or "no reason given"
        raise BackendError(f"the connection to Ollama at {host} broke ({type(error).__name__}: {said})") from error


def _tools(schemas: Sequence[Mapping[str, Any]]) -> list[ollama.Tool] | None:
    """Wrap tool schemas as they are: `Tool`'s own fields would drop nested properties, defaults and bounds."""
    wrapped = [
        ollama.Tool.model_construct(type=schema.get("type", "function"), function=schema.get("function"))
        for schema in schemas
    ]
    return wrapped or None


def _tool_calls(message: ollama.Message) -> list[ToolCall]:
    return [
        ToolCall(name=call.function.name, arguments=dict(call.function.arguments)) for call in message.tool_calls or ()
    ]


def _done(chunk: ollama.ChatResponse, calls: tuple[ToolCall, ...]) -> BackendDone:
    return BackendDone(
        finish=wire.finish_of(chunk.done_reason, calls),
        usage=wire.usage_of(chunk.prompt_eval_count, chunk.eval_count),
        engine=wire.timings_of(chunk.load_duration, chunk.prompt_eval_duration, chunk.eval_duration),
        tool_calls=calls,
    )
