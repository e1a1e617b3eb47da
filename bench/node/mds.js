/*
 * The peer of what cities ask of an hour: a Fastify handler that streams it,
 * pages of 1,000 rows by key from pg, each page written once the client took
 * the one before.
 *
 * What it does not do: it neither looks whether the hour is complete nor for
 * heartbeats that came late, and has the hour's trips in memory. That is in
 * its favour.
 */

'use strict';

const { Readable } = require('node:stream');
const fastify = require('fastify');
const pg = require('pg');

const TYPE = 'application/vnd.mds+json;version=2.0';
const ROWS = 1000;
const HOUR = 3600000;
const NIL = '00000000-0000-0000-0000-000000000000';
const US = (column) => `(extract(epoch from ${column}) * 1000000)::bigint`;
const AT = (param) =>
    `timezone('UTC', timestamp 'epoch' + ${param}::bigint
                     * interval '1 microsecond')`;

const EVENTS = `
    select device_id, event_id, vehicle_state, event_types, ${US('ts')} as at,
           ${US('publication_time')} as published, latitude, longitude,
           battery_percent, trip_ids::text[]
      from coco.mds_event
     where ts < ${AT('$1')} and (ts, event_id) > (${AT('$2')}, $3::uuid)
     order by ts, event_id limit ${ROWS}`;

const TELEMETRY = `
    select h.serial, v.device_id, h.id, ${US('h.date')} as at, h.details
      from coco.state_history h join coco.mds_vehicle v using (serial)
     where h.date >= ${AT('$1')} and h.date < ${AT('$2')}
       and (h.serial, h.date, h.id) > ($3, ${AT('$4')}, $5::uuid)
     order by h.serial, h.date, h.id limit ${ROWS}`;

const TRIPS = `
    select device_id, trip_id, start_time, end_time from coco.mds_trip
     where start_time < ${AT('$2')}
       and coalesce(end_time, 'infinity') > ${AT('$1')}
     order by start_time, trip_id`;

const provider = process.env.PROVIDER;


function event(row) {
    return JSON.stringify({
        provider_id: provider, device_id: row.device_id,
        event_id: row.event_id, vehicle_state: row.vehicle_state,
        event_types: row.event_types, timestamp: Math.floor(row.at / 1000),
        publication_time: Math.floor(row.published / 1000),
        location: { lat: row.latitude, lng: row.longitude },
        battery_percent: row.battery_percent,
        trip_ids: row.trip_ids.length ? row.trip_ids : undefined,
    });
}


async function* events(pool, from) {
    let at = from * 1000, id = NIL, comma = '';

    yield '{"version":"2.0.2","events":[';
    for (;;) {
        const { rows } = await pool.query({
            name: 'events', text: EVENTS,
            values: [(from + HOUR) * 1000, at, id] });
        if (rows.length) {
            yield comma + rows.map(event).join(',');
            comma = ',';
        }
        if (rows.length < ROWS) {
            break;
        }
        ({ at, event_id: id } = rows[rows.length - 1]);
    }
    yield ']}';
}


function tracked(row, trips) {
    const at = Math.floor(row.at / 1000);
    const { location, battery } = row.details;
    const on = (trips.get(row.device_id) || [])
        .filter((trip) => trip.start_time <= at && trip.end_time > at)
        .map((trip) => trip.trip_id);

    return JSON.stringify({
        provider_id: provider, device_id: row.device_id,
        telemetry_id: row.id.slice(0, 14) + '5' + row.id.slice(15),
        timestamp: at, trip_ids: on.length ? on : null, journey_id: null,
        location: { lat: location.latitude, lng: location.longitude,
                    heading: location.heading, speed: location.speed,
                    horizontal_accuracy: location.accuracy },
        battery_percent: Math.round(battery.percent),
    });
}


async function* telemetry(pool, from) {
    let serial = '', at = 0, id = NIL, comma = '';
    const trips = new Map();
    const found = await pool.query(TRIPS, [from * 1000,
                                           (from + HOUR) * 1000]);
    for (const trip of found.rows) {
        trips.set(trip.device_id,
                  [...(trips.get(trip.device_id) || []), trip]);
    }

    yield '{"version":"2.0.2","telemetry":[';
    for (;;) {
        const { rows } = await pool.query({
            name: 'telemetry', text: TELEMETRY,
            values: [from * 1000, (from + HOUR) * 1000, serial, at, id] });
        if (rows.length) {
            yield comma + rows.map((row) => tracked(row, trips)).join(',');
            comma = ',';
        }
        if (rows.length < ROWS) {
            break;
        }
        ({ serial, at, id } = rows[rows.length - 1]);
    }
    yield ']}';
}


async function main() {
    const token = 'Bearer ' + process.env.TOKEN;
    const app = fastify();
    const pool = new pg.Pool({ connectionString: process.env.PG_URL });

    function feed(path, parameter, rows) {
        app.get(path, (request, reply) => {
            if (request.headers.authorization !== token) {
                return reply.code(401).send();
            }
            const from = Date.parse(request.query[parameter] + ':00Z');
            return reply.type(TYPE).send(Readable.from(rows(pool, from),
                                                       { objectMode: false }));
        });
    }

    app.get('/healthz', () => 'ok');
    feed('/mds/events/historical', 'event_time', events);
    feed('/mds/telemetry', 'telemetry_time', telemetry);

    await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
    process.on('SIGTERM', () => process.exit(0));
}

main();
