"""What clients of the supply do all the while, in threads: heartbeats, reads,
quotes, edits, holds, calls over gRPC. Each answer is judged when it comes; the
judgements are kept with their times. Nothing here knows which fault there is.
"""

import collections
import http.client
import itertools
import json
import queue
import random
import threading
import time
import uuid
from urllib.parse import urlsplit

import fleet_client
import psycopg2
from publisher import Publisher
from supply_fleet import STATES, Beats

BOUND = 1.0         # seconds until an edit made elsewhere is seen here
HANG = 20.0         # seconds; no answer takes so long

# GOOD: right and whole. PARTIAL: it says so, and what it says is right.
# UNAVAILABLE: 503. LOST: no answer, the connection has ended. HUNG, WRONG:
# there is no excuse.
GOOD, PARTIAL, UNAVAILABLE, LOST, HUNG, WRONG = (
    "good", "partial", "unavailable", "lost", "hung", "wrong")

STATUSES = {fleet_client.OK: GOOD, fleet_client.UNAVAILABLE: UNAVAILABLE,
            fleet_client.DEADLINE_EXCEEDED: HUNG}

Answer = collections.namedtuple(
    "Answer", "kind outcome asked answered hit detail")


class Load:
    """Runs until close(). `answers` grows meanwhile."""

    def __init__(self, env, sites, grpc, seed):
        self.env, self.sites, self.grpc = env, sites, grpc
        self.address = urlsplit(env["COCO_HTTP"])
        self.robots = [r for site in sites for r in site.robots]
        self.by_serial = {robot.serial: robot for robot in self.robots}
        self.beats = Beats(self.robots)
        self.answers = []
        self.errors = []
        self.ended = False
        self.seed = seed
        self.threads = []

    def start(self):
        """The last robot of each site is never edited, none of the last site
        is."""
        first, second, third, fourth, fifth, _ = self.sites
        for work, *arguments in (
                (self._heartbeats,), (self._read_robots,),
                (self._read_labor,), (self._read_supply,), (self._quote,),
                (self._call,),
                (self._edit, first.robots[:-1] + second.robots[:-1]),
                (self._edit, fifth.robots[:-1]),
                (self._edit_elsewhere, third.robots[:-1]),
                (self._hold, first), (self._hold, fourth)):
            dice = random.Random("%s %d" % (self.seed, len(self.threads)))
            thread = threading.Thread(target=self._run,
                                      args=(work, dice, *arguments))
            self.threads.append(thread)
            thread.start()
        return self

    def close(self):
        self.ended = True
        for thread in self.threads:
            thread.join()

    def _run(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as e:              # shown by the tests
            self.errors.append((work.__name__, repr(e)))

    def since(self, moment):
        return [a for a in self.answers if a.asked >= moment]

    # --- asking

    def _http(self, method, path, body=None, key=None):
        """(status, headers, decoded); a connection of its own, so that one
        that nginx ends for good reason is no loss."""
        headers = {"Authorization": "Bearer " + self.env["COCO_TOKEN"],
                   "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        link = http.client.HTTPConnection(self.address.hostname,
                                          self.address.port, timeout=HANG)
        try:
            link.request(method, path, json.dumps(body) if body else None,
                         headers)
            reply = link.getresponse()
            text = reply.read()
            return reply.status, reply.headers, json.loads(text or b"null")
        finally:
            link.close()

    def _ask(self, kind, judge, *request, expected=200, **named):
        """Judges the answer; returns (outcome, decoded). judge(decoded, asked,
        answered) returns what is wrong with it."""
        asked = time.monotonic()
        decoded, hit, detail = None, False, None
        try:
            status, headers, decoded = self._http(*request, **named)
        except TimeoutError:
            outcome = HUNG
        except (OSError, http.client.HTTPException) as e:
            outcome, detail = LOST, repr(e)
        else:
            answered = time.monotonic()
            hit = headers.get("X-Coco-Cache") == "HIT"
            if status == expected:
                detail = judge(decoded, asked, answered)
                outcome = WRONG if detail else PARTIAL if isinstance(
                    decoded, dict) and decoded.get("partial") else GOOD
            else:
                outcome = UNAVAILABLE if status == 503 else WRONG
                detail = (status, decoded)
        self._note(kind, outcome, asked, hit, detail and (request, detail))
        return outcome, decoded

    def _note(self, kind, outcome, asked, hit, detail):
        self.answers.append(Answer(kind, outcome, asked, time.monotonic(),
                                   hit, detail))

    def _pace(self, seconds):
        """Over the time that an answer took, too: no load is a queue."""
        time.sleep(seconds)
        return not self.ended

    # --- robots

    def _heartbeats(self, dice):
        publisher = Publisher(int(self.env["COCO_MQTT_PORT"]), "supply-load")
        try:
            while self._pace(0.05):
                publisher.publish(self.beats.some(15))
        finally:
            publisher.close()

    # --- readers

    def _read_robots(self, dice):
        while self._pace(0.01):
            serial = dice.choice(self.robots).serial
            for _ in range(2):
                self._ask("robot", self._judge_robot, "GET",
                          "/robots/" + serial)

    def _judge_robot(self, told, asked, answered):
        robot = self.by_serial[told["serial"]]
        business = told["business"]
        if business is None:
            return None if told["partial"] else "no business state"
        return self._judge_edit(robot, told["operationState"],
                                business["deployed"], asked, answered)

    @staticmethod
    def _judge_edit(robot, state, deployed, asked, answered):
        number = int(deployed["id"]) if deployed else 0
        possible = robot.edit.possible(asked, answered)
        if number not in possible or state != STATES[number % 4]:
            return "edit %d, %s: not of %s" % (number, state, possible)
        return None

    def _read_labor(self, dice):
        robots = self._edited_here()
        while self._pace(0.03):
            self._labor(dice.choice(robots))

    def _labor(self, robot):
        self._ask("labor", lambda told, *when: self._judge_state(
            robot, told["operationState"], *when),
            "GET", "/fleet/v1/labor/robots/" + robot.serial)

    def _edited_here(self):
        """The labor row is Redis' copy, which an edit elsewhere reaches by
        the bus alone."""
        return [r for site in self.sites if site is not self.sites[2]
                for r in site.robots]

    @staticmethod
    def _judge_state(robot, state, asked, answered):
        possible = robot.states(asked, answered)
        return None if state in possible else "%s: not of %s" % (state,
                                                                 possible)

    def _read_supply(self, dice):
        while self._pace(0.1):
            self._ask("supply", self._judge_supply, "GET",
                      "/supply?limit=100")

    def _judge_supply(self, told, asked, answered):
        if told.get("partial"):
            return None
        if len(told["items"]) != len(self.robots):
            return "%d robots" % len(told["items"])
        return next(filter(None, (self._judge_edit(
            self.by_serial[item["serial"]], item["operationState"],
            item["deployed"], asked, answered) for item in told["items"])),
            None)

    def _call(self, dice):
        robots = self._edited_here()
        while self._pace(0.03):
            robot, asked, detail = dice.choice(robots), time.monotonic(), None
            send = self.grpc.send(
                fleet_client.LABOR, "Get", {"serial": robot.serial},
                deadline=int(HANG * 1000))
            try:
                result = send(HANG + 5)
            except queue.Empty:
                result = {"code": fleet_client.DEADLINE_EXCEEDED}
            outcome = STATUSES.get(result["code"], WRONG)
            if outcome == GOOD:
                detail = self._judge_state(
                    robot, result["answer"]["operationState"], asked,
                    time.monotonic())
                outcome = WRONG if detail else GOOD
            self._note("grpc", outcome, asked, False,
                       detail or outcome != GOOD and result)

    # --- quotes

    def _body(self, site, **members):
        place = {"latitude": site.latitude, "longitude": site.longitude}
        return dict(members, pickup=place, dropoff=place)

    def _quote(self, dice):
        while self._pace(0.01):
            site = dice.choice(self.sites)
            self._ask("quote", lambda told, *when: self._judge_quote(
                site, told, *when), "POST", "/quote", self._body(site))

    @staticmethod
    def _judge_quote(site, told, asked, answered):
        expected = site.expected(asked, answered)
        if told["serial"] in expected or told.get("partial"):
            return None
        return "%s: not of %s; %s" % (told["serial"], expected,
                                      told["rejected"])

    def _hold(self, dice, site):
        """Of what became of a hold nobody is sure until it is answered: it is
        asked for under one key until then."""
        while self._pace(0.1):
            key, begun = str(uuid.uuid4()), time.monotonic()
            end = site.begin_hold()
            done, told = self._insist(
                "hold", lambda told, asked, answered: self._judge_quote(
                    site, told, begun, answered),
                "POST", "/quote", self._body(site, hold=True), key=key)
            if not done:
                return
            robot = self.by_serial.get(told["serial"])
            end(robot)
            if robot is None:
                continue
            self._pace(0.1)
            settle = robot.held.begin(False)
            done, _ = self._insist("release", lambda *_: None, "DELETE",
                                   "/quote/" + told["quoteId"], key=key,
                                   expected=204)
            if not done:
                return
            settle()

    def _insist(self, *request, **named):
        """Until it is answered: returns (True, decoded); (False, None) when it
        never will be."""
        while True:
            outcome, told = self._ask(*request, **named)
            if outcome in (GOOD, PARTIAL):
                return True, told
            if outcome == WRONG or not self._pace(0.05):
                return False, None

    # --- edits

    def _edit(self, dice, robots):
        for number in itertools.count(1):
            for robot in robots:
                if not self._pace(0.05):
                    return
                settle = robot.edit.begin(number)
                done, _ = self._insist(
                    "edit", lambda told, *_: None
                    if told["operationState"] == STATES[number % 4]
                    else "another state", "PATCH", "/robots/" + robot.serial,
                    {"operationState": STATES[number % 4],
                     "deployed": self._deployed(number)},
                    key=str(uuid.uuid4()))
                if not done:
                    return
                settle()
                self._ask("robot", self._judge_robot, "GET",
                          "/robots/" + robot.serial)
                self._labor(robot)

    @staticmethod
    def _deployed(number):
        return {"type": "POD", "id": str(number), "latitude": 1.0,
                "longitude": 2.0}

    def _edit_elsewhere(self, dice, robots):
        """As the nginx of another host does."""
        link = None
        for number in itertools.count(1):
            for robot in robots:
                if not self._pace(0.2):
                    return
                settle = robot.edit.begin(number)
                while True:
                    try:
                        link = link or self._connect()
                        self._set(link, robot, number)
                        settle(BOUND)
                        break
                    except psycopg2.Error:
                        link = None
                        if not self._pace(0.1):
                            return

    def _connect(self):
        link = psycopg2.connect(self.env["COCO_PG_URL"], connect_timeout=5)
        link.autocommit = True
        return link

    def _set(self, link, robot, number):
        with link.cursor() as cursor:
            cursor.execute("""
                select coco.robot_operation_set(o, jsonb_populate_record(o,
                           jsonb_build_object(
                               'operation_state', %s, 'deployed', %s::jsonb,
                               'changed_at', date_trunc(
                                   'milliseconds', clock_timestamp()))))
                  from coco.robot_operation o where serial = %s for update
            """, (STATES[number % 4], json.dumps(self._deployed(number)),
                  robot.serial))
