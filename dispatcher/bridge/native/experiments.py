"""What the lab has measured, over HTTP: as a list, side by side with its plots as points, and the raw rows as a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import IO, Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import ConfigDict
from starlette.responses import Response

from common import codec, keys
from common.errors import NotAllowed
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.describing import GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.downloads import FORMS, Download
from dispatcher.bridge.native.replies import parameter, queried
from dispatcher.bridge.native.shapes import ExperimentPage, ExperimentTold
from dispatcher.bridge.statuses import NothingThere
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge
from dispatcher.experiments.folder import Found, Unreadable
from dispatcher.experiments.rows import as_csv, as_jsonl

Json = dict[str, Any]

HINT = (
    "Nothing was measured below DROVER_HTTP_RESULTS ({folder}) yet: `drover bench --query-set mixed` compares strategies on a "
    "simulated fleet, and leaves what it finds in results/"
)
FORM = parameter("format", "of the file", type="string", enum=["csv", "jsonl"], default="csv")

ROWS = described(surface=NATIVE, statuses=GUARDED | {404}, stream=FORMS["csv"][0], parameters=(FORM,))
ROWS["responses"][200]["content"][FORMS["jsonl"][0]] = {"schema": {"description": "an object for each row"}}

_ID = Path(description="the experiment's id, as the list gives it", max_length=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Literal["csv", "jsonl"] = "csv"


def experiment_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/api/v1/experiments`. Files are read beside the loop."""
    router = APIRouter(
        prefix="/api/v1/experiments",
        tags=["experiments"],
        dependencies=[*bridge.gate.depends(keys.Scope.FLEET), Depends(_require_all)],
    )

    @router.get(
        "",
        summary="What benches and evaluations have measured, the newest first",
        **described(surface=NATIVE, schema=ExperimentPage),
    )
    async def listed() -> Response:
        found, more = await asyncio.to_thread(bridge.experiments.look)
        told: Json = {"experiments": [_short(one) for one in found], "more": more}
        return answered(told if found else {**told, "hint": HINT.format(folder=bridge.experiments.root.name)})

    @router.get(
        "/{experiment}",
        summary="One of them: figures side by side, and plots as points",
        **described(surface=NATIVE, statuses=GUARDED | {404}, schema=ExperimentTold),
    )
    async def told(experiment: Annotated[str, _ID]) -> Response:
        found = await _found(bridge, experiment)
        return answered({"id": found.id, "name": found.name, **codec.plain(found.manifest)})

    @router.get(
        "/{experiment}/rows",
        summary="Its raw rows, as a file",
        **ROWS,
    )
    async def rows(http: Request, experiment: Annotated[str, _ID]) -> Response:
        form = queried(_Wanted, http).format
        found = await _found(bridge, experiment)
        try:
            file = await asyncio.to_thread(bridge.experiments.rows, found)
        except Unreadable as error:
            raise NothingThere(f"{found.name} has no rows to give: {error}", param="experiment") from error
        recalls = partial(bridge.gate.recalls.bind, caller_of(http))
        return Download(_pieces(file, form), f"{found.id}-rows", form, bridge.curfew, recalls=recalls)

    return router


async def _require_all(http: Request) -> None:
    """Let in who sees all of the fleet: rows and figures are of all devices together, and can't be told in part. Raises
    `NotAllowed`."""
    if not caller_of(http).sees_all:
        raise NotAllowed(
            "this key is for a part of the fleet, and what was measured tells of all of it: ask with a key that is for all "
            "(`drover keys change --any-device --any-model` makes it one)"
        )


async def _found(bridge: Bridge, experiment: str) -> Found:
    """Look one up. Raises `NothingThere`, also for one that can't be read."""
    found = await asyncio.to_thread(bridge.experiments.find, experiment)
    if found is None:
        raise NothingThere(
            f"there is no experiment {experiment!r}: GET /api/v1/experiments lists those there are", param="experiment"
        )
    if found.manifest is None:
        raise NothingThere(f"the manifest {found.name} is broken: {found.broken}", param="experiment")
    return found


def _short(found: Found) -> Json:
    one = found.manifest
    if one is None:
        return {"id": found.id, "name": found.name, "broken": found.broken}
    told: Json = {
        "id": found.id,
        "name": found.name,
        "kind": str(one.kind),
        "title": one.title,
        "made_unix_s": one.made_unix_s,
        "drover": one.drover,
        "n": one.n,
        "repeats": one.repeats,
        "arms": list(dict.fromkeys(arm.name for arm in one.arms)),
    }
    told |= {} if one.simulated is None else {"simulated": one.simulated}
    return told | ({} if one.rows is None else {"rows": one.rows.count})


async def _pieces(file: IO[bytes], form: str) -> AsyncGenerator[bytes, None]:
    """Read a file beside the loop, a piece at a time; one that is no table ends before its end, which its reader sees."""
    with closing(file):
        pieces: Iterator[bytes] = (as_csv if form == "csv" else as_jsonl)(file)
        while True:
            try:
                piece = await asyncio.to_thread(next, pieces, None)
            except (Unreadable, OSError, ValueError) as error:
                raise NothingThere(f"the rows can't be read to their end: {error}") from error
            if piece is None:
                return
            if piece:
                yield piece
