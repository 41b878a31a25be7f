"""How many events of devices are told."""

from __future__ import annotations

from dispatcher.record.rate import MOST_DEVICES, OF_ALL, OF_ONE, EventRate


def told(rate: EventRate, device: str, number: int, now_s: float) -> int:
    return sum(rate.allows(device, now_s) for _ in range(number))


def test_one_device_tells_so_much_and_then_one_a_minute() -> None:
    """However often it comes and goes; what it did not use in an hour is its own again, and no more than that."""
    rate = EventRate()

    assert [OF_ONE, 0, 1, OF_ONE] == [told(rate, "mad", 1000, now_s) for now_s in (0.0, 59.0, 119.0, 36_000.0)]


def test_one_device_takes_nothing_of_another() -> None:
    """Also not by what it was refused."""
    rate = EventRate()
    told(rate, "mad", 100 * OF_ALL, 0.0)

    assert OF_ONE == told(rate, "nano", OF_ONE, 0.0)


def test_a_large_fleet_may_join_at_once() -> None:
    """A thousand devices, each with an event; of invented ones by the hundred thousand there is an end."""
    rate = EventRate()

    assert 1000 == sum(rate.allows(f"d{number}", 0.0) for number in range(1000))
    assert OF_ALL - 1000 == sum(rate.allows(f"x{number}", 0.0) for number in range(100_000))
    assert len(rate._devices) <= MOST_DEVICES


def test_who_was_quiet_makes_room() -> None:
    """Names are not kept for ever: a new device is told of when those before it have rested."""
    rate = EventRate()
    for number in range(2 * MOST_DEVICES):
        rate.allows(f"x{number}", 0.0)

    assert [False, True] == [rate.allows("new", now_s) for now_s in (0.0, 61.0)]
