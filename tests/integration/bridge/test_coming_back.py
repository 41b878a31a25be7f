"""Over HTTP, with real processes: who names an Idempotency-Key has its answer also when the dispatcher that gave it is no more."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, ConflictError

from tests.chaos.world import Plan, world

KEY = {"Idempotency-Key": "order-7"}


async def test_a_killed_dispatcher_s_answer_is_given_again() -> None:
    """Kill -9 and a new one: whole and as a stream the same words, and one run in all; other words under the key are refused."""
    async with world(Plan(dispatchers=1, simulated=1, bridges=1, time_factor=20.0)) as house:
        url = f"{house.bridge_url(house.bridges[0])}/v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def ask(words: str) -> str:
                reply = await client.chat.completions.create(
                    model=house.model, messages=[{"role": "user", "content": words}], extra_headers=KEY
                )
                return reply.choices[0].message.content or ""

            first = await ask("hi")
            await house.dispatchers[0].kill()
            await house.dispatchers[0].start()
            again = await ask("hi")
            stream = await client.chat.completions.create(
                model=house.model, messages=[{"role": "user", "content": "hi"}], extra_headers=KEY, stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            with pytest.raises(ConflictError):
                await ask("other words")
        runs = await house.executions()

    assert (first, first, 1, True) == (again, "".join(pieces), runs, len(first) > 0)
