"""Options that several verbs have, said in the same words; it knows no verb."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Strategy = Annotated[
    str | None, typer.Option("--strategy", help="how the device is chosen, such as hybrid, token:500 or energy:eco")
]
Cache = Annotated[
    Literal["off", "refresh", "exact", "semantic"] | None,
    typer.Option(
        "--cache",
        help="answers given before that will do: off none, nor is this one kept; refresh none; exact to the very same request; "
        "semantic to one that means the same; your fleet may allow less",
    ),
]
User = Annotated[str | None, typer.Option("--user", help="on whose behalf: kept answers are given to no other user")]
