"""What does a correct answer cost? The worked example of evaluations.

Asks the 40 questions of quiz/questions.json of agents that know different things: `short` a few facts, `handbook` the facts of the quiz and as
many others, `wordy` the same handbook and house rules that nobody asks for. All are on demo/scripted-lookup, which asks no model and answers
with a sentence of the system prompt, or says that there is none. Prints a table, and keeps the page with the scatter plot (report.html), JUnit
XML, CSV and JSON.

The standard library is all that it needs; --real-model needs what tests/smollm2.sh installs.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTED = "demo/scripted-lookup"
REAL = "openai/smollm2-135m"
# What is kept of an evaluation, by the name of its format.
KEPT = {"html": "report.html", "junit": "junit.xml", "csv": "results.csv", "ndjson": "results.ndjson"}


class Api:
    """Calls of a server."""

    def __init__(self, url, key):
        self.url, self.key = url.rstrip("/"), key

    def read(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.code} {error.read().decode()}") from error

    def call(self, path, body=None):
        return json.loads(self.read(path, body))


@contextlib.contextmanager
def server(more):
    """The server that the environment names, or one on a temporary folder, with these variables too."""
    if "MUSTER_URL" in os.environ:
        yield Api(os.environ["MUSTER_URL"], os.environ["MUSTER_KEY"])
        return
    muster = os.environ.get("MUSTER", "muster")
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+") as log:
        command = [muster, "serve", "--data", folder, "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, env={**os.environ, **more}, stderr=log)
        try:
            url = None
            while url is None and process.poll() is None:
                url = re.search(r"serving (http://[0-9.:]+)", pathlib.Path(log.name).read_text())
                time.sleep(0.05)
            if url is None:
                raise SystemExit(pathlib.Path(log.name).read_text())
            command = [muster, "key", "create", "--data", folder, "--org", "quiz", "--json"]
            yield Api(url[1], json.loads(subprocess.check_output(command))["key"])
        finally:
            process.terminate()
            process.wait()


def prompts():
    """The system prompts of the agents, by name."""
    text = lambda name: (HERE / "quiz" / name).read_text().strip()
    handbook = text("handbook.txt")
    return {"short": text("short.txt"), "handbook": handbook, "wordy": f"{handbook}\n\n{text('house_rules.txt')}"}


def configurations(api, models):
    """Each agent on the scripted model; and the handbook's on each of the other models, beside one that knows nothing."""
    def agent(name, prompt):
        body = {"name": name, "model": SCRIPTED, "system_prompt": prompt, "temperature": 0, "max_tokens": 48}
        return api.call("/v1/agents", body)["id"]

    agents = {name: agent(name, prompt) for name, prompt in prompts().items()}
    asked = [{"agent_id": id} for id in agents.values()]
    if models:
        agents["plain"] = agent("plain", "Answer the question briefly.")
    return asked + [{"agent_id": agents[name], "model": model} for model in models for name in ("plain", "handbook")]


def evaluated(api, asked, at_once):
    """The evaluation of these configurations when it has ended."""
    questions = json.loads((HERE / "quiz" / "questions.json").read_text())
    test_set = api.call("/v1/test_sets", questions)["id"]
    body = {"configurations": asked, **({"max_concurrency": at_once} if at_once else {})}
    view = api.call(f"/v1/test_sets/{test_set}/evaluations", body)
    while not view["terminal"]:
        counts = [configuration["counts"] for configuration in view["configurations"]]
        ended = sum(of["done"] + of["error"] + of["interrupted"] for of in counts)
        print(f"{ended} of {view['cases'] * len(counts)} runs have ended", file=sys.stderr)
        time.sleep(1)
        view = api.call(f"/v1/evaluations/{view['id']}")
    return view


def dollars(micro_usd):
    return f"${micro_usd / 1_000_000:.6f}"


def row(of):
    """The cells of a configuration."""
    share, price = of["correctness_interval"], of["price_per_correct_micro_usd"]
    per_correct = f"none: {of['no_price_reason']}"
    if price is not None:
        bounds = of["price_per_correct_interval"]
        per_correct = f"{dollars(price)} ({dollars(bounds['low'])} to {dollars(bounds['high'])})"
    cost = of["cost_micro_usd"]
    return [
        f"{of['agent_name']}, {of['model']}",
        f"{of['correct']} of {of['cases']}",
        f"{of['correctness']:.1%} ({share['low']:.1%} to {share['high']:.1%})",
        "unknown" if cost is None else dollars(cost),
        per_correct,
        f"{of['p50_ms']} ms",
        f"{of['p95_ms']} ms",
        {True: "yes", False: "no", None: "unknown"}[of["unbeaten"]],
    ]


def table(view):
    """The lines of a table of the configurations, as Markdown has them."""
    head = ["configuration", "correct", "correctness (95 %)", "cost", "per correct answer (95 %)", "p50", "p95", "unbeaten"]
    rows = [row({**of, "cases": view["cases"]}) for of in view["configurations"]]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return [line(head), line(["-" * width for width in widths]), *map(line, rows)]


def options():
    parser = argparse.ArgumentParser(prog="quiz.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    also = "evaluate this model too, which the server must be able to call (again for more)"
    priced = "its price, in micro-USD for a million tokens: unless given it is not known, as nobody sells it"
    parser.add_argument("--model", action="append", default=[], help=also)
    parser.add_argument("--real-model", action="store_true", help=f"evaluate SmolLM2-135M too, served on this machine, as {REAL}")
    parser.add_argument("--real-price", metavar="IN,OUT", help=priced)
    parser.add_argument("--out", default="target/quiz", type=pathlib.Path, help="the folder for what is kept (target/quiz)")
    given = parser.parse_args()
    if given.real_price and not given.real_model:
        parser.error("--real-price is of --real-model")
    if ("MUSTER_URL" in os.environ) != ("MUSTER_KEY" in os.environ):
        parser.error("MUSTER_URL and MUSTER_KEY go together")
    if given.real_model and "MUSTER_URL" in os.environ:
        parser.error("--real-model needs a server of its own: unset MUSTER_URL")
    return given


def main():
    given = options()
    more, models, at_once = {}, list(given.model), None
    if given.real_model:
        sys.path.insert(0, str(HERE.parents[2] / "tests"))
        import smollm2

        real = smollm2.serve_model()
        models.append(REAL)
        more = {"OPENAI_BASE_URL": real.listening_address, "OPENAI_API_KEY": "none"}
        if given.real_price:
            tokens_in, tokens_out = map(int, given.real_price.split(","))
            price = {"name": REAL, "aliases": [], "input": tokens_in, "output": tokens_out}
            more["MUSTER_PRICES"] = json.dumps({"models": [price]})
    with server(more) as api:
        asked = configurations(api, models)
        if given.real_model:
            # A configuration gets its part of it: two of them are of the real model, which has PARALLEL places.
            at_once = len(asked) * smollm2.PARALLEL // 2
        view = evaluated(api, asked, at_once)
        print("\n".join(table(view)))
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "evaluation.json").write_text(json.dumps(view, indent=2))
        for kind, name in KEPT.items():
            (given.out / name).write_bytes(api.read(f"/v1/evaluations/{view['id']}/results?format={kind}"))
    print(f"kept in {given.out}: {', '.join(['evaluation.json', *KEPT.values()])}", file=sys.stderr)


if __name__ == "__main__":
    main()
