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
