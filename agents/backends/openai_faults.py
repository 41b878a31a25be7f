"""What an error answer of an OpenAI-compatible provider means for a job: pure, from status and body to a typed error.

Nothing that a provider writes about a key is passed on: it quotes the key's ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.errors import (
    BackendError,
    BadRequest,
    BudgetSpent,
    ConfigError,
    ContextTooLong,
    DeviceBusy,
    FleetError,
    UnknownModel,
    UnsupportedByModel,
)

_SECRET = re.compile(r"\b(?:sk|pk|rk|key|sess)-[A-Za-z0-9_*.-]{4,}|(?i:bearer )\S+")

_TOO_LONG = ("maximum context length", "context window", "context length", "prompt is too long")
_UNSUPPORTED = ("does not support", "is not supported", "not support")
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_BUSY = frozenset({"rate_limit_exceeded", "rate_limit_error", "server_overloaded", "engine_overloaded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came: the status (0 for an error inside a stream that had begun), and the fields of the body's `error`."""

    status: int
    message: str = ""
    kind: str = ""
    code: str = ""
    param: str | None = None
    retry_after_s: float | None = None


def fault_of(said: Said, *, host: str, model: str, key: str = "") -> FleetError:
    """Give the error: 1. the key, or the account's money 2. the model 3. too busy 4. the request 5. anything else, which may
    pass."""
    words = scrubbed(said.message, key) or "no reason given"
    names = {said.code, said.kind}
    if said.status in (401, 403) or names & {"invalid_api_key", "invalid_organization"}:  # 1
        return _locked_out(said, host)
    if names & _NO_MONEY or said.status == 402:
        return BudgetSpent(
            f"{host} says that the account has no money left ({words}): add credit there, or take its models out of "
            "DROVER_CLOUD_MODELS"
        )
    if said.status == 404 or said.code == "model_not_found":  # 2
        return _not_there(said, host, model, words)
    if said.status == 429 or names & _BUSY:  # 3
        return DeviceBusy(f"{host} has had too many requests ({words})", retry_after_s=said.retry_after_s)
    if said.status in (400, 413, 415, 422):  # 4
        return _refused(said, host, model, words)
    what = f"failed with status {said.status}" if said.status else "failed in the middle of the answer"
    return BackendError(  # 5
        f"{host} {what}: {words}", retry_after_s=said.retry_after_s, status=said.status or None
    )


def of_guest(error: FleetError, host: str) -> FleetError:
    """Give an error as it is told to who brought the key: what is wrong with it, or with its account, is the request's own matter,
    and no fault of the device's."""
    if isinstance(error, ConfigError):
        return BadRequest(
            f"{host} refuses the key of this request: send one that is valid there (provider_key, X-Drover-Provider-Key), or none",
            param="provider_key",
        )
    if isinstance(error, BudgetSpent):
        return BadRequest(
            f"{host} says that the account of this request's key has no money left: add credit there, or send no key",
            param="provider_key",
        )
    return error


def scrubbed(text: str, key: str) -> str:
    """Shorten what a provider wrote, and take out what looks like a key, ours above all."""
    return _SECRET.sub("(hidden)", text.replace(key, "(hidden)") if key else text).strip()[:300]


def _locked_out(said: Said, host: str) -> ConfigError:
    named = f", {said.code}" if said.code else ""
    if said.status == 403:
        return ConfigError(
            f"{host} does not let this key in (403{named}): see what its project and region may do", status=said.status
        )
    return ConfigError(
        f"{host} refuses the key ({said.status or said.code}): set OPENAI_API_KEY to one that is valid there",
        status=said.status or None,
    )


def _not_there(said: Said, host: str, model: str, words: str) -> FleetError:
    if model and (said.code == "model_not_found" or "model" in said.message.lower()):
        return UnknownModel(
            f"{host} has no model {model!r} for this key: mend its name in DROVER_CLOUD_MODELS, or ask for another",
            model=model,
        )
    return BackendError(f"what answers at {host} has no such path (404: {words}): check OPENAI_BASE_URL", status=404)


def _refused(said: Said, host: str, model: str, words: str) -> FleetError:
    lower = said.message.lower()
    if said.code == "context_length_exceeded" or any(part in lower for part in _TOO_LONG):
        return ContextTooLong(f"{host}: {words}", param=said.param or "messages", model=model)
    if any(part in lower for part in _UNSUPPORTED):
        return UnsupportedByModel(
            f"{host}: {words}: ask for a model that does, or leave it out", param=said.param, model=model
        )
    return BadRequest(f"{host} refuses the request: {words}", param=said.param, model=model)
