"""Watts of the smart plug that feeds the device, over HTTP; how an answer is read is not known here.

It is the only sensor of all that the device takes, with its power supply; and the slowest: plugs look about once a second.
"""

from __future__ import annotations

from base64 import b64encode
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from agents.power import Reading, Unreadable
from agents.power.digest import answered
from agents.power.http_get import Answer, Connection
from agents.power.names import Name
from agents.power.plug_answers import PATHS, Kind, watts_of

WAIT_S = 3.0
MOST_BYTES = 262_144

SHARE = 0.03
STEP_W = 0.5
"""The meters' makers state 1 % to 2 %, at loads far above a Pi's; many plugs tell whole watts, and see little below one."""

USER = "admin"
"""The name that Tasmota and Shelly give the user whose password is set."""


class Plug:
    """Asks on one connection."""

    def __init__(self, url: str, *, kind: Kind, field: str, token: str | None, wait_s: float = WAIT_S) -> None:
        """`token`: Home Assistant's, or the plug's password; it is sent there, and never told."""
        self.name: str = Name.PLUG.value
        self._kind = kind
        self._field = field
        self._token = token
        parts = urlsplit(
            url if urlsplit(url).path.strip("/") or urlsplit(url).query else f"{url.rstrip('/')}{PATHS[kind]}"
        )
        self._host = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection = Connection(url, who=f"the plug at {self._host}", wait_s=wait_s, most_bytes=MOST_BYTES)

    async def read(self) -> Reading:
        """Ask once. Raises `Unreadable`."""
        answer = await self._ask()
        try:
            watts = watts_of(self._kind, self._body(answer), self._field)
        except Unreadable as error:
            raise Unreadable(f"the plug at {self._host} can't be read: {error}") from error
        return Reading(
            at_s=answer.at_s,
            watts=watts,
            rail="plug",
            source=self.name,
            measured=True,
            uncertainty=min(SHARE + STEP_W / max(watts, STEP_W), 1.0),
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _ask(self) -> Answer:
        target, headers = self._signed(), self._headers()
        answer = await self._connection.get(target, headers)
        if answer.status == HTTPStatus.UNAUTHORIZED and self._token and self._kind == "shelly2":
            reply = answered(answer.challenge, user=USER, password=self._token, target=target)
            if reply is not None:
                answer = await self._connection.get(target, {**headers, "Authorization": reply})
        return answer

    def _body(self, answer: Answer) -> bytes:
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Unreadable(
                f"it refuses with status {answer.status}: set DROVER_POWER_PLUG_TOKEN to its token or password"
            )
        if answer.status != HTTPStatus.OK:
            raise Unreadable(f"it answers with status {answer.status}: is DROVER_POWER_PLUG_KIND={self._kind} right?")
        return answer.body

    def _headers(self) -> dict[str, str]:
        # What is packed could be a small bomb.
        headers = {"Accept-Encoding": "identity"}
        if self._token and self._kind in ("homeassistant", "json"):
            headers["Authorization"] = f"Bearer {self._token}"
        if self._token and self._kind == "shelly1":
            headers["Authorization"] = f"Basic {b64encode(f'{USER}:{self._token}'.encode()).decode()}"
        return headers

    def _signed(self) -> str:
        if self._token and self._kind == "tasmota":
            mark = "&" if "?" in self._target else "?"
            return f"{self._target}{mark}user={USER}&password={quote(self._token, safe='')}"
        return self._target
