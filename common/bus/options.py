"""From the settings that every process shares to the options of the NATS bus."""

from __future__ import annotations

from common.bus.nats import NatsOptions
from common.settings import BusSection


def options_from(section: BusSection, *, name: str, inbox_prefix: str = "_INBOX") -> NatsOptions:
    """Give the options for a process called `name` in the server's list of connections."""
    return NatsOptions(
        urls=tuple(url.strip() for url in section.url.split(",") if url.strip()),
        name=name,
        creds_file=section.creds_file,
        user=section.user,
        password=section.password.get_secret_value() if section.password else None,
        token=section.token.get_secret_value() if section.token else None,
        inbox_prefix=inbox_prefix,
        initial_connect_timeout_s=section.connect_wait_s,
    )
