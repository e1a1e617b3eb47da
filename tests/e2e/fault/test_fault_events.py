"""Robot events never queue behind telemetry."""

import time

import checks
from fleet import Fleet
from harness import await_for, new_serial, now_ms
from publisher import Publisher

BACKLOG = 50000
AT_ONCE = 5.0           # seconds from publish to stored, on any machine


def test_event_overtakes_a_deep_backlog(field, capsys):
    system = field.system
    fleet = Fleet(1, "deep%x" % now_ms())
    publisher = Publisher(field.stack.mqtt_port, "deep")
    field.worker.stop()
    publisher.publish(fleet.heartbeats(BACKLOG, lateness=0))
    publisher.close()
    field.worker.start()
    field.worker.await_connected(lanes=("events",))
    await_for("telemetry flows",
              lambda: checks.stored(system, fleet.serials), 60)

    serial = new_serial("event")
    began = time.monotonic()
    system.publish((serial, {"type": "LID_OPENED", "ts": now_ms()}),
                   kind="events")
    await_for("the event", lambda: system.value(
        "select count(*) from coco.lid_cycle_event_history"
        " where serial = %s", serial) == 1)
    took = time.monotonic() - began
    waiting = BACKLOG - checks.stored(system, fleet.serials)
    with capsys.disabled():
        print("\n  event stored after %.0f ms with %d heartbeats waiting"
              % (took * 1000, waiting))
    assert waiting > 0, "the backlog was gone: this run proves nothing"
    assert took < AT_ONCE
    checks.await_stored(system, fleet.serials, BACKLOG)
    assert checks.stored(system, fleet.serials) == BACKLOG
