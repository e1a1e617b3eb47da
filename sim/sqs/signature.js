/*
 * Verifies AWS Signature Version 4 of a request with a body in memory:
 * algorithm, scope, freshness, which headers are signed, session token, hash
 * of the payload, signature. Written from AWS's description and independent
 * of coco-worker's signer, which it is there to check.
 */

import { createHash, createHmac } from 'node:crypto';

const FRESH_MS = 5 * 60 * 1000;
const AUTHORIZATION = new RegExp('^AWS4-HMAC-SHA256 ' +
    'Credential=([^/, ]+)/(\\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, *' +
    'SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})$');


export class Refusal extends Error {
    constructor(type, message) {
        super(message);
        this.type = type;
    }
}


/*
 * keys: Map of access key id to { secret, token?, expires? }, the last in ms.
 * Returns the access key id, throws a Refusal.
 */
export function signatureVerify(request, body, keys, region, service) {
    const headers = request.headers;
    const parts = AUTHORIZATION.exec(headers.authorization ?? '');
    if (!parts) {
        throw headers.authorization
            ? new Refusal('IncompleteSignatureException',
                          'the Authorization header cannot be read')
            : new Refusal('MissingAuthenticationTokenException',
                          'the request is not signed');
    }

    const [, id, day, ofRegion, ofService, names, signature] = parts;
    const key = keys.get(id);
    const signed = names.split(';');

    scopeCheck(headers['x-amz-date'], day, ofRegion, ofService, region,
               service);
    signedCheck(headers, signed);
    keyCheck(key, headers['x-amz-security-token']);

    const hash = sha256(body);
    if ((headers['x-amz-content-sha256'] ?? hash) !== hash) {
        throw new Refusal('InvalidSignatureException',
                          'x-amz-content-sha256 is not the body\'s');
    }

    const scope = `${day}/${region}/${service}/aws4_request`;
    const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope,
        sha256(canonical(request, signed, hash))].join('\n');
    const secret = [day, region, service, 'aws4_request'].reduce(
        hmac, `AWS4${key.secret}`);

    if (hmac(secret, text).toString('hex') !== signature) {
        throw new Refusal('InvalidSignatureException',
                          'the signature does not match the request');
    }
    return id;
}


function scopeCheck(date, day, ofRegion, ofService, region, service) {
    const at = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date ?? '');

    if (!at || !date.startsWith(day) || ofRegion !== region ||
            ofService !== service) {
        throw new Refusal('InvalidSignatureException',
                          `the scope is not ${region}/${service} of the day`);
    }

    const [year, month, ...rest] = at.slice(1).map(Number);
    const age = Date.now() - Date.UTC(year, month - 1, ...rest);
    if (Math.abs(age) > FRESH_MS)
        throw new Refusal('InvalidSignatureException', 'Signature expired');
}


function signedCheck(headers, signed) {
    const needed = Object.keys(headers).filter(
        (name) => name === 'host' || name.startsWith('x-amz-'));

    for (const name of [...needed, 'host', 'x-amz-date']) {
        if (!signed.includes(name)) {
            throw new Refusal('InvalidSignatureException',
                              `${name} is not among the signed headers`);
        }
    }
    if (signed.join() !== [...new Set(signed)].sort().join() ||
            signed.some((name) => headers[name] === undefined)) {
        throw new Refusal('InvalidSignatureException',
                          'SignedHeaders names absent or unsorted headers');
    }
}


function keyCheck(key, token) {
    if (!key || key.token !== token) {
        throw new Refusal('UnrecognizedClientException',
                          'the security token in the request is invalid');
    }
    if (key.expires <= Date.now()) {
        throw new Refusal('ExpiredTokenException',
                          'the security token in the request is expired');
    }
}


/* Only for the path "/", the one that SQS has. */
function canonical(request, signed, hash) {
    const [path, query = ''] = request.url.split('?');
    const headers = signed.map((name) => `${name}:` +
        request.headers[name].trim().replace(/ +/g, ' ') + '\n');

    return [request.method, path, query.split('&').sort().join('&'),
        headers.join(''), signed.join(';'), hash].join('\n');
}


function sha256(data) {
    return createHash('sha256').update(data).digest('hex');
}


function hmac(key, data) {
    return createHmac('sha256', key).update(data).digest();
}
