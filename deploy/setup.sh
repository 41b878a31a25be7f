#!/usr/bin/env bash
# Make .venv and install what Drover needs; quick and silent when nothing has changed.
#
#   deploy/setup.sh runtime    what `make up` needs: Python packages, nats-server, redis-server
#   deploy/setup.sh dev        also what `make test` needs: test tools, Chromium, PostgreSQL, Prometheus
#
# PYTHON names another interpreter than python3. Servers that were installed already are left as they are; those that
# this script installs are neither started nor enabled, since `make up` runs its own.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where Debian keeps nats-server; an ordinary user's PATH lacks it

profile=${1:-runtime}
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

case $profile in
runtime | dev) ;;
*) die "unknown profile '$profile': use runtime or dev" ;;
esac

has() { command -v "$1" >/dev/null 2>&1; }

# A variable that is set wins over .env, also with nothing: that means the default, a server of our own.
nats_url_is_set() {
    if [ -n "${NATS_URL+set}" ]; then
        [ -n "$NATS_URL" ]
    else
        grep -qs '^ *\(export  *\)\?NATS_URL *= *[^ ]' .env
    fi
}

# What is needed of the system, as names of Debian packages.
wanted_packages() {
    if [ "$profile" = dev ] || ! nats_url_is_set; then
        has nats-server || echo nats-server
    fi
    has redis-server || echo redis-server
    if [ "$profile" = dev ]; then
        has chromium || has chromium-browser || has google-chrome || echo chromium
        compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || has postgres || echo postgresql
        has prometheus && has promtool || echo prometheus # promtool comes with it, where it is Debian's
    fi
}

fingerprint() {
    { cat deploy/setup.sh "deploy/locks/$1.txt" pyproject.toml && pwd && "$python" --version; } 2>/dev/null |
        sha256sum | cut -d ' ' -f 1
}

# The tests' environment holds all that the fleet needs.
is_installed() {
    local kind
    for kind in "$@"; do
        [ -x .venv/bin/python ] && [ "$(cat ".venv/.drover-$kind" 2>/dev/null)" = "$(fingerprint "$kind")" ] && return 0
    done
    return 1
}

python_is_installed() {
    if [ "$profile" = dev ]; then is_installed dev; else is_installed runtime dev; fi
}

check_python() {
    has "$python" || die "$python is missing: run  sudo apt-get install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die \
        "$("$python" --version) is too old, 3.11 or newer is needed: install one and name it, for example  PYTHON=python3.12 make up"
}

# Give the words that run a command as root; nothing when there is no way.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        echo env
    elif has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        echo sudo env
    fi
}

policy=/usr/sbin/policy-rc.d

# While packages are being installed, their services must not start: a system-wide nats-server would take our port.
install_packages() {
    local root
    root=$(as_root)
    has apt-get || die "this system has no apt-get: install these with its own tools, then run this again: $*"
    [ -n "$root" ] || die "root rights are needed to install $*; run  sudo apt-get install $*"
    say "installing $* (apt-get)"
    forbid_services $root
    trap "allow_services $root" EXIT
    local apt=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -o Dpkg::Use-Pty=0)
    $root "${apt[@]}" update >&2 || say "apt-get update failed; trying with the lists that are there"
    $root "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null ||
        die "apt-get could not install $*; run  sudo apt-get install $*"
    allow_services $root
    trap - EXIT
    disable_services "$root" "$@"
}

forbid_services() {
    if [ -e "$policy" ]; then
        "$@" mv "$policy" "$policy.before-drover"
    fi
    printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null
    "$@" chmod 755 "$policy"
}

allow_services() {
    "$@" rm -f "$policy"
    if [ -e "$policy.before-drover" ]; then
        "$@" mv "$policy.before-drover" "$policy"
    fi
}

disable_services() {
    local root=$1 package
    shift
    for package in "$@"; do
        case $package in
        nats-server | redis-server | postgresql | prometheus)
            if has systemctl; then
                $root systemctl --quiet disable "$package" >/dev/null 2>&1 || say "could not disable the service $package"
            elif has update-rc.d; then
                $root update-rc.d "$package" disable >/dev/null 2>&1 || true # a package without an init script has nothing to disable
            fi
            ;;
        esac
    done
}

# Only nats-server and the tests' browser can't be done without; redis is for the shared cache alone.
install_system() {
    local packages=("$@") required=() package
    [ ${#packages[@]} -gt 0 ] || return 0
    for package in "${packages[@]}"; do
        [ "$profile" = runtime ] && [ "$package" = redis-server ] || required+=("$package")
    done
    if [ ${#required[@]} -eq 0 ] && { ! has apt-get || [ -z "$(as_root)" ]; }; then
        say "redis-server is missing, the shared cache does without it; to have it, run  sudo apt-get install redis-server"
        return 0
    fi
    install_packages "${packages[@]}"
}

install_python() {
    if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv || die "the virtual environment could not be made: run  sudo apt-get install python3-venv"
    fi
    say "installing the Python packages of deploy/locks/$profile.txt"
    local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
    "${pip[@]}" --require-hashes -r "deploy/locks/$profile.txt" || die "pip failed, see above"
    "${pip[@]}" --no-deps --no-build-isolation --editable . || die "pip could not install Drover itself, see above"
    fingerprint "$profile" >".venv/.drover-$profile"
}

mapfile -t packages < <(wanted_packages)
if [ ${#packages[@]} -eq 0 ] && python_is_installed; then
    exit 0
fi

exec 9<"$0"
has flock && flock 9 # two at once would write the same .venv

check_python
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian keeps ensurepip apart; the package fits its own python3 only.
    packages+=("python3-venv")
fi
if python_is_installed; then
    # Nothing but the optional redis-server may be missing now, and then apt-get is not asked at every start.
    if [ -e .venv/.drover-no-redis ] && [ "${packages[*]}" = redis-server ]; then exit 0; fi
fi
install_system "${packages[@]}"
python_is_installed || install_python
has redis-server || touch .venv/.drover-no-redis
