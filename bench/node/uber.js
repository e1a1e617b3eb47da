/*
 * The peer of Uber's webhooks: a Fastify handler in the shape that such
 * services usually have. The signature of the raw body is checked, the body
 * parsed, and for each webhook there is one prepared insert through a pool of
 * pg; 200 once it is committed.
 *
 * What it does not do: it refuses no key that comes twice, nor numbers that
 * Postgres would not take. That is in its favour.
 */

'use strict';

const crypto = require('node:crypto');
const fastify = require('fastify');
const pg = require('pg');

const INSERT = `
    insert into coco.webhook_inbox (id, provider, event_id, payload,
                                    received_at)
    values ($1::uuid, 'uber', $2, $3, now())
    on conflict do nothing`;


function uuid(text) {
    const hex = crypto.createHash('sha256').update('uber\0' + text)
        .digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-`
        + `${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}


function authentic(signature, body, key) {
    if (!/^[0-9a-f]{64}$/.test(signature || '')) {
        return false;
    }
    const mac = crypto.createHmac('sha256', key).update(body).digest();
    return crypto.timingSafeEqual(mac, Buffer.from(signature, 'hex'));
}


async function main() {
    const key = process.env.SECRET;
    const app = fastify({ bodyLimit: 1048576 });
    const pool = new pg.Pool({ connectionString: process.env.PG_URL,
                               max: Number(process.env.POOL) });

    // the bytes that were signed
    app.removeContentTypeParser('application/json');
    app.addContentTypeParser('application/json', { parseAs: 'buffer' },
                             (request, body, done) => done(null, body));

    app.post('/uber/v1/webhook', async (request, reply) => {
        const { headers, body } = request;
        if (!authentic(headers['x-uber-signature']
                       || headers['x-postmates-signature'], body, key)) {
            return reply.code(401).send();
        }
        const text = body.toString();
        let event;
        try {
            event = JSON.parse(text);
        } catch {
            return reply.code(400).send();
        }
        await pool.query({ name: 'insert', text: INSERT,
                           values: [uuid(event.id), event.id, text] });
        return reply.code(200).send();
    });

    await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
    process.on('SIGTERM', () => process.exit(0));
}

main();
