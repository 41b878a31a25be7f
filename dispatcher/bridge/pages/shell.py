"""The shell of every view, rendered: what of the page stands before any script has run; it decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from common.keys import Scope
from dispatcher.bridge.headers import DOCS_POLICY, PAGE_POLICY
from dispatcher.bridge.pages.assets import UI, Assets
from dispatcher.bridge.pages.views import View

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a page is rendered for: the view that is open, and those of the menu. Without a view it says why there is none: `fault`
    is its title, and `why` a sentence; a `stranger` is asked for a key. `scopes` is what may be done, and whoever `came` in with a
    key may go again. `user` is whose the page is, as its stream says it (`live/stream.py`)."""

    view: View | None
    menu: Sequence[View] = ()
    scopes: Collection[Scope] = ()
    came: bool = False
    user: str = ""
    stranger: bool = False
    fault: str = ""
    why: str = ""

    @property
    def may(self) -> str:
        """All that scripts of the page ask for: scopes, views, and whether there is anything to `leave`."""
        return " ".join(sorted({*self.scopes, *(view.name for view in self.menu), *(["leave"] if self.came else [])}))


class Shell:
    """Renders pages with the addresses of their files."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self._pages = Environment(
            loader=FileSystemLoader(UI),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.globals |= {"ui": assets.address, "edition": assets.edition, "version": version("drover")}

    def page(self, shown: Shown, *, status: int = 200) -> Response:
        """Render a view, or why there is none."""
        boot = {
            "edition": self._assets.edition,
            "view": shown.view.name if shown.view else None,
            "views": [{"name": one.name, "path": one.path, "title": one.title} for one in shown.menu],
            "stranger": shown.stranger,
        }
        return self._rendered("shell.html", PAGE_POLICY, status, shown=shown, boot=boot)

    def offline(self) -> Response:
        """Render what a browser shows when no bridge answers: its service worker keeps it."""
        return self._rendered("offline.html", PAGE_POLICY)

    def docs(self) -> Response:
        """Render the description of the API."""
        return self._rendered("docs.html", DOCS_POLICY)

    def _rendered(self, name: str, policy: str, status: int = 200, **values: Any) -> Response:
        text = self._pages.get_template(name).render(values)
        return Response(text, status, {"content-security-policy": policy, "cache-control": "no-cache"}, HTML)
