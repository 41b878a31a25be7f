"""Acts out a written answer on the device, in its time and with its faults; it does not know how an answer looks on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.simulator import tokens
from agents.simulator.clock import DeviceClock
from agents.simulator.engine import Engine, Runner
from agents.simulator.errors import ConnectionCut, Refused
from agents.simulator.faults import Fault, FaultKind
from agents.simulator.meter import Meter, Phase
from agents.simulator.performance import token_s
from agents.simulator.profiles import Catalogue
from agents.simulator.script import Script, opening

RUNNER_DIED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama "
    "server logs for details"
)
# What Ollama needs to hand over a model that is loaded already, and to close a request: a few milliseconds each.
_HANDOVER_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One token of the answer or of the thoughts, or the tool calls."""

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """The place of a malformed line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Durations in device seconds, as the final counters report them."""

    total_s: float
    load_s: float
    prefill_s: float = 0.0
    decode_s: float = 0.0
    prompt_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of an answer; `text` comes with it."""

    reason: str
    timings: Timings
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that an answer is acted out with."""

    engine: Engine
    clock: DeviceClock
    meter: Meter
    known: Catalogue


async def perform(
    stage: Stage, runner: Runner, script: Script, *, load_s: float, fault: Fault
) -> AsyncGenerator[Piece | Garbage | Finished]:
    """Wait for a slot, read the prompt, decode; cancelled at any point, it gives the slot back."""
    slowdown = fault.slowdown
    async with stage.engine.slot(runner) as waited_s:
        if fault.kind is FaultKind.HANG:
            await fault.lifted.wait()
        slot, known = runner.prompts.take(script.prompt)
        decode_s, sent = 0.0, 0
        try:
            prefill_s = await prefill(stage, runner, script.prompt_tokens - known, slowdown)
            async for step_s, piece in _decode(stage, runner, script, slowdown):
                for mishap in _mishaps(fault, sent):
                    yield mishap
                decode_s += step_s
                sent += 1
                if piece is not None:
                    yield piece
        finally:
            runner.prompts.give(slot, _read(script, sent))
        if fault.after_tokens >= sent:  # the answer was shorter: the mishap comes at its end
            for mishap in _mishaps(fault, fault.after_tokens):
                yield mishap
    load_s += _HANDOVER_S
    timings = Timings(
        total_s=load_s + waited_s + prefill_s + decode_s + _HANDOVER_S,
        load_s=load_s,
        prefill_s=prefill_s,
        decode_s=decode_s,
        prompt_tokens=script.prompt_tokens,
        tokens=sent,
    )
    yield Finished(reason=script.done_reason, timings=timings, text=script.unparsed)


async def prefill(stage: Stage, runner: Runner, prompt_tokens: int, slowdown: float) -> float:
    """Read a prompt; give the device seconds it took. Prompts read at the same time share the arithmetic evenly.

    A hang-up is noticed only when the prompt has been read, as with the real server (ollama issue 11889): the slot stays
    taken until then.
    """
    speed = stage.known.speed(stage.engine.device, runner.model).prefill_tok_s.value
    with stage.meter.during(Phase.PREFILLING):
        duration_s = prompt_tokens * stage.meter.activity.prefilling * slowdown / speed
        due_s = stage.clock.now_s() + duration_s
        try:
            await stage.clock.sleep_until(due_s)
        except asyncio.CancelledError:
            await stage.clock.sleep_until(due_s)
            raise
    return duration_s


async def _decode(
    stage: Stage, runner: Runner, script: Script, slowdown: float
) -> AsyncGenerator[tuple[float, Piece | None]]:
    """Give each token when it is due, with the device seconds it took; None for the hidden tokens of a tool call."""
    speed = stage.known.speed(stage.engine.device, runner.model).decode_tok_s.value
    due_s = stage.clock.now_s()
    with stage.meter.during(Phase.DECODING):
        for piece in _pieces(script):
            step_s = token_s(stage.engine.device, speed, stage.meter.activity.decoding) * slowdown
            due_s += step_s
            await stage.clock.sleep_until(due_s)
            yield step_s, piece


def _read(script: Script, sent: int) -> tuple[str, ...]:
    """Give what a slot holds after so many tokens: the prompt, and the answer as the next turn will repeat it."""
    if not script.prompt:
        return ()
    # Cut anew: the next turn's text is cut as a whole, and not where the answer was.
    said = tokens.pieces("".join((*script.thinking, *script.pieces)[:sent]))
    return (*script.prompt, *opening("assistant"), *said)


def _pieces(script: Script) -> list[Piece | None]:
    pieces: list[Piece | None] = [Piece(thinking=thought) for thought in script.thinking]
    if script.calling:
        hidden: list[Piece | None] = [None] * len(script.pieces)
        return [*pieces, *hidden[:-1], Piece(tool_calls=script.tool_calls)] if script.tool_calls else [*pieces, *hidden]
    return [*pieces, *(Piece(text=text) for text in script.pieces)]


def _mishaps(fault: Fault, sent: int) -> tuple[Garbage, ...]:
    """Act out what is due after `sent` tokens: raise for a crash or an error, give a malformed line for wrong JSON."""
    if sent != fault.after_tokens:
        return ()
    if fault.kind is FaultKind.CRASH_MID_STREAM:
        raise ConnectionCut
    if fault.kind is FaultKind.ERROR_500:
        raise Refused(500, RUNNER_DIED)
    return (Garbage(),) if fault.kind is FaultKind.WRONG_JSON else ()
