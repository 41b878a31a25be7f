"""What an error answer of Ollama means for a job: pure, from status and text to a typed error with a way out."""

from __future__ import annotations

from common.errors import (
    BackendError,
    BadRequest,
    ContextTooLong,
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

_UNSUPPORTED = ("does not support", "is not supported")
"""Tools, thinking, chat itself: status 400. Images: the runner finds out, and it is a 500. Embeddings of a model that chats: it
finds out too, and says 501."""

_TOO_LONG = ("exceeds the context length", "exceeds maximum context length")
"""Of a text to embed that must not be cut: status 400."""

_UNAUTHORIZED = "what answers at OLLAMA_HOST wants authorization ({status}: {said}): set OLLAMA_API_KEY for the agent"
_EXPLAINED = {
    -1: "Ollama failed in the middle of the answer: {said}; its log says more",
    401: _UNAUTHORIZED,
    403: _UNAUTHORIZED,
    404: "what answers at OLLAMA_HOST is not Ollama (404: {said}): check the address",
}


def fault_of(status: int, text: str, model: str) -> FleetError:
    """Give the error for an answer: 1. unknown model 2. the request 3. busy 4. not loadable 5. anything else.

    `status` is -1 for an error line inside a stream that had begun with 200.
    """
    said = text.strip()[:300] or "no reason given"
    if status == 404 and "model" in said.lower():  # 1
        return UnknownModel(
            f"this device's Ollama has no model {model!r}: `ollama pull {model}` fetches it, or ask for another",
            model=model,
        )
    if any(part in said.lower() for part in _UNSUPPORTED):  # 2
        return UnsupportedByModel(f"{said}: ask for a model that does, or leave it out", model=model)
    if status == 400:
        return _refused(said, model)
    if status == 503:  # 3
        return DeviceBusy(f"Ollama's own queue is full ({said}): try another device, or raise OLLAMA_MAX_QUEUE")
    if any(part in said.lower() for part in _NOT_LOADABLE):  # 4
        return ModelNotLoadable(
            f"Ollama can't load {model!r} ({said}): take a smaller model or another device", model=model
        )
    return BackendError(
        _EXPLAINED.get(status, "Ollama failed with status {status}: {said}; its log says more").format(
            status=status, said=said
        ),
        status=status,
    )  # 5


def _refused(said: str, model: str) -> FleetError:
    if any(part in said.lower() for part in _TOO_LONG):
        return ContextTooLong(
            f"{model}: {said}: shorten the text, or let it be cut (truncate)", param="inputs", model=model
        )
    return BadRequest(f"Ollama refuses the request: {said}", model=model)
