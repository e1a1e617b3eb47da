"""Reload, stop and single process: no request lost, nothing left behind."""

import http.client
import threading

import redis

from harness import await_for

RELOADS = 10
REQUESTS = 10000        # for the memory


class Load(threading.Thread):
    """GETs until told to stop; failures are collected. A connection that
    nginx closed between two requests is the client's to open again; one that
    breaks before an answer to its first request is a request dropped."""

    def __init__(self, stack, path, keep):
        super().__init__(daemon=True)
        self.stack, self.path, self.keep = stack, path, keep
        self.done, self.failures, self.told = 0, [], threading.Event()
        self.start()

    def run(self):
        connection, served = None, 0
        while not self.told.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self.stack.port, timeout=30)
                served = 0
            try:
                connection.request("GET", self.path,
                                   headers=self.stack.headers)
                reply = connection.getresponse()
                reply.read()
                if reply.status != 200:
                    self.failures.append(reply.status)
                self.done += 1
                served += 1
                again = self.keep and not reply.will_close
            except (OSError, http.client.HTTPException) as e:
                again = False
                if not served:
                    self.failures.append(repr(e))
            if not again:
                connection.close()
                connection = None

    def end(self):
        self.told.set()
        self.join(60)
        assert not self.is_alive()
        return self.failures


def rss(pid):
    """Kilobytes."""
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file
                    if line.startswith("VmRSS:"))


# Of a process: one for commands, and one that listens to replies. One process
# has the feed's, too.
CONNECTIONS = 2
FEED = 1


def clients(stack):
    """Connections of nginx to Redis."""
    with redis.Redis.from_url(stack.redis_url) as server:
        return len(server.client_list()) - 1


def gone(pids):
    def probe():
        for pid in pids:
            try:
                with open("/proc/%d/stat" % pid):
                    return False
            except FileNotFoundError:
                pass
        return True
    return probe


def test_reload_under_load_drops_nothing(backends, nginx, serial):
    name = serial()
    one = nginx()
    await_for("ready", one.ready)
    loads = [Load(backends, path, keep)
             for path in ("/fleet/v1/labor/robots/" + name, "/state/" + name)
             for keep in (True, False)]
    old, last = set(), 0

    for _ in range(RELOADS):
        old |= one.reload()
        await_for("the load goes on",
                  lambda: sum(load.done for load in loads) > last + 50)
        last = sum(load.done for load in loads)

    failures = [failure for load in loads for failure in load.end()]
    assert not failures, failures[:10]
    await_for("old workers exit", gone(old - one.workers()))
    await_for("their connections are closed",
              lambda: clients(backends) == FEED
              + CONNECTIONS * len(one.workers()))
    assert one.quit() < 5


def test_stops_with_idle_connections(backends, nginx):
    one = nginx()
    await_for("ready", one.ready)
    assert one.quit() < 3
    await_for("nothing is left", lambda: clients(backends) == 0)


def test_without_a_master(backends, nginx, serial):
    name = serial()
    one = nginx(globals_="master_process off;")
    await_for("ready", one.ready)
    assert one.get("/fleet/v1/labor/robots/" + name).status_code == 200
    assert one.get("/state/" + name).status_code == 200
    assert one.quit() < 5


def test_memory_is_flat(backends, nginx, serial):
    name = serial()
    one = nginx([(r"worker_processes \w+", "worker_processes 1")])
    await_for("ready", one.ready)
    (worker,) = one.workers()
    paths = ("/fleet/v1/labor/robots/" + name, "/state/" + name,
             "/fleet/v1/labor/robots/nobody")
    connection = http.client.HTTPConnection("127.0.0.1", backends.port)

    def ask(count):
        for i in range(count):
            connection.request("GET", paths[i % len(paths)],
                               headers=backends.headers)
            connection.getresponse().read()
        return rss(worker)

    before = ask(REQUESTS // 10)
    after = ask(REQUESTS)
    connection.close()

    # a leak of 16 bytes for each request would show
    assert after - before < REQUESTS * 16 // 1024, (before, after)
