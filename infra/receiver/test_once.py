"""Holds once.py to what it says, against an emulator of DynamoDB: run by tests/emulators.sh."""

import contextlib, os, socket, subprocess, sys, tempfile, threading, time, types, unittest

import boto3
from once import Unknown, once


def invocation(key):
    return types.SimpleNamespace(client_context=types.SimpleNamespace(custom={"idempotencyKey": key}))


class Once(unittest.TestCase):
    def setUp(self):
        self.effects = []

    def act(self, event, _):
        self.effects.append(event["room"])
        return {"booked": event["room"], "number": len(self.effects)}

    def test_a_second_invocation_is_given_the_answer_of_the_first(self):
        handler = once(self.act)
        first = handler({"room": 7}, invocation("run_1/2"))
        self.assertEqual(handler({"room": 7}, invocation("run_1/2")), first)
        self.assertEqual(handler({"room": 7}, invocation("run_1/3"))["number"], 2)
        self.assertEqual(self.effects, [7, 7])

    def test_whoever_comes_while_the_first_is_at_work_does_not_act(self):
        begun, go_on, refused = threading.Event(), threading.Event(), []

        def slow(event, context):
            begun.set()
            go_on.wait(30)
            return self.act(event, context)

        first = threading.Thread(target=once(slow), args=({"room": 8}, invocation("run_2/2")))
        first.start()
        self.assertTrue(begun.wait(30))
        for _ in range(5):
            with contextlib.suppress(Unknown):
                once(self.act)({"room": 8}, invocation("run_2/2"))
                refused.append("acted")
        go_on.set()
        first.join()
        self.assertEqual((self.effects, refused), ([8], []))

    def test_one_that_died_is_not_repeated(self):
        def dies(event, context):
            self.act(event, context)
            raise MemoryError

        with self.assertRaises(MemoryError):
            once(dies)({"room": 9}, invocation("run_3/2"))
        with self.assertRaises(Unknown):
            once(self.act)({"room": 9}, invocation("run_3/2"))
        self.assertEqual(self.effects, [9])


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_DEFAULT_REGION="eu-west-1", AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test", ONCE_TABLE="once",
    )
    with tempfile.TemporaryDirectory() as state:
        emulator = subprocess.Popen(
            [os.environ["MUSTER_TEST_MINISTACK"]], cwd=state, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "GATEWAY_PORT": str(port), "MINISTACK_REGION": "eu-west-1", "STATE_DIR": state},
        )
        try:
            for _ in range(80):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.25)
            boto3.client("dynamodb").create_table(
                TableName="once", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "call", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "call", "AttributeType": "S"}],
            )
            outcome = unittest.main(exit=False, verbosity=2).result
        finally:
            emulator.kill()
            emulator.wait()
    sys.exit(not outcome.wasSuccessful())
