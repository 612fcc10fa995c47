#!/bin/sh
# Finds a Chromium or Chrome for `make test-browser` and prints where it is; OMNI_CHROMIUM=/path/to/it names another.
# Where there is none, and this is root on Debian or Ubuntu, it installs the distribution's; else it says what to install.
set -eu

find_browser() {
    for name in ${OMNI_CHROMIUM:+"$OMNI_CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
        if command -v "$name"; then return 0; fi
    done
    return 1
}

if find_browser; then exit 0; fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium (some 300 MB)" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -qq -y --no-install-recommends chromium >&2 </dev/null
    if find_browser; then exit 0; fi
fi

echo "setup-browser: found no Chromium and no Chrome. Install one, then run make test-browser again:" >&2
echo "               Debian, Ubuntu: sudo apt-get install chromium; Fedora: sudo dnf install chromium;" >&2
echo "               macOS: brew install --cask google-chrome. Or name one: OMNI_CHROMIUM=/path/to/chromium" >&2
exit 1
