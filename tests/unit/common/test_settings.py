"""Settings: where they come from, which are refused, what they show of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import Field

from common.errors import ConfigError
from common.settings import BusSection, LogSection, Section, load
from dispatcher.settings import RosterSection, RoutingSection

URL = "nats://ann:secret@hub:4222"


class PickySection(Section):
    """A page that takes no URL with a user, so that a refusal can be read."""

    url: str = Field("", validation_alias="NATS_URL", pattern="^[^@]*$")


@dataclass(frozen=True)
class Picky:
    bus: PickySection


def test_the_bus_settings_dont_show_their_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a user and a password, and a settings tree may be logged."""
    monkeypatch.setenv("NATS_URL", URL)
    section = BusSection()

    assert (URL, False) == (section.url, "secret" in f"{section!r} {section!s}")


def test_a_wrong_url_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the knob and what was expected, and hides the value."""
    monkeypatch.setenv("NATS_URL", URL)
    with pytest.raises(ConfigError) as caught:
        load(Picky)

    assert (True, False) == ("NATS_URL=(hidden)" in caught.value.message, "secret" in caught.value.message)


@dataclass(frozen=True)
class Logs:
    log: LogSection


@dataclass(frozen=True)
class Routes:
    roster: RosterSection
    routing: RoutingSection


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `.env` is looked for; the environment has none of the knobs used here."""
    monkeypatch.chdir(tmp_path)
    for page in (LogSection, RosterSection, RoutingSection):
        for knob in page.model_fields.values():
            monkeypatch.delenv(str(knob.validation_alias), raising=False)
    return tmp_path


@pytest.mark.parametrize("text", ["debug", "Debug", "DEBUG"])
def test_the_level_of_logs_is_read_in_any_case(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Other programs write it in lower case."""
    monkeypatch.setenv("LOG_LEVEL", text)

    assert load(Logs).log.level == "DEBUG"


@pytest.mark.parametrize(("environment", "expected"), [(None, "ERROR"), ("", "INFO"), ("DEBUG", "DEBUG")])
def test_the_environment_wins_also_when_it_is_empty(
    directory: Path, monkeypatch: pytest.MonkeyPatch, environment: str | None, expected: str
) -> None:
    """`LOG_LEVEL= drover up` takes the default, whatever `.env` says."""
    (directory / ".env").write_text("LOG_LEVEL=ERROR\n", encoding="utf-8")
    if environment is not None:
        monkeypatch.setenv("LOG_LEVEL", environment)

    assert load(Logs).log.level == expected


def test_an_env_file_that_is_not_utf8_is_named_with_the_place(directory: Path) -> None:
    """File, line and byte: a person finds it with any editor."""
    (directory / ".env").write_bytes(b"LOG_LEVEL=INFO\nDROVER_TOPICS=K\xfcche\n")
    with pytest.raises(ConfigError) as caught:
        load(Logs)

    assert (
        caught.value.message
        == f"{directory / '.env'} is not UTF-8 (line 2, byte 16: 0xfc): save it as UTF-8"  # DROVER_TOPICS=K is 15 long
    )


def test_knobs_that_contradict_one_another_are_refused_together(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is dead before it is suspect, and a score in which nothing counts."""
    monkeypatch.setenv("DROVER_SUSPECT_AFTER", "6")
    for weight in ("TOKENS", "TOPIC", "HEALTH"):
        monkeypatch.setenv(f"DROVER_WEIGHT_{weight}", "0")
    with pytest.raises(ConfigError) as caught:
        load(Routes)

    assert (
        "\n  DROVER_SUSPECT_AFTER=6 is more than DROVER_DEAD_AFTER=5: " in caught.value.message,
        "\n  DROVER_WEIGHT_TOKENS, DROVER_WEIGHT_TOPIC and DROVER_WEIGHT_HEALTH are all 0: " in caught.value.message,
    ) == (True, True)


@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_field_hears_its_own_variable_alone(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`USER`, `PREFIX` and `PASSWORD` are set on many machines and mean other things: no knob has them."""
    monkeypatch.chdir(tmp_path)
    names = ("USER", "PREFIX", "PASSWORD", "URL")
    if source == "environment":
        for name in names:
            monkeypatch.setenv(name, "foreign")
    else:
        (tmp_path / ".env").write_text("".join(f"{name}=foreign\n" for name in names))
    bus = BusSection()

    assert (None, "llm.v1", None, "nats://127.0.0.1:4222") == (bus.user, bus.prefix, bus.password, bus.url)
