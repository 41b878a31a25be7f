"""What a verb of the lab has left in a folder, read as the bridge reads it; and a manifest with everything, to be left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dispatcher.experiments.folder import Folder
from dispatcher.experiments.manifest import (
    ENDING,
    Arm,
    Figure,
    Kind,
    Line,
    Manifest,
    Metric,
    Plot,
    Rows,
)
from dispatcher.experiments.writing import write_manifest

NOON = 1_795_262_400.0
WHOLE = Manifest(
    kind=Kind.BENCH,
    title="Bench of mixed",
    made_unix_s=NOON,
    drover="0.1.0",
    simulated=True,
    n=8,
    repeats=2,
    seed=0,
    data={"query sets": "mixed"},
    environment={"machine": "aarch64"},
    caveats=("The devices are simulated.",),
    metrics=(Metric(name="latency_p50", what="median", unit="s", better="low"),),
    arms=(Arm(name="hybrid", n=4, figures={"latency_p50": Figure(value=1.0, low=0.5, high=2.0, spread=0.25)}),),
    plots=(Plot(title="Latency", x="s", y="%", shape="step", lines=(Line(name="hybrid", points=((1.0, 50.0),)),)),),
    rows=Rows(file="rows.csv", count=4),
)


def left(root: Path, name: str = "a", manifest: Manifest = WHOLE) -> Path:
    """Write a manifest and the rows that it names."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "rows.csv").write_text("n,text\n1,one\n")
    return write_manifest(root / f"{name}{ENDING}", manifest)


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its manifest, and the bytes of its rows."""

    id: str
    manifest: Manifest
    rows: bytes


def sound(folder: Path) -> list[Run]:
    """Give all runs below a folder; fails for one that is broken, or whose rows are not there."""
    here, found = Folder(folder), []
    for listed in here.look()[0]:
        one = here.find(listed.id)
        assert one is not None
        assert one.manifest is not None, one.broken
        with here.rows(one) as file:
            found.append(Run(one.id, one.manifest, file.read()))
    return found
