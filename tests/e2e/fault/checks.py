"""Compares what the system holds with what was published. Each check returns
findings, empty when all is well: test_fault_checks.py shows that they can
find.
"""

import time
from collections import Counter, namedtuple

History = namedtuple("History", "lost duplicates foreign wrong_state")

ROWS = """
    select serial, round(extract(epoch from date) * 1000)::bigint, state
      from coco.state_history where serial = any(%s)
    union all
    select serial, round(extract(epoch from date) * 1000)::bigint, state
      from coco.state_history_late where serial = any(%s)"""


def stored(system, serials):
    """How many heartbeats of these robots are in the history."""
    return system.value("select count(*) from (%s) as h" % ROWS,
                        serials, serials)


def await_stored(system, serials, count, patience=90):
    """Waits until so many are in, or nothing has moved for `patience` s."""
    seen, moved = -1, time.monotonic()
    while seen < count and time.monotonic() < moved + patience:
        now = stored(system, serials)
        if now != seen:
            seen, moved = now, time.monotonic()
        time.sleep(0.1)


def history(system, fleet, acknowledged):
    """Every acknowledged heartbeat is there once, with the state that stood,
    and nothing else is."""
    rows = system.sql(ROWS, fleet.serials, fleet.serials)
    sent = fleet.sent()
    times = Counter((serial, ts) for serial, ts, _ in rows)
    return History(
        lost=[key for key in acknowledged if key not in times],
        duplicates=[key for key, n in times.items() if n > 1],
        foreign=[key for key in times if key not in sent],
        wrong_state=[(serial, ts, state, sent[serial, ts])
                     for serial, ts, state in rows
                     if sent.get((serial, ts), state) != state])


def transitions(system, fleet):
    """The outbox tells each robot's changes of state, each once, in order;
    so does the history of its operation state."""
    found = transitions_told(system, fleet)
    kept = {serial: [] for serial in fleet.serials}
    for serial, state in system.sql(
            "select robot_serial, operation_state"
            "  from coco.robot_state_history where robot_serial = any(%s)"
            " order by changed_at", fleet.serials):
        kept[serial].append(state)

    for robot in fleet.robots:
        expected = [to for _, to, _ in robot.changes]
        if kept[robot.serial] != expected:
            found.append(("robot_state_history", robot.serial)
                         + first_difference(expected, kept[robot.serial]))
    return found


def transitions_told(system, fleet):
    """The first half of it."""
    told = {serial: [] for serial in fleet.serials}
    for serial, data, ts in system.sql(
            "select serial, payload->'data', (payload->>'ts')::bigint"
            "  from coco.outbox where name = 'Robots.StateChange'"
            "   and serial = any(%s) order by seq", fleet.serials):
        told[serial].append((data["from"], data["to"], ts))
    return [("outbox", robot.serial) + first_difference(
                robot.changes, told[robot.serial])
            for robot in fleet.robots
            if told[robot.serial] != robot.changes]


def first_difference(expected, got):
    """(index, expected, got) where two lists part."""
    for i in range(max(len(expected), len(got))):
        pair = expected[i:i + 1], got[i:i + 1]
        if pair[0] != pair[1]:
            return (i,) + pair
    return (None, [], [])


def newest(system, fleet):
    """Postgres, Redis and HTTP all hold each robot's newest heartbeat."""
    states = {row[0]: row[1:] for row in system.sql(
        "select s.serial, round(extract(epoch from s.ts) * 1000)::bigint,"
        "       s.state, round(extract(epoch from f.telemetry_ts) * 1000)"
        "       ::bigint, f.battery_percent, f.operational_state,"
        "       o.operation_state"
        "  from coco.robot_state s"
        "  left join coco.fleet_robot f using (serial)"
        "  left join coco.robot_operation o using (serial)"
        " where s.serial = any(%s)", fleet.serials)}
    found = copies(system, fleet)       # first: a read fills what is absent
    for robot in fleet.robots:
        expected = (robot.newest, robot.state, robot.newest, robot.battery,
                    robot.state, robot.state)
        if states.get(robot.serial) != expected:
            found.append(("postgres", robot.serial, expected,
                          states.get(robot.serial)))
        shown = system.get("/robots/" + robot.serial)
        found += difference("http", robot, shown["telemetry"])
    return found


def copies(system, fleet):
    """Redis holds each robot's newest heartbeat."""
    return [finding for robot in fleet.robots for finding in
            difference("redis", robot, system.cached(robot.serial))]


def difference(place, robot, state):
    expected = robot.newest, robot.battery, robot.state
    got = state and (state["ts"], state["battery"]["percent"],
                     state["operationState"])
    if got == expected:
        return []
    return [(place, robot.serial, expected, got)]


def agreement(system, serials):
    """What each service keeps follows from what the others told: the changes
    of state are a chain that ends in the robot's state, operations has each
    in its history, and fleet shows the newest of both."""
    told = {serial: [] for serial in serials}
    for serial, data in system.sql(
            "select serial, payload -> 'data' from coco.outbox"
            " where name = 'Robots.StateChange' and serial = any(%s)"
            " order by seq", serials):
        told[serial].append((data["from"], data["to"]))
    kept = {serial: [] for serial in serials}
    for serial, state in system.sql(
            "select robot_serial, operation_state"
            "  from coco.robot_state_history where robot_serial = any(%s)"
            " order by changed_at", serials):
        kept[serial].append(state)
    rows = system.sql(
        "select s.serial, s.state, o.operation_state, f.operational_state,"
        "       o.state_id = (select cause_id from coco.outbox x"
        "         where x.serial = s.serial and x.name = 'Robots.StateChange'"
        "         order by seq desc limit 1),"
        "       f.telemetry_id = s.id, f.business_changed_at = o.changed_at"
        "  from coco.robot_state s"
        "  left join coco.robot_operation o using (serial)"
        "  left join coco.fleet_robot f using (serial)"
        " where s.serial = any(%s)", serials)

    found = [("robot_state", serial, "absent") for serial in
             set(serials) - {row[0] for row in rows}]
    for serial, state, operation, fleet, *same in rows:
        froms = [change[0] for change in told[serial]]
        tos = [change[1] for change in told[serial]]
        if froms != [None, *tos[:-1]] or tos[-1:] != [state]:
            found.append(("chain", serial, told[serial], state))
        if kept[serial] != tos:
            found.append(("robot_state_history", serial)
                         + first_difference(tos, kept[serial]))
        if (operation, fleet, same) != (state, state, [True] * 3):
            found.append(("records", serial, state, operation, fleet, same))
    return found
