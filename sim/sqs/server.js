/*
 * The stack's SQS emulator: server.js PORT FILE. Listens on 127.0.0.1:PORT,
 * makes the three queues of coco-worker and writes "NAME URL" lines into FILE
 * once they are there. Keeps everything in memory, verifies no signature (see
 * proxy.js), ends on SIGTERM.
 */

import { renameSync, writeFileSync } from 'node:fs';
import { buildApp } from 'fauxqs';

const QUEUES = ['events', 'state', 'connectivity'];
const host = '127.0.0.1';
const port = Number(process.argv[2]);
const file = process.argv[3];


async function createQueue(app, name) {
    const answer = await app.inject({
        method: 'POST',
        url: '/',
        headers: {
            host: `${host}:${port}`,
            'content-type': 'application/x-amz-json-1.0',
            'x-amz-target': 'AmazonSQS.CreateQueue',
        },
        payload: JSON.stringify({
            QueueName: `coco-${name}`,
            Attributes: { VisibilityTimeout: '30' },
        }),
    });

    if (answer.statusCode !== 200)
        throw new Error(`queue coco-${name}: ${answer.body}`);
    return JSON.parse(answer.body).QueueUrl;
}


if (!Number.isInteger(port) || !file) {
    console.error('usage: server.js PORT FILE');
    process.exit(2);
}

const app = buildApp({ logger: false });
process.on('SIGTERM', () => process.exit(0));

let lines = '';
await app.ready();
for (const name of QUEUES)
    lines += `${name} ${await createQueue(app, name)}\n`;
await app.listen({ host, port });

/* a reader sees all of the lines or none */
writeFileSync(`${file}.new`, lines);
renameSync(`${file}.new`, file);
