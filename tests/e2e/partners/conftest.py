import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from partner_field import Field     # noqa: E402
from stack import Stack             # noqa: E402

# so that what is tried again is so within a test
QUICK = {"COCO_WORKER_PARTNERS_RETRY_MIN": "50ms",
         "COCO_WORKER_PARTNERS_RETRY_MAX": "500ms",
         "COCO_WORKER_PARTNERS_BREAKER_OPEN": "200ms",
         "COCO_WORKER_PARTNERS_LOCATION_INTERVAL": "200ms",
         "COCO_WORKER_PARTNERS_TIMEOUT": "2s"}


@pytest.fixture(scope="session")
def partner_stack():
    with Stack(only="postgres redis mqtt partners worker nginx",
               partners=True, environment=QUICK) as one:
        yield one.up()


@pytest.fixture
def field(partner_stack):
    field = Field(partner_stack)
    field.reset()
    yield field
    field.close()
