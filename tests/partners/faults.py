"""What goes wrong with a partner on demand: outages, lost answers, hangs,
limits. Chance comes from a seed, so that a run can be had again."""

import collections
import random
import threading
import time

from wire import Reply


class Refused(Exception):
    """A setting that cannot be."""


def chance(value):
    return isinstance(value, (int, float)) and 0 <= value <= 1


def positive(value):
    return isinstance(value, (int, float)) and value > 0


def limit(value):
    return value in (None, "real") or (
        isinstance(value, dict) and set(value) == {"requests", "seconds"}
        and all(map(positive, value.values())))


# name: (at first, whether a value can be)
SETTINGS = {
    "fail": (0, chance),                # of calls answered with status ...
    "status": (503, lambda v: isinstance(v, int) and 400 <= v <= 599),
    "retryAfter": (None, lambda v: v is None or isinstance(v, (int, str))),
    "lose": (0, chance),                # done, and never answered
    "hang": (0, lambda v: v == 0 or positive(v)),   # seconds
    "match": (None, lambda v: v is None or isinstance(v, str)),
    "count": (None, lambda v: v is None or isinstance(v, int) and v >= 0),
    "limit": (None, limit),
    "seed": (1, lambda v: isinstance(v, int)),
}


class Faults:
    def __init__(self, real):
        self.real = real                # (requests, seconds) of the real one
        self.lock = threading.Lock()
        self.lifted = threading.Event()
        self.set({})

    def set(self, order):
        """What it does not name is as at first."""
        for name, value in order.items():
            if name not in SETTINGS or isinstance(value, bool) \
                    or not SETTINGS[name][1](value):
                raise Refused("%s cannot be %r" % (name, value))
        with self.lock:
            for name, (first, _) in SETTINGS.items():
                setattr(self, name, order.get(name, first))
            self.random = random.Random(self.seed)
            self.times = collections.deque()
            lifted, self.lifted = self.lifted, threading.Event()
        lifted.set()

    def shown(self):
        return {name: getattr(self, name) for name in SETTINGS}

    def draw(self, request):
        """What becomes of this call: None or one of hang, fail, lose."""
        with self.lock:
            if self.match is not None and self.match not in request.path \
                    and self.match.encode() not in request.data:
                return None
            if self.count == 0:
                return None
            fate = ("hang" if self.hang
                    else "fail" if self.random.random() < self.fail
                    else "lose" if self.random.random() < self.lose else None)
            if fate and self.count is not None:
                self.count -= 1
            return fate

    def endure(self):
        """Hangs until the time is over or the settings are others."""
        self.lifted.wait(self.hang)

    def failed(self):
        headers = {}
        if self.retryAfter is not None:
            headers["Retry-After"] = str(self.retryAfter)
        return Reply(self.status, {"code": "simulated", "kind": "error",
                                   "message": "A fault that was asked for."},
                     headers)

    def seconds_over_limit(self):
        """Counts a call; 0, or how long until one would be let through."""
        with self.lock:
            if self.limit is None:
                return 0
            requests, seconds = self.real if self.limit == "real" else (
                self.limit["requests"], self.limit["seconds"])
            now = time.monotonic()
            while self.times and self.times[0] <= now - seconds:
                self.times.popleft()
            if len(self.times) >= requests:
                return self.times[0] + seconds - now
            self.times.append(now)
            return 0
