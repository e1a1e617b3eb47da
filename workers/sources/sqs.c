/*
 * One queue's thread: long polls, deletions and extensions on one libcurl
 * multi handle. Must never delete a message that is not committed, and never
 * receive more than its table has room for.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "aws_request.h"
#include "sqs.h"
#include "sqs_intake.h"
#include "sqs_trouble.h"

#define COCO_SQS_REPLY_MAX     (24 * 1024 * 1024)  /* ten of 1 MiB, escaped */
#define COCO_SQS_HELD_MAX      (16 * 1024 * 1024)  /* bytes, then no receive */

/* ms */
#define COCO_SQS_ANSWER        10000   /* for an answer, beyond a long poll */
#define COCO_SQS_GATHER        5       /* deletions of fewer than ten */
#define COCO_SQS_HELD_RETRY    2
#define COCO_SQS_IDLE          1000    /* the longest wait */
#define COCO_SQS_PAUSE         100     /* without credentials or memory, and
                                          after a poll that was no long one */
#define COCO_SQS_ALIVE         10000
#define COCO_SQS_CLOSE         2000
#define COCO_SQS_INVISIBLE     (12 * 3600 * 1000LL - 60000)   /* SQS's limit,
                                                             with a margin */


typedef enum {
    COCO_SQS_RECEIVE = 0,
    COCO_SQS_REMOVE,
    COCO_SQS_EXTEND,
    COCO_SQS_ROLES
} coco_sqs_role_e;

typedef struct {
    coco_aws_request_t  http;           /* first: libcurl knows this address */
    coco_sqs_role_e     role;
    bool                busy;
    bool                returning;      /* EXTEND: to visible at once */
    int64_t             started_at;     /* monotonic ms */
    uint64_t            tags[COCO_SQS_BATCH];
    size_t              count;
} coco_sqs_call_t;

/* What all calls of one role wait for. */
typedef struct {
    coco_backoff_t  backoff;
    int64_t         not_before;         /* monotonic ms */
    int64_t         failed_at;          /* older calls say nothing new */
} coco_sqs_channel_t;

struct coco_source_sqs_s {
    coco_source_sqs_options_t  options;
    coco_str_t                 url;             /* of the queue */
    unsigned                   wait;            /* s */
    unsigned                   visibility;      /* s */
    coco_aws_endpoint_t        endpoint;
    coco_aws_service_t         service;
    coco_lane_id_e             lane;            /* whose label the metrics
                                                   have */
    pthread_t                  thread;
    CURLM                     *multi;
    coco_sqs_slots_t          *slots;
    coco_sqs_intake_t          intake;

    atomic_bool                stopping;
    atomic_bool                closing;
    atomic_bool                connected;
    _Atomic int64_t            beat;            /* monotonic ms */
    _Atomic uint64_t           in_flight;

    /* the thread's */
    coco_sqs_call_t           *calls;
    size_t                     call_count;
    unsigned                   busy[COCO_SQS_ROLES];
    coco_sqs_channel_t         channels[COCO_SQS_ROLES];
    unsigned                   singly;          /* receives of one message
                                                   that are still to come */
    int64_t                    gather_until;    /* 0: nothing gathers */
    int64_t                    close_at;        /* 0: not closing */
    coco_sqs_trouble_t         trouble;
};


static int coco_sqs_setup(coco_source_sqs_t *s, char *error,
    size_t error_size);
static int coco_sqs_calls_create(coco_source_sqs_t *s);
static void coco_sqs_free(coco_source_sqs_t *s);
static void coco_sqs_done(void *data, uint64_t tag);
static void *coco_sqs_thread(void *data);
static bool coco_sqs_over(coco_source_sqs_t *s, int64_t now);
static void coco_sqs_begin(coco_source_sqs_t *s, int64_t now);
static void coco_sqs_stop_polls(coco_source_sqs_t *s);
static bool coco_sqs_receive_wanted(const coco_source_sqs_t *s);
static void coco_sqs_receive_begin(coco_source_sqs_t *s, int64_t now);
static void coco_sqs_remove_begin(coco_source_sqs_t *s, int64_t now);
static void coco_sqs_extend_begin(coco_source_sqs_t *s, int64_t now);
static void coco_sqs_return_begin(coco_source_sqs_t *s, int64_t now);
static coco_sqs_call_t *coco_sqs_call_free(coco_source_sqs_t *s,
    coco_sqs_role_e role, int64_t now);
static int coco_sqs_batch_start(coco_source_sqs_t *s, coco_sqs_call_t *call,
    int visibility, int64_t now);
static int coco_sqs_call_start(coco_source_sqs_t *s, coco_sqs_call_t *call,
    unsigned timeout_ms, int64_t now);
static bool coco_sqs_perform(coco_source_sqs_t *s);
static void coco_sqs_call_end(coco_source_sqs_t *s, coco_sqs_call_t *call,
    CURLcode result);
static int coco_sqs_received(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err);
static int coco_sqs_removed(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err);
static int coco_sqs_extended(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err);
static void coco_sqs_again(coco_source_sqs_t *s, coco_sqs_call_t *call,
    size_t i, int64_t now);
static void coco_sqs_failed(coco_source_sqs_t *s, coco_sqs_call_t *call,
    long status, coco_str_t text, int64_t now);
static void coco_sqs_back_off(coco_source_sqs_t *s, coco_sqs_call_t *call,
    int64_t now);
static void coco_sqs_log(coco_source_sqs_t *s, coco_sqs_role_e role,
    coco_str_t code, coco_str_t detail, const char *remedy);
static int64_t coco_sqs_until(coco_source_sqs_t *s, int64_t now);
static int64_t coco_sqs_now(void);


static const coco_str_t  coco_sqs_targets[COCO_SQS_ROLES] = {
    { "AmazonSQS.ReceiveMessage", 24 },
    { "AmazonSQS.DeleteMessageBatch", 28 },
    { "AmazonSQS.ChangeMessageVisibilityBatch", 38 }
};

static int (*const coco_sqs_answers[COCO_SQS_ROLES])(coco_source_sqs_t *s,
    coco_sqs_call_t *call, coco_str_t text, coco_error_t *err) = {
    coco_sqs_received, coco_sqs_removed, coco_sqs_extended
};


int
coco_source_sqs_start(coco_source_sqs_t **ret,
    const coco_source_sqs_options_t *options, char *error, size_t error_size)
{
    coco_source_sqs_t  *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    s->options = *options;
    s->beat = coco_sqs_now();

    if (coco_sqs_setup(s, error, error_size) != COCO_OK) {
        coco_sqs_free(s);
        return COCO_ERROR;
    }

    if (pthread_create(&s->thread, NULL, coco_sqs_thread, s) != 0) {
        snprintf(error, error_size, "no thread for the queue %s", s->url.data);
        coco_sqs_free(s);
        return COCO_ERROR;
    }

    *ret = s;

    return COCO_OK;
}


static int
coco_sqs_setup(coco_source_sqs_t *s, char *error, size_t error_size)
{
    char                  url[256];
    const char           *endpoint;
    const coco_config_t  *c;

    c = s->options.config;
    s->url.data = c->sqs_queue_url[s->options.queue];
    s->url.len = strlen(s->url.data);
    s->lane = coco_sqs_intake_lane(s->options.queue);

    /* SQS counts in seconds */
    s->wait = (unsigned) ((c->sqs_wait + 999) / 1000);
    s->visibility = (unsigned) ((c->sqs_visibility + 999) / 1000);

    coco_aws_endpoint_default(url, sizeof(url), "sqs", c->sqs_region);
    endpoint = c->sqs_endpoint != NULL && c->sqs_endpoint[0] != '\0'
               ? c->sqs_endpoint : url;

    if (coco_aws_endpoint_parse(&s->endpoint, endpoint, url, sizeof(url))
        != COCO_OK)
    {
        snprintf(error, error_size, "sqs.endpoint: %s", url);
        return COCO_ERROR;
    }

    s->service.endpoint = &s->endpoint;
    s->service.region = (coco_str_t) { c->sqs_region, strlen(c->sqs_region) };
    s->service.service = coco_string("sqs");
    s->service.content_type = coco_string("application/x-amz-json-1.0");

    s->slots = coco_sqs_slots_create((size_t) c->sqs_in_flight);
    s->intake.options = &s->options;
    s->intake.slots = s->slots;
    s->intake.done = coco_sqs_done;
    s->intake.done_data = s;

    if (s->slots == NULL || coco_sqs_calls_create(s) != COCO_OK
        || coco_sqs_intake_init(&s->intake) != COCO_OK)
    {
        snprintf(error, error_size, "no memory for the queue %s: lower "
                 "sqs.in_flight or sqs.connections", s->url.data);
        return COCO_ERROR;
    }

    return COCO_OK;
}


/* As many for deletions and for extensions as for receives, so that each keeps
 * up with what comes in. */
static int
coco_sqs_calls_create(coco_source_sqs_t *s)
{
    size_t            count;
    coco_sqs_call_t  *call;

    count = s->options.config->sqs_connections * COCO_SQS_ROLES;

    s->calls = calloc(count, sizeof(*s->calls));
    if (s->calls == NULL) {
        return COCO_ERROR;
    }

    for ( /* void */ ; s->call_count < count; s->call_count++) {
        call = &s->calls[s->call_count];
        call->role = (coco_sqs_role_e) (s->call_count % COCO_SQS_ROLES);

        if (coco_aws_request_init(&call->http, &s->service,
                                  COCO_SQS_REPLY_MAX) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    s->multi = curl_multi_init();
    if (s->multi == NULL) {
        return COCO_ERROR;
    }

    /* all stay connected */
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long) count);

    return COCO_OK;
}


static void
coco_sqs_free(coco_source_sqs_t *s)
{
    while (s->call_count > 0) {
        coco_aws_request_free(&s->calls[--s->call_count].http);
    }

    free(s->calls);
    curl_multi_cleanup(s->multi);
    coco_sqs_intake_free(&s->intake);
    coco_sqs_slots_destroy(s->slots);
    coco_aws_endpoint_free(&s->endpoint);
    free(s);
}


void
coco_source_sqs_stop(coco_source_sqs_t *s)
{
    s->stopping = true;
    curl_multi_wakeup(s->multi);
}


void
coco_source_sqs_close(coco_source_sqs_t *s)
{
    s->stopping = true;
    s->closing = true;
    curl_multi_wakeup(s->multi);
    pthread_join(s->thread, NULL);
    coco_metrics_set(COCO_G_SQS_IN_FLIGHT, s->lane, 0);
    coco_sqs_free(s);
}


void
coco_source_sqs_status(coco_source_sqs_t *s, coco_source_sqs_status_t *ret)
{
    ret->alive = coco_sqs_now() - s->beat < COCO_SQS_ALIVE;
    ret->connected = s->connected;
    ret->in_flight = s->in_flight;
}


/* In a thread of a lane. */
static void
coco_sqs_done(void *data, uint64_t tag)
{
    coco_source_sqs_t  *s;

    s = data;

    if (coco_sqs_slots_done(s->slots, tag)) {
        curl_multi_wakeup(s->multi);
    }
}


static void *
coco_sqs_thread(void *data)
{
    int64_t             now, until;
    sigset_t            pipe;
    coco_source_sqs_t  *s = data;

    /* libcurl writes to sockets that may be gone: an error, not a signal */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    for ( ;; ) {
        now = coco_sqs_now();
        s->beat = now;

        if (s->closing && s->close_at == 0) {
            s->close_at = now + COCO_SQS_CLOSE;
        }

        coco_sqs_begin(s, now);

        if (!coco_sqs_perform(s)) {
            now = coco_sqs_now();

            if (coco_sqs_over(s, now)) {
                break;
            }

            until = coco_sqs_until(s, now);
            curl_multi_poll(s->multi, NULL, 0,
                            until > now ? (int) (until - now) : 0, NULL);
        }

        s->in_flight = coco_sqs_slots_used(s->slots);
        coco_metrics_set(COCO_G_SQS_IN_FLIGHT, s->lane,
                         (int64_t) s->in_flight);
    }

    for (size_t i = 0; i < s->call_count; i++) {
        if (s->calls[i].busy) {
            curl_multi_remove_handle(s->multi, s->calls[i].http.easy);
        }
    }

    return NULL;
}


/* What is committed is deleted and what is not given back, or time is up. */
static bool
coco_sqs_over(coco_source_sqs_t *s, int64_t now)
{
    return s->close_at != 0
           && (now >= s->close_at || coco_sqs_slots_used(s->slots) == 0);
}


static void
coco_sqs_begin(coco_source_sqs_t *s, int64_t now)
{
    coco_sqs_remove_begin(s, now);

    if (s->close_at != 0) {
        coco_sqs_return_begin(s, now);
        return;
    }

    coco_sqs_extend_begin(s, now);

    if (s->stopping) {
        coco_sqs_stop_polls(s);
        return;
    }

    if (coco_sqs_slots_held(s->slots) > 0) {
        coco_sqs_intake_offer(&s->intake);
    }

    coco_sqs_receive_begin(s, now);
}


static void
coco_sqs_stop_polls(coco_source_sqs_t *s)
{
    coco_sqs_call_t  *call;

    for (size_t i = 0; i < s->call_count; i++) {
        call = &s->calls[i];

        if (call->busy && call->role == COCO_SQS_RECEIVE) {
            curl_multi_remove_handle(s->multi, call->http.easy);
            call->busy = false;
            s->busy[COCO_SQS_RECEIVE]--;
        }
    }
}


/* Each poll under way may bring a full batch. */
static bool
coco_sqs_receive_wanted(const coco_source_sqs_t *s)
{
    return !s->stopping
           && coco_sqs_slots_held(s->slots) < COCO_SQS_HELD_MAX
           && coco_sqs_slots_free(s->slots)
              >= (s->busy[COCO_SQS_RECEIVE] + 1) * COCO_SQS_BATCH;
}


static void
coco_sqs_receive_begin(coco_source_sqs_t *s, int64_t now)
{
    coco_json_out_t   out;
    coco_sqs_call_t  *call;

    while (coco_sqs_receive_wanted(s)
           && (call = coco_sqs_call_free(s, COCO_SQS_RECEIVE, now)) != NULL)
    {
        /* all but the URL, escaped at most to six times its length, is short */
        if (coco_aws_request_reserve(&call->http, s->url.len * 6 + 256)
            != COCO_OK)
        {
            s->channels[COCO_SQS_RECEIVE].not_before = now + COCO_SQS_PAUSE;
            return;
        }

        coco_json_out_init(&out, call->http.body, call->http.body_size);
        coco_sqs_receive_encode(&out, s->url,
                                s->singly > 0 ? 1 : COCO_SQS_BATCH, s->wait,
                                s->visibility);
        call->http.body_len = out.len;

        if (coco_sqs_call_start(s, call, s->wait * 1000 + COCO_SQS_ANSWER, now)
            != COCO_OK)
        {
            return;
        }

        s->singly -= s->singly > 0;
    }
}


static void
coco_sqs_remove_begin(coco_source_sqs_t *s, int64_t now)
{
    size_t            waiting;
    coco_sqs_call_t  *call;

    while ((waiting = coco_sqs_slots_waiting(s->slots)) > 0) {

        if (s->gather_until == 0) {
            s->gather_until = now + COCO_SQS_GATHER;
        }

        if (waiting < COCO_SQS_BATCH && now < s->gather_until
            && s->close_at == 0)
        {
            return;
        }

        call = coco_sqs_call_free(s, COCO_SQS_REMOVE, now);
        if (call == NULL) {
            return;
        }

        s->gather_until = 0;
        call->count = coco_sqs_slots_committed(s->slots, call->tags,
                                               COCO_SQS_BATCH);

        if (coco_sqs_batch_start(s, call, COCO_SQS_DELETE, now) != COCO_OK) {
            return;
        }
    }
}


static void
coco_sqs_extend_begin(coco_source_sqs_t *s, int64_t now)
{
    coco_sqs_call_t  *call;

    while (coco_sqs_slots_due_at(s->slots) <= now
           && (call = coco_sqs_call_free(s, COCO_SQS_EXTEND, now)) != NULL)
    {
        call->returning = false;
        call->count = coco_sqs_slots_due(s->slots, now, call->tags,
                                         COCO_SQS_BATCH);

        if (call->count > 0
            && coco_sqs_batch_start(s, call, (int) s->visibility, now)
               != COCO_OK)
        {
            return;
        }
    }
}


/* What no lane will commit any more is for others, at once. */
static void
coco_sqs_return_begin(coco_source_sqs_t *s, int64_t now)
{
    coco_sqs_call_t  *call;

    while ((call = coco_sqs_call_free(s, COCO_SQS_EXTEND, now)) != NULL) {
        call->returning = true;
        call->count = coco_sqs_slots_undone(s->slots, call->tags,
                                            COCO_SQS_BATCH);

        if (call->count == 0
            || coco_sqs_batch_start(s, call, 0, now) != COCO_OK)
        {
            return;
        }
    }
}


/* NULL while all are busy or the role has to wait. */
static coco_sqs_call_t *
coco_sqs_call_free(coco_source_sqs_t *s, coco_sqs_role_e role, int64_t now)
{
    if (now < s->channels[role].not_before
        || s->busy[role] * COCO_SQS_ROLES == s->call_count)
    {
        return NULL;
    }

    for (size_t i = role; i < s->call_count; i += COCO_SQS_ROLES) {
        if (!s->calls[i].busy) {
            return &s->calls[i];
        }
    }

    return NULL;
}


static int
coco_sqs_batch_start(coco_source_sqs_t *s, coco_sqs_call_t *call,
    int visibility, int64_t now)
{
    int              rc = COCO_ERROR;
    coco_str_t       receipts[COCO_SQS_BATCH];
    coco_json_out_t  out;

    for (size_t i = 0; i < call->count; i++) {
        receipts[i] = coco_sqs_slots_receipt(s->slots, call->tags[i]);
    }

    /* twice at most: the first time tells how long it is */
    for ( ;; ) {
        coco_json_out_init(&out, call->http.body, call->http.body_size);
        coco_sqs_batch_encode(&out, s->url, receipts, call->count,
                              visibility);
        call->http.body_len = out.len;

        if (coco_json_out_ok(&out)) {
            rc = coco_sqs_call_start(s, call, COCO_SQS_ANSWER, now);
            break;
        }

        if (coco_aws_request_reserve(&call->http, out.len) != COCO_OK) {
            s->channels[call->role].not_before = now + COCO_SQS_PAUSE;
            break;
        }
    }

    if (rc != COCO_OK) {
        for (size_t i = 0; i < call->count; i++) {
            coco_sqs_again(s, call, i, now);
        }
    }

    return rc;
}


static int
coco_sqs_call_start(coco_source_sqs_t *s, coco_sqs_call_t *call,
    unsigned timeout_ms, int64_t now)
{
    int                     rc = COCO_ERROR;
    const coco_aws_keys_t  *keys;

    keys = coco_aws_keys_hold(s->options.credentials);

    if (keys != NULL) {
        rc = coco_aws_request_start(&call->http, s->multi, keys,
                                    coco_sqs_targets[call->role], timeout_ms);
    }

    coco_aws_keys_release(s->options.credentials, keys);

    if (rc != COCO_OK) {
        s->connected = false;
        s->channels[call->role].not_before = now + COCO_SQS_PAUSE;
        return COCO_ERROR;
    }

    call->busy = true;
    call->started_at = now;
    s->busy[call->role]++;

    return COCO_OK;
}


/* True when a call has ended: there may be something to begin. */
static bool
coco_sqs_perform(coco_source_sqs_t *s)
{
    int       left;
    bool      ended = false;
    char     *call;
    CURLMsg  *message;

    curl_multi_perform(s->multi, &left);

    while ((message = curl_multi_info_read(s->multi, &left)) != NULL) {
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        coco_sqs_call_end(s, (coco_sqs_call_t *) call, message->data.result);
        ended = true;
    }

    return ended;
}


static void
coco_sqs_call_end(coco_source_sqs_t *s, coco_sqs_call_t *call,
    CURLcode result)
{
    long          status;
    int64_t       now;
    coco_str_t    text;
    coco_error_t  err;

    status = coco_aws_request_end(&call->http, s->multi, result);
    now = coco_sqs_now();
    call->busy = false;
    s->busy[call->role]--;

    /* never NULL: an empty answer is no JSON */
    text.data = call->http.reply.len > 0 ? call->http.reply.data : "";
    text.len = call->http.reply.len;

    if (status == 200
        && coco_sqs_answers[call->role](s, call, text, &err) == COCO_OK)
    {
        return;
    }

    for (size_t i = 0; call->role != COCO_SQS_RECEIVE && i < call->count; i++)
    {
        coco_sqs_again(s, call, i, now);
    }

    if (call->role == COCO_SQS_RECEIVE
        && (status == 200 || result == CURLE_WRITE_ERROR))
    {
        /* one message may be what makes the answer unreadable or too long:
         * the others must not wait for it */
        s->singly = (unsigned) s->options.config->sqs_connections
                    * COCO_SQS_BATCH;
    }

    if (status == 200) {
        coco_sqs_back_off(s, call, now);
        coco_sqs_log(s, call->role, coco_string("Unreadable"),
                     (coco_str_t) { err.reason, strlen(err.reason) },
                     "check that sqs.endpoint is SQS's");
        return;
    }

    coco_sqs_failed(s, call, status, text, now);
}


static int
coco_sqs_received(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err)
{
    size_t                count = 0;
    int64_t               now;
    const char           *why;
    coco_sqs_messages_t   messages;
    coco_sqs_received_t   received;
    coco_sqs_channel_t   *channel;

    if (coco_sqs_messages_read(&messages, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    now = coco_sqs_now();
    channel = &s->channels[COCO_SQS_RECEIVE];

    while (coco_sqs_messages_next(&messages, &received)) {
        count++;

        if (coco_sqs_intake_receive(&s->intake, &received, now,
                                    now + s->visibility * 500LL, &why)
            != COCO_OK)
        {
            coco_metrics_add(COCO_M_SQS_ERRORS, s->lane, 1);
            coco_sqs_log(s, COCO_SQS_RECEIVE, coco_string("NotTaken"),
                         (coco_str_t) { why, strlen(why) },
                         "the message comes again");
        }
    }

    s->connected = true;
    coco_backoff_reset(&channel->backoff);

    if (count == 0 && now - call->started_at < COCO_SQS_PAUSE) {
        channel->not_before = now + COCO_SQS_PAUSE;
    }

    return COCO_OK;
}


static int
coco_sqs_removed(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err)
{
    size_t              deleted = 0, again = 0;
    int64_t             now;
    coco_str_t          code;
    coco_sqs_outcome_e  outcome[COCO_SQS_BATCH];

    if (coco_sqs_batch_read(outcome, &code, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    now = coco_sqs_now();

    for (size_t i = 0; i < call->count; i++) {
        if (outcome[i] == COCO_SQS_FAILED || outcome[i] == COCO_SQS_UNSAID) {
            coco_sqs_again(s, call, i, now);
            again++;
            continue;
        }

        /* one whose receipt is refused comes again, as a duplicate */
        coco_sqs_slots_drop(s->slots, call->tags[i]);
        deleted += outcome[i] == COCO_SQS_SUCCEEDED;
    }

    coco_metrics_add(COCO_M_SQS_DELETED, s->lane, deleted);
    s->connected = true;

    if (deleted < call->count) {
        coco_metrics_add(COCO_M_SQS_ERRORS, s->lane, call->count - deleted);
        coco_sqs_log(s, COCO_SQS_REMOVE, code, (coco_str_t) { NULL, 0 },
                     again > 0 ? "tried again"
                     : "visibility ran out before the deletion: raise "
                       "sqs.visibility");
    }

    if (again > 0) {
        coco_sqs_back_off(s, call, now);
    } else {
        coco_backoff_reset(&s->channels[COCO_SQS_REMOVE].backoff);
    }

    return COCO_OK;
}


static int
coco_sqs_extended(coco_source_sqs_t *s, coco_sqs_call_t *call,
    coco_str_t text, coco_error_t *err)
{
    size_t              extended = 0, again = 0;
    int64_t             now;
    coco_str_t          code;
    coco_sqs_outcome_e  outcome[COCO_SQS_BATCH];

    if (coco_sqs_batch_read(outcome, &code, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    now = coco_sqs_now();
    s->connected = true;

    for (size_t i = 0; i < call->count; i++) {
        if (call->returning) {
            coco_sqs_slots_drop(s->slots, call->tags[i]);

        } else if (outcome[i] == COCO_SQS_SUCCEEDED) {
            extended++;

            if (now - coco_sqs_slots_received_at(s->slots, call->tags[i])
                + s->visibility * 1500LL < COCO_SQS_INVISIBLE)
            {
                coco_sqs_slots_redue(s->slots, call->tags[i],
                                     now + s->visibility * 500LL);
            }

        } else if (outcome[i] != COCO_SQS_REFUSED) {
            coco_sqs_again(s, call, i, now);
            again++;
        }

        /* refused: deleted meanwhile, or somebody else has it by now; what we
         * commit of it is no harm, and its deletion frees the slot */
    }

    coco_metrics_add(COCO_M_SQS_EXTENDED, s->lane, extended);

    if (again > 0) {
        coco_metrics_add(COCO_M_SQS_ERRORS, s->lane, again);
        coco_sqs_back_off(s, call, now);
        coco_sqs_log(s, COCO_SQS_EXTEND, code, (coco_str_t) { NULL, 0 },
                     "tried again");
    } else {
        coco_backoff_reset(&s->channels[COCO_SQS_EXTEND].backoff);
    }

    return COCO_OK;
}


/* An entry of a batch that did not succeed and may yet. */
static void
coco_sqs_again(coco_source_sqs_t *s, coco_sqs_call_t *call, size_t i,
    int64_t now)
{
    if (call->role == COCO_SQS_REMOVE) {
        coco_sqs_slots_recommit(s->slots, call->tags[i]);

    } else if (call->returning) {
        coco_sqs_slots_drop(s->slots, call->tags[i]);

    } else {
        coco_sqs_slots_redue(s->slots, call->tags[i], now);
    }
}


static void
coco_sqs_failed(coco_source_sqs_t *s, coco_sqs_call_t *call, long status,
    coco_str_t text, int64_t now)
{
    coco_str_t        detail;
    coco_sqs_error_t  error;

    s->connected = false;
    coco_metrics_add(COCO_M_SQS_ERRORS, s->lane, 1);
    coco_sqs_back_off(s, call, now);

    if (status == 0) {
        detail = (coco_str_t) { call->http.error, strlen(call->http.error) };
        coco_sqs_log(s, call->role, coco_string("NoAnswer"), detail,
                     "check sqs.endpoint and the network");
        return;
    }

    coco_sqs_error_read(&error, status, text);

    if (error.fault == COCO_SQS_FAULT_KEYS) {
        coco_aws_keys_refused(s->options.credentials, call->http.version);
    }

    coco_sqs_log(s, call->role, error.code, error.message, error.remedy);
}


/* Once for all calls that were under way together. */
static void
coco_sqs_back_off(coco_source_sqs_t *s, coco_sqs_call_t *call, int64_t now)
{
    coco_sqs_channel_t  *channel;

    channel = &s->channels[call->role];

    if (call->started_at >= channel->failed_at) {
        channel->failed_at = now;
        channel->not_before = now + coco_backoff_next(&channel->backoff);
    }
}


static void
coco_sqs_log(coco_source_sqs_t *s, coco_sqs_role_e role, coco_str_t code,
    coco_str_t detail, const char *remedy)
{
    coco_sqs_trouble_log(&s->trouble, coco_sqs_now(), s->url,
                         coco_sqs_targets[role], code, detail, remedy);
}


/* When there is something to do, if nothing happens before. */
static int64_t
coco_sqs_until(coco_source_sqs_t *s, int64_t now)
{
    int64_t  until, at, wanted[COCO_SQS_ROLES];

    until = now + COCO_SQS_IDLE;

    wanted[COCO_SQS_RECEIVE] = coco_sqs_receive_wanted(s) ? now : INT64_MAX;
    wanted[COCO_SQS_REMOVE] = INT64_MAX;
    wanted[COCO_SQS_EXTEND] = coco_sqs_slots_due_at(s->slots);

    if (coco_sqs_slots_waiting(s->slots) > 0) {
        /* 0: committed since we looked */
        wanted[COCO_SQS_REMOVE] = s->gather_until;
    }

    for (int i = 0; i < COCO_SQS_ROLES; i++) {
        if (s->busy[i] * COCO_SQS_ROLES == s->call_count) {
            continue;       /* the end of one wakes us */
        }

        at = wanted[i] > s->channels[i].not_before
             ? wanted[i] : s->channels[i].not_before;

        if (wanted[i] != INT64_MAX && at < until) {
            until = at;
        }
    }

    if (s->close_at != 0) {
        return until < s->close_at ? until : s->close_at;
    }

    if (!s->stopping && coco_sqs_slots_held(s->slots) > 0
        && now + COCO_SQS_HELD_RETRY < until)
    {
        until = now + COCO_SQS_HELD_RETRY;
    }

    return until;
}


static int64_t
coco_sqs_now(void)
{
    return coco_clock_monotonic_us() / 1000;
}
