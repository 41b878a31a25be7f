"""Every error that Drover raises or puts on the wire, as one tree; HTTP statuses are not known here.

FleetError
├── RequestError            the caller must change something
│   ├── BadRequest          bad_request
│   ├── PayloadTooLarge     too_large
│   ├── UnknownModel        unknown_model
│   ├── UnknownDevice       unknown_device
│   ├── NotAllowed          not_allowed    the tenant, or the key, may not use what could answer, or do this
│   ├── Unauthorized        unauthorized   no key, or none that is known
│   ├── TooDear             too_dear       its max_cost_usd is not enough
│   ├── UnsupportedByModel  unsupported
│   │   └── ContextTooLong  context_length_exceeded    OpenAI's own word for it
│   ├── UnknownJob          unknown_job
│   ├── UnknownKey          unknown_key
│   ├── UnknownConversation unknown_conversation
│   ├── ConversationConflict conversation_conflict    it has gone on otherwise, or the turn's id is another turn's
│   ├── UnreadableFile      unreadable_file    an image or a PDF that can't be read, or is more than is taken
│   └── DuplicateJob        duplicate_job
├── CapacityError           nothing is wrong with the request; the fleet can't take it now
│   ├── NoDevice            no_device
│   ├── QueueFull           queue_full
│   ├── TooMany             rate_limit     its key has sent too much, or has too many jobs at once
│   │   └── QuotaSpent      quota_spent    its key's budget is spent
│   ├── DeadlineExceeded    deadline
│   │   └── DeadlineInfeasible  deadline_infeasible    it never ran: there is not enough time left
│   ├── Stopping            stopping
│   └── NoDispatcher        no_dispatcher
├── AttemptError            one device failed; another may do better
│   ├── DeviceBusy          busy
│   │   └── BudgetSpent     budget    no money is left for a paid model
│   ├── DeviceLost          device_lost
│   ├── DeviceSilent        silent
│   ├── BackendError        backend
│   ├── ModelNotLoadable    not_loadable
│   └── GarbledReply        garbled
├── Interrupted             interrupted    text was delivered, and can't be continued
├── JobCancelled            cancelled
├── BusError                the message bus itself
│   ├── BusDisconnected     disconnected
│   ├── NoResponders        no_responders
│   ├── BusTimeout          bus_timeout
│   ├── NotPermitted        not_permitted    the NATS server does not let this user publish, or hear, there
│   ├── StreamsUnavailable  no_streams
│   ├── StreamConflict      stream_conflict
│   └── StreamError         stream
├── CacheUnavailable        cache          the store of answers is away, slow or full; no request ever fails for it
├── LedgerUnavailable       ledger         its database is away, full or slow; no job ever fails for it
├── ConfigError             config
│   ├── LabelsError         labels        a table of examples to learn from
│   └── WeightsError        weights       a file of trained weights
│       └── WeightsMismatch weights_mismatch    it is sound, and made for another embedder or version
└── InternalError           internal       a bug of ours
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

TORN = "torn"
"""The `cause` of an `Interrupted` whose answer is whole, and can be had again under the same id."""


def rounded_up(seconds: float, digits: int = 3) -> float:
    """Give a time as it is told to who waits for it: rounded up, so that nobody comes too early, and without the noise of floats,
    which would be rounded up as well."""
    many = seconds * 10**digits
    return math.ceil(round(many, 3)) / 10**digits if math.isfinite(many) else seconds


class FleetError(Exception):
    """Drover could not do what was asked."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.retry_after_s = None if retry_after_s is None else rounded_up(retry_after_s)
        self.details = {key: value for key, value in details.items() if value is not None}
        super().__init__(self.message)

    @property
    def summary(self) -> str:
        """What may be written down. The message of a `RequestError` quotes the request, which is its sender's own business."""
        return self.message

    def to_wire(self) -> dict[str, Any]:
        """Give the error as it travels: code, message, whether a retry may help, and what is known of it."""
        wire: dict[str, Any] = {"code": self.code, "message": self.message, "retry": self.retryable}
        if self.retry_after_s is not None:
            wire["retry_after_s"] = self.retry_after_s
        if self.details:
            wire["details"] = self.details
        return wire


class RequestError(FleetError):
    """The request can't be served as it stands."""

    code = "request"

    @property
    def summary(self) -> str:
        return (
            f"the request's {self.details['param']} is at fault"
            if "param" in self.details
            else "the request is at fault"
        )


class BadRequest(RequestError):
    """The request is malformed."""

    code = "bad_request"


class PayloadTooLarge(RequestError):
    """The message is larger than the bus carries."""

    code = "too_large"


class UnknownModel(RequestError):
    """No device of the fleet has this model."""

    code = "unknown_model"


class UnknownDevice(RequestError):
    """No device of the fleet has this name."""

    code = "unknown_device"


class NotAllowed(RequestError):
    """The tenant may not use the model or the devices that it asks for."""

    code = "not_allowed"


class TooDear(RequestError):
    """What could answer may cost more than the request allows."""

    code = "too_dear"


class Unauthorized(RequestError):
    """The request has no key that is known here."""

    code = "unauthorized"


class UnsupportedByModel(RequestError):
    """The model exists, but can't do what the request needs."""

    code = "unsupported"


class ContextTooLong(UnsupportedByModel):
    """The request needs a longer context than the model has."""

    code = "context_length_exceeded"


class UnknownJob(RequestError):
    """No dispatcher knows this job."""

    code = "unknown_job"


class DuplicateJob(RequestError):
    """This id names another request already."""

    code = "duplicate_job"


class UnknownKey(RequestError):
    """There is no such key."""

    code = "unknown_key"


class UnknownConversation(RequestError):
    """There is no such conversation, or it is somebody else's."""

    code = "unknown_conversation"


class ConversationConflict(RequestError):
    """The conversation has gone on otherwise meanwhile."""

    code = "conversation_conflict"


class UnreadableFile(RequestError):
    """The image or the PDF can't be read, or is more than is taken."""

    code = "unreadable_file"


class CapacityError(FleetError):
    """The fleet can't take the job now."""

    code = "capacity"
    retryable = True


class NoDevice(CapacityError):
    """No device can take the job."""

    code = "no_device"


class QueueFull(CapacityError):
    """The waiting queue is full."""

    code = "queue_full"


class TooMany(CapacityError):
    """The key has sent too much."""

    code = "rate_limit"


class QuotaSpent(TooMany):
    """The key's budget is spent."""

    code = "quota_spent"


class DeadlineExceeded(CapacityError):
    """The job's deadline passed before it could be answered."""

    code = "deadline"


class DeadlineInfeasible(DeadlineExceeded):
    """The job can't be answered before its deadline, and was not begun."""

    code = "deadline_infeasible"


class Stopping(CapacityError):
    """The dispatcher is stopping."""

    code = "stopping"


class NoDispatcher(CapacityError):
    """No dispatcher is listening on the bus."""

    code = "no_dispatcher"


class AttemptError(FleetError):
    """The device did not finish the job."""

    code = "attempt"
    retryable = True


class DeviceBusy(AttemptError):
    """The device has no free slot."""

    code = "busy"


class BudgetSpent(DeviceBusy):
    """The budget for paid models is spent."""

    code = "budget"


class DeviceLost(AttemptError):
    """The device went away."""

    code = "device_lost"


class DeviceSilent(AttemptError):
    """The device stopped answering."""

    code = "silent"


class BackendError(AttemptError):
    """The device's inference server failed."""

    code = "backend"

    @property
    def summary(self) -> str:
        """Its message, and the `fault` among its details: what the server's client said of it, which says little to who asked."""
        fault = self.details.get("fault")
        return f"{self.message} ({fault})" if fault else self.message


class ModelNotLoadable(AttemptError):
    """The device can't load the model."""

    code = "not_loadable"


class GarbledReply(AttemptError):
    """The device's answer could not be read."""

    code = "garbled"


class Interrupted(FleetError):
    """The answer broke off after part of it was delivered."""

    code = "interrupted"
    retryable = True


class JobCancelled(FleetError):
    """The job was cancelled."""

    code = "cancelled"


class BusError(FleetError):
    """The message bus failed."""

    code = "bus"
    retryable = True


class BusDisconnected(BusError):
    """There is no connection to the message bus."""

    code = "disconnected"


class NoResponders(BusError):
    """Nobody listens on the subject."""

    code = "no_responders"


class BusTimeout(BusError):
    """No reply came in time."""

    code = "bus_timeout"


class NotPermitted(BusError):
    """The NATS server does not let this user publish, or hear, there."""

    code = "not_permitted"
    retryable = False


class StreamsUnavailable(BusError):
    """The NATS server keeps no streams: it runs without JetStream."""

    code = "no_streams"


class StreamConflict(BusError):
    """Somebody else has written there meanwhile."""

    code = "stream_conflict"


class StreamError(BusError):
    """The NATS server could not do what was asked of a stream."""

    code = "stream"


class CacheUnavailable(FleetError):
    """The store of answers is away, slow or full."""

    code = "cache"


class LedgerUnavailable(FleetError):
    """The ledger's database is away, full or slow."""

    code = "ledger"
    retryable = True


class ConfigError(FleetError):
    """The settings are wrong."""

    code = "config"


class LabelsError(ConfigError):
    """The table of examples can't be used."""

    code = "labels"


class WeightsError(ConfigError):
    """The file of trained weights can't be used."""

    code = "weights"


class WeightsMismatch(WeightsError):
    """The trained weights were made for something else."""

    code = "weights_mismatch"


class InternalError(FleetError):
    """Drover failed; this is a bug, please report it with the job id."""

    code = "internal"


def _tree(root: type[FleetError]) -> Iterator[type[FleetError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


BY_CODE: Mapping[str, type[FleetError]] = {cls.code: cls for cls in _tree(FleetError)}


def from_wire(wire: Mapping[str, Any]) -> FleetError:
    """Rebuild the typed error that `to_wire` gave; a code that this version does not know becomes a plain FleetError."""
    cls = BY_CODE.get(str(wire.get("code", "")), FleetError)
    details = wire.get("details")
    retry_after = wire.get("retry_after_s")
    error = cls(
        str(wire.get("message") or cls.__doc__),
        retry_after_s=float(retry_after) if isinstance(retry_after, int | float) else None,
    )
    if isinstance(details, Mapping):
        error.details = dict(details)
    return error
