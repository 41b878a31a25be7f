"""From the settings that every process shares to the options of the NATS bus."""

from __future__ import annotations

import ssl

from common.bus.nats import NatsOptions
from common.errors import ConfigError
from common.settings import BusSection


def options_from(section: BusSection, *, name: str, inbox_prefix: str = "_INBOX") -> NatsOptions:
    """Give the options for a process called `name` in the server's list of connections.

    Raises `ConfigError` for certificates that can't be used.
    """
    return NatsOptions(
        urls=tuple(url.strip() for url in section.url.split(",") if url.strip()),
        name=name,
        creds_file=section.creds_file,
        nkey_file=section.nkey_file,
        user=section.user,
        password=section.password.get_secret_value() if section.password else None,
        token=section.token.get_secret_value() if section.token else None,
        tls=_tls(section),
        inbox_prefix=section.inbox_prefix or inbox_prefix,
        initial_connect_timeout_s=section.connect_wait_s,
    )


def _tls(section: BusSection) -> ssl.SSLContext | None:
    """Trust those that are named, and nobody else; the server's name is always compared."""
    if section.ca_file is None and section.cert_file is None and section.key_file is None:
        return None
    if (section.cert_file is None) != (section.key_file is None):
        raise ConfigError("NATS_CERT and NATS_KEY belong together: set both, or none")
    try:
        context = ssl.create_default_context(cafile=section.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"NATS_CA: {section.ca_file} holds no certificates that can be read: {error}") from error
    if section.cert_file is not None:
        try:
            context.load_cert_chain(section.cert_file, section.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"NATS_CERT, NATS_KEY: {section.cert_file} and {section.key_file} can't be used together: {error}"
            ) from error
    return context
