"""One canonical log line per job."""

from __future__ import annotations

from common.logs import get_logger
from dispatcher.outcomes import JobRecord, JobState

log = get_logger("job")


class LogSink:
    """Writes the record as one line: `info` for what was answered or cancelled, `warning` for the rest. Never a prompt."""

    async def write(self, record: JobRecord) -> None:
        write = log.info if record.state in {JobState.DONE, JobState.CANCELLED} else log.warning
        write(
            f"job.{record.state}",
            job=record.job,
            tenant=record.tenant,
            priority=None if record.priority is None else str(record.priority),
            device=record.device,
            model=record.model,
            reason=record.reason,
            attempts=len(record.attempts),
            queue_s=_rounded(record.queue_s),
            first_token_s=_rounded(record.first_token_s),
            total_s=_rounded(record.total_s),
            prompt_tokens=record.usage.prompt_tokens,
            completion_tokens=record.usage.completion_tokens,
            cost_usd=record.cost_usd,
            cost_estimated=record.cost_estimated,
            joules=None if record.energy is None else round(record.energy.joules, 3),
            energy_measured=None if record.energy is None else record.energy.measured,
            escalated=record.escalated,
            cache=None if record.cached is None else str(record.cached.outcome),
            cache_kind=None if record.cached is None else record.cached.kind or None,
            error=record.error,
            error_message=record.error_message,
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
