"""A producer that asks for one stream and reads it, to be killed: `python -m tests.producer_process <url> <job> [model] [words]`,
where `words` is the length of its prompt."""

from __future__ import annotations

import asyncio
import sys

from common.client import Drover
from common.messages import AUTO


async def main(url: str, job: str, model: str = AUTO, words: str = "1") -> None:
    """Print each piece as it comes."""
    async with Drover.connect(url) as drover:
        async for chunk in drover.chat(" ".join(["hi"] * int(words)), job=job, model=model, cache="off"):
            print(chunk, flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
