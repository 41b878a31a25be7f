"""Which knobs of a ledger turn while it runs, and how."""

from __future__ import annotations

from collections.abc import Callable

from common.reloading import OF_BUS, Knobs, Turn
from dispatcher.ledger.talk.desk import TalkDesk
from dispatcher.settings import LedgerSettings

KNOBS = Knobs(
    live={"log": "level format", "ledger": "days power_days conversation_days conversations conversation_mb"},
    restart={
        "bus": OF_BUS,
        "ledger": "enabled database_url state_dir ack_wait_s",
    },
    elsewhere={},
)


def prepare(talk: TalkDesk) -> Callable[[LedgerSettings], Turn]:
    """Give what has a running ledger go by other settings. For how many days rows are kept is looked up when they are pruned."""

    def prepared(settings: LedgerSettings) -> Turn:
        def turn() -> None:
            talk.most = settings.ledger.conversations
            talk.most_bytes = settings.ledger.conversation_bytes
            talk.kept_days = settings.ledger.conversation_days

        return turn

    return prepared
