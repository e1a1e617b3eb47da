/*
 * The stack's SQS emulator: server.js PORT FILE. Listens on 127.0.0.1:PORT,
 * makes the three queues of coco-worker and writes "NAME URL" lines into FILE
 * once they are there. Keeps everything in memory, verifies no signature (see
 * proxy.js), ends on SIGTERM.
 */

import { renameSync, writeFileSync } from 'node:fs';
import { buildApp } from 'fauxqs';
import { SqsStore } from './node_modules/fauxqs/dist/sqs/sqsStore.js';

const QUEUES = ['events', 'state', 'connectivity'];
const host = '127.0.0.1';
const port = Number(process.argv[2]);
const file = process.argv[3];


async function createQueue(name) {
    const answer = await fetch(`http://${host}:${port}/`, {
        method: 'POST',
        headers: {
            'content-type': 'application/x-amz-json-1.0',
            'x-amz-target': 'AmazonSQS.CreateQueue',
        },
        body: JSON.stringify({
            QueueName: `coco-${name}`,
            Attributes: { VisibilityTimeout: '30' },
        }),
    });

    if (!answer.ok)
        throw new Error(`queue coco-${name}: ${await answer.text()}`);
    return (await answer.json()).QueueUrl;
}


if (!Number.isInteger(port) || !file) {
    console.error('usage: server.js PORT FILE');
    process.exit(2);
}

/* Clients that go by a queue's URL must reach it: the emulator would put names
   below "localhost" there, which Debian does not resolve. Without a name it
   takes the one that it was asked by. */
const sqsStore = new SqsStore();
sqsStore.host = '';

const app = buildApp({ logger: false, stores: { sqsStore } });
process.on('SIGTERM', () => process.exit(0));

await app.listen({ host, port });

let lines = '';
for (const name of QUEUES)
    lines += `${name} ${await createQueue(name)}\n`;

/* a reader sees all of the lines or none */
writeFileSync(`${file}.new`, lines);
renameSync(`${file}.new`, file);
