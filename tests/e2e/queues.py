"""The stack's queues as a producer sees them: the AWS JSON protocol, plain.
The emulator verifies no signature, so nothing is signed here.
"""

import itertools
import json

import requests

BATCH = 10              # AWS's limit


class Queues:
    """The three queues of a stack, from what `./coco stack env` prints."""

    def __init__(self, env):
        self.endpoint = env["COCO_SQS_URL"]
        self.events, self.state, self.connectivity = (
            env["COCO_SQS_%s_QUEUE_URL" % name]
            for name in ("EVENTS", "STATE", "CONNECTIVITY"))
        self.http = requests.Session()

    def close(self):
        self.http.close()

    def call(self, operation, **body):
        reply = self.http.post(
            self.endpoint, timeout=30, data=json.dumps(body), headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": "AmazonSQS." + operation})
        assert reply.status_code == 200, (operation, reply.text)
        return reply.json() if reply.content else {}

    def send(self, queue, *bodies):
        """Returns the ids that the queue gave. A body is a dict, or text as
        it is."""
        return list(self.send_all(queue, bodies))

    def send_all(self, queue, bodies):
        """The same for an iterator, as the queue takes them."""
        bodies = iter(bodies)
        while batch := list(itertools.islice(bodies, BATCH)):
            reply = self.call("SendMessageBatch", QueueUrl=queue, Entries=[
                {"Id": str(i), "MessageBody": body if isinstance(body, str)
                 else json.dumps(body)} for i, body in enumerate(batch)])
            assert not reply.get("Failed"), reply["Failed"]
            yield from (entry["MessageId"] for entry in reply["Successful"])

    def left(self, queue):
        """Messages that nobody has deleted yet."""
        names = ("ApproximateNumberOfMessages",
                 "ApproximateNumberOfMessagesNotVisible")
        reply = self.call("GetQueueAttributes", QueueUrl=queue,
                          AttributeNames=names)
        return sum(int(reply["Attributes"][name]) for name in names)
