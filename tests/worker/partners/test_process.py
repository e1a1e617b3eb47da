"""The worker as a process: its configuration, what it keeps, where it sends."""

import os
import subprocess

import pytest
import requests
from native import ROOT, until
from partnersdriver import SIGNING_SECRET
from stack import PortBlock

BINARY = os.path.join(os.environ.get("COCO_BIN", os.path.join(ROOT, "bin")),
                      "coco-worker")
DOORDASH = {"DOORDASH_BASE_URL": "http://127.0.0.1:1",
            "DOORDASH_DEVELOPER_ID": "d", "DOORDASH_KEY_ID": "k",
            "DOORDASH_SIGNING_SECRET": SIGNING_SECRET}


def environment(options):
    return dict(os.environ, **{"COCO_WORKER_" + name: value
                               for name, value in options.items()})


def complaints(**options):
    done = subprocess.run([BINARY, "--check-config"], cwd=ROOT, text=True,
                          env=environment(options), capture_output=True,
                          timeout=60)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.splitlines()


@pytest.mark.parametrize("options, said", [
    ({}, []),
    (DOORDASH, []),
    ({**DOORDASH, "DOORDASH_BASE_URL": "doordash.com"},
     ["environment: doordash.base_url: "]),
    ({"UBER_BASE_URL": "http://127.0.0.1:1"},
     ["uber.client_id: missing", "uber.client_secret_file: missing"]),
    ({"DOORDASH_BASE_URL": "http://127.0.0.1:1"},
     ["doordash.developer_id: missing", "doordash.key_id: missing",
      "doordash.signing_secret_file: missing"]),
    ({**DOORDASH, "PARTNERS_MAP": "/nowhere.json"},
     ["environment: partners.map: /nowhere.json cannot be read"]),
    ({**DOORDASH, "PARTNERS_MAP": "README.md"},
     ["environment: partners.map: README.md: "]),
    ({"PARTNERS_RETRY_MIN": "2m"},
     ["environment: partners.retry_min: must not be above"]),
    ({"PARTNERS_TLS_CA_FILE": "/nowhere.pem"},
     ["environment: partners.tls_ca_file: /nowhere.pem cannot be read"]),
    ({"PARTNERS_CONCURRENCY": "0"},
     ["environment: partners.concurrency: "]),
])
def test_the_configuration_is_checked(options, said):
    found = complaints(**options)
    assert len(found) == len(said), found
    for line, begin in zip(found, said):
        assert line.startswith(begin)


@pytest.fixture
def worker(servers, tmp_path):
    """worker(OPTION=…) -> the URL of its HTTP."""
    block, processes = PortBlock(), []

    def one(**options):
        options = dict(
            {"HTTP_PORT": str(block.first + 6), "MQTT_PORT": str(block.first),
             "REDIS_PORT": str(block.first + 1), "PROCESS_SERVICES": "all",
             "JOURNAL_PATH": str(tmp_path / "journal"),
             "POSTGRES_CONNINFO": servers.stack.postgres}, **options)
        processes.append(subprocess.Popen(
            [BINARY], cwd=ROOT, env=environment(options),
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return "http://127.0.0.1:%d" % (block.first + 6)

    yield one
    for process in processes:
        process.terminate()
        assert process.wait(30) == 0
    block.release()


def test_old_pushes_go(servers, worker):
    """But none of a delivery that waits, nor what is young."""
    for external in ("done", "waits", "young"):
        servers.deliver(external)
    servers.query("update coco.partner_push set state = 'DELIVERED',"
                  " due_at = null, done_at = now() - interval '25 hours'")
    servers.query("update coco.partner_push p set done_at = now()"
                  " from coco.delivery d where d.id = p.delivery_id"
                  "  and d.external_id = 'young'")
    servers.query("update coco.partner_push p"
                  " set state = 'PENDING', done_at = null"
                  " from coco.delivery d where d.id = p.delivery_id"
                  "  and d.external_id = 'waits' and p.status = 'Completed'")

    def left():
        return dict(servers.query(
            "select d.external_id, count(*) from coco.partner_push p"
            " join coco.delivery d on d.id = p.delivery_id group by 1"))

    worker(JANITOR_PUSH_DAYS="1")
    until(lambda: "done" not in left())
    assert left() == {"waits": 8, "young": 8}


def test_it_sends_where_integrations_run(servers, partner, worker):
    url = worker(**{**DOORDASH, "DOORDASH_BASE_URL": partner.url})
    servers.deliver("D-1")
    until(lambda: servers.pending() == 0)
    assert len(partner.of("D-1")) == 8
    # what is in flight is told after the commit
    until(lambda: requests.get(url + "/healthz", timeout=30).json()["partners"]
          == {"alive": True, "sending": True, "inFlight": 0})
    assert 'coco_pushes_delivered_total{partner="doordash"} 8' in \
        requests.get(url + "/metrics", timeout=30).text
