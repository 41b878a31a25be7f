"""The pages' files: read once, compressed once, and served under an address that changes with them; they know no caller."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dispatcher.bridge.headers import PAGE_POLICY
from dispatcher.bridge.pages.minified import minified
from dispatcher.bridge.statuses import NothingThere

UI = Path(__file__).parents[1] / "ui"

FOREVER = "public, max-age=31536000, immutable"

KINDS: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""What the pages are made of. Other files of the folder (templates, licences, the manifest of what is vendored) are not served."""

APART = ("vendor/swagger-ui",)
"""What only `/docs` loads: 1.7 MB that need not be in memory, and have their version in their name."""

_SQUEEZED = frozenset({".js", ".mjs", ".css", ".svg"})


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: compressed, where that makes it smaller."""

    kind: str
    data: bytes
    squeezed: bool

    def response(self, *, takes_gzip: bool) -> Response:
        """Give it, for good: its address has the edition."""
        # A worker goes by the policy of its own script, not by that of the page that starts it.
        headers = {"cache-control": FOREVER, "vary": "accept-encoding", "content-security-policy": PAGE_POLICY}
        if not self.squeezed:
            return Response(self.data, 200, headers, self.kind)
        if takes_gzip:
            return Response(self.data, 200, headers | {"content-encoding": "gzip"}, self.kind)
        return Response(gzip.decompress(self.data), 200, headers, self.kind)


class Assets:
    """All files of the pages; `edition` names their state, so that a browser never mixes an old module with a new one."""

    def __init__(self, folder: Path = UI) -> None:
        self._files = dict(_read(folder))
        digest = hashlib.sha256()
        for name, asset in sorted(self._files.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(asset.data).digest())
        self.edition = digest.hexdigest()[:12]

    @property
    def names(self) -> Iterable[str]:
        """The names of all files."""
        return self._files.keys()

    def address(self, name: str) -> str:
        """Give where a file is served. Raises `KeyError` for one that there is not."""
        _ = self._files[name]
        return f"/ui/{self.edition}/{name}"

    def get(self, name: str) -> Asset | None:
        """Give a file, if there is such a one."""
        return self._files.get(name)


def _read(folder: Path) -> Iterator[tuple[str, Asset]]:
    files = {
        name: file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.suffix in KINDS
        and file.is_file()
        and not (name := file.relative_to(folder).as_posix()).startswith(APART)
    }
    # Vendored modules (`.mjs`) are sent as they were published.
    files |= minified({name: data for name, data in files.items() if name.endswith(".js")})
    for name, data in files.items():
        suffix = Path(name).suffix
        squeezed = suffix in _SQUEEZED
        yield name, Asset(KINDS[suffix], _gzipped(folder / name, data) if squeezed else data, squeezed)


def _gzipped(file: Path, data: bytes) -> bytes:
    """Compress a file, if that was not done better beforehand (vendored modules; `deploy/vendor.py`)."""
    ready = file.with_name(f"{file.name}.gz")
    # Without a time of its own, so that the same file makes the same bytes, and the same edition.
    return ready.read_bytes() if ready.exists() else gzip.compress(data, 9, mtime=0)


class Versioned(StaticFiles):
    """Files that have their version in their name."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = FOREVER
        return response


def mount_files(app: FastAPI, assets: Assets) -> None:
    """Serve the pages' files below `/ui/<edition>/`, and what others have made below `/ui/vendor/` as well: `/docs` has it there.

    A tab that has been open since before an update asks for modules of its own edition, which are gone: it is told so (404), and
    reads the page anew.
    """

    async def asset(http: Request) -> Response:
        found = assets.get(http.path_params["name"])
        if found is None or http.path_params["edition"] != assets.edition:
            raise NothingThere("that file of the page is not there, or not any more: read the page anew")
        return found.response(takes_gzip="gzip" in http.headers.get("accept-encoding", ""))

    app.mount("/ui/vendor", Versioned(directory=UI / "vendor"), name="vendor")
    app.add_route("/ui/{edition}/{name:path}", asset, methods=["GET", "HEAD"], include_in_schema=False)
