"""The knobs of what Prometheus is shown; it knows no code that turns them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from common.addresses import listen_address
from common.settings import Section

DEFAULT_PORT = 9464
"""Where `drover up` shows them: the port that OpenTelemetry's own page for Prometheus has."""


class MetricsSection(Section):
    """What the dispatcher shows to Prometheus."""

    address: Annotated[str, AfterValidator(listen_address)] = Field(
        "",
        validation_alias="DROVER_METRICS",
        description="where the dispatcher shows its metrics and those of all devices: a port of the loopback, host:port (anyone "
        "who reaches it may read them), or off; not set is off, but 127.0.0.1:9464 below `drover up`, if that is free",
    )
