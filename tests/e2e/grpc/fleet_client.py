"""The Fleet scopes as gRPC's own client for JavaScript calls them. One process
of client/call.js for as long as the object lives."""

import fcntl
import itertools
import json
import os
import queue
import subprocess
import threading

from stack import ROOT

CLIENT = os.path.join(os.path.dirname(__file__), "client")
PROTO = os.path.join(ROOT, "proto/coco/fleet/v1/fleet.proto")

LABOR = "FleetLaborProviderScopeService"
BEACON = "FleetBeaconScopeService"

(OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED,
 RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
 UNAUTHENTICATED) = (0, 3, 4, 5, 7, 8, 12, 13, 14, 16)


def install():
    """gRPC's own client for JavaScript, as its lock file names it; once for
    all suites that run at the same time."""
    with open(os.path.join(CLIENT, "package-lock.json")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(os.path.join(CLIENT, "node_modules")):
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund",
                            "--silent"], cwd=CLIENT, check=True, timeout=120)


class FleetClient:
    def __init__(self, target, token):
        self.target, self.token = target, token
        self._ids = itertools.count(1)
        self._waiting = {}
        self._process = subprocess.Popen(
            ["node", "call.js", target, PROTO], cwd=CLIENT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            result = json.loads(line)
            self._waiting.pop(result.pop("id")).put(result)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def send(self, service, method, request=None, token=None, **command):
        """A command of client/call.js; returns what waits for its result."""
        number, result = next(self._ids), queue.Queue()
        self._waiting[number] = result
        json.dump(dict(command, id=number, service=service, method=method,
                       request=request or {},
                       token=self.token if token is None else token),
                  self._process.stdin)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return lambda seconds=30: result.get(timeout=seconds)

    def call(self, service, method, request=None, code=OK, **command):
        """Its result, whose status must be this one."""
        result = self.send(service, method, request, **command)()
        assert result["code"] == code, result
        return result

    def many(self, service, method, request=None, **command):
        """{status: calls} of count or seconds, by concurrency."""
        result = self.send(service, method, request, **command)(120)
        details = result["codes"].pop("details", None)
        codes = {int(code): n for code, n in result["codes"].items()}
        return codes, details


def given(row):
    """A REST row as a message shows it: what is null or empty is absent."""
    if isinstance(row, dict):
        row = {name: given(value) for name, value in row.items()}
        return {name: value for name, value in row.items()
                if value is not None and value != []}
    if isinstance(row, list):
        return [given(item) for item in row]
    return row
