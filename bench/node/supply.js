/*
 * The peer of POST /quote: the supply in memory, all of it looked at for each
 * quote. Columns are typed arrays; a robot that is farther than the best so
 * far is passed over before anything else is computed of it.
 *
 * What it does not do: its supply is read once, and never changes; it knows no
 * area and no chargers, and checks of a body only what it needs. That is in
 * its favour.
 */

'use strict';

const http = require('node:http');
const pg = require('pg');

const SPEED = 1.5;              // m/s
const DETOUR = 1.35;
const DWELL = 120;              // s
const ENERGY = 2.5;             // percent a kilometre
const IDLE = 1;                 // percent an hour
const RESERVE = 10;
const REACH = 20000;            // m
const LOW_BATTERY = 15;
const ONLINE = 60000;           // ms
const LIFETIME = 60000;         // ms
const EARTH = 6371008.8;        // m
const RADIANS = Math.PI / 180;

const STANDING = ['ON_TRIP', 'OFF_DUTY', 'GROUNDED'];


class Supply {
    constructor(rows) {
        const column = () => new Float64Array(rows.length);

        this.count = rows.length;
        this.serial = rows.map((row) => row.id);
        this.latitude = column();
        this.longitude = column();
        this.cosine = column();
        this.battery = column();
        this.heard = column();
        this.ready = new Uint8Array(rows.length);

        rows.forEach(({ data }, i) => {
            if (!data.location) {
                return;
            }
            this.latitude[i] = data.location.latitude * RADIANS;
            this.longitude[i] = data.location.longitude * RADIANS;
            this.cosine[i] = Math.cos(this.latitude[i]);
            this.battery[i] = data.battery;
            this.heard[i] = data.lastSynced;
            this.ready[i] = data.healthy && data.battery >= LOW_BATTERY
                && data.driveable !== false && !data.hasFood
                && !data.needsMaintenance && !data.undergoingMaintenance
                && !data.needsPickup && !data.activeDemand
                && !data.futureDemand.length && data.operationState !== null
                && !STANDING.includes(data.operationState) ? 1 : 0;
        });
    }


    /* The nearest that can: ties go by serial. */
    quote(pickup, dropoff, at) {
        const now = Date.now();
        const { count, ready, heard, latitude, longitude, cosine } = this;
        const lat = pickup.latitude * RADIANS;
        const lon = pickup.longitude * RADIANS;
        const cos = Math.cos(lat);
        const trip = DETOUR * meters(haversine(pickup, dropoff));
        const wait = at ? (at - now) / 1000 : 0;
        const rejected = {};
        let best = -1, least = Infinity, result = null;

        for (let i = 0; i < count; i++) {
            if (!ready[i] || heard[i] + ONLINE < now) {
                continue;
            }
            const north = Math.sin((latitude[i] - lat) / 2);
            const east = Math.sin((longitude[i] - lon) / 2);
            const h = north * north + cos * cosine[i] * east * east;

            if (h > least || (h === least
                              && this.serial[i] > this.serial[best])) {
                continue;
            }
            const cost = this.cost(i, meters(h) * DETOUR, trip, wait);
            if (cost.reason) {
                rejected[cost.reason] = (rejected[cost.reason] || 0) + 1;
            } else {
                best = i;
                least = h;
                result = cost;
            }
        }

        return {
            feasible: best >= 0,
            serial: best >= 0 ? this.serial[best] : null,
            pickupEtaSeconds: result && Math.round(result.pickup),
            dropoffEtaSeconds: result && Math.round(result.dropoff),
            distanceMeters: result && tenths(result.way),
            batteryAtEndPercent: result && tenths(result.battery),
            expiresAt: now + LIFETIME,
            rejected,
        };
    }


    cost(i, way, trip, wait) {
        const pickup = way / SPEED;
        const dropoff = Math.max(pickup, wait) + DWELL + trip / SPEED;
        const battery = this.battery[i] - ENERGY * (way + trip) / 1000
            - IDLE * dropoff / 3600;

        return {
            pickup, dropoff, battery, way: way + trip,
            reason: way > REACH ? 'TOO_FAR'
                : battery < RESERVE ? 'BATTERY_RANGE' : null,
        };
    }
}


function haversine(a, b) {
    const north = Math.sin((b.latitude - a.latitude) * RADIANS / 2);
    const east = Math.sin((b.longitude - a.longitude) * RADIANS / 2);

    return north * north + Math.cos(a.latitude * RADIANS)
        * Math.cos(b.latitude * RADIANS) * east * east;
}


function meters(h) {
    return 2 * EARTH * Math.asin(Math.min(1, Math.sqrt(h)));
}


function tenths(value) {
    return Math.round(value * 10) / 10;
}


function valid(place) {
    return place && Math.abs(place.latitude) <= 90
        && Math.abs(place.longitude) <= 180;
}


function serve(supply, token, request, reply) {
    const parts = [];

    if (request.headers.authorization !== token) {
        reply.writeHead(401).end();
        return;
    }
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
        let body;
        try {
            body = JSON.parse(Buffer.concat(parts));
        } catch {
            body = null;
        }
        if (!body || !valid(body.pickup) || !valid(body.dropoff)) {
            reply.writeHead(400).end();
            return;
        }
        const text = JSON.stringify(supply.quote(body.pickup, body.dropoff,
                                                 body.at));
        reply.writeHead(200, { 'Content-Type': 'application/json',
                               'Content-Length': Buffer.byteLength(text) });
        reply.end(text);
    });
}


async function main() {
    const client = new pg.Client({ connectionString: process.env.PG_URL });
    await client.connect();
    const { rows } = await client.query(
        'select id, data from coco.resource order by id');
    await client.end();

    const supply = new Supply(rows);
    const token = 'Bearer ' + process.env.TOKEN;
    const server = http.createServer(
        (request, reply) => serve(supply, token, request, reply));
    server.keepAliveTimeout = 60000;
    server.listen(Number(process.env.PORT), '127.0.0.1');
    process.on('SIGTERM', () => process.exit(0));
}

main();
