/*
 * Sends one message to a queue with AWS's own client, and prints the id that
 * the queue gave it: node send.js QUEUE_URL BODY. The endpoint is
 * COCO_SQS_URL, the credentials are where AWS's clients look for them.
 */

'use strict';

const { SQSClient, SendMessageCommand } = require('@aws-sdk/client-sqs');


async function main() {
    const [queue, body] = process.argv.slice(2);
    const client = new SQSClient({
        endpoint: process.env.COCO_SQS_URL,
        region: process.env.AWS_REGION || 'us-east-1',
        useQueueUrlAsEndpoint: false,
    });

    const sent = await client.send(new SendMessageCommand({
        QueueUrl: queue, MessageBody: body,
    }));
    console.log(sent.MessageId);
}

main();
