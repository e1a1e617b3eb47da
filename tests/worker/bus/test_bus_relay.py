"""The outbox to the bus: in order, once it is confirmed, whoever dies."""

import psycopg2

from busdriver import until


def numbers_of(bus, count):
    return bus.exactly("coco.operations", count)


def test_relayed_in_order_and_marked(bus, drive):
    bus.put(3000, robots=40)
    driver = drive()
    driver.ask("relay", "relaying")
    until(lambda: bus.unrelayed() == 0)

    numbers = numbers_of(bus, 3000)
    assert sorted(numbers) == list(range(3000))
    for robot in range(40):
        of = [n for n in numbers if n % 40 == robot]
        assert of == sorted(of)
    assert driver.relayed(3000) == 3000
    assert driver.metric("coco_outbox_pending") >= 0
    assert driver.stop() < 1500


def test_id_and_cause_are_those_of_the_row(bus, drive):
    (identity,), = bus.query(
        "insert into coco.outbox (id, name, serial, payload, cause_ts,"
        " cause_id) values (gen_random_uuid(), 'Robots.StateChange', 'r-1',"
        " '{\"data\":{\"number\":1}}', '2026-01-02 03:04:05.678+00',"
        " 'ac65cbb9-e4ee-8a51-b840-3de111fbc1a3') returning id::text")
    drive().ask("relay", "relaying")
    until(lambda: bus.unrelayed() == 0)
    (properties, _), = bus.take("coco.operations", 1)
    assert properties.message_id == identity
    assert properties.headers == {
        "serial": "r-1", "coco-cause-ts": 1767323045678,
        "coco-cause-id": "ac65cbb9-e4ee-8a51-b840-3de111fbc1a3"}


def test_a_row_that_no_engine_knows_holds_up_none(bus, drive):
    bus.put(50, robots=1)
    bus.query("update coco.outbox set name = 'No.Such'"
              " where seq in (select seq from coco.outbox order by seq"
              " limit 1) or payload -> 'data' ->> 'number' = '20'")
    driver = drive()
    driver.ask("relay", "relaying")
    until(lambda: bus.unrelayed() == 0)
    assert numbers_of(bus, 48) == [n for n in range(50) if n not in (0, 20)]
    assert driver.relayed(48) == 48
    assert driver.metric("coco_bus_errors_total") == 2
    driver.stop()                              # all that it logged is here
    assert driver.logged("relay_unknown_event") == 2


def scans(bus, index):
    return bus.query("select idx_scan from pg_stat_user_indexes"
                     " where indexrelname = %s", index)[0][0]


def test_what_is_relayed_is_not_read_again(bus, drive):
    """Not even by a plan for a backlog."""
    bus.put(20000)
    bus.query("analyze coco.outbox")
    bus.query("update coco.outbox set relayed_at = now() where seq not in"
              " (select max(seq) from coco.outbox)")
    bus.ended()
    before = scans(bus, "outbox_pkey"), scans(bus, "outbox_unrelayed")
    driver = drive()
    driver.ask("relay", "relaying")
    for count in range(1, 9):      # rounds: a plan may change with the sixth
        assert driver.relayed(count) == count
        bus.put(1, first=20000 + count)
    driver.stop()
    bus.ended()
    assert scans(bus, "outbox_unrelayed") >= before[1] + 16
    assert scans(bus, "outbox_pkey") == before[0]


def test_two_relays_share_and_one_takes_over(bus, drive):
    first, second = drive(), drive()
    first.ask("relay", "relaying")
    second.ask("relay", "relaying")
    bus.put(2000, robots=40)
    until(lambda: bus.unrelayed() == 0)
    assert sorted(numbers_of(bus, 2000)) == list(range(2000))

    def relayed():
        return [d.metric("coco_outbox_relayed_total") for d in (first, second)]

    until(lambda: sum(relayed()) >= 2000)      # counted after the commit
    assert sum(relayed()) == 2000
    owner = first if relayed()[0] else second
    owner.kill()                               # and its locks are gone
    bus.put(500, robots=40)
    until(lambda: bus.unrelayed() == 0)
    assert sorted(numbers_of(bus, 500)) == list(range(500))


def test_killed_between_publishing_and_marking(bus, drive):
    """The same events go out again, under the same ids."""
    bus.put(20)
    holder = psycopg2.connect(bus.stack.postgres)
    holder.cursor().execute("select 1 from coco.outbox for update")
    driver = drive()
    driver.ask("relay", "relaying")
    until(lambda: bus.depth("coco.operations") == 20)
    driver.kill()
    bus.cut()
    holder.rollback()
    holder.close()
    assert bus.unrelayed() == 20

    drive().ask("relay", "relaying")
    until(lambda: bus.unrelayed() == 0)
    found = bus.take("coco.operations", 40)
    ids = [properties.message_id for properties, _ in found]
    assert ids[:20] == ids[20:]
    assert len(set(ids)) == 20


def test_postgres_killed_under_the_relay(bus, drive):
    driver = drive()
    driver.ask("relay", "relaying")
    bus.put(1000, robots=40)
    bus.cut()
    bus.put(1000, robots=40, first=1000)
    until(lambda: bus.unrelayed() == 0)
    depth = bus.depth("coco.operations")
    assert depth >= 2000
    assert set(numbers_of(bus, depth)) == set(range(2000))


def test_nothing_is_marked_while_the_broker_is_away(bus, drive):
    driver = drive()
    bus.kill()
    bus.put(100)
    driver.ask("relay", "relaying")
    until(lambda: driver.logged("relay_held_up"))
    assert bus.unrelayed() == 100
    bus.restart()
    until(lambda: bus.unrelayed() == 0, 40)
    assert sorted(numbers_of(bus, 100)) == list(range(100))
