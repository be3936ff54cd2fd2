#!/bin/sh
# Runs the tests that need emulators of AWS beside the process. Needs python3 with venv.
set -eu
cd "$(dirname "$0")/.."
. tests/ministack.sh
export MUSTER_TEST_MINISTACK="$MINISTACK"
.venv-aws/bin/python infra/receiver/test_once.py
# Functions run as processes of this machine.
export LAMBDA_EXECUTOR=local
exec cargo test -p tests --features emulators --test sqs "$@"
