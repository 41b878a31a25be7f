"""Headers, hosts, statuses, job ids and the view of the fleet: the bridge's small decisions, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from common.frames import RouteNote
from common.messages import ChatRequest, DeviceState, Heartbeat, ModelInfo, Priority
from common.subjects import is_token
from dispatcher.bridge import presence, statuses, surfaces, wishes
from dispatcher.bridge.headers import MAX_VALUE, header_text, route_headers
from dispatcher.bridge.limits import host_name
from dispatcher.roster import Roster


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hybrid 0.81 · fast → nano", "hybrid 0.81 - fast -> nano"),
        ("a\r\nX-Evil: 1", "a X-Evil: 1"),
        ("Grüße aus 東京", "Grue aus"),
        ("x" * 500, "x" * MAX_VALUE),
        ("", ""),
    ],
)
def test_any_text_becomes_a_header_value(text: str, expected: str) -> None:
    """Look-alikes are spelled out, line breaks end no header, and length is bounded."""
    assert header_text(text) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-drover-priority": "batch"}, Priority.BATCH),
        ({"x-drover-priority": " Interactive "}, Priority.INTERACTIVE),
    ],
)
def test_a_header_asks_for_a_priority(headers: dict[str, str], expected: Priority | None) -> None:
    """Without it the body decides."""
    assert expected is wishes.priority(headers)


@pytest.mark.parametrize(("given", "stream"), [("yes", True), ("true", False), ("", True), ("1", False)])
def test_a_wish_for_progress_that_can_not_be_met_is_refused(given: str, stream: bool) -> None:
    """Another word than 1, or an answer that is no stream: it would be ignored otherwise."""
    with pytest.raises(errors.BadRequest, match="x-drover-progress is "):
        wishes.progress({"x-drover-progress": given}, stream=stream)


@pytest.mark.parametrize(
    ("headers", "expected"), [({}, False), ({"x-drover-progress": "0"}, False), ({"x-drover-progress": "1"}, True)]
)
def test_progress_is_told_to_who_asks_for_it(headers: dict[str, str], expected: bool) -> None:
    """By the header, with a stream."""
    assert wishes.progress(headers, stream=True) is expected


@pytest.mark.parametrize(("headers", "expected"), [({}, None), ({"x-drover-timeout": "2.5"}, 2.5)])
def test_a_header_limits_the_time(headers: dict[str, str], expected: float | None) -> None:
    """OpenAI's body has no field for it."""
    assert expected == wishes.timeout_s(headers)


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf", "86401", ""])
def test_a_limit_that_is_none_is_refused(given: str) -> None:
    """The header is named, and what it takes."""
    with pytest.raises(errors.BadRequest, match=r"x-drover-timeout is .*: send seconds above 0"):
        wishes.timeout_s({"x-drover-timeout": given})


def test_a_priority_that_there_is_not_is_refused() -> None:
    """The message lists those there are."""
    with pytest.raises(errors.BadRequest, match="interactive, normal, batch"):
        wishes.priority({"x-drover-priority": "urgent"})


@pytest.mark.parametrize(
    ("error", "status", "retries"),
    [
        (errors.QueueFull("full", retry_after_s=2.1), 429, True),
        (errors.DeadlineInfeasible("no", retry_after_s=2.1), 503, True),
        (errors.DeadlineExceeded("late", retry_after_s=2.1), 504, False),
    ],
)
def test_what_the_line_refuses_may_be_sent_again(error: errors.FleetError, status: int, retries: bool) -> None:
    """It was never begun, though the fleet had accepted it: clients may retry by themselves, after the time that it names."""
    response = surfaces.OPENAI.refusal(error, "j", accepted=True)

    assert (status, "3", retries) == (
        response.status_code,
        response.headers["retry-after"],
        "x-should-retry" not in response.headers,
    )


@given(st.text())
def test_a_header_value_is_printable_ascii(text: str) -> None:
    """No text makes a value that a server or client refuses."""
    value = header_text(text)

    assert value.isascii()
    assert value == value.strip()
    assert all(char.isprintable() for char in value)


def test_the_headers_name_what_is_known() -> None:
    """The job always; place and reason when there is a route."""
    known = dict(route_headers("j1", RouteNote("j1", "nano", "m:1b", "hybrid", 1)))

    assert (list(dict(route_headers("j1", None))), known[b"x-drover-device"], known[b"x-drover-model"]) == (
        [b"x-drover-job"],
        b"nano",
        b"m:1b",
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8080", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_the_host_is_taken_out_of_its_header(header: str, expected: str) -> None:
    """Port, brackets and capitals don't matter."""
    assert host_name(header) == expected


def test_every_error_has_a_status() -> None:
    """The table names each code of the error tree, and none that is not there."""
    assert set(statuses.STATUSES) == set(errors.BY_CODE)


@pytest.mark.parametrize(
    ("error", "accepted", "status", "may_retry"),
    [
        (errors.Stopping(), False, 503, True),
        (errors.Stopping(), True, 503, True),
        (errors.DeviceLost(), True, 502, False),
        (errors.NoDevice(), False, 503, True),
        (errors.JobCancelled(), True, 499, False),
        (errors.DuplicateJob(), False, 409, False),
    ],
)
def test_what_a_client_may_send_again_by_itself(
    error: errors.FleetError, accepted: bool, status: int, may_retry: bool
) -> None:
    """What was accepted may have run, except where its dispatcher stops and says that it gave the job up."""
    response = surfaces.OPENAI.refusal(error, "j1", accepted)

    assert (status, may_retry) == (response.status_code, response.headers.get("x-should-retry") != "false")


def test_an_error_of_a_newer_kind_gets_its_parent_s_status() -> None:
    """A code that the table does not know is still refused as what it is a kind of."""

    class Newer(errors.QueueFull):
        code = "queue_full_of_something_new"

    assert statuses.verdict(Newer()) == statuses.STATUSES["queue_full"]


@pytest.mark.parametrize(
    ("accepted", "expected"), [(True, "false"), (False, None)], ids=["accepted job", "refused before"]
)
def test_clients_are_told_not_to_repeat_a_job_that_was_accepted(accepted: bool, expected: str | None) -> None:
    """The openai package sends a failed POST again by itself, unless this header forbids it."""
    response = surfaces.OPENAI.refusal(errors.DeviceLost(), "j1", accepted)

    assert response.headers.get("x-should-retry") == expected


@pytest.mark.parametrize(
    ("wait_s", "expected"), [(5.0, None), (None, "false"), (3600.0, "false")], ids=["passing", "never", "in-hours"]
)
def test_nobody_comes_again_by_itself_for_a_budget_that_is_spent(wait_s: float | None, expected: str | None) -> None:
    """But for one that jobs which run may give back to: two more tries would be refused as well."""
    response = surfaces.OPENAI.refusal(errors.QuotaSpent("spent", retry_after_s=wait_s))

    assert (429, expected) == (response.status_code, response.headers.get("x-should-retry"))


def test_a_known_wait_becomes_retry_after() -> None:
    """Seconds are rounded up: a client that comes too early is refused again."""
    response = surfaces.OPENAI.refusal(errors.QueueFull(retry_after_s=1.2))

    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


def test_a_name_that_can_stand_in_a_subject_is_the_job_s_id() -> None:
    """The caller finds its job under the very id that it gave; our own header wins."""
    ids = [wishes.job_id({"idempotency-key": "abc-1"}), wishes.job_id({"x-drover-job": "j", "idempotency-key": "k"})]

    assert ids == ["abc-1", "j"]


def test_two_foreign_names_stay_two() -> None:
    """Names that look alike once mapped to a token are kept apart by their digest."""
    one, two = (str(wishes.job_id({"idempotency-key": name})) for name in ("a.b", "a*b"))

    assert (one.startswith("a_b-"), is_token(one), one != two) == (True, True, True)


@given(st.text(min_size=1))
def test_any_name_becomes_a_token(name: str) -> None:
    """No header makes an id that can't stand in a subject."""
    assert is_token(str(wishes.job_id({"idempotency-key": name})))


def test_without_a_name_the_job_has_none_of_its_caller() -> None:
    """Nobody can send it again under a name, so nobody needs to look for it."""
    assert wishes.job_id({}) is None


def roster(*beats: Heartbeat) -> Roster:
    found = Roster()
    for beat in beats:
        found.observe(beat, 0.0)
    return found


def beat(device: str, state: DeviceState = DeviceState.READY, *models: str) -> Heartbeat:
    infos = tuple(ModelInfo(name=name, loaded=name.startswith("l")) for name in models)
    return Heartbeat(device=device, boot="b", seq=1, state=state, models=infos)


@pytest.mark.parametrize(
    ("beats", "heard", "bus", "says"),
    [
        ([beat("nano")], {"nano"}, True, ""),
        ([beat("nano"), beat("pi", DeviceState.FAULTY)], {"nano", "pi"}, True, ""),
        ([beat("nano")], None, True, "no dispatcher answers"),
        ([beat("nano")], None, False, "no connection to NATS"),
        ([], set(), True, "no device has been heard"),
        ([beat("a", DeviceState.DRAINING), beat("b", DeviceState.STOPPED)], {"a"}, True, "a is draining, b is lost"),
        ([beat("nano"), beat("pi", DeviceState.FAULTY)], {"pi"}, True, "has just started, and has not heard"),
    ],
)
def test_health_names_the_first_thing_that_is_missing(
    beats: list[Heartbeat], heard: set[str] | None, bus: bool, says: str
) -> None:
    """Up needs bus, dispatcher and one ready device that the dispatcher has heard; the reason says which of them is missing."""
    word = None if heard is None else presence.Word(heard=frozenset(heard))
    health = presence.judge(roster(*beats).fleet, word=word, bus=bus)

    assert (says in health.reason, bool(health.reason)) == (True, bool(says))


def test_health_lists_what_troubles_devices_and_stays_up() -> None:
    """Why one is throttled, and what its owner should look at; who signed off, or has nothing to say, is left out."""
    hot = replace(beat("hot"), throttled=True, throttling=("under-voltage: 4.5 V",), warnings=("low disk",))
    vague, gone = replace(beat("vague"), throttled=True), replace(beat("gone", DeviceState.STOPPED), warnings=("dust",))
    health = presence.judge(
        roster(beat("nano"), hot, vague, gone).fleet, word=presence.Word(heard=frozenset({"nano"})), bus=True
    )

    assert ("", {"hot": ["throttled: under-voltage: 4.5 V", "low disk"], "vague": ["throttled"]}) == (
        health.reason,
        health.facts["warnings"],
    )


def test_models_are_listed_with_the_devices_that_have_them() -> None:
    """One offer per model, however many devices have it, under its full name."""
    fleet = roster(beat("b", DeviceState.READY, "llama:1b"), beat("a", DeviceState.READY, "llama:1b", "qwen")).fleet

    assert {name: (offer.devices, offer.loaded_on) for name, offer in presence.offers(fleet).items()} == {
        "llama:1b": (("a", "b"), ("a", "b")),
        "qwen:latest": (("a",), ()),
    }


@pytest.mark.parametrize(("age_s", "listed"), [(0.0, True), (3.0, True), (6.0, False)])
def test_a_missed_heartbeat_does_not_empty_the_list(age_s: float, listed: bool) -> None:
    """A suspect device (2.5 intervals of 1 s) still offers its models, a dead one (5 intervals) does not."""
    found = roster(beat("a", DeviceState.READY, "m"))
    found.sweep(age_s)

    assert (presence.find(found.fleet, "m") is not None) == listed


CHAT = ChatRequest(prompt="hi", strategy="token:500", max_cost_usd=0.01)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("token:500", 0.01)),
        ({"x-drover-strategy": "Token:500", "x-drover-max-cost-usd": "0.010"}, ("token:500", 0.01)),
    ],
)
def test_header_and_body_may_agree(headers: dict[str, str], expected: tuple[str, float]) -> None:
    """What one of them says holds, and so does what both say."""
    chat = wishes.wished(CHAT, headers)

    assert expected == (chat.strategy, chat.max_cost_usd)


@pytest.mark.parametrize(
    ("header", "value", "param"),
    [("x-drover-strategy", "perf", "strategy"), ("x-drover-max-cost-usd", "0.02", "max_cost_usd")],
)
def test_header_and_body_must_not_differ(header: str, value: str, param: str) -> None:
    """Neither wins in silence."""
    with pytest.raises(errors.BadRequest, match=f"{header} says {value}, and the body's {param} ") as caught:
        wishes.wished(CHAT, {header: value})

    assert param == caught.value.details["param"]


def test_every_header_that_is_read_is_described() -> None:
    """The published description names the headers of a chat."""
    read = {name for key, name in vars(wishes).items() if key.endswith("_HEADER")}

    assert read == {parameter["name"].lower() for parameter in (*wishes.CHAT_PARAMETERS, wishes.CONVERSATION_PARAMETER)}
