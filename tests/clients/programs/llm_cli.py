"""The command `llm`, with models of its own OpenAI plugin and of llm-ollama, as people type it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from steps import BAD_KEY, EMBEDDER, KEY, SHOWN_KEY, TALKER, UNKNOWN, URL, Client, question, refused, spoken

OPENAI_MODELS = f"""
- {{model_id: fleet-auto, model_name: auto, api_base: "{URL}/v1", api_key_name: drover, supports_tools: true}}
- {{model_id: fleet-talker, model_name: "{TALKER}", api_base: "{URL}/v1", api_key_name: drover}}
- {{model_id: fleet-none, model_name: "{UNKNOWN}", api_base: "{URL}/v1", api_key_name: drover}}
"""
ASK_VERSION = "Which version of llm is this?"


class Refused(Exception):
    """What the command shows when it fails."""


def llm(*arguments: str, stdin: str = "", **environment: str) -> str:
    command = [str(Path(sys.executable).parent / "llm"), *arguments]
    done = subprocess.run(  # noqa: PLW1510  # the status is looked at
        command, input=stdin, capture_output=True, text=True, timeout=120, env={**os.environ, **SETTINGS, **environment}
    )
    if done.returncode:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout.strip()


home = tempfile.TemporaryDirectory(prefix="drover-llm-")
SETTINGS = {"LLM_USER_PATH": home.name, "OLLAMA_HOST": URL, **({"OLLAMA_API_KEY": KEY} if KEY else {})}
Path(home.name, "extra-openai-models.yaml").write_text(OPENAI_MODELS, encoding="utf-8")
llm("keys", "set", "drover", stdin=SHOWN_KEY)

one, other = Client("llm", name="llm (its OpenAI models)"), Client("llm-ollama", name="llm-ollama")

with one.step("list models") as saw:
    assert "fleet-auto" in llm("models", "list")

with other.step("list models") as saw:
    listed = [line for line in llm("models", "list").splitlines() if line.startswith("Ollama: ")]
    assert any("auto:latest" in line for line in listed), listed
    assert any(TALKER in line for line in listed), listed
    saw.append(f"{len(listed)} models")

for me, auto, talker in ((one, "fleet-auto", "fleet-talker"), (other, "ollama/auto:latest", f"ollama/{TALKER}")):
    with me.step("chat with auto") as saw:
        saw.append(spoken(llm("-m", auto, "--no-stream", question("llm"))))

    with me.step("chat, streaming") as saw:
        saw.append(spoken(llm("-m", talker, question("llm"))))

    with me.step("the chat goes on") as saw:
        saw.append(spoken(llm("-c", "And in ten words?")))

    for how in ("--no-stream", "--stream") if me is one else ("--no-stream",):
        with me.step("tools, there and back" if how == "--no-stream" else "tools, streaming") as saw:
            flags = [] if how == "--stream" else ["--no-stream"]
            shown = llm("-m", auto, "-T", "llm_version", "--td", *flags, ASK_VERSION)
            saw.append(spoken(shown[shown.index("[simulated") :]))

with other.step("embeddings") as saw:
    saw.append(f"{llm('embed', '-m', f'ollama/{EMBEDDER}:latest', '-c', 'one').count(',') + 1} numbers")

with one.step("an unknown model") as saw:
    saw.append(refused(Refused, lambda: llm("-m", "fleet-none", "hi"), UNKNOWN))

with other.step("an unknown model") as saw:
    saw.append(refused(Refused, lambda: llm("-m", f"ollama/{UNKNOWN}", "hi"), UNKNOWN))

if KEY:
    with one.step("a bad key") as saw:
        saw.append(refused(Refused, lambda: llm("-m", "fleet-auto", "--key", BAD_KEY, "hi"), "key"))

    with other.step("a bad key") as saw:
        saw.append(refused(Refused, lambda: llm("-m", "ollama/auto:latest", "hi", OLLAMA_API_KEY=BAD_KEY)))

home.cleanup()
