#!/bin/sh
# Calls a real model through the embedded host: SmolLM2-135M, served by llama.cpp on this machine in OpenAI's and Anthropic's format.
# Prints a table and fails when a call did not end as it must; what the model says is its own affair. See real_model.py.
# Needs python3 with venv and 400 MB. MUSTER is the binary to check.
set -eu
cd "$(dirname "$0")/.."
. tests/smollm2.sh
. tests/muster.sh
exec "$python" tests/real_model.py "$muster"
