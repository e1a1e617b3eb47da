/*
 * SQS as AWS would answer it, for the suites: verifies the signature of each
 * request, which the emulator does not, then passes it on; fails on demand;
 * keeps a ledger. Also plays the places where AWS's clients find credentials
 * (credentials.js): what they give out is accepted here until it expires.
 *
 *     proxy.js PORT TARGET     PORT 0: a free one. Prints "PORT\n" once ready;
 *                              TARGET is the emulator, http://127.0.0.1:8084
 *
 * The first key is AWS_ACCESS_KEY_ID's, with AWS_SECRET_ACCESS_KEY and, when
 * set, AWS_SESSION_TOKEN; AWS_REGION, us-east-1 when unset. Without a key only
 * those that credentials.js gave out are good. SIGTERM ends it.
 *
 * PUT /control  {"faults":{…}} replaces the faults, {"keys":{id:{"secret",
 *               "token"?,"expires"?}}} the keys (times in ms), {"issue":{…}}
 *               what credentials.js gives out; answers 200.
 *   faults, each of the n-th request ("every": n; 1 is all of them) and, if
 *   wished, of one "action", such as "ReceiveMessage", only:
 *     throttle  {"every", "status": 400 | 503}   RequestThrottled
 *     error     {"every"}                        500, not passed on
 *     lose      {"every"}                        passed on, answered with 500
 *     delay     {"every", "ms"}                  passed on after that time
 *     entries   {"every", "code"?, "senderFault"?}   every n-th entry of a
 *               DeleteMessageBatch is not passed on and comes back in Failed
 * GET /ledger   {"requests", "byAction":{action:n}, "byKey":{id:n},
 *               "refused":{type:n}, "faults":{name:n}, "messages" received,
 *               "deleted"}: what is counted since the start, refused requests
 *               not in "requests"
 * GET /deleted  MessageIds of what was deleted, in order, once each
 */

import { Agent, createServer, request as httpRequest } from 'node:http';
import { credentialsAnswer, credentialsIssue } from './credentials.js';
import { Refusal, signatureVerify } from './signature.js';

const region = process.env.AWS_REGION || 'us-east-1';
const [port, target] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const keys = new Map();
const ids = new Map();                  /* ReceiptHandle to MessageId */
const deleted = new Set();
const turns = {};                       /* of each fault */
const ledger = { requests: 0, byAction: {}, byKey: {}, refused: {},
    faults: {}, messages: 0 };
let faults = {};


function count(of, name) {
    of[name] = (of[name] ?? 0) + 1;
}


/* Is it the turn of this fault? Then it is counted. */
function strikes(name, action) {
    const fault = faults[name];

    if (!fault || (fault.action && fault.action !== action))
        return false;
    turns[name] = (turns[name] ?? 0) + 1;
    if (turns[name] % fault.every !== 0)
        return false;
    count(ledger.faults, name);
    return true;
}


function answer(response, status, body) {
    response.writeHead(status,
                       { 'content-type': 'application/x-amz-json-1.0' });
    response.end(JSON.stringify(body));
}


function answerError(response, status, type, message) {
    answer(response, status, { __type: type, message });
}


async function bodyRead(message) {
    const chunks = [];

    for await (const chunk of message)
        chunks.push(chunk);
    return Buffer.concat(chunks);
}


/* The emulator's answer; null when the client left first. */
function pass(request, response, body) {
    return new Promise((resolve, reject) => {
        const headers = { ...request.headers, 'content-length': body.length };
        delete headers.host;
        delete headers['transfer-encoding'];

        const fail = (error) => response.destroyed
            ? resolve(null) : reject(error);
        const onward = httpRequest(target,
                                   { agent, headers, method: 'POST' },
            (reply) => bodyRead(reply).then(
                (read) => resolve({ status: reply.statusCode, body: read }),
                fail));

        onward.on('error', fail);
        /* a long poll that nobody waits for must take no message */
        response.on('close', () => onward.destroy());
        onward.end(body);
    });
}


/* Takes the entries that are to fail out of a batch of deletions. */
function entriesFail(body) {
    const batch = JSON.parse(body);
    const failed = [];

    batch.Entries = batch.Entries.filter((entry) => {
        if (!strikes('entries', 'DeleteMessageBatch'))
            return true;
        failed.push({ Id: entry.Id, Message: 'on demand',
            Code: faults.entries.code ?? 'InternalError',
            SenderFault: faults.entries.senderFault ?? false });
        return false;
    });
    return { batch, failed };
}


async function deleteBatch(request, response, body) {
    const { batch, failed } = entriesFail(body);
    const done = batch.Entries.length === 0
        ? { status: 200, body: '{"Successful":[],"Failed":[]}' }
        : await pass(request, response, Buffer.from(JSON.stringify(batch)));

    if (done?.status === 200) {
        const said = JSON.parse(done.body);
        const handles = new Map(batch.Entries.map(
            (entry) => [entry.Id, entry.ReceiptHandle]));

        for (const { Id } of said.Successful)
            deletedNote(handles.get(Id));
        said.Failed = [...(said.Failed ?? []), ...failed];
        done.body = JSON.stringify(said);
    }
    return done;
}


function deletedNote(handle) {
    if (ids.has(handle))
        deleted.add(ids.get(handle));
    ids.delete(handle);
}


async function perform(request, response, body, action) {
    if (action === 'DeleteMessageBatch')
        return deleteBatch(request, response, body);

    const done = await pass(request, response, body);
    if (done?.status === 200 && action === 'ReceiveMessage') {
        for (const message of JSON.parse(done.body).Messages ?? []) {
            ids.set(message.ReceiptHandle, message.MessageId);
            ledger.messages++;
        }
    } else if (done?.status === 200 && action === 'DeleteMessage') {
        deletedNote(JSON.parse(body).ReceiptHandle);
    }
    return done;
}


async function sqsAnswer(request, response, body) {
    const action = /^AmazonSQS\.(\w+)$/.exec(
        request.headers['x-amz-target'] ?? '')?.[1] ?? 'none';

    count(ledger.byKey, signatureVerify(request, body, keys, region, 'sqs'));
    ledger.requests++;
    count(ledger.byAction, action);

    if (strikes('throttle', action)) {
        return answerError(response, faults.throttle.status ?? 400,
                           'com.amazonaws.sqs#RequestThrottled', 'on demand');
    }
    if (strikes('error', action)) {
        return answerError(response, 500, 'com.amazonaws.sqs#InternalError',
                           'on demand');
    }
    if (strikes('delay', action))
        await new Promise((resolve) => setTimeout(resolve, faults.delay.ms));

    const done = await perform(request, response, body, action);
    if (!done)
        return;
    if (strikes('lose', action)) {
        return answerError(response, 500, 'com.amazonaws.sqs#InternalError',
                           'done, and not told');
    }
    response.writeHead(done.status,
                       { 'content-type': 'application/x-amz-json-1.0' });
    response.end(done.body);
}


function control(body) {
    const told = JSON.parse(body);

    if (told.faults) {
        faults = told.faults;
        for (const name of Object.keys(turns))
            delete turns[name];
    }
    if (told.keys) {
        keys.clear();
        for (const [id, key] of Object.entries(told.keys))
            keys.set(id, key);
    }
    if (told.issue)
        credentialsIssue(told.issue);
    return {};
}


async function serve(request, response) {
    const body = await bodyRead(request);
    const place = `${request.method} ${request.url}`;

    if (place === 'GET /ledger')
        answer(response, 200, { ...ledger, deleted: deleted.size });
    else if (place === 'GET /deleted')
        answer(response, 200, [...deleted]);
    else if (place === 'PUT /control')
        answer(response, 200, control(body));
    else if (request.method === 'POST' && request.url === '/')
        await sqsAnswer(request, response, body);
    else if (!credentialsAnswer(request, response, body.toString(), keys))
        answerError(response, 404, 'UnknownOperationException', place);
}


if (!/^\d+$/.test(port ?? '') || !target) {
    console.error('usage: proxy.js PORT TARGET');
    process.exit(2);
}
if (process.env.AWS_ACCESS_KEY_ID) {
    keys.set(process.env.AWS_ACCESS_KEY_ID, {
        secret: process.env.AWS_SECRET_ACCESS_KEY,
        token: process.env.AWS_SESSION_TOKEN || undefined,
    });
}
process.on('SIGTERM', () => process.exit(0));

const server = createServer((request, response) => {
    serve(request, response).catch((error) => {
        if (error instanceof Refusal) {
            count(ledger.refused, error.type);
            answerError(response, 403,
                        `com.amazon.coral.service#${error.type}`,
                        error.message);
        } else {
            answerError(response, 502, 'com.amazonaws.sqs#InternalError',
                        String(error));
        }
    });
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1',
              () => console.log(server.address().port));
