"""./coco stack: several at once, killed and restarted, nothing left behind."""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile

import psycopg2
import pytest
import redis
import requests

from stack import COCO, ROOT, Stack, StackError, wait_for

NAMES = ("nginx", "worker", "redis", "postgres", "mqtt", "sqs")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def opened(name):
    """A folder that Postgres' user may enter; pytest's own are closed again
    by whoever starts pytest beside us."""
    with tempfile.TemporaryDirectory(prefix="coco-house.") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder, name)


@pytest.fixture(scope="module")
def spaced():
    """A stack of this module's own, in a folder whose name has a space."""
    with opened("run it") as folder, Stack(folder=str(folder)) as one:
        yield one.up()


def test_env_names_what_answers(spaced):
    env = spaced.env()
    assert set(env) == {"COCO_HTTP", "COCO_GRPC", "COCO_MQTT_PORT",
                        "COCO_REDIS_URL", "COCO_PG_URL", "COCO_TOKEN",
                        "COCO_JWT_KEY_FILE", "COCO_METRICS",
                        "COCO_DRIVEU_SECRET", "COCO_UBER_SIGNING_KEY",
                        "COCO_UBER_CLIENT_ID", "COCO_UBER_CLIENT_SECRET",
                        "COCO_DOORDASH_TOKEN", "COCO_DOORDASH_DEVELOPER_ID",
                        "COCO_DOORDASH_KEY_ID",
                        "COCO_DOORDASH_SIGNING_SECRET", "COCO_SQS_URL",
                        "COCO_SQS_EVENTS_QUEUE_URL",
                        "COCO_SQS_STATE_QUEUE_URL",
                        "COCO_SQS_CONNECTIVITY_QUEUE_URL",
                        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert requests.get(env["COCO_HTTP"] + "/readyz", timeout=30).ok
    assert "coco_mqtt_connected" in requests.get(env["COCO_METRICS"],
                                                 timeout=30).text
    assert redis.Redis.from_url(env["COCO_REDIS_URL"]).ping()
    assert os.path.getsize(env["COCO_JWT_KEY_FILE"]) > 0

    connection = psycopg2.connect(env["COCO_PG_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("select tableowner from pg_tables where schemaname = "
                       "'coco' group by 1")
        assert cursor.fetchall() == [("coco",)]
    connection.close()


def test_env_survives_a_shell(spaced):
    done = subprocess.run(
        ["bash", "-c", 'eval "$("$0" stack env)"; echo "$COCO_JWT_KEY_FILE"',
         COCO], env=spaced.environment, capture_output=True, text=True)
    assert done.stdout.strip() == os.path.join(spaced.folder, "jwt.key")


def test_the_token_opens_and_no_token_does_not(spaced):
    url = spaced.http + "/robots"
    assert requests.get(url, headers=spaced.headers, timeout=30).ok
    assert requests.get(url, timeout=30).status_code == 401


def test_up_again_changes_nothing(spaced):
    before = {name: spaced.pid(name) for name in NAMES}
    spaced.up()
    assert before == {name: spaced.pid(name) for name in NAMES}


def test_it_listens_on_loopback_only(spaced):
    ours = range(spaced.port, spaced.port + 10)
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for row in list(file)[1:]:
                address, port = row.split()[1].split(":")
                if int(port, 16) in ours and row.split()[3] == "0A":
                    found.add((int(port, 16), address))
    assert len(found) == len(NAMES) + 1, "nginx has gRPC's, too"
    assert {address for _, address in found} == {"0100007F"}


@pytest.mark.parametrize("name", NAMES)
def test_kill_stays_down_until_restart(spaced, name):
    pid = spaced.pid(name)
    spaced.kill(name)
    assert not alive(pid)
    status = spaced.coco("status", check=False)
    assert [line for line in status.splitlines()
            if line.split()[:2] == [name, "down"]]
    assert all(line.split()[1] == "up" for line in status.splitlines()
               if line.split()[0] != name)

    spaced.restart(name)
    assert alive(spaced.pid(name)) and spaced.pid(name) != pid
    spaced.coco("status")
    wait_for(lambda: requests.get(spaced.http + "/readyz", timeout=30).ok,
             60, "readyz after %s was killed" % name)


def test_a_killed_nginx_leaves_no_worker(spaced):
    master = spaced.pid("nginx")
    with open("/proc/%d/task/%d/children" % (master, master)) as file:
        workers = [int(pid) for pid in file.read().split()]
    assert workers
    spaced.kill("nginx")
    assert not any(map(alive, workers))
    spaced.restart("nginx")


def test_partners_are_simulated_or_played():
    """Their secrets are the same in env, in the simulators and in the
    worker's configuration; who plays them goes before the simulators."""
    with Stack(only="partners redis", partners=True) as stack:
        stack.up()
        env = stack.env()
        assert env["COCO_PARTNERS_URL"] == stack.partners
        form = {"client_id": env["COCO_UBER_CLIENT_ID"],
                "client_secret": env["COCO_UBER_CLIENT_SECRET"],
                "grant_type": "client_credentials",
                "scope": "eats.deliveries"}
        assert token(stack, form).ok
        assert not token(stack, {**form, "client_secret": "x"}).ok

        stack.kill("partners")
        assert "COCO_PARTNERS_URL" not in stack.env()
        stack.restart("partners")
        assert token(stack, form).ok, "the secrets are those of before"


def token(stack, form):
    return requests.post(stack.partners + "/oauth/v2/token", data=form,
                         timeout=30)


@pytest.mark.parametrize("name, value", [
    ("COCO_PARTNERS", "2"), ("COCO_UBER_URL", "api.uber.com"),
    ("COCO_DOORDASH_URL", "http://127.0.0.1/; return 200")])
def test_wrong_partners_are_refused(name, value):
    with Stack(only="redis", environment={name: value}) as stack:
        with pytest.raises(StackError) as error:
            stack.up()
        assert name in str(error.value)


def test_two_live_side_by_side(spaced):
    with Stack(only="redis") as other:
        other.up()
        redis.Redis.from_url(other.redis_url).set("house", "other")
        assert redis.Redis.from_url(spaced.redis_url).get("house") is None
        other.down()
    spaced.coco("status")


def test_a_taken_port_is_named_and_nothing_stays():
    with Stack(only="postgres redis") as stack:
        holder = socket.create_server(("127.0.0.1", stack.redis_port))
        with pytest.raises(StackError) as error:
            stack.up()
        holder.close()
        assert "port %d" % stack.redis_port in str(error.value)
        assert "COCO_PORT" in str(error.value)
        assert not [name for name in os.listdir(stack.folder)
                    if name.endswith(".pid")]
        stack.up()


def test_data_outlives_down_and_clean_removes_all():
    with opened("run") as folder, \
            Stack(folder=str(folder), only="postgres") as stack:
        stack.up()
        insert(stack.postgres)
        pid = stack.pid("postgres")
        stack.down()
        assert not alive(pid)
        stack.up()
        assert count(stack.postgres) == 1
        (folder / "mine.txt").write_text("not the stack's")
        stack.coco("clean")
        assert [p.name for p in folder.iterdir()] == ["mine.txt"]


def insert(url):
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("insert into coco.fleet_robot(serial) values ('r')")
    connection.close()


def count(url):
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from coco.fleet_robot")
        total = cursor.fetchone()[0]
    connection.close()
    return total


def test_a_pid_that_is_another_process_is_left_alone():
    with Stack(only="redis") as stack:
        stack.up()
        real = stack.pid("redis")
        other = subprocess.Popen(["sleep", "60"])
        path = os.path.join(stack.folder, "redis.pid")
        with open(path, "w") as file:
            file.write("%d\n" % other.pid)
        stack.down()
        assert other.poll() is None
        other.kill()
        other.wait()
        assert alive(real)
        os.kill(real, 9)


def test_relative_folder(tmp_path):
    environment = dict(os.environ, COCO_RUN="r", COCO_STACK_ONLY="redis")
    with Stack() as ports:
        environment["COCO_PORT"] = str(ports.port)
        for word in ("up", "status", "clean"):
            subprocess.run([COCO, "stack", word], cwd=tmp_path, check=True,
                           env=environment, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("words", [(), ("frob",), ("kill",), ("up", "x"),
                                   ("restart", "frob")])
def test_wrong_words_are_refused(words):
    environment = dict(os.environ, COCO_RUN=os.path.join(ROOT, "var/none"))
    done = subprocess.run([COCO, "stack", *words], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stderr
