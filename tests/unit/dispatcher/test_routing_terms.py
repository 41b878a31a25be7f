"""The terms of the score: always in [0, 1], and in the right direction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import ModelInfo, Speed
from common.throttling import Throttle
from dispatcher.fleet import Device, Track
from dispatcher.routing.features import Features
from dispatcher.routing.figures import strength
from dispatcher.routing.strain import strain
from tests.unit.dispatcher.builders import GB, beat, device, model, speed, wanted
from tests.unit.dispatcher.judged import judged

MAYBE_SPEED = st.none() | st.floats(allow_nan=True, allow_infinity=True)
FINITE_SPEED = st.floats(min_value=0.01, max_value=1e4)
TOPICS = ("code", "chat", "unheard-of")

MODELS = st.builds(
    ModelInfo,
    name=st.just("llama3.2:1b"),
    size_bytes=st.integers(0, 10**13),
    loaded=st.booleans(),
    parameters_b=st.none() | st.floats(allow_nan=True, allow_infinity=True),
)
TRACKS = st.builds(
    Track,
    error_rate=st.floats(0, 1),
    first_token_s=st.none() | st.floats(0, 1e6),
    attempts=st.integers(0, 1000),
)
QUESTIONS = st.builds(
    Features,
    prompt_tokens=st.integers(1, 10**7),
    output_tokens=st.integers(1, 800),
    complexity=st.floats(0, 1),
    topics=st.fixed_dictionaries({"code": st.floats(0, 1), "chat": st.floats(0, 1)}),
    images=st.booleans(),
    tools=st.booleans(),
)


@st.composite
def devices(draw: st.DrawFn) -> Device:
    """Devices as strangers may report them: full, without slots, without sensors, with impossible speeds."""
    return device(
        "nano",
        draw(MODELS),
        own=draw(st.integers(0, 50)),
        others=draw(st.integers(0, 50)),
        track=draw(TRACKS),
        slots=draw(st.integers(0, 16)),
        temperature_c=draw(st.none() | st.floats(allow_nan=True, allow_infinity=True)),
        throttled=draw(st.none() | st.booleans()),
        throttling=tuple(draw(st.lists(st.sampled_from(["", "fog", *map(str, Throttle)]), max_size=3))),
        watts=draw(st.none() | st.floats(allow_nan=True, allow_infinity=True)),
        watts_measured=draw(st.none() | st.booleans()),
        power_mode=draw(st.none() | st.sampled_from(["MAXN", "15W", "0W"])),
        topics=tuple(draw(st.lists(st.sampled_from(TOPICS), max_size=3))),
        speeds=draw(
            st.just({})
            | st.fixed_dictionaries(
                {
                    "llama3.2:1b": st.builds(
                        Speed,
                        prefill_tps=MAYBE_SPEED,
                        decode_tps=MAYBE_SPEED,
                        load_s=MAYBE_SPEED,
                        first_token_s=MAYBE_SPEED,
                    )
                }
            )
        ),
    )


def health_of(one: Device, question: Features | None = None) -> float:
    return judged(one, question).health


def fit_of(one: Device, question: Features | None = None) -> float:
    return judged(one, question).tokens


@given(devices(), QUESTIONS)
def test_terms_stay_in_range(one: Device, question: Features) -> None:
    """Each term is in [0, 1], whatever a device reports and whatever is asked."""
    parts = judged(one, question)

    assert [True] * 3 == [0.0 <= part <= 1.0 for part in (parts.tokens, parts.topic, parts.health)]


@given(devices(), QUESTIONS)
def test_no_prediction_is_negative(one: Device, question: Features) -> None:
    """Nothing takes less than no time."""
    predicted = judged(one, question)

    assert min(predicted.wait_s, predicted.load_s, predicted.prefill_s, predicted.decode_s) >= 0.0


@given(st.floats(-50, 150), st.floats(-50, 150))
def test_hotter_is_never_healthier(one_c: float, other_c: float) -> None:
    """Of two devices that differ in temperature alone, the hotter one never has the better health."""
    cool, hot = sorted((one_c, other_c))

    assert health_of(device(temperature_c=cool)) >= health_of(device(temperature_c=hot))


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_errors_are_never_healthier(one: float, other: float) -> None:
    """Of two devices that differ in their error rate alone, the worse one never has the better health."""
    few, many = sorted((one, other))

    assert health_of(device(track=Track(error_rate=few))) >= health_of(device(track=Track(error_rate=many)))


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 8))
def test_fuller_is_never_healthier(one: int, other: int, slots: int) -> None:
    """Of two devices that differ in their running jobs alone, the fuller one never has the better health."""
    few, many = sorted((one, other))

    assert health_of(device(own=few, slots=slots)) >= health_of(device(own=many, slots=slots))


@given(FINITE_SPEED, FINITE_SPEED, QUESTIONS)
def test_slower_decoding_never_fits_better(one: float, other: float, question: Features) -> None:
    """Of two devices that differ in decode speed alone, the slower one never fits better."""
    slow, fast = sorted((one, other))

    assert fit_of(device(speeds=speed(decode_tps=slow, prefill_tps=100.0)), question) <= fit_of(
        device(speeds=speed(decode_tps=fast, prefill_tps=100.0)), question
    )


@given(FINITE_SPEED, FINITE_SPEED, QUESTIONS)
def test_slower_prefill_is_never_better(one: float, other: float, question: Features) -> None:
    """Of two devices that differ in prefill speed alone, the slower one neither fits better nor is healthier."""
    slow, fast = (device(speeds=speed(decode_tps=10.0, prefill_tps=tps)) for tps in sorted((one, other)))

    assert fit_of(slow, question) <= fit_of(fast, question)
    assert health_of(slow, question) <= health_of(fast, question)


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_later_first_tokens_are_never_healthier(one: float, other: float) -> None:
    """Of two devices that differ in the first-token times seen here, the slower one never has the better health."""
    early, late = sorted((one, other))

    assert health_of(device(track=Track(first_token_s=early))) >= health_of(device(track=Track(first_token_s=late)))


@given(QUESTIONS, TRACKS)
def test_a_loaded_model_is_never_worse(question: Features, track: Track) -> None:
    """A model in memory fits no worse, and is no less healthy, than the same one on disk, whatever was seen of the device."""
    warm, cold = (device("nano", model(loaded=loaded), track=track) for loaded in (True, False))

    assert fit_of(warm, question) >= fit_of(cold, question)
    assert health_of(warm, question) >= health_of(cold, question)


@given(st.floats(0.01, 1000), st.floats(0.01, 1000), st.floats(0, 1))
def test_a_bigger_model_never_fits_a_question_worse(one: float, other: float, complexity: float) -> None:
    """At equal speed, more parameters never fit worse, however hard the question is."""
    question = wanted(complexity=complexity)
    small, big = sorted((one, other))
    speeds = speed(decode_tps=10.0, prefill_tps=100.0)

    assert fit_of(device("a", model(parameters_b=big), speeds=speeds), question) >= fit_of(
        device("a", model(parameters_b=small), speeds=speeds), question
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_harder_question_never_fits_better(one: float, other: float) -> None:
    """The same device never fits a harder question better."""
    easy, hard = sorted((one, other))

    assert fit_of(device(), wanted(complexity=easy)) >= fit_of(device(), wanted(complexity=hard))


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (model(parameters_b=0.25), 0.0),  # log2(0.25 / 0.25) = 0
        (model(parameters_b=1.0), 0.246),  # log2(4) / log2(280) = 2 / 8.129
        (model(parameters_b=8.0), 0.615),  # log2(32) / 8.129 = 5 / 8.129
        (model(parameters_b=70.0), 1.0),
        (model(parameters_b=400.0), 1.0),
        (model(parameters_b=0.1), 0.0),
        (model(size_bytes=int(0.65 * GB)), 0.246),  # 0.65 bytes a parameter: 1 B
        (model(size_bytes=0), 0.246),  # nothing known: 1 B
        (model(size_bytes=int(0.65 * GB), parameters_b=-3.0), 0.246),  # nonsense is as good as nothing
        (model(size_bytes=int(0.65 * GB), parameters_b=0.0), 0.246),
    ],
)
def test_strength_is_logarithmic_in_size(info: ModelInfo, expected: float) -> None:
    """A model's strength is its number of parameters on a logarithmic scale from 0.25 to 70 billion."""
    assert pytest.approx(expected, abs=0.001) == strength(info)


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ((), 0.5),  # names none: neutral
        (("unheard-of",), 0.5),
        (("code",), 0.3),
        (("code", "chat"), 0.8),  # the nearest counts
        (("code", "unheard-of"), 0.3),
    ],
)
def test_the_nearest_topic_counts(topics: tuple[str, ...], expected: float) -> None:
    """A device is as near as the nearest of its topics; one that names none we know is neutral."""
    assert expected == judged(device(topics=topics), wanted(topics={"code": 0.3, "chat": 0.8})).topic


@pytest.mark.parametrize(
    ("temperature_c", "throttled", "expected"),
    [
        (None, None, 1.0),
        (70.0, False, 1.0),
        (75.0, False, 0.75),  # (90 - 75) / 20
        (80.0, True, 0.25),  # (90 - 80) / 20, halved
        (90.0, False, 0.0),
        (120.0, False, 0.0),
        (None, True, 0.5),
    ],
)
def test_coolness_falls_from_70_to_90_degrees(
    temperature_c: float | None, throttled: bool | None, expected: float
) -> None:
    """A device is cool up to 70 degrees C, and not at all at 90; throttling halves it."""
    assert pytest.approx(expected) == strain(beat(temperature_c=temperature_c, throttled=throttled)).coolness


def test_health_by_hand() -> None:
    """H = (1 - error rate) x coolness x mean(latency, room)."""
    one = device(
        slots=2, own=1, temperature_c=80.0, track=Track(error_rate=0.2), speeds=speed(decode_tps=10.0, prefill_tps=5.0)
    )

    # prefill 10 / 5 = 2 s, a slot is free: latency 4 / (4 + 2) = 2/3; room 1 / (1 + 1/2) = 2/3
    assert pytest.approx(0.8 * 0.5 * (2 / 3 + 2 / 3) / 2) == health_of(one)


def test_capability_by_hand() -> None:
    """C = mean of `1 - max(0, demand - strength)` and `20 / (20 + total)`."""
    one = device("a", model(parameters_b=1.0), speeds=speed(decode_tps=10.0, prefill_tps=1.0))

    # demand of chat 0.25 + 0.3 x (2 x 0.9 - 0.5) = 0.64, strength 0.246; prefill 10 / 1 = 10 s, decode 100 / 10 = 10 s
    assert pytest.approx(((1 - (0.64 - 0.246)) + 20 / (20 + 20)) / 2, abs=0.001) == fit_of(one, wanted(complexity=0.9))


@pytest.mark.parametrize(
    ("one", "wait_s"),
    [
        (device(slots=2, own=1), 0.0),
        (device(slots=1, own=1), 10.0),  # (1 - 0.5) x (10 + 10)
        (device(slots=1, own=3), 50.0),  # (3 - 0.5) x 20
        (device(slots=2, own=3), 10.0),  # 3 // 2 = 1 wave
        (device(slots=0), 10.0),  # no slot: as if one job were before
    ],
)
def test_waiting_is_predicted_in_waves(one: Device, wait_s: float) -> None:
    """A full device lets wait for half a job, and a whole one for each further wave."""
    measured = replace(one, beat=replace(one.beat, speeds=speed(decode_tps=10.0, prefill_tps=1.0)))

    assert pytest.approx(wait_s) == judged(measured).wait_s


def test_an_unmeasured_model_is_predicted_from_the_devices_bandwidth() -> None:
    """Tokens/s x bytes is about constant on a device: a model of twice the size decodes at half the speed."""
    small, big = model("small:1b", size_bytes=GB), model("big:2b", size_bytes=2 * GB)
    one = device("nano", small, big, speeds={"small:1b": Speed(decode_tps=20.0)})

    assert pytest.approx(10.0) == judged(one, wanted(output_tokens=100), of=big).decode_s  # 100 / (20 x 1 / 2)


def test_a_model_without_a_tag_counts_for_the_bandwidth() -> None:
    """A device may name a model without its tag, in the list as in the speeds."""
    small, big = model("small", size_bytes=GB), model("big", size_bytes=2 * GB)
    one = device("nano", small, big, speeds={"small": Speed(decode_tps=20.0)})

    assert pytest.approx(10.0) == judged(one, wanted(output_tokens=100), of=big).decode_s


def test_loading_is_measured_or_guessed_from_the_size() -> None:
    """A cold model takes the measured load time, or its size at 150 MB/s; a loaded one takes none."""
    cold = model(size_bytes=3 * GB, loaded=False)

    assert [pytest.approx(20.0), 7.0, 0.0] == [
        judged(device("a", cold)).load_s,  # 3e9 / 150e6
        judged(device("a", cold, speeds=speed(load_s=7.0))).load_s,
        judged(device("a", model())).load_s,
    ]
