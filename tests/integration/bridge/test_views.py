"""Who may see which view: the pages of a bridge that asks for keys, as a browser without scripts gets them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import key_client
from common.key_requests import AddKey
from common.keys import Scope, new_id, new_secret
from common.subjects import Subjects
from dispatcher.bridge.pages.views import VIEWS
from tests.bridge_process import bridge_process
from tests.integration.bridge.test_keys import bearer, until_answered
from tests.integration.ledger.ledgers import ledger_process
from tests.nats_server import nats_server
from tests.scripted_fleet import scripted_fleet

HANG_S = 60.0
SUBJECTS = Subjects("llm.v1")
PAGE = {"accept": "text/html"}
OF_CHAT = ("chat", "compare", "conversations", "activity", "keys")
OF_FLEET = ("fleet", "latency", "energy", "experiments", "keys")
SEEN: dict[tuple[Scope, ...], tuple[str, ...]] = {
    (Scope.CHAT,): OF_CHAT,
    (Scope.ROUTE,): ("explain", "keys"),
    (Scope.FLEET,): OF_FLEET,
    (Scope.CHAT, Scope.ROUTE): (*OF_CHAT, "explain"),
    (Scope.ADMIN,): tuple(view.name for view in VIEWS),
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[httpx.AsyncClient, dict[Any, str]]]:
    """A bridge that asks for keys, and a key of each kind."""
    directory = tmp_path_factory.mktemp("views")
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server())
        await stack.enter_async_context(ledger_process(nats.url, f"sqlite:///{directory / 'ledger.db'}", directory))
        fleet = await stack.enter_async_context(scripted_fleet(nats.url))
        await until_answered(fleet)
        made: dict[Any, str] = {}
        for scopes in SEEN:
            issued = await key_client.add(fleet.bus, SUBJECTS, AddKey(name=f"k{len(made)}", scopes=scopes))
            made[scopes] = issued.secret
        settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
        bridge = await stack.enter_async_context(bridge_process(nats.url, **settings))
        client = httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False, headers=PAGE)
        yield await stack.enter_async_context(client), made


def boot(page: httpx.Response) -> dict[str, Any]:
    """Read what the page's scripts are told."""
    [text] = re.findall(r"data-boot='([^']*)'", page.text)
    return dict(json.loads(html.unescape(text)))


def menu(page: httpx.Response) -> tuple[str, ...]:
    """Read the views that the menu leads to."""
    return tuple(re.findall(r'data-view="(\w+)"', page.text))


@pytest.mark.parametrize("scopes", SEEN, ids="-".join)
async def test_a_key_sees_the_views_of_its_scopes(
    house: tuple[httpx.AsyncClient, dict[Any, str]], scopes: tuple[Scope, ...]
) -> None:
    """Those are the menu, in its order. Any other address is refused by the server, with the scope that is wanting; the page around
    it stays, and nothing of that view is named. But where logo and installed page lead it is led on, to its first view."""
    http, made = house
    pages = {view: await http.get(view.path, headers=bearer(made[scopes])) for view in VIEWS}
    seen = tuple(view.name for view in VIEWS if view.name in SEEN[scopes])
    led_on = [] if "chat" in seen else [pages.pop(VIEWS[0])]
    first = next(view.path for view in VIEWS if view.name == seen[0])
    refused = {view: page for view, page in pages.items() if page.status_code != 200}

    assert [(307, first, "accept")] * len(led_on) == [
        (one.status_code, one.headers["location"], one.headers["vary"]) for one in led_on
    ]
    assert {view.name: 200 if view.name in seen else 403 for view in pages} == {
        view.name: page.status_code for view, page in pages.items()
    }
    assert {seen} == {menu(page) for page in pages.values()}
    assert {seen} == {tuple(one["name"] for one in boot(page)["views"]) for page in pages.values()}
    assert [view.name if view.name in seen else None for view in pages] == [
        boot(page)["view"] for page in pages.values()
    ]
    assert [] == [view.name for view, page in refused.items() if f"views/{view.name}." in page.text]
    assert [] == [view.name for view, page in refused.items() if f"lacks the scope {view.scope}" not in page.text]


@pytest.mark.parametrize("shown", [None, "dr_aaaaaaaa_" + "a" * 43], ids=["nothing", "a wrong one"])
async def test_a_stranger_gets_the_door_alone(
    house: tuple[httpx.AsyncClient, dict[Any, str]], shown: str | None
) -> None:
    """Whatever was asked for: no menu, no view, and a form for a key."""
    http, _ = house
    pages = [await http.get(view.path, headers=bearer(shown)) for view in VIEWS]

    assert {401} == {page.status_code for page in pages}
    assert {()} == {menu(page) for page in pages}
    assert [{"view": None, "views": [], "stranger": True}] * len(VIEWS) == [
        {name: told for name, told in boot(page).items() if name != "edition"} for page in pages
    ]
    assert [] == [page.text for page in pages if "/views/" in page.text]
    assert [] == [page.text for page in pages if 'id="door-key"' not in page.text]


async def test_a_page_knows_whose_it_is_and_what_they_may(house: tuple[httpx.AsyncClient, dict[Any, str]]) -> None:
    """Its user is named as its stream of events names them: a page whose stream is another's is read anew. What scripts ask for is
    named once: scopes, views, and for who came in with a key, that they may leave. A stranger has nothing of it."""
    http, made = house
    scopes = (Scope.CHAT,)
    page, stranger = await http.get("/keys", headers=bearer(made[scopes])), await http.get("/keys")
    async with http.stream("GET", "/ui/events", headers=bearer(made[scopes])) as stream:
        hello = json.loads(await anext(line[6:] async for line in stream.aiter_lines() if line.startswith("data: ")))
    told = [re.findall(r'data-may="([^"]*)" data-user="([^"]*)"', one.text) for one in (page, stranger)]

    assert [(" ".join(sorted({*SEEN[scopes], "chat", "leave"})), hello["tenant"] + hello["own"])] == told[0]
    assert [("", "")] == told[1]


async def test_a_session_that_has_ended_is_a_stranger(house: tuple[httpx.AsyncClient, dict[Any, str]]) -> None:
    """A browser with a cookie sees its views, and the door once it has logged out."""
    http, made = house
    origin = {"origin": str(http.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    entered = await http.post("/api/v1/session", json={"key": made[(Scope.CHAT,)]}, headers=origin)
    cookie = {"cookie": entered.headers["set-cookie"].split(";")[0]}
    within = await http.get("/keys", headers=cookie)
    left = await http.delete("/api/v1/session", headers=cookie | origin)
    http.cookies.clear()
    after = await http.get("/keys", headers=cookie)

    assert (201, 200, 204, 401) == tuple(one.status_code for one in (entered, within, left, after))


async def test_nobody_is_let_in_while_no_ledger_can_say_who_comes() -> None:
    """The page says why and what to do, without a menu, also to who shows a key; programs hear no less than before."""
    secret = new_secret(new_id())
    async with nats_server() as nats:
        for keys in ("on", "auto"):
            async with (
                bridge_process(nats.url, DROVER_LEDGER="on", DROVER_HTTP_KEYS=keys) as bridge,
                httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False, headers=PAGE) as http,
            ):
                page = await http.get("/keys", headers=bearer(secret))

            assert (503, ()) == (page.status_code, menu(page))
            assert "Nobody can be let in" in page.text
            assert "drover ledger serve" in html.unescape(page.text)
            assert (None, False) == (boot(page)["view"], boot(page)["stranger"])
