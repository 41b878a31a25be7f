"""The knobs of the HTTP bridge; it knows no code that turns them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field

from common.settings import Section
from dispatcher.settings.kinds import Port, Seconds
from dispatcher.settings.sites import hosts, origins, public_origin


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


class BridgeSection(Section):
    """The HTTP bridge."""

    host: str = Field("127.0.0.1", validation_alias="DROVER_HTTP_HOST", description="address the bridge listens on")
    port: Port = Field(
        8080, validation_alias="DROVER_HTTP_PORT", description="port the bridge listens on; 0 takes a free one"
    )
    tenant: str = Field(
        "default", validation_alias="DROVER_HTTP_TENANT", description="tenant that HTTP requests count for"
    )
    max_body_bytes: Annotated[int, Ge(1024)] = Field(
        900_000,
        validation_alias="DROVER_HTTP_MAX_BODY_BYTES",
        description="largest request body; NATS carries 1 MiB a message by default",
    )
    head_s: Seconds = Field(
        15.0,
        validation_alias="DROVER_HTTP_HEAD_S",
        description="seconds that a request may take from its first byte to the end of its headers",
    )
    body_s: Seconds = Field(
        30.0,
        validation_alias="DROVER_HTTP_BODY_S",
        description="seconds that a body may take behind its headers; a megabyte takes 8 s on a line of 1 Mbit/s",
    )
    max_connections: Annotated[int, Ge(1)] = Field(
        4096,
        validation_alias="DROVER_HTTP_MAX_CONNECTIONS",
        description="open connections; further ones are told to come again. Fewer where the system allows fewer open files",
    )
    max_upload_bytes: Annotated[int, Ge(1024)] = Field(
        20 << 20,
        validation_alias="DROVER_HTTP_MAX_UPLOAD_BYTES",
        description="largest request body that has a file in it; of the file only its text, or smaller images, go on",
    )
    max_held_bytes: Annotated[int, Ge(1024)] = Field(
        128 << 20,
        validation_alias="DROVER_HTTP_MAX_HELD_BYTES",
        description="bytes of request bodies with files that are held at once, until their files are read; further ones are told "
        "to come again",
    )
    summaries: bool = Field(
        default=False,
        validation_alias="DROVER_HTTP_SUMMARIES",
        description="have the fleet summarise conversations that outgrow their model's context; each takes a job of the lowest "
        "priority. Without it their oldest turns are left out",
    )
    header_hold_s: Annotated[float, Ge(0), Le(600)] = Field(
        0.0,
        validation_alias="DROVER_HTTP_HEADER_HOLD_S",
        description="seconds a stream's HTTP headers wait for the first token, so as to name the device that answered, and to give "
        "failures before it a status; 0 sends them with the route",
    )
    patience_s: Annotated[float, Ge(0), Le(600)] = Field(
        15.0,
        validation_alias="DROVER_HTTP_PATIENCE_S",
        description="seconds for which the bridge sends a job again when its dispatcher or NATS is lost; 0 tells at once",
    )
    retry_grace_s: Annotated[float, Ge(0), Le(60)] = Field(
        10.0,
        validation_alias="DROVER_HTTP_RETRY_GRACE_S",
        description="seconds that a job with an Idempotency-Key runs on for a client whose connection broke, until it comes again",
    )
    grace_s: Seconds = Field(
        10.0,
        validation_alias="DROVER_HTTP_GRACE_S",
        description="seconds that open HTTP answers get to finish after the first SIGTERM",
    )
    allow_remote: bool = Field(
        default=False,
        validation_alias="DROVER_HTTP_ALLOW_REMOTE",
        description="let DROVER_HTTP_HOST be an address that other machines reach, though there are no keys and anyone there may "
        "then use the fleet",
    )
    allowed_hosts: Annotated[str, AfterValidator(hosts)] = Field(
        "",
        validation_alias="DROVER_HTTP_ALLOWED_HOSTS",
        description="further names, separated by commas, under which the bridge is reached; others are refused (DNS rebinding)",
    )
    public_url: Annotated[str, AfterValidator(public_origin)] = Field(
        "",
        validation_alias="DROVER_HTTP_PUBLIC_URL",
        description="where browsers reach the bridge through a proxy, as https://fleet.example.org. Its name is answered for, and "
        "its pages are the bridge's own; with https, cookies go over TLS alone",
    )
    keys: Annotated[Literal["auto", "on", "off"], BeforeValidator(_lower)] = Field(
        "auto",
        validation_alias="DROVER_HTTP_KEYS",
        description="whether requests need a key: on, off, or auto, as soon as there is one (`drover keys add`), and always where "
        "other machines reach the bridge. Keys are kept by the ledger",
    )
    cors_origins: Annotated[str, AfterValidator(origins)] = Field(
        "",
        validation_alias="DROVER_HTTP_CORS_ORIGINS",
        description="origins of other sites' pages that may use the bridge, separated by commas, as https://chat.example.org",
    )
    results: Path = Field(
        Path("results"),
        validation_alias="DROVER_HTTP_RESULTS",
        description="folder in which the page looks for what `drover bench` and `drover lab` have measured",
    )
    metrics: Annotated[Literal["local", "all", "off"], BeforeValidator(_lower)] = Field(
        "local",
        validation_alias="DROVER_HTTP_METRICS",
        description="who may read /metrics: local, programs of this machine that come by no proxy; all, whoever reaches the "
        "bridge; or off",
    )
