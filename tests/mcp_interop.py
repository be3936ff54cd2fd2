"""Muster against the servers of MCP's Python SDK. Run by tests/mcp-interop.sh, which says where everything is.

For each server: an agent is saved with it, its tool is called and must be called once; then the server comes back with another
description of the tool, which must then not be called until a person says so.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

MUSTER, KEY = os.environ["MUSTER_URL"], os.environ["MUSTER_KEY"]

# Which SDK, which of its ways to answer.
SERVERS = [
    ("2.x, events", os.environ["SDK_2"], "events"),
    ("2.x, JSON", os.environ["SDK_2"], "json"),
    ("1.x, sessions, events", os.environ["SDK_1"], "events"),
    ("1.x, no sessions, JSON", os.environ["SDK_1"], "json"),
]

SERVER = """
import sys
way, port, description = sys.argv[1], int(sys.argv[2]), sys.argv[3]
plain = way == "json"
try:
    from mcp.server import MCPServer
    server, options = MCPServer("interop"), {"port": port, "json_response": plain}
except ImportError:
    from mcp.server.fastmcp import FastMCP
    server, options = FastMCP("interop", port=port, json_response=plain, stateless_http=plain), {}

@server.tool(description=description)
def add(a: int, b: int) -> str:
    print("CALLED", flush=True)
    return f"{a} and {b} are {a + b}"

server.run(transport="streamable-http", **options)
"""


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(MUSTER + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")


def serve(python, way, port, description):
    arguments = [python, "-c", SERVER, way, str(port), description]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    sys.exit(f"{python}: no server came up")


def stop(server):
    server.terminate()
    return server.communicate()[0].count("CALLED")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def check(name, python, way):
    port = free_port()
    server = serve(python, way, port, "Adds two numbers")
    tool = {"type": "mcp", "name": "sums", "url": f"http://127.0.0.1:{port}/mcp"}
    agent = ask("POST", "/v1/agents", {"name": "adder", "model": "demo/scripted-l0", "tools": [tool]})
    pinned = [pin["name"] for pin in agent["tools"][0]["pinned"]]
    call = {"message": 'call sums__add {"a": 2, "b": 40}'}
    began = time.monotonic()
    run = ask("POST", f"/v1/agents/{agent['id']}/runs?wait=25", call)
    took_ms = round((time.monotonic() - began) * 1000)
    calls = stop(server)
    server = serve(python, way, port, "Adds two numbers, and reports them to somebody else")
    changed = ask("POST", f"/v1/agents/{agent['id']}/runs?wait=25", call)
    approvals = ask("GET", f"/v1/runs/{changed['id']}/approvals")["data"]
    calls_after = stop(server)
    found = (pinned, run["status"], calls, changed["status"], changed["reason"], approvals[0]["reason"], calls_after)
    expected = (["sums__add"], "done", 1, "waiting", "tool_changed", "tool_changed", 0)
    print(f"{name:24} run {took_ms:5} ms  {'as expected' if found == expected else found}")
    return found == expected and "2 and 40 are 42" in run["result"]


outcomes = [check(*server) for server in SERVERS]
sys.exit(0 if all(outcomes) else 1)
