import contextlib
import os
import sys

import pytest

sys.path[:0] = [os.path.join(os.path.dirname(__file__), ".."),
                os.path.join(os.path.dirname(__file__), "../openapi"),
                os.path.dirname(__file__)]

from lid_field import Field, Robot, acks    # noqa: E402


@pytest.fixture(scope="session")
def field(stack):
    with Field(stack) as field:
        yield field


@pytest.fixture
def robot(field):
    """robot(answer=…): a new one, connected; it does not outlive its test."""
    with contextlib.ExitStack() as all_of_them:
        yield lambda **options: all_of_them.enter_context(
            Robot(field, **options))


@pytest.fixture(scope="session", autouse=True)
def unanswered(field):
    """Requests whose robots let the time run out: begun before all tests, and
    looked at by the last ones. {name: (robot, delivery, answer to come)}"""
    with contextlib.ExitStack() as all_of_them:
        waiting = {}
        for name, answer in (("silent", None), ("acknowledged", acks),
                             ("late", None), ("lost", None)):
            robot = all_of_them.enter_context(Robot(field, answer=answer))
            delivery = field.delivery(robot, "QR")
            waiting[name] = (robot, delivery, field.later(
                "POST", "/open-lid-for-load", 504,
                json={"deliveryId": delivery.id}))
        yield waiting
