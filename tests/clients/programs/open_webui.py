"""Open WebUI as it comes from PyPI, without its page: the HTTP API that the page uses, with both kinds of connection."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steps import BAD_KEY, EMBEDDER, KEY, SHOWN_KEY, TALKER, UNKNOWN, URL, Client, in_pieces, question, spoken

START_S = 300.0
"""A first start compiles a few hundred packages and makes the database: a minute and a half on two cores."""
SETTLE_S = 60.0
PREFIX = "fleet"
"""What the names of the OpenAI connection begin with, to tell them from those of the Ollama connection."""

NO_DOWNLOADS = {
    "OFFLINE_MODE": "true",  # no update of embedding, reranking and speech models, and HF_HUB_OFFLINE
    "HF_HUB_OFFLINE": "1",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    # With an engine that is asked over HTTP it needs no embedding model of its own: it embeds documents with the fleet.
    "RAG_EMBEDDING_ENGINE": "openai",
    "RAG_EMBEDDING_MODEL": EMBEDDER,
    "RAG_OPENAI_API_BASE_URL": f"{URL}/v1",
    "RAG_OPENAI_API_KEY": SHOWN_KEY,
    "ENABLE_PERSISTENT_CONFIG": "true",
    "WEBUI_SECRET_KEY": uuid.uuid4().hex,
    # Whatever it would fetch all the same fails at once: no proxy is at the discard port.
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}


class Refused(Exception):
    """What Open WebUI answers when it fails."""


class WebUI:
    """Its HTTP API, for the user who signed up first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def sign_up(self) -> str:
        new = {"name": "Ada", "email": "ada@example.org", "password": uuid.uuid4().hex}
        user = self.call("POST", "/api/v1/auths/signup", new)
        self._token = user["token"]
        return str(user["role"])

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a request and give the JSON. Raises `Refused`."""
        return json.loads(self.text(method, path, body))

    def text(self, method: str, path: str, body: object = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._url + path, method=method, data=data, headers=headers)
        try:
            with self._opener.open(request, timeout=120) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{error.code} {error.read().decode()[:400]}") from error

    def chat(self, model: str, text: str) -> dict[str, Any]:
        """Chat without streaming."""
        body = {"model": model, "stream": False, "messages": [{"role": "user", "content": text}]}
        return dict(self.call("POST", "/api/chat/completions", body))

    def stream(self, model: str, text: str) -> list[dict[str, Any]]:
        """Chat with streaming, and give the chunks."""
        body = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": text}],
        }
        lines = self.text("POST", "/api/chat/completions", body).splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]

    def chat_as_page(self, model: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Chat as the page does, with what it has done in the background; give the chat and the message, once all is there."""
        asked, answered = str(uuid.uuid4()), str(uuid.uuid4())
        message = {"id": asked, "role": "user", "content": text, "parentId": None, "childrenIds": [answered]}
        begun = self.call(
            "POST",
            "/api/chat/completions",
            {
                "model": model,
                "stream": True,
                "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": text}],
                "parent_id": None,
                "user_message": {**message, "models": [model], "timestamp": int(time.time())},
                "message_ids": [{"model_id": model, "message_id": answered}],
                "session_id": str(uuid.uuid4()),
                "background_tasks": {"title_generation": True, "tags_generation": True, "follow_up_generation": True},
            },
        )
        deadline = time.monotonic() + SETTLE_S
        while True:
            chat = self.call("GET", f"/api/v1/chats/{begun['chat_id']}")
            done = chat["chat"]["history"]["messages"].get(answered, {})
            if "error" in done:
                raise Refused(str(done["error"]))
            if done.get("done") and done.get("followUps") and chat["meta"].get("tags"):
                return chat, done
            if time.monotonic() > deadline:
                raise Refused(
                    f"not all came: title {chat['title']!r}, {chat['meta']}, follow-ups {done.get('followUps')}"
                )
            time.sleep(0.2)


@contextmanager
def open_webui() -> Iterator[WebUI]:
    """Run it on a free port of the loopback, with nothing left of it at the end."""
    with tempfile.TemporaryDirectory(prefix="drover-open-webui-") as data:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [str(Path(sys.executable).parent / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, **NO_DOWNLOADS, "DATA_DIR": data}
        log = Path(data, "server.log")
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=environment, cwd=data, stdout=out, stderr=subprocess.STDOUT)
        try:
            webui = WebUI(f"http://127.0.0.1:{port}")
            _wait(webui, process, log)
            yield webui
        except BaseException:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(webui: WebUI, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            webui.call("GET", "/health")
        except (OSError, Refused) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it did not start: {log.read_text(errors='replace')[-1500:]}") from error
            time.sleep(0.5)
        else:
            return


def connect(webui: WebUI, key: str) -> None:
    """Set up one connection of each kind. What `TASK` stands for is empty in a chat, and a task's name in the background."""
    openai = {"enable": True, "prefix_id": PREFIX, "headers": {"X-Drover-Task": "{{TASK}}"}}
    ollama = {"enable": True, "key": key, "headers": {"X-Drover-Task": "{{TASK}}"}}
    webui.call(
        "POST",
        "/openai/config/update",
        {
            "ENABLE_OPENAI_API": True,
            "OPENAI_API_BASE_URLS": [f"{URL}/v1"],
            "OPENAI_API_KEYS": [key],
            "OPENAI_API_CONFIGS": {"0": openai},
        },
    )
    webui.call(
        "POST",
        "/ollama/config/update",
        {"ENABLE_OLLAMA_API": True, "OLLAMA_BASE_URLS": [URL], "OLLAMA_API_CONFIGS": {"0": ollama}},
    )


def shown(call: Any) -> str:
    """Give what Open WebUI shows of a failure; raises AssertionError if there is none."""
    try:
        got = call()
    except Refused as error:
        return str(error)[:160]
    raise AssertionError(f"it was answered: {str(got)[:200]}")


def drive(webui: WebUI, me: Client) -> None:
    with me.step("sign up the first user, connect both ways") as saw:
        saw.append(webui.sign_up())
        connect(webui, SHOWN_KEY)
        webui.call("POST", "/openai/verify", {"url": f"{URL}/v1", "key": SHOWN_KEY})
        version = webui.call("POST", "/ollama/verify", {"url": URL, "key": SHOWN_KEY})["version"]
        saw.append(f"both verified, Ollama {version}")

    with me.step("its own model list") as saw:
        names = {model["id"] for model in webui.call("GET", "/api/models")["data"]}
        assert {f"{PREFIX}.auto", f"{PREFIX}.{TALKER}", "auto:latest", "auto:eco", TALKER} <= names, names
        saw.append(f"{len(names)} models of both connections, auto in each")

    for connection, auto, talker in (
        ("OpenAI", f"{PREFIX}.auto", f"{PREFIX}.{TALKER}"),
        ("Ollama", "auto:latest", TALKER),
    ):
        with me.step(f"chat with auto ({connection} connection)") as saw:
            whole = webui.chat(auto, question("open-webui"))
            saw.append(f"{spoken(whole['choices'][0]['message']['content'])} by {whole['model']}")

        with me.step(f"chat, streaming ({connection} connection)") as saw:
            chunks = webui.stream(talker, question("open-webui"))
            texts = [one["choices"][0]["delta"].get("content") for one in chunks if one["choices"]]
            saw.append(in_pieces([text for text in texts if text]))
            usage = next(one["usage"] for one in reversed(chunks) if one.get("usage"))
            if connection == "OpenAI":
                assert usage["device"], usage
                saw.append(f"usage: {usage['energy']['joules']:.2g} J on {usage['device']}")

        with me.step(f"a chat of its page: title, tags, follow-ups ({connection} connection)") as saw:
            chat, message = webui.chat_as_page(auto, question("open-webui"))
            spoken(message["content"])
            assert not chat["title"].startswith("Explain"), f"no title: {chat['title']}"
            saw.append(f"title {chat['title']!r}, tags {chat['meta']['tags']}, {len(message['followUps'])} follow-ups")
            if connection == "OpenAI":
                usage = message["usage"]
                saw.append(f"kept with the message: {usage['energy']['joules']:.2g} J on {usage['device']}")

        with me.step(f"an unknown model ({connection} connection)") as saw:
            saw.append(shown(lambda model=f"{PREFIX}.{UNKNOWN}": webui.chat(model, "hi")))

    with me.step("embeddings") as saw:
        body = {"model": f"{PREFIX}.{EMBEDDER}:latest", "input": ["one", "two"]}
        made = webui.call("POST", "/api/embeddings", body)["data"]
        saw.append(f"{len(made)} of {len(made[0]['embedding'])} numbers")

    if KEY:
        with me.step("a bad key") as saw:
            saw.append(shown(lambda: webui.call("POST", "/openai/verify", {"url": f"{URL}/v1", "key": BAD_KEY})))
            connect(webui, BAD_KEY)
            names = {model["id"] for model in webui.call("GET", "/api/models?refresh=true")["data"]}
            assert not names, names
            saw.append("no models then")


me = Client("open-webui")
with me.step("start and serve, with the Internet out of reach") as saw, open_webui() as webui:
    began = time.monotonic()
    drive(webui, me)
    saw.append(f"driven for {time.monotonic() - began:.0f} s")
