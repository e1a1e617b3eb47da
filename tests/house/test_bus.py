"""./coco stack with buses: they answer, outlive a kill, and leave nothing."""

import configparser
import json
import os
import subprocess

import pika
import pytest
import requests

from stack import Stack, StackError, wait_for

TELEMETRY = "robot_platform_robot_updates_v1"
SERVERS = "sqs rabbitmq kafka"


@pytest.fixture(scope="module")
def buses(tmp_path_factory):
    """In a folder whose name has a space, without the rest of the stack."""
    folder = tmp_path_factory.mktemp("two buses")
    with Stack(folder=str(folder / "run it"), only=SERVERS,
               bus="kafka,rabbitmq") as one:
        yield one.up()


def channel(url):
    return pika.BlockingConnection(pika.URLParameters(url)).channel()


def taken(url, queue):
    """A message; None without one, or while the queue has no leader yet."""
    try:
        rabbit = channel(url)
        try:
            return rabbit.basic_get(queue, auto_ack=True)[2]
        finally:
            rabbit.connection.close()
    except pika.exceptions.AMQPError:
        return None


def sqs(stack, action, **body):
    answer = requests.post(stack.sqs_url, json.dumps(body), headers={
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonSQS." + action}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def processes(stack):
    """Names of what runs with the stack's folder in its environment, as all
    of RabbitMQ's and its children do: {pid: name}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                if os.fsencode(stack.folder) not in file.read():
                    continue
            with open("/proc/%s/comm" % pid) as file:
                found[int(pid)] = file.read().strip()
        except OSError:
            pass
    return found


def is_registered(stack, queue):
    """Has RabbitMQ written where a quorum queue lives? It does so half a
    second after a declaration; a kill before that takes the queue with it."""
    path = os.path.join(stack.folder, "rabbitmq/mnesia/coco@localhost/quorum/"
                        "coco@localhost/names.dets")
    with open(path, "rb") as file:
        return queue.encode() in file.read()


def test_env_names_the_buses(buses):
    env = buses.env()
    assert env["COCO_AMQP_URL"] == buses.amqp_url
    assert env["COCO_KAFKA_BROKERS"] == buses.kafka_brokers
    assert env["COCO_SQS_URL"] == buses.sqs_url
    assert {name: env["COCO_SQS_%s_QUEUE_URL" % name.upper()]
            for name in ("events", "state", "connectivity")} == \
        buses.queue_urls
    # where clients that go by a queue's URL find it, without a name server
    assert all(url.startswith(buses.sqs_url + "/")
               for url in buses.queue_urls.values())


def test_a_queue_bound_by_hand_gets_what_is_published(buses):
    rabbit = channel(buses.amqp_url)
    rabbit.exchange_declare("House.Test", "fanout", durable=True)
    rabbit.queue_declare("house", durable=True,
                         arguments={"x-queue-type": "quorum"})
    rabbit.queue_bind("house", "House.Test")
    rabbit.confirm_delivery()
    rabbit.basic_publish("House.Test", "", b"kept",
                         pika.BasicProperties(delivery_mode=2), mandatory=True)
    wait_for(lambda: is_registered(buses, "house"), 30, "the registration")

    buses.kill("rabbitmq")
    buses.restart("rabbitmq")
    body = wait_for(lambda: taken(buses.amqp_url, "house"), 60,
                    "the message of before the kill")
    assert body == b"kept"


def test_kcat_lists_the_topics_and_reads_back(buses):
    kcat = ["kcat", "-b", buses.kafka_brokers]
    listed = subprocess.run(kcat + ["-L"], capture_output=True, text=True,
                            timeout=60, check=True).stdout
    for topic in (TELEMETRY, "IoT.Heartbeat", "Robots.StateChange"):
        assert 'topic "%s"' % topic in listed

    subprocess.run(kcat + ["-P", "-t", TELEMETRY, "-K", ":"], text=True,
                   input="cart-7:{}\n", timeout=60, check=True)
    read = subprocess.run(kcat + ["-C", "-e", "-q", "-t", TELEMETRY, "-K", ":"],
                          capture_output=True, text=True, timeout=60,
                          check=True).stdout
    assert read == "cart-7:{}\n"


def test_a_queue_of_sqs_takes_and_gives_and_a_restart_empties_it(buses):
    url = buses.queue_urls["events"]
    sqs(buses, "SendMessage", QueueUrl=url, MessageBody="one")
    got = sqs(buses, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=2)
    assert [m["Body"] for m in got["Messages"]] == ["one"]

    sqs(buses, "SendMessage", QueueUrl=url, MessageBody="two")
    buses.kill("sqs")
    buses.restart("sqs")
    assert buses.queue_urls["events"] == url
    assert not sqs(buses, "ReceiveMessage", QueueUrl=url).get("Messages")


def test_what_runs_cannot_be_told_otherwise(buses):
    kept = buses.environment["COCO_BUS"]
    buses.environment["COCO_BUS"] = "rabbitmq"
    with pytest.raises(StackError, match="COCO_BUS=kafka,rabbitmq"):
        buses.up()
    buses.environment["COCO_BUS"] = kept
    buses.up()


def test_an_unknown_bus_is_refused():
    with Stack(bus="pigeons") as stack, pytest.raises(StackError) as error:
        stack.up()
    assert "rabbitmq, kafka or both" in str(error.value)


def told(stack):
    """What the worker reads: its file, and AWS's part of its environment."""
    conf = configparser.ConfigParser(strict=False, interpolation=None)
    conf.read(os.path.join(stack.folder, "coco-worker.conf"))
    with open("/proc/%d/environ" % stack.pid("worker")) as file:
        environment = dict(pair.split("=", 1)
                           for pair in file.read().split("\0") if pair)
    return {name: dict(conf[name]) for name in ("sqs", "bus", "process")}, \
        (environment["AWS_ACCESS_KEY_ID"],
         environment["AWS_SECRET_ACCESS_KEY"])


def test_the_worker_is_told_and_a_restart_remembers():
    aws = "http://127.0.0.1:9/aws"
    with Stack(only="postgres redis mqtt sqs rabbitmq worker",
               bus="rabbitmq", services="state", aws=aws) as stack:
        stack.up()
        conf, keys = told(stack)
        urls = stack.queue_urls
        assert conf["sqs"] == {"endpoint": aws, **{
            name + "_queue_url": urls[name] for name in urls}}
        assert conf["bus"] == {"engines": "rabbitmq"}
        assert conf["process"] == {"services": "state"}
        assert keys == stack.aws_keys

        Stack(folder=stack.folder, port=stack.port).restart("worker")
        assert told(stack) == (conf, keys)


def test_two_side_by_side_and_down_leaves_no_process(buses):
    with Stack(only="rabbitmq", bus="rabbitmq") as other:
        other.up()
        channel(other.amqp_url).queue_declare("mine", durable=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel(buses.amqp_url).queue_declare("mine", passive=True)

        names = set(processes(other).values())
        assert "beam.smp" in names and "epmd" not in names
        other.down()
        wait_for(lambda: not processes(other), 30, "the end of all processes")
    assert channel(buses.amqp_url).is_open


def test_only_loopback_and_no_port_of_erlang(buses):
    ours = {buses.pid(name) for name in SERVERS.split()}
    rows = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True,
                          check=True).stdout.splitlines()
    listening = [row.split()[3] for row in rows
                 if any("pid=%d," % pid in row for pid in ours)]
    assert sorted(listening) == sorted([
        "127.0.0.1:%d" % buses.sqs_port, "127.0.0.1:%d" % buses.amqp_port,
        buses.kafka_brokers])
