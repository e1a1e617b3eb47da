"""Fixtures for every suite: a stack that is shared, and one of one's own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from stack import Stack  # noqa: E402


def logs(stack):
    """The end of each log: what a failed test needs to be understood."""
    folder = os.path.join(stack.folder, "log")
    text = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        lines = stack.log(name[:-len(".log")]).splitlines()[-15:]
        text.append("--- %s\n%s" % (name, "\n".join(lines)))
    return "\n".join(text)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for name in ("fresh_stack", "stack"):
            used = getattr(item, "funcargs", {}).get(name)
            if isinstance(used, Stack):
                report.sections.append(("logs of " + name, logs(used)))


@pytest.fixture(scope="session")
def stack():
    """Everything up, shared by the session: leave it as it was found."""
    with Stack() as one:
        yield one.up()


@pytest.fixture
def fresh_stack():
    """A stack of the test's own, not yet up: it may be killed and broken."""
    with Stack() as one:
        yield one
