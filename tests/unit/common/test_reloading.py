"""Settings that are read again: what is compared, what is applied, and that every knob of every process has its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import Field, SecretStr

from agents.knobs import KNOBS as AGENT
from agents.settings import AgentSettings
from common.errors import BadRequest, ConfigError
from common.reloading import Change, Knobs, Reloader, Turn, Turns
from common.settings import LogSection, Section
from dispatcher.bridge.knobs import KNOBS as BRIDGE
from dispatcher.cli.up_knobs import KNOBS as UP
from dispatcher.knobs import KNOBS as DISPATCHER
from dispatcher.ledger.knobs import KNOBS as LEDGER
from dispatcher.settings import BridgeSettings, DispatcherSettings, LedgerSettings, UpSettings

PROCESSES: list[tuple[type[Any], Knobs]] = [
    (DispatcherSettings, DISPATCHER),
    (BridgeSettings, BRIDGE),
    (LedgerSettings, LEDGER),
    (AgentSettings, AGENT),
    (UpSettings, UP),
]


class Page(Section):
    """A page."""

    limit: int = Field(10, validation_alias="T_LIMIT", description="live")
    port: int = Field(80, validation_alias="T_PORT", description="at the start")
    key: SecretStr = Field(SecretStr(""), validation_alias="T_API_KEY", description="secret")
    other: int = Field(1, validation_alias="T_OTHER", description="somebody else's")


@dataclass(frozen=True)
class Tree:
    """A process's settings."""

    log: LogSection
    page: Page


KNOBS = Knobs(live={"page": "limit key"}, restart={"log": "level format", "page": "port"}, elsewhere={"page": "other"})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.env` that is not there yet, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def reloader(limits: list[int] | None = None, prepare: Callable[[Tree], Turn] | None = None) -> Reloader[Tree]:
    taken = [] if limits is None else limits
    return Reloader(
        Tree(LogSection(), Page()),
        KNOBS,
        prepare or (lambda tree: lambda: taken.append(tree.page.limit)),
        process="test",
    )


def test_a_live_knob_is_applied_and_told(file: Path) -> None:
    """With what it was and what it is; and nothing before it is to be applied."""
    limits: list[int] = []
    one = reloader(limits)
    file.write_text("T_LIMIT=7\n")
    checked = one.check("w")
    before = list(limits)
    one.apply("w")

    assert ((Change("T_LIMIT", "10", "7", True),), [], [7], 7) == (checked.changes, before, limits, one.tree.page.limit)


def test_a_knob_that_needs_a_restart_stays_as_it_was_and_is_told_again(file: Path) -> None:
    """Else the second reload would say that all is well."""
    one = reloader()
    file.write_text("T_PORT=81\n")
    one.check("w")
    one.apply("w")

    assert ((Change("T_PORT", "80", "81", False),), 80) == (one.check("again").changes, one.tree.page.port)


def test_a_secret_is_told_to_have_changed_and_no_more(file: Path) -> None:
    """Neither the old one nor the new."""
    file.write_text("T_API_KEY=very-secret\n")

    assert "secret" not in str(reloader().check("w"))


def test_what_another_process_reads_is_not_told(file: Path) -> None:
    """It stands on a page that both have."""
    file.write_text("T_OTHER=2\n")

    assert () == reloader().check("w").changes


@pytest.mark.parametrize(("text", "words"), [("T_LIMIT=x\n", "T_LIMIT='x'"), ("LOG_LEVEL=loud\n", "LOG_LEVEL='LOUD'")])
def test_wrong_settings_are_told_and_nothing_is_prepared(file: Path, text: str, words: str) -> None:
    """Knob and value are named."""
    one = reloader()
    file.write_text(text)
    [fault] = one.check("w").faults

    assert words in fault
    with pytest.raises(BadRequest):
        one.apply("w")


def test_what_only_the_process_finds_wrong_is_a_fault_too(file: Path) -> None:
    """As a strategy that there is not."""

    def prepare(_: Tree) -> Turn:
        raise ConfigError("there is no such thing")

    file.write_text("T_LIMIT=7\n")

    assert ("there is no such thing",) == reloader(prepare=prepare).check("w").faults


def test_another_word_applies_nothing(file: Path) -> None:
    """An order that comes late, or from another round, must not apply what nobody agreed on."""
    one = reloader()
    file.write_text("T_LIMIT=7\n")
    one.check("first")

    with pytest.raises(BadRequest):
        one.apply("second")
    assert one.tree.page.limit == 10


def test_a_line_that_the_environment_hides_is_pointed_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes nothing, and can't while the process runs."""
    monkeypatch.setenv("T_LIMIT", "10")
    file.write_text("\n# a limit\nT_LIMIT=7\n")
    verdict = reloader().check("w")

    assert verdict.changes == ()
    assert "line 3" in verdict.hints[0]


def test_what_drover_up_gave_is_its_own_to_tell_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it needs a restart; that the line changed nothing would be untrue."""
    monkeypatch.setenv("T_LIMIT", "10")
    monkeypatch.setenv("DROVER_UP_GAVE", "T_LIMIT T_PORT")
    file.write_text("T_LIMIT=7\n")

    assert () == reloader().check("w").hints


def test_lines_that_may_be_misspelt_are_told_by_name_and_number_alone(file: Path) -> None:
    """Another process may read them; their values may be secrets, and other programs' lines are none of ours."""
    file.write_text("T_LIMIT=7\nDROVER_LIMTI=secret\nOTHER_THING=1\nDROVER_SIM_SEED=1\n")
    verdict = reloader().check("w")

    assert ((("DROVER_LIMTI", 2),), False) == (verdict.strange, "secret" in str(verdict))


def pages(tree: type[Any]) -> Iterator[tuple[str, type[Section]]]:
    hints = get_type_hints(tree)
    for field in fields(tree):
        yield field.name, hints[field.name]


@pytest.mark.parametrize(("tree", "knobs"), PROCESSES, ids=lambda one: getattr(one, "__name__", ""))
def test_every_knob_of_every_process_has_exactly_one_place(tree: type[Any], knobs: Knobs) -> None:
    """A new knob is live, needs a restart, or is not read there: whoever adds it says which."""
    known = sorted((page, field) for page, section in pages(tree) for field in section.model_fields)
    listed = sorted(
        (page, field)
        for words in (knobs.live, knobs.restart, knobs.elsewhere)
        for page, names in words.items()
        for field in names.split()
    )

    assert known == listed


def test_what_is_elsewhere_is_somewhere() -> None:
    """No knob is nobody's."""
    places: dict[str, set[Turns]] = {}
    for tree, knobs in PROCESSES:
        for page, section in pages(tree):
            for field, info in section.model_fields.items():
                places.setdefault(str(info.validation_alias), set()).add(knobs.of(page, field))

    assert [] == [knob for knob, turns in places.items() if turns == {Turns.ELSEWHERE}]
