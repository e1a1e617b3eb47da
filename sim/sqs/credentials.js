/*
 * The places where a program on AWS finds its credentials, on the proxy's
 * port: STS for web identities, the container endpoint, and the metadata
 * service of version 2. Each set of credentials is new and good until it
 * expires. For suites only: the proofs asked for are fixed words.
 *
 *   POST /sts            AssumeRoleWithWebIdentity, WebIdentityToken "identity"
 *                        (AWS_ENDPOINT_URL_STS = http://127.0.0.1:PORT/sts)
 *   GET /container       Authorization: container
 *                        (AWS_CONTAINER_CREDENTIALS_FULL_URI)
 *   PUT /latest/api/token, then GET /latest/meta-data/iam/
 *   security-credentials/[coco]
 *                        (AWS_EC2_METADATA_SERVICE_ENDPOINT)
 *
 * credentialsIssue({"seconds": 3600, "status": 200}): how long what is given
 * out is good for; another status is the answer to every question.
 */

import { randomBytes } from 'node:crypto';

const ROLE = 'coco';
const METADATA = '/latest/meta-data/iam/security-credentials/';
let issue = { seconds: 3600, status: 200 };
let session = '';                       /* of the metadata service */


export function credentialsIssue(told) {
    issue = { ...issue, ...told };
}


/* Answers a request that is for one of the places: false if it is not. */
export function credentialsAnswer(request, response, body, keys) {
    const place = PLACES[`${request.method} ${request.url}`];

    if (!place)
        return false;

    const [status, text] = issue.status === 200
        ? place(request, body, keys) : [issue.status, 'on demand'];
    response.writeHead(status, { 'content-type':
        text.startsWith('<') ? 'text/xml' : 'application/json' });
    response.end(text);
    return true;
}


function make(keys) {
    const expires = Date.now() + issue.seconds * 1000;
    const made = {
        id: 'ASIACOCO' + randomBytes(6).toString('hex').toUpperCase(),
        secret: randomBytes(20).toString('hex'),
        token: randomBytes(60).toString('base64'),
        expires,
        expiration: new Date(expires).toISOString().replace(/\.\d+/, ''),
    };

    keys.set(made.id, made);
    return made;
}


function json(keys) {
    const made = make(keys);

    return [200, JSON.stringify({
        Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: made.id,
        SecretAccessKey: made.secret, Token: made.token,
        Expiration: made.expiration,
    })];
}


function sts(request, body, keys) {
    const form = new URLSearchParams(body);

    if (form.get('Action') !== 'AssumeRoleWithWebIdentity' ||
            form.get('Version') !== '2011-06-15' || !form.get('RoleArn') ||
            !/^[\w+=,.@-]{2,64}$/.test(form.get('RoleSessionName') ?? '')) {
        return [400, stsError('ValidationError', 'a parameter is missing')];
    }
    if (form.get('WebIdentityToken') !== 'identity')
        return [400, stsError('InvalidIdentityToken', 'not the token')];

    const made = make(keys);
    return [200, '<AssumeRoleWithWebIdentityResponse ' +
        'xmlns="https://sts.amazonaws.com/doc/2011-06-15/">' +
        '<AssumeRoleWithWebIdentityResult><Credentials>' +
        `<AccessKeyId>${made.id}</AccessKeyId>` +
        `<SecretAccessKey>${made.secret}</SecretAccessKey>` +
        `<SessionToken>${made.token}</SessionToken>` +
        `<Expiration>${made.expiration}</Expiration>` +
        '</Credentials></AssumeRoleWithWebIdentityResult>' +
        '</AssumeRoleWithWebIdentityResponse>'];
}


function stsError(code, message) {
    return '<ErrorResponse><Error><Type>Sender</Type>' +
        `<Code>${code}</Code><Message>${message}</Message></Error>` +
        '</ErrorResponse>';
}


function container(request, body, keys) {
    return request.headers.authorization === 'container'
        ? json(keys) : [401, '{"message":"who are you?"}'];
}


function metadataToken(request) {
    if (!(Number(request.headers['x-aws-ec2-metadata-token-ttl-seconds']) > 0))
        return [400, ''];
    session = randomBytes(20).toString('hex');
    return [200, session];
}


function metadata(request, text) {
    return session && request.headers['x-aws-ec2-metadata-token'] === session
        ? text() : [401, ''];
}


const PLACES = {
    'POST /sts': sts,
    'POST /sts/': sts,
    'GET /container': container,
    'PUT /latest/api/token': metadataToken,
    [`GET ${METADATA}`]: (request) => metadata(request, () => [200, ROLE]),
    [`GET ${METADATA}${ROLE}`]: (request, body, keys) =>
        metadata(request, () => json(keys)),
};
