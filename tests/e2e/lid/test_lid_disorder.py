"""Events that come late, twice and in any order, by two ways at once; and
lids that answer while telemetry waits."""

import random
import time

import psycopg2
import pytest
from harness import await_for, heartbeat, now_ms
from lid_field import CLOSE, COMPLETE, LOADED, OPEN, PIN

FLOWS = ("QR", "MAGIC_LID", "PIN", "PINLESS")


class Day:
    """Robots with a delivery each, one for every way to load, and what they
    have to tell. They open at once, but tell of it only in tells(): until
    then their events have no network."""

    def __init__(self, field, robot):
        self.field = field
        self.robots, self.deliveries, self.told = [], [], []
        self.answers = []
        for flow in FLOWS:
            one = robot(answer=self.opens)
            self.robots.append(one)
            self.deliveries.append(field.delivery(
                one, flow, **({} if flow == "PINLESS" else {"pin": PIN})))
            self.told.append([])
        for number, flow in enumerate(FLOWS):
            self.passes(number, flow)

    def opens(self, one, command):
        number = self.robots.index(one)
        self.told[number] += [
            one.event("COMMAND_ACK", commandId=command["id"]),
            one.event("LID_OPENED", commandId=command["id"],
                      trigger="COMMAND")]

    def passes(self, number, flow):
        """A cycle that loads, then one that an operator opens by hand."""
        one, told = self.robots[number], self.told[number]
        if flow == "MAGIC_LID":
            told.append(one.event("PIN_ENTRY_LID_OPEN", lid_opened=True))
        elif flow in ("QR", "PINLESS"):
            self.asked(number, flow)
        else:
            one.report("PIN_ENTRY_LID_OPEN", lid_opened=False, pin=PIN)
            one.await_command()
        told.append(one.event("PIN_ENTRY_LID_CLOSE",
                              trigger="PIN_ENTRY_CONFIRM"))
        self.asked(number, "OPERATOR")
        told.append(one.event("LID_CLOSED", trigger="OTHER"))

    def asked(self, number, source):
        """A request whose answer waits for the network."""
        one = self.robots[number]
        count = len(one.asked())
        body = {"source": source}
        if source != "OPERATOR":
            body["referenceId"] = self.deliveries[number].id
        self.answers.append(self.field.later(
            "POST", "/state/%s/lid/open" % one.serial, json=body))
        one.await_command(count + 1)

    def tells(self, order):
        """order is None, as it was, or a Random: late, twice, mixed, and by
        MQTT and SQS as it comes."""
        for one, told in zip(self.robots, self.told):
            events = list(told)
            if order is not None:
                events = events * 2 + order.sample(events, 3)
                order.shuffle(events)
            for event in events:
                if order is not None and order.random() < 0.4:
                    one.queued(event)
                else:
                    one.send(event)

    def records(self):
        """What is the same however it was told, with times from the first
        event of the robot."""
        records = []
        for one, told, delivery in zip(self.robots, self.told,
                                       self.deliveries):
            lid = self.field.lid(one)
            records.append({
                "lid": (lid["state"], lid["source"], lid["trigger"],
                        lid["referenceId"] == delivery.id, lid["reason"],
                        lid["openedAt"] in [e["ts"] for e in told],
                        lid["closedAt"] == told[-1]["ts"]),
                "history": sorted(self.field.types(one)),
                "cycles": self.field.sql(
                    "select state, source, reference_id = %s, reason,"
                    " opened_at is null, closed_at is null"
                    "  from coco.lid_cycle where serial = %s"
                    " order by order_at", delivery.id, one.serial),
                "published": sorted(self.field.published(one)),
                "anomalies": self.field.anomalies(one),
                "delivery": delivery.statuses(),
                "commands": [outcome for _, outcome in
                             self.field.commands(one)]})
        return records

    def await_told(self):
        for one, told, delivery in zip(self.robots, self.told,
                                       self.deliveries):
            await_for("all events of " + one.serial, lambda: {
                (event["type"], event["ts"]) for event in told} <= {
                    (event["type"], event["ts"])
                    for event in self.field.events(one)})
            await_for("both closes of " + one.serial, lambda: self.field
                      .published(one).count(COMPLETE) == 2)
            delivery.await_loaded()
        self.field.await_queued()
        for one in self.robots:
            self.field.settle(one)
        assert all(answer.result()["opened"] for answer in self.answers)


@pytest.fixture(scope="module")
def ordered():
    """The records of the day that was told as it was, by the first test."""
    return []


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_events_late_and_twice(field, robot, ordered, seed):
    """Told in any order, the day leaves the records of the ordered one."""
    day = Day(field, robot)
    day.tells(None if seed is None else random.Random(seed))
    day.await_told()
    records = day.records()
    for one, told, record in zip(day.robots, day.told, records):
        print("\nGET /state/%s/lid/history, of seed %s:" % (one.serial, seed))
        for event in field.events(one):
            print("  ", event["ts"], event["type"], event["source"] or "",
                  event["trigger"] or "", event["referenceId"] or "")

    if seed is None:
        ordered += records
        for record in records:
            assert record["published"] == sorted(2 * [OPEN, CLOSE, COMPLETE])
            assert record["anomalies"] == []
            assert record["lid"] == ("LID_CYCLE_COMPLETE", "OPERATOR",
                                     "OTHER", False, None, True, True)
            assert [cycle[1] for cycle in record["cycles"]][1:] == ["OPERATOR"]
            assert record["delivery"] == ["Created", "Assigned",
                                          "EnrouteToPickup", "AtPickup",
                                          LOADED]
        assert [r["cycles"][0][1] for r in records] == list(FLOWS)
    else:
        assert records == ordered


BACKLOG = 40000


def test_lid_answers_while_telemetry_is_backed_up(field, robot):
    """Heartbeats wait in the journal, because Postgres lets their history not
    be written; then they are written, as fast as can be. A lid does not wait
    in either."""
    one, noise = robot(), robot()
    delivery = field.delivery(one, "QR")
    begun = now_ms() - BACKLOG
    beats = ((noise.serial, heartbeat(begun + i, battery=i % 100))
             for i in range(BACKLOG))
    holder = psycopg2.connect(field.pg_url)
    took = []

    def opens_and_closes(opened_by):
        at = time.monotonic()
        opened_by()
        took.append(time.monotonic() - at)
        one.report("LID_CLOSED")
        field.settle(one)

    try:
        with holder.cursor() as cursor:
            cursor.execute("lock table coco.state_history in exclusive mode")
        field.publish(*beats)
        waiting = await_for("a backlog", lambda: field.metric(
            "coco_journal_bytes") > 100 * BACKLOG)
        opens_and_closes(lambda: field.open_for_load(delivery))
        delivery.await_loaded()
        opens_and_closes(lambda: field.open_lid(one))
        assert field.metric("coco_journal_bytes") >= waiting
    finally:
        holder.close()

    while field.metric("coco_journal_bytes") > 0:
        opens_and_closes(lambda: field.open_lid(one))
    print("\nopened in %s ms, %d heartbeats waiting" % (
        ", ".join("%.0f" % (1000 * each) for each in took), BACKLOG))
    assert len(took) > 2, "the backlog was gone before a lid was asked for"
    assert max(took) < 3
    await_for("every heartbeat in the history", lambda: field.value(
        "select count(*) from coco.state_history where serial = %s",
        noise.serial) == BACKLOG, 180)
