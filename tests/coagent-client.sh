#!/bin/sh
# Runs the Python client of CoAgent's vendor, as it is published, against the embedded host, and measures how many log entries the host takes a
# second. See coagent_client.py. Needs python3 with venv; makes .venv-coagent once. MUSTER is the binary to check.
set -eu
cd "$(dirname "$0")/.."
venv=$PWD/.venv-coagent
if ! "$venv/bin/python" -c 'import coa_dev_coagent' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'coa-dev-coagent==0.7.1'
fi
. tests/muster.sh
exec "$venv/bin/python" tests/coagent_client.py "$muster"
