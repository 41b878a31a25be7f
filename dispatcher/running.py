"""Tells which jobs are in the house, for who watches; it changes none.

A job's phases are told when somebody asks, and published never: no job pays for a page that nobody has open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from common import codec
from common.bus import Delivery
from common.frames import Phase
from common.running import MOST_NAMES, Running, RunningJob, RunningQuery
from dispatcher.delivery.line import Line
from dispatcher.delivery.seat import ANY, ON
from dispatcher.register import Register
from dispatcher.register import Running as Guest


def running_now(delivery: Delivery, register: Register, line: Line, dispatcher: str) -> dict[str, Any]:
    """Answer a question. Raises `BadRequest`."""
    asked = codec.build(RunningQuery, codec.decode_request(delivery.data) if delivery.data else {})
    guests = list(register)
    meant = (one for one in guests if asked.means(one.job.tenant, one.job.id))
    found = list(islice(meant, asked.limit + 1))
    models, devices = _waiting(line.kinds)
    return codec.plain(
        Running(
            dispatcher=dispatcher,
            running=len(guests),
            waiting=line.waiting,
            queue_limit=line.rules.limit,
            waiting_by_model=models,
            waiting_by_device=devices,
            jobs=tuple(map(_card, found[: asked.limit])),
            more=len(found) > asked.limit,
        )
    )


def _waiting(kinds: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Count those who wait by the model and by the device that they ask for, the ones that most wait for."""
    models, devices = Counter[str](), Counter[str]()
    for kind, number in kinds.items():
        model, _, device = kind.rpartition(ON)
        models[model] += number
        if device != ANY:
            devices[device] += number
    return dict(models.most_common(MOST_NAMES)), dict(devices.most_common(MOST_NAMES))


def _card(guest: Guest) -> RunningJob:
    job, now = guest.job, guest.out.standing
    return RunningJob(
        id=job.id,
        tenant=job.tenant,
        kind=job.kind,
        state="queued" if now.phase is Phase.QUEUE else "running",
        phase=now.phase,
        asked_model=job.model,
        asked_device=job.device,
        queued_unix_s=round(job.received_unix_s, 3),
        priority=job.priority,
        model=now.model,
        device=now.device,
        attempt=now.attempt,
        position=now.position,
        eta_s=None if now.eta_s is None else round(now.eta_s, 1),
    )
