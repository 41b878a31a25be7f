"""The hard filters: what takes a device or a model out, in which order, and whether waiting may help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.messages import DeviceState, ModelInfo
from dispatcher.fleet import Device, Liveness
from dispatcher.outcomes import Removed
from dispatcher.routing.filters import device_filter, model_filter
from tests.unit.dispatcher.builders import GB, STOPPED, device, model, wanted

Verdict = tuple[str, bool] | None

NOT_READY: dict[str, Any] = {"state": DeviceState.FAULTY, "reason": "the backend does not answer"}


def verdict(removed: Removed | None) -> Verdict:
    return None if removed is None else (removed.filter, removed.for_now)


@pytest.mark.parametrize(
    ("one", "pinned", "excluded", "expected"),
    [
        (device(), None, {}, None),
        (device(), "nano", {}, None),
        (device(), "orin", {}, ("pin", False)),  # 1
        (device(liveness=Liveness.DEAD), "orin", {"nano": "busy"}, ("pin", False)),  # 1 before all others
        (device(), None, {"nano": "silent"}, ("tried", False)),  # 2
        (
            device(liveness=Liveness.SUSPECT),
            None,
            {"nano": "silent"},
            ("tried", False),
        ),  # 2 before 3: no waiting for it
        (device(liveness=Liveness.SUSPECT), None, {}, ("health", True)),  # 3
        (device(liveness=Liveness.DEAD), None, {}, ("health", False)),
        (device(liveness=Liveness.DEAD, state=STOPPED), None, {}, ("health", False)),
        (device(state=DeviceState.STARTING), None, {}, ("health", True)),  # 4
        (device(**NOT_READY), None, {}, ("health", False)),
        (device(state=DeviceState.DRAINING), None, {}, ("health", False)),
    ],
)
def test_devices(one: Device, pinned: str | None, excluded: dict[str, str], expected: Verdict) -> None:
    """1. Pin. 2. Tried already. 3. Not alive. 4. Not ready; only suspect and starting devices are worth waiting for."""
    assert expected == verdict(device_filter(one, pinned=pinned, excluded=excluded))


@pytest.mark.parametrize(
    ("one", "excluded", "words"),
    [
        (device(), {"nano": "silent: no accept"}, "tried already: silent: no accept"),
        (device(liveness=Liveness.DEAD), {}, "it is dead"),
        (device(liveness=Liveness.DEAD, state=STOPPED), {}, "it signed off"),
        (device(**NOT_READY), {}, "it is faulty: the backend does not answer"),
    ],
)
def test_devices_in_words(one: Device, excluded: dict[str, str], words: str) -> None:
    """The reason tells an operator what to look at."""
    removed = device_filter(one, pinned=None, excluded=excluded)
    assert removed is not None

    assert words == removed.reason


CHAT = ("completion",)


@pytest.mark.parametrize(
    ("capabilities", "question", "expected"),
    [
        ((), {}, None),  # unknown: the device has the last word
        ((), {"images": True, "tools": True}, None),
        (CHAT, {}, None),
        (("embedding",), {}, ("capability", False)),  # 1
        (CHAT, {"images": True}, ("capability", False)),  # 2
        ((*CHAT, "vision"), {"images": True}, None),
        (CHAT, {"tools": True}, ("capability", False)),  # 3
        ((*CHAT, "tools"), {"tools": True}, None),
        ((*CHAT, "tools"), {"tools": True, "images": True}, ("capability", False)),
    ],
)
def test_capabilities(capabilities: tuple[str, ...], question: dict[str, Any], expected: Verdict) -> None:
    """A model that says what it can do is taken at its word."""
    able = model(capabilities=capabilities)

    assert expected == verdict(model_filter(device("nano", able), able, wanted(**question)))


@pytest.mark.parametrize(
    ("trained", "most", "expected"),
    [
        (None, None, None),
        (1000, None, None),  # 1,000 tokens just fit
        (999, None, ("context", False)),  # 4: the model's limit
        (None, 999, ("context_memory", False)),  # 4: the device's
        (4096, 1000, None),
        (999, 999, ("context", False)),  # no device helps
    ],
)
def test_context(trained: int | None, most: int | None, expected: Verdict) -> None:
    """An engine would cut what does not fit, so such a model is out, also for who names it."""
    one = model(context_tokens=trained, most_context_tokens=most)

    assert expected == verdict(model_filter(device("nano", one), one, wanted(context_tokens=1000)))


def test_context_in_words() -> None:
    """The reason says how many tokens are needed and how many there are."""
    one = model(context_tokens=4096, most_context_tokens=2048)
    removed = model_filter(device("nano", one), one, wanted(context_tokens=3000))

    assert removed is not None
    assert "about 3000 tokens, and the device's memory holds 2048" in removed.reason


COLD = model("cold:4b", size_bytes=4 * GB, loaded=False)  # needs 4 x 1.15 = 4.6 GB
WARM = model("warm:1b", size_bytes=GB, loaded=True, memory_bytes=2 * GB)


@pytest.mark.parametrize(
    ("one", "total_gb", "available_gb", "expected"),
    [
        (COLD, None, None, None),  # nothing known
        (COLD, None, 1.0, None),
        (COLD, 4.5, None, ("memory", False)),  # 4.6 > 4.5: never
        (COLD, 4.7, None, None),
        (COLD, 8.0, 2.5, ("memory", True)),  # 4.6 > 2.5 + 2: not now
        (COLD, 8.0, 2.7, None),  # 4.6 < 2.7 + 2, with WARM out of the way
        (WARM, 0.5, 0.0, None),  # it is in memory: it fits
    ],
)
def test_memory(one: ModelInfo, total_gb: float | None, available_gb: float | None, expected: Verdict) -> None:
    """A model must fit the device, and beside what can't be freed; what is loaded fits."""
    where = device(
        "nano",
        COLD,
        WARM,
        memory_total_bytes=None if total_gb is None else int(total_gb * GB),
        memory_available_bytes=None if available_gb is None else int(available_gb * GB),
    )

    assert expected == verdict(model_filter(where, one, wanted()))


def test_a_model_that_has_just_answered_fits() -> None:
    """Its own memory is what is not free any more."""
    where = device("nano", COLD, memory_total_bytes=8 * GB, memory_available_bytes=GB)

    verdicts = [model_filter(one, COLD, wanted()) for one in (where, replace(where, answered=frozenset({"cold:4b"})))]
    assert [("memory", True), None] == [verdict(one) for one in verdicts]


def test_memory_in_words() -> None:
    """The reason says what is needed and what there is."""
    removed = model_filter(device("nano", COLD, memory_total_bytes=2 * 1024**3), COLD, wanted())

    # 4e9 x 1.15 / 2^30 = 4.28
    assert (
        Removed("nano", "memory", "needs about 4.3 GiB, and the device has 2.0 GiB", for_now=False, model="cold:4b")
        == removed
    )
