#!/bin/sh
# Holds the OpenAPI document to the specification, and every route of the embedded host to the document: no 5xx, no answer
# that is not documented, no authentication that is not asked for. Needs python3 with venv; makes .venv-openapi once.
#
# MUSTER is the binary to check; MUSTER_CHECK_SECONDS is how long each of its two parts takes at most, 60 unless given.
set -eu
cd "$(dirname "$0")/.."
venv=$PWD/.venv-openapi
if [ ! -x "$venv/bin/schemathesis" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'schemathesis==4.32.5' 'openapi-spec-validator==0.9.0'
fi
. tests/muster.sh

data=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" || true; fi
    rm -rf "$data"
}
trap finish EXIT
trap 'exit 130' INT TERM

# It is there before anybody looks for what is written into it.
: >"$data/log"
"$muster" serve --data "$data" --listen 127.0.0.1:0 2>"$data/log" &
server=$!
for _ in $(seq 100); do
    url=$(sed -n 's|.*serving \(http://[0-9.:]*\).*|\1|p' "$data/log")
    if [ -n "$url" ]; then break; fi
    sleep 0.1
done
if [ -z "$url" ]; then
    cat "$data/log" >&2
    exit 1
fi
"$muster" key create --data "$data" --org check --requests-per-minute 0 --in-flight 0 --json >"$data/key"

# What the document says is fetched and checked; then some of each thing is made, so that calls find what they ask for.
"$venv/bin/python" - "$url" "$data" <<'PYTHON'
import json, sys, urllib.request

url, data = sys.argv[1:]
made = json.load(open(f"{data}/key"))

def call(path, body=None):
    body = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {made['key']}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=30) as answer:
        return answer.read()

open(f"{data}/openapi.json", "wb").write(call("/openapi.json"))
agent = json.loads(call("/v1/agents", {"name": "checked", "model": "demo/scripted-l0"}))["id"]
run = json.loads(call(f"/v1/agents/{agent}/runs?wait=20", {"message": "hello"}))["id"]
items = [{"message": "one", "custom_id": "1"}, {"message": "two"}]
batch = json.loads(call(f"/v1/agents/{agent}/batches?wait=20", {"items": items}))["id"]

file = json.loads(call("/v1/files", {"name": "a.txt", "media_type": "text/plain", "data": "aGVsbG8="}))["id"]
case = {"message": "hello", "validations": [{"exact": {"expected": "x"}}]}
test_set = json.loads(call("/v1/test_sets", {"name": "checked", "items": [case]}))["id"]

starts = {"agent_id": agent, "name": "checked", "message": "hello"}
schedule = json.loads(call("/v1/schedules", starts | {"schedule": "rate(1 day)"}))["id"]
trigger = json.loads(call("/v1/triggers", starts | {"source": "token"}))["id"]
webhook = json.loads(call("/v1/webhooks", {"url": "https://hooks.example.com/", "events": ["schedule.failed"]}))["id"]

plain = lambda id: id.rsplit("_", 1)[1]
native = {"path.agent_id": agent, "path.run_id": run, "path.batch_id": batch, "path.version": 1, "path.file_id": file,
          "path.test_set_id": test_set, "path.schedule_id": schedule, "path.trigger_id": trigger, "path.webhook_id": webhook}
cotera = {"path.agent_id": plain(agent), "path.chat_id": plain(run)}
cotool = {"path.agent_id": plain(agent), "path.run_id": plain(run), "query.chatId": plain(run),
          "path.trigger_id": plain(trigger)}
coagent = {"path.agent_id": plain(agent), "path.testset_id": plain(test_set), "path.session_id": plain(run)}
# A body can be both too large and not of its schema; that it is too large is then the right answer.
refusals = "checks.negative_data_rejection.expected-statuses = "
refusals += "[400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, '5xx']\n"
open(f"{data}/any.toml", "w").write(refusals)
with open(f"{data}/known.toml", "w") as config:
    config.write(refusals)
    for tag, ids in (("Native", native), ("Cotera", cotera), ("Cotool", cotool), ("Coagent", coagent)):
        values = ", ".join(f'"{name}" = {json.dumps(id)}' for name, id in ids.items())
        org = f'"header.x-org-id" = "{made["org_id"]}"'
        config.write(f'[[operations]]\ninclude-tag = "{tag}"\nparameters = {{ {values}, {org} }}\n')
open(f"{data}/secret", "w").write(made["key"])
PYTHON
"$venv/bin/openapi-spec-validator" "$data/openapi.json"

# Whether a request that fits the document is accepted is not checked: which models, cursors and moments are, no schema says.
check() {
    timeout "$((each + 30))" "$venv/bin/schemathesis" "$@" --header "Authorization: Bearer $(cat "$data/secret")" --checks all \
        --exclude-checks positive_data_acceptance --workers 1 --warnings off
}
each=${MUSTER_CHECK_SECONDS:-60}
cd "$data"
# First with whatever ids come, then with those of what is there; of the second, nothing takes away what it stands on. A run that ended
# badly is a 500 on Cotool's surface, and a budget of nothing would see to that: budgets are set in the second alone, without those two calls.
check --config-file "$data/any.toml" run "$url/openapi.json" --max-time "$each" --phases coverage,fuzzing --exclude-operation-id put_budgets || failed=1
check --config-file "$data/known.toml" run "$url/openapi.json" --max-time "$each" --phases coverage,fuzzing \
    --exclude-operation-id delete_agent --exclude-operation-id revoke_key \
    --exclude-operation-id delete_file --exclude-operation-id delete_test_set --exclude-operation-id delete_schedule \
    --exclude-operation-id delete_trigger --exclude-operation-id delete_webhook \
    --exclude-operation-id cotool_run_sync --exclude-operation-id cotool_get_run_result || failed=1
kill -0 "$server"
if [ "${failed:-0}" -ne 0 ]; then
    cat "$data/log" >&2
    exit 1
fi
