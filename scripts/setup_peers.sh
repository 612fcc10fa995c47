#!/bin/sh
# Makes .peers hold Claude Code, OpenClaw and a Node.js for them exactly as the lock in tests/peers/npm says; does nothing
# when it already does. It wants `npm` (Node.js 20 or newer) and a registry; the lock names content and no addresses.
set -eu
cd "$(dirname "$0")/.."

from=tests/peers/npm
peers=$PWD/.peers
programs=$peers/node_modules/.bin
stamp=$peers/.setup-peers
now="$peers $(uname -sm) $(cat "$from/package.json" "$from/package-lock.json" scripts/setup_peers.sh | cksum)"
is_whole() { "$programs/claude" --version && "$programs/openclaw" --version; }
# OpenClaw starts by the first `node` on PATH, and refuses the one that many machines have.
PATH=$programs:$PATH
export PATH
if [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && [ -x "$programs/claude" ] && [ -x "$programs/openclaw" ]; then exit 0; fi

if ! command -v npm >/dev/null; then
    echo "setup-peers: found no npm. Install Node.js 20 or newer, which brings it, and run make test-peers again." >&2
    exit 1
fi
# What another `npm` that started us says of its own project is not meant for this one.
for name in $(env | sed -n 's/^\(npm_config_\(global\|prefix\|location\|omit\|include\|ignore_scripts\|package_lock\)\)=.*/\1/p'); do
    unset "$name"
done

echo "Making .peers with Claude Code and OpenClaw (some 1.2 GB)"
rm -rf "$peers"
mkdir -p "$peers"
cp "$from/package.json" "$from/package-lock.json" "$peers"
in_peers() { (cd "$peers" && npm --no-audit --no-fund --no-update-notifier --loglevel error "$@" </dev/null); }
# Two steps, because the scripts of the second look for the Node.js that the first brings.
if ! in_peers ci --ignore-scripts --omit-lockfile-registry-resolved ||
    ! in_peers rebuild --foreground-scripts @anthropic-ai/claude-code openclaw >"$peers/rebuild.log" 2>&1; then
    echo "setup-peers: npm could not install what $from/package-lock.json names. Is a registry there (npm ping)?" >&2
    tail -n 20 "$peers/rebuild.log" 2>/dev/null >&2 || true
    exit 1
fi
is_whole >/dev/null || { echo "setup-peers: what npm installed in .peers does not run; see above." >&2; exit 1; }
echo "$now" > "$stamp"
