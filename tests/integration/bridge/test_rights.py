"""What the bridge says where its own user of NATS, as `drover nats init` makes it, may not do what an administrator asks of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from common import codec
from common.bus.nats import NatsOptions, connect_nats
from common.messages import Heartbeat, ModelInfo
from common.subjects import Subjects, own_inbox
from dispatcher.cli.nats_config import USERS_FILE
from dispatcher.cli.nats_fleet import SEED_FILE, FleetDir
from dispatcher.cli.nats_roles import Role
from tests.bridge_process import bridge_process
from tests.integration.ledger.ledgers import until
from tests.nats_server import nats_server

HANG_S = 60.0
SUBJECTS = Subjects()
JSON = {"content-type": "application/json"}


def options(url: str, fleet: FleetDir, role: Role, name: str = "") -> NatsOptions:
    seed = str(fleet.pack(role, name) / SEED_FILE)
    return NatsOptions(urls=(url,), name=f"test-{role}", nkey_file=seed, inbox_prefix=own_inbox(role, name))


ORDERS = [
    ("GET", "/api/v1/keys", "", "drover keys"),
    ("POST", "/api/v1/keys", '{"name":"carl"}', "drover keys"),
    ("PATCH", "/api/v1/keys/carl", '{"requests_per_minute":7}', "drover keys"),
    ("POST", "/api/v1/keys/carl/rotate", "{}", "drover keys"),
    ("POST", "/api/v1/keys/carl/refill", "", "drover keys"),
    ("DELETE", "/api/v1/keys/carl", "", "drover keys"),
    ("POST", "/api/v1/devices/nano/drain", "", "nats req llm.v1.dev.nano.drain '{\"on\":true}'"),
    (
        "POST",
        "/api/v1/devices/nano/load",
        '{"model":"m"}',
        'nats req llm.v1.dev.nano.load \'{"model":"m:latest","wait_s":60.0}\' --timeout=65s',
    ),
    ("POST", "/api/v1/devices/nano/resume", "", "nats req llm.v1.dev.nano.drain '{\"on\":false}'"),
]


@pytest.fixture
def users(tmp_path: Path) -> FleetDir:
    fleet = FleetDir(tmp_path / "users")
    fleet.init(url="nats://127.0.0.1:1", host="127.0.0.1", port=1, tenant="acme", prefix="llm.v1")
    fleet.add(Role.DEVICE, "nano")
    return fleet


async def test_who_may_order_it_is_told_at_once(users: FleetDir) -> None:
    """Strangers talk to the bridge, so it makes no keys and drains nothing there: whoever asks for it is told who does, without
    waiting, and not to try again."""
    rules = (users.path / USERS_FILE).read_text()
    settings = {
        "NATS_NKEY": str(users.pack(Role.BRIDGE) / SEED_FILE),
        "DROVER_LEDGER": "off",
        "DROVER_HTTP_KEYS": "off",
    }
    async with (
        nats_server(jetstream=True, config_extra=rules) as server,
        connect_nats(options(server.url, users, Role.DEVICE, "nano")) as device,
        bridge_process(server.url, **settings) as bridge,
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
    ):

        async def heard() -> bool:
            beat = codec.plain(Heartbeat(device="nano", boot="b1", seq=1, models=(ModelInfo(name="m"),)))
            await device.publish(SUBJECTS.heartbeat("nano"), codec.encode(beat))
            found = (await http.get("/api/v1/devices")).json()["devices"]
            return [one["name"] for one in found] == ["nano"]

        await until(heard)
        told = [await http.request(verb, path, content=body or None, headers=JSON) for verb, path, body, _ in ORDERS]

    assert {(503, "not_permitted")} == {(one.status_code, one.json()["error"]["code"]) for one in told}
    assert [] == [
        path for one, (_, path, _, way) in zip(told, ORDERS, strict=True) if way not in one.text.replace('\\"', '"')
    ]
    assert {"false"} == {one.headers.get("x-should-retry") for one in told}
