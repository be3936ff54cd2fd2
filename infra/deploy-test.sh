#!/bin/sh
# Builds what is deployed, deploys it to an emulator of AWS on 127.0.0.1 and runs the main job there: see deploy_test.py.
# Needs python3 with venv, and Rust; the binary is the very one that is deployed (opt-level z, fat LTO), for x86_64 unless
# ARCHITECTURE says arm64, which then must be this machine's.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x .venv-sam/bin/sam ]; then
    python3 -m venv .venv-sam
    .venv-sam/bin/pip install --quiet --disable-pip-version-check \
        'aws-sam-cli==1.170.0' 'cargo-lambda==1.9.2' 'ziglang==0.17.1' 'cfn-lint==1.58.0' setuptools
fi
. tests/ministack.sh

export PATH="$PWD/.venv-sam/bin:$PATH" SAM_CLI_TELEMETRY=0
export AWS_DEFAULT_REGION=eu-west-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
cfn-lint template.yaml
sam validate
sam validate --lint
exec .venv-aws/bin/python infra/deploy_test.py "$@"
