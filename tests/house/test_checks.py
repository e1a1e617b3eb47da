"""The checks of the tree itself, and that each can fail."""

import os
import subprocess

from stack import ROOT


def run(*command, **more):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                          timeout=120, **more)


def test_no_boundary_is_crossed():
    done = run("scripts/boundaries")
    assert done.returncode == 0, done.stdout


def test_the_boundary_check_finds_planted_breaches():
    done = run("scripts/boundaries", "--self-test")
    assert done.returncode == 0, done.stdout


def test_directives_agree_with_docs_and_conf():
    """The check plants its own faults first."""
    done = run("scripts/check-directives")
    assert done.returncode == 0, done.stderr


def test_scripts_run_are_executable_and_parse():
    paths = ["coco", ".ci/run"] + [
        os.path.join("scripts", name)
        for name in sorted(os.listdir(os.path.join(ROOT, "scripts")))
        if os.path.isfile(os.path.join(ROOT, "scripts", name))
        and name != "packages.txt"]
    for path in paths:
        assert os.access(os.path.join(ROOT, path), os.X_OK), path
        with open(os.path.join(ROOT, path)) as file:
            if file.readline().startswith("#!/bin/bash"):
                done = run("bash", "-n", path)
                assert done.returncode == 0, done.stderr


def test_every_package_has_a_known_group_and_a_reason():
    with open(os.path.join(ROOT, "scripts/packages.txt")) as file:
        rows = [line.split(None, 2) for line in file
                if line.strip() and not line.startswith("#")]
    assert rows
    for row in rows:
        assert len(row) == 3, row
        assert row[1] in ("run", "rabbitmq", "sqs", "partners", "test",
                          "bench", "lint"), row


def test_setup_is_silent_and_quick_when_nothing_is_missing():
    done = run("scripts/setup", "run", "test")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_tap_counts(tmp_path):
    """The suites' runner: what does not count as passed."""
    tests = {
        "good": ("1..2\nok 1 - a\nok 2 # SKIP b\n", 0,
                 "1 passed, 0 failed, 1 skipped"),
        "bad": ("1..1\nnot ok 1 - a\n", 1, "0 passed, 1 failed"),
        "short": ("1..3\nok 1\n", 0, "1 passed, 1 failed"),
        "crash": ("ok 1\n", 139, "1 passed, 1 failed"),
        "empty": ("", 0, "0 passed, 1 failed"),
    }
    for name, (output, status, said) in tests.items():
        path = tmp_path / name
        path.write_text("#!/bin/sh\ncat <<'E'\n%sE\nexit %d\n" %
                        (output, status))
        path.chmod(0o755)
        done = run("scripts/test", "unit", str(path))
        assert done.stdout.splitlines()[-1] == said, done.stdout
        assert (done.returncode == 0) == said.endswith("0 failed, 1 skipped")


def test_a_suite_that_runs_nothing_fails(tmp_path):
    (tmp_path / "test_none.py").write_text("")
    done = run("scripts/test", "e2e", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"
