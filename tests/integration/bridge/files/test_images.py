"""Images of a chat over HTTP: what arrives at the fleet, and what does not."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.bridge_process import BridgeProcess
from tests.integration.bridge.files import documents, pictures
from tests.integration.bridge.files.readers import said_of
from tests.scripted_fleet import ScriptedFleet

HANG_S = 60.0
BUS_BYTES = (1 << 20) - 4096

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def fleet(shared: tuple[ScriptedFleet, BridgeProcess]) -> ScriptedFleet:
    shared[0].forget()
    return shared[0]


@pytest_asyncio.fixture(loop_scope="module")
async def http(shared: tuple[ScriptedFleet, BridgeProcess]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=shared[1].url, timeout=HANG_S, trust_env=False) as http:
        yield http


def asked(*images: bytes, said: str = "what is this?") -> dict[str, Any]:
    """A chat with images, as OpenAI's clients write it; all of them are called PNG."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": said}]
    for image in images:
        url = f"data:image/png;base64,{pictures.plain(image)}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"messages": [{"role": "user", "content": parts}]}


def is_red(pixel: Any) -> bool:
    """Tell whether a point is red, and not blue, as far as a JPEG keeps that apart."""
    return bool(pixel[0] > 200 and pixel[2] < 60)


async def arrived(http: httpx.AsyncClient, fleet: ScriptedFleet, *images: bytes, **fields: Any) -> list[str]:
    """Send images, and give those that reached the fleet."""
    response = await http.post("/v1/chat/completions", json=asked(*images, **fields))
    assert response.status_code == 200, response.text
    return list(fleet.jobs.get_nowait().request["messages"][-1]["images"])


async def test_an_image_arrives_as_it_looks(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Whatever its kind, a model sees red on the left and blue on the right, in a JPEG of the same size."""
    kinds = ("JPEG", "PNG", "WEBP", "GIF")
    images = map(pictures.read, await arrived(http, fleet, *map(pictures.drawn, kinds)))
    seen = [(one.format, one.size, is_red(one.getpixel((5, 20))), is_red(one.getpixel((58, 20)))) for one in images]

    assert seen == [("JPEG", (64, 48), True, False)] * len(kinds)


async def test_an_image_is_turned_as_its_camera_was_held(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A photograph that says it lies on its side stands upright: its red left half is on top."""
    (image,) = await arrived(http, fleet, pictures.lying(6))
    seen = pictures.read(image)

    assert (seen.size, seen.getpixel((24, 5))[0] > 200, seen.getpixel((24, 58))[2] > 200) == ((48, 64), True, True)


async def test_what_is_transparent_is_white(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """A drawing on nothing, which would be black on black, stands on white."""
    clear = pictures.saved(pictures.Image.new("RGBA", (32, 32), (0, 0, 0, 0)), "PNG")
    (image,) = await arrived(http, fleet, clear)

    assert min(pictures.read(image).getpixel((16, 16))) > 250


async def test_an_image_leaves_behind_what_is_not_seen(http: httpx.AsyncClient, fleet: ScriptedFleet) -> None:
    """Comments, places, pages, and frames but the first stay at the door; what arrives is one small image for each."""
    names = list(pictures.harmless())
    images = await arrived(http, fleet, *(pictures.harmless()[name]() for name in names))
    found = {name: _left(image) for name, image in zip(names, images, strict=True)}

    assert found == dict.fromkeys(names, (False, True, 1, 0))


def _left(image: str) -> tuple[bool, bool, int, int]:
    """Tell what is left: whether the canary is, whether it is small, its frames, and its notes."""
    seen = pictures.read(image)
    hidden = pictures.CANARY in base64.b64decode(image)
    return hidden, max(seen.size) <= 1568, getattr(seen, "n_frames", 1), len(seen.getexif())


async def test_images_that_are_too_large_together_are_shrunk_to_the_bus(
    http: httpx.AsyncClient, fleet: ScriptedFleet
) -> None:
    """Two photographs of a megabyte and a drawing arrive beside half a megabyte of text, in their order."""
    large, small = pictures.noise(1300), pictures.drawn("PNG")
    images = await arrived(http, fleet, large, small, large, said="word " * 100_000)
    sizes = [pictures.read(image).size for image in images]

    assert (len(images), sizes[1], sum(map(len, images)) < BUS_BYTES - 500_000) == (3, (64, 48), True)


async def test_bombs_are_refused_by_their_reader() -> None:
    """Each by a process within its limits, as what it is, and with a way out."""
    files = {name: lambda bomb=bomb: pictures.plain(bomb()).encode() for name, bomb in pictures.bombs().items()}
    said = said_of("pictures", {"room_bytes": 900_000}, files)

    assert {} == {name: told for name, told in said.items() if not told.startswith("image 1 ") or ": s" not in told}
    assert {} == {name: told for name, told in said.items() if "object at 0x" in told or "recursion" in told}


SENT = ("2,500 million pixels", "colour profile of 64 MB", "half a JPEG", "14 MB at random")


async def test_bombs_are_refused_and_the_bridge_does_not_grow(
    http: httpx.AsyncClient, fleet: ScriptedFleet, shared: tuple[ScriptedFleet, BridgeProcess]
) -> None:
    """Each is refused as what it is, with a way out and no stack trace; nothing reaches the fleet, and the bridge has less than
    20 MiB more behind the next small answer than after the largest body that it takes."""
    await http.post("/v1/chat/completions", json=asked(b"\xff\xd8\xff" + bytes(14_000_000)))
    before_kib = resident_kib(shared[1].process.pid)
    answers = {name: await http.post("/v1/chat/completions", json=asked(pictures.bombs()[name]())) for name in SENT}
    codes = {name: (one.status_code, one.json()["error"]["code"]) for name, one in answers.items()}
    ways_out = [name for name, one in answers.items() if ": s" not in one.json()["error"]["message"]]
    reached = fleet.jobs.qsize()
    # Behind one more: who reads the last refusal is quicker than the bridge, which lets go of the body only then.
    after = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
    grown_kib = resident_kib(shared[1].process.pid) - before_kib

    assert (set(codes.values()), ways_out, reached, grown_kib < 20 * 1024, after.status_code) == (
        {(400, "unreadable_file")},
        [],
        0,
        True,
        200,
    ), (codes, grown_kib)


def resident_kib(pid: int) -> int:
    """What a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def test_the_bridge_imports_no_reader_of_files(shared: tuple[ScriptedFleet, BridgeProcess]) -> None:
    """After all these images none of Pillow's libraries is in the bridge's own memory."""
    maps = mapped(shared[1].process.pid)

    assert ("pydantic_core" in maps, "/PIL/" in maps, "pillow.libs" in maps) == (True, False, False)


def mapped(pid: int) -> str:
    """What a process has loaded."""
    return Path(f"/proc/{pid}/maps").read_text()


SURFACES = {
    "/v1/messages": {
        "max_tokens": 9,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "IMAGE"}}
                ],
            }
        ],
    },
    "/v1/responses": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,IMAGE"},
                ],
            }
        ]
    },
    "/api/chat": {"messages": [{"role": "user", "content": "?", "images": ["IMAGE"]}], "stream": False},
    "/api/generate": {"prompt": "?", "images": ["IMAGE"], "stream": False},
}


@pytest.mark.parametrize("path", SURFACES)
async def test_every_api_takes_a_photograph_and_refuses_a_bomb(
    http: httpx.AsyncClient, fleet: ScriptedFleet, path: str
) -> None:
    """A body of more than the bus carries is taken, what arrives is small, and what is no image is refused in its own form."""
    photograph, bomb = pictures.noise(1300), pictures.drawn("TIFF")
    good, bad = (_filled({"model": "auto", **SURFACES[path]}, pictures.plain(one)) for one in (photograph, bomb))
    taken = await http.post(path, json=good)
    refused = await http.post(path, json=bad)
    job = fleet.jobs.get_nowait()
    images = [image for message in job.request["messages"] for image in message.get("images", ())]

    assert (
        len(pictures.plain(photograph)) > 1_000_000,
        taken.status_code,
        [len(image) < 900_000 and max(pictures.read(image).size) <= 1568 for image in images],
        refused.status_code,
        "send JPEG, PNG" in refused.text,
    ) == (True, 200, [True], 400, True)


def _filled(value: Any, image: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, image) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, image) for one in value]
    return value.replace("IMAGE", image) if isinstance(value, str) else value


async def test_base64_that_is_broken_in_its_middle_is_refused(http: httpx.AsyncClient) -> None:
    """The bridge looks at the ends of it alone; the process that reads the image looks at the rest, and the image is named."""
    data = pictures.plain(pictures.noise(300))
    asked = {
        "messages": [{"role": "user", "content": [_part(data[: len(data) // 2] + "!!!!" + data[len(data) // 2 :])]}]
    }
    response = await http.post("/v1/chat/completions", json=asked)

    assert (response.status_code, "image 1 is not base64" in response.text) == (400, True)


def _part(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


async def test_images_beyond_the_most_are_refused_with_their_number(http: httpx.AsyncClient) -> None:
    """A chat with 33 images, in several turns, is told how many are taken, and which to leave out."""
    turns = [asked(*[pictures.drawn("PNG", (2, 2))] * 11)["messages"][0]] * 3
    response = await http.post("/v1/chat/completions", json={"messages": turns})

    assert (response.status_code, "33 images" in response.text, "leave out the oldest" in response.text) == (
        400,
        True,
        True,
    )


async def test_a_large_body_is_large_by_its_images_alone(http: httpx.AsyncClient) -> None:
    """Four megabytes of empty lists, which are fifty in memory, are refused before they are read, where images would be taken."""
    response = await http.post(
        "/v1/chat/completions", content=b"[" + b"[]," * 1_300_000, headers={"content-type": "application/json"}
    )

    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


LETTERS = "x" * 1_000_000
TEXTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": LETTERS}]},
    "/v1/responses": {"input": LETTERS},
    "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": LETTERS}]},
    "/api/chat": {"messages": [{"role": "system", "content": LETTERS}, {"role": "user", "content": "hi"}]},
    "/api/generate": {"prompt": LETTERS},
    "/api/v1/chat": {"prompt": LETTERS},
    "/api/v1/jobs": {"prompt": LETTERS},
}


@pytest.mark.parametrize("path", TEXTS)
async def test_text_is_bounded_where_files_are_taken(http: httpx.AsyncClient, path: str) -> None:
    """A million letters might be an image, and are none: the limit of text is named, and nothing of the bus."""
    refused = await http.post(path, json={"model": "auto", **TEXTS[path]})

    assert (413, True, True, False) == (
        refused.status_code,
        "and 900000 are taken, files aside" in refused.text,
        "shorten the conversation, or begin another one; whoever runs the bridge can take more" in refused.text,
        "llm.v1" in refused.text,
    )


async def test_a_form_of_ten_thousand_parts_is_no_chat(http: httpx.AsyncClient) -> None:
    """A route that reads JSON refuses a form by its type, and reads no part of it."""
    part = b"--b\r\ncontent-disposition: form-data; name=x\r\n\r\ny\r\n"
    form = {"content-type": "multipart/form-data; boundary=b"}
    response = await http.post("/v1/chat/completions", content=part * 10_000 + b"--b--\r\n", headers=form)

    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


PDFS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "pages with text": (lambda: documents.written("It says hello.", "And goodbye."), None),
    "password": (lambda: documents.locked("open sesame"), "password"),
    "one page 100,000 times": (documents.bombs()["one page 100,000 times"], "larger inside than it may be"),
    "128 MB in 1 kB": (documents.bombs()["128 MB in 1 kB"], "report.pdf: it"),
    "garbage": (documents.bombs()["a head"], "report.pdf: it"),
}


@pytest.mark.parametrize("name", PDFS)
async def test_a_pdf_comes_in_a_form(http: httpx.AsyncClient, fleet: ScriptedFleet, name: str) -> None:
    """Its text stands before the question; one that can't be read costs the question nothing, and is said to be left out."""
    write, wrong = PDFS[name]
    form = {"data": {"prompt": "What does it say?"}, "files": {"file": ("report.pdf", write(), "application/pdf")}}
    answer = await http.post("/route/with-file", **form)
    told, question = answer.json(), fleet.jobs.get_nowait().request["messages"][-1]

    assert (200, "Hello there!", wrong is None) == (answer.status_code, told["response"], told["file_processed"])
    assert (wrong or "") in (told["file_processing_error"] or "")
    assert ("It says hello." in question["content"], bool(question.get("images"))) == (wrong is None, False)
    assert question["content"].endswith("What does it say?")


def part(name: str, value: bytes = b"y", more: bytes = b"") -> bytes:
    return b"--b\r\ncontent-disposition: form-data; name=%b%b\r\n\r\n%b\r\n" % (name.encode(), more, value)


FORMS: dict[str, tuple[bytes, int]] = {
    "10,000 fields": (b"".join(part(f"f{number}") for number in range(10_000)), 400),
    "10,000 files": (b"".join(part("file", more=b'; filename="a"') for _ in range(10_000)), 400),
    "one field 10,000 times": (part("prompt") * 10_000, 400),
    "a field of 3 MB": (part("prompt", b"y" * 3_000_000), 400),
    "a name of 1 MB": (part("f" * 1_000_000), 400),
    "a prompt that is too long": (part("prompt", b"y" * 600_000), 400),
    "no end": (part("prompt")[:-9], 400),
    "another boundary": (part("prompt").replace(b"--b", b"--c"), 400),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_that_means_harm_is_refused(http: httpx.AsyncClient, fleet: ScriptedFleet, name: str) -> None:
    """With a typed error, before anything reaches the fleet."""
    body, status = FORMS[name]
    head = {"content-type": "multipart/form-data; boundary=b"}
    answer = await http.post("/route/with-file", content=body + b"--b--\r\n", headers=head)

    assert (status, "bad_request", 0) == (answer.status_code, answer.json()["error"]["code"], fleet.jobs.qsize())
    assert len(answer.text) < 2_000
