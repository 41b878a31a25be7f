"""README against the program: what it tells people to type exists, and where it points there is something."""

from __future__ import annotations

import re
import shlex
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from dispatcher.bridge.pages.assets import UI, Assets
from dispatcher.bridge.pages.views import VIEWS
from dispatcher.router.policy_file import policy_from
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.strategies import STRATEGIES
from dispatcher.settings import ReplaySection
from dispatcher.verbs import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*", re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Give the commands of all shell blocks as words, without environment assignments before them and prompts."""
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for piece in re.split(r"\s(?:\||&&|;|>)\s", line.removeprefix("$ ")):
                words = shlex.split(piece, comments=True)
                while words and ASSIGNMENT.fullmatch(words[0]):
                    words.pop(0)
                if words:
                    yield [Path(words[0]).name, *words[1:]]


def misfits(text: str) -> list[str]:
    """Give the commands of ours that would not run, each with what is wrong with it."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wrong: list[str] = []
    for name, *words in commands(text):
        if name == "make":
            wrong += [f"make {word}" for word in words if not ASSIGNMENT.fullmatch(word) and word not in targets]
        elif name == "drover":
            wrong += [f"drover {' '.join(words)}: {fault}" for fault in _faults(words)]
    return wrong


def _faults(words: list[str]) -> Iterator[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    verb = words[0] if words else ""
    if verb not in group.commands:
        yield f"no verb {verb!r}"
        return
    command = group.commands[verb]
    if isinstance(command, TyperGroup):
        below = words[1] if len(words) > 1 else ""
        if below not in command.commands:
            yield f"no verb {verb} {below!r}"
            return
        command = command.commands[below]
    assert isinstance(command, TyperCommand)
    known = _options(command)
    yield from (f"no option {word}" for word in words[1:] if word.startswith("--") and word.split("=")[0] not in known)


def _options(command: TyperCommand) -> set[str]:
    return {"--help"} | {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def test_the_two_commands_are_there() -> None:
    """Whoever reads nothing else finds how to start it and how to test it."""
    assert [line for line in (["make", "up"], ["make", "test"]) if line not in list(commands(README))] == []


def test_every_command_in_readme_exists() -> None:
    """Make targets, verbs and options."""
    assert misfits(README) == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    """The check above can fail: a target, a verb and an option that nobody has."""
    text = "```sh\nmake up nonsense\nLOG_LEVEL=DEBUG drover fly\ncat x | .venv/bin/drover ask --loud - # no\ndrover dlq burn\n```\n"

    assert misfits(text) == [
        "make nonsense",
        "drover fly: no verb 'fly'",
        "drover ask --loud -: no option --loud",
        "drover dlq burn: no verb dlq 'burn'",
    ]


STRANGER = re.compile(r"pip3? install (?:-\S+ (?:https?://\S+ )?)*[\"']?drover(?![\w.-])")
"""An installation by name, in a block or in prose. Another project's package has that name on PyPI."""


def test_nobody_is_sent_to_a_strangers_package() -> None:
    """README installs the wheel that `make build` makes, by its file name, and never what PyPI has under our name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = f"dist/{project['name']}-{project['version']}-py3-none-any.whl"

    assert ([], {wheel}) == (STRANGER.findall(README), set(re.findall(r"[\w./-]+\.whl", README)))


def test_neither_do_code_and_docs_send_anybody_there() -> None:
    """Hints of what is missing have the words of `common.extras`."""
    places = [ROOT / "pyproject.toml", ROOT / "CHANGELOG.md"]
    for folder in ("common", "agents", "dispatcher", "deploy", "docs"):
        places += [
            file
            for file in (ROOT / folder).rglob("*")
            if file.suffix in {".py", ".md", ".sh", ".toml", ".example", ".yml"}
        ]

    assert [] == [str(file) for file in places if STRANGER.search(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "text",
    [
        'pip install "drover[agent]"',
        "pip install --extra-index-url https://example.org/whl 'drover[embedder]'",
        "`pip install drover`",
        "pip install -U drover==0.1.0",
        "pip3 install 'drover>=0.1'",
    ],
)
def test_a_strangers_package_would_be_found(text: str) -> None:
    """The check above can fail, however the name is written."""
    assert STRANGER.search(text)


def test_every_link_in_readme_leads_somewhere() -> None:
    """Relative links and images are files of the repository."""
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", README) + re.findall(
        r'src="(?!https?://)([^"]+)"', README
    )

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_shows_three_pictures() -> None:
    """As `make screenshots` takes them: of one size, and light enough for whoever clones."""
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    sizes = [struct.unpack(">II", one.read_bytes()[16:24]) for one in pictures]

    assert ["chat.png", "fleet.png", "route.png"] == [one.name for one in pictures]
    assert [] == [one.name for one in pictures if f"](docs/pictures/{one.name})" not in README]
    assert ([(1280, 800)] * 3, []) == (sizes, [one.name for one in pictures if one.stat().st_size > 120_000])


IMPORTS = re.compile(r"""\b(?:from|import|load)\s*\(?\s*["'](\.{1,2}/[^"']+)["']""")


def modules_of(view: str) -> set[str]:
    """Give the modules that an open view may load: what they import, also later."""
    found, left = set[str](), {f"views/{view}.js", "core/first.js", "core/shell.js"}
    while left:
        found.add(name := left.pop())
        said = IMPORTS.findall((UI / name).read_text(encoding="utf-8"))
        near = {(UI / name).parent.joinpath(one).resolve().relative_to(UI).as_posix() for one in said}
        left |= near - found
    return found


def test_no_view_is_heavier_than_readme_says() -> None:
    """Compressed as they are sent, with what is loaded only when an answer comes."""
    [most] = re.findall(r"(\d+) kB of JavaScript \(gzip\) at most", README)
    assets = Assets()
    weights = {one.name: sum(_weight(assets, name) for name in modules_of(one.name)) for one in VIEWS}

    assert any(name.startswith("vendor/marked") for name in modules_of("chat"))
    assert any(name.startswith("vendor/uplot") for name in modules_of("latency"))
    assert [name for name, weight in weights.items() if weight > int(most) * 1000] == []


def _weight(assets: Assets, name: str) -> int:
    asset = assets.get(name)
    assert asset is not None, f"{name} is imported, and not there"
    return len(asset.data)


def test_every_knob_in_readme_exists() -> None:
    """Environment variables that README names stand in the example."""
    example = (ROOT / "deploy" / "config" / "drover.env.example").read_text(encoding="utf-8")
    known = set(re.findall(r"^#([A-Z0-9_]+)=", example, re.MULTILINE))
    named = set(re.findall(r"\b((?:DROVER|NATS|OLLAMA|LOG)_[A-Z0-9_]+)\b", README))

    assert sorted(named - known) == []


def test_what_is_kept_for_those_who_send_again() -> None:
    """README's number of kept answers, and how long they last at 50 jobs a second, are those of the settings."""
    entries = ReplaySection().entries

    assert re.findall(r"the last ([\d,]+) that.*?\(at 50 jobs a second: (\d+) seconds", README, re.DOTALL) == [
        (f"{entries:,}", str(entries // 50))
    ]


def test_the_routing_file_is_one() -> None:
    """The file that people copy is read, and all its parts arrive."""
    [text] = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    policy = policy_from(text, RoutingPolicy())

    assert ({"alice"}, {"code", "utility"}, 88.0) == (set(policy.tenants), set(policy.workloads), policy.caps.celsius)


def test_every_strategy_is_listed() -> None:
    """The table of strategies names those there are, and no others."""
    table = README.partition("| strategy | who comes first |")[2].partition("\n\n")[0]
    named = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }

    assert set(STRATEGIES) == named | {"energy"}
