"""The roster: who is alive, by heartbeats and time alone, and how many slots are taken."""

from __future__ import annotations

import pytest

from common.messages import DeviceState
from dispatcher.fleet import Device, Liveness
from dispatcher.roster import Change, Roster
from tests.unit.dispatcher.builders import STOPPED, beat, model


def told(roster: Roster) -> list[tuple[str, str]]:
    """Write down every change that the roster tells from now on."""
    changes: list[tuple[str, str]] = []
    roster.on_change(lambda event: changes.append((str(event.change), event.device.name)))
    return changes


def nano(roster: Roster) -> Device:
    return roster.fleet.devices["nano"]


def test_a_new_device_joins_alive() -> None:
    """The first heartbeat brings a device into the fleet, with its models under their full names."""
    roster = Roster()
    changes = told(roster)
    roster.observe(beat(models=(model("tiny"),)), 0.0)

    assert ([("joined", "nano")], Liveness.ALIVE, ["tiny:latest"]) == (
        changes,
        nano(roster).liveness,
        list(nano(roster).models),
    )


@pytest.mark.parametrize(
    ("interval_s", "silent_s", "expected"),
    [
        (1.0, 2.5, Liveness.ALIVE),  # 2.5 intervals missed, and not one moment more
        (1.0, 2.51, Liveness.SUSPECT),
        (1.0, 5.0, Liveness.SUSPECT),
        (1.0, 5.01, Liveness.DEAD),
        (0.2, 0.5, Liveness.ALIVE),  # 0.5 / 0.2 = 2.5
        (0.2, 0.51, Liveness.SUSPECT),
        (0.2, 1.01, Liveness.DEAD),  # 1.01 / 0.2 = 5.05
        (30.0, 75.0, Liveness.ALIVE),  # 75 / 30 = 2.5
        (30.0, 76.0, Liveness.SUSPECT),
        (30.0, 151.0, Liveness.DEAD),  # 151 / 30 = 5.03
    ],
)
def test_a_device_ages_by_its_own_interval(interval_s: float, silent_s: float, expected: Liveness) -> None:
    """A device is suspect after 2.5 of the intervals that its heartbeat names, and dead after 5."""
    roster = Roster()
    roster.observe(beat(interval_s=interval_s), 0.0)
    roster.sweep(silent_s)

    assert expected == nano(roster).liveness


def test_ageing_is_told_once_per_step() -> None:
    """A silent device is told suspect once and lost once, however often the roster looks."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    changes = told(roster)
    for tenth in range(100):
        roster.sweep(tenth / 10)

    assert [("suspect", "nano"), ("lost", "nano")] == changes


def test_a_late_sweep_finds_the_dead_dead() -> None:
    """Whoever is silent for more than 5 intervals at the first look is lost, without having been suspect."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    changes = told(roster)
    roster.sweep(60.0)

    assert [("lost", "nano")] == changes


@pytest.mark.parametrize(("silent_s", "aged"), [(3.0, Liveness.SUSPECT), (6.0, Liveness.DEAD)])
def test_a_heartbeat_brings_a_device_back(silent_s: float, aged: Liveness) -> None:
    """The next heartbeat of the same boot recovers a suspect and a dead device."""
    roster = Roster()
    roster.observe(beat(seq=1), 0.0)
    roster.sweep(silent_s)
    before = nano(roster).liveness
    changes = told(roster)
    roster.observe(beat(seq=2), silent_s)

    assert (aged, [("recovered", "nano")], Liveness.ALIVE) == (before, changes, nano(roster).liveness)


def test_a_new_boot_is_a_restart() -> None:
    """Another boot id means that the agent was restarted, also while the old one still counted as alive."""
    roster = Roster()
    roster.observe(beat(boot="a", seq=50), 0.0)
    changes = told(roster)
    roster.observe(beat(boot="b", seq=1), 0.5)

    assert [("restarted", "nano")] == changes


@pytest.mark.parametrize("seq", [7, 6, 0])
def test_a_stale_heartbeat_is_dropped(seq: int) -> None:
    """A sequence number that was seen already changes nothing: neither the state nor the age."""
    roster = Roster()
    roster.observe(beat(seq=7, temperature_c=50.0), 0.0)
    roster.observe(beat(seq=seq, temperature_c=90.0, state=DeviceState.FAULTY), 2.0)
    roster.sweep(3.0)

    assert (50.0, Liveness.SUSPECT, 1) == (nano(roster).beat.temperature_c, nano(roster).liveness, roster.stale_beats)


def test_a_good_bye_takes_a_device_out_at_once() -> None:
    """A device that says it stops has left; silence after that is no news."""
    roster = Roster()
    roster.observe(beat(seq=1), 0.0)
    changes = told(roster)
    roster.observe(beat(seq=2, state=STOPPED), 1.0)
    roster.sweep(100.0)

    assert ([("left", "nano")], False) == (changes, nano(roster).usable)


def test_a_good_bye_of_a_stranger_is_no_news() -> None:
    """The last heartbeat of a device that was never seen is not told as a change."""
    roster = Roster()
    changes = told(roster)
    roster.observe(beat(state=STOPPED), 0.0)

    assert [] == changes


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (beat(seq=2), []),
        (beat(seq=2, temperature_c=70.0), []),
        (beat(seq=2, state=DeviceState.DRAINING), [("changed", "nano")]),
        (beat(seq=2, models=(model("other:1b"),)), [("changed", "nano")]),
        (beat(seq=2, models=()), [("changed", "nano")]),
        (beat(seq=2, models=(model(loaded=False),)), [("room", "nano")]),
        (beat(seq=2, slots=4), [("room", "nano")]),
        (beat(seq=2, jobs_by_dispatcher={"b": 2}), []),  # fuller: nobody who waits can use that
    ],
)
def test_only_what_matters_is_a_change(second: object, expected: list[tuple[str, str]]) -> None:
    """A heartbeat is told when it changes who can answer (changed), or how soon (room)."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(seq=1), 0.0)
    changes = told(roster)
    roster.observe(second, 1.0)  # type: ignore[arg-type]  # a heartbeat, from the table

    assert expected == changes


def test_fewer_jobs_of_others_are_room() -> None:
    """When another dispatcher's jobs end, whoever waits here must hear of it."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(seq=1, jobs_by_dispatcher={"b": 1}), 0.0)
    changes = told(roster)
    roster.observe(beat(seq=2), 1.0)

    assert [("room", "nano")] == changes


def test_own_jobs_are_counted_here_and_others_by_the_device() -> None:
    """In flight = own attempts, counted exactly, + what the heartbeat says of other dispatchers."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(slots=8, jobs_by_dispatcher={"a": 5, "b": 2, "c": 1}), 0.0)
    roster.take("nano")
    roster.take("nano")
    roster.take("nano")
    roster.release("nano")
    device = nano(roster)

    assert (2, 3, 5, 3) == (
        device.own,
        device.others,
        device.in_flight,
        device.free_slots,
    )  # 3 - 1, 2 + 1, 2 + 3, 8 - 5


def test_own_jobs_survive_a_heartbeat() -> None:
    """A heartbeat replaces what the device says, never what this dispatcher counts itself."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(seq=1, slots=2), 0.0)
    roster.take("nano")
    roster.observe(beat(seq=2, slots=2, jobs_by_dispatcher={"b": 1}), 1.0)

    assert (1, 1, 0) == (nano(roster).own, nano(roster).others, nano(roster).free_slots)


def test_a_negative_count_of_a_device_counts_as_none() -> None:
    """What a device reports can't make it look emptier than empty."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(jobs_by_dispatcher={"b": -3}), 0.0)

    assert (0, 1) == (nano(roster).others, nano(roster).free_slots)


@pytest.mark.parametrize(("slots", "own"), [(1, 1), (2, 1), (4, 3)])
def test_a_refusal_is_believed_until_the_next_heartbeat(slots: int, own: int) -> None:
    """A device that said it is full shows no free slot until it speaks again, also when the refused attempt is over."""
    roster = Roster(dispatcher="a")
    roster.observe(beat(seq=1, slots=slots), 0.0)
    for _ in range(own):
        roster.take("nano")
    roster.refused("nano")
    roster.release("nano")
    full = nano(roster).free_slots
    roster.observe(beat(seq=2, slots=slots), 1.0)

    assert (0, slots - own + 1) == (full, nano(roster).free_slots)


def test_releasing_what_is_forgotten_does_no_harm() -> None:
    """A device may be forgotten while an attempt ends; the count never falls below zero."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    roster.release("nano")
    roster.release("gone")
    roster.refused("gone")
    roster.attempt_failed("gone", "backend: no", 1.0)

    assert (0, ["nano"]) == (nano(roster).own, list(roster.fleet.devices))


def test_a_dead_device_is_forgotten_in_the_end() -> None:
    """A device leaves the roster after the time for that, and joins anew afterwards."""
    roster = Roster(forget_after_s=60.0)
    roster.observe(beat(seq=9), 0.0)
    roster.sweep(30.0)
    roster.sweep(60.0)
    kept = list(roster.fleet.devices)
    roster.sweep(60.1)
    changes = told(roster)
    forgotten = list(roster.fleet.devices)
    roster.observe(beat(seq=1), 61.0)

    assert (["nano"], [], [("joined", "nano")]) == (kept, forgotten, changes)


def test_a_device_is_lost_before_it_is_forgotten() -> None:
    """Even where devices are forgotten early, whoever waits for one hears first that it is lost."""
    roster = Roster(forget_after_s=1.0)
    roster.observe(beat(), 0.0)
    changes = told(roster)
    roster.sweep(100.0)
    roster.sweep(100.1)

    assert ([("lost", "nano"), ("forgotten", "nano")], []) == (changes, list(roster.fleet.devices))


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([False], 0.2),  # 0 + 0.2 x (1 - 0)
        ([False, False], 0.36),  # 0.2 + 0.2 x (1 - 0.2)
        ([False, True], 0.16),  # 0.2 + 0.2 x (0 - 0.2)
        ([True], 0.0),
    ],
)
def test_errors_are_averaged(outcomes: list[bool], expected: float) -> None:
    """The error rate is a moving average in which the newest outcome weighs a fifth."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    for ok in outcomes:
        if ok:
            roster.attempt_succeeded("nano", "llama3.2:1b", None, 1.0)
        else:
            roster.attempt_failed("nano", "backend: no", 1.0)

    assert pytest.approx(expected) == nano(roster).track.error_rate


def test_first_tokens_are_averaged() -> None:
    """The time to the first token starts with the first one seen, and moves a fifth towards each newer one."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    roster.attempt_succeeded("nano", "llama3.2:1b", 1.0, 1.0)
    roster.attempt_failed("nano", "backend: no", 1.0)
    roster.attempt_succeeded("nano", "llama3.2:1b", 2.0, 1.0)

    assert (pytest.approx(1.2), 3) == (
        nano(roster).track.first_token_s,
        nano(roster).track.attempts,
    )  # 1 + 0.2 x (2 - 1)


def held(roster: Roster) -> list[str]:
    """Give the models that the device is held to have in memory."""
    return [info.name for info in nano(roster).models.values() if nano(roster).holds(info)]


def test_a_model_that_has_answered_is_in_memory() -> None:
    """Heartbeats of the time before its load say otherwise for a moment: two seconds behind its last answer they are believed."""
    roster, models = Roster(), (model("tiny", loaded=False), model("other", loaded=False))
    roster.observe(beat(models=models), 0.0)
    changes = told(roster)
    seen = []
    for seq, answered_s, now_s in ((2, 1.0, 1.1), (3, 3.0, 3.1), (4, None, 5.0), (5, None, 5.01)):
        if answered_s is not None:
            roster.attempt_succeeded("nano", "tiny", None, answered_s)
        roster.observe(beat(seq=seq, models=models), now_s)
        seen.append(held(roster))

    assert [["tiny"], ["tiny"], ["tiny"], []] == seen
    assert [("room", "nano")] == changes
    assert not any(info.loaded for info in nano(roster).models.values())  # what the device says is kept apart


def test_a_model_that_never_stays_is_not_held_to_be_in_memory_again() -> None:
    """One that its device unloads behind each job is to be loaded for the next one, until a heartbeat has told that it stayed."""
    roster, gone, there = Roster(), (model("tiny", loaded=False),), (model("tiny"),)
    roster.observe(beat(models=gone), 0.0)
    seen = []
    for seq, models, now_s in ((2, gone, 3.0), (3, there, 6.0), (4, gone, 9.0)):
        roster.attempt_succeeded("nano", "tiny", None, now_s - 2.5)
        seen.append(held(roster))
        roster.observe(beat(seq=seq, models=models), now_s)
    roster.attempt_succeeded("nano", "tiny", None, 9.5)
    seen.append(held(roster))

    assert [["tiny"], [], ["tiny"], ["tiny"]] == seen


def test_a_new_process_has_nothing_in_memory_because_the_one_before_had() -> None:
    """What answered before a restart says nothing of what is loaded behind it."""
    roster = Roster()
    roster.observe(beat(models=(model("tiny", loaded=False),)), 0.0)
    roster.attempt_succeeded("nano", "tiny", None, 1.0)
    roster.observe(beat(boot="boot-2", models=(model("tiny", loaded=False),)), 1.1)

    assert [] == held(roster)


def test_changes_are_told_when_the_roster_has_them() -> None:
    """A listener that looks at the fleet sees the device as the event says."""
    roster = Roster()
    seen: list[Liveness] = []
    roster.on_change(lambda event: seen.append(roster.fleet.devices[event.device.name].liveness))
    roster.observe(beat(), 0.0)
    roster.sweep(3.0)
    roster.sweep(6.0)

    assert [Liveness.ALIVE, Liveness.SUSPECT, Liveness.DEAD] == seen


def test_every_change_has_its_event_name() -> None:
    """The names of changes are the names of events on the wire."""
    names = {
        "joined",
        "changed",
        "room",
        "suspect",
        "lost",
        "recovered",
        "restarted",
        "left",
        "tripped",
        "restored",
        "forgotten",
    }

    assert names == {str(change) for change in Change}


def test_failures_in_a_row_open_the_breaker_for_a_while() -> None:
    """Three failures trip it, its time lets one trial through, and a success closes it."""
    roster, changes = Roster(), []
    roster.observe(beat(), 0.0)
    roster.on_change(lambda event: changes.append((str(event.change), event.device.usable)))
    for now_s in (1.0, 1.1, 1.2):
        roster.attempt_failed("nano", "backend: 503", now_s)
    roster.observe(beat(seq=2), 6.0)
    roster.sweep(6.1)  # 1.2 + 5 = 6.2 has not come
    roster.sweep(6.3)
    roster.attempt_succeeded("nano", "llama3.2:1b", None, 1.0)

    assert [("tripped", False), ("restored", True), ("restored", True)] == changes


def test_a_new_process_has_a_new_chance() -> None:
    """A restart closes the breaker: what failed before was another process."""
    roster = Roster()
    roster.observe(beat(), 0.0)
    roster.hung("nano", "no token", 1.0)
    roster.observe(beat(boot="boot-2"), 2.0)

    assert nano(roster).usable


def test_a_device_that_nobody_heard_is_suspect_until_it_beats() -> None:
    """ "No responders" is believed before the heartbeat is missed."""
    roster, changes = Roster(), []
    roster.observe(beat(), 0.0)
    roster.on_change(lambda event: changes.append(str(event.change)))
    roster.unheard("nano")
    roster.observe(beat(seq=2), 0.5)

    assert ["suspect", "recovered"] == changes
