import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))

from harness import System, await_for       # noqa: E402


@pytest.fixture(scope="module")
def system(request):
    """The system that the environment names, as `./coco stack env` prints it;
    else the session's own."""
    system = System(os.environ if "COCO_HTTP" in os.environ
                    else request.getfixturevalue("stack").env())
    yield system
    system.close()


@pytest.fixture(scope="module")
def patient(request):
    """The session's nginx waits for Postgres as long as a test holds it up,
    however slow the machine."""
    if "COCO_HTTP" in os.environ:
        yield
        return
    stack = request.getfixturevalue("stack")
    path = os.path.join(stack.folder, "coco.conf")
    with open(path) as file:
        before = file.read()
    after = before.replace("coco_postgres_timeout 2s;",
                           "coco_postgres_timeout 25s;")
    assert after != before
    reload(stack, path, after)
    yield
    reload(stack, path, before)


def reload(stack, path, text):
    """Returns once the processes of before have left."""
    with open(path, "w") as file:
        file.write(text)
    master = stack.pid("nginx")

    def workers():
        with open("/proc/%d/task/%d/children" % (master, master)) as children:
            return set(children.read().split())

    old = workers()
    os.kill(master, signal.SIGHUP)
    await_for("other processes of nginx",
              lambda: workers() and not old & workers())
