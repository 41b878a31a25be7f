"""A fleet of real processes under Prometheus: what they show, what dashboards and alerts ask for, and a real server's scrape."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.commands import GUARD_S, running, started
from tests.nats_server import PORTS_TRIED, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
SHOWN = re.compile(r"metrics\.shown .*url=(http://\S+)")

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: deploy/setup.sh dev installs it"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed: it comes with prometheus, by deploy/setup.sh dev",
)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class House:
    """A fleet that has answered one job, and where its three kinds of processes show their metrics."""

    dispatcher: str
    bridge: str
    agent: str

    def pages(self) -> list[str]:
        return [self.dispatcher, self.bridge, self.agent]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    cwd = tmp_path_factory.mktemp("house")
    knobs = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_METRICS": "0",
        "DROVER_AGENT_METRICS": "0",
        "DROVER_SIM_TIME_FACTOR": "50",
        "DROVER_ACCEPT_S": "20",  # a busy machine must not make the only device silent
        "DROVER_DEVICES": "nano",
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
    }
    async with running("up", cwd=cwd, **knobs) as up:
        url = (await up.until(r"drover is up: (http://\S+)"))[1]
        shown = [
            SHOWN.search((cwd / ".drover" / "log" / f"{name}.log").read_text()) for name in ("dispatcher", "agent-nano")
        ]
        assert shown[0] is not None
        assert shown[1] is not None
        async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
            answer = await http.post(f"{url}/v1/chat/completions", json=CHAT)
            assert 200 == answer.status_code, answer.text
            # The record is written behind the answer.
            await page_with(http, shown[0][1], 'drover_jobs_total{error="",state="done"} 1.0')
            # What a device has learnt of its speed comes with its next heartbeat.
            await page_with(http, shown[0][1], "drover_device_decode_tokens_per_second{")
        yield House(shown[0][1], f"{url}/metrics", shown[1][1])


async def page_with(http: httpx.AsyncClient, url: str, line: str) -> str:
    """Look again until the page has a line, and give it."""
    async with asyncio.timeout(GUARD_S):
        while True:
            page = (await http.get(url)).text
            if line in page:
                return page
            await asyncio.sleep(0.05)


async def names(house: House) -> set[str]:
    """Every name that can be asked for."""
    found: set[str] = {"up"}
    async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        for url in house.pages():
            for family in text_string_to_metric_families((await http.get(url)).text):
                endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
                found |= {f"{family.name}{ending}" for ending in endings}
    return found


async def promtool(*check: str, stdin: bytes = b"") -> tuple[int | None, str]:
    """Have Prometheus's own tool check something; gives its exit status and what it said."""
    async with started("promtool", "check", *check, stdin=PIPE, stdout=PIPE, stderr=STDOUT) as process:
        async with asyncio.timeout(GUARD_S):
            said, _ = await process.communicate(stdin)
        return process.returncode, said.decode()


# -- what is asked for ------------------------------------------------------------------------------------------------

WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless", "offset"}


def asked(expression: str) -> set[str]:
    """The names of metrics in an expression: what is neither a label nor a function nor a word of the language."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    found: list[tuple[str, str]] = re.findall(r"([A-Za-z_:][\w:]*)\s*(\(?)", bare)
    return {name for name, call in found if not call and name not in WORDS}


def rules() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def queries(dashboard: Path) -> Iterator[str]:
    """The expressions of a dashboard, with what Grafana fills in."""
    for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("max by (device) (drover_device_up) == 0", {"drover_device_up"}),
        ('a{x="b{c}"} / on (d) group_left e_total[5m] or vector(0)', {"a", "e_total"}),
        ("histogram_quantile(0.95, sum by (le) (rate(f_bucket[1m])))", {"f_bucket"}),
    ],
)
async def test_the_names_in_an_expression_are_found(expression: str, expected: set[str]) -> None:
    """Of metrics alone; else the tests below would find less than is asked for."""
    assert expected == asked(expression)


async def test_alerts_ask_for_what_is_shown(house: House) -> None:
    """Each metric of each rule is there after one job."""
    wanted = {name for rule in rules() for name in asked(rule)}

    assert set() == wanted - await names(house)
    assert len(wanted) >= 9


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
async def test_dashboards_ask_for_what_is_shown(house: House, dashboard: Path) -> None:
    """Each metric of each panel is there after one job."""
    wanted = {name for query in queries(dashboard) for name in asked(query)}

    assert set() == wanted - await names(house)
    assert len(wanted) >= 4


@needs_promtool
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
async def test_the_queries_of_dashboards_are_sound(dashboard: Path, tmp_path: Path) -> None:
    """Prometheus itself reads them: each is checked as the rule of a record."""
    group = [{"record": f"checked:{number}", "expr": query} for number, query in enumerate(queries(dashboard))]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": group}]}))

    check = await promtool("rules", str(file))

    assert 0 == check[0], check[1]


@needs_promtool
async def test_configuration_and_rules_are_sound() -> None:
    """What is shipped starts a Prometheus."""
    check = await promtool("config", str(DEPLOY / "prometheus" / "prometheus.yml"))

    assert 0 == check[0], check[1]


@needs_promtool
async def test_the_pages_follow_the_conventions(house: House) -> None:
    """Names, units and help as Prometheus's own linter wants them."""
    async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        for url in house.pages():
            page = (await http.get(url)).content
            check = await promtool("metrics", stdin=page)

            assert (0, "") == check, url


async def test_the_dashboards_are_what_the_generator_writes() -> None:
    """After a change of a panel, `python deploy/grafana/generate.py` brings them up to date."""
    generator = _generator()

    assert {one.stem: one.read_text(encoding="utf-8") for one in DASHBOARDS} == {
        one.uid: generator.written(one) for one in generator.DASHBOARDS
    }


def _generator() -> ModuleType:
    spec = spec_from_file_location("drover_dashboards", DEPLOY / "grafana" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


# -- who may read it --------------------------------------------------------------------------------------------------


async def test_the_bridges_page_is_for_this_machine(house: House) -> None:
    """What a proxy passes on, and what a page of a foreign name asks for, is refused."""
    async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        found = [
            (await http.get(house.bridge, headers=headers)).status_code
            for headers in ({}, {"x-forwarded-for": "192.0.2.1"}, {"host": "evil.example"})
        ]

    assert [200, 403, 400] == found


# -- a real server ----------------------------------------------------------------------------------------------------


@needs_prometheus
async def test_a_real_prometheus_counts_the_job(house: House, tmp_path: Path) -> None:
    """It scrapes dispatcher, bridge and agent, loads the shipped rules, and answers how many jobs there were."""
    targets = {"drover-dispatcher": house.dispatcher, "drover-bridge": house.bridge, "drover-agent": house.agent}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc]}]} for job, url in targets.items()
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    async with prometheus(tmp_path) as api:
        up = await api.until('sum(up{job=~"drover.*"})', "3")
        jobs = await api.until('sum(drover_jobs_total{job="drover-dispatcher",state="done"})', "1")
        chats = await api.until('sum(drover_http_requests_total{route="/v1/chat/completions",status="200"})', "1")
        done = await api.until('sum(drover_agent_attempts_total{device="nano",result="done"})', "1")
        healths = await api.evaluated()

    assert ("3", "1", "1", "1") == (up, jobs, chats, done)
    assert ({"ok"}, len(list(rules()))) == (set(healths), len(healths))


class Api:
    """A running Prometheus."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def ask(self, path: str, **parameters: str) -> Any:
        answer = await self._http.get(f"{self._url}/api/v1/{path}", params=parameters)
        assert 200 == answer.status_code, answer.text
        return answer.json()["data"]

    async def until(self, query: str, value: str) -> str:
        """Ask until the answer is one number, and that one."""
        seen: Any = None
        try:
            async with asyncio.timeout(GUARD_S):
                while True:
                    seen = [point["value"][1] for point in (await self.ask("query", query=query))["result"]]
                    if seen == [value]:
                        return value
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise AssertionError(f"{query} is {seen}, and never was {value}") from error

    async def evaluated(self) -> list[str]:
        """Wait until each rule was evaluated, and say how that went."""
        async with asyncio.timeout(GUARD_S):
            while True:
                groups = (await self.ask("rules"))["groups"]
                healths = [rule["health"] for group in groups for rule in group["rules"]]
                if "unknown" not in healths:
                    return healths
                await asyncio.sleep(0.1)


class PortTaken(RuntimeError):
    """Somebody was quicker."""


@asynccontextmanager
async def prometheus(directory: Path) -> AsyncIterator[Api]:
    """Prometheus on a free port, with what it keeps in a directory of the test's; it is gone when the block is left."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=GUARD_S))
        for _ in range(PORTS_TRIED):
            try:
                url = await stack.enter_async_context(_prometheus(directory, http))
                break
            except PortTaken:
                continue
        else:
            raise AssertionError(f"{PORTS_TRIED} ports that were free were taken")
        yield Api(url, http)


@asynccontextmanager
async def _prometheus(directory: Path, http: httpx.AsyncClient) -> AsyncIterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    log = directory / "prometheus.log"
    command = (
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={urlsplit(url).netloc}",
    )
    with log.open("wb") as written:
        async with (
            started(*command, stdin=DEVNULL, stdout=written, stderr=written) as process,
            asyncio.timeout(GUARD_S) as starting,
        ):
            while True:
                if process.returncode is not None:
                    said = log.read_text()
                    raise (PortTaken if "address already in use" in said else AssertionError)(said)
                try:
                    if (await http.get(f"{url}/-/ready")).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass  # it is still starting
                await asyncio.sleep(0.05)
            starting.reschedule(None)
            yield url
