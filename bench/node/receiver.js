/*
 * What a queue gives at most: receives ten messages at a time on several
 * connections and deletes them, unread, as fast as they come. Plain HTTP,
 * unsigned: the emulator verifies nothing. Ends when COUNT are deleted.
 */

'use strict';

const http = require('node:http');

const CONNECTIONS = Number(process.env.CONNECTIONS);
const COUNT = Number(process.env.COUNT);
const url = new URL(process.env.SQS_URL);
const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });


function call(operation, body) {
    return new Promise((resolve, reject) => {
        const request = http.request({
            agent, host: url.hostname, port: url.port, method: 'POST',
            headers: { 'Content-Type': 'application/x-amz-json-1.0',
                       'X-Amz-Target': `AmazonSQS.${operation}` },
        }, (reply) => {
            let text = '';
            reply.on('data', (part) => { text += part; });
            reply.on('end', () => resolve(text ? JSON.parse(text) : {}));
        });
        request.on('error', reject);
        request.end(JSON.stringify({ QueueUrl: process.env.QUEUE_URL,
                                     ...body }));
    });
}


let deleted = 0;


async function loop() {
    while (deleted < COUNT) {
        const { Messages = [] } = await call('ReceiveMessage', {
            MaxNumberOfMessages: 10, WaitTimeSeconds: 0,
            MessageSystemAttributeNames: ['All'],
        });
        if (Messages.length > 0) {
            await call('DeleteMessageBatch', { Entries: Messages.map(
                (m, i) => ({ Id: String(i),
                             ReceiptHandle: m.ReceiptHandle })) });
            deleted += Messages.length;
        }
    }
}


Promise.all(Array.from({ length: CONNECTIONS }, loop))
    .then(() => process.exit(0));
