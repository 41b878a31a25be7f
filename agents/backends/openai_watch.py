"""Whether a provider is of use now: what its answers, refusals and its list of models have told; it sends no chat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agents.backends.openai_client import Client, Fate, fate_of
from agents.backends.openai_limits import Quota
from common.clock import Clock
from common.errors import BackendError, BadRequest, BudgetSpent, ConfigError, DeviceBusy, FleetError, UnknownModel
from common.logs import get_logger

log = get_logger("cloud")

CHECK_S = 300.0
"""How often a provider that answers is asked for its list."""

AGAIN_S = 10.0
"""How often one that does not."""

LOCKED_OUT_S = 300.0
"""After so long a job may find out whether somebody has added credit, or rights to the key: nothing else tells."""

MISSING_S = 600.0
"""For so long a model is not offered that the provider says it does not have."""

FORBIDDEN = 403

_NO_LIST = (403, 404, 405)
"""There are servers without a list of models, and keys that may chat and not see it: a job finds out what is wrong with them."""


class Watch:
    """The house's standing with one provider. `may_look` is false where there is no key of the house's to look with."""

    def __init__(self, client: Client, clock: Clock, *, may_look: bool) -> None:
        self.quota = Quota(clock)
        self._client = client
        self._clock = clock
        self._may_look = may_look
        self._trouble: FleetError | None = None
        """Why the provider is of no use now."""
        self._trouble_until_s = float("-inf")
        """Until when no look at the provider can prove that it is over."""
        self._suspicion: FleetError | None = None
        """What a job was refused with that may be the key's fault, or that job's alone."""
        self._look_at_s = float("-inf")
        self._missing: dict[str, float] = {}
        """Models that the provider does not have, and until when they are not offered."""
        self._unlisted: set[str] = set()

    def answered(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer that begins."""
        self.quota.note(headers)
        self._trust()

    def failed(self, error: FleetError, model: str, headers: Mapping[str, str], wait_s: float | None) -> None:
        """Learn from an error: 1. the key or the money 2. the model 3. perhaps the key 4. it may be gone 5. too busy."""
        self.quota.note(headers)
        if isinstance(error, ConfigError | BudgetSpent):  # 1
            self._doubt(error, for_s=LOCKED_OUT_S)
        elif isinstance(error, UnknownModel):  # 2
            self._missing[model] = self._clock.monotonic() + MISSING_S
        elif isinstance(error, BadRequest) and error.details.get("status") == FORBIDDEN:  # 3
            self._suspicion = ConfigError(
                f"{self._client.host} lets this key do nothing (403): see what its project and region may do",
                status=FORBIDDEN,
            )
            self._look_at_s = self._clock.monotonic()
        elif isinstance(error, BackendError) and (
            fate_of(error) is not Fate.UNSENT or "status" not in error.details
        ):  # 4
            self._look_at_s = self._clock.monotonic()
        elif isinstance(error, DeviceBusy):  # 5
            self.quota.pause(error.retry_after_s or wait_s or 1.0)

    def lacks(self, model: str) -> bool:
        """Tell whether the provider has said that it does not have this model."""
        return self._missing.get(model, float("-inf")) > self._clock.monotonic()

    async def check(self, offered: Iterable[str], *, now: bool = False) -> None:
        """Raise what is wrong with the provider; it is looked at when it is time, or `now`."""
        now_s = self._clock.monotonic()
        due = now_s >= self._look_at_s and now_s >= self._trouble_until_s
        if self._may_look and (now or due):
            await self._look(offered)
        if self._trouble is not None:
            raise self._trouble

    async def _look(self, offered: Iterable[str]) -> None:
        """See whether the provider answers, and takes the key."""
        suspicion, self._suspicion = self._suspicion, None
        try:
            listed = await self._client.listed()
        except DeviceBusy:
            self._trust()  # it is there, and has too much to do: jobs find out how much
        except FleetError as error:
            status = error.details.get("status")
            if suspicion is not None and status == FORBIDDEN:
                self._doubt(suspicion, for_s=LOCKED_OUT_S)
            elif status in _NO_LIST:
                self._trust()
            else:
                self._doubt(error)
        else:
            self._note_unlisted(set(offered) - listed)
            self._trust()

    def _note_unlisted(self, names: set[str]) -> None:
        """A list may leave out aliases, so that it is no reason not to offer a model."""
        for name in names - self._unlisted:
            self._unlisted.add(name)
            log.warning("cloud.unlisted", model=name, host=self._client.host)

    def _doubt(self, error: FleetError, *, for_s: float = 0.0) -> None:
        self._trouble = error
        now = self._clock.monotonic()
        self._look_at_s, self._trouble_until_s = now + AGAIN_S, now + for_s

    def _trust(self) -> None:
        self._trouble = self._suspicion = None
        self._look_at_s = self._clock.monotonic() + CHECK_S
