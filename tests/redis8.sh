#!/bin/sh
# Sets up the Redis 8 of Debian 13 beside an older system, for the tests that need its vector sets, and prints its program:
#
#   export DROVER_TEST_REDIS8=$(tests/redis8.sh ~/.cache/drover-redis8)
#
# apt fetches it, checks its signatures, and keeps all that in the folder; the system is left as it is. Debian and amd64 or arm64 only.
set -eu
folder=$(mkdir -p "${1:?name a folder}" && cd "$1" && pwd)
program="$folder/redis-server"
packages="redis-server redis-tools libc6 libgcc-s1 libstdc++6 libatomic1 libjemalloc2 liblzf1 libssl3t64 libsystemd0 libcap2 libzstd1 zlib1g"
if ! "$program" --version >/dev/null 2>&1; then
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/parts" "$folder/debs" "$folder/root"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" >"$folder/sources.list"
    : >"$folder/status"
    set -- -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts="$folder/parts" -o Dir::State="$folder" \
        -o Dir::State::lists="$folder/lists" -o Dir::State::status="$folder/status" -o Dir::Cache="$folder/cache" \
        -o APT::Sandbox::User="$(id -un)"
    apt-get "$@" update >&2
    # shellcheck disable=SC2086  # a list
    (cd "$folder/debs" && apt-get "$@" download $packages >&2)
    for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder/root"; done
    libraries=$(dirname "$(find "$folder/root/usr/lib" -name libc.so.6)")
    loader=$(find "$libraries" -name 'ld-linux-*.so.*' | head -n 1)
    printf '#!/bin/sh\nexec "%s" --library-path "%s" --argv0 redis-server "%s/root/usr/bin/redis-server" "$@"\n' \
        "$loader" "$libraries" "$folder" >"$program"
    chmod +x "$program"
fi
"$program" --version >&2
echo "$program"
