"""Partners' APIs through the proxy that puts our credentials in, against
plain proxy_pass to the same upstream with the same connections."""

import contextlib
import os
import re

import common
import partners_push
import read

ROUNDS = 9
SECONDS = 1
BODY = "x" * 1024

# What proxies have in common; of the peer's there is no more.
PEER = """
worker_processes 1;
worker_cpu_affinity 01;
pid {folder}/plain.pid;
error_log {folder}/plain.log warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/nginx;
    proxy_temp_path {folder}/nginx;
    upstream partner {{{upstream}}}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        location /partners/ {{
            proxy_pass http://partner/;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def upstream(stack):
    """What ours says of its upstream: with fewer connections kept, the peer
    would open new ones all the time, and be slower for that alone."""
    with open(os.path.join(stack.folder, "coco.conf")) as file:
        return re.search(r"upstream coco_uber {([^}]*)}", file.read())[1]


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = common.private_stack(only="postgres redis nginx")
        cleanup.callback(stack.close)
        partner, port, plain = (stack.port + i for i in (5, 4, 8))
        for name in ("COCO_UBER_URL", "COCO_DOORDASH_URL"):
            stack.environment[name] = "http://127.0.0.1:%d" % partner
        stack.up()
        for name, conf in (
                ("partner.conf", partners_push.partner(
                    stack, partner, stack.port + 6, BODY).replace(
                        "pid", "worker_cpu_affinity 10;\npid", 1)),
                ("plain.conf", PEER.format(folder=stack.folder, port=plain,
                                           upstream=upstream(stack))),
                ("proxy.conf", read.ours(stack, port))):
            cleanup.callback(read.Nginx(stack.folder, name, conf).close)
        urls = {"plain": "127.0.0.1:%d/partners/" % plain,
                "uber": "127.0.0.1:%d/partners/uber/" % port,
                "doordash": "127.0.0.1:%d/partners/doordash/" % port}
        for url in urls.values():
            common.wait_for(lambda: BODY == read.exists(
                stack, "http://" + url), 10, url)
        report(table, measure(stack, urls))


def measure(stack, urls):
    done = {name: [] for name in urls}
    for url in urls.values():
        read.wrk(stack, url, SECONDS)
    for _ in range(ROUNDS):
        for name, url in urls.items():
            done[name].append(read.wrk(stack, url, SECONDS)[0])
    common.say("  " + "  ".join("%s %.0f/s" % (name, common.median(rates))
                                for name, rates in done.items()))
    return done


def report(table, done):
    plain = done.pop("plain")
    table.add("plain proxy_pass", common.median(plain), "/s")
    for name, rates in done.items():
        table.add("  ratio of /partners/%s/ (%.0f/s)" % (
            name, common.median(rates)), common.median(
                [rate / peer for rate, peer in zip(rates, plain)]), "x", 0.9)
