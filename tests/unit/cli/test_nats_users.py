"""The directory of a fleet's NATS users, the seeds in it, and the configuration that is written from it."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from common.bus.nats import NatsOptions, connect_nats
from common.bus.nats.refusals import Asked, Refusal, hears, read_refusal
from common.bus.nats.seeds import new_seed, public_key, read_seed
from common.bus.options import options_from
from common.errors import BadRequest, ConfigError
from common.settings import BusSection
from dispatcher.cli.nats_config import USERS_FILE, Certificate, server_text
from dispatcher.cli.nats_fleet import FleetDir, settings_of
from dispatcher.cli.nats_reload import reload_line
from dispatcher.cli.nats_roles import NAMED, Role, rights
from dispatcher.verbs import app

ROOT = Path(__file__).parents[3]


def made(path: Path) -> FleetDir:
    fleet = FleetDir(path)
    fleet.init(url="nats://hub:4222", host="0.0.0.0", port=4222, tenant="acme", prefix="llm.v1")
    return fleet


def drover(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def tree(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def test_each_user_has_a_seed_of_its_own_and_the_server_only_public_keys(tmp_path: Path) -> None:
    """The seeds differ, each is that of the key in the server's file, and none stands in any file but its own."""
    fleet = made(tmp_path / "fleet")
    fleet.add(Role.DEVICE, "nano")
    seeds = {path: path.read_text().strip() for path in fleet.path.rglob("nats.nk")}
    users = (fleet.path / USERS_FILE).read_text()

    assert len(seeds) == len(set(seeds.values())) == len(fleet.read().users)
    assert {public_key(seed) for seed in seeds.values()} == {user.nkey for user in fleet.read().users}
    assert all(f"nkey: {user.nkey}\n" in users or f"nkey: {user.nkey} " in users for user in fleet.read().users)
    others = b"".join(data for name, data in tree(fleet.path).items() if not name.endswith("nats.nk"))
    assert [] == [path for path, seed in seeds.items() if seed.encode() in others]


def test_nobody_else_may_read_any_of_it(tmp_path: Path) -> None:
    """All files are 0600 and all directories 0700, whatever the umask says."""
    before = os.umask(0)
    try:
        fleet = made(tmp_path / "fleet")
        fleet.add(Role.DEVICE, "nano")
    finally:
        os.umask(before)
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (fleet.path, *fleet.path.rglob("*"))}
    assert {(True, 0o700), (False, 0o600)} == modes


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A fleet is made once, a name is given once, and what is there stays as it was, byte for byte."""
    fleet = made(tmp_path / "fleet")
    fleet.add(Role.DEVICE, "nano")
    before = tree(fleet.path)
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        made(fleet.path)
    with pytest.raises(ConfigError, match="drover device remove nano"):
        fleet.add(Role.DEVICE, "nano")
    with pytest.raises(ConfigError, match=r"there is no producer 'beta'.*there is acme"):
        fleet.remove(Role.PRODUCER, "beta")
    assert before == tree(fleet.path)


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """One that holds anything is refused, and its mode stays."""
    (tmp_path / "mine").write_text("x")
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="holds mine already"):
        made(tmp_path)
    assert (0o755, {"mine": b"x"}) == (stat.S_IMODE(tmp_path.stat().st_mode), tree(tmp_path))


BAD_NAMES = ("", "na.no", "*", ">", "a b", "../x", "x" * 65, "\u00e4", "a\nb")


def test_bad_names_are_refused(tmp_path: Path) -> None:
    """What is no token gets neither a user nor rights, and is told how names are written."""
    fleet = made(tmp_path / "fleet")
    before = tree(fleet.path)
    for role in NAMED:
        for name in BAD_NAMES:
            with pytest.raises(BadRequest, match="use 1 to 64 of"):
                fleet.add(role, name)
            with pytest.raises(BadRequest, match="use 1 to 64 of"):
                rights(role, name)
    assert before == tree(fleet.path)


def test_a_removed_device_is_gone_and_may_come_again_with_another_seed(tmp_path: Path) -> None:
    """Neither its key nor its seed is left; added again it is another user."""
    fleet = made(tmp_path / "fleet")
    old = read_seed(fleet.add(Role.DEVICE, "nano") / "nats.nk")
    fleet.remove(Role.DEVICE, "nano")
    left = b"".join(tree(fleet.path).values())
    assert (False, False) == (public_key(old).encode() in left, old.encode() in left)
    assert old != read_seed(fleet.add(Role.DEVICE, "nano") / "nats.nk")


def test_an_addition_that_was_broken_off_is_made_up_for(tmp_path: Path) -> None:
    """A pack that no fleet knows, as after a power cut, is in nobody's way."""
    fleet = made(tmp_path / "fleet")
    (fleet.path / "devices" / "nano").mkdir(parents=True)
    (fleet.path / "devices" / "nano" / "nats.nk").write_text("half")
    pack = fleet.add(Role.DEVICE, "nano")
    assert public_key(read_seed(pack / "nats.nk")) == fleet.read().of(Role.DEVICE)[0].nkey


def test_a_full_disk_leaves_what_was(tmp_path: Path) -> None:
    """Where the users' file can't be written, the error says so, and the old one stands."""
    fleet = made(tmp_path / "fleet")
    before = (fleet.path / USERS_FILE).read_bytes()
    (fleet.path / "devices").write_text("in the way")
    with pytest.raises(ConfigError, match="devices"):
        fleet.add(Role.DEVICE, "nano")
    assert before == (fleet.path / USERS_FILE).read_bytes()
    assert [] == [path.name for path in fleet.path.iterdir() if path.name.startswith(".")]


def test_a_fleets_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    """What is no fleet, and what was one, is told from each other."""
    fleet = made(tmp_path / "fleet")
    (fleet.path / "fleet.json").write_text('{"users": [{}]}')
    with pytest.raises(ConfigError, match=r"fleet\.json can't be read"):
        fleet.read()
    with pytest.raises(ConfigError, match="drover nats init"):
        FleetDir(tmp_path / "nowhere").update()


def test_a_device_gets_all_that_it_needs(tmp_path: Path) -> None:
    """Its settings name the server, itself and its seed, and its pack holds what they name."""
    ca = tmp_path / "ca.pem"
    ca.write_text("certificate")
    fleet = FleetDir(tmp_path / "fleet")
    fleet.init(
        url="tls://hub:4222",
        host="0.0.0.0",
        port=4222,
        tenant="acme",
        prefix="house.v2",
        certificate=Certificate(cert_file=tmp_path / "c.pem", key_file=tmp_path / "k.pem"),
        ca_file=ca,
    )
    pack = fleet.add(Role.DEVICE, "nano")
    told = dict(line.split("=", 1) for line in (pack / ".env").read_text().splitlines())
    assert {
        "NATS_URL": "tls://hub:4222",
        "NATS_NKEY": "nats.nk",
        "NATS_CA": "ca.pem",
        "DROVER_SUBJECT_PREFIX": "house.v2",
        "DROVER_DEVICE": "nano",
    } == told
    assert {".env", "nats.nk", "ca.pem"} == {path.name for path in pack.iterdir()}
    assert "house.v2.hb.nano" in (fleet.path / USERS_FILE).read_text()
    assert f'cert_file: "{tmp_path}/c.pem"' in fleet.server_file.read_text()


def test_a_tenants_settings_name_its_own_inbox(tmp_path: Path) -> None:
    """Its programs hear answers where nobody else's do, and are its own."""
    told = settings_of(made(tmp_path / "fleet").read(), Role.PRODUCER, "acme")
    assert ("acme", "_INBOX_producer.acme") == (told["DROVER_HTTP_TENANT"], told["NATS_INBOX_PREFIX"])


def test_the_verbs(tmp_path: Path) -> None:
    """What the commands print: where things are, what to run, and what went wrong, with their exit status."""
    at = str(tmp_path / "fleet")
    made_ = drover("nats", "init", at, "--url", "nats://hub:4222")
    added = drover("device", "add", "nano", "--dir", at)
    again = drover("device", "add", "nano", "--dir", at)
    listed = drover("device", "list", "--dir", at)
    tenants = (drover("tenant", "add", "beta", "--dir", at), drover("tenant", "list", "--dir", at))
    updated = drover("nats", "update", "--dir", at)
    removed = drover("device", "remove", "nano", "--dir", at)
    empty = drover("device", "list", "--dir", at)

    assert [0, 0, 1, 0, 0, 0, 0, 0, 0] == [
        status for status, _ in (made_, added, again, listed, *tenants, updated, removed, empty)
    ]
    assert f"nats-server -c {at}/nats-server.conf" in made_[1]
    assert "The line is not encrypted" in made_[1]
    assert f"scp -r {at}/devices/nano nano:drover-nano" in added[1]
    assert "cd drover-nano && drover-agent --check" in added[1]
    assert "nats-server --signal reload=" in added[1]
    assert ["nano", ["beta", "default"], ""] == [
        listed[1].split()[0],
        [line.split()[0] for line in tenants[1][1].splitlines()],
        empty[1],
    ]


def test_an_archive_takes_the_seed_along(tmp_path: Path) -> None:
    """With --tar the pack is in the archive alone, as files that only their owner may read; one that is there stays."""
    at, tar = str(tmp_path / "fleet"), tmp_path / "nano.tar"
    drover("nats", "init", at)
    status, said = drover("device", "add", "nano", "--dir", at, "--tar", str(tar))
    with tarfile.open(tar) as archive:
        packed = {member.name: (member.mode & 0o777, member.uid, member.uname) for member in archive.getmembers()}
    owned = {"drover-nano": 0o700, "drover-nano/.env": 0o600, "drover-nano/nats.nk": 0o600}
    assert {name: (mode, 0, "") for name, mode in owned.items()} == packed
    assert (0, 0o600, False) == (status, stat.S_IMODE(tar.stat().st_mode), (tmp_path / "fleet/devices/nano").exists())
    assert f"ssh nano tar x < {tar}" in said
    assert (1, True) == (
        drover("device", "add", "pi", "--dir", at, "--tar", str(tar))[0],
        drover("device", "list", "--dir", at)[1].startswith("nano"),
    )


def test_another_program_is_not_told_to_reload(tmp_path: Path) -> None:
    """A number in the file that now belongs to another program gets no signal."""
    fleet = made(tmp_path / "fleet")
    fleet.pid_file.write_text(str(os.getpid()))
    assert "no NATS server runs on" in reload_line(fleet)


def test_the_examples_are_what_the_code_writes() -> None:
    """deploy/nats/*.example are written from the same function as a fleet's own configuration: `make settings`."""
    for path, text in _generator().examples().items():
        assert text == path.read_text(encoding="utf-8"), path


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_nats", ROOT / "deploy" / "nats" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_opens_nothing_by_the_way() -> None:
    """No user is let in without a key, nothing is denied that would else be allowed, no reply is a right, the server's own state is
    shown on the loopback alone, and strings can't end early."""
    text = server_text(host='evil"\nhttp: 0.0.0.0', port=1, directory=Path('/a "b'))
    lines = [
        line.split("#")[0].strip() for example in _generator().examples().values() for line in example.splitlines()
    ]
    for word in ("no_auth_user", "deny", "allow_responses", "password", "token"):
        assert [] == [line for line in lines if word in line]
    assert 'http: "127.0.0.1:8222"' in lines
    assert [] == [line for line in text.splitlines() if line.startswith("http: 0")]


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_a_seed_file_must_be_sound_and_private(tmp_path: Path) -> None:
    """Each thing that is wrong with it is told, with the way out, and without quoting the seed."""
    seed, path = new_seed(), tmp_path / "nats.nk"
    path.write_text(seed + "\n")
    path.chmod(0o600)
    assert seed == read_seed(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"mode 0644.*chmod 600 {path}"):
        read_seed(path)
    path.chmod(0o600)
    wrong = seed[:-1] + ("A" if seed[-1] != "A" else "B")
    for text in ("", wrong, seed.lower(), "SA" + seed[2:], seed * 9, "\u00e4", public_key(seed)):
        path.write_text(text)
        with pytest.raises(ConfigError, match="can't be used") as caught:
            read_seed(path)
        assert not text or text not in caught.value.message
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=r"NATS_NKEY: .* can't be read"):
            read_seed(missing)


def test_a_seed_in_the_place_of_its_path_is_not_quoted() -> None:
    """Whoever sets NATS_NKEY to the seed itself is told so, and it does not come to stand in a log."""
    seed = new_seed()
    with pytest.raises(ConfigError, match="is the path of a seed file") as caught:
        read_seed(Path(seed))
    assert seed not in caught.value.message


async def test_a_process_is_one_user(tmp_path: Path) -> None:
    """NATS_CREDS and NATS_NKEY together are refused before anything is dialled."""
    with pytest.raises(ConfigError, match="both set"):
        async with connect_nats(NatsOptions(creds_file="a", nkey_file=str(tmp_path))):
            raise AssertionError("it connected")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nkeys is not installed, the error says what is missing."""
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ConfigError, match="extra nkeys"):
        new_seed()


# -- settings ------------------------------------------------------------------------------------------------------


def test_the_settings_reach_the_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """NATS_NKEY and NATS_INBOX_PREFIX of the environment are those of the connection; without the latter it has its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_NKEY", "nats.nk")
    own = options_from(BusSection(), name="x", inbox_prefix="_INBOX_bridge")
    monkeypatch.setenv("NATS_INBOX_PREFIX", "_INBOX_producer.acme")
    given = options_from(BusSection(), name="x", inbox_prefix="_INBOX_bridge")
    assert ("nats.nk", "_INBOX_bridge", "_INBOX_producer.acme", None) == (
        own.nkey_file,
        own.inbox_prefix,
        given.inbox_prefix,
        own.tls,
    )


@pytest.mark.parametrize(
    ("knobs", "what"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "NATS_CA"),
        ({"cert_file": "c.pem"}, "belong together"),
        ({"key_file": "k.pem"}, "belong together"),
        ({"cert_file": "/nowhere/c.pem", "key_file": "/nowhere/k.pem"}, "NATS_CERT, NATS_KEY"),
    ],
)
def test_certificates_that_cant_be_used_are_named(knobs: dict[str, str], what: str) -> None:
    """The error says which knob is at fault."""
    with pytest.raises(ConfigError, match=what):
        options_from(BusSection().model_copy(update=knobs), name="x")


# -- what the server says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('nats: permissions violation for publish to "llm.v1.hb.x"', Refusal(publishing=True, subject="llm.v1.hb.x")),
        ('nats: permissions violation for subscription to "a.>"', Refusal(publishing=False, subject="a.>")),
        (
            'nats: permissions violation for subscription to "a.*" using queue "dispatch"',
            Refusal(publishing=False, subject="a.*"),
        ),
        ('nats: permissions violation for publish with reply of "x.y"', Refusal(publishing=True, subject="x.y")),
        ("nats: maximum payload violation", None),
    ],
)
def test_refusals_are_read(said: str, meant: Refusal | None) -> None:
    """The server's words tell what was refused; other errors are none."""
    assert meant == read_refusal(Exception(said))


def test_the_oldest_question_is_answered_first() -> None:
    """A refusal names a subject and no message: each one ends one wait, in order, and none twice."""
    asked = Asked()
    for reply in ("r1", "r2"):
        asked.note("A.b", reply)
    assert ["r1", "r2", ""] == [asked.reply("a.b") for _ in range(3)]


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.b", "a.b", True),
        ("a.*.*.c", "a.x.y.c", True),
        ("a.*.*.c", "a.x.y.d", False),
    ],
)
def test_patterns(pattern: str, subject: str, fits: bool) -> None:
    """A pattern fits what the server would deliver by it."""
    assert fits is hears(pattern, subject)


def test_the_fleets_file_holds_no_secret(tmp_path: Path) -> None:
    """It names users and public keys."""
    fleet = made(tmp_path / "fleet")
    wire = json.loads((fleet.path / "fleet.json").read_text())
    assert {"role", "name", "nkey"} == {key for user in wire["users"] for key in user}
    assert all(user["nkey"].startswith("U") for user in wire["users"])
