"""The pure parts of `drover up`: which devices, where Ollama is, how the server is configured, how long to wait."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from common.errors import ConfigError
from dispatcher.cli import nats_server
from dispatcher.cli.plan import devices
from dispatcher.cli.processes import backoff_s, describe_exit
from dispatcher.cli.up import metrics_address, metrics_hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nano,orin,pi5", [("nano", "nano"), ("orin", "orin"), ("pi5", "pi5")]),
        (" nano , kitchen = pi4 ,", [("nano", "nano"), ("kitchen", "pi4")]),
        ("a=pi5,b=pi5", [("a", "pi5"), ("b", "pi5")]),
    ],
)
def test_devices_are_profiles_or_names_with_profiles(text: str, expected: list[tuple[str, str]]) -> None:
    """`profile` is short for `profile=profile`; white space and a last comma don't matter."""
    assert expected == [(device.name, device.profile) for device in devices(text)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no device"),
        (" , ", "names no device"),
        ("nano,nano", "'nano' stands twice"),
        ("kitchen=", "'kitchen=' is not a device"),
        ("=pi4", "'=pi4' is not a device"),
        ("my pi=pi4", "'my pi=pi4' is not a device"),
        ("a.b=pi4", "'a.b=pi4' is not a device"),
    ],
)
def test_a_wrong_device_is_quoted(text: str, says: str) -> None:
    """The message names the variable and the part of it that is wrong."""
    with pytest.raises(ConfigError) as caught:
        devices(text)

    assert ("DROVER_DEVICES" in caught.value.message, says in caught.value.message) == (True, True)


def test_a_missing_nats_server_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """The way out stands in the message: install it, or use one that runs."""
    with pytest.raises(ConfigError, match="sudo apt-get install nats-server, or set NATS_URL"):
        nats_server.program("nats-server", path=str(tmp_path))


def test_nats_keeps_to_this_machine_and_to_its_own_store() -> None:
    """Nobody else on the network may reach it, and JetStream writes where it was told."""
    text = nats_server.config(host="127.0.0.1", port=4222, store=Path('/tmp/a "b"/nats'))

    assert [line.strip() for line in text.splitlines() if line.strip().startswith(("host", "port", "store_dir"))] == [
        'host: "127.0.0.1"',
        "port: 4222",
        'store_dir: "/tmp/a \\"b\\"/nats"',
    ]


def test_the_wait_before_a_restart_doubles_up_to_half_a_minute() -> None:
    """0.5 s after the first death, 30 s from the seventh on."""
    assert [backoff_s(deaths) for deaths in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(("status", "text"), [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL")])
def test_an_end_is_told_in_words(status: int, text: str) -> None:
    """A signal is named."""
    assert text == describe_exit(status)


def test_metrics_are_shown_on_the_usual_port_unless_it_is_taken() -> None:
    """Nothing hangs on them: a fleet whose port somebody has comes up without, and says no address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        found = [metrics_address("", port=taken), metrics_address("off"), metrics_address("127.0.0.1:1")]

    assert ["off", "off", "127.0.0.1:1"] == found
    assert ([], ["  metrics: http://127.0.0.1:1/metrics"]) == (metrics_hint("off"), metrics_hint("127.0.0.1:1"))
