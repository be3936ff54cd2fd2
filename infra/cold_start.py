"""How long a function's process takes from exec to its first request for work, and how it answers a streamed call.

Serves Lambda's runtime API on 127.0.0.1 and stands in for DynamoDB and SQS, which the process connects to meanwhile (without
TLS, which a real function adds). Usage: cold_start.py BINARY [--starts 20] [--limit-ms 25]
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVENT = {
    "resource": "/v1/agents",
    "path": "/api/v1/resource/agent/x/chat",
    "httpMethod": "POST",
    "headers": {"content-type": "application/json"},
    "multiValueHeaders": {"content-type": ["application/json"]},
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": None,
    "stageVariables": None,
    "requestContext": {"resourcePath": "/", "httpMethod": "POST", "stage": "prod", "path": "/prod/", "identity": {}},
    "body": "{}",
    "isBase64Encoded": False,
}


class Runtime(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.event, self.answer, self.answered = threading.Event(), None, None, threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """The process was killed while it was answered."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        runtime = self.server
        if not runtime.asked.is_set():
            runtime.asked_at = time.monotonic_ns()
            runtime.asked.set()
        event, runtime.event = runtime.event, None
        if event is None:
            time.sleep(3600)
        body = json.dumps(event).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "00000000-0000-0000-0000-000000000001")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:f")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.body()
        if self.path.startswith("/2018-06-01/"):
            self.server.answer = (self.headers, body)
            self.server.answered.set()
            self.answer(202, b"{}")
        else:
            self.answer(400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}')

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(binary, handler, event=None):
    """Milliseconds from exec to the first request for work, and the answer to the event."""
    runtime = Runtime()
    runtime.event = event
    address = f"127.0.0.1:{runtime.server_address[1]}"
    environment = {
        "_HANDLER": handler,
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": handler,
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_STREAM_NAME": "log",
        "AWS_LAMBDA_LOG_GROUP_NAME": "log",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": f"http://{address}",
        "MUSTER_TABLE_PREFIX": "test-",
        "MUSTER_QUEUE_URL": f"http://{address}/000000000000/queue",
        "MUSTER_POSTS_QUEUE_URL": f"http://{address}/000000000000/posts",
        "MUSTER_FILES_BUCKET": "files",
        "MUSTER_QUEUE_ARN": "arn:aws:sqs:eu-west-1:000000000000:queue",
        "MUSTER_TIMER_GROUP": "test",
        "MUSTER_TIMER_ROLE": "arn:aws:iam::000000000000:role/timers",
        "MUSTER_PEPPER": "a pepper that is long enough for it",
        "MUSTER_RESPONSE_STREAMING": "on",
    }
    began = time.monotonic_ns()
    process = os.posix_spawn(binary, [binary], environment)
    try:
        if not runtime.asked.wait(10) or event is not None and not runtime.answered.wait(10):
            sys.exit(f"{handler} does not ask for work or does not answer")
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        runtime.shutdown()
    return (runtime.asked_at - began) / 1e6, runtime.answer


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("binary")
    arguments.add_argument("--starts", type=int, default=20)
    arguments.add_argument("--limit-ms", type=float, default=25)
    options = arguments.parse_args()
    binary, ok = os.path.abspath(options.binary), True
    for handler in ["get_agent", "cotera_chat", "worker", "fallback"]:
        start(binary, handler)
        took = sorted(start(binary, handler)[0] for _ in range(options.starts))
        median = statistics.median(took)
        ok = ok and median <= options.limit_ms
        print(f"{handler:<12} exec to first request for work: p50 {median:5.1f} ms, least {took[0]:5.1f}, most {took[-1]:5.1f}")
    headers, body = start(binary, "cotera_chat", EVENT)[1]
    head, _, rest = body.partition(b"\0" * 8)
    streamed = headers.get("Lambda-Runtime-Function-Response-Mode") == "streaming" and json.loads(head)["statusCode"] == 401
    print(f"cotera_chat  streamed answer: {'ok' if streamed else 'FAILED'} ({headers.get('Content-Type')}, {len(rest)} bytes after its head)")
    return 0 if ok and streamed else 1


if __name__ == "__main__":
    sys.exit(main())
