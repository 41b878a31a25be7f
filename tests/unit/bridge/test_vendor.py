"""The third-party files of the pages are those that their registry published."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import dispatcher.bridge

ROOT = Path(__file__).parents[3]
UI = Path(dispatcher.bridge.__file__).parent / "ui"
VENDOR = UI / "vendor"
OWN = [path for path in UI.rglob("*") if path.suffix in (".html", ".js", ".css") and VENDOR not in path.parents]
HOMES = (VENDOR, ROOT / "tests" / "vendor")
PACKAGES = [package for home in HOMES for package in json.loads((home / "manifest.json").read_text())["packages"]]
FILES = [
    (home, package, file)
    for home in HOMES
    for package in json.loads((home / "manifest.json").read_text())["packages"]
    for file in package["files"]
]


@pytest.mark.parametrize(("home", "package", "file"), FILES, ids=[file["path"] for _, _, file in FILES])
def test_a_file_is_as_it_was_published(home: Path, package: dict[str, str], file: dict[str, Any]) -> None:
    """It has its hash, and when the changes that are named are undone, that of the tarball's file."""
    served = (home / file["path"]).read_bytes()
    published = served
    for change in reversed(file.get("changes", [])):
        now, was = change["now"].encode(), change["was"].encode()
        assert published.count(now) == 1, change
        published = published.replace(now, was)

    assert (_sha256(served), _sha256(published)) == (file["sha256"], file.get("original_sha256", file["sha256"]))


@pytest.mark.parametrize("home", HOMES, ids=["pages", "tests"])
def test_there_is_no_file_that_the_manifest_does_not_name(home: Path) -> None:
    """Nothing is served whose origin is not written down."""
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    named = {file["path"] for where, _, file in FILES if where == home}
    squeezed = {f"{name}.gz" for name in named if name.endswith(".mjs")}

    assert found - {"VENDOR.md"} == named | squeezed | {"manifest.json"}


@pytest.mark.parametrize("module", sorted(VENDOR.glob("*.mjs")), ids=lambda path: path.name)
def test_what_was_compressed_beforehand_is_the_module_beside_it(module: Path) -> None:
    """And it is smaller than what the bridge would make of it."""
    ready = module.with_name(f"{module.name}.gz").read_bytes()

    assert gzip.decompress(ready) == module.read_bytes()
    assert len(ready) < len(gzip.compress(module.read_bytes(), 9))


def test_no_module_asks_for_what_is_not_there() -> None:
    """Its imports name files beside it, and no source map is named: the pages ask for nothing that the bridge has not."""
    text = {path: path.read_text() for path in VENDOR.glob("*.mjs")}
    imports = {path.parent / name for path in text for name in re.findall(r"from ?[\"']([^\"']+)[\"']", text[path])}

    assert (imports - text.keys(), [path for path in text if "sourceMappingURL" in text[path]]) == (set(), [])
    assert len(text) >= 6


@pytest.mark.parametrize("package", PACKAGES, ids=[package["package"] for package in PACKAGES])
def test_a_package_has_version_hash_and_licence(package: dict[str, str]) -> None:
    """The names of served files carry the version, since they are cached for ever."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
    assert package["integrity"].startswith("sha512-")
    assert package["licence"]
    assert any("LICENSE" in file["path"] for file in package["files"])  # type: ignore[index]
    assert all(package["version"] in file["path"] for file in package["files"])  # type: ignore[index]


def test_the_licences_are_named_to_readers() -> None:
    """VENDOR.md has a line for each package that is served, with its licence."""
    told = (VENDOR / "VENDOR.md").read_text()
    served = json.loads((VENDOR / "manifest.json").read_text())["packages"]
    named = {
        name.split(",")[0]: licence for name, licence in re.findall(r"^\| ([\w, -]+) \|.*\| ([^|]+) \|$", told, re.M)
    }

    assert {each["package"]: each["licence"].split()[0] for each in served} == {
        name: licence.split()[0] for name, licence in named.items() if name != "package"
    }


def test_the_check_needs_no_network() -> None:
    """`make vendor ARGS=--check` compares what is here with what is pinned, and finds it right."""
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "vendor.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_finds_what_was_touched(tmp_path: Path) -> None:
    """Other bytes compressed, a byte more, a stray file and a pin that is not the manifest's are each refused by name."""
    script = _script()
    home = tmp_path
    script.PACKAGES = [replace(package, home=home) for package in script.PACKAGES if package.name == "htm"]
    for path in VENDOR.glob("htm-*"):
        shutil.copy(path, home)
    [htm] = [each for each in PACKAGES if each["package"] == "htm"]
    (home / "manifest.json").write_text(json.dumps({"packages": [htm]}))
    script.check(home)

    module = home / f"htm-{htm['version']}.mjs"
    squeezed = module.with_name(f"{module.name}.gz")
    squeezed.write_bytes(gzip.compress(b"another"))
    with pytest.raises(script.Unvendored, match=rf"'{squeezed.name}'\] other bytes"):
        script.check(home)
    module.write_bytes(module.read_bytes() + b" ")
    with pytest.raises(script.Unvendored, match=r"other bytes or pins .* \['htm'\]"):
        script.check(home)
    (home / "more.js").touch()
    with pytest.raises(script.Unvendored, match=r"nobody pinned \['more.js'\]"):
        script.check(home)
    module.unlink()
    with pytest.raises(script.Unvendored, match=rf"lacks \['{module.name}'\]"):
        script.check(home)


def test_a_change_that_fits_twice_is_refused() -> None:
    """A new version whose text a change no longer fits is not served by accident."""
    script = _script()
    file = script.File(source="a.js", target="a-1.0.0.mjs", changes=(script.Change(was="x", now="y"),))

    assert script.unchanged(script.changed("one x", file), file) == "one x"
    with pytest.raises(script.Unvendored, match=r"a-1.0.0.mjs: 'x' stands in it 2 times"):
        script.changed("x x", file)
    with pytest.raises(script.Unvendored, match="0 times"):
        script.unchanged("one x", file)


def test_our_own_files_name_no_other_host() -> None:
    """The pages work without internet access: no address in them leads outside."""
    addresses = {found for path in OWN for found in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text())}

    assert (len(OWN) >= 40, addresses) == (True, set())


def test_our_own_files_make_no_markup_from_text() -> None:
    """Nodes are made by name; the one place that parses HTML is the sanitizer."""
    own = "\n".join(path.read_text() for path in OWN if path.suffix == ".js")

    assert re.findall(r"innerHTML|outerHTML|InnerHTML|insertAdjacentHTML|document\.write|\beval\(", own) == []


def test_the_pages_have_no_inline_script_or_style() -> None:
    """The content policy forbids them, so they would silently do nothing."""
    pages = "\n".join(path.read_text() for path in OWN if path.suffix == ".html")

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", pages) == []


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _script() -> ModuleType:
    """Give deploy/vendor.py anew: each caller may set its folders."""
    spec = importlib.util.spec_from_file_location("deploy_vendor", ROOT / "deploy" / "vendor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the types that their annotations name
    spec.loader.exec_module(module)
    return module
