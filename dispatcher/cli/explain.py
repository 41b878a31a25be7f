"""`drover explain`: where a question would go and why, or why a job went where it went; it asks, and draws what it is told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from common import codec
from common.client import chat_request
from common.messages import Message, Role
from dispatcher.cli.ask import Wish
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.connect import open_producer, shell_settings
from dispatcher.cli.explain_view import explained


async def explain(prompt: str | None, job: str | None, wish: Wish, *, as_json: bool) -> int:
    """Ask a dispatcher and show what it says; 1 when nobody could answer. Raises the errors of `Drover.explain` and `why`."""
    settings = shell_settings()
    async with open_producer(settings, tenant=wish.tenant) as drover:
        if job is not None:
            told = await drover.why(job)
        else:
            messages = (*wish.before(), Message(role=Role.USER, content=prompt or ""))
            told = await drover.explain(chat_request(messages, **wish.fields()))
    if as_json:
        sys.stdout.write(codec.encode_pretty(told) + "\n")
    else:
        console = _console()
        console.print(explained(told, console.width))
    return 1 if _refused(told) else 0


def _refused(told: Mapping[str, Any]) -> bool:
    return "error" in told


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
