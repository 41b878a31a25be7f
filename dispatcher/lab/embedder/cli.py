"""`drover embedder build|use|check`: options in, lines out; it knows neither how a table is learnt nor how a network is exported.

Every verb of `drover` loads this module: what a verb needs is imported when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="embedder", help="How texts become vectors for routing: build, choose, check.", no_args_is_help=True
)

_Tier = Literal["static", "minilm", "reference", "none"]

_PATH = Annotated[
    Path | None, typer.Option("--path", help="its file, or the reference's directory [default: the usual one]")
]
_MODEL = Annotated[
    Path | None,
    typer.Option("--model", help="directory of all-MiniLM-L6-v2 [default: the package of the extra embedder]"),
]


@app.command()
def build(
    tier: Annotated[Literal["static", "minilm"], typer.Argument(help="what to make")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write [default: in .drover/embedder]")
    ] = None,
    model: _MODEL = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option("--texts", help="static: a .txt, .csv or .jsonl file to learn from, may be given more than once"),
    ] = None,
    sentences: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="static: sentences made up to learn from")
    ] = 20_000,
    dimensions: Annotated[int, typer.Option(min=8, max=384, help="static: numbers in a vector")] = 256,
    seed: Annotated[int, typer.Option(help="static: the same seed makes the same table")] = 0,
) -> None:
    """Make an embedder's file from the reference, which needs the extra `embedder`; what was done is kept if it is stopped."""
    from common.errors import FleetError  # noqa: PLC0415  # see the module
    from dispatcher.cli.running import fail  # noqa: PLC0415  # as above
    from dispatcher.embed import Tier  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.build import build as build_file  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.distil import Recipe  # noqa: PLC0415  # as above

    try:
        place = build_file(
            Tier(tier),
            output=output,
            model=model,
            files=texts or [],
            made_up=sentences,
            recipe=Recipe(dimensions=dimensions, seed=seed),
            say=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201  # a verb's progress
        )
    except FleetError as error:
        raise typer.Exit(fail(error)) from error
    sys.stdout.write(
        f"{place} ({place.stat().st_size / 2**20:.1f} MiB); check it: drover embedder check {tier} --path {place}\n"
    )


@app.command()
def use(
    tier: Annotated[_Tier, typer.Argument(help="which one the dispatcher is to take")],
    *,
    path: _PATH = None,
    env: Annotated[Path, typer.Option("--env", help="file of settings to write to")] = Path(".env"),
) -> None:
    """Open an embedder, and write it down as the one to use from the dispatcher's next start on."""
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli.running import fail  # noqa: PLC0415  # as above
    from dispatcher.embed import Tier  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.use import use as choose  # noqa: PLC0415  # as above

    try:
        identity = choose(Tier(tier), path, env)
    except FleetError as error:
        raise typer.Exit(fail(error)) from error
    what = identity or "no embedder: routing goes by text features alone"
    sys.stdout.write(f"{env} says {tier} ({what}); it counts when the dispatcher is started again\n")


@app.command()
def check(
    tier: Annotated[_Tier | None, typer.Argument(help="which one [default: the one in use]")] = None,
    *,
    path: _PATH = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="a .txt, .csv or .jsonl file [default: prompts that come with Drover]"),
    ] = None,
    model: _MODEL = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Say whether an embedder is whole, how fast it is, and how far it agrees with the reference."""
    from common import codec  # noqa: PLC0415  # as above
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from common.settings import load  # noqa: PLC0415  # as above
    from dispatcher.cli.running import fail  # noqa: PLC0415  # as above
    from dispatcher.embed import Tier  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.check import check as look  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.check import lines, shipped_texts  # noqa: PLC0415  # as above
    from dispatcher.lab.embedder.texts import read_texts  # noqa: PLC0415  # as above
    from dispatcher.settings import EmbedderSettings  # noqa: PLC0415  # as above

    try:
        knobs = load(EmbedderSettings).embed
        chosen = Tier(tier or knobs.tier)
        found = look(
            chosen,
            path or (knobs.embedder_path if chosen == knobs.tier else None),
            texts=shipped_texts() if texts is None else read_texts(texts),
            chars=knobs.chars,
            threads=knobs.threads,
            model=model,
        )
    except FleetError as error:
        raise typer.Exit(fail(error)) from error
    if as_json:
        sys.stdout.write(codec.encode_pretty(found.plain()) + "\n")
        return
    sys.stdout.write("\n".join(lines(found)) + "\n")
