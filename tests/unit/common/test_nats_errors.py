"""Every error of the vendor has one of ours."""

from __future__ import annotations

import nats.errors
import pytest

from common import errors
from common.bus.nats import ERRORS, translate

VENDOR = [cls for cls in vars(nats.errors).values() if isinstance(cls, type) and issubclass(cls, nats.errors.Error)]


def test_no_vendor_error_is_new() -> None:
    """Each error class of the vendor is named in the map; one that a new version brings must be thought about."""
    assert set(VENDOR) ^ set(ERRORS) == set()


def test_the_list_is_not_empty() -> None:
    """The list above sees the vendor's classes at all."""
    assert {nats.errors.ConnectionClosedError, nats.errors.MaxPayloadError} <= set(VENDOR)


def made(cls: type[Exception]) -> Exception:
    """Give an instance; one class of the vendor wants to know the message that it dropped."""
    if cls is nats.errors.SlowConsumerError:
        return nats.errors.SlowConsumerError("a.b", "", 1, None)  # type: ignore[arg-type]  # the subscription is not read
    return cls()


@pytest.mark.parametrize("cls", VENDOR)
def test_translate(cls: type[Exception]) -> None:
    """Each becomes the class that the map names, and the message says what was tried."""
    error = translate(made(cls), "publishing to 'a.b'")

    assert (type(error), "publishing to 'a.b'" in error.message) == (ERRORS[cls], True)


def test_subclass_of_a_vendor_error() -> None:
    """A class that the map does not name is treated as the nearest of its parents."""

    class Newer(nats.errors.ConnectionClosedError):
        pass

    assert type(translate(Newer(), "x")) is errors.BusDisconnected


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), RuntimeError("transport closed"), OSError()])
def test_socket_errors(error: Exception) -> None:
    """What the socket raises below the vendor means that the connection is gone."""
    assert type(translate(error, "x")) is errors.BusDisconnected
