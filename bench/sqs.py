"""Heartbeats from a full queue of the SQS emulator to Postgres and Redis, and
what the emulator gives to a client that only receives and deletes."""

import contextlib
import os
import subprocess
import sys
import time

import common
import write

sys.path.insert(0, os.path.join(common.ROOT, "tests", "e2e"))

from queues import Queues  # noqa: E402

COUNT = 20000
ROUNDS = 3
CONNECTIONS = 2         # as the worker's default
WAIT = 1                # s that a receive waits

BODY = ('{"serial":"%s","ts":%d,"state":"PARKED","battery":{"percent":80,'
        '"charging":false,"voltage":24.6},"location":{"latitude":34.02,'
        '"longitude":-118.48,"heading":90,"speed":0,"accuracy":1.5},'
        '"components":{"gps":"OK","modem":"OK","lidar":"OK"},'
        '"lid":{"open":false},"software":"4.2.1"}')


class Worker(write.Worker):
    """Its queue is the emulator's."""

    count = COUNT
    servers = {"postgres": "postgres", "redis": "redis", "emulator": "sqs"}

    def __init__(self):
        self.environment = {"COCO_WORKER_SQS_WAIT": "%ds" % WAIT}
        write.Side.__init__(self, only="postgres redis mqtt sqs worker",
                            environment=self.environment)

    def open(self):
        self.stack.up()
        self.queues = Queues(self.stack.env())
        self.environment.update(zip(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            self.stack.aws_keys))
        super().open()

    def fill(self):
        """The emulator gives messages also to a receive whose client has
        gone: the last worker's have to end first."""
        time.sleep(WAIT + 0.5)
        start = common.now_ms() - COUNT
        last, bodies = {}, []
        for i in range(COUNT):
            serial = "sqs-%04d" % (i % write.ROBOTS)
            last[serial] = start + i
            bodies.append(BODY % (serial, start + i))
        self.queues.send(self.queues.state, *bodies)
        return last

    def ceiling(self):
        """Messages a second that the emulator gives to a client that does
        nothing with them."""
        self.fill()
        began = time.monotonic()
        subprocess.run(
            ["node", "receiver.js"], cwd=write.NODE, check=True, timeout=120,
            env=dict(os.environ, SQS_URL=self.queues.endpoint,
                     QUEUE_URL=self.queues.state, COUNT=str(COUNT),
                     CONNECTIONS=str(CONNECTIONS)))
        return COUNT / (time.monotonic() - began)


def run(table):
    write.npm()
    done, most = [], []
    with contextlib.ExitStack() as cleanup:
        worker = Worker()
        cleanup.callback(worker.close)
        worker.open()
        for _ in range(ROUNDS):
            done.append(worker.run())
            most.append(worker.ceiling())
            rate, cpu = done[-1]
            common.say("  coco-worker %.0f/s   CPU us each: %s   (a client "
                       "that only deletes: %.0f/s)" % (rate, "  ".join(
                           "%s %.1f" % item for item in cpu.items()),
                           most[-1]))

    rate = common.median([rate for rate, _ in done])
    ceiling = common.median(most)
    table.add("heartbeats from a queue of the SQS emulator", rate, "/s")
    table.add("  ratio to a client that only deletes (%.0f/s)" % ceiling,
              rate / ceiling, "x", 0.9)
    for name in done[0][1]:
        table.add("CPU of %s, per heartbeat from SQS" % (
                      "coco-worker" if name == "consumer" else name),
                  common.median([cpu[name] for _, cpu in done]), "us",
                  40 if name == "consumer" else None, least=False)
