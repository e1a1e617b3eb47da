"""Programs in C that a suite is driven by, and waiting for what they do."""

import os
import shlex
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("COCO_BUILD", os.path.join(ROOT, "build"))


def until(what, seconds=60):
    """Waits for what() to be true; fails with its name."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "in vain: %s" % what
        time.sleep(0.02)


def build(source, name, packages, libraries=()):
    """Builds build/tests/NAME from a source and the libraries that make
    builds, with its compiler and flags; returns its path."""
    ours = [BUILD + "/libcoco_worker.a", BUILD + "/libcoco_core.a"]
    path = os.path.join(BUILD, "tests", name)
    subprocess.run(["make", "-s", "-C", ROOT, "BUILD=" + BUILD, *ours],
                   check=True)
    cflags, libs = (shlex.split(subprocess.run(
        ["pkg-config", what, *packages], check=True, text=True,
        stdout=subprocess.PIPE).stdout) for what in ("--cflags", "--libs"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run(
        [os.environ.get("CC", "gcc"), "-std=gnu11", "-O2", "-g", "-Wall",
         "-Wextra", "-Werror", "-Wno-unused-parameter", "-D_GNU_SOURCE",
         "-pthread", *os.environ.get("SAN", "").split(),
         "-I" + ROOT + "/src/core", "-I" + ROOT + "/workers", *cflags,
         "-o", path, source, *ours, *libs, *libraries, "-lm"], check=True)
    return path


class Program:
    """One that runs: it is told lines, and what it says and complains of is
    kept, a line each."""

    def __init__(self, path, environment, options):
        """options: of the worker, by their names without its prefix."""
        environment.update(("COCO_WORKER_" + name.upper(), str(value))
                           for name, value in options.items())
        self.process = subprocess.Popen(
            [path], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines, self.errors = [], []
        self.threads = [
            threading.Thread(target=self.read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines),
                         (self.process.stderr, self.errors))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def logged(self, text):
        return sum(text in line for line in list(self.errors))

    def kill(self):
        self.process.kill()
        self.process.wait()


class Driver(Program):
    """One that is asked and, as its tests end with it, ends well."""

    def ask(self, line, answer, seconds=30):
        """All lines up to the first that starts with `answer`."""
        begin = len(self.lines)
        self.say(line)
        until(lambda: any(said.startswith(answer)
                          for said in self.lines[begin:]), seconds)
        return self.lines[begin:]

    def end(self):
        status = 0
        if self.process.poll() is None:
            self.process.stdin.close()
            status = self.process.wait(20)
        for thread in self.threads:
            thread.join()
        print("\n".join(self.errors[-20:]))       # shown when a test failed
        assert status == 0, self.errors
