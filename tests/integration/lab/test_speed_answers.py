"""What it costs to keep an answer, on a small scale."""

from __future__ import annotations

from dispatcher.lab.speed.answers import figures
from tests.redis_server import needs_redis


@needs_redis
def test_all_figures_are_taken() -> None:
    """Every figure of both stores is there, and says something."""
    measured = figures(rounds=1, entries=300)

    wanted = {
        f"{store}_{what}"
        for store in ("memory", "redis")
        for what in ("hit_us", "miss_us", "used_us", "put_us", "beside_bytes")
    }
    assert {"answer_packed_bytes", *wanted} == {name for name, figure in measured.items() if figure > 0}
