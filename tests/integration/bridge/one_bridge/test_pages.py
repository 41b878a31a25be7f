"""The pages' files and what an installed page needs: served once for each edition, with the policy that holds for them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import dispatcher.bridge
from dispatcher.bridge.headers import DOCS_POLICY, PAGE_POLICY
from dispatcher.bridge.pages.minified import minified
from dispatcher.bridge.pages.views import VIEWS

UI = Path(dispatcher.bridge.__file__).parent / "ui"
PAGE = {"accept": "text/html"}

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one bridge serves all of them


async def _files(http: httpx.AsyncClient, path: str = "/") -> list[str]:
    """Give the addresses of the files that a page names."""
    return re.findall(r'(?:src|href)="(/ui/[^"]+)"', (await http.get(path, headers=PAGE)).text)


async def test_each_view_has_an_address_and_files_of_its_own(http: httpx.AsyncClient) -> None:
    """Where nobody needs a key all ten are open, and all that they name is there."""
    pages = {view: await http.get(view.path, headers=PAGE) for view in VIEWS}
    named = {address for view in VIEWS for address in await _files(http, view.path)}
    found = {address: (await http.get(address)).status_code for address in named}

    assert {view.name: (200, True) for view in VIEWS} == {
        view.name: (page.status_code, f"<title>{view.title} · Drover</title>" in page.text)
        for view, page in pages.items()
    }
    assert set(found.values()) == {200}
    assert {f"views/{view.name}.{kind}" for view in VIEWS for kind in ("js", "css")} <= {
        address.split("/", 3)[3] for address in named
    }


async def test_a_file_is_good_for_ever_under_the_address_of_its_edition(http: httpx.AsyncClient) -> None:
    """Compressed for who takes that, and whole for who does not; an older page asks in vain, and is told to be read anew."""
    [module] = [address for address in await _files(http) if address.endswith("core/shell.js")]
    edition = module.split("/")[2]
    squeezed = await http.get(module, headers={"accept-encoding": "gzip"})
    whole = await http.get(module, headers={"accept-encoding": "identity"})
    old = await http.get(module.replace(edition, "0123456789ab"))
    absent = await http.get(module.replace("shell.js", "nothing.js"))
    shell = minified({"shell.js": (UI / "core" / "shell.js").read_bytes()})["shell.js"]
    kept = {squeezed.headers["cache-control"], whole.headers["cache-control"]}

    assert kept == {"public, max-age=31536000, immutable"}
    assert ("gzip", None) == (squeezed.headers.get("content-encoding"), whole.headers.get("content-encoding"))
    assert squeezed.headers["vary"] == whole.headers["vary"] == "accept-encoding"
    assert squeezed.content == whole.content == shell
    assert int(squeezed.headers["content-length"]) == len(gzip.compress(whole.content, 9, mtime=0))
    assert (404, "not_found") == (old.status_code, old.json()["error"]["code"])
    assert "read the page anew" in old.json()["error"]["message"]
    assert absent.status_code == 404
    assert "immutable" not in old.headers.get("cache-control", "") + absent.headers.get("cache-control", "")


@pytest.mark.parametrize("name", ["shell.html", "sw.js.map", "vendor/manifest.json", "vendor/VENDOR.md", "../app.py"])
async def test_what_is_no_part_of_a_page_is_not_served(http: httpx.AsyncClient, name: str) -> None:
    """Templates, licences and the list of what is vendored stay here; no path leads out of the folder."""
    edition = (await _files(http))[0].split("/")[2]
    answer = await http.get(f"/ui/{edition}/{name.replace('..', '%2e%2e')}")

    assert answer.status_code == 404


async def test_every_page_and_script_has_its_policy(http: httpx.AsyncClient) -> None:
    """Also a worker's, which goes by its own and not by that of the page that starts it."""
    pages = [*(view.path for view in VIEWS), "/offline"]
    scripts = ["/sw.js", *(address for address in await _files(http) if address.endswith(".js"))]
    found = {path: (await http.get(path, headers=PAGE)).headers["content-security-policy"] for path in pages + scripts}
    docs = (await http.get("/docs", headers=PAGE)).headers["content-security-policy"]

    assert set(found.values()) == {PAGE_POLICY}
    assert docs == DOCS_POLICY
    assert "require-trusted-types-for 'script'" in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY


async def test_pages_are_asked_for_anew_each_time(http: httpx.AsyncClient) -> None:
    """They say who may see what, and of which edition their files are; so does the worker. The icon has an address without one."""
    found = {
        path: (await http.get(path, headers=PAGE)).headers["cache-control"]
        for path in ("/", "/keys", "/offline", "/sw.js", "/favicon.ico")
    }

    assert set(found.values()) == {"no-cache"}


async def test_a_browser_may_install_the_page(http: httpx.AsyncClient) -> None:
    """The manifest names icons that are there, of the sizes that it says, and views that there are."""
    answer = await http.get("/manifest.webmanifest")
    told: dict[str, Any] = answer.json()
    icons = {one["sizes"]: await http.get(one["src"]) for one in told["icons"] if one["type"] == "image/png"}

    assert answer.headers["content-type"].startswith("application/manifest+json")
    assert (told["start_url"], told["scope"], told["display"]) == ("/", "/", "standalone")
    assert {"192x192", "512x512"} == icons.keys()
    assert icons == {size: one for size, one in icons.items() if _pixels(one.content) == size}
    assert "maskable" in {one["purpose"] for one in told["icons"] if "purpose" in one}
    assert {one["url"] for one in told["shortcuts"]} <= {view.path for view in VIEWS}


def _pixels(png: bytes) -> str:
    """Give the size of a picture, by its first chunk."""
    return f"{int.from_bytes(png[16:20])}x{int.from_bytes(png[20:24])}"


async def test_the_page_without_a_bridge_is_made_of_what_can_be_kept(http: httpx.AsyncClient) -> None:
    """It says what to do, and all that it is made of has an address of this edition; its keeper is a worker for the whole site."""
    page, worker = await http.get("/offline"), await http.get("/sw.js")
    files = [await http.get(address) for address in await _files(http, "/offline")]

    assert "The bridge can't be reached" in page.text
    assert {200} == {one.status_code for one in files}
    assert len(files) >= 4
    assert (200, "text/javascript") == (worker.status_code, worker.headers["content-type"].split(";")[0])


async def test_pages_answer_head_as_get(http: httpx.AsyncClient) -> None:
    """The same status and type, and no body; and no other method."""
    paths = [
        *(view.path for view in VIEWS),
        "/offline",
        "/sw.js",
        "/manifest.webmanifest",
        "/favicon.ico",
        *(await _files(http))[:2],
    ]
    both = [(await http.get(path, headers=PAGE), await http.head(path, headers=PAGE)) for path in paths]
    posted = {(await http.post(path)).status_code for path in paths}

    assert [(one.status_code, one.headers["content-type"], b"") for one, _ in both] == [
        (two.status_code, two.headers["content-type"], two.content) for _, two in both
    ]
    assert posted == {405}
