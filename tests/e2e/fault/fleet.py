"""A made-up fleet whose every heartbeat is remembered, and what the system
must hold once all of them are in. Deterministic from its seed, but for the
clock.
"""

import random

from harness import now_ms

STATES = ("GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED")

AGE = 1000      # ms; room for several of one robot within a millisecond

PAYLOAD = (
    '{"ts":%d,%s"battery":{"percent":%.1f,"charging":false,"voltage":24.6},'
    '"location":{"latitude":%.6f,"longitude":%.6f,"heading":%d,"speed":1.4,'
    '"accuracy":0.8},"components":{"lidar":"OK","gps":"OK","motor":"%s",'
    '"camera.front":"OK"},"lid":{"open":false},"software":"4.2.1"}')


class Robot:
    """Follows the rules of the contract for one serial, as its heartbeats are
    made: they reach the worker in this order, each at least once."""

    def __init__(self, serial):
        self.serial = serial
        self.state = None           # the last known
        self.first = self.newest = 0            # ts
        self.battery = None         # of the newest
        self.beats = {}             # ts -> state it is to be stored with
        self.changes = []           # (from, to, ts)


class Fleet:
    """Heartbeats of `robots` robots in turn, full speed. Once the first of
    each is in, one in fifty comes late: it is older than what is stored in
    whatever batch it arrives. One in ten does not say its state. Every
    (serial, ts) is distinct, and no ts is ahead of the receiver's clock."""

    def __init__(self, seed, tag, robots=100):
        self.random = random.Random(seed)
        self.robots = [Robot("f-%s-%03d" % (tag, i)) for i in range(robots)]
        self.serials = [robot.serial for robot in self.robots]

    def sent(self):
        """(serial, ts) -> state of everything that was made."""
        return {(robot.serial, ts): state for robot in self.robots
                for ts, state in robot.beats.items()}

    def first(self):
        """One heartbeat of each, to be stored before there are late ones."""
        return self.heartbeats(len(self.robots), lateness=0)

    def heartbeats(self, count, lateness=0.02):
        """Yields ((serial, ts), topic, payload)."""
        draw = self.random.random
        for i in range(count):
            robot = self.robots[i % len(self.robots)]
            late = draw() < lateness
            if late:
                ts = robot.first - 1 - int(draw() * 600000)
                while ts in robot.beats:
                    ts -= 1
            else:
                ts = max(now_ms() - AGE, robot.newest + 1)
            state = self._state(robot, late, draw)
            battery = round(draw() * 100, 1)
            robot.beats[ts] = state or robot.state or "OFF_DUTY"
            if not late:
                self._advance(robot, ts, robot.beats[ts], battery)
            payload = PAYLOAD % (
                ts, '"state":"%s",' % state if state else "", battery,
                37.7 + draw() / 10, -122.4 - draw() / 10, int(draw() * 360),
                "OK" if draw() < 0.99 else "ERROR")
            yield ((robot.serial, ts),
                   b"robot/%b/status" % robot.serial.encode(),
                   payload.encode())

    @staticmethod
    def _state(robot, late, draw):
        if late:
            return STATES[int(draw() * 5)]
        if draw() < 0.1:
            return None
        if robot.state is None or draw() < 0.2:
            return STATES[int(draw() * 5)]
        return robot.state

    @staticmethod
    def _advance(robot, ts, state, battery):
        robot.first = robot.first or ts
        if state != robot.state:
            robot.changes.append((robot.state, state, ts))
        robot.state, robot.newest, robot.battery = state, ts, battery


class Unordered(Fleet):
    """For sources that keep no order: every heartbeat says its state, so that
    what is stored does not hang on which came first."""

    @staticmethod
    def _state(robot, late, draw):
        if robot.state is None or late or draw() < 0.2:
            return STATES[int(draw() * 5)]
        return robot.state
