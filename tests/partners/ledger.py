"""All that the partners were told, in order, and what they answered."""

import collections
import threading
import time

KEPT = 200_000          # entries; older ones are forgotten, and counted


class Ledger:
    def __init__(self):
        self.more = threading.Condition()
        self.reset()

    def reset(self):
        with self.more:
            self.entries = collections.deque(maxlen=KEPT)
            self.count = 0

    def add(self, **entry):
        """An entry is added when its answer is known, before it leaves."""
        with self.more:
            self.count += 1
            self.entries.append({"n": self.count, **entry})
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
