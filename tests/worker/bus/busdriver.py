"""The driver of the bus, and what a test asks the brokers behind its back."""

import json
import os
import time

import native
import pika
import psycopg2
from native import BUILD, until

DRIVER = os.path.join(BUILD, "tests", "bus_driver")
PKGS = ["libpq", "libcrypto", "inih", "librabbitmq", "rdkafka"]


def build():
    """The driver."""
    native.build(os.path.join(os.path.dirname(__file__), "driver.c"),
                 "bus_driver", PKGS)


class Brokers:
    QUEUES = ("coco.operations", "coco.fleet", "coco.deliveries",
              "coco.dispatch", "coco.dead")

    def __init__(self, stack):
        self.stack = stack
        self.groups = 0
        self.down = False

    def channel(self):
        return pika.BlockingConnection(
            pika.URLParameters(self.stack.amqp_url)).channel()

    def settle(self):
        """Has the queues declared and known to the disk: RabbitMQ 3.10 closes
        its table of quorum queues on an orderly stop, and one that is killed
        may not find again ("could not be restarted enoent") what was declared
        since. A broker that is busy may be too slow for the first event."""
        driver = Driver(self, "state", {})
        until(lambda: driver.sent("Robots.StateChange", 0, 1) == (1, ""), 60)
        driver.stop()
        self.restart()

    def clean(self):
        """Empties what is there, and deletes no queue: see settle()."""
        self.groups += 1
        if self.down:
            self.restart()
        for queue in self.QUEUES:
            until(lambda: self.empty(queue), 60)
        self.query("truncate coco.outbox")

    def empty(self, queue):
        channel = self.channel()
        try:
            channel.queue_purge(queue)
            return self.stat(channel, queue) == (0, 0)
        except pika.exceptions.ChannelClosedByBroker:
            return True                        # there is none
        finally:
            if channel.connection.is_open:
                channel.connection.close()

    @staticmethod
    def stat(channel, queue):
        """(messages that wait, consumers). A quorum queue that does not
        answer the broker within 250 ms is told of as an empty one."""
        def ask():
            begun = time.monotonic()
            said = channel.queue_declare(queue, passive=True).method
            found = said.message_count, said.consumer_count
            return (any(found) or time.monotonic() - begun < 0.25) and (found,)

        found, = until(ask, 60)
        return found

    def delete_queues(self):
        channel = self.channel()
        for queue in self.QUEUES:
            channel.queue_delete(queue)
        channel.connection.close()

    def kill(self):
        self.down = True
        self.stack.kill("rabbitmq")

    def restart(self):
        self.stack.restart("rabbitmq")
        self.down = False

    def query(self, sql, *args):
        with psycopg2.connect(self.stack.postgres) as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else None

    def put(self, count, robots=5, size=0, first=0):
        """Rows of the outbox, each the event of its number."""
        self.query(
            "insert into coco.outbox (id, name, serial, payload)"
            " select gen_random_uuid(), 'Robots.StateChange', 'r-' || n %% %s,"
            "  jsonb_build_object('data', jsonb_build_object('number', n,"
            "                     'fill', repeat('x', %s)))"
            " from generate_series(%s, %s) n order by n",
            robots, size, first, first + count - 1)

    def cut(self):
        """Ends the worker's statements: those of a killed one go on."""
        self.query("select pg_terminate_backend(pid) from pg_stat_activity"
                   " where application_name = 'coco-worker'")

    def ended(self):
        """Waits until Postgres has no session but this one: what they did is
        counted in its statistics by then."""
        until(lambda: self.query(
            "select count(*) from pg_stat_activity where backend_type ="
            " 'client backend' and pid <> pg_backend_pid()") == [(0,)])

    def unrelayed(self):
        return self.query("select count(*) from coco.outbox"
                          " where relayed_at is null")[0][0]

    def depth(self, queue):
        """What waits in the queue; None: there is no such queue."""
        channel = self.channel()
        try:
            return self.stat(channel, queue)[0]
        except pika.exceptions.ChannelClosedByBroker:
            return None
        finally:
            if channel.connection.is_open:
                channel.connection.close()

    def take(self, queue, count, seconds=20):
        """(properties, envelope) of `count` messages, in their order."""
        channel = self.channel()
        found = []
        for method, properties, body in channel.consume(
                queue, auto_ack=False, inactivity_timeout=seconds):
            assert method is not None, "%d of %d came" % (len(found), count)
            found.append((properties, json.loads(body)))
            if len(found) == count or len(found) % 1000 == 0:
                # a quorum queue gives 2,000 at most ahead of this
                channel.basic_ack(method.delivery_tag, multiple=True)
            if len(found) == count:
                break
        channel.connection.close()
        return found

    def exactly(self, queue, count):
        """The numbers of all that is in the queue: `count` of them."""
        numbers = [e["data"]["number"] for _, e in self.take(queue, count)]
        assert self.depth(queue) == 0
        return numbers


class Driver(native.Program):
    def __init__(self, brokers, services, options):
        environment = dict(
            os.environ,
            COCO_WORKER_PROCESS_SERVICES=services,
            COCO_WORKER_BUS_ENGINES=options.pop("engines", "rabbitmq"),
            COCO_WORKER_RABBITMQ_PORT=str(options.pop(
                "port", brokers.stack.amqp_port)),
            COCO_WORKER_KAFKA_BROKERS=options.pop(
                "brokers", brokers.stack.kafka_brokers),
            COCO_WORKER_KAFKA_GROUP="group-%d" % brokers.groups,
            COCO_WORKER_KAFKA_PROPERTIES="session.timeout.ms=6000,"
            "heartbeat.interval.ms=500",
            COCO_WORKER_POSTGRES_CONNINFO=brokers.stack.postgres)
        super().__init__(DRIVER, environment, options)

    def ask(self, line, answer, seconds=30):
        """The rest of the first line since that starts with `answer`."""
        begin = len(self.lines)
        self.say(line)
        return until(lambda: [found[len(answer):].strip() or True
                              for found in self.lines[begin:]
                              if found.startswith(answer)], seconds)[0]

    def send(self, name, first, count, robots=5):
        self.say("send %s %d %d %d 0" % (name, first, count, robots))

    def sent(self, name, first, count, robots=5):
        """One coco_bus_send(): (how many were confirmed, the error)."""
        said = self.ask("send %s %d %d %d 1" % (name, first, count, robots),
                        "sent")
        number, _, error = said.partition(" ")
        return int(number), error

    def got(self):
        """[(topic, serial, cause ts or None, number)] in their order."""
        found = []
        for line in list(self.lines):
            if line.startswith("got "):
                _, _, _, topic, serial, cause, payload = line.split(" ", 6)
                found.append((topic, serial,
                              None if cause == "-1" else int(cause),
                              json.loads(payload)["data"]["number"]))
        return found

    def numbers(self):
        return [number for _, _, _, number in self.got()]

    def in_flight(self):
        return int(self.ask("status", "status").split()[2])

    def connected(self):
        return self.ask("status", "status").split()[1] == "1"

    def metric(self, name):
        begin = len(self.lines)
        self.say("metrics")
        until(lambda: "." in self.lines[begin:])
        return sum(int(line.split()[-1]) for line in self.lines[begin:]
                   if line.startswith(name + "{"))

    def relayed(self, count):
        """How many the relay has counted, once it has counted so many: it does
        so after the commit that others see."""
        name = "coco_outbox_relayed_total"
        until(lambda: self.metric(name) >= count)
        return self.metric(name)

    def stop(self):
        """Milliseconds that the stop took; all that was logged is here."""
        ms = int(self.ask("stop", "stopped", 60))
        assert self.process.wait(20) == 0, self.errors
        for thread in self.threads:
            thread.join()
        return ms

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self.threads:
            thread.join()
        print("\n".join(self.errors[-20:]))       # shown when a test failed
