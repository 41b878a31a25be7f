"""The watts of a simulated device, over HTTP from its simulator: they are the truth; it knows no other sensor."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import urlsplit

from agents.power import Reading, Unreadable
from agents.power.figures import number, plausible
from agents.power.http_get import Connection
from agents.power.names import Name

WAIT_S = 2.0
MOST_W = 10_000.0
MOST_BYTES = 65_536


class SimulatedPower:
    """Asks the simulator, on one connection: an agent asks several times a second."""

    def __init__(self, url: str) -> None:
        self.name: str = Name.SIMULATED.value
        parts = urlsplit(url)
        self._target = parts.path or "/"
        self._who = f"the simulator at {parts.netloc}"
        self._connection = Connection(url, who=self._who, wait_s=WAIT_S, most_bytes=MOST_BYTES)

    async def read(self) -> Reading:
        """Ask for the watts of this moment. Raises `Unreadable`."""
        answer = await self._connection.get(self._target, {})
        if answer.status != HTTPStatus.OK:
            raise Unreadable(f"{self._who} answers with status {answer.status}")
        # The simulator's own figure, without the error of any sensor.
        return Reading(
            at_s=answer.at_s,
            watts=watts_of(answer.body),
            rail="board",
            source=self.name,
            measured=True,
            uncertainty=0.0,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def watts_of(body: bytes) -> float:
    """Find the watts in a simulator's sensors. Raises `Unreadable`."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the simulator's sensors are no JSON") from error
    if not isinstance(said, dict):
        raise Unreadable("the simulator's sensors are no JSON object")
    return plausible(number(said.get("watts")), most_w=MOST_W)
