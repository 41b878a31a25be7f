"""The agent's settings: how Ollama's address is read, and where the defaults come from."""

from __future__ import annotations

import socket
import traceback
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from agents.settings import AgentSettings
from common.addresses import ollama_url, provider_url
from common.errors import ConfigError
from common.settings import load
from common.subjects import is_token


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the tester's machine has set, and its .env, out."""
    for page in get_type_hints(AgentSettings).values():
        for knob in page.model_fields.values():
            monkeypatch.delenv(str(knob.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_key_is_taken_without_the_line_end_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file brings it; in a header it would be refused, with the whole key in the reason."""
    monkeypatch.setenv("OPENAI_API_KEY", " sk-0123456789\n")
    key = load(AgentSettings).cloud.api_key

    assert key is not None
    assert key.get_secret_value() == "sk-0123456789"


@pytest.mark.parametrize("text", ["sk-0123 456789", "sk-ключ", "sk-0123\n456789", "  "])
def test_a_key_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """And not quoted: it may be nearly one."""
    monkeypatch.setenv("OPENAI_API_KEY", text)
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY=.hidden.: .*printable ASCII") as caught:
        load(AgentSettings)

    assert [part for part in ("0123", "ключ") if part in "".join(traceback.format_exception(caught.value))] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nano", "http://nano:11434"),
        ("nano:8000", "http://nano:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9999", "http://127.0.0.1:9999"),
        ("http://0.0.0.0:9999", "http://127.0.0.1:9999"),
        ("[::]:9999", "http://[::1]:9999"),
        ("[fe80::2]", "http://[fe80::2]:11434"),
        ("http://nano", "http://nano:80"),
        ("https://nano", "https://nano:443"),
        ("https://nano:8443/ollama/", "https://nano:8443/ollama"),
        (' "nano:8000" ', "http://nano:8000"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(text: str, expected: str) -> None:
    """Every form that Ollama's own programs take, and the address that a server binds, become a URL to reach it."""
    actual = ollama_url(text)

    assert expected == actual


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        (" 'http://127.0.0.1:8080/v1/' ", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_provider_s_address_is_a_url(text: str, expected: str) -> None:
    """As it was written, without what does not count."""
    assert provider_url(text) == expected


@pytest.mark.parametrize(
    "text", ["api.example.com/v1", "ftp://x/v1", "https://", "https://x:port", "https://me:secret@x/v1"]
)
def test_an_impossible_provider_s_address_is_a_clear_fault_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A whole URL is wanted. Addresses are shown in heartbeats, so they hold no password; and the refusal does not show it."""
    monkeypatch.setenv("OPENAI_BASE_URL", text)

    with pytest.raises(ConfigError, match="OPENAI_BASE_URL") as caught:
        load(AgentSettings)

    assert "secret" not in caught.value.message


def test_a_wrong_price_is_quoted_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like any other fault of the settings."""
    monkeypatch.setenv("DROVER_CLOUD_MODELS", "gpt-small=cheap")

    with pytest.raises(ConfigError, match=r"DROVER_CLOUD_MODELS='gpt-small=cheap': 'gpt-small=cheap': prices are"):
        load(AgentSettings)


def test_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever prints the settings sees stars."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")

    assert "0123" not in repr(load(AgentSettings))


@pytest.mark.parametrize(
    ("environment", "slots"),
    [
        ({"OLLAMA_NUM_PARALLEL": "2"}, 2),
        ({"OLLAMA_NUM_PARALLEL": "2", "DROVER_BACKEND": "openai"}, 8),
        ({"DROVER_SLOTS": "3", "DROVER_BACKEND": "openai"}, 3),
    ],
)
def test_a_provider_has_slots_of_its_own(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], slots: int
) -> None:
    """What Ollama runs at once says nothing of it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert load(AgentSettings).slots == slots


@pytest.mark.parametrize("text", ["ftp://nano", "nano:port", "nano:99999"])
def test_an_impossible_ollama_host_is_a_clear_fault(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The message names the variable and the value."""
    monkeypatch.setenv("OLLAMA_HOST", text)

    with pytest.raises(ConfigError, match=rf"OLLAMA_HOST='{text}'"):
        load(AgentSettings)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),
        ({"OLLAMA_NUM_PARALLEL": "4"}, 4),
        ({"OLLAMA_NUM_PARALLEL": "0"}, 1),
        ({"OLLAMA_NUM_PARALLEL": "4", "DROVER_SLOTS": "2"}, 2),
    ],
)
def test_slots_follow_ollama_unless_set(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    """The agent runs as many jobs as Ollama runs requests; 0 is Ollama's own choice, and one is always safe."""
    for key, value in environment.items():
        monkeypatch.setenv(key, value)

    actual = load(AgentSettings).slots

    assert expected == actual


def test_a_device_is_named_after_its_host() -> None:
    """Without DROVER_DEVICE the host's name serves, mapped to what a subject can carry."""
    device = load(AgentSettings).agent.device

    assert is_token(device)
    assert len(device) == len(socket.gethostname()[:64])


def test_a_device_name_becomes_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dots and spaces have a meaning on NATS, and become underscores."""
    monkeypatch.setenv("DROVER_DEVICE", "orin.lab 3")

    actual = load(AgentSettings).agent.device

    assert actual == "orin_lab_3"


@pytest.mark.parametrize(("text", "site"), [("", ""), ("attic", "attic"), ("the attic.2", "the_attic_2")])
def test_a_site_becomes_a_token(monkeypatch: pytest.MonkeyPatch, text: str, site: str) -> None:
    """Caps name it; without one a device stands nowhere."""
    monkeypatch.setenv("DROVER_SITE", text)

    assert load(AgentSettings).agent.site == site


def test_topics_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Space around them and empty ones are dropped."""
    monkeypatch.setenv("DROVER_TOPICS", " code, small talk ,,")

    actual = load(AgentSettings).topics

    assert actual == ("code", "small talk")


@pytest.mark.parametrize("text", ["5m", "1h30m", "0", "-1", "90", "-1m", "0.5h"])
def test_keep_alive_takes_what_ollama_takes(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Durations as Go writes them, and bare seconds."""
    monkeypatch.setenv("DROVER_KEEP_ALIVE", text)

    actual = load(AgentSettings).ollama.keep_alive

    assert text == actual


def test_all_faults_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two wrong knobs, one message with both."""
    monkeypatch.setenv("DROVER_SLOTS", "0")
    monkeypatch.setenv("DROVER_KEEP_ALIVE", "five minutes")

    with pytest.raises(ConfigError) as caught:
        load(AgentSettings)

    assert "DROVER_SLOTS='0'" in caught.value.message
    assert "DROVER_KEEP_ALIVE='five minutes'" in caught.value.message


def test_every_knob_says_what_it_does() -> None:
    """Each field has its own environment variable and a description."""
    hints = get_type_hints(AgentSettings)
    bare = [
        f"{page.name}.{name}"
        for page in fields(AgentSettings)
        for name, knob in hints[page.name].model_fields.items()
        if not (knob.validation_alias and knob.description)
    ]

    assert bare == []
