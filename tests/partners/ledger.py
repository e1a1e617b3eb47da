"""All that the partners were told, in order, and what they answered."""

import collections
import json
import os
import threading
import time

KEPT = 200_000          # entries; older ones are forgotten, and counted


class Ledger:
    """With a path it is in that file, too, and goes on from there."""

    def __init__(self, path=None):
        self.more = threading.Condition()
        self.file = None
        self.reset()
        if path is not None:
            self.load(path)

    def load(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        # what was cut short by a kill was never answered
        if lines and not lines[-1].endswith(b"\n"):
            os.ftruncate(self.file, sum(map(len, lines[:-1])))
            del lines[-1]
        self.entries.extend(map(json.loads, lines))
        self.count = self.entries[-1]["n"] if self.entries else 0

    def reset(self):
        with self.more:
            self.entries = collections.deque(maxlen=KEPT)
            self.count = 0
            if self.file is not None:
                os.ftruncate(self.file, 0)

    def add(self, **entry):
        """An entry is added when its answer is known, before it leaves."""
        with self.more:
            self.count += 1
            self.entries.append({"n": self.count, **entry})
            if self.file is not None:
                os.write(self.file, json.dumps(self.entries[-1]).encode()
                         + b"\n")
            self.more.notify_all()

    def find(self, partner=None, delivery=None, path=None, after=0, count=0,
             wait=0, limit=10_000):
        """Those that fit, oldest first; waits until there are `count`, for
        `wait` seconds at most."""
        until = time.monotonic() + wait
        with self.more:
            while True:
                found = [e for e in self.entries
                         if e["n"] > after
                         and (partner is None or e["partner"] == partner)
                         and (delivery is None or e["delivery"] == delivery)
                         and (path is None or e["path"].startswith(path))]
                left = until - time.monotonic()
                if len(found) >= count or left <= 0:
                    break
                self.more.wait(left)
            return {"items": found[:limit], "last": self.count,
                    "forgotten": self.count - len(self.entries)}
