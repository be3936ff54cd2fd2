#!/usr/bin/env bash
# The long forms of the proofs, one after the other, each with its table where it has one: `tests/prove.sh`.
# Seeds are printed; MUSTER_TEST_SEED=… repeats the random kills. What fails is named at the end, and the others still run.
set -uo pipefail
cd "$(dirname "$0")/.."
export MUSTER_TEST_LONG=1
failed=()
prove() {
    local what=$1
    shift
    printf '\n== %s\n' "$what"
    "$@" || failed+=("$what")
}
crash() { cargo test -p muster --features fault-points --test crash -- --nocapture --test-threads 1 "$@"; }

if [ -x tests/simulate.sh ]; then prove "the run protocol under a deterministic simulation" tests/simulate.sh; fi
prove "kills, freezes and tools, with processes" crash
prove "URLs that lead inward, through every field that takes one" cargo test -p shared net::attacks -- --nocapture
prove "the border, on every backend" cargo test -p tests --test it -- --nocapture
prove "queue, files and Lambda functions, against an emulator" tests/emulators.sh -- --nocapture
prove "MCP servers of its Python SDK" tests/mcp-interop.sh
prove "the OpenAPI document against the embedded host" tests/openapi-check.sh
prove "the CoAgent client of its vendor" tests/coagent-client.sh
prove "a real model" tests/real-model.sh
if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed: %s\n' "${failed[@]}"
    exit 1
fi
