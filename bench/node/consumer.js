/*
 * The peer of coco-worker: a Node.js consumer in the shape that such services
 * usually have. mqtt, pg and ioredis; batches, one transaction and one Redis
 * pipeline each; lanes by serial, so that the database never waits for the
 * event loop alone. It writes the same rows and keys as coco-worker.
 *
 * What it does not do: it acknowledges before it commits (the MQTT client
 * leaves no other choice with batches), keeps no journal, and isolates no
 * poison. That is in its favour.
 */

'use strict';

const crypto = require('node:crypto');
const mqtt = require('mqtt');
const pg = require('pg');
const Redis = require('ioredis');

const LANES = Number(process.env.LANES || 4);
const BATCH = Number(process.env.BATCH || 4000);
const TTL_MS = 120000;
const DAY_MS = 86400000;
const EARLIEST = Date.UTC(2015, 0, 1);
const STATES = new Set(['GROUNDED', 'ON_TRIP', 'PARKED', 'OFF_DUTY',
    'DEPLOYED']);

const HISTORY_INSERT = `
    insert into coco.state_history
        (serial, date, id, received_at, state, details)
    select serial, to_timestamp(ts / 1000), id, to_timestamp(received / 1000),
           state, details
    from unnest($1::text[], $2::float8[], $3::uuid[], $4::float8[],
                $5::text[], $6::jsonb[])
         as t(serial, ts, id, received, state, details)
    on conflict do nothing`;

const STATE_LOCK = `
    select serial, state, extract(epoch from order_ts)::float8 * 1000 as ord,
           id::text
    from coco.robot_state where serial = any($1::text[])
    order by serial for update`;

const STATE_UPSERT = `
    insert into coco.robot_state
        (serial, id, state, ts, received_at, order_ts, details)
    select serial, id, state, to_timestamp(ts / 1000),
           to_timestamp(received / 1000), to_timestamp(ord / 1000), details
    from unnest($1::text[], $2::uuid[], $3::text[], $4::float8[],
                $5::float8[], $6::float8[], $7::jsonb[])
         as t(serial, id, state, ts, received, ord, details)
    on conflict (serial) do update
    set id = excluded.id, state = excluded.state, ts = excluded.ts,
        received_at = excluded.received_at, order_ts = excluded.order_ts,
        details = excluded.details`;

const OPERATION_UPSERT = `
    insert into coco.robot_operation (serial, operation_state, changed_at)
    select serial, state, to_timestamp(ord / 1000)
    from unnest($1::text[], $2::text[], $3::float8[]) as t(serial, state, ord)
    on conflict (serial) do update
    set operation_state = excluded.operation_state,
        changed_at = excluded.changed_at`;

const OPERATION_HISTORY = `
    insert into coco.robot_state_history
        (id, robot_serial, operation_state, changed_at)
    select id, serial, state, to_timestamp(ord / 1000)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::float8[])
         as t(id, serial, state, ord)
    on conflict do nothing`;

const FLEET_UPSERT = `
    insert into coco.fleet_robot
        (serial, telemetry_id, telemetry_ts, telemetry_order_ts, healthy,
         latitude, longitude, heading, speed, battery_percent, charging,
         operational_state)
    select serial, id, to_timestamp(ts / 1000), to_timestamp(ord / 1000),
           healthy, latitude, longitude, heading, speed, percent, charging,
           state
    from unnest($1::text[], $2::uuid[], $3::float8[], $4::float8[],
                $5::bool[], $6::float8[], $7::float8[], $8::float8[],
                $9::float8[], $10::float8[], $11::bool[], $12::text[])
         as t(serial, id, ts, ord, healthy, latitude, longitude, heading,
              speed, percent, charging, state)
    on conflict (serial) do update
    set telemetry_id = excluded.telemetry_id,
        telemetry_ts = excluded.telemetry_ts,
        telemetry_order_ts = excluded.telemetry_order_ts,
        healthy = excluded.healthy, latitude = excluded.latitude,
        longitude = excluded.longitude, heading = excluded.heading,
        speed = excluded.speed, battery_percent = excluded.battery_percent,
        charging = excluded.charging,
        operational_state = excluded.operational_state`;

const OUTBOX_INSERT = `
    insert into coco.outbox (id, name, serial, payload)
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[])
    on conflict do nothing`;


function uuid(...parts) {
    const hash = crypto.createHash('sha256');
    for (const part of parts) {
        hash.update(part);
    }
    const hex = hash.digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-`
        + `${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}


function number(value, min, max) {
    return typeof value === 'number' && value >= min && value <= max;
}


/* The rules of the contract; null when the message breaks one. */
function decode(serial, payload, received) {
    let hb;

    try {
        hb = JSON.parse(payload);
    } catch {
        return null;
    }

    const { serial: own, ts, state, ...details } = hb;
    const { battery, location, components } = details;

    if ((own !== undefined && own !== serial)
        || !Number.isInteger(ts) || ts < EARLIEST || ts > received + DAY_MS
        || (state !== undefined && !STATES.has(state))
        || !battery || !number(battery.percent, 0, 100)
        || !location || !number(location.latitude, -90, 90)
        || !number(location.longitude, -180, 180)) {
        return null;
    }

    return {
        id: uuid(serial, String(ts), payload), serial, ts, received,
        order: Math.min(ts, received), state, details,
        healthy: hb.healthy ?? !Object.values(components || {})
            .includes('ERROR'),
    };
}


function columns(rows, ...getters) {
    return getters.map((get) => rows.map(get));
}


/* One lane: a queue, a connection, and one batch at a time. */
class Lane {
    constructor(redis) {
        this.redis = redis;
        this.queue = [];
        this.head = 0;
        this.busy = false;
        this.client = new pg.Client({ connectionString: process.env.PG_URL,
                                      pipeline: true });
    }

    push(message) {
        this.queue.push(message);
        if (!this.busy) {
            this.busy = true;
            setImmediate(() => this.drain());
        }
    }

    async drain() {
        while (this.head < this.queue.length) {
            const batch = this.queue.slice(this.head, this.head + BATCH);
            this.head += batch.length;
            if (this.head === this.queue.length || this.head > 20000) {
                this.queue = this.queue.slice(this.head);
                this.head = 0;
            }
            await this.write(batch);
        }
        this.busy = false;
    }

    run(name, text, values) {
        return this.client.query({ name, text, values });
    }

    async write(batch) {
        const rows = batch.map((m) => decode(m.serial, m.payload, m.received))
            .filter(Boolean)
            .sort((a, b) => (a.serial < b.serial ? -1 : a.serial > b.serial ? 1
                : a.ts - b.ts));
        const serials = [...new Set(rows.map((hb) => hb.serial))];

        await this.client.query('begin');

        const locked = await this.run('lock', STATE_LOCK, [serials]);
        const known = new Map(locked.rows.map((row) => [row.serial, row]));
        const newest = new Map();
        const changes = [];

        for (const hb of rows) {
            const last = known.get(hb.serial);
            hb.state ??= last ? last.state : 'OFF_DUTY';
            if (last && (hb.order < last.ord
                || (hb.order === last.ord && hb.id <= last.id))) {
                continue;
            }
            if (!last || last.state !== hb.state) {
                changes.push({ hb, from: last ? last.state : null });
            }
            known.set(hb.serial, { state: hb.state, ord: hb.order, id: hb.id });
            newest.set(hb.serial, hb);
        }

        const writes = [this.run('history', HISTORY_INSERT, columns(rows,
            (hb) => hb.serial, (hb) => hb.ts, (hb) => hb.id,
            (hb) => hb.received, (hb) => hb.state, (hb) => hb.details))];
        this.writeNewest(writes, [...newest.values()]);
        if (changes.length > 0) {
            this.writeChanges(writes, changes);
        }
        writes.push(this.client.query('commit'));
        await Promise.all(writes);

        await this.publish([...newest.values()]);
    }

    writeNewest(writes, newest) {
        writes.push(this.run('state', STATE_UPSERT, columns(newest,
            (hb) => hb.serial, (hb) => hb.id, (hb) => hb.state, (hb) => hb.ts,
            (hb) => hb.received, (hb) => hb.order, (hb) => hb.details)));
        writes.push(this.run('fleet', FLEET_UPSERT, columns(newest,
            (hb) => hb.serial, (hb) => hb.id, (hb) => hb.ts, (hb) => hb.order,
            (hb) => hb.healthy, (hb) => hb.details.location.latitude,
            (hb) => hb.details.location.longitude,
            (hb) => hb.details.location.heading ?? null,
            (hb) => hb.details.location.speed ?? null,
            (hb) => hb.details.battery.percent,
            (hb) => hb.details.battery.charging ?? null, (hb) => hb.state)));
    }

    writeChanges(writes, changes) {
        const last = [...new Map(changes.map((c) => [c.hb.serial, c.hb]))
            .values()];
        const events = changes.flatMap(({ hb, from }) => [
            { id: uuid('Robots.StateChange', hb.id), serial: hb.serial,
              name: 'Robots.StateChange', data: { from, to: hb.state } },
            { id: uuid('Robots.BusinessStateChange', hb.id),
              serial: hb.serial, name: 'Robots.BusinessStateChange',
              data: { operationState: hb.state } },
        ]);

        writes.push(this.run('operation', OPERATION_UPSERT, columns(last,
            (hb) => hb.serial, (hb) => hb.state, (hb) => hb.order)));
        writes.push(this.run('operations', OPERATION_HISTORY, columns(changes,
            ({ hb }) => uuid('history', hb.id), ({ hb }) => hb.serial,
            ({ hb }) => hb.state, ({ hb }) => hb.order)));
        writes.push(this.run('outbox', OUTBOX_INSERT, columns(events,
            (e) => e.id, (e) => e.name, (e) => e.serial, (e) => e.data)));
    }

    async publish(newest) {
        const pipeline = this.redis.pipeline();
        const now = Date.now();

        for (const hb of newest) {
            const ttl = hb.order + TTL_MS - now;
            if (ttl <= 0) {
                continue;
            }
            const { battery, location, components = null, lid = null }
                = hb.details;
            const head = { serial: hb.serial, id: hb.id, ts: hb.ts,
                           receivedAt: hb.received };
            pipeline.set(`robot.heartbeat.cache.${hb.serial}`, JSON.stringify({
                ...head, operationState: hb.state, healthy: hb.healthy,
                battery, location, components,
            }), 'PX', ttl);
            pipeline.set(`robot.ephemeral.${hb.serial}`, JSON.stringify({
                ...head, healthy: hb.healthy, components, lid,
                remotelyControllable: false, driveu: null,
            }), 'PX', ttl);
        }
        pipeline.publish('coco.invalidate', JSON.stringify({
            serials: newest.map((hb) => hb.serial),
        }));
        await pipeline.exec();
    }
}


async function main() {
    const redis = new Redis(process.env.REDIS_URL);
    const lanes = Array.from({ length: LANES }, () => new Lane(redis));
    await Promise.all(lanes.map((lane) => lane.client.connect()));

    const client = mqtt.connect(process.env.MQTT_URL, {
        clientId: 'bench-node', clean: false,
    });
    client.on('connect', (connack) => {
        if (!connack.sessionPresent) {
            client.subscribe('robot/+/status', { qos: 1 },
                () => console.log('subscribed'));
        }
    });
    client.on('message', (topic, payload) => {
        const serial = topic.slice(6, -7);
        let hash = 0;
        for (let i = 0; i < serial.length; i++) {
            hash = (hash * 31 + serial.charCodeAt(i)) >>> 0;
        }
        lanes[hash % LANES].push({ serial, payload: payload.toString(),
                                   received: Date.now() });
    });

    process.on('SIGTERM', () => process.exit(0));
}

main();
