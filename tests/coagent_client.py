"""Holds the logs of the CoAgent surface to what the vendor's own client expects: see coagent-client.sh."""

import contextlib, json, re, subprocess, sys, tempfile, threading, time, urllib.request, warnings

warnings.simplefilter("ignore", DeprecationWarning)

from coa_dev_coagent import CoagentClient, CoagentClientError
from coa_dev_coagent.logapi import EventType, LogEntry

# How many entries a session has at most: what can be read of one has a bound.
A_SESSION = 2_000
SECONDS, WRITERS, TOGETHER = 5, 4, 100


@contextlib.contextmanager
def host(muster):
    """The host over a new folder: its address, and a key."""
    with tempfile.TemporaryDirectory() as data, open(f"{data}/log", "w+") as log:
        server = subprocess.Popen([muster, "serve", "--data", data, "--listen", "127.0.0.1:0"], stderr=log)
        try:
            found = None
            for _ in range(100):
                found = re.search(r"serving (http://[0-9.:]+)", open(f"{data}/log").read())
                if found:
                    break
                time.sleep(0.1)
            made = subprocess.check_output([muster, "key", "create", "--data", data, "--org", "check", "--requests-per-minute", "0", "--json"])
            yield found[1], json.loads(made)["key"]
        finally:
            server.terminate()
            server.wait()


def call(url, key, body=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), {"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def conversation(client):
    """Everything that the client can write down, and what it reads afterwards."""
    written = [
        client.log_session_start("s", "hello"),
        client.log_user_input("s", "what is new?", 1, 1),
        client.log_llm_call_new("s", "what is new?", 1, 1, issuer="me", system_prompt="be brief"),
        client.log_llm_response("s", "nothing", 1, 1, input_tokens=7, output_tokens=1, total_tokens=8),
        client.log_error("s", 1, 2, "it broke"),
        client.log_session_end("s", "bye", 1, 3),
        client.store_log(LogEntry("s", 1, 4, EventType.HUMAN_OVERSIGHT, additional_properties={"mine": [1, None]})),
    ]
    assert all(answer.success for answer in written)
    read = client.get_logs("s")
    kinds = [entry["event_type"] for entry in read]
    assert kinds == ["session_start", "user_input", "llm_call", "llm_response", "error", "session_end", "human_oversight"], kinds
    assert read[-1]["mine"] == [1, None] and all(LogEntry.from_dict(entry) for entry in read[:-1])
    older = [
        client.log_run_start("old", "hello"),
        client.log_llm_call("old", "main", "hello", "hi", "greeting"),
        client.log_test_result("old", "a test", True, "hi"),
        client.log_other("old"),
        client.log_run_end("old", "bye", "12"),
    ]
    assert all(answer.success for answer in older)
    kinds = [entry.get("log_type") or entry["event_type"] for entry in client.get_logs("old")]
    assert kinds == ["run_start", "llm_call", "test_result", "other", "run_end"], kinds
    assert client.filter_logs("s", "[?event_type=='error'].error_info.error_message") == ["it broke"]
    assert len(client.filter_logs("old", "log_type_llm_call")) == 1 and client.get_logs("nobody") == []
    assert set(client.get_runs()) == {"s", "old"}


def refused(url):
    with contextlib.suppress(CoagentClientError):
        CoagentClient(url, "nobody", max_retries=0).get_logs("s")
        raise AssertionError("a key that is none was accepted")


def runs(url, key, client):
    """A run of another surface is in the same timeline."""
    agent = call(f"{url}/v1/agents", key, {"name": "a", "model": "demo/scripted-l0"})["id"]
    run = call(f"{url}/v1/agents/{agent}/runs?wait=20", key, {"message": "hello"})["id"]
    told = [entry["event_type"] for entry in client.get_logs(run.removeprefix("run_"))]
    assert told == ["session_start", "user_input", "llm_call", "llm_response", "session_end"], told
    assert run.removeprefix("run_") in client.get_runs()


def rate(url, key):
    """Entries a second that writers, each with sessions of its own, have taken; none is lost."""
    counts, end = [0] * WRITERS, time.monotonic() + SECONDS

    def write(writer):
        while time.monotonic() < end:
            first = counts[writer]
            session = f"load-{writer}-{first // A_SESSION}"
            entries = [LogEntry(session, 1, first + n, EventType.USER_INPUT, prompt="x" * 200).to_dict() for n in range(TOGETHER)]
            call(f"{url}/api/v1/logs", key, entries)
            counts[writer] += TOGETHER

    begun = time.monotonic()
    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    took = time.monotonic() - begun
    summaries = {entry["run_id"]: entry["log_count"] for entry in call(f"{url}/api/v1/runs?summarize=1", key)}
    for writer, count in enumerate(counts):
        for first in range(0, count, A_SESSION):
            written = range(first, min(first + A_SESSION, count))
            session = f"load-{writer}-{first // A_SESSION}"
            assert summaries[session] == len(written)
            entries = call(f"{url}/api/v1/logs/{session}", key)
            assert sorted(entry["turn_number"] for entry in entries) == list(written)
    return sum(counts) / took


with host(sys.argv[1]) as (url, key):
    with CoagentClient(f"{url}/api/v1", key) as client:
        conversation(client)
        refused(f"{url}/api/v1")
        runs(url, key, client)
    print(f"the vendor's client works; {rate(url, key):.0f} entries a second in lists of {TOGETHER}, none lost")
