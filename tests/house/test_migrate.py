"""scripts/migrate: in order, once, whole or not at all, forward only."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from stack import ROOT, Stack

MIGRATE = os.path.join(ROOT, "scripts/migrate")


@pytest.fixture(scope="module")
def server():
    with Stack(only="postgres") as stack:
        yield stack.up()


@pytest.fixture
def database(server):
    """An empty database, dropped afterwards."""
    admin = psycopg2.connect("host=127.0.0.1 port=%d user=postgres "
                             "dbname=postgres" % server.postgres_port)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("create database m owner coco")
    yield "host=127.0.0.1 port=%d user=coco dbname=m" % server.postgres_port
    with admin.cursor() as cursor:
        cursor.execute("drop database m with (force)")
    admin.close()


@pytest.fixture
def files(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / (name[1:] + ".sql")).write_text(text)
        return str(tmp_path)
    return write


def migrate(database, *folder):
    return subprocess.run([MIGRATE, database, *folder], capture_output=True,
                          text=True, timeout=60)


def ask(database, query):
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    connection.close()
    return rows


RECORDS = "select version, name from coco.schema_migration order by version"


def test_the_real_ones_apply_and_then_rest(database):
    first, second = migrate(database), migrate(database)
    assert first.returncode == 0, first.stderr
    assert "0001_heartbeat" in first.stderr
    assert (second.returncode, second.stderr) == (0, "")
    assert ask(database, RECORDS)[0] == (1, "heartbeat")


def test_a_later_file_is_added(database, files):
    migrate(database, files(_0001_a="create table coco.a (i int);"))
    done = migrate(database, files(_0002_b="create table coco.b (i int);"))
    assert done.returncode == 0, done.stderr
    assert ask(database, RECORDS) == [(1, "a"), (2, "b")]


def test_a_failing_file_leaves_nothing_and_says_where(database, files):
    folder = files(_0001_a="create table coco.a (i int);",
                   _0002_b="create table coco.b (i int);\nselect 1/0;")
    done = migrate(database, folder)
    assert done.returncode != 0
    assert "0002_b.sql:2" in done.stderr and "division by zero" in done.stderr
    assert ask(database, RECORDS) == [(1, "a")]
    assert ask(database, "select to_regclass('coco.b')") == [(None,)]


def test_changed_history_is_refused(database, files):
    migrate(database, files(_0001_a="create table coco.a (i int);"))
    done = migrate(database, files(_0001_a="create table coco.a (j int);"))
    assert done.returncode != 0 and "has changed" in done.stderr


def test_a_newer_database_is_refused(database, files, tmp_path):
    migrate(database, files(_0001_a="select 1;", _0002_b="select 1;"))
    (tmp_path / "0002_b.sql").unlink()
    done = migrate(database, str(tmp_path))
    assert done.returncode != 0 and "newer release" in done.stderr


@pytest.mark.parametrize("name", ["_1_a", "_0001-a", "_0001_A"])
def test_a_bad_name_is_refused(database, files, name):
    done = migrate(database, files(**{name: "select 1;"}))
    assert done.returncode != 0 and "NNNN_name.sql" in done.stderr


def test_two_at_once_apply_it_once(database, files):
    folder = files(_0001_a="create table coco.a (i int);"
                   "insert into coco.a select generate_series(1, 1000);")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(database, folder), range(4)))
    assert [d.returncode for d in done] == [0] * 4, done
    assert sum("0001_a" in d.stderr for d in done) == 1
    assert ask(database, "select count(*) from coco.a") == [(1000,)]
