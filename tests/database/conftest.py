"""Postgres for the session, and its tables empty for each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from database import Database  # noqa: E402
from stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def server():
    with Stack(only="postgres") as stack:
        yield stack.up()


@pytest.fixture
def db(server):
    with Database(server.postgres) as one:
        one.empty()
        yield one
