"""The third-party files of the pages are those that their registry published."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

import dispatcher.bridge

UI = Path(dispatcher.bridge.__file__).parent / "ui"
VENDOR = UI / "vendor"
PACKAGES = json.loads((VENDOR / "manifest.json").read_text())["packages"]
FILES = [(package, file) for package in PACKAGES for file in package["files"]]


@pytest.mark.parametrize(("package", "file"), FILES, ids=[file["path"] for _, file in FILES])
def test_a_file_is_unchanged(package: dict[str, str], file: dict[str, str]) -> None:
    """Its bytes have the hash that was taken from the tarball."""
    assert hashlib.sha256((VENDOR / file["path"]).read_bytes()).hexdigest() == file["sha256"], package["package"]


def test_there_is_no_file_that_the_manifest_does_not_name() -> None:
    """Nothing is served whose origin is not written down."""
    found = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}

    assert found == {file["path"] for _, file in FILES} | {"manifest.json", "VENDOR.md"}


@pytest.mark.parametrize("package", PACKAGES, ids=[package["package"] for package in PACKAGES])
def test_a_package_has_version_hash_and_licence(package: dict[str, str]) -> None:
    """The names of served files carry the version, since they are cached for ever."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
    assert package["integrity"].startswith("sha512-")
    assert package["licence"]
    assert all(package["version"] in file["path"] for file in package["files"])  # type: ignore[index]


def test_our_own_files_name_no_other_host() -> None:
    """The pages work without internet access: no address in them leads outside."""
    own = [path for path in UI.iterdir() if path.suffix in (".html", ".js", ".css")]
    addresses = {found for path in own for found in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text())}

    assert (len(own) >= 9, addresses) == (True, set())


def test_our_own_files_make_no_markup_from_text() -> None:
    """Nodes are made by name; the one place that parses HTML is the sanitizer."""
    own = "\n".join(path.read_text() for path in UI.glob("*.js"))

    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", own) == []


def test_the_pages_have_no_inline_script_or_style() -> None:
    """The content policy forbids them, so they would silently do nothing."""
    pages = "\n".join(path.read_text() for path in UI.glob("*.html"))

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", pages) == []
