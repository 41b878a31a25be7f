"""Origins and names of hosts in settings: written as they are looked up, or refused with the way out."""

from __future__ import annotations

import pytest

from common.errors import ConfigError
from common.settings import load
from dispatcher.settings import BridgeSettings

ORIGINS, HOSTS = "DROVER_HTTP_CORS_ORIGINS", "DROVER_HTTP_ALLOWED_HOSTS"


@pytest.mark.parametrize(
    ("knob", "text", "expected"),
    [
        (ORIGINS, "https://app.example/", "https://app.example"),
        (ORIGINS, " https://APP.example:443 , http://a.lan:8000,", "https://app.example,http://a.lan:8000"),
        (ORIGINS, "http://[FE80::1]:80,http://[fe80::1]", "http://[fe80::1]"),
        (ORIGINS, "app://obsidian.md,tauri://localhost", "app://obsidian.md,tauri://localhost"),
        (ORIGINS, "", ""),
        (HOSTS, "Fleet.LAN:8080, a.b/", "fleet.lan,a.b"),
        (HOSTS, "::1,[fe80::1]:80,192.0.2.1", "::1,fe80::1,192.0.2.1"),
        (HOSTS, " ", ""),
    ],
)
def test_what_means_the_same_is_written_the_same(
    monkeypatch: pytest.MonkeyPatch, knob: str, text: str, expected: str
) -> None:
    """As browsers write an origin, and as the bridge looks a host up."""
    monkeypatch.setenv(knob, text)
    section = load(BridgeSettings).bridge

    assert expected == (section.cors_origins if knob == ORIGINS else section.allowed_hosts)


@pytest.mark.parametrize(
    ("knob", "text", "words"),
    [
        (ORIGINS, "*", "every page"),
        (ORIGINS, "https://a.b,NULL", "sandboxed"),
        (ORIGINS, "app.example", "'app.example' is none"),
        (ORIGINS, "https://app.example/chat", "without a path"),
        (ORIGINS, "https://*.example", "is none"),
        (ORIGINS, "https://user@app.example", "is none"),
        (HOSTS, "*", "point a name of its own"),
        (HOSTS, "*.fleet.lan", "point a name of its own"),
        (HOSTS, "http://fleet.lan", "is none"),
    ],
)
def test_what_can_match_nobody_or_everybody_is_refused(
    monkeypatch: pytest.MonkeyPatch, knob: str, text: str, words: str
) -> None:
    """By name, before anything is started: else pages would only fail, each in its own way."""
    monkeypatch.setenv(knob, text)
    with pytest.raises(ConfigError) as refused:
        load(BridgeSettings)

    assert (True, True) == (knob in refused.value.message, words in refused.value.message)
