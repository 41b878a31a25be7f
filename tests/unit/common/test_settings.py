"""Settings: what they show of themselves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import Field

from common.errors import ConfigError
from common.settings import BusSection, Section, load

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
