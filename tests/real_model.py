"""What tests/real-model.sh runs: one process with the model server, a tool server, and `muster serve` on a fresh folder beside it.

The model is small and answers as it likes. What is checked is what stands around it: how each run ended, that its tokens are those that
the model server counted, that answers have the shape that was asked for where llama.cpp enforces it, that tools are called and only
with arguments that their schema allows. Temperature 0 and one seed: the same machine says the same again.
"""

import http.server
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import jsonschema

from smollm2 import serve_model

MUSTER = sys.argv[1]
FORMATS = ("openai", "anthropic")
BATCH = 8
TRIES = 4
CITIES = ("Oslo", "Lima", "Rome", "Cairo")
SHAPE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "sunny": {"type": "boolean"}},
    "required": ["city", "sunny"],
    "additionalProperties": False,
}
ARGUMENTS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


class Weather(http.server.BaseHTTPRequestHandler):
    """The tool; writes down what it was asked."""

    asked = []

    def do_GET(self):
        query = urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)
        self.asked.append(dict(query))
        body = b'{"weather": "sunny, 21 degrees"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Muster:
    """The process, and calls of it."""

    def __init__(self, folder, model_url):
        environment = {
            "OPENAI_BASE_URL": model_url,
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": model_url,
            "ANTHROPIC_API_KEY": "none",
            "MUSTER_ALLOW_CIDRS": "127.0.0.1/32",
        }
        self.log = open(f"{folder}/log", "w+")
        command = [MUSTER, "serve", "--data", folder, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, env=environment, stderr=self.log)
        self.url = self._url(f"{folder}/log")
        command = [MUSTER, "key", "create", "--data", folder, "--org", "real", "--json"]
        self.key = json.loads(subprocess.check_output(command, env=environment))["key"]

    def _url(self, log):
        for _ in range(100):
            found = re.search(r"serving (http://[0-9.:]*)", pathlib.Path(log).read_text())
            if found:
                return found[1]
            time.sleep(0.1)
        raise SystemExit(pathlib.Path(log).read_text())

    def open(self, path, body=None, accept="application/json"):
        body = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Accept": accept}
        return urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers), timeout=300)

    def call(self, path, body=None):
        with self.open(path, body) as answer:
            return json.load(answer)

    def agent(self, model, **more):
        body = {"name": "real", "model": model, "temperature": 0, "max_tokens": 48, **more}
        return self.call("/v1/agents", body)["id"]

    def ended(self, path):
        while True:
            found = self.call(path)
            if found["terminal"]:
                return found
            time.sleep(0.2)

    def run(self, agent, message):
        made = self.call(f"/v1/agents/{agent}/runs?wait=25", {"message": message})
        return self.ended(f"/v1/runs/{made['id']}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Table:
    """Rows as they come; what is wrong is in the last column."""

    def __init__(self):
        self.failed, self.tokens_out = False, 0
        print(f"{'what':<34} {'status':<33} {'calls':>5} {'in':>6} {'out':>5} {'ms':>7}  note")

    def row(self, what, runs, began, problems, note=""):
        usage = [run["usage"] for run in runs]
        total = lambda name: sum(of[name] for of in usage)
        self.tokens_out += total("output_tokens")
        statuses = sorted({"/".join(filter(None, (run["status"], run["reason"]))) for run in runs})
        problems = [problem for problem in problems if problem]
        self.failed |= bool(problems)
        took = int((time.monotonic() - began) * 1000)
        words = "WRONG: " + "; ".join(problems) if problems else note
        counts = f"{total('model_calls'):>5} {total('input_tokens'):>6} {total('output_tokens'):>5} {took:>7}"
        print(f"{what:<34} {', '.join(statuses):<33} {counts}  {words}", flush=True)

    def skip(self, what, why):
        print(f"{what:<34} {'not called':<33} {'':>26}  {why}", flush=True)


def answered(run):
    """What is wrong with a run that should have an answer in words."""
    usage = run["usage"]
    if run["status"] != "done" or not run["result"]:
        return f"{run['status']}, {run['error']}"
    if usage["model_calls"] != 1 or not usage["input_tokens"] or not usage["output_tokens"]:
        return f"used {usage}"
    return None


def streamed(muster, agent):
    """The run that a stream told of, the pieces of text in it, and what is wrong."""
    pieces, events, data = [], [], None
    with muster.open(f"/v1/agents/{agent}/runs/stream", {"message": "Name three colours."}, "text/event-stream") as answer:
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(":")
            if name == "event":
                events.append(value.strip())
            elif name == "data":
                data = json.loads(value)
                if events[-1] == "message.delta":
                    pieces.append(json.dumps(data))
    run_id = next(value for value in re.findall(r"run_[0-9a-f-]+", json.dumps(data)))
    run = muster.call(f"/v1/runs/{run_id}")
    wrong = None if events and events[-1] == "run.done" else f"the last event is {events[-1:]}"
    few = None if len(pieces) > 1 else f"{len(pieces)} pieces"
    return run, pieces, [answered(run), wrong, few]


def shaped(run, enforced):
    """What is wrong with a run whose answer should have a shape. Where the server cannot enforce it, it may end for that."""
    if not enforced and run["reason"] == "output_invalid" and run["usage"]["model_calls"] == 2:
        return None
    if run["status"] != "done":
        return f"{run['status']}, {run['error']}"
    try:
        jsonschema.validate(run["output"], SHAPE)
    except jsonschema.ValidationError as error:
        return error.message
    return None


def with_tools(muster, agent):
    """Runs of an agent with a tool: how many calls were made, and what is wrong."""
    before, problems, runs, made = len(Weather.asked), [], [], 0
    for city in CITIES[:TRIES]:
        run = muster.run(agent, f"Call get_weather to find out what the weather is in {city}.")
        runs.append(run)
        messages = muster.call(f"/v1/runs/{run['id']}/messages")["data"]
        made += sum(message["outcome"] == "answered" for message in messages)
        if run["status"] != "done" and run["reason"] not in ("max_steps", "max_tokens"):
            problems.append(f"{run['status']}, {run['reason']}: {run['error']}")
    asked = Weather.asked[before:]
    if len(asked) != made:
        problems.append(f"the tool was called {len(asked)} times, and {made} calls are in the messages")
    for arguments in asked:
        try:
            jsonschema.validate(arguments, ARGUMENTS)
        except jsonschema.ValidationError as error:
            problems.append(error.message)
    return runs, made, problems


def check_words(muster, table, kind, streams):
    """One run, one that is streamed, a batch."""
    agent = muster.agent(f"{kind}/smollm2-135m", system_prompt="You are terse.")
    began = time.monotonic()
    run = muster.run(agent, "What is the capital of France?")
    table.row(f"{kind}: one run", [run], began, [answered(run)], repr(run["result"] or "")[:50])
    if streams:
        began = time.monotonic()
        run, pieces, problems = streamed(muster, agent)
        table.row(f"{kind}: streamed", [run], began, problems, f"{len(pieces)} pieces")
    else:
        table.skip(f"{kind}: streamed", "this build has no /v1/agents/{agent_id}/runs/stream")
    began = time.monotonic()
    items = [{"custom_id": str(n), "message": f"Count from {n} to {n + 3}."} for n in range(BATCH)]
    batch = muster.call(f"/v1/agents/{agent}/batches", {"items": items})
    muster.ended(f"/v1/batches/{batch['id']}")
    results = muster.call(f"/v1/batches/{batch['id']}/results?limit=100")["data"]
    count = None if len(results) == BATCH else f"{len(results)} results"
    table.row(f"{kind}: a batch of {BATCH}", results, began, [count, *map(answered, results)])


def check_shapes(muster, table, kind, tool):
    """An output schema, and a tool for a model that knows no tools by itself."""
    model, enforced = f"{kind}/smollm2-135m", kind == "openai"
    agent = muster.agent(model, output_schema=SHAPE)
    began = time.monotonic()
    run = muster.run(agent, "Name a city, and say whether it is sunny there.")
    note = json.dumps(run["output"]) if run["status"] == "done" else "a format without schemas: repaired once, then refused"
    table.row(f"{kind}: output_schema", [run], began, [shaped(run, enforced)], note)
    agent = muster.agent(model, tool_mode="json", tools=[tool], max_steps=3, max_tokens=96)
    began = time.monotonic()
    runs, made, problems = with_tools(muster, agent)
    # Only where the server holds the model to the form of a call can one be expected of it.
    none = f"the tool was not called in {TRIES} runs" if enforced and made == 0 else None
    table.row(f"{kind}: tool_mode json, {TRIES} runs", runs, began, [*problems, none], f"{made} tool calls")


def counted(model_url):
    """The tokens of answers, as the model server counts them."""
    with urllib.request.urlopen(f"{model_url}/metrics", timeout=30) as answer:
        return int(re.search(r"^llamacpp:tokens_predicted_total (\d+)", answer.read().decode(), re.M)[1])


def main():
    model = serve_model()
    tools = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Weather)
    threading.Thread(target=tools.serve_forever, daemon=True).start()
    tool = {
        "type": "http", "name": "get_weather", "description": "The weather in a city", "method": "GET",
        "url": f"http://127.0.0.1:{tools.server_port}/weather", "parameters": ARGUMENTS,
    }
    with tempfile.TemporaryDirectory() as folder:
        muster = Muster(folder, model.listening_address)
        try:
            paths = muster.call("/openapi.json")["paths"]
            table = Table()
            before = counted(model.listening_address)
            for kind in FORMATS:
                check_words(muster, table, kind, "/v1/agents/{agent_id}/runs/stream" in paths)
                check_shapes(muster, table, kind, tool)
            theirs = counted(model.listening_address) - before
            print(f"tokens of answers: {table.tokens_out} here, {theirs} by the model server")
            if table.failed or table.tokens_out != theirs:
                sys.stderr.write(pathlib.Path(f"{folder}/log").read_text())
                raise SystemExit("a call did not end as it must")
        finally:
            muster.stop()


if __name__ == "__main__":
    main()
