import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))

from harness import System      # noqa: E402


@pytest.fixture(scope="module")
def system(request):
    """The system that the environment names, as `./coco stack env` prints it;
    else the session's own."""
    system = System(os.environ if "COCO_HTTP" in os.environ
                    else request.getfixturevalue("stack").env())
    yield system
    system.close()
