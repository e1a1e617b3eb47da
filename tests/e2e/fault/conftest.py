import os
import random
import sys

import pytest

sys.path[:0] = [os.path.join(os.path.dirname(__file__), ".."),
                os.path.join(os.path.dirname(__file__), "../grpc"),
                os.path.join(os.path.dirname(__file__), "../../partners"),
                os.path.dirname(__file__)]

from field import SEED, Field       # noqa: E402
from ground import Ground           # noqa: E402
from harness import await_for       # noqa: E402


@pytest.fixture(scope="session")
def broken_field():
    field = Field()
    try:
        field.up()
        yield field
    finally:
        field.close()


@pytest.fixture
def field(broken_field):
    """Everything runs, whatever the test before did."""
    field = broken_field
    field.proxy.command("resume")
    if not field.worker.alive():
        field.worker.start()
    for name in ("postgres", "redis"):
        try:
            field.stack.pid(name)
        except FileNotFoundError:
            field.stack.restart(name)
    await_for("nginx is ready", lambda: field.system.get("/readyz"))
    field.worker.await_connected()
    return field


@pytest.fixture
def system(field):
    return field.system


@pytest.fixture(scope="session")
def broken_ground():
    """What a dead worker had received is visible again after a second."""
    ground = Ground(COCO_WORKER_SQS_VISIBILITY="1s")
    try:
        yield ground.up()
    finally:
        ground.close()


@pytest.fixture
def ground(broken_ground):
    broken_ground.mend()
    return broken_ground


@pytest.fixture
def dice(request):
    """Random numbers of this test's own, the same in every run of a seed."""
    return random.Random("%s %s" % (SEED, request.node.name))
