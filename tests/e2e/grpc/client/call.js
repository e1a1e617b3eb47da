/*
 * Calls the Fleet scopes with gRPC's own client: node call.js TARGET PROTO.
 * Each line of the input is one command, an object; each line of the output
 * its result, with the same id.
 *
 *   service method request    what is called
 *   token metadata deadline   a bearer token or none, more metadata, ms
 *   count concurrency         so many calls, so many at once: the result is
 *                             {codes: {code: calls}, first}, first an answer
 *   seconds                   calls until then instead of a count
 *   channels                  over so many connections (1)
 *   compressed                messages are sent by gzip
 *
 * Of one call the result is {code, details, answer, headers}.
 */

'use strict';

const readline = require('readline');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [target, proto] = process.argv.slice(2);
const { fleet } = grpc.loadPackageDefinition(
    loader.loadSync(proto, { longs: Number })).coco;

const clients = {};


function client({ service, compressed }, channel) {
    const key = `${service} ${compressed} ${channel}`;
    const algorithms = grpc.compressionAlgorithms;

    clients[key] ??= new fleet.v1[service](
        target, grpc.credentials.createInsecure(), {
            'grpc.use_local_subchannel_pool': 1,
            'grpc.default_compression_algorithm':
                compressed ? algorithms.gzip : algorithms.identity,
        });

    return clients[key];
}


function call(command, channel) {
    const metadata = new grpc.Metadata();
    const options = {};

    if (command.token) {
        metadata.set('authorization', `Bearer ${command.token}`);
    }

    for (const [name, value] of Object.entries(command.metadata ?? {})) {
        metadata.set(name, value);
    }

    if (command.deadline) {
        options.deadline = Date.now() + command.deadline;
    }

    return new Promise((resolve) => {
        let headers = {};

        const sent = client(command, channel)[command.method](
            command.request ?? {}, metadata, options, (error, answer) => {
                resolve({ code: error ? error.code : 0,
                          details: error?.details, answer, headers });
            });

        sent.on('metadata', (got) => { headers = got.getMap(); });
    });
}


async function many(command) {
    const until = command.seconds ? Date.now() + command.seconds * 1000 : 0;
    const codes = {};
    let left = command.count ?? 0;
    let first;

    async function caller(channel) {
        while (until ? Date.now() < until : left-- > 0) {
            const { code, details, answer } = await call(command, channel);
            codes[code] = (codes[code] ?? 0) + 1;
            if (code === 0) {
                first ??= answer;
            } else {
                codes.details = details;
            }
        }
    }

    await Promise.all(Array.from(
        { length: command.concurrency ?? 1 },
        (_, i) => caller(i % (command.channels ?? 1))));

    return { codes, first };
}


async function run(line) {
    const command = JSON.parse(line);
    const bulk = command.count || command.seconds;
    const result = bulk ? await many(command) : await call(command, 0);

    process.stdout.write(JSON.stringify({ id: command.id, ...result }) + '\n');
}


const running = [];

readline.createInterface({ input: process.stdin })
    .on('line', (line) => { running.push(run(line)); })
    .on('close', async () => {
        await Promise.all(running);
        Object.values(clients).forEach((one) => one.close());
    });
