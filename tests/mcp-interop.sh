#!/bin/sh
# Holds tools of type mcp to the servers of MCP's Python SDK, of the protocol of 2026 (2.x) and of 2025 (1.x). Needs python3 with
# venv; makes .venv-mcp-1 and .venv-mcp-2 once. MUSTER is the binary to check.
set -eu
cd "$(dirname "$0")/.."
for sdk in 1:1.30.0 2:2.3.0; do
    venv=$PWD/.venv-mcp-${sdk%%:*}
    if [ ! -x "$venv/bin/uvicorn" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "mcp==${sdk#*:}"
    fi
done
. tests/muster.sh

data=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" || true; fi
    rm -rf "$data"
}
trap finish EXIT
trap 'exit 130' INT TERM

MUSTER_ALLOW_CIDRS=127.0.0.1/32 "$muster" serve --data "$data" --listen 127.0.0.1:0 2>"$data/log" &
server=$!
for _ in $(seq 100); do
    url=$(sed -n 's|.*serving \(http://[0-9.:]*\).*|\1|p' "$data/log")
    if [ -n "$url" ]; then break; fi
    sleep 0.1
done
if [ -z "$url" ]; then
    cat "$data/log" >&2
    exit 1
fi
key=$("$muster" key create --data "$data" --org interop --json | sed -n 's/.*"key":"\([^"]*\)".*/\1/p')
MUSTER_URL=$url MUSTER_KEY=$key SDK_1=$PWD/.venv-mcp-1/bin/python SDK_2=$PWD/.venv-mcp-2/bin/python python3 tests/mcp_interop.py
