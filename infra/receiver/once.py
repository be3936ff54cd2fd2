"""Lets a Lambda function act once for each tool call of Muster, however often it is invoked. Copy this file beside your handler:

    from once import once

    @once
    def handler(event, context):
        return book(event["room"])

The table named by ONCE_TABLE has the string key `call` and expires rows by `expires_at`; the function may PutItem, GetItem and
UpdateItem there. The first invocation with a key acts, and its answer is kept for 15 days, longer than any run; later ones are given that answer.
One that comes while the first is at work, or after it died, fails and does not act: whether it acted, nobody knows.
"""

import functools, json, os, time

import boto3

KEPT_SECONDS = 15 * 24 * 60 * 60


class Unknown(Exception):
    """An earlier invocation with this key began to act and has not answered."""


def once(act):
    @functools.wraps(act)
    def handler(event, context):
        call = {"call": context.client_context.custom["idempotencyKey"]}
        table = boto3.resource("dynamodb").Table(os.environ["ONCE_TABLE"])
        begun = {**call, "expires_at": int(time.time()) + KEPT_SECONDS}
        try:
            # `call` is a reserved word of expressions.
            table.put_item(Item=begun, ConditionExpression="attribute_not_exists(#call)", ExpressionAttributeNames={"#call": "call"})
        except table.meta.client.exceptions.ConditionalCheckFailedException:
            kept = table.get_item(Key=call, ConsistentRead=True).get("Item", {})
            if "answer" not in kept:
                raise Unknown("this call was begun before and has not answered: it may or may not have happened") from None
            return json.loads(kept["answer"])
        answer = act(event, context)
        table.update_item(Key=call, UpdateExpression="SET answer = :answer", ExpressionAttributeValues={":answer": json.dumps(answer)})
        return answer

    return handler
