"""The knobs of the ledger; it knows no code that turns them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import Field, SecretStr

from common.settings import Section


class LedgerSection(Section):
    """The ledger: what happened, kept in a database."""

    enabled: bool = Field(
        default=True,
        validation_alias="DROVER_LEDGER",
        description="off keeps no record of jobs, devices and power: dispatchers tell none, and `drover up` starts no ledger",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        validation_alias="DATABASE_URL",
        description="where the ledger keeps its rows: postgresql://user:password@host/name, or sqlite:///path; not set takes the "
        "file ledger.db in DROVER_STATE_DIR",
    )
    state_dir: Path = Field(
        Path(".drover"), validation_alias="DROVER_STATE_DIR", description="directory of the ledger's file, too"
    )
    ack_wait_s: Annotated[float, Ge(0.5), Le(600)] = Field(
        30.0,
        validation_alias="DROVER_LEDGER_ACK_WAIT_S",
        description="seconds after which records that a ledger took and did not write, since it was killed, are given again",
    )
    days: Annotated[int, Ge(0), Le(36_500)] = Field(
        365,
        validation_alias="DROVER_LEDGER_DAYS",
        description="days for which the ledger keeps its rows; 0 keeps them for ever",
    )
    power_days: Annotated[int, Ge(8), Le(36_500)] = Field(
        14,
        validation_alias="DROVER_LEDGER_POWER_DAYS",
        description="days after which what a device drew minute by minute is put together by the hour",
    )
    conversation_days: Annotated[int, Ge(0), Le(36_500)] = Field(
        0,
        validation_alias="DROVER_CONVERSATION_DAYS",
        description="days for which a conversation is kept that nobody goes on with; 0 keeps them for ever",
    )
    conversations: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        10_000,
        validation_alias="DROVER_CONVERSATIONS",
        description="conversations that the ledger keeps at most for each user",
    )
    conversation_mb: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        200,
        validation_alias="DROVER_CONVERSATION_MB",
        description="MiB that the conversations of each user have at most together, images and what a search needs included",
    )

    @property
    def conversation_bytes(self) -> int:
        """The same in bytes."""
        return self.conversation_mb << 20
