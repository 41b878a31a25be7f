"""What an error answer of an OpenAI-compatible provider means for a job: pure, from what was said to a typed error.

Nothing that a provider writes about a key is passed on: it quotes the key's ends.
"""

from __future__ import annotations

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
from common.openai_api import Said, Trouble, scrubbed, trouble_of


def fault_of(said: Said, *, host: str, model: str, key: str = "") -> FleetError:
    """Give the error. The type decides whether another device may do better, and whether this one is at fault."""
    words = scrubbed(said.message, key) or "no reason given"
    match trouble_of(said):
        case Trouble.KEY:
            return _locked_out(said, host)
        case Trouble.MONEY:
            return BudgetSpent(
                f"{host} says that the account has no money left ({words}): add credit there, or take its models out of "
                "DROVER_CLOUD_MODELS"
            )
        case Trouble.MODEL | Trouble.PATH as trouble:
            return _not_there(host, model if trouble is Trouble.MODEL else "", words)
        case Trouble.BUSY:
            return DeviceBusy(f"{host} has had too many requests ({words})", retry_after_s=said.retry_after_s)
        case Trouble.SERVER:
            return _failed(said, host, words)
        case trouble:
            return _refused(trouble, said, f"{host}: {words}", model)


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


def _not_there(host: str, model: str, words: str) -> FleetError:
    if not model:
        return BackendError(
            f"what answers at {host} has no such path (404: {words}): check OPENAI_BASE_URL", status=404
        )
    return UnknownModel(
        f"{host} has no model {model!r} for this key: mend its name in DROVER_CLOUD_MODELS, or ask for another",
        model=model,
    )


def _refused(trouble: Trouble, said: Said, words: str, model: str) -> FleetError:
    """Give the error of a request that must change. A 403 that names nothing is first of all the request's own: so
    providers answer what their filters flag."""
    if trouble is Trouble.TOO_LONG:
        return ContextTooLong(words, param=said.param or "messages", model=model)
    if trouble is Trouble.UNSUPPORTED:
        return UnsupportedByModel(f"{words}: ask for a model that does, or leave it out", param=said.param, model=model)
    if trouble is Trouble.DENIED:
        way_out = "ask otherwise, or see what the key's project and region may do"
        return BadRequest(
            f"it does not allow this request (403): {words}: {way_out}", status=said.status, param=said.param
        )
    return BadRequest(f"the request is refused by {words}", param=said.param, model=model)


def _failed(said: Said, host: str, words: str) -> BackendError:
    what = f"failed with status {said.status}" if said.status else "failed in the middle of the answer"
    return BackendError(f"{host} {what}: {words}", retry_after_s=said.retry_after_s, status=said.status or None)
