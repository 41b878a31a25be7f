"""The import contracts of pyproject.toml, and what they must not leave out."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_are_kept() -> None:
    """Who may import whom: the picture in the contracts is the code."""
    linter = Path(sys.executable).with_name("lint-imports")
    end = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert end.returncode == 0, end.stdout


def test_routing_reads_and_writes_nothing_by_builtins_either() -> None:
    """No contract on imports sees `open` and `print`, and numpy's own readers and writers."""
    barred = {"open", "print", "input", "exec", "eval", "__import__"}
    numpys = {"load", "save", "savez", "savez_compressed", "loadtxt", "savetxt", "fromfile", "tofile", "memmap"}
    found = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "dispatcher" / "routing").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id in barred)
        or (isinstance(node, ast.Attribute) and node.attr in numpys)
    ]

    assert found == []


def test_no_package_of_ours_escapes_the_contracts() -> None:
    """A new top-level package must be named there."""
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert set(settings["tool"]["importlinter"]["root_packages"]) == ours
