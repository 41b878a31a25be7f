"""What is shipped: the wheel holds the program and nothing else, the commands resolve, the locks fit the declaration."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("common", "dispatcher", "agents")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel that is built now."""
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True, timeout=60)
    [wheel] = target.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_packages(shipped: set[str]) -> None:
    """Code, the pages' assets, device profiles, py.typed: what the tree has, a user gets."""
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sorted(there - shipped) == []


def test_the_wheel_holds_nothing_else(shipped: set[str]) -> None:
    """No tests, no deployment files, no caches."""
    tops = {name.partition("/")[0] for name in shipped if ".dist-info/" not in name}

    assert tops == {*PACKAGES, "drover.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_say_that_they_are_typed(shipped: set[str], package: str) -> None:
    """Type checkers of users read our annotations only then."""
    assert f"{package}/py.typed" in shipped


@pytest.mark.parametrize("command", ["drover", "drover-agent", "drover-simulator"])
def test_the_commands_resolve(command: str) -> None:
    """Each console script names a function that is there."""
    [entry] = [point for point in distribution("drover").entry_points if point.name == command]

    assert callable(entry.load())


def locked(name: str) -> dict[str, str]:
    """Give the pinned packages of a lock file, each with its whole entry."""
    text = (ROOT / "deploy" / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)
    return {canonicalize_name(entry.partition("==")[0]): entry for entry in entries if entry.strip()}


def required(*extras: str) -> set[str]:
    """Give the names of what pyproject.toml asks for with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    found: set[str] = set()
    for line in wanted:
        one = Requirement(line)
        found |= required(*one.extras) if one.name == "drover" else {canonicalize_name(one.name)}
    return found


@pytest.mark.parametrize(("lock", "extra"), [("runtime", "fleet"), ("dev", "dev")])
def test_the_locks_hold_all_that_is_declared(lock: str, extra: str) -> None:
    """After a change of the dependencies, `make lock` brings them up to date."""
    assert sorted(required(extra) - locked(lock).keys()) == []


@pytest.mark.parametrize("lock", ["runtime", "dev"])
def test_every_locked_package_has_hashes(lock: str) -> None:
    """pip refuses the whole file otherwise."""
    assert [name for name, entry in locked(lock).items() if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", ["runtime", "dev"])
def test_the_locks_name_no_index(lock: str) -> None:
    """Whoever installs uses their own pip settings; nothing of the machine that resolved them is left."""
    text = (ROOT / "deploy" / "locks" / f"{lock}.txt").read_text(encoding="utf-8")

    assert re.findall(r"index-url|find-links|trusted-host|://|file:|/(?:home|opt|root|tmp)/", text) == []


def test_tests_run_with_the_packages_that_users_get() -> None:
    """What both locks hold is the same version in both."""
    runtime, dev = locked("runtime"), locked("dev")

    assert [name for name, entry in runtime.items() if dev.get(name) != entry] == []
