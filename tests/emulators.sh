#!/bin/sh
# Runs the tests that need emulators of AWS beside the process. Needs python3 with venv; makes .venv-aws once.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x .venv-aws/bin/ministack ]; then
    python3 -m venv .venv-aws
    .venv-aws/bin/pip install --quiet --disable-pip-version-check 'ministack==1.5.33' 'aws-sam-translator==1.115.0'
fi
MUSTER_TEST_MINISTACK="$PWD/.venv-aws/bin/ministack"
export MUSTER_TEST_MINISTACK
# once.py asks the emulator with boto3, which ministack brings along only by accident.
.venv-aws/bin/python -c 'import boto3' 2>/dev/null || .venv-aws/bin/pip install --quiet --disable-pip-version-check 'boto3==1.43.106'
.venv-aws/bin/python infra/receiver/test_once.py
# Functions run as processes of this machine.
export LAMBDA_EXECUTOR=local
exec cargo test -p tests --features emulators --test sqs "$@"
