#!/bin/sh
# What does a correct answer cost? Runs the worked example of evaluations and prints its table: see quiz.py, or --help.
# Starts `muster serve` on a temporary folder, unless MUSTER_URL and MUSTER_KEY name a server that runs. Needs python3, and for --real-model
# also its venv and 400 MB. MUSTER is the binary to use.
set -eu
cd "$(dirname "$0")/../../.."
python=python3
for argument; do
    if [ "$argument" = --real-model ]; then . tests/smollm2.sh; fi
done
if [ -z "${MUSTER_URL:-}" ]; then
    . tests/muster.sh
    export MUSTER="$muster"
fi
exec "$python" infra/local/examples/quiz.py "$@"
