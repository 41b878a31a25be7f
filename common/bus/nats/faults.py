"""The vendor's errors and ours: every class that the NATS client raises has one of our tree; it opens no connection."""

from __future__ import annotations

from collections.abc import Mapping

from nats import errors as vendor

from common import errors

VENDOR_FAULTS = (vendor.Error, OSError, RuntimeError, AttributeError)
"""What the vendor's client raises. The last two come from writing to a transport that was closed under it."""

ERRORS: Mapping[type[Exception], type[errors.FleetError]] = {
    vendor.Error: errors.BusError,
    vendor.TimeoutError: errors.BusTimeout,
    vendor.FlushTimeoutError: errors.BusTimeout,
    vendor.DrainTimeoutError: errors.BusTimeout,
    vendor.NoRespondersError: errors.NoResponders,
    vendor.StaleConnectionError: errors.BusDisconnected,
    vendor.OutboundBufferLimitError: errors.BusDisconnected,
    vendor.UnexpectedEOF: errors.BusDisconnected,
    vendor.ConnectionClosedError: errors.BusDisconnected,
    vendor.ConnectionDrainingError: errors.BusDisconnected,
    vendor.ConnectionReconnectingError: errors.BusDisconnected,
    vendor.NoServersError: errors.BusDisconnected,
    vendor.ProtocolError: errors.BusDisconnected,
    vendor.JsonParseError: errors.BusDisconnected,
    vendor.MaxPayloadError: errors.PayloadTooLarge,
    vendor.BadSubjectError: errors.BadRequest,
    vendor.BadHeaderError: errors.BadRequest,
    vendor.SlowConsumerError: errors.BusError,
    vendor.AuthorizationError: errors.ConfigError,
    vendor.InvalidUserCredentialsError: errors.ConfigError,
    vendor.SecureConnRequiredError: errors.ConfigError,
    vendor.SecureConnWantedError: errors.ConfigError,
    vendor.SecureConnFailedError: errors.ConfigError,
    vendor.BadSubscriptionError: errors.InternalError,
    vendor.BadTimeoutError: errors.InternalError,
    vendor.InvalidCallbackTypeError: errors.InternalError,
    vendor.ServerNotInPoolError: errors.InternalError,
    vendor.NotJSMessageError: errors.InternalError,
    vendor.MsgAlreadyAckdError: errors.InternalError,
}
"""Every error class of the vendor; a test fails when a new one appears."""


def translate(error: Exception, doing: str) -> errors.FleetError:
    """Give our error for one of the vendor's; `doing` says what was tried, with its subject."""
    for cls in type(error).__mro__:
        if cls in ERRORS:
            return ERRORS[cls](f"{doing} failed: {str(error) or type(error).__name__}")
    return errors.BusDisconnected(f"{doing} failed: {type(error).__name__}: {error}")


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
