#!/usr/bin/python3
"""Plays the worker and its robots for the suites of lids: writes the outcomes
of commands to robots whose serial begins with PREFIX, and hints at them. And
keeps doors to the backends, unix sockets in FOLDER, that can be shut.

usage: robots.py PREFIX FOLDER    (ports by the environment, as t/ has them)

What a robot does is the word of its serial after the prefix: opens, jams,
broken (jams without a reason), waits (opens when told to), quiet (opens, and
no hint is given), lost (the time of its command runs out, which is written);
others do nothing. Commands come on stdin, a line each, and are answered by a
line when done:

    open SERIAL          what waits is opened now
    shut|mend NAME       the door "redis" or "postgres": what is connected is
                         cut, and nobody gets in
    lock|unlock          whether commands cannot be written
"""

import contextlib
import os
import selectors
import socket
import sys
import threading
import time

import psycopg2
import psycopg2.extensions
import redis

PREFIX, FOLDER = sys.argv[1:]
PORTS = {"redis": int(os.environ["TEST_NGINX_REDIS_PORT"]),
         "postgres": int(os.environ["TEST_NGINX_POSTGRES_PORT"])}
NAMES = {"redis": "redis.sock", "postgres": ".s.PGSQL.5432"}

FOUND = """select id::text, serial, reply_to, expires_at <= now()
             from coco.robot_command
            where serial like %s and outcome is null order by issued_at"""
DONE = """update coco.robot_command
             set outcome = %s, reason = %s, done_at = now(), acked_at = now(),
                 cycle_id = case when %s = 'OPENED'
                                 then coco.id_derive('cycle' || id) end
           where id = %s::uuid and outcome is null returning reply_to"""


class Door(threading.Thread):
    """A unix socket that leads to a port of this host while it is open."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.path = os.path.join(FOLDER, NAMES[name])
        self.port = PORTS[name]
        self.lock = threading.Lock()
        self.sockets, self.listener = set(), None
        self.mend()

    def mend(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        os.chmod(self.path, 0o777)
        listener.listen(64)
        with self.lock:
            self.listener = listener
        threading.Thread(target=self.serve, args=(listener,),
                         daemon=True).start()

    def shut(self):
        with self.lock:
            sockets = [self.listener, *self.sockets]
            self.sockets.clear()
        os.unlink(self.path)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.port))
                with self.lock:
                    self.sockets |= {near, far}
                for pair in (near, far), (far, near):
                    threading.Thread(target=self.carry, args=pair,
                                     daemon=True).start()

    def carry(self, here, there):
        with contextlib.suppress(OSError):
            while data := here.recv(65536):
                there.sendall(data)
        for one in (here, there):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self.lock:
            self.sockets -= {here, there}


def connect():
    return psycopg2.connect(host="127.0.0.1", port=PORTS["postgres"],
                            user="coco", dbname="coco")


class Robots:
    def __init__(self):
        self.postgres = connect()
        self.postgres.set_isolation_level(
            psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        self.cursor = self.postgres.cursor()
        self.cursor.execute("listen coco_command")
        self.redis = redis.Redis(port=PORTS["redis"])

    def pending(self):
        self.cursor.execute(FOUND, (PREFIX + "%",))
        return self.cursor.fetchall()

    def end(self, command, outcome, reason=None, hint=True):
        self.cursor.execute(DONE, (outcome, reason, outcome, command))
        for (channels,) in self.cursor.fetchall():
            for channel in channels if hint else ():
                self.redis.publish(channel, command)

    def look(self, told=None):
        for command, serial, _, expired in self.pending():
            does = serial[len(PREFIX):].split("-")[0]
            if does == "opens" or does == "waits" and serial == told:
                self.end(command, "OPENED")
            elif does == "quiet":
                self.end(command, "OPENED", hint=False)
            elif does == "jams":
                self.end(command, "FAILED", "latch jammed")
            elif does == "broken":
                self.end(command, "FAILED")
            elif does == "lost" and expired:
                self.end(command, "EXPIRED")


def main():
    robots = Robots()
    doors = {name: Door(name) for name in NAMES}
    selector = selectors.DefaultSelector()
    selector.register(robots.postgres, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)

    while True:
        # what expires is not told of
        ready = [key.fileobj for key, _ in selector.select(0.1)]
        if sys.stdin in ready:
            words = sys.stdin.readline().split()
            if not words:
                return
            if words[0] == "open":
                robots.look(told=words[1])
            elif words[0] == "lock":
                locker = connect()
                locker.cursor().execute(
                    "lock table coco.robot_command in exclusive mode")
            elif words[0] == "unlock":
                locker.close()
            else:
                getattr(doors[words[1]], words[0])()
            print("done", flush=True)
        robots.postgres.poll()
        robots.postgres.notifies.clear()
        robots.look()


main()
