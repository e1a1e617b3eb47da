/*
 * The peer of the webhook's endpoint: a Fastify handler in the shape that such
 * services usually have. Fastify's own schema check, and for each webhook one
 * prepared insert through a pool of pg; 202 once it is committed.
 *
 * What it does not do: it tells no bad field by name, and refuses no time in
 * the wrong unit. That is in its favour.
 */

'use strict';

const crypto = require('node:crypto');
const fastify = require('fastify');
const pg = require('pg');

const SCHEMA = {
    type: 'object',
    required: ['eventName', 'unit', 'status', 'uuid', 'time'],
    properties: {
        eventName: { const: 'status' },
        unit: { enum: ['streamer', 'node', 'relay'] },
        status: { type: 'string', minLength: 1, maxLength: 64 },
        uuid: { type: 'string', minLength: 1, maxLength: 128 },
        vin: { type: ['string', 'null'] },
        time: { type: 'integer' },
    },
};

const INSERT = `
    insert into coco.webhook_inbox (id, provider, event_id, payload,
                                    received_at)
    values ($1::uuid, 'driveu', $1::uuid::text, $2, now())
    on conflict do nothing`;


function uuid(...parts) {
    const hex = crypto.createHash('sha256').update(parts.join('\0'))
        .digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-`
        + `${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}


function authentic(given, secret) {
    const token = Buffer.from(given || '');
    return token.length === secret.length
        && crypto.timingSafeEqual(token, secret);
}


async function main() {
    const secret = Buffer.from(process.env.SECRET);
    const app = fastify({ bodyLimit: 65536 });
    const pool = new pg.Pool({ connectionString: process.env.PG_URL,
                               max: Number(process.env.POOL) });

    app.post('/driveu/webhook', { schema: { body: SCHEMA } },
        async (request, reply) => {
            if (!authentic(request.headers['x-driveu-token'], secret)) {
                return reply.code(401).send();
            }
            const { unit, status, uuid: vehicle, vin, time } = request.body;
            const id = uuid(unit, status, vehicle, vin, time);
            await pool.query({ name: 'insert', text: INSERT,
                               values: [id, request.body] });
            return reply.code(202).send({ id });
        });

    await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
    process.on('SIGTERM', () => process.exit(0));
}

main();
