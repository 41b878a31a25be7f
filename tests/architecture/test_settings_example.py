"""The example of all knobs, deploy/config/drover.env.example, against the settings themselves."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import pytest
from dotenv import dotenv_values

from agents.settings import AgentSettings
from common.settings import load
from dispatcher.settings import BridgeSettings, DispatcherSettings, UpSettings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "config" / "drover.env.example"
KNOB = re.compile(r"^#([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
TREES = [UpSettings, DispatcherSettings, BridgeSettings, AgentSettings]


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", EXAMPLE.with_name("generate.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a .env, and an environment without our knobs."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("DROVER_", "NATS_", "OLLAMA_", "LOG_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def test_the_example_is_what_the_generator_writes(generator: ModuleType) -> None:
    """After a change of a knob, `make settings` brings it up to date."""
    assert EXAMPLE.read_text(encoding="utf-8") == generator.example()


def test_every_knob_stands_in_the_example_once(generator: ModuleType) -> None:
    """No knob is secret, and none has two defaults."""
    wanted = {str(knob.validation_alias) for page in generator.sections() for knob in page.model_fields.values()}
    written = [name for name, _ in KNOB.findall(EXAMPLE.read_text(encoding="utf-8"))]

    assert sorted(written) == sorted(wanted)


def test_every_knob_says_what_it_does(generator: ModuleType) -> None:
    """A name from the environment and a description, for each field of each page."""
    silent = [
        f"{page.__name__}.{name}"
        for page in generator.sections()
        for name, knob in page.model_fields.items()
        if not knob.description or not isinstance(knob.validation_alias, str)
    ]

    assert silent == []


@pytest.mark.parametrize("tree", TREES)
def test_the_example_holds_the_defaults(bare: Path, tree: type) -> None:
    """With every line of it switched on, a process runs as with none."""
    without: object = load(tree)
    text = EXAMPLE.read_text(encoding="utf-8")
    (bare / ".env").write_text("\n".join(f"{name}={value}" for name, value in KNOB.findall(text)), encoding="utf-8")

    assert load(tree) == without


def test_an_example_that_is_copied_as_it_is_sets_nothing(bare: Path) -> None:
    """`cp drover.env.example .env` changes nothing, above all not whose NATS server is used."""
    (bare / ".env").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")

    assert (dict(dotenv_values(bare / ".env")), load(UpSettings).bus.model_fields_set) == ({}, set())
