"""What no fault excuses in a row of the table, as tests compare it; it acts nothing out."""

from __future__ import annotations

from tests.chaos.outcome import Outcome


def bad(row: Outcome) -> dict[str, object]:
    """Give what should be nothing: jobs without an end, with two, or with somebody else's text; processes that died."""
    account = row.account
    return {
        "lost": account.lost,
        "duplicated": account.duplicated,
        "spliced": account.spliced,
        "troubles": row.troubles,
        "unmeasured": row.unmeasured,
    }


NOTHING = {"lost": 0, "duplicated": 0, "spliced": 0, "troubles": (), "unmeasured": []}
