"""Robots whose edits and holds are remembered with their times: what an answer
may say that was asked for then and came then.
"""

import threading
import time

from harness import now_ms

# An edit's number names the state that it sets; every second one is usable.
STATES = ("PARKED", "OFF_DUTY", "DEPLOYED", "GROUNDED")

PAYLOAD = (b'{"ts":%d,"state":"PARKED","battery":{"percent":80},"location":'
           b'{"latitude":%.4f,"longitude":%.4f,"speed":0.5},'
           b'"components":{"lidar":"OK"}}')


def usable(number):
    return number % 2 == 0


class Story:
    """The values of something that one writer changes. Each is possible from
    the moment that it was begun to be written, and until the next one is
    known to be (time.monotonic())."""

    def __init__(self, value):
        self._values = [(value, 0.0, [0.0])]    # [], or when it was settled

    def begin(self, value):
        """Returns a function that says that it is now settled, or will be
        for all after so many seconds."""
        settled = []
        self._values.append((value, time.monotonic(), settled))
        return lambda after=0: settled.append(time.monotonic() + after)

    def possible(self, asked, answered):
        """The values that somebody may be told."""
        found, values = set(), self._values
        for i in range(len(values) - 1, -1, -1):
            value, begun, settled = values[i]
            if begun <= answered:
                found.add(value)
                if settled and settled[0] < asked:
                    break
        return found


class Robot:
    def __init__(self, serial, latitude, longitude):
        self.serial = serial
        self.latitude, self.longitude = latitude, longitude
        self.edit = Story(0)
        self.held = Story(False)

    def states(self, asked, answered):
        return {STATES[n % 4] for n in self.edit.possible(asked, answered)}


class Site:
    """Robots in a row, the first one next to the place of pickup; nobody else
    is within reach. One holds robots here, at most one at a time."""

    def __init__(self, prefix, number, robots=4):
        self.latitude, self.longitude = 10.0 + number, 20.0
        self.robots = [
            Robot("%s-%d-%d" % (prefix, number, i), self.latitude,
                  self.longitude + i / 1000) for i in range(robots)]
        self._holding = Story(False)
        self._lock = threading.Lock()

    def begin_hold(self):
        """Any robot may be held from now on; returns a function that is told
        which one is, None when none."""
        begun = time.monotonic()
        over = self._holding.begin(True)

        def end(robot):
            if robot is not None:
                robot.held._values.append((True, begun, [time.monotonic()]))
            over()
            self._holding.begin(False)()

        return end

    def expected(self, asked, answered):
        """Serials of which one has to be quoted; None is among them when
        there may have been no robot at all."""
        found = set()
        anyone = True in self._holding.possible(asked, answered)
        for robot in self.robots:
            edits = [usable(n) for n in robot.edit.possible(asked, answered)]
            held = robot.held.possible(asked, answered) | (
                {True} if anyone else set())
            if any(edits) and False in held:
                found.add(robot.serial)
            if all(edits) and held == {False}:
                return found
        return found | {None}


class Beats:
    """Heartbeats of all robots in turn."""

    def __init__(self, robots):
        self.robots, self.count = robots, 0
        self.newest = {}            # serial -> ts that the broker has

    def some(self, count):
        """(key, topic, payload) as Publisher takes them."""
        for _ in range(count):
            robot = self.robots[self.count % len(self.robots)]
            self.count += 1
            ts = max(now_ms(), self.newest.get(robot.serial, 0) + 1)
            self.newest[robot.serial] = ts
            yield ((robot.serial, ts),
                   b"robot/%b/status" % robot.serial.encode(),
                   PAYLOAD % (ts, robot.latitude, robot.longitude))
