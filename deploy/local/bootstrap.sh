#!/bin/sh
# Find a Python that is new enough, then let bootstrap.py bring the rest. Usage: bootstrap.sh WHAT ARGUMENT...
# WHAT is `local` (to run the stack) or `dev` (to test as well); the arguments go to the virtual environment's Python.
set -eu
cd "$(dirname "$0")/../.."

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Python 3.11 or newer is missing: installing python3 and python3-venv." >&2
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv >/dev/null
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed, and python3 is $(python3 --version 2>/dev/null || echo missing): sudo apt-get install python3.11 python3.11-venv (or name one with PYTHON=)." >&2
    exit 1
fi
exec "$python" -m deploy.local.bootstrap "$@"
