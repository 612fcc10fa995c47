#!/bin/sh
# Makes .venv hold what the locks say and nothing that no lock names; does nothing when it already does.
#   scripts/setup.sh run    what the daemon needs
#   scripts/setup.sh dev    that, and the tools of `make test`
# PYTHON=/path/to/python chooses the interpreter of a new .venv.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH

level=${1:-dev}
case $level in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "setup: unknown level '$level'; use run or dev." >&2; exit 2 ;;
esac

venv=$PWD/.venv
python=$venv/bin/python
unfinished=$venv/.setup-unfinished
at_least='import sys; sys.exit(sys.version_info < (3, 11))'

# The place is part of the stamp because scripts in a .venv name it: one that was moved must be made again.
stamp_of() { echo "$venv $(cat pyproject.toml requirements-build.lock "$1" scripts/setup.sh | cksum)"; }
is_current() { [ "$(cat "$venv/.setup-$1" 2>/dev/null)" = "$(stamp_of "$2")" ]; }
runs() { "$1" -c "$at_least" >/dev/null 2>&1; }

if runs "$python" && [ ! -e "$unfinished" ]; then
    if is_current dev requirements-dev.lock; then exit 0; fi
    if [ "$level" = run ] && is_current run requirements.lock; then exit 0; fi
fi

find_python() {
    without_pip=
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        # Not `command -v` alone: a version manager may offer a name that does not run.
        runs "$name" || continue
        if "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            found=$name
            return
        fi
        without_pip=$name
    done
    if [ -n "$without_pip" ]; then
        echo "setup: $without_pip cannot make a virtual environment (no venv or ensurepip)." >&2
        echo "       On Debian or Ubuntu: sudo apt-get install python3-venv. Then run make again." >&2
    elif [ -n "${PYTHON:-}" ]; then
        echo "setup: PYTHON=$PYTHON is not a Python 3.11 or newer. Name another, or leave PYTHON out." >&2
    else
        echo "setup: found no Python 3.11 or newer (looked for python3 and python3.11 to python3.14)." >&2
        echo "       Install one (macOS: brew install python; Debian, Ubuntu: sudo apt-get install python3 python3-venv)," >&2
        echo "       or name one: make setup PYTHON=/path/to/python3" >&2
    fi
    exit 1
}

is_whole() {
    [ ! -e "$unfinished" ] && runs "$python" && grep -qF "$venv" "$venv/bin/activate" 2>/dev/null &&
        "$python" -c 'import pip' >/dev/null 2>&1
}

if ! is_whole; then
    find_python
    echo "Making .venv with $("$found" --version)"
    rm -rf "$venv"
    "$found" -m venv "$venv"
fi

# pip checks every hash; so does uv, which takes a second where pip takes twenty. pip stays as the second way because it
# knows settings (a mirror, a proxy, certificates) that uv does not read.
pip() { "$python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"; }
install() {
    "$venv/bin/uv" pip install --quiet --system-certs --python "$python" --no-deps "$@" || {
        echo "uv could not install; trying pip." >&2
        pip "$@"
    }
}

echo "Installing from $lock"
rm -f "$venv"/.setup-*
: > "$unfinished"
pip --require-hashes -r requirements-build.lock
install --require-hashes -r "$lock"
install --no-build-isolation -e .
stamp_of "$lock" > "$venv/.setup-$level"
rm -f "$unfinished"
