"""An hour of 1,000 robots as cities ask for it: the events and the telemetry,
streamed by nginx, by a Fastify handler, and as JSON by Postgres' own COPY."""

import contextlib
import datetime
import json
import os
import re
import subprocess
import time

import psycopg2

import common
import read
import write

ROBOTS = 1000
EVENTS = 20             # of a robot in the hour
HEARTBEATS = 360        # likewise: one in 10 s
TRIPS = 4
ROUNDS = 3
HOUR_MS = 3600000
PROVIDER = "c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41"   # that of conf/coco.conf
MEDIA = "application/vnd.mds+json;version=2.0"

FILL = """
    update coco.mds_progress set since = %(from)s - interval '1 day',
           up_to = %(from)s + interval '61 minutes';
    insert into coco.mds_vehicle (serial, registered_at, memory,
                                  vehicle_state)
    select 'bench-' || lpad(i::text, 4, '0'), %(from)s - interval '1 day',
           '{}', 'available' from generate_series(1, %(robots)s) i;
    insert into coco.mds_trip (trip_id, device_id, delivery_id, start_time,
                               end_time)
    select gen_random_uuid(), v.device_id, gen_random_uuid(),
           %(from)s + i * interval '15 minutes',
           %(from)s + i * interval '15 minutes' + interval '10 minutes'
      from coco.mds_vehicle v, generate_series(0, %(trips)s - 1) i;
    insert into coco.mds_event (device_id, vehicle_state, event_types, ts,
                                publication_time, latitude, longitude,
                                battery_percent, trip_ids)
    select v.device_id, 'on_trip', '{trip_start}', at, at, 34 + random() / 20,
           -118.5 + random() / 20, random() * 100,
           coalesce(coco.mds_trips_at(v.device_id, at), '{}')
      from coco.mds_vehicle v, generate_series(0, %(events)s - 1) i,
           lateral (select %(from)s + (i + random())
                           * interval '1 hour' / %(events)s as at) t;
    select coco.state_history_partition_create((%(from)s
                                                at time zone 'UTC')::date);
    insert into coco.state_history (serial, date, id, received_at, state,
                                    details)
    select v.serial, at, gen_random_uuid(), at, 'ON_TRIP',
           jsonb_build_object(
               'healthy', true,
               'battery', jsonb_build_object('percent', 81, 'voltage', 24.6),
               'location', jsonb_build_object(
                   'latitude', round((34 + random() / 20)::numeric, 6),
                   'longitude', round((-118.5 + random() / 20)::numeric, 6),
                   'heading', 271, 'speed', 1.4, 'accuracy', 0.8),
               'components', '{"camera":"OK","lidar":"OK","motor":"OK"}'::jsonb)
      from coco.mds_vehicle v, generate_series(0, %(heartbeats)s - 1) i,
           lateral (select %(from)s + i * interval '1 hour'
                           / %(heartbeats)s as at) t;
    analyze coco.mds_event;
    analyze coco.mds_vehicle;
    analyze coco.state_history"""

# The same members, written by Postgres; without the trips of telemetry.
COPY = {"events": """
    select json_build_object('provider_id', '{provider}', 'device_id',
        e.device_id, 'event_id', e.event_id, 'vehicle_state', e.vehicle_state,
        'event_types', e.event_types, 'timestamp', coco.to_ms(e.ts),
        'publication_time', coco.to_ms(e.publication_time), 'location',
        json_build_object('lat', e.latitude, 'lng', e.longitude),
        'battery_percent', e.battery_percent, 'trip_ids', e.trip_ids)
      from coco.mds_event e order by e.ts, e.event_id""",
        "telemetry": """
    select json_build_object('provider_id', '{provider}', 'device_id',
        v.device_id, 'telemetry_id', h.id, 'timestamp', coco.to_ms(h.date),
        'trip_ids', null, 'journey_id', null, 'location', json_build_object(
            'lat', h.details #> '{{location,latitude}}',
            'lng', h.details #> '{{location,longitude}}',
            'heading', h.details #> '{{location,heading}}',
            'speed', h.details #> '{{location,speed}}',
            'horizontal_accuracy', h.details #> '{{location,accuracy}}'),
        'battery_percent', h.details #> '{{battery,percent}}')
      from coco.state_history h join coco.mds_vehicle v using (serial)
     order by h.serial, h.date, h.id"""}


class Peak:
    """How much a process' memory grows while something is done."""

    def __init__(self, pid):
        self.pid = pid
        with open("/proc/%d/clear_refs" % pid, "w") as file:
            file.write("5")
        self.before = self.of("VmRSS")

    def of(self, name):
        with open("/proc/%d/status" % self.pid) as file:
            return int(re.search(name + r":\s+(\d+) kB", file.read())[1])

    def mib(self):
        return (self.of("VmHWM") - self.before) / 1024


def child(pid):
    """The worker process of nginx."""
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True,
                          text=True, check=True)
    return int(done.stdout.split()[0])


class Feed:
    """One of the endpoints: name, the parameter of the hour, its rows."""

    def __init__(self, name, path, hour, rows):
        self.name = name
        self.path = "%s=%s" % (path, hour)
        self.rows = rows
        self.done = {}

    def add(self, who, *figures):
        self.done.setdefault(who, []).append(figures)

    def median(self, who, which):
        return common.median([figures[which] for figures in self.done[who]])


def get(stack, port, path, out="/dev/null"):
    """(time to the first byte in ms, MB/s)"""
    done = subprocess.run(
        ["curl", "-sf", "-o", out, "-w",
         "%{time_starttransfer} %{time_total} %{size_download}",
         "-H", "Accept: " + MEDIA, "-H",
         "Authorization: Bearer " + stack.token,
         "http://127.0.0.1:%d%s" % (port, path)],
        capture_output=True, text=True, timeout=120, check=True)
    first, total, size = map(float, done.stdout.split())
    return 1000 * first, size / total / 1e6


def copy(stack, feed):
    """MB/s"""
    began = time.monotonic()
    command = "copy (%s) to stdout" % COPY[feed.name].format(provider=PROVIDER)
    done = subprocess.Popen(["psql", "-qX", stack.postgres, "-c", command],
                            stdout=subprocess.PIPE)
    size = 0
    while part := os.read(done.stdout.fileno(), 1 << 20):
        size += len(part)
    if done.wait() != 0:
        raise RuntimeError("psql ended with %d" % done.returncode)
    return size / (time.monotonic() - began) / 1e6


def same(stack, feed, ports):
    """Both say the same, and all of it."""
    said = []
    for who, port in ports.items():
        out = os.path.join(stack.folder, "answer.json")
        get(stack, port, feed.path, out)
        with open(out) as file:
            said.append(json.load(file))
        if len(said[-1][feed.name]) != feed.rows:
            raise RuntimeError("%s: %d %s, not %d" % (
                who, len(said[-1][feed.name]), feed.name, feed.rows))
    if said[0] != said[1]:
        raise RuntimeError("the peer's %s differ" % feed.name)


def fill(stack, start):
    with contextlib.closing(psycopg2.connect(stack.postgres)) as pg:
        pg.autocommit = True
        pg.cursor().execute(FILL, {
            "from": datetime.datetime.fromtimestamp(start / 1000,
                                                    datetime.timezone.utc),
            "robots": ROBOTS, "events": EVENTS, "trips": TRIPS,
            "heartbeats": HEARTBEATS})


def measure(stack, feed, ports, pids):
    peaks = {who: Peak(pid) for who, pid in pids.items()}
    same(stack, feed, ports)
    for _ in range(ROUNDS):
        for who, port in ports.items():
            feed.add(who, *get(stack, port, feed.path), peaks[who].mib())
        feed.add("copy", copy(stack, feed))
    common.say("  %s: %s  copy %.0f MB/s" % (feed.name, "  ".join(
        "%s %.0f MB/s" % (who, feed.median(who, 1)) for who in ports),
        feed.median("copy", 0)))


def run(table):
    write.npm()
    start = common.now_ms() // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    hour = time.strftime("%Y-%m-%dT%H", time.gmtime(start / 1000))
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis nginx"))
        stack.up()
        fill(stack, start)

        ports = {"nginx": stack.port + 4, "Fastify": stack.port + 5}
        nginx = read.Nginx(stack.folder, "mds.conf",
                           read.ours(stack, ports["nginx"]).replace(
                               "worker_cpu_affinity 01;\n", ""))
        cleanup.callback(nginx.close)
        peer = subprocess.Popen(
            ["node", "mds.js"], cwd=write.NODE, stdin=subprocess.DEVNULL,
            env=dict(os.environ, PG_URL=stack.postgres, TOKEN=stack.token,
                     PORT=str(ports["Fastify"]), PROVIDER=PROVIDER))
        cleanup.callback(common.end, peer)
        for port in ports.values():
            common.wait_for(lambda: read.exists(
                stack, "http://127.0.0.1:%d/healthz" % port), 20, "a server")

        pids = {"nginx": child(nginx.process.pid), "Fastify": peer.pid}
        for feed in (Feed("events", "/mds/events/historical?event_time", hour,
                          ROBOTS * EVENTS),
                     Feed("telemetry", "/mds/telemetry?telemetry_time", hour,
                          ROBOTS * HEARTBEATS)):
            measure(stack, feed, ports, pids)
            report(table, feed)


def report(table, feed):
    first, speed, memory = (feed.median("nginx", i) for i in range(3))
    table.add("an hour's %s, %d of them" % (feed.name, feed.rows), speed,
              "MB/s")
    table.add("  ratio to Fastify (%.0f MB/s)" % feed.median("Fastify", 1),
              speed / feed.median("Fastify", 1), "x")
    table.add("  ratio to psql's \\copy (%.0f MB/s)" % feed.median("copy", 0),
              speed / feed.median("copy", 0), "x")
    table.add("  to the first byte (Fastify: %.1f)"
              % feed.median("Fastify", 0), first, "ms")
    table.add("  memory meanwhile (Fastify: %.1f)"
              % feed.median("Fastify", 2), memory, "MiB")
