#!/usr/bin/env bash
# Resolve the hash-locked requirements in deploy/locks/ for every Python >= 3.11 and both architectures.
#
# uv does the resolving, since pip can't lock for another machine than its own; it runs from a throw-away environment.
# The files name no index: whoever installs uses their own pip settings.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch"
"$scratch/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.5'

# Each client that people have gets a lock of its own, since they want different versions of one another; see tests/clients.
# Open WebUI's is for one machine and one Python: its torch is a wheel without CUDA, which TORCH_WHEELS names the place of.
compile_client() {
    local name=$1 output=deploy/locks/clients-$1.txt where=(--universal)
    shift
    if [ "$name" = open-webui ]; then
        where=(--python-platform x86_64-manylinux_2_28 --find-links "${TORCH_WHEELS:-https://download.pytorch.org/whl/cpu/torch/}")
    fi
    printf '%s\n' "$@" | "$scratch/bin/uv" pip compile --quiet --no-config "${where[@]}" --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$output" -
    printf '%s: %s packages\n' "$output" "$(grep -c '==' "$output")"
}

if [ "${1:-}" = clients ]; then
    compile_client openai openai
    compile_client ollama ollama
    compile_client anthropic anthropic
    compile_client langchain langchain-openai langchain-ollama
    compile_client llm llm llm-ollama
    compile_client litellm 'litellm[mcp]' # without that extra its chats with tools fail at an import of theirs
    compile_client open-webui open-webui==0.12.4 torch==2.13.0
    exit
fi

compile() {
    local output=$1
    shift
    "$scratch/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --output-file "$output" pyproject.toml deploy/locks/build.in "$@"
    printf '%s: %s packages\n' "$output" "$(grep -c '==' "$output")"
}

compile deploy/locks/runtime.txt --extra fleet "$@"
compile deploy/locks/dev.txt --extra dev --constraint deploy/locks/runtime.txt "$@"
