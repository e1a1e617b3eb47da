"""A city that asks, and a fleet that was."""

import calendar
import http.client
import json
import os
import re
import socket
import time

import jsonschema
import psycopg2
import requests

from harness import await_for
from master import Master

ROOT = os.path.join(os.path.dirname(__file__), "../../..")
SCHEMAS = os.path.join(ROOT, "tests/data/mds")
ACCEPT = "application/vnd.mds+json;version=2.0"
HOUR = 3600 * 1000


def schemas():
    """{name: schema} of the files of tests/data/mds."""
    found = {}
    for name in os.listdir(SCHEMAS):
        if name.endswith(".schema.json"):
            with open(os.path.join(SCHEMAS, name)) as file:
                found[name[:-len(".schema.json")]] = json.load(file)
    return found


def validate(name, document):
    """Raises unless the document is one of the schema's."""
    known = schemas()
    resolver = jsonschema.RefResolver.from_schema(
        known[name], store={one["$id"]: one for one in known.values()})
    jsonschema.Draft202012Validator(known[name],
                                    resolver=resolver).validate(document)


def hour_of(ms):
    return time.strftime("%Y-%m-%dT%H", time.gmtime(ms / 1000))


class City:
    """nginx, started, and tables of MDS that are empty before and after. `ten`
    is ten o'clock of yesterday, in ms; everything up to now was told."""

    def __init__(self, stack):
        self.stack = stack
        self.sql = psycopg2.connect(stack.postgres)
        self.sql.autocommit = True
        now = time.gmtime(time.time() - 86400)
        self.ten = calendar.timegm((*now[:3], 10, 0, 0)) * 1000
        self.run("select coco.state_history_partition_create("
                 "(coco.from_ms(%s) at time zone 'UTC')::date)", self.ten)
        self.clean()
        with open(os.path.join(stack.folder, "coco.conf")) as file:
            self.nginx = Master(stack, "mds", file.read(), (
                ("worker_processes auto", "worker_processes 1"),))
        self.headers = {**stack.headers, "Accept": ACCEPT}

    def run(self, query, *arguments):
        with self.sql.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall() if cursor.description else []

    def clean(self):
        for table in ("event", "trip", "vehicle", "fact"):
            self.run("delete from coco.mds_" + table)
        self.run("delete from coco.state_history")
        self.run("delete from coco.robot_state")
        self.run("update coco.mds_progress set since = now() -"
                 " interval '30 days', up_to = now()")

    def close(self):
        self.nginx.close()
        self.clean()
        self.sql.close()
        with open(self.nginx.log_path, errors="replace") as file:
            bad = re.findall(r".*(?:\[alert\]|\[emerg\]|on signal).*",
                             file.read())
        assert not bad, bad

    def get(self, path, status=200, **params):
        reply = requests.get(self.nginx.http + path, params=params,
                             headers=self.headers, timeout=30)
        assert reply.status_code == status, reply.text
        assert reply.headers["Content-Type"] == ACCEPT
        assert reply.headers["Vary"] == "Accept"
        return reply.json()

    def vehicles(self, count):
        """That many, each with a newest event and a newest heartbeat."""
        self.run(
            "with v as (insert into coco.mds_vehicle (serial, registered_at,"
            " memory, vehicle_state, event_id, event_at) select 'm-' ||"
            " lpad(n::text, 5, '0'), now(), '{}', 'available',"
            " gen_random_uuid(), now() - interval '1 minute'"
            " from generate_series(1, %s) n returning *)"
            ", e as (insert into coco.mds_event (event_id, device_id,"
            " vehicle_state, event_types, ts, publication_time, latitude,"
            " longitude, battery_percent) select event_id, device_id,"
            " vehicle_state, '{service_start}', event_at, now(), 1.25, -2.5,"
            " 80 from v)"
            " insert into coco.robot_state select serial, gen_random_uuid(),"
            " 'PARKED', now(), now(), now(), '{\"battery\": {\"percent\":"
            " 79.6}, \"location\": {\"latitude\": 1.25, \"longitude\": -2.5,"
            " \"speed\": 0.5}}' from v", count)

    def events(self, count, before=0):
        """Of the hour at ten, or so many hours before, of the vehicles that
        there are, in turns."""
        self.run(
            "with v as (select device_id, row_number() over (order by serial)"
            " - 1 as n, count(*) over () as many from coco.mds_vehicle)"
            " insert into coco.mds_event (device_id, vehicle_state,"
            " event_types, ts, publication_time, latitude, longitude,"
            " battery_percent, trip_ids) select v.device_id, 'on_trip',"
            " '{trip_start}', coco.from_ms(%s + i::bigint * 3599999 / %s),"
            " now(), 3, 4, 50, array[gen_random_uuid()]"
            " from generate_series(0, %s) i join v on v.n = i %% v.many", self.ten - before * HOUR, count,
            count - 1)

    def beats(self, seconds):
        """One a second of each vehicle, from ten o'clock on."""
        self.run(
            "insert into coco.state_history select v.serial, coco.from_ms(%s +"
            " i * 1000), gen_random_uuid(), now(), 'PARKED', '{\"healthy\":"
            " true, \"battery\": {\"percent\": 81.5, \"charging\": false},"
            " \"location\": {\"latitude\": 37.771234, \"longitude\":"
            " -122.412345, \"heading\": 12.5, \"speed\": 1.25, \"accuracy\":"
            " 2}, \"components\": {\"motor\": \"OK\"}}'"
            " from coco.mds_vehicle v, generate_series(0, %s) i",
            self.ten, seconds - 1)

    def trips(self, each=1):
        """Of each vehicle, for nine minutes from ten o'clock on."""
        self.run(
            "insert into coco.mds_trip select gen_random_uuid(), device_id,"
            " gen_random_uuid(), coco.from_ms(%s - 60000), coco.from_ms(%s),"
            " 1, 2, coco.from_ms(%s + 540000), 3, 4, 250.6"
            " from coco.mds_vehicle, generate_series(1, %s)",
            self.ten, self.ten, self.ten, each)

    def ask(self, path, version="1.1", receive=16384):
        """Sends a request, and reads nothing yet: the answer's socket, whose
        buffer is small."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        s.settimeout(30)
        s.connect(("127.0.0.1", self.stack.port))
        s.sendall(("GET %s HTTP/%s\r\nHost: city\r\nConnection: close\r\n%s"
                   "\r\n" % (path, version, "".join(
                       "%s: %s\r\n" % one for one in self.headers.items()))
                   ).encode())
        return s

    def events_path(self):
        return "/mds/events/historical?event_time=" + hour_of(self.ten)

    def counts(self, column, tables):
        """{table: number} of Postgres' statistics, in which this connection's
        statements are, and those of nginx once its worker has left."""
        self.run("select pg_stat_force_next_flush()")
        return dict(self.run(
            "select relname, %s from pg_stat_user_tables where relname ~ %%s"
            % column, tables))

    def worker_leave(self):
        """Another one takes its place, its connections end: what they did
        is in the statistics, all of it."""
        before = self.sessions()
        old = self.nginx.reload()
        await_for("the old worker has left",
                  lambda: not old & self.nginx.workers())
        await_for("its sessions have ended",
                  lambda: not before & self.sessions())

    def sessions(self):
        return {pid for pid, in self.run(
            "select pid from pg_stat_activity"
            " where application_name = 'coco-nginx'")}

    def memory(self):
        """KiB that the worker process has in memory, at most so far."""
        pid, = self.nginx.workers()
        with open("/proc/%d/status" % pid) as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1))


def read_answer(s):
    """The body of an answer whose head was not read yet; raises
    http.client.IncompleteRead or ConnectionError when it was cut."""
    with s:
        answer = http.client.HTTPResponse(s)
        answer.begin()
        assert answer.status == 200
        return answer.read()
