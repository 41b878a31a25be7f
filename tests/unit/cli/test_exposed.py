"""Who may reach the bridge, as settings alone tell it: `drover config check` and `drover up` refuse what the bridge would."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.settings import load
from dispatcher.cli.config import by_fault, require_startable, troubles
from dispatcher.cli.http_door import HttpDoor
from dispatcher.settings import BridgeSection, BridgeSettings
from dispatcher.settings.exposed import advice, needs_a_key


def _settings(monkeypatch: pytest.MonkeyPatch, directory: Path, **knobs: str) -> BridgeSettings:
    monkeypatch.chdir(directory)
    for name, value in knobs.items():
        monkeypatch.setenv(f"DROVER_{name}", value)
    return load(BridgeSettings)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"HTTP_KEYS": "off", "HTTP_HOST": "0.0.0.0"}, "asks nobody for a key"),
        ({"HTTP_KEYS": "off", "HTTP_HOST": "::"}, "DROVER_HTTP_ALLOW_REMOTE=true"),
        ({"LEDGER": "off", "HTTP_HOST": "0.0.0.0"}, "keeps no keys"),
        ({"LEDGER": "off", "HTTP_KEYS": "on"}, "keeps no keys"),
        ({"HTTP_TENANT": "a b"}, "is not a name"),
    ],
)
def test_what_the_bridge_would_refuse_is_refused_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, knobs: dict[str, str], words: str
) -> None:
    """In the bridge's own words."""
    with pytest.raises(Exception, match=words):
        require_startable(_settings(monkeypatch, tmp_path, **knobs))


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"HTTP_KEYS": "off"},
        {"LEDGER": "off"},
        {"HTTP_KEYS": "off", "HTTP_HOST": "0.0.0.0", "HTTP_ALLOW_REMOTE": "true"},
        {"LEDGER": "off", "HTTP_HOST": "0.0.0.0", "HTTP_ALLOW_REMOTE": "true"},
        {"HTTP_KEYS": "on", "HTTP_HOST": "localhost"},
    ],
)
def test_what_needs_no_key_can_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, knobs: dict[str, str]) -> None:
    """And nothing more is advised."""
    tree = _settings(monkeypatch, tmp_path, **knobs)
    require_startable(tree)

    assert (False, []) == (needs_a_key(tree), list(advice(tree)))


def test_an_address_for_others_can_start_and_needs_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The advice is a sequence that works where nothing runs: the fleet first, then the key."""
    tree = _settings(monkeypatch, tmp_path, HTTP_HOST="0.0.0.0")
    require_startable(tree)
    [said] = advice(tree)

    assert (
        -1 < said.index("start `drover up`") < said.index("run `drover keys add NAME`") < said.index("start this again")
    )


async def test_a_seed_that_is_not_there_is_told_once_for_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its whole path: a name alone says nothing of the directory in which a service runs."""
    _settings(monkeypatch, tmp_path)
    monkeypatch.setenv("NATS_NKEY", "gone.nk")
    wrong, _ = await troubles()
    [(fault, who)] = by_fault(wrong).items()

    assert (["up", "dispatcher", "bridge", "ledger"], True) == (who, str(tmp_path / "gone.nk") in fault)


@pytest.mark.parametrize("held", [True, False])
def test_a_door_withdraws_to_this_machine_on_its_port(held: bool) -> None:
    """Whoever was told the port finds the bridge there; the other addresses of this machine are let go."""
    door = HttpDoor(BridgeSection(host="0.0.0.0", port=0), held=held)
    try:
        port = door.port
        door.withdraw()
        found = socket.socket(fileno=socket.dup(door.fd)) if door.fd is not None else None
        where = found.getsockname() if found is not None else (door.host, door.port)
        if found is not None:
            found.close()
    finally:
        door.close()

    assert ("127.0.0.1", port) == where == (door.host, door.port)


def test_an_address_that_this_machine_lacks_names_the_knob() -> None:
    """Another port would not help."""
    with pytest.raises(ConfigError, match=r"set DROVER_HTTP_HOST to one that it has") as caught:
        HttpDoor(BridgeSection(host="192.0.2.1", port=0), held=True)

    assert "DROVER_HTTP_PORT" not in caught.value.message
