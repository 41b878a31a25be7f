"""The watts of a simulated device, over HTTP from its simulator: they are the truth; it knows no other sensor."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from agents.power import Reading, Unreadable
from agents.power.figures import number, plausible
from agents.power.names import Name

WAIT_S = 2.0
MOST_W = 10_000.0
MOST_BYTES = 65_536

_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class SimulatedPower:
    """Asks the simulator, on one connection: an agent asks several times a second."""

    def __init__(self, url: str) -> None:
        self.name: str = Name.SIMULATED.value
        self._url = urlsplit(url)
        self._connection: http.client.HTTPConnection | None = None
        # A read that was cancelled goes on in its thread, and may meet the next one.
        self._lock = threading.Lock()

    async def read(self) -> Reading:
        """Ask for the watts of this moment. Raises `Unreadable`."""
        body, at_s = await asyncio.to_thread(self._ask, asyncio.get_running_loop().time)
        # The simulator's own figure, without the error of any sensor.
        return Reading(at_s=at_s, watts=watts_of(body), rail="board", source=self.name, measured=True, uncertainty=0.0)

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.to_thread(self._hang_up)

    def _ask(self, now: Callable[[], float]) -> tuple[bytes, float]:
        with self._lock:
            fresh = self._connection is None
            try:
                return self._get(now)
            except _CLOSED as error:
                if fresh:
                    raise self._silent(error) from error
            # The simulator had closed it while nothing was asked.
            try:
                return self._get(now)
            except _CLOSED as error:
                raise self._silent(error) from error

    def _get(self, now: Callable[[], float]) -> tuple[bytes, float]:
        began_s = now()
        try:
            status, body = self._exchange()
        except _CLOSED:
            self._drop()
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._drop()
            raise self._silent(error) from error
        if status != http.client.OK:
            raise Unreadable(f"the simulator at {self._url.netloc} answers with status {status}")
        # What it says is of some moment in between.
        return body, (began_s + now()) / 2

    def _exchange(self) -> tuple[int, bytes]:
        if self._connection is None:
            host, port = self._url.hostname or "127.0.0.1", self._url.port or 80
            self._connection = http.client.HTTPConnection(host, port, timeout=WAIT_S)
        self._connection.request("GET", self._url.path or "/")
        answer = self._connection.getresponse()
        return answer.status, answer.read(MOST_BYTES)

    def _silent(self, error: Exception) -> Unreadable:
        return Unreadable(f"the simulator at {self._url.netloc} does not answer: {str(error) or type(error).__name__}")

    def _hang_up(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def watts_of(body: bytes) -> float:
    """Find the watts in a simulator's sensors. Raises `Unreadable`."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("the simulator's sensors are no JSON") from error
    if not isinstance(said, dict):
        raise Unreadable("the simulator's sensors are no JSON object")
    return plausible(number(said.get("watts")), most_w=MOST_W)
