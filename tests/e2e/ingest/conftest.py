import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from harness import System      # noqa: E402
from stack import Stack         # noqa: E402


@pytest.fixture(scope="session")
def stack():
    """What a worker had received when it was killed is hidden from the next
    for a second here, not for half a minute."""
    with Stack(environment={"COCO_WORKER_SQS_VISIBILITY": "1s"}) as one:
        yield one.up()


@pytest.fixture(scope="module")
def system(stack):
    system = System(stack.env())
    yield system
    system.close()
