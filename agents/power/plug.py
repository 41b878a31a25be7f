"""Watts of the smart plug that feeds the device, over HTTP; how an answer is read is not known here.

It is the only sensor of all that the device takes, with its power supply; and the slowest: plugs look about once a second.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlsplit

import httpx

from agents.power import Reading, Unreadable
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
        self._wait_s = wait_s
        parts = urlsplit(url)
        self._host = parts.netloc
        self._url = url if parts.path.strip("/") or parts.query else f"{url.rstrip('/')}{PATHS[kind]}"
        self._client: httpx.AsyncClient | None = None

    async def read(self) -> Reading:
        """Ask once. Raises `Unreadable`."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._wait_s):
                body = await self._ask()
            at_s = (began_s + loop.time()) / 2
            watts = watts_of(self._kind, body, self._field)
        except TimeoutError as error:
            await self.close()
            raise self._unreadable(f"does not answer within {self._wait_s:g} s") from error
        # The text of the error is not told: the address may be in it, and with it a password.
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise self._unreadable(f"does not answer ({type(error).__name__})") from None
        except Unreadable as error:
            raise self._unreadable(f"can't be read: {error}") from error
        return Reading(
            at_s=at_s,
            watts=watts,
            rail="plug",
            source=self.name,
            measured=True,
            uncertainty=min(SHARE + STEP_W / max(watts, STEP_W), 1.0),
        )

    async def close(self) -> None:
        """Close the connection."""
        opened, self._client = self._client, None
        if opened is not None:
            await opened.aclose()

    async def _ask(self) -> bytes:
        if self._client is None:
            # A proxy is for the internet, and a plug that redirects is none.
            self._client = httpx.AsyncClient(
                timeout=self._wait_s, trust_env=False, follow_redirects=False, auth=self._auth()
            )
        async with self._client.stream("GET", self._signed(), headers=self._headers()) as answer:
            if answer.status_code in (401, 403):
                raise Unreadable(
                    f"it refuses with status {answer.status_code}: set DROVER_POWER_PLUG_TOKEN to its token or password"
                )
            if answer.status_code != httpx.codes.OK:
                raise Unreadable(
                    f"it answers with status {answer.status_code}: is DROVER_POWER_PLUG_KIND={self._kind} right?"
                )
            body = b""
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MOST_BYTES:
                    raise Unreadable(f"its answer is longer than {MOST_BYTES} bytes")
        return body

    def _auth(self) -> httpx.Auth | None:
        if not self._token:
            return None
        if self._kind == "shelly1":
            return httpx.BasicAuth(USER, self._token)
        return httpx.DigestAuth(USER, self._token) if self._kind == "shelly2" else None

    def _headers(self) -> dict[str, str]:
        # What is packed could be a small bomb.
        headers = {"Accept-Encoding": "identity"}
        if self._token and self._kind in ("homeassistant", "json"):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _signed(self) -> str:
        if self._token and self._kind == "tasmota":
            mark = "&" if "?" in self._url else "?"
            return f"{self._url}{mark}user={USER}&password={quote(self._token, safe='')}"
        return self._url

    def _unreadable(self, why: str) -> Unreadable:
        return Unreadable(f"the plug at {self._host} {why}")
