"""Files of whatever content: none ends a dispatcher, fails a request, or costs a part that worked."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dispatcher.roster import Roster
from dispatcher.router.life import running_router
from dispatcher.router.policy_file import PolicyFile, policy_from
from dispatcher.router.trained_file import write_router
from dispatcher.router.weights import WeightFiles, Weights
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.answer_signals import ANSWER_SIGNALS
from dispatcher.routing.prompt_signals import SIGNALS
from dispatcher.settings import EmbedSection, RoutingSection
from dispatcher.weights_file import card_path
from tests.unit.dispatcher.builders import beat, job, model
from tests.unit.dispatcher.router.parts import COUNT, flat_router, save_router, save_topics

EMBEDDER = "static-4@abc"
JUDGED = (*SIGNALS, *ANSWER_SIGNALS)
_turn = iter(range(1, 1_000_000))


def forge(path: Path, data: bytes) -> None:
    """Put other bytes under the card, with their digest, and make both look newer than anything before."""
    card = json.loads(card_path(path).read_text())
    path.write_bytes(data)
    card_path(path).write_text(json.dumps({**card, "sha256": hashlib.sha256(data).hexdigest()}))
    os.utime(path, (2_000_000_000, 2_000_000_000 + next(_turn)))


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, body in parts.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def headed(header: str, body: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    """An array whose header says what it likes."""
    said = len(header) if length is None else length
    return (
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", said) + header.encode() + body
    )


def flagged(data: bytes, local: int, central: int, value: int) -> bytes:
    """Set a field of two bytes in all headers of an archive."""
    changed = bytearray(data)
    for magic, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = changed.find(magic)
        while at >= 0:
            struct.pack_into("<H", changed, at + place, value)
            at = changed.find(magic, at + 4)
    return bytes(changed)


def corrupt(data: bytes) -> bytes:
    """Spoil the compressed bytes of the first member."""
    changed = bytearray(packed(members(data), zipfile.ZIP_DEFLATED))
    name, extra = struct.unpack_from("<HH", changed, 26)
    changed[30 + name + extra] ^= 0xFF
    return bytes(changed)


def all_members(body: bytes) -> Callable[[bytes], bytes]:
    return lambda data: packed(dict.fromkeys(members(data), body))


def with_member(name: str, body: bytes) -> Callable[[bytes], bytes]:
    return lambda data: packed({**members(data), name: body})


def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[bytes], bytes]:
    """Change all arrays."""

    def changed(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as archive:
            return packed({f"{name}.npy": npy(change(archive[name])) for name in archive.files})

    return changed


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no archive": lambda _: b"PK\x03\x04" + b"\0" * 100,
    "an empty archive": lambda _: packed({}),
    "a plain array": lambda _: npy(np.ones(3)),
    "cut at half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "encrypted": lambda data: flagged(data, 6, 8, 1),
    "an unknown compression": lambda data: flagged(data, 8, 10, 98),
    "lzma that is none": lambda data: flagged(data, 8, 10, 14),
    "bzip2 that is none": lambda data: flagged(data, 8, 10, 12),
    "a spoilt stream": corrupt,
    "members that are no arrays": all_members(b"hello"),
    "members without their suffix": lambda data: packed(
        {name.removesuffix(".npy"): body for name, body in members(data).items()}
    ),
    "one member more, of text": with_member("note.txt", b"hello"),
    "objects": each(lambda array: array.astype(object)),
    "texts": each(lambda array: array.astype(str)),
    "bytes": each(lambda array: array.astype(bytes)),
    "dates": each(lambda array: np.zeros(array.shape, dtype="datetime64[s]")),
    "complex numbers": each(lambda array: array.astype(complex)),
    "truths": each(lambda array: array.astype(bool)),
    "records": each(lambda array: np.zeros(array.shape, dtype=[("a", "f4"), ("b", "f4")])),
    "whole numbers": each(lambda array: array.astype(np.int64)),
    "halves": each(lambda array: array.astype(np.float16)),
    "long floats": each(lambda array: array.astype(np.longdouble)),
    "swapped bytes": each(lambda array: array.astype(array.dtype.newbyteorder(">"))),
    "one axis more": each(lambda array: array[None]),
    "no axis": each(lambda array: array.reshape(-1)[0]),
    "no rows": each(lambda array: array[:0]),
    "no numbers": each(lambda array: np.full(array.shape, np.nan)),
    "no end of numbers": each(lambda array: np.full(array.shape, np.inf)),
    "vast numbers": each(lambda array: np.full(array.shape, 1e38)),
    "below all": each(lambda array: np.full(array.shape, -1e300)),
    "larger than memory": all_members(
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }\n")
    ),
    "a shape that overflows": all_members(
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n")
    ),
    "less than nothing": all_members(
        headed("{'descr': '<f8', 'fortran_order': False, 'shape': (-5,), }\n", b"\0" * 80)
    ),
    "items of terabytes": all_members(
        headed("{'descr': '|S9999999999999', 'fortran_order': False, 'shape': (1,), }\n")
    ),
    "a header of gigabytes": all_members(headed("{}", version=2, length=2**32 - 1)),
    "a header too long": all_members(headed("{" + " " * 60_000 + "}")),
    "a header without an end": all_members(headed("{'descr': ('<f8', (((\n")),
    "a header of brackets": all_members(headed("(" * 9_900)),
    "a header of minuses": all_members(headed("-" * 9_900 + "1")),
    "a header that is code": all_members(headed("__import__('os').abort()\n")),
    "an unknown kind": all_members(headed("{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }\n")),
    "another version": all_members(headed("{}", version=9)),
}


class Scene:
    """Sound topics, router and judge, read once; then their files change."""

    def __init__(self, directory: Path) -> None:
        self.paths = [directory / name for name in ("topics.npz", "router.npz", "judge.npz")]
        save_topics(self.paths[0], EMBEDDER, "law", "food")
        save_router(self.paths[1], 0.25)
        write_router(self.paths[2], flat_router(0.5, signals=JUDGED), {})
        self.sound = [path.read_bytes() for path in self.paths]
        self.files = WeightFiles(topics=self.paths[0], router=self.paths[1], cascade=self.paths[2])
        self.weights = Weights(self.files, EMBEDDER)

    def spoil(self, change: Callable[[bytes], bytes]) -> None:
        for path, data in zip(self.paths, self.sound, strict=True):
            forge(path, change(data))
        self.weights.refresh()

    def figures(self) -> list[float]:
        """What the parts say now."""
        topics, router, judge = self.weights.topics, self.weights.router, self.weights.cascade
        assert topics is not None
        assert router is not None
        assert judge is not None
        near = topics.similarities(np.array([1, 0, 0, 0], dtype=np.float32))
        signals = [0.5] * COUNT
        return [*near.values(), router.gain(signals, None).score, judge.gain([0.5] * len(JUDGED), None).score]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("what", HOSTILE)
def test_no_file_of_weights_costs_a_part_that_worked(scene: Scene, what: str) -> None:
    """Its digest is right, so it is opened: it is refused with a line in the log for each part, and what worked works on."""
    before = scene.figures()
    with capture_logs() as lines:
        scene.spoil(HOSTILE[what])

    assert before == scene.figures()
    refused = 0 if what == "members without their suffix" else 3  # numpy takes them as if they had it
    assert ["weights.refused"] * refused == [line["event"] for line in lines if line["event"] == "weights.refused"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_spoilt_byte_ends_anything(scene: Scene, method: int) -> None:
    """A thousand files with a few other bytes: each is refused, or read as parts that answer with numbers."""
    rng = np.random.default_rng(0)

    def spoilt(data: bytes) -> bytes:
        changed = np.frombuffer(packed(members(data), method), dtype=np.uint8).copy()
        places = rng.integers(0, len(changed), size=rng.integers(1, 6))
        changed[places] = rng.integers(0, 256, size=len(places))
        return changed.tobytes()

    figures: list[float] = []
    for _ in range(150):
        scene.spoil(spoilt)
        figures += scene.figures()

    assert all(map(math.isfinite, figures))


@pytest.mark.parametrize("part", ["kernel_rows", "heads", "scalars", "gains", "rows"])
@pytest.mark.parametrize("change", ["texts", "dates", "one axis more", "no axis", "records", "complex numbers"])
def test_one_part_of_another_kind_is_enough_to_refuse_a_router(scene: Scene, part: str, change: str) -> None:
    """The others fit, and a router that is half right would fail each job."""

    def changed(data: bytes) -> bytes:
        other = members(HOSTILE[change](data))
        return packed({**members(data), f"{part}.npy": other[f"{part}.npy"]})

    forge(scene.paths[1], changed(scene.sound[1]))
    with capture_logs() as lines:
        scene.weights.refresh()

    assert [("weights.refused", "router")] == [(line["event"], line["part"]) for line in lines]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "\0", "[]", "9" * 100_000, '{"kind": ' + "9" * 5000 + "}", "{}"]
)
def test_no_card_costs_a_part_that_worked(scene: Scene, text: str) -> None:
    """Cards are read first."""
    before = scene.figures()
    for path in scene.paths:
        card_path(path).write_text(text)
    scene.weights.refresh()

    assert before == scene.figures()


@pytest.mark.parametrize("what", ["topics", "embedder", "signals", "version", "sha256"])
@pytest.mark.parametrize("value", [None, 1, [], {}, [[]], [None, {}], "x" * 1000, ["law", "x" * 1000], 1e400, True])
def test_no_entry_of_a_card_costs_a_part_that_worked(scene: Scene, what: str, value: object) -> None:
    """Entries of any kind are read, or refused."""
    before = scene.figures()
    for path in scene.paths:
        card = json.loads(card_path(path).read_text())
        card_path(path).write_text(json.dumps({**card, what: value}))
    scene.weights.refresh()

    assert before == scene.figures()


async def test_a_dispatcher_starts_and_routes_beside_hostile_files(tmp_path: Path) -> None:
    """Every strategy that would use them says what it lacks, and has candidates."""
    scene = Scene(tmp_path)
    for path, data in zip(scene.paths, scene.sound, strict=True):
        forge(path, HOSTILE["encrypted"](data))
    topics, router, judge = map(str, scene.paths)
    roster = Roster(dispatcher="d", suspect_after=2.5, dead_after=5.0, forget_after_s=60.0)
    roster.observe(beat("nano", models=(model("small:1b"), model("large:70b")), topics=("law",)), 0.0)
    section = RoutingSection(
        topics_file=topics, router_file=router, cascade_file=judge, state_dir=tmp_path, feedback="off"
    )
    async with running_router(roster, section, EmbedSection()) as running:
        asks = [await running.ask(job("hi", strategy=name)) for name in ("learned", "semantic", "cascade")]
        running.reread()
        decisions = [running.decide(ask, {}) for ask in asks]

    assert [2, 2, 2] == [len(decision.candidates) for decision in decisions]
    assert all("is damaged" in ask.lacks for ask in asks)


RULES = """
strategy = "perf"
cloud = "never"
[weights]
tokens = 5
topic = 0
health = 0.5
[workloads.code]
orin = 80
[tenants.alice]
models = ["qwen2.5*"]
"""


@pytest.mark.parametrize(
    "text",
    [
        "token_threshold = 0x" + "f" * 100_000,
        "strategy = 0b" + "1" * 100_000,
        "weights = 0o" + "7" * 100_000,
        "cloud_from = 1e999999",
        "cloud_from = inf",
        "a = " + "{b = " * 5000,
        ".".join(["a"] * 5000) + " = 1",
        "[" + ".".join(["workloads"] * 5000) + "]",
        "strategy = 1979-05-27T00:32:00-07:00",
        "[tenants]\nalice = []",
        "[[tenants]]",
        'strategy = "\\ud800"',
        'strategy = """' + "x" * 900_000 + '"""',
        "\ufeffstrategy = 'perf'",
        "\0",
        "\r",
    ],
)
def test_no_routing_file_ends_anything(tmp_path: Path, text: str) -> None:
    """It is refused, and what held holds."""
    path = tmp_path / "routing.toml"
    path.write_text(RULES)
    rules = PolicyFile(path, RoutingPolicy())
    before = rules.policy
    path.write_bytes(text.encode())
    with capture_logs() as lines:
        for _ in range(3):
            rules.refresh()

    assert before is rules.policy
    assert ["policy.refused"] == [line["event"] for line in lines]


def test_no_spoilt_byte_of_rules_ends_anything(tmp_path: Path) -> None:
    """Each file is refused, or is rules: what is read by hand is what the dispatcher took."""
    rng = np.random.default_rng(0)
    path = tmp_path / "routing.toml"
    path.write_text(RULES)
    rules = PolicyFile(path, RoutingPolicy())
    taken = 0
    for turn in range(300):
        changed = np.frombuffer(RULES.encode(), dtype=np.uint8).copy()
        places = rng.integers(0, len(changed), size=rng.integers(1, 4))
        changed[places] = rng.integers(0, 256, size=len(places))
        before = rules.policy
        path.write_bytes(changed.tobytes())
        os.utime(path, ns=(turn, turn))
        rules.refresh()
        rules.refresh()
        if rules.policy is not before:
            taken += 1
            assert policy_from(changed.tobytes().decode(), RoutingPolicy()) == rules.policy

    assert 0 < taken < 300
