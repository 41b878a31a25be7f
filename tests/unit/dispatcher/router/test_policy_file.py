"""The routing file: what it says holds over the settings, at once and without a restart; what is wrong is named and ignored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


def test_an_empty_file_changes_nothing() -> None:
    """What the file does not name is as the settings have it."""
    assert BASE == policy_from("", BASE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strategy = hybrid", "no TOML"),
        ('strategy = "clever"', "there is no strategy 'clever'"),
        ("[weights]\ntokens = 0\ntopic = 0\nhealth = 0", "all 0"),
        ("[weights]\ntokens = -1\ntopic = 0\nhealth = 1", "weights.tokens=-1"),
        ("[weights]\ntokens = 1", "weights.topic"),
        ("[weights]\ntokens = nan\ntopic = 1\nhealth = 1", "weights.tokens"),
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


def write(path: Path, text: str, *, stamp: int) -> None:
    """Write a file with a time of its own: two writes within a tick of the file system's clock would look like one."""
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))


def test_a_change_is_taken_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    """A file that changes is read again; one that is wrong, or gone, leaves what held before."""
    path = tmp_path / "routing.toml"
    write(path, 'strategy = "perf"', stamp=1)
    rules, seen = PolicyFile(path, BASE), []
    for stamp, text in enumerate(['strategy = "semantic"', 'strategy = "wrong"', 'strategy = "random"'], start=2):
        write(path, text, stamp=stamp)
        rules.refresh()
        seen.append(rules.policy.strategy)
    path.unlink()
    rules.refresh()
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
