import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from harness import System      # noqa: E402


@pytest.fixture(scope="module")
def system(stack):
    system = System(stack.env())
    yield system
    system.close()
