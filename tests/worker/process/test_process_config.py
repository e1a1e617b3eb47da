"""Arguments and configuration as an operator meets them."""

import os
import subprocess

import process


def conf(tmp_path, text):
    path = tmp_path / "w.conf"
    path.write_text(text)
    return str(path)


def test_arguments():
    done = process.command("--version")
    assert (done.returncode, done.stdout) == (0, "coco-worker 0.1.0\n")
    done = process.command("--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: ")
    for wrong in ("--nonsense", "-c", "nonsense"):
        done = process.command(wrong)
        assert done.returncode == 2 and "usage: " in done.stderr


def test_check_config(tmp_path):
    shipped = os.path.join(process.ROOT, "conf", "coco-worker.conf")
    done = process.command("-c", shipped, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")

    path = conf(tmp_path, "[mqtt]\nprot = 1\nkeep_alive = 30\n"
                          "password = hush\n[journal]\nsync = maybe\n")
    done = process.command("-c", path, "--check-config")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        path + ":2: mqtt.prot: no such option; did you mean mqtt.port?",
        path + ":3: mqtt.keep_alive: \"30\" is not a duration: a whole number "
        "with its unit, ms, s, m, h or d, as in 30s",
        path + ":4: mqtt.password: a secret does not belong into this file; "
        "name its own file with mqtt.password_file, or set "
        "COCO_WORKER_MQTT_PASSWORD",
        path + ":6: journal.sync: \"maybe\" is none of: none interval always"]

    done = process.command("-c", path)
    assert done.returncode == 1 and "did you mean" in done.stderr


def test_services(tmp_path):
    """The argument, the environment, the file: the first of them holds."""
    path = conf(tmp_path, "[process]\nservices = nonsense\n")
    done = process.command("-c", path, "--check-config")
    assert done.returncode == 1
    assert done.stderr == (
        path + ":2: process.services: \"nonsense\" is none of: all state "
        "operations fleet deliveries dispatch integrations mds; several are "
        "separated by a comma, without blanks\n")

    environment = {"COCO_WORKER_PROCESS_SERVICES": "fleet"}
    done = process.command("-c", path, "--check-config",
                           environment=environment)
    assert done.returncode == 1
    assert done.stderr == (
        "environment: process.services: \"fleet\" leaves services to other "
        "processes, which no bus reaches; set bus.engines to rabbitmq or "
        "kafka, or name all\n")

    done = process.command("-c", path, "--check-config", "--services", "all",
                           environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for enough in ("integrations,mds", "mds",
                   "state,operations,fleet,deliveries,dispatch"):
        done = process.command("-c", path, "--check-config", "--services",
                               enough)
        assert (done.returncode, done.stderr) == (0, "")
    done = process.command("-c", path, "--services", "fleet,what")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "arguments: process.services: \"what\" is none of: ")


def test_environment_goes_first(tmp_path):
    path = conf(tmp_path, "[log]\nlevel = info\n")
    done = process.command("-c", path, "--check-config",
                           environment={"COCO_WORKER_LOG_LEVEL": "loud"})
    assert done.returncode == 1
    assert done.stderr == ("environment: log.level: \"loud\" is none of: "
                           "error warn info debug\n")


def test_docs_agree_with_the_binary():
    done = subprocess.run(
        [os.path.join(process.ROOT, "scripts", "check-worker-options"),
         process.BINARY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_journal_held_or_of_another(worker, block):
    """A second worker on the same journal, and one with another id."""
    first = worker(block).start()
    second = worker(block, http={"port": block + 5}, journal={
        "path": first.options["journal"]["path"]}).start(ready=False)
    assert second.process.wait(60) == 1
    assert "is held by process %d" % first.process.pid in second.log()

    assert first.stop() == 0
    second.options["mqtt"]["client_id"] = "another"
    second.start(ready=False)
    assert second.process.wait(60) == 1
    assert "belongs to client id \\\"coco-worker-telemetry\\\"" in second.log()


def test_port_in_use(worker, block):
    worker(block).start()
    second = worker(block).start(ready=False)
    assert second.process.wait(60) == 1
    assert "cannot listen on 127.0.0.1 port %d" % (block + 6) in second.log()
