"""./coco play: it plays to the end, and says where it could not."""

import os
import re
import subprocess

import pytest

from stack import ROOT, Stack

PLAY = [os.path.join(ROOT, "coco"), "play"]


@pytest.fixture(scope="module")
def stack():
    with Stack(only="postgres redis mqtt partners worker nginx",
               partners=True) as one:
        yield one.up()


def play(stack, *words, patience=45):
    return subprocess.run(
        [*PLAY, *words], env=dict(stack.environment,
                                 COCO_PLAY_PATIENCE=str(patience)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400)


def test_all_flows_come_out(stack):
    done = play(stack)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.rstrip().endswith(
        "All came out as it should: qr magic scrambled")
    for shown in ('"AtPickup"', '"LoadedWaitingForPilot"', '"Completed"',
                  "LID_CYCLE_INIT", "LID_CYCLE_COMPLETE",
                  "LID_OPEN_REQUEST QR", "PIN_ENTRY_LID_CLOSE"):
        assert shown in done.stdout, shown
    assert stack.token not in done.stdout


def test_a_day_with_uber_comes_out(stack):
    done = play(stack, "day")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    told, city = done.stdout.split("What the city reads of the vehicle")
    told = told.split("What Uber was told of it")[1]
    assert re.findall("  200  ([A-Z_]+)", told) == [
        "SCHEDULED", "ASSIGNED", "EN_ROUTE_TO_PICKUP", "ARRIVED_AT_PICKUP",
        "PICKED_UP", "EN_ROUTE_TO_DROPOFF", "ARRIVED_AT_DROPOFF",
        "COMPLETED"]
    assert re.findall("  (?:reserved|stopped|on_trip|available) +([a-z_]+)",
                      city)[-7:] == [
        "reservation_start", "reservation_stop", "trip_start",
        "order_pick_up", "trip_resume", "order_drop_off", "trip_end"]
    for secret in (stack.token, stack.secret("uber.key")):
        assert secret not in done.stdout


def test_a_step_that_fails_is_named(stack):
    stack.kill("worker")
    try:
        # of whole seconds: of one, nothing may be left for the step before
        done = play(stack, "magic", patience=4)
    finally:
        stack.restart("worker")
    assert done.returncode == 1
    assert "the arrival" in done.stderr and "AtPickup" in done.stderr


def test_what_cannot_be_played_is_said(tmp_path):
    stack = Stack(folder=tmp_path / "none", port=1)
    done = play(stack)
    assert done.returncode == 1 and "./coco stack up" in done.stderr
    done = play(stack, "waltz")
    assert done.returncode == 2 and "scrambled" in done.stderr
