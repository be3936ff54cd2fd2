#!/bin/sh
# Runs the worked example of evaluations and checks its figures, and that the README shows the table that it prints: see quiz_check.py.
# Needs python3. MUSTER is the binary to check.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
infra/local/examples/quiz.sh --out "$out" >"$out/table"
cat "$out/table"
python3 tests/quiz_check.py "$out"
