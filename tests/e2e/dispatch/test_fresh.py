"""From a heartbeat's acknowledgement to its position in a quote."""

import time

from dispatch_field import Robot
from harness import await_for

STEPS = 20
SECONDS = 15            # at most; what it takes is for bench to measure


def test_a_position_is_used_soon(field):
    robot = Robot(field, {"latitude": -20.0, "longitude": -50.0})
    field.await_quotable(robot)
    took = []
    for _ in range(STEPS):
        robot.place["latitude"] += 0.01
        robot.beat()
        begun = time.monotonic()
        await_for("it has moved", lambda: field.quote(robot.place)[
            "distanceMeters"] == 0, SECONDS, every=0.002)
        took.append(1000 * (time.monotonic() - begun))
    took.sort()
    print("\nms: half within %.0f, all within %.0f" % (took[STEPS // 2],
                                                       took[-1]))
    robot.patch(operationState="OFF_DUTY")
