#!/usr/bin/env bash
# Runs the core under a deterministic simulation and prints what came of it, as a table: R3 to R6 and R8, each guard switched off in
# turn, and 100,000 seeds. `tests/simulate.sh --help` says what can be chosen; `--seed S --trace` shows one seed.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --release -p simulation -- "$@"
