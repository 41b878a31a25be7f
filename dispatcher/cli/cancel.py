"""`drover cancel`: end a job, wherever it is."""

from __future__ import annotations

import sys

from common.errors import BusTimeout, NoResponders, UnknownJob
from dispatcher.cli.connect import open_producer, shell_settings


async def cancel(job: str) -> int:
    """Cancel the job. Raises `UnknownJob` when no dispatcher knows it: it is over, or never was."""
    settings = shell_settings()
    async with open_producer(settings) as drover:
        try:
            known = await drover.cancel(job)
        except (BusTimeout, NoResponders) as error:  # only the dispatcher that owns a job answers
            raise UnknownJob(f"no dispatcher knows the job {job}: it is over, or the id is wrong") from error
    if not known:
        raise UnknownJob(f"no dispatcher knows the job {job}: it is over, or the id is wrong")
    sys.stdout.write(f"{job} cancelled\n")
    return 0
