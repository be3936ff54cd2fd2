#!/bin/sh
# Runs the worked examples of infra/local/examples/workflows as they stand in their pages: see workflows.py. Needs python3 with venv, curl and openssl;
# installs jq (as root, from Debian) and the emulator of S3. MUSTER is the binary to check. Arguments are pages; all unless given.
set -eu
cd "$(dirname "$0")/.."
command -v jq >/dev/null || { apt-get update -qq && apt-get install -qq -y jq >/dev/null; }
. tests/ministack.sh
. tests/muster.sh
export MUSTER="$muster"
pages=infra/local/examples/workflows
if [ $# -eq 0 ]; then set -- "$pages/nightly-research.md" "$pages/github-triage.md" "$pages/enrich-csv.md" "$pages/two-agents.md"; fi
exec python3 tests/workflows.py "$@"
