/*
 * AWS's own client, asked by test_sqs_proxy.py: sqs_client.js ENDPOINT QUEUE
 * WORD. Prints one line of JSON. Finds its credentials as AWS's clients do.
 */

'use strict';

const path = require('node:path');
const { createRequire } = require('node:module');

const root = path.join(__dirname, '../../sim/sqs/package.json');
const sqs = createRequire(root)('@aws-sdk/client-sqs');
const [endpoint, QueueUrl, word] = process.argv.slice(2);


const WORDS = {
    /* ten in, ten out, deleted */
    async round(client) {
        const Entries = [...Array(10).keys()].map(
            (i) => ({ Id: `m${i}`, MessageBody: `body ${i} é` }));
        await client.send(new sqs.SendMessageBatchCommand(
            { QueueUrl, Entries }));

        const ids = [];
        const failed = [];
        while (ids.length < 10) {
            const { Messages = [] } = await client.send(
                new sqs.ReceiveMessageCommand({ QueueUrl,
                    MaxNumberOfMessages: 10, WaitTimeSeconds: 2 }));
            ids.push(...Messages.map((m) => m.MessageId));
            const { Failed = [] } = await client.send(
                new sqs.DeleteMessageBatchCommand({ QueueUrl,
                    Entries: Messages.map((m, i) => ({ Id: `d${i}`,
                        ReceiptHandle: m.ReceiptHandle })) }));
            failed.push(...Failed.map((f) => f.Code));
        }
        return { ids, failed };
    },

    async send(client) {
        const { MessageId } = await client.send(new sqs.SendMessageCommand(
            { QueueUrl, MessageBody: 'one' }));
        return { id: MessageId };
    },
};


const client = new sqs.SQSClient({
    endpoint, region: process.env.AWS_REGION || 'us-east-1', maxAttempts: 1,
    systemClockOffset: Number(process.env.CLOCK_OFFSET_MS || 0),
});
WORDS[word](client).then(
    (said) => console.log(JSON.stringify(said)),
    (error) => console.log(JSON.stringify({ error: error.name,
        status: error.$metadata?.httpStatusCode })));
