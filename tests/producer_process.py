"""A producer that asks for one stream and reads it, run as `python -m tests.producer_process <nats-url> <job>` to be killed."""

from __future__ import annotations

import asyncio
import sys

from common.client import Drover


async def main(url: str, job: str) -> None:
    """Print each piece as it comes."""
    async with Drover.connect(url) as drover:
        async for chunk in drover.chat("hi", job=job):
            print(chunk, flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
