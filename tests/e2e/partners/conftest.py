import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from partner_field import QUICK, Field     # noqa: E402
from stack import Stack             # noqa: E402


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
