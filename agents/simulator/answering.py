"""Turns a parsed chat, generate or embed request into lines: finds the model, checks it, loads it, acts the answer out.

It does not know HTTP: what can't be answered is raised as Refused, what is no stream as Whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agents.simulator import embedding, tokens, wire
from agents.simulator.doctoring import Doctored
from agents.simulator.engine import Runner
from agents.simulator.errors import Refused, ServerBusy
from agents.simulator.faults import NO_FAULT, Fault, FaultBox, FaultKind
from agents.simulator.inference import Finished, Garbage, Piece, Stage, perform
from agents.simulator.library import Library, is_valid, qualified
from agents.simulator.options import parse_options
from agents.simulator.profiles import ModelSpec
from agents.simulator.requests import EmbedRequest, InferenceRequest
from agents.simulator.script import Script, context_ids, write
from agents.simulator.wire import BROKEN_LINE, Line, Whole

# What llama-server says when a prompt brings images and the model has no projector for them.
_NO_VISION = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
_TOO_LONG_TO_EMBED = "the input length exceeds the context length"
# What llama-server says once a model is loaded that only chats; Ollama up to 0.31 said "this model does not support embeddings".
_NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """The whole simulated device."""

    stage: Stage
    library: Library
    faults: FaultBox
    seed: int
    doctored: Doctored = field(default_factory=Doctored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where /api/chat and /api/generate differ."""

    verb: str
    is_empty: Callable[[InferenceRequest], bool]
    piece: Callable[[str, datetime, Piece], Line]
    end: Callable[[str, datetime, Finished, Sequence[int]], Line]
    bare: Callable[[str, datetime, str], Line]
    join: Callable[[Sequence[Line]], Line]


CHAT = Dialect(
    verb="chat",
    is_empty=lambda request: not request.messages,
    piece=wire.chat_piece,
    end=lambda model, now, end, _: wire.chat_end(model, now, end),
    bare=wire.bare_chat,
    join=wire.whole_chat,
)
GENERATE = Dialect(
    verb="generate",
    is_empty=lambda request: not request.prompt,
    piece=wire.generate_piece,
    end=wire.generate_end,
    bare=wire.bare_generate,
    join=wire.whole_generate,
)


def find_model(sim: Simulator, name: str, *, empty: Refused, missing: Refused) -> ModelSpec:
    """Find an installed model; raise `empty` for no name, `missing` for an unknown one, 400 for no possible name."""
    if not name:
        raise empty
    if not is_valid(name):
        raise Refused(400, "invalid model name")
    found = sim.library.find(name)
    if found is None:
        raise missing
    return found.spec


def prepare(sim: Simulator, request: InferenceRequest, dialect: Dialect) -> ModelSpec:
    """Check, in Ollama's order, all that is checked before a model is loaded; raise Refused, or Whole for an unload."""
    missing = Refused(404, f"model '{request.model}' not found")
    empty = Refused(400, "model is required") if dialect is CHAT else missing
    model = find_model(sim, request.model, empty=empty, missing=missing)
    if dialect.is_empty(request) and request.keep_alive_s == 0:
        sim.stage.engine.expire(model)
        raise Whole(dialect.bare(request.model, datetime.now(UTC), "unload"))
    if request.raw and (request.template or request.context or len(request.messages) > 1):
        raise Refused(400, "raw mode does not support template, system, or context")
    _check_capabilities(request, model, dialect)
    return model


async def answer(sim: Simulator, request: InferenceRequest, model: ModelSpec, dialect: Dialect) -> AsyncGenerator[Line]:
    """Answer a chat or generate request, line by line; raise Refused, Whole or ConnectionCut."""
    async with counted(sim, only_loads=dialect.is_empty(request)) as fault:
        options = parse_options(request.raw_options)
        async with _loaded(sim, model, options.num_ctx, request.keep_alive_s, fault) as (runner, load_s):
            if dialect.is_empty(request):
                raise Whole(dialect.bare(request.model, datetime.now(UTC), "load"))
            if not model.can("vision") and any(message.images for message in request.messages):
                raise Refused(500, _NO_VISION)
            script = write(
                request,
                options,
                device=sim.stage.engine.device.name,
                model=model,
                context_tokens=runner.context_tokens,
                default_seed=sim.seed,
            )
            context = context_ids(request, script)
            async with aclosing(perform(sim.stage, runner, script, load_s=load_s, fault=fault)) as events:
                async for event in events:
                    yield _line(request, event, dialect, context)


async def embed(sim: Simulator, request: EmbedRequest, model: ModelSpec) -> AsyncGenerator[Line]:
    """Answer an embed request with its one line; raise Refused or ConnectionCut."""
    async with counted(sim, only_loads=not request.inputs) as fault:
        options = parse_options(request.raw_options)
        async with _loaded(sim, model, options.num_ctx, request.keep_alive_s, fault) as (runner, load_s):
            if not request.inputs:
                yield wire.embedded(request.model, [], None)
                return
            if not model.can("embedding"):
                raise Refused(500 if request.legacy else 501, _NO_EMBEDDINGS)
            counts = [_embeddable(text, runner, truncate=request.truncate) for text in request.inputs]
            script = Script(prompt_tokens=sum(counts))
            async with aclosing(perform(sim.stage, runner, script, load_s=load_s, fault=fault)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        yield wire.embedded(request.model, _vectors(request, model), event.timings)
                    else:
                        yield BROKEN_LINE


@asynccontextmanager
async def counted(sim: Simulator, *, only_loads: bool) -> AsyncIterator[Fault]:
    """Count a request by how it ends, and give the fault that it meets; hang-ups are counted where they are seen.

    Faults befall answers: a request that only loads a model neither meets nor uses up any.
    """
    fault = NO_FAULT if only_loads else sim.faults.take()
    counters = sim.stage.engine.counters
    if fault.kind is FaultKind.BUSY_503:
        counters.rejected_503 += 1
        raise ServerBusy
    try:
        yield fault
    except ServerBusy:
        counters.rejected_503 += 1
        raise
    except Whole:
        counters.completed += 1
        raise
    except Exception:
        counters.failed += 1
        raise
    counters.completed += 1


@asynccontextmanager
async def _loaded(
    sim: Simulator, model: ModelSpec, num_ctx: int | None, keep_alive_s: float | None, fault: Fault
) -> AsyncIterator[tuple[Runner, float]]:
    """Hold the loaded model; give it with the device seconds that waiting and loading took."""
    stage = sim.stage
    asked_s = stage.clock.now_s()
    lease = stage.engine.lease(model, context_tokens=num_ctx, keep_alive_s=keep_alive_s, slowdown=fault.slowdown)
    async with lease as runner:
        stage.engine.counters.accepted += 1
        yield runner, stage.clock.now_s() - asked_s


def _check_capabilities(request: InferenceRequest, model: ModelSpec, dialect: Dialect) -> None:
    if request.think not in (None, False) and not model.can("thinking"):
        raise Refused(400, f'"{request.model}" does not support thinking')
    if not model.can("completion"):
        raise Refused(400, f'"{request.model}" does not support {dialect.verb}')
    needed = [name for name, asked in (("tools", request.tools), ("insert", request.suffix)) if asked]
    lacking = [name for name in needed if not model.can(name)]
    if lacking:
        raise Refused(400, f"{qualified(model.name)} does not support {lacking[0]}")


def _line(
    request: InferenceRequest, event: Piece | Garbage | Finished, dialect: Dialect, context: Sequence[int]
) -> Line:
    model, now = request.model, datetime.now(UTC)
    match event:
        case Garbage():
            return BROKEN_LINE
        case Finished():
            return dialect.end(model, now, event, context)
        case Piece():
            sure = wire.logprobs(event.text) if request.logprobs and event.text else {}
            return {**dialect.piece(model, now, event), **sure}


def _embeddable(text: str, runner: Runner, *, truncate: bool) -> int:
    count = tokens.count(text)
    if count > runner.context_tokens and not truncate:
        raise Refused(400, _TOO_LONG_TO_EMBED)
    return min(count, runner.context_tokens)


def _vectors(request: EmbedRequest, model: ModelSpec) -> list[list[float]]:
    vectors = [embedding.embed(text, model.embedding_length) for text in request.inputs]
    if 0 < request.dimensions < model.embedding_length:
        return [embedding.shortened(vector, request.dimensions) for vector in vectors]
    return vectors
