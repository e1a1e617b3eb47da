"""The bus as somebody outside Coco sees it: a queue of one's own, bound to
exchanges by hand, and the topics of Kafka.
"""

import json
import logging
import subprocess
import threading
import uuid
from collections import namedtuple

import pika

logging.getLogger("pika").setLevel(logging.CRITICAL)    # it is told below

# headers are a dict, payload is bytes
Message = namedtuple("Message", "channel key headers payload properties")

AMQP_AWAY = (pika.exceptions.AMQPError, pika.exceptions.ReentrancyError,
             OSError)


def connect(url):
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = 30
    parameters.blocked_connection_timeout = 30
    return pika.BlockingConnection(parameters)


class Bound:
    """A durable queue bound to the exchanges; a thread of its own puts what
    comes into `messages`, in order, and connects again when the broker was
    away. A message may be there twice, as the bus allows."""

    def __init__(self, url, exchanges):
        self.url, self.exchanges = url, exchanges
        self.name = "e2e-%s" % uuid.uuid4()
        self.messages = []
        self.done = threading.Event()
        connection = connect(url)
        channel = connection.channel()
        channel.queue_declare(self.name, durable=True,
                              arguments={"x-queue-type": "quorum"})
        for exchange in exchanges:
            # as the document says; whoever comes first makes it
            channel.exchange_declare(exchange, "fanout", durable=True)
            channel.queue_bind(self.name, exchange)
        connection.close()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.done.is_set():
            try:
                self._consume()
            except AMQP_AWAY:
                self.done.wait(0.1)

    def _consume(self):
        connection = connect(self.url)
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1000)
            for method, properties, body in channel.consume(
                    self.name, inactivity_timeout=0.1):
                if self.done.is_set():
                    return
                if method is None:
                    continue
                headers = properties.headers or {}
                self.messages.append(Message(
                    method.exchange, headers.get("serial"), headers, body,
                    properties))
                channel.basic_ack(method.delivery_tag)
        finally:
            if connection.is_open:
                connection.close()

    def close(self):
        """Ends the thread and deletes the queue; messages stay readable."""
        self.done.set()
        self.thread.join()
        try:
            connection = connect(self.url)
            connection.channel().queue_delete(self.name)
            connection.close()
        except AMQP_AWAY:
            pass                        # its broker is gone, and the queue too


def kcat(brokers, *words):
    done = subprocess.run(["kcat", "-q", "-b", brokers, *words], text=True,
                          capture_output=True, timeout=60)
    if done.returncode != 0:
        raise ConnectionError("kcat: " + done.stderr)
    return done.stdout


def kafka_topics(brokers):
    return {topic["topic"] for topic in json.loads(
        kcat(brokers, "-L", "-J"))["topics"]}


def kafka_read(brokers, topic):
    """Everything the topic holds now, in order for each key."""
    messages = []
    for line in kcat(brokers, "-C", "-t", topic, "-o", "beginning", "-e",
                     "-J").splitlines():
        one = json.loads(line)
        names = one.get("headers") or []
        messages.append(Message(
            topic, one["key"], dict(zip(names[::2], names[1::2])),
            one["payload"].encode(), one))
    return messages
