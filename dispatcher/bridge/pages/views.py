"""The views of the web page: their addresses, and the scope that each needs; it knows no request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.keys import Scope
from dispatcher.bridge.callers import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view. `name` is that of its module and its style in `ui/views/`, `icon` the outline of its sign on a field of 24 x 24;
    without a `scope` it is open to every key. One of the `whole` fleet tells nothing in part."""

    name: str
    path: str
    title: str
    scope: Scope | None
    icon: str
    whole: bool = False


VIEWS: Sequence[View] = (
    View(
        name="chat",
        path="/",
        title="Chat",
        scope=Scope.CHAT,
        icon="M4 5h16v11H9l-5 4z",
    ),
    View(
        name="compare",
        path="/compare",
        title="Compare",
        scope=Scope.CHAT,
        icon="M4 5h7v14H4zM13 5h7v14h-7z",
    ),
    View(
        name="fleet",
        path="/fleet",
        title="Fleet",
        scope=Scope.FLEET,
        icon="M12 3v6M12 9 6 15M12 9l6 6M9 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM21 18a3 3 0 1 1-6 0 3 3 0 0 1 6 0z",
    ),
    View(
        name="explain",
        path="/explain",
        title="Route",
        scope=Scope.ROUTE,
        icon="M5 20v-5a5 5 0 0 1 5-5h9M15 6l4 4-4 4",
    ),
    View(
        name="latency",
        path="/latency",
        title="Latency",
        scope=Scope.FLEET,
        icon="M12 7v5l4 2M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z",
    ),
    View(
        name="energy",
        path="/energy",
        title="Energy and cost",
        scope=Scope.FLEET,
        icon="M13 3 5 14h6l-1 7 8-11h-6z",
    ),
    View(
        name="conversations",
        path="/conversations",
        title="Conversations",
        scope=Scope.CHAT,
        icon="M5 4h14v16H5zM9 9h6M9 13h6",
    ),
    View(
        name="experiments",
        path="/experiments",
        title="Experiments",
        scope=Scope.FLEET,
        icon="M9 3h6M10 3v6l-5 10h14l-5-10V3M7 15h10",
        whole=True,
    ),
    View(
        name="activity",
        path="/activity",
        title="Activity",
        scope=Scope.CHAT,
        icon="M3 12h4l3-7 4 14 3-7h4",
    ),
    View(
        name="keys",
        path="/keys",
        title="Keys and limits",
        scope=None,
        icon="M14 10a4 4 0 1 0-8 0 4 4 0 0 0 8 0zM13 12l8 8M17 16l2-2",
    ),
)
"""In the order of the page's menu."""


def open_to(caller: Caller) -> Iterator[View]:
    """Give the views that a caller may see."""
    for view in VIEWS:
        if (view.scope is None or caller.may(view.scope)) and (caller.sees_all or not view.whole):
            yield view
