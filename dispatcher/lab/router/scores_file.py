"""Scores of an evaluation as a table, so that others can compute its figures again; it computes none.

A row for each test prompt of each division: `test` and `repeat` (from 1) say which, `row` is the label's number in its file (from
1, the head not counted), and a column for each method holds its score: the higher, the rather the strong model. No prompt is in it.
"""

from __future__ import annotations

import csv
from pathlib import Path

from common.errors import WeightsError
from dispatcher.lab.router.evaluate import Report
from dispatcher.lab.router.labels import Labels


def write_scores(path: Path, report: Report, labels: Labels) -> None:
    """Write the table. Raises `WeightsError` where it can't be written."""
    methods = list(dict.fromkeys(one.method for one in report.scored))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["test", "repeat", "row", "domain", "weak", "strong", *methods])
            for test, repeat in dict.fromkeys((one.test, one.repeat) for one in report.scored):
                parts = {one.method: one for one in report.scored if (one.test, one.repeat) == (test, repeat)}
                said = {method: one.score.tolist() for method, one in parts.items()}
                for at, row in enumerate(next(iter(parts.values())).rows.tolist()):
                    scores = [repr(said[method][at]) if method in said else "" for method in methods]
                    label = [labels.domains[row], labels.weak[row], labels.strong[row]]
                    table.writerow([test, repeat + 1, row + 1, *label, *scores])
    except OSError as error:
        raise WeightsError(f"{path} can't be written: {error}") from error
