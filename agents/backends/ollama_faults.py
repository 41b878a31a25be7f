"""What an error answer of Ollama means for a job: pure, from status and text to a typed error with a way out."""

from __future__ import annotations

from common.errors import (
    BackendError,
    BadRequest,
    DeviceBusy,
    FleetError,
    ModelNotLoadable,
    UnknownModel,
    UnsupportedByModel,
)

_NOT_LOADABLE = (
    "requires more system memory",
    "unable to load model",
    "failed to load model",
    "error loading model",
    "runner process has terminated",
    "runner process no longer running",
    "waiting for llama runner",
    "out of memory",
)
"""Parts of the texts that Ollama (up to 0.33) answers when a runner can't be started; they come with status 500."""


def fault_of(status: int, text: str, model: str) -> FleetError:
    """Give the error for an answer: 1. unknown model 2. unsupported, bad request 3. busy 4. not loadable 5. the rest.

    `status` is -1 for an error line inside a stream that had begun with 200.
    """
    said = text.strip()[:300] or "nothing"
    low = said.lower()
    if status == 404 and "model" in low:  # 1
        return UnknownModel(
            f"this device's Ollama has no model {model!r}: pull it there with `ollama pull {model}`, or ask for another", model=model
        )
    if status == 400:  # 2
        if "does not support" in low:
            return UnsupportedByModel(f"{said}: ask for a model that does, or leave it out", model=model)
        return BadRequest(f"Ollama refuses the request: {said}", model=model)
    if status == 503:  # 3
        return DeviceBusy(f"Ollama's own queue is full ({said}): try another device, or raise OLLAMA_MAX_QUEUE")
    if any(part in low for part in _NOT_LOADABLE):  # 4
        return ModelNotLoadable(f"Ollama can't load {model!r} ({said}): choose a smaller model or another device", model=model)
    if status in (401, 403):  # 5
        return BackendError(f"Ollama at OLLAMA_HOST wants authorization (status {status}): set OLLAMA_API_KEY for the agent")
    if status == 404:
        return BackendError(f"what answers at OLLAMA_HOST is not Ollama (404: {said}): check the address")
    where = "in the middle of the answer" if status == -1 else f"with status {status}"
    return BackendError(f"Ollama failed {where}: {said}; its log on the device says more", status=status)
