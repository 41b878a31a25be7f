"""Write the NATS server's configuration of a small fleet anew, to look at; `drover nats init` makes a real one, with keys.

python deploy/nats/generate.py
"""

from __future__ import annotations

from pathlib import Path

from dispatcher.cli.nats_config import SERVER_FILE, USERS_FILE, User, server_text, users_text
from dispatcher.cli.nats_roles import SINGLE, Role

HERE = Path(__file__).parent
MADE = Path("/etc/drover/nats")
"""Where the fleet of the example was made."""


def examples() -> dict[Path, str]:
    """Give each file and its text. Keys are words: a server refuses to start with them."""
    users = [User(role=role, nkey=_key(role)) for role in SINGLE]
    users += [
        User(role=Role.PRODUCER, name="acme", nkey=_key("acme")),
        User(role=Role.DEVICE, name="nano", nkey=_key("nano")),
    ]
    return {
        HERE / f"{SERVER_FILE}.example": server_text(host="0.0.0.0", port=4222, directory=MADE),  # noqa: S104  # of devices
        HERE / f"{USERS_FILE}.example": users_text(users, prefix="llm.v1"),
    }


def _key(name: str) -> str:
    return f"PUBLIC_KEY_OF_{name.upper()}"


if __name__ == "__main__":
    for path, text in examples().items():
        path.write_text(text, encoding="utf-8")
