"""coco.supply_line() and the core's codec: one line, read and written by both,
says what the row says."""

import os
import random
import struct
import subprocess
import uuid

import native
import pytest
from psycopg2.extras import Json

FLAGS = ("undergoingMaintenance", "needsMaintenance", "needsPickup",
         "hasFood", "driveable", "needsMovement")
STATES = ("GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED")
T, B, D, L = 1, 2, 4, 8


@pytest.fixture(scope="module")
def core():
    path = native.build(
        os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "line_driver.c"), "line_driver", ["libcrypto"])

    def read(lines):
        said = subprocess.run([path], input="\n".join(lines) + "\n",
                              text=True, check=True, timeout=60,
                              stdout=subprocess.PIPE).stdout.splitlines()
        assert not [line for line in said if line.startswith("refused")], said
        return list(zip(said[::2], said[1::2]))
    return read


def single(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def e7(degrees):
    """A half is rounded to the even number, as the worker does."""
    return round(degrees * 10000000)


def row(chance, serial):
    """A row, and its fields as the driver prints them."""
    def time():
        return chance.choice([0, 1, 1420070400000, 1795341507123,
                              253402300799999, chance.randrange(2 ** 41)])

    data = {"serial": serial}
    columns = {"telemetry_id": None, "telemetry_ts": None,
               "telemetry_order_ts": None, "business_changed_at": None,
               "lid_at": None, "lid_open": None, "held_until": None,
               "demands": chance.choice([0, 1, 7, 2 ** 31 - 1]),
               "demand_version": chance.choice([0, 1, 2 ** 62])}
    parts, told = D, [0, 0, "0", 0, 0, uuid.UUID(int=0), 0, 0, "",
                      "0,0,0,0,0,0"]

    if chance.random() < 0.8:
        parts |= T
        place = {"latitude": chance.choice([0, -90, 90, 52.123456789012345,
                                            -1e-9, 5e-8, 15e-8, 60.12345675,
                                            chance.uniform(-90, 90)]),
                 "longitude": chance.choice([0, -180, 180, 1e-7,
                                             chance.uniform(-180, 180)])}
        data["location"] = place
        data["battery"] = chance.choice([0, 100, 50, 33.3, 1e-7, 99.999999,
                                         chance.uniform(0, 100)])
        data["healthy"] = chance.random() < 0.5
        columns.update(telemetry_id=uuid.UUID(int=chance.getrandbits(128)),
                       telemetry_ts=time(), telemetry_order_ts=time())
        told[:7] = [e7(place["latitude"]), e7(place["longitude"]),
                    "%.9g" % single(data["battery"]),
                    columns["telemetry_order_ts"], columns["telemetry_ts"],
                    columns["telemetry_id"], int(data["healthy"])]
    if chance.random() < 0.8:
        parts |= B
        flags = [chance.choice([None, False, True]) for _ in FLAGS]
        data.update(zip(FLAGS, flags), operationState=chance.choice(STATES))
        columns["business_changed_at"] = time()
        told[7:] = [columns["business_changed_at"], data["operationState"],
                    ",".join("-1" if flag is None else str(int(flag))
                             for flag in flags)]
    if chance.random() < 0.5:
        parts |= L
        columns.update(lid_at=time(), lid_open=chance.random() < 0.5)
    if chance.random() < 0.5:
        columns["held_until"] = time()

    return data, columns, parts, told


def insert(db, serial, data, columns):
    times = [name for name in columns
             if name.endswith("_at") or name.endswith("_ts")
             or name == "held_until"]
    names = list(columns)
    marks = ["coco.from_ms(%s)" if name in times else "%s" for name in names]
    db.rows("insert into coco.resource (id, data, " + ", ".join(names)
            + ") values (%s, %s, " + ", ".join(marks) + ")", serial,
            Json(data), *columns.values())


def test_both_say_what_the_row_says(db, core):
    chance, rows = random.Random(7), []
    for n in range(500):
        serial = "%s%d" % (chance.choice(["a", "A.", "_-", "x" * 60]), n)
        rows.append((serial,) + row(chance, serial))
        insert(db, *rows[-1][:3])

    lines = [db.line(serial) for serial, *_ in rows]
    for line, (again, fields), (_, _, columns, parts, told) in zip(
            lines, core(lines), rows):
        assert fields.split(" ") == [str(word) for word in [
            parts, *told, columns["demand_version"], columns["demands"],
            columns["held_until"] or 0, columns["lid_at"] or 0,
            int(columns["lid_open"] or False)]], line

        # the battery is the float's shortest text in the core
        ours, theirs = line.split(" "), again.split(" ")
        if parts & T:
            assert single(float(ours[4])) == single(float(theirs[4]))
            theirs[4] = ours[4]
        assert theirs == ours
