"""The routes under /sim/, which no Ollama has: what really goes on in the simulated device, its faults on
demand, and readings on demand."""

from __future__ import annotations

import json
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agents.simulator.answering import Simulator
from agents.simulator.doctoring import BadReading
from agents.simulator.errors import Refused
from agents.simulator.faults import NO_FAULT, BadFault, parse_fault
from agents.simulator.responses import JsonResponse
from agents.simulator.wire import Line


def routes(sim: Simulator) -> list[BaseRoute]:
    """Bind the admin routes to a simulated device."""

    async def on_state(_: Request) -> Response:
        return JsonResponse(state(sim))

    async def on_get_faults(_: Request) -> Response:
        return JsonResponse(sim.faults.standing.to_wire())

    async def on_set_faults(request: Request) -> Response:
        try:
            sim.faults.set(parse_fault(json.loads(await request.body())))
        except BadFault as error:
            raise Refused(400, f"bad fault: {error}") from error
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"bad fault: the body is no JSON: {error}") from error
        return JsonResponse(sim.faults.standing.to_wire())

    async def on_clear_faults(_: Request) -> Response:
        sim.faults.set(NO_FAULT)
        return JsonResponse(sim.faults.standing.to_wire())

    return [
        Route("/sim/state", on_state, methods=["GET"]),
        *_sensor_routes(sim),
        Route("/sim/faults", on_get_faults, methods=["GET"]),
        Route("/sim/faults", on_set_faults, methods=["POST"]),
        Route("/sim/faults", on_clear_faults, methods=["DELETE"]),
    ]


def _sensor_routes(sim: Simulator) -> list[BaseRoute]:
    async def on_sensors(_: Request) -> Response:
        return JsonResponse(sensors(sim))

    async def on_doctor(request: Request) -> Response:
        try:
            sim.doctored.set(json.loads(await request.body()))
        except BadReading as error:
            raise Refused(400, f"bad reading: {error}") from error
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"bad reading: the body is no JSON: {error}") from error
        return JsonResponse(sensors(sim))

    async def on_heal(_: Request) -> Response:
        sim.doctored.clear()
        return JsonResponse(sensors(sim))

    return [
        Route("/sim/sensors", on_sensors, methods=["GET"]),
        Route("/sim/sensors", on_doctor, methods=["POST"]),
        Route("/sim/sensors", on_heal, methods=["DELETE"]),
    ]


def state(sim: Simulator) -> Line:
    """Give all that a test or a bench wants to check: activity, counters, true energy, memory."""
    stage = sim.stage
    engine, power = stage.engine, stage.meter.read()
    return {
        "profile": engine.device.name,
        "title": engine.device.title,
        "time_factor": stage.clock.time_factor,
        "uptime_s": stage.clock.now_s(),
        "in_flight": engine.in_slots,
        "queued": engine.queued,
        **asdict(stage.meter.activity),
        "loaded": [runner.model.name for runner in engine.runners()],
        **asdict(engine.counters),
        "energy_j": power.energy_j,
        "fault": sim.faults.standing.to_wire(),
        **sensors(sim),
    }


def sensors(sim: Simulator) -> Line:
    """Give what a real board's sensors would show; what was ordered stands before what is."""
    engine, power = sim.stage.engine, sim.stage.meter.read()
    reasons = sim.faults.standing.reasons
    return {
        "memory_total_bytes": int(engine.device.memory_total_bytes.value),
        "memory_available_bytes": engine.memory_available_bytes(),
        "temperature_c": round(power.temperature_c, 2),
        "watts": power.watts,
        "idle_watts": engine.device.idle_w.value,
        "busy_watts": engine.device.decode_w.value,
        "throttled": bool(reasons),
        "throttling": list(reasons),
        "gpu": engine.device.gpu,
        **sim.doctored.readings,
    }
