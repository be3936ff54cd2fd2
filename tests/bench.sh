#!/usr/bin/env bash
# Builds what ships and prints its figures beside a bare durable server's, as a table. Best on a machine that does nothing else.
# `tests/bench.sh --help` says what can be chosen.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --release -p bench -- "$@"
