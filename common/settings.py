"""Settings from the environment and `.env`, read once, all faults reported together; it knows no particular knob
but those that every process shares.

A tree of settings is a frozen dataclass whose fields are `Section` classes; only `load` reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from annotated_types import Gt
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from common import codec
from common.errors import ConfigError
from common.openai_api import usable_key

T = TypeVar("T")

ENV_FILE = Path(".env")


class _EnvFile(DotEnvSettingsSource):
    """The lines of `.env` that the environment does not override. It may do so with nothing: that means the default."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        given = {name.lower() for name in os.environ}
        return {name: value for name, value in super()._load_env_vars().items() if name not in given}

    def __call__(self) -> dict[str, Any]:
        """Give what is said of known variables: other lines, which pydantic would hand on by their names, are other programs'."""
        return EnvSettingsSource.__call__(self)


class Section(BaseSettings):
    """One page of knobs. Each field names its environment variable by `validation_alias` and says what it does."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # its place is taken
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # there are none
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give where values come from, the strongest first; called by pydantic."""
        sources = (env_settings, _EnvFile(settings_cls))
        for source in sources:
            # Code may name a field, the environment only its variable: USER, PORT and PATH are set on every machine, for others.
            source.config = SettingsConfigDict(**{**source.config, "populate_by_name": False})
        return init_settings, *sources


def _usable(secret: SecretStr) -> SecretStr:
    return SecretStr(usable_key(secret.get_secret_value()))


ApiKey = Annotated[SecretStr, AfterValidator(_usable)]
"""The key of a provider of models."""


class BusSection(Section):
    """How a process reaches NATS."""

    url: str = Field(
        "nats://127.0.0.1:4222",
        validation_alias="NATS_URL",
        repr=False,  # it may hold a user and a password
        description="NATS server(s), separated by commas; `drover up` starts its own server when this is not set",
    )
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = Field(
        "llm.v1", validation_alias="DROVER_SUBJECT_PREFIX", description="prefix of all subjects"
    )
    creds_file: str | None = Field(
        None, validation_alias="NATS_CREDS", description="path of a NATS credentials file (JWT and seed)"
    )
    nkey_file: str | None = Field(
        None,
        validation_alias="NATS_NKEY",
        description="path of the seed file of this process's NATS user, which nobody else on the machine may read; `drover nats "
        "init` and `drover device add` write one for each",
    )
    inbox_prefix: Annotated[str, Field(pattern=r"^_INBOX[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")] | None = Field(
        None,
        validation_alias="NATS_INBOX_PREFIX",
        description="below which subject answers come, as the server's permissions have it for this user; not set takes the "
        "process's own, as _INBOX_bridge",
    )
    ca_file: str | None = Field(
        None,
        validation_alias="NATS_CA",
        description="path of the certificates (PEM) that the NATS server's must be signed by; with it the line is encrypted, or "
        "not used. tls:// in NATS_URL alone trusts the machine's own",
    )
    cert_file: str | None = Field(
        None,
        validation_alias="NATS_CERT",
        description="path of this process's own certificate (PEM), for a server that asks for one",
    )
    key_file: str | None = Field(None, validation_alias="NATS_KEY", description="path of its key (PEM)")
    user: str | None = Field(None, validation_alias="NATS_USER", description="NATS user name")
    password: SecretStr | None = Field(None, validation_alias="NATS_PASSWORD", description="NATS password")
    token: SecretStr | None = Field(None, validation_alias="NATS_TOKEN", description="NATS token")
    connect_wait_s: Annotated[float, Gt(0)] = Field(
        10.0,
        validation_alias="DROVER_NATS_CONNECT_WAIT_S",
        description="seconds a process waits at its start for the NATS server",
    )


def _upper(text: Any) -> Any:
    return text.upper() if isinstance(text, str) else text


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


class LogSection(Section):
    """What a process writes about itself."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        "INFO", validation_alias="LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = Field(
        "auto",
        validation_alias="LOG_FORMAT",
        description="console for people, json for collectors; auto takes console on a terminal and below `drover up`",
    )


class TracesSection(Section):
    """Where traces of jobs go."""

    endpoint: str = Field(
        "",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="collector of OpenTelemetry that gets a trace of each job, by OTLP over HTTP, as http://127.0.0.1:4318; not "
        "set traces nothing. Needs the extra traces",
    )


def load(tree: type[T], **overrides: Any) -> T:
    """Build the settings tree of one process. Raises `ConfigError` that lists every wrong key, its value and what was expected,
    or says what is wrong with `.env` as a file."""
    hints = get_type_hints(tree)
    sections: dict[str, Any] = {}
    faults: list[str] = []
    for field in fields(tree):  # type: ignore[arg-type]  # T is a dataclass; the bound can't be written
        try:
            sections[field.name] = overrides.get(field.name) or hints[field.name]()
        except ValidationError as error:
            faults += _faults(error)
        except UnicodeDecodeError as error:
            where = codec.place(error.object, error.start)
            raise ConfigError(f"{ENV_FILE.absolute()} is not UTF-8 ({where}): save it as UTF-8") from error
        except OSError as error:
            raise ConfigError(f"{ENV_FILE.absolute()} can't be read: {error.strerror}") from error
    if faults:
        raise WrongSettings(faults)
    return tree(**sections)


class WrongSettings(ConfigError):
    """Knobs have values that can't be: each of `faults` names one."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("the settings are wrong:\n  " + "\n  ".join(faults) + "\nSee deploy/config/drover.env.example")


HIDDEN = "(hidden)"

_SECRETS = ("PASSWORD", "_TOKEN", "SECRET", "_KEY", "NATS_URL", "OPENAI_BASE_URL", "PLUG_URL", "DATABASE_URL")
"""How the names of knobs end whose values must not be shown."""


def _faults(error: ValidationError) -> list[str]:
    rows = []
    for fault in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"])
        if not key:  # of a whole page: the message names the knobs
            rows.append(codec.expectation(fault))
            continue
        value = HIDDEN if key.upper().endswith(_SECRETS) else repr(fault["input"])
        rows.append(f"{key}={value}: {codec.expectation(fault)}")
    return rows


def knob_of(page: type[Section], field: str) -> str:
    """Give the environment variable of a field."""
    return str(page.model_fields[field].validation_alias)


def is_secret(page: type[Section], field: str) -> bool:
    """Tell whether a knob's value must not be shown."""
    info = page.model_fields[field]
    if field.endswith("_file"):  # a path
        return False
    return not info.repr or "SecretStr" in str(info.annotation) or knob_of(page, field).endswith(_SECRETS)


def shown(page: Section, field: str) -> str:
    """Give a knob's value as people may see it: of a secret that it is set, and of an address where it leads."""
    value = getattr(page, field)
    bare = value.get_secret_value() if isinstance(value, SecretStr) else value
    if bare is None or bare == "":
        return ""
    if not is_secret(type(page), field):
        return str(bare).lower() if isinstance(bare, bool) else str(bare)
    scheme, separator, rest = str(bare).partition("://")
    if not separator:
        return HIDDEN
    # A password may hold any character: what stands before the last @, and behind a ?, is left out whole.
    where, query, _ = rest.rpartition("@")[2].partition("?")
    return f"{scheme}://{f'{HIDDEN}@' if '@' in rest else ''}{where}{f'?{HIDDEN}' if query else ''}"
