"""t/lib must find faults: each of these blocks holds exactly one."""

import os
import re
import subprocess

import pytest

from stack import ROOT, PortBlock

HEAD = """use Test::Nginx::Socket;
no_long_string();
plan tests => %d;
run_tests();
__DATA__

=== TEST 1: one fault
"""

CONFIG = """--- config
    location /a { add_header X-One 1; return 200 "a\\n"; }
    location /slow { proxy_pass http://127.0.0.1:$TEST_NGINX_MUTE_PORT; }
--- request
GET /a
"""

# what is wrong: (section, tests planned, what the report says)
FAULTS = {
    "status": ("--- error_code: 404\n", 1, "status code"),
    "status pattern": ("--- error_code_like: ^5\n", 1, "status code"),
    "body": ("--- response_body\nb\n", 2, "response_body"),
    "body like": ("--- response_body_like: b\n", 2, "response_body_like"),
    "body unlike": ("--- response_body_unlike: a\n", 2,
                    "response_body_unlike"),
    "header": ("--- response_headers\nX-One: 2\n", 2, "header X-One"),
    "header absent": ("--- response_headers\n! X-One\n", 2, "header X-One"),
    "raw headers": ("--- raw_response_headers_like: X-Two\n", 2,
                    "raw headers like"),
    "raw headers unlike": ("--- raw_response_headers_unlike: X-One\n", 2,
                           "raw headers unlike"),
    "log lacks": ("--- error_log\nno such line\n", 2, "no such line"),
    "log has": ("--- no_error_log\n/a\n", 2, "is not in the error log"),
    "grep": ("--- grep_error_log: no such\n--- grep_error_log_out\nx\n", 2,
             "grep_error_log_out"),
    "plan": ("", 2, "planned 2"),
    "lives": ("--- must_die\n", 1, "dies as expected"),
    "starts not": ("--- main_config\nno_such_directive;\n", 1, "Bail out"),
    "no variable": ("--- http_config\n# $TEST_NGINX_NO_SUCH\n", 1,
                    "TEST_NGINX_NO_SUCH"),
}


@pytest.fixture(scope="module")
def ports():
    block = PortBlock()
    yield block
    block.release()


def run(ports, folder, text):
    path = folder / "fault.t"
    path.write_text(text)
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("TEST_NGINX_")}
    environment.update(
        TEST_NGINX_PORT="127.0.0.1:%d" % ports.first,
        TEST_NGINX_CLIENT_PORT=str(ports.first),
        TEST_NGINX_MUTE_PORT=str(ports.first + 1),
        TEST_NGINX_SERVROOT=str(folder / "servroot"))
    return subprocess.run(
        ["perl", "-I" + os.path.join(ROOT, "t/lib"), str(path)],
        env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(ports, tmp_path, fault):
    section, tests, said = FAULTS[fault]
    done = run(ports, tmp_path, HEAD % tests + CONFIG + section)
    report = done.stdout + done.stderr

    assert done.returncode != 0, report
    assert said in report
    if fault not in ("plan", "starts not", "no variable"):
        assert len(re.findall("^not ok", done.stdout, re.M)) == 1, report


def test_same_block_without_a_fault_passes(ports, tmp_path):
    done = run(ports, tmp_path, HEAD % 1 + CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_client_timeout_is_a_failure(ports, tmp_path):
    mute = """--- tcp_listen: $TEST_NGINX_MUTE_PORT
--- tcp_no_close
--- tcp_reply:
--- timeout: 200ms
--- ignore_response
"""
    config = CONFIG.replace("GET /a", "GET /slow")
    done = run(ports, tmp_path, HEAD % 1 + config + mute)
    assert "not ok 1 - client socket timed out" in done.stdout, done.stderr


def test_nginx_is_gone_afterwards(ports, tmp_path):
    run(ports, tmp_path, HEAD % 1 + CONFIG)
    assert not (tmp_path / "servroot/logs/nginx.pid").exists()
    assert not is_listening(ports.first)


def is_listening(port):
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    return any(int(row[1].split(":")[1], 16) == port and row[3] == "0A"
               for row in rows)
