"""Runs the worked examples of infra/local/examples/workflows as they stand: every `sh` block of a page in one shell, against a new server, and
compares what each prints with the `text` block behind it, in which an ellipsis (…) stands for anything.

Usage: workflows.py PAGE.md... with MUSTER, the binary, in the environment. A page that says `<!-- needs: s3 -->` gets an emulator of S3 (MINISTACK, its
executable) with a bucket `customers`, which the server may read.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "\x1e"
LIMIT_S = 120
REGION = "eu-west-1"


class Failed(Exception):
    pass


def blocks(page):
    """The commands of a page, each with what it should print, if the page says so."""
    found = []
    for kind, text in FENCE.findall(page):
        if kind == "sh":
            found.append([text, None])
        elif kind == "text":
            if not found or found[-1][1] is not None:
                raise Failed("a text block without commands before it")
            found[-1][1] = text
    if not found:
        raise Failed("no commands")
    return found


def fits(printed, expected):
    parts = [re.escape(part) for part in expected.strip().split("…")]
    return re.fullmatch(".*".join(parts), printed.strip(), re.DOTALL) is not None


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until_it_answers(url):
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > end:
                raise Failed(f"{url} does not answer") from None
            time.sleep(0.1)


class Process:
    """A process that lasts as long as the block."""

    def __init__(self, command, environment, folder, url):
        self.command, self.environment, self.folder, self.url = command, environment, folder, url

    def __enter__(self):
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(
            self.command, env=self.environment, cwd=self.folder, stdout=self.log, stderr=self.log
        )
        until_it_answers(self.url)
        return self

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.wait(timeout=30)
        if failure[0]:
            self.log.seek(0)
            print(self.log.read()[-5000:], file=sys.stderr)


def run(name, page, environment, folder):
    wanted = blocks(page)
    script = "set -euo pipefail\n" + "".join(f"{text}\nprintf '{MARK}'\n" for text, _ in wanted)
    shell = subprocess.run(
        ["timeout", str(LIMIT_S), "bash", "-c", script], env=environment, cwd=folder, capture_output=True, text=True
    )
    printed = shell.stdout.split(MARK)
    for (text, expected), shown in zip(wanted, printed):
        if expected is not None and not fits(shown, expected):
            raise Failed(f"{name}: after\n{text}\nit printed\n{shown}\nand not\n{expected}\n{shell.stderr}")
    if shell.returncode != 0:
        at = min(len(printed), len(wanted)) - 1
        raise Failed(f"{name}: {shell.returncode} in\n{wanted[at][0]}\n{printed[-1]}\n{shell.stderr}")
    return len(wanted), sum(expected is not None for _, expected in wanted)


@contextlib.contextmanager
def s3(environment, folder):
    """An emulator of S3 with the bucket; what a server and a shell have to know of it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    os.mkdir(folder)
    own = environment | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_REGION": REGION}
    with Process([os.environ["MINISTACK"]], own, folder, url):
        urllib.request.urlopen(urllib.request.Request(f"{url}/customers", method="PUT"), timeout=10)
        yield {
            "S3": url,
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "MUSTER_SOURCE_BUCKETS": "customers",
        }


def serve_and_run(name, page, binary):
    with tempfile.TemporaryDirectory(prefix="muster-workflow-") as folder, contextlib.ExitStack() as stack:
        keep = ("PATH", "HOME", "MODEL", "LANG", "MUSTER_LOG")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        if "<!-- needs: s3 -->" in page:
            environment |= stack.enter_context(s3(environment, os.path.join(folder, "s3")))
        port = free_port()
        environment["URL"] = url = f"http://127.0.0.1:{port}"
        data = os.path.join(folder, "data")
        serve = [binary, "serve", "--data", data, "--listen", f"127.0.0.1:{port}"]
        with Process(serve, environment, folder, f"{url}/health"):
            made = subprocess.check_output([binary, "key", "create", "--data", data, "--org", "examples", "--json"])
            return run(name, page, environment | {"KEY": json.loads(made)["key"]}, folder)


def main(pages):
    binary = os.environ["MUSTER"]
    for path in pages:
        with open(path, encoding="utf-8") as file:
            page = file.read()
        began = time.monotonic()
        commands, compared = serve_and_run(os.path.basename(path), page, binary)
        print(f"{os.path.basename(path)}: {commands} blocks run, {compared} compared, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as failure:
        sys.exit(str(failure))
