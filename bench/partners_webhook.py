"""Uber's webhooks, verified and then answered once they are committed: nginx,
and a Fastify handler that does the same, into the same Postgres."""

import contextlib
import functools
import hashlib
import hmac
import os

import common
import read
import webhook
import write

SECONDS = 2             # of one measurement
REQUESTS = 40000        # more than any server stores in it
POOLS = (10, 40)        # connections of the peer: its best counts
PATH = "/uber/v1/webhook"

# As Uber documents event.delivery_status, some 2 KiB; the ids are filled in.
PLACE = ('{"name":"%s","phone_number":"+13105550199","address":"{\\"street_ad'
         'dress\\":[\\"1912 Pike Pl\\",\\"Ste 4\\"],\\"city\\":\\"Santa Monic'
         'a\\",\\"state\\":\\"CA\\",\\"zip_code\\":\\"90401\\",\\"country\\":'
         '\\"US\\"}","detailed_address":{"street_address_1":"1912 Pike Pl",'
         '"street_address_2":"Ste 4","city":"Santa Monica","state":"CA",'
         '"zip_code":"90401","country":"US"},"notes":"The robot waits at the '
         'kerb; the lid opens by itself.","location":{"lat":%f,"lng":%f}}')
BODY = ('{"id":"evt_%s","kind":"event.delivery_status","created":'
        '"2026-01-31T17:04:05.678Z","live_mode":true,"status":"pending",'
        '"delivery_id":"del_%s","account_id":"acc_hx2nTqzX","customer_id":'
        '"cus_Nl7rKpQe","data":{"id":"del_%s","kind":"delivery","quote_id":'
        '"dqt_QwErTyUiOpAsDfGh","status":"pending","complete":false,'
        '"created":"2026-01-31T17:04:05.678Z","updated":'
        '"2026-01-31T17:04:05.678Z","pickup_eta":null,"dropoff_eta":null,'
        '"pickup_ready":"2026-01-31T17:20:00Z","pickup_deadline":'
        '"2026-01-31T17:40:00Z","dropoff_deadline":"2026-01-31T18:10:00Z",'
        '"fee":975,"currency":"usd","external_store_id":"store-7",'
        '"live_mode":true,"undeliverable_action":null,"courier":null,'
        '"courier_imminent":false,"related_deliveries":[],"tracking_url":'
        '"https:\\/\\/www.ubereats.com\\/orders\\/8a1f0c9e",'
        '"manifest":{"reference":"order-8812","total_value":4250},'
        '"manifest_items":[%s],"pickup":%s,"dropoff":%s}}')
ITEM = ('{"name":"Ramen no. %d","quantity":1,"size":"small","price":1450,'
        '"dimensions":{"length":20,"height":20,"depth":20}}')


def body(number):
    return (BODY % (("%012d" % number,) * 3 + (
        ",".join(ITEM % i for i in range(2)),
        PLACE % ("Noodles", 34.01, -118.49),
        PLACE % ("A. Customer", 34.02, -118.48)))).encode()


def request(number, key):
    signed = hmac.new(key.encode(), body(number), hashlib.sha256).hexdigest()
    return (b"POST %s HTTP/1.1\r\nHost: partner\r\nContent-Type: application/"
            b"json\r\nContent-Length: %d\r\nX-Uber-Signature: %s\r\n\r\n%s" % (
                PATH.encode(), len(body(number)), signed.encode(),
                body(number)))


def load(file, url, key, period):
    """(webhooks per second, p99 in ms, how many)"""
    if not os.path.exists(file):
        with open(file, "wb") as out:
            for number in range(REQUESTS):
                out.write(request(number, key))
    return common.wrk("partners_webhook.lua", url + PATH, SECONDS,
                      webhook.CONNECTIONS, period=period, WRK_FILE=file,
                      WRK_SIZE=str(len(request(0, key))))


def cpu(inbox, url, key, **pids):
    """CPU us of each webhook, of a server and of Postgres together."""
    inbox.clear()
    spent = common.Cpu(**pids)
    count = inbox.load(url, key, 0)[2]
    return sum(spent.spent().values()) / count


def run(table):
    write.npm()
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis nginx"))
        stack.up()
        key = stack.secret("uber.key")
        port = stack.port + 4
        servers = {"nginx": read.Nginx(stack.folder, "uber.conf",
                                       webhook.ours(stack, port))}
        cleanup.callback(servers["nginx"].close)
        common.wait_for(lambda: webhook.refuses(port, PATH), 10, "nginx")
        for i, pool in enumerate(POOLS):
            name = "Fastify, pool of %d" % pool
            servers[name] = webhook.Fastify(stack, port + 1 + i, key, pool,
                                            "uber.js", PATH)
            cleanup.callback(servers[name].close)

        urls = {name: "http://127.0.0.1:%d" % (port + i)
                for i, name in enumerate(servers)}
        inbox = webhook.Inbox(stack, functools.partial(
            load, os.path.join(stack.folder, "requests")))
        done = webhook.measure(inbox, urls, key)
        each = {name: cpu(inbox, url, key, server=servers[name].process.pid,
                          postgres=stack.pid("postgres"))
                for name, url in urls.items()}

        webhook.report(table, done,
                       "Uber's webhooks of %d bytes" % len(body(0)))
        ours = each.pop("nginx")
        table.add("  CPU of each, with Postgres (peers: %s)" % ", ".join(
            "%.0f" % us for us in each.values()), ours, "us")
