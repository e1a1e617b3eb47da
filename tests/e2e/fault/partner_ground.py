"""A stack whose partners are two simulators of their own, each of which can be
killed and stopped alone; what fails of them by chance; and robots that drive
meanwhile. Must never judge.
"""

import json
import os
import signal
import subprocess
import threading

import processes
import requests
from ground import Ground
from harness import await_for, heartbeat, new_serial, now_ms
from partner_field import QUICK, ROOT, Field
from publisher import Publisher

TIMEOUT = 2.0           # seconds, of a call (QUICK)
RATE = 200              # calls a second to each partner
PARTNERS = ("uber", "doordash")
SERVERS = ("postgres", "redis", "worker", "nginx")

# A position is told and overwritten: here is what each was told with.
BOOK = """
create schema judge;
create table judge.position (id uuid primary key, external_id text,
                             status text);
create function judge.note() returns trigger language plpgsql as $$
begin
    insert into judge.position select new.id, d.external_id, new.status
      from coco.delivery d where d.id = new.delivery_id;
    return null;
end $$;
create trigger judge_note after insert or update of id on coco.partner_push
   for each row when (new.kind = 'LOCATION') execute function judge.note();
"""

# Each for half of the calls, but for hangs, which are all of some.
WEATHER = (
    {"fail": 0.5, "status": 503},
    {"fail": 0.5, "status": 500},
    {"fail": 0.5, "status": 401},
    {"fail": 0.5, "status": 429, "retryAfter": 1},
    {"lose": 0.5},
    {"fail": 0.3, "lose": 0.3, "status": 502},
    {"fail": 0.5, "limit": {"requests": 40, "seconds": 1}},
    {"hang": TIMEOUT + 0.5, "count": 6},
    {"fail": 0.5, "status": 504, "retryAfter": 1},
)


class Player:
    """A process that plays a partner; its ledger outlives it."""

    def __init__(self, name, folder, port, env):
        self.url = "http://127.0.0.1:%d" % port
        self.log = os.path.join(folder, "log", name + ".log")
        self.argv = [
            "/usr/bin/python3", os.path.join(ROOT, "tests/partners/server.py"),
            "--port", str(port),
            "--ledger", os.path.join(folder, name + ".ledger"),
            "--uber-client", env["COCO_UBER_CLIENT_ID"],
            "--uber-secret", os.path.join(folder, "uber.secret"),
            "--doordash-developer", env["COCO_DOORDASH_DEVELOPER_ID"],
            "--doordash-key", env["COCO_DOORDASH_KEY_ID"],
            "--doordash-secret", os.path.join(folder, "doordash.secret")]
        self.process = None

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        await_for("a partner", lambda: requests.get(self.url + "/control",
                                                    timeout=2).ok)

    def kill(self):
        """SIGKILL; does nothing when it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class PartnerField(Field):
    """Its publisher may be used by several threads."""

    def __init__(self, stack, partners):
        super().__init__(stack, partners)
        self.publishing = threading.Lock()

    def publish(self, *messages, kind="status"):
        with self.publishing:
            super().publish(*messages, kind=kind)


class PartnerGround(Ground):
    def __init__(self):
        super().__init__("postgres redis mqtt worker nginx", **QUICK)
        self.urls = {name: "http://127.0.0.1:%d" % (self.stack.port + 8 + i)
                     for i, name in enumerate(PARTNERS)}
        for name, url in self.urls.items():
            self.stack.environment["COCO_%s_URL" % name.upper()] = url
            self.stack.environment["COCO_WORKER_%s_RATE" % name.upper()] = \
                str(RATE)
        self.players = {}

    def up(self):
        self.stack.up()
        env = self.stack.env()
        for i, name in enumerate(PARTNERS):
            self.players[name] = Player(name, self.stack.folder,
                                        self.stack.port + 8 + i, env)
            self.players[name].start()
        self.system = PartnerField(self.stack, list(self.urls.values()))
        self.system.sql(BOOK)
        return self

    def close(self):
        for player in self.players.values():
            player.kill()
        super().close()

    def mend(self):
        """All runs and nothing fails, whatever the test before did."""
        super().mend()
        for player in self.players.values():
            player.go_on()
        self.system.reset()

    def kill(self, *names):
        """Also a partner, or nginx's processes without their master."""
        for name in set(names) & set(self.players):
            self.players[name].restart()
        if "nginx's processes" in names:
            processes.kill(self.stack, processes.workers(self.stack))
        super().kill(*(name for name in names if name in SERVERS))

    def memory(self):
        """KiB of the worker that are in use."""
        with open("/proc/%d/status" % self.stack.pid("worker")) as file:
            line, = (line for line in file if line.startswith("VmRSS:"))
        return int(line.split()[1])


class Weather(threading.Thread):
    """What fails of each partner, another thing every now and then."""

    def __init__(self, ground, dice):
        super().__init__()
        self.ground, self.dice = ground, dice
        self.over = threading.Event()

    def run(self):
        while True:
            for name, url in self.ground.urls.items():
                order = dict(self.dice.choice(WEATHER), partner=name,
                             seed=self.dice.randrange(1000))
                self.say(url, order)
                if self.dice.random() < 0.3:
                    self.say(url, {"expireTokens": True})
            if self.over.wait(self.dice.uniform(0.3, 0.9)):
                return

    @staticmethod
    def say(url, order):
        try:
            requests.post(url + "/control", json=order, timeout=5)
        except requests.RequestException:
            pass                    # it was killed

    def clear(self):
        self.over.set()
        self.join()
        self.ground.system.control()


class Robots(threading.Thread):
    """They drive, far from where deliveries go to, until they are parked."""

    def __init__(self, field, count):
        super().__init__()
        self.serials = [new_serial("fp") for _ in range(count)]
        self.publisher = Publisher(field.mqtt_port, "judge-" + self.serials[0])
        self.parked, self.turn = threading.Event(), 0
        self.beat()
        for serial in self.serials:
            await_for(serial, lambda: field.history(serial))

    def beat(self):
        now, self.turn = now_ms(), self.turn + 1
        self.publisher.publish(
            (None, b"robot/%b/status" % serial.encode(), self.heard(now))
            for serial in self.serials)

    def heard(self, now):
        beat = heartbeat(now, "PARKED", latitude=37.7 + self.turn * 1e-5)
        return json.dumps(beat).encode()

    def run(self):
        while not self.parked.wait(0.4):
            self.beat()
        self.publisher.close()

    def park(self):
        self.parked.set()
        self.join()
