"""nginx as its master sees it: one, or a single process, that a test starts,
reloads and stops, in a stack's place."""

import os
import re
import signal
import subprocess
import time

import requests

from harness import await_for

NGINX = os.environ.get("COCO_NGINX", "nginx")


class Master:
    """`name` is that of its files, `text` what it serves from (nginx.conf),
    `changes` pairs of a pattern, which is in it once, and a replacement."""

    def __init__(self, stack, name, text, changes=(), globals_=""):
        self.stack, self.http = stack, stack.http
        self.log_path = os.path.join(stack.folder, "log", name + ".log")
        self.conf = os.path.join(stack.folder, name + ".conf")
        self.text = text
        self.change(*changes)
        open(self.log_path, "w").close()
        self.process = subprocess.Popen(
            [NGINX, "-p", os.path.join(stack.folder, "nginx/"), "-c",
             self.conf, "-e", self.log_path, "-g",
             'daemon off; pid "%s"; %s' % (
                 os.path.join(stack.folder, name + ".pid"), globals_)])
        await_for("nginx answers", lambda: requests.get(
            self.http + "/healthz", timeout=5).ok)

    def change(self, *changes):
        """For the next reload."""
        for pattern, value in changes:
            self.text, count = re.subn(pattern, value, self.text)
            assert count == 1, pattern
        with open(self.conf, "w") as file:
            file.write(self.text)

    def workers(self):
        """Pids; of a single process its own."""
        path = "/proc/%d/task/%d/children" % ((self.process.pid,) * 2)
        with open(path) as file:
            return set(map(int, file.read().split())) or {self.process.pid}

    def reload(self):
        """Returns the workers of before; new ones serve already."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        await_for("new workers", lambda: self.workers() - old)
        return old

    def quit(self, seconds=60):
        """Gracefully; returns how long it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGQUIT)
        assert self.process.wait(seconds) == 0
        return time.monotonic() - begun

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
