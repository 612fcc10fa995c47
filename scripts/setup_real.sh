#!/bin/sh
# Makes .venv-real hold a LiteLLM proxy exactly as requirements-real.lock says; does nothing when it already does.
# It uses the interpreter and the installer of .venv, which scripts/setup.sh made before.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH

lock=requirements-real.lock
venv=$PWD/.venv-real
stamp=$venv/.setup-real
now="$venv $(.venv/bin/python --version) $(cat "$lock" scripts/setup_real.sh | cksum)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && "$venv/bin/python" -c '' 2>/dev/null; then exit 0; fi

echo "Making .venv-real with a LiteLLM proxy (some 330 MB)"
rm -rf "$venv"
.venv/bin/python -m venv --without-pip "$venv"
# uv is quick; pip is the second way because it knows settings (a mirror, a proxy, certificates) that uv does not read.
.venv/bin/uv pip install --quiet --system-certs --python "$venv/bin/python" --no-deps --require-hashes -r "$lock" || {
    echo "uv could not install; trying pip." >&2
    .venv/bin/python -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$lock"
}
echo "$now" > "$stamp"
