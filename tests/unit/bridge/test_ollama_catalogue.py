"""The fleet's models as Ollama lists them, from heartbeats alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from common.messages import Heartbeat, ModelInfo
from dispatcher.bridge.ollama import catalogue
from dispatcher.fleet import Device, Fleet
from tests import ollama_readers as readers

SINCE_S = 1_795_000_000
SHA = "a" * 64
LLAMA = ModelInfo(
    name="llama3.2:3b",
    size_bytes=2_000_000_000,
    parameters_b=3.21,
    context_tokens=131_072,
    most_context_tokens=8192,
    quantization="Q4_K_M",
    family="llama",
    digest=f"sha256:{SHA}",
    capabilities=("completion", "tools", "thinking", "insert"),
)
LARGER = ModelInfo(name="llama3.2:3b", context_tokens=131_072, most_context_tokens=32_768, capabilities=("vision",))
NOMIC = ModelInfo(name="nomic:latest", parameters_b=0.137, capabilities=("embedding",))
CLOUD = ModelInfo(name="gpt-x:latest", context_tokens=400_000)


def device(name: str, *models: ModelInfo, **fields: Any) -> Device:
    beat = Heartbeat(device=name, boot="b", seq=1, models=models, **fields)
    return Device(beat=beat, models={one.name: one for one in models})


FLEET = Fleet(
    {one.name: one for one in (device("nano", LLAMA, NOMIC), device("pi", LARGER), device("cloud", CLOUD, remote=True))}
)


def found(name: str, fleet: Fleet = FLEET) -> catalogue.Listed:
    one = catalogue.look(fleet, name)
    assert one is not None
    return one


def test_the_list() -> None:
    """The virtual models first; each entry is one that the strictest readers take."""
    body = catalogue.tags(catalogue.listed(FLEET), SINCE_S)
    readers.tags(body)

    assert [
        "auto:latest", "auto:fast", "auto:eco", "auto:local", "gpt-x:latest", "llama3.2:3b", "nomic:latest",
    ] == [one["name"] for one in body["models"]]  # fmt: skip
    assert ["virtual"] * 4 + ["remote", "gguf", "gguf"] == [one["details"]["format"] for one in body["models"]]
    assert ["any"] * 4 + ["unknown", "3.2B", "137M"] == [one["details"]["parameter_size"] for one in body["models"]]


@pytest.mark.parametrize(
    ("name", "capabilities", "context"),
    [
        ("llama3.2:3b", ("completion", "tools", "vision"), 32_768),
        ("llama3.2:3b@nano", ("completion", "tools"), 8192),
        ("nomic", ("embedding",), None),
        ("gpt-x", ("completion",), 400_000),
        ("auto", ("completion", "tools", "vision"), 400_000),
        ("auto:latest", ("completion", "tools", "vision"), 400_000),
        ("auto:local", ("completion", "tools", "vision"), 32_768),
        ("auto@nano", ("completion", "tools"), 8192),
    ],
)
def test_what_a_model_can_do(name: str, capabilities: tuple[str, ...], context: int | None) -> None:
    """As much as any of its devices, through the bridge: no thinking, no filling in, and no more context than memory allows;
    a virtual model embeds nothing."""
    one = found(name)

    assert (capabilities, context) == (one.capabilities, one.context_tokens)


@pytest.mark.parametrize("name", ["nothing", "auto:slow", "llama3.2:3b@pi2", "nomic@pi", "auto@nowhere"])
def test_what_there_is_not(name: str) -> None:
    """Neither a model that no device has, nor one that this device does not have."""
    assert catalogue.look(FLEET, name) is None


@pytest.mark.parametrize("name", ["auto", "auto:fast", "auto:eco", "auto:local", "llama3.2:3b", "nomic", "gpt-x"])
@pytest.mark.parametrize("fleet", [FLEET, Fleet({"nano": device("nano", LLAMA, NOMIC, CLOUD)})], ids=["all", "nano"])
def test_all_about_a_model(name: str, fleet: Fleet) -> None:
    """Each has what Zed, Copilot, LiteLLM and Continue read, of that very model."""
    one = found(name, fleet)
    body = catalogue.show(one, SINCE_S)
    readers.show(body)

    assert [*one.capabilities] == body["capabilities"]


def test_a_virtual_digest_changes_with_what_the_model_can_do() -> None:
    """llm-ollama keeps capabilities under it, on disk. It does not change with anything else."""
    seeing = ModelInfo(name="llava:7b", capabilities=("completion", "vision"))
    before = Fleet({"nano": device("nano", LLAMA)})
    same = Fleet({"nano": device("nano", LLAMA), "nano2": device("nano2", LLAMA)})
    after = Fleet({"nano": device("nano", LLAMA, seeing)})

    assert found("auto", before).digest == found("auto", same).digest != found("auto", after).digest


def test_an_empty_fleet() -> None:
    """There is nothing but the virtual models, and nobody stumbles over them."""
    listed = catalogue.listed(Fleet())
    readers.tags(catalogue.tags(listed, SINCE_S))
    for one in listed:
        readers.show(catalogue.show(one, SINCE_S))

    assert (4, {"models": []}) == (len(listed), catalogue.running(listed))


def test_what_is_in_memory() -> None:
    """Each model once, from the device that keeps it longest; one without a date stays for ever, and that is a date too."""
    short = ModelInfo(name="a:1b", loaded=True, memory_bytes=10, gpu_bytes=99, expires_unix_s=SINCE_S + 60.0)
    longer = ModelInfo(
        name="a:1b", loaded=True, memory_bytes=20, loaded_context_tokens=4096, expires_unix_s=SINCE_S + 90.0
    )
    ever = ModelInfo(name="b:1b", loaded=True, size_bytes=5, expires_unix_s=1e15)
    fleet = Fleet({"one": device("one", short, NOMIC), "two": device("two", longer, ever)})
    body = catalogue.running(catalogue.listed(fleet))
    readers.running(body)

    assert [("b:1b", 5, 0, 4096), ("a:1b", 20, 0, 4096)] == [
        (one["name"], one["size"], one["size_vram"], one["context_length"]) for one in body["models"]
    ]
    assert ["one", "two"] == body["models"][1]["x_drover"]["loaded_on"]
    assert SINCE_S + 90 == datetime.fromisoformat(body["models"][1]["expires_at"]).timestamp()
