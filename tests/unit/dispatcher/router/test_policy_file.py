"""The routing file: what it says holds over the settings, at once and without a restart; what is wrong is named and ignored."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.errors import ConfigError
from dispatcher.router import policy_file
from dispatcher.router.policy_file import PolicyFile, policy_from
from dispatcher.routing import Cloud, RoutingPolicy
from dispatcher.routing.ask import Caps, TenantRules

BASE = RoutingPolicy(tokens=1.0, topic=2.0, health=3.0)

WHOLE = """
strategy = "token:800"
token_threshold = 900
strong_from = 0.5
cloud = "preferred"
cloud_from = 0.8
cloud_reference = "gpt-4o"
[weights]
tokens = 5
topic = 0
health = 0.5
[caps]
celsius = 88.0
fleet_w = 60
[workloads.code]
orin = 80
nano = 20
[tenants.alice]
strategy = "energy:eco"
models = ["qwen2.5*"]
[tenants.bob]
devices = ["pi*"]
cloud = "never"
"""


def test_the_whole_file() -> None:
    """Every key arrives where it belongs."""
    assert policy_from(WHOLE, BASE) == RoutingPolicy(
        tokens=5.0,
        topic=0.0,
        health=0.5,
        strategy="token:800",
        strong_from=0.5,
        token_threshold=900,
        workloads={"code": {"orin": 80.0, "nano": 20.0}},
        tenants={
            "alice": TenantRules(strategy="energy:eco", models=("qwen2.5*",)),
            "bob": TenantRules(devices=("pi*",), cloud=Cloud.NEVER),
        },
        cloud=Cloud.PREFERRED,
        cloud_from=0.8,
        cloud_reference="gpt-4o",
        caps=Caps(celsius=88.0, fleet_w=60.0),
    )


def test_the_example_in_the_module_is_one() -> None:
    """What the source shows as an example is read."""
    policy = policy_from((policy_file.__doc__ or "").partition("\n\n")[2], BASE)

    assert (Cloud.NEVER, {"code"}) == (policy.cloud_for("alice"), set(policy.workloads))


def test_an_empty_file_at_the_start_says_nothing(tmp_path: Path) -> None:
    """What the file does not name is as the settings have it: an owner may begin with an empty one."""
    (tmp_path / "routing.toml").touch()

    assert BASE == PolicyFile(tmp_path / "routing.toml", BASE).policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strategy = hybrid", "no TOML"),
        ('strategy = "clever"', "there is no strategy 'clever'"),
        ("[weights]\ntokens = 0\ntopic = 0\nhealth = 0", "all 0"),
        ("[weights]\ntokens = -1\ntopic = 0\nhealth = 1", "weights.tokens=-1"),
        ("[weights]\ntokens = 1", "weights.topic"),
        ("[weights]\ntokens = nan\ntopic = 1\nhealth = 1", "weights.tokens=nan: Input should be a finite number"),
        ("[weights]\ntokens = 1\ntopic = inf\nhealth = 1", "weights.topic=inf: Input should be a finite number"),
        ("[weights]\ntokens = true\ntopic = 1\nhealth = 1", "weights.tokens=True"),
        ('[weights]\ntokens = "0.4"\ntopic = 1\nhealth = 1', "weights.tokens='0.4'"),
        ("[caps]\ncelsius = true", "caps.celsius=True"),
        ("colour = 1", "colour=1"),
        ('[tenants.alice]\nstrategy = "nope"', "tenants.alice.strategy='nope'"),
        ('[tenants.alice]\nmodel = ["x"]', "tenants.alice.model"),
        ("[workloads.code]\norin = -1", "workloads.code.orin=-1"),
        ("[caps]\ncelsius = 0", "caps.celsius=0"),
        ("strong_from = 1.5", "strong_from=1.5"),
        ('cloud = "maybe"', "cloud='maybe'"),
        ("cloud_from = -1", "cloud_from=-1"),
        ("token_threshold = 0", "token_threshold=0"),
        ("token_threshold = " + "9" * 5000, "no TOML"),
        ("token_threshold = " + "[" * 20_000, "no TOML"),
        ('strategy = "energy:warm"', "there is no energy mode 'warm'"),
        ('[tenants.alice]\nstrategy = "token:many"', "the threshold 'many' is no number of tokens"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """The error names the key and the value."""
    with pytest.raises(ConfigError) as refusal:
        policy_from(text, BASE)
    assert words in refusal.value.message


@pytest.mark.parametrize(
    ("text", "expected"), [("", (None, None)), ("models = []", ((), None)), ('devices = ["pi*"]', (None, ("pi*",)))]
)
def test_an_empty_list_allows_nothing(text: str, expected: tuple[object, object]) -> None:
    """Whoever writes a list of what is allowed and puts nothing in it does not allow all; without a list all is allowed."""
    rules = policy_from(f"[tenants.alice]\n{text}", BASE).tenants["alice"]

    assert expected == (rules.models, rules.devices)


def write(path: Path, text: str, *, stamp: int) -> None:
    """Write a file with a time of its own: two writes within a tick of the file system's clock would look like one."""
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))


def look(rules: PolicyFile, times: int = 2) -> None:
    """Look at the file as often as the dispatcher does before it believes that nobody writes it."""
    for _ in range(times):
        rules.refresh()


def test_a_change_is_taken_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    """A file that changes is read again; one that is wrong, or gone, leaves what held before."""
    path = tmp_path / "routing.toml"
    write(path, 'strategy = "perf"', stamp=1)
    rules, seen = PolicyFile(path, BASE), []
    for stamp, text in enumerate(['strategy = "semantic"', 'strategy = "wrong"', 'strategy = "random"'], start=2):
        write(path, text, stamp=stamp)
        look(rules)
        seen.append(rules.policy.strategy)
    path.unlink()
    look(rules)
    seen.append(rules.policy.strategy)

    assert ["semantic", "semantic", "random", "random"] == seen


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "can't be read"), (b"\xff", "not UTF-8"), (b"x" * 1_000_001, "larger"), (b"a=", "wrong")],
)
def test_a_wrong_file_ends_the_start(tmp_path: Path, content: bytes | None, words: str) -> None:
    """At the start somebody is there to mend it: the error names the file."""
    path = tmp_path / "routing.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refusal:
        PolicyFile(path, BASE)
    assert str(path) in refusal.value.message


def test_without_a_file_the_settings_hold() -> None:
    """No path, no file, no surprise."""
    rules = PolicyFile(None, BASE)
    rules.refresh()

    assert BASE is rules.policy


STRICT = """
strategy = "perf"
cloud = "never"

[caps]
celsius = 70.0

[tenants.alice]
models = ["qwen2.5*"]
"""


@pytest.mark.parametrize("size", [1, 7])
def test_an_editor_that_cuts_the_file_and_writes_it_slowly_drops_no_rule(tmp_path: Path, size: int) -> None:
    """Each beginning of the file is sound TOML that forbids less. None of them is adopted, however many looks see the file empty,
    and the whole is once it stands still."""
    path = tmp_path / "routing.toml"
    write(path, STRICT, stamp=1)
    rules, seen, after = PolicyFile(path, BASE), [], STRICT.replace("perf", "random")
    before = rules.policy
    with path.open("w") as editor:
        look(rules, 5)
        seen.append(rules.policy)
        for start in range(0, len(after), size):
            editor.write(after[start : start + size])
            editor.flush()
            look(rules, 1)
            seen.append(rules.policy)
    look(rules)

    assert {id(before)} == {id(policy) for policy in seen}
    assert policy_from(after, BASE) == rules.policy


@pytest.mark.parametrize("text", ["", "\n  \n", "# cloud = 'never'\n\n  # nothing else\n"])
def test_an_emptied_file_changes_nothing_and_is_told_once(tmp_path: Path, text: str) -> None:
    """What it forbade stays forbidden; the log says so, and how to get rid of the rules."""
    path = tmp_path / "routing.toml"
    write(path, STRICT, stamp=1)
    rules = PolicyFile(path, BASE)
    write(path, text, stamp=2)
    with capture_logs() as lines:
        look(rules, 5)

    assert policy_from(STRICT, BASE) == rules.policy
    assert ["policy.refused"] == [line["event"] for line in lines]
    assert "says nothing now" in lines[0]["error"]


def test_what_changed_once_and_back_is_no_change(tmp_path: Path) -> None:
    """A stamp that is known already is not read again."""
    path = tmp_path / "routing.toml"
    write(path, STRICT, stamp=1)
    rules = PolicyFile(path, BASE)
    before = rules.policy
    for stamp in (2, 1):
        write(path, STRICT, stamp=stamp)
        look(rules, 1)
    look(rules)

    assert rules.policy is before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'strategy = "weighted:nope"\n[workloads.code]\norin = 80',
            "strategy='weighted:nope': there is no workload 'nope'",
        ),
        (
            '[tenants.alice]\nstrategy = "weighted:nope"\n[workloads.code]\norin = 80',
            "tenants.alice.strategy='weighted:nope': there is no workload 'nope'",
        ),
    ],
)
def test_a_strategy_without_its_workload_is_refused(text: str, words: str) -> None:
    """Each job would be refused for it, and its sender blamed."""
    with pytest.raises(ConfigError) as refusal:
        policy_from(text, BASE)
    assert words in refusal.value.message


def test_the_settings_strategy_needs_its_workload_as_well() -> None:
    """A file whose shares lack what the default strategy asks for is wrong, though it does not name the strategy."""
    with pytest.raises(ConfigError, match="there is no workload 'math'"):
        policy_from("[workloads.code]\norin = 80", replace(BASE, strategy="weighted:math"))


def test_a_strategy_with_its_workload_is_taken() -> None:
    """Tenants too may ask for any workload that the file has."""
    policy = policy_from(
        'strategy = "weighted:code"\n[workloads.code]\norin = 80\n[tenants.bob]\nstrategy = "weighted:code"', BASE
    )

    assert ("weighted:code", "weighted:code") == (policy.strategy, policy.strategy_for("bob"))
