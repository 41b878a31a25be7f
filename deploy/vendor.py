"""Bring the third-party files of the pages, and of the pages' tests, from the npm registry; it knows no page.

python deploy/vendor.py           fetch what is pinned here, and write the files and their manifests anew (needs npm)
python deploy/vendor.py --check   compare what is here with the pins and the manifests; needs no network
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zopfli.gzip import compress

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "dispatcher" / "bridge" / "ui" / "vendor"
TESTS = ROOT / "tests" / "vendor"
"""What only tests need is in no wheel."""

OWN = {"manifest.json", "VENDOR.md"}

SQUEEZED = {".mjs"}
"""What never changes is compressed once and well, by zopfli: 3 % smaller than what gzip makes as the bridge starts."""


class Unvendored(Exception):
    """A package is not what is pinned, or a file can't be made of it as it is written here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A passage that is replaced: each of the two occurs once in its file, so the change can be undone by whoever checks it."""

    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a package; its name here has the version, since it is served as never changing."""

    source: str
    target: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One version of a package, by the hash that the registry published."""

    name: str
    version: str
    integrity: str
    licence: str
    files: tuple[File, ...]
    home: Path = field(default=PAGES)


def _mapless(end: str, name: str) -> Change:
    """Take the address of a source map from a file's end."""
    return Change(was=f"{end}\n//# sourceMappingURL={name}.map\n", now=f"{end}\n")


PREACT = "10.29.8"

PACKAGES = (
    Package(
        name="preact",
        version=PREACT,
        integrity="sha512-ej2aVZ+vZ8WO7tvlQWRM9N63A0KzF9q4mWJfDUHgYaIofWY9hu74QdnQrjoPMmZi2/nZ5gN0bJCQF49xQqx09Q==",
        licence="MIT",
        files=(
            File(
                source="dist/preact.module.js",
                target=f"preact-{PREACT}.mjs",
                changes=(_mapless("R as render,F as toChildArray};", "preact.module.js"),),
            ),
            File(
                source="hooks/dist/hooks.module.js",
                target=f"preact-hooks-{PREACT}.mjs",
                changes=(
                    # Bare names need an import map, which the pages' policy refuses as an inline script.
                    Change(
                        was='import{options as n}from"preact";',
                        now=f'import{{options as n}}from"./preact-{PREACT}.mjs";',
                    ),
                    _mapless("A as useRef,d as useState};", "hooks.module.js"),
                ),
            ),
            File(source="LICENSE", target=f"preact-{PREACT}.LICENSE"),
        ),
    ),
    Package(
        name="htm",
        version="3.1.1",
        integrity="sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        licence="Apache-2.0",
        files=(
            File(source="dist/htm.module.js", target="htm-3.1.1.mjs"),
            File(source="LICENSE", target="htm-3.1.1.LICENSE"),
        ),
    ),
    Package(
        name="uplot",
        version="1.6.32",
        integrity="sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        licence="MIT",
        files=(
            File(
                source="dist/uPlot.iife.min.js",
                target="uplot-1.6.32.mjs",
                # The package's own module is not minified, and twice as large.
                changes=(Change(was="return en}();\n", now="return en}();\nexport default uPlot;\n"),),
            ),
            File(source="dist/uPlot.min.css", target="uplot-1.6.32.css"),
            File(source="LICENSE", target="uplot-1.6.32.LICENSE"),
        ),
    ),
    Package(
        name="marked",
        version="18.2.1",
        integrity="sha512-ii4bxCTCqqwpT86XZWgJNs+ZnAIZksmLGYMViWA7PDIXYIeNo1x6cDdX3JOip9NM/cI6p8z57FxliACboTruMA==",
        licence="MIT",
        files=(
            File(
                source="lib/marked.esm.js",
                target="marked-18.2.1.mjs",
                changes=(_mapless("jt as use,Mn as walkTokens};", "marked.esm.js"),),
            ),
            File(source="LICENSE", target="marked-18.2.1.LICENSE"),
        ),
    ),
    Package(
        name="dompurify",
        version="3.4.18",
        integrity="sha512-ofe3wI/uNm68HInABYFJYqQxRw1EaKAjNdrFVKqjUY+UZurvNd2L/HuQe097s/4RivWiZyP6tT7aoT8atjfhwg==",
        licence="Apache-2.0 (of MPL-2.0 OR Apache-2.0)",
        files=(
            File(
                source="dist/purify.min.js",
                target="dompurify-3.4.18.min.mjs",
                # The package's own module is not minified; the minified script is one for <script>, and would make a global.
                changes=(
                    Change(
                        was="(function(e,t){typeof exports==`object`&&typeof module<`u`?module.exports=t():"
                        "typeof define==`function`&&define.amd?define([],t):"
                        "(e=typeof globalThis<`u`?globalThis:e||self,e.DOMPurify=t())})(this,function(){",
                        now="export default(function(){",
                    ),
                    Change(was="return nt()});\n//# sourceMappingURL=purify.min.js.map", now="return nt()})();\n"),
                ),
            ),
            File(source="LICENSE", target="dompurify-3.4.18.LICENSE"),
        ),
    ),
    Package(
        name="swagger-ui-dist",
        version="5.35.0",
        integrity="sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        licence="Apache-2.0",
        files=tuple(
            File(source=name, target=f"swagger-ui-5.35.0/{name}")
            for name in (
                "swagger-ui-bundle.js",
                "swagger-ui.css",
                "LICENSE",
                "NOTICE",
                "swagger-ui-bundle.js.LICENSE.txt",
            )
        ),
    ),
    Package(
        name="axe-core",
        version="4.14.1",
        integrity="sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        licence="MPL-2.0",
        files=(
            File(source="axe.min.js", target="axe-core-4.14.1.min.js"),
            File(source="LICENSE", target="axe-core-4.14.1.LICENSE"),
            File(source="LICENSE-3RD-PARTY.txt", target="axe-core-4.14.1.LICENSE-3RD-PARTY.txt"),
        ),
        home=TESTS,
    ),
)


def changed(text: str, file: File) -> str:
    """Make of a file as it is in the package what is served."""
    for change in file.changes:
        text = _once(text, change.was, change.now, file)
    return text


def unchanged(text: str, file: File) -> str:
    """Make of what is served the file as it was in the package."""
    for change in reversed(file.changes):
        text = _once(text, change.now, change.was, file)
    return text


def fetched(package: Package) -> dict[str, bytes]:
    """Get the listed files of a package, by the name that each has in it."""
    spec = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", spec, "--silent", "--ignore-scripts", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)  # noqa: S603 - pinned above
        archive = next(Path(folder).glob("*.tgz"))
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package.integrity:
            raise Unvendored(
                f"{spec} has the hash {found}, and {package.integrity} is pinned: find out why before you pin another"
            )
        with tarfile.open(archive) as tar:
            return {file.source: _member(tar, file.source, spec) for file in package.files}


def entry(package: Package, originals: dict[str, bytes]) -> dict[str, Any]:
    """Say in the manifest what a package is, and what each file of it is."""
    return {
        "package": package.name,
        "version": package.version,
        "integrity": package.integrity,
        "licence": package.licence,
        "files": [_file_entry(file, originals[file.source]) for file in package.files],
    }


def renew() -> None:
    """Fetch everything, and only then write: what is no longer listed goes."""
    got = [(package, fetched(package)) for package in PACKAGES]
    for home in (PAGES, TESTS):
        _clear(home)
        here = [(package, originals) for package, originals in got if package.home == home]
        manifest = {"packages": [entry(package, originals) for package, originals in here]}
        (home / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for package, originals in here:
            for file in package.files:
                path = home / file.target
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_served(file, originals[file.source]))
                if path.suffix in SQUEEZED:
                    path.with_name(f"{path.name}.gz").write_bytes(compress(path.read_bytes()))


def check(home: Path) -> None:
    """Refuse a folder that is not as it is pinned: undone, each change must give the bytes of the package again."""
    packages = [package for package in PACKAGES if package.home == home]
    targets = {file.target for package in packages for file in package.files}
    squeezed = {f"{name}.gz" for name in targets if Path(name).suffix in SQUEEZED}
    listed = targets | squeezed
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()} - OWN
    if listed != found:
        lacks, stray = sorted(listed - found), sorted(found - listed)
        raise Unvendored(
            f"{home} lacks {lacks}, and nobody pinned {stray}: run `make vendor`, or list them in deploy/vendor.py"
        )
    written = json.loads((home / "manifest.json").read_text(encoding="utf-8"))["packages"]
    here = [entry(package, {file.source: _original(home, file) for file in package.files}) for package in packages]
    wrong = {each["package"] for each in [*here, *written] if each not in here or each not in written}
    if wrong:
        raise Unvendored(
            f"{home} has other bytes or pins than its manifest says for {sorted(wrong)}: run `make vendor`"
        )
    stale = sorted(
        name for name in squeezed if gzip.decompress((home / name).read_bytes()) != (home / name[:-3]).read_bytes()
    )
    if stale:
        raise Unvendored(f"{home} has in {stale} other bytes than in what lies beside them: run `make vendor`")


def _once(text: str, was: str, now: str, file: File) -> str:
    if text.count(was) != 1:
        raise Unvendored(
            f"{file.target}: {was[:80]!r} stands in it {text.count(was)} times, and a change wants it once"
        )
    return text.replace(was, now)


def _member(tar: tarfile.TarFile, name: str, spec: str) -> bytes:
    try:
        member = tar.extractfile(f"package/{name}")
    except KeyError:
        member = None
    if member is None:
        raise Unvendored(f"{spec} has no file {name}: see `npm pack {spec} --dry-run` for those that it has")
    return member.read()


def _served(file: File, original: bytes) -> bytes:
    return changed(original.decode(), file).encode() if file.changes else original


def _original(home: Path, file: File) -> bytes:
    here = (home / file.target).read_bytes()
    return unchanged(here.decode(), file).encode() if file.changes else here


def _file_entry(file: File, original: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {
        "path": file.target,
        "from": f"package/{file.source}",
        "sha256": _sha256(_served(file, original)),
    }
    if file.changes:
        told["original_sha256"] = _sha256(original)
        told["changes"] = [{"was": change.was, "now": change.now} for change in file.changes]
    return told


def _clear(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for path in sorted(home.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        elif path.name not in OWN:
            path.unlink()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Renew, or check."""
    if sys.argv[1:] == ["--check"]:
        check(PAGES)
        check(TESTS)
    else:
        renew()


if __name__ == "__main__":
    try:
        main()
    except Unvendored as error:
        sys.exit(str(error))
