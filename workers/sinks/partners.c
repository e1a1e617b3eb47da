/*
 * Tells partners of their deliveries. A row is claimed, its body stored, and
 * only then sent; what became of it is stored before the next of that delivery
 * is due. Must never send to a delivery's partner what is not the oldest thing
 * it has not heard, nor hold more rows in memory than it has calls.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "sinks/partners.h"
#include "sinks/partners_call.h"
#include "sinks/partners_rows.h"

#define COCO_PARTNERS_LOCK_MS   1000     /* between tries for another's lock */
#define COCO_PARTNERS_SKIP      500      /* rows in a statement */
#define COCO_PARTNERS_DRAIN_MS  2000     /* of a stop */
#define COCO_PARTNERS_STUCK_MS  120000   /* above what a round may take */
#define COCO_PARTNERS_BODY      4096     /* bytes, of most */

struct coco_partners_s {
    const coco_config_t   *config;
    coco_stop_t            stop;
    pthread_t              thread;
    CURLM                 *multi;
    char                  *map_text;
    coco_partner_map_t     maps[COCO_PARTNERS];
    _Atomic int64_t        beat;         /* us, monotonic */
    atomic_bool            sending;
    atomic_uint            in_flight;

    /* the thread's; times in us, monotonic */
    coco_pg_t             *pg;
    coco_backoff_t         backoff;      /* of Postgres */
    int64_t                pg_at;        /* next attempt to connect or lock */
    int64_t                claim_at;
    int64_t                hold_until;   /* after a round that failed */
    int64_t                position_at;
    int64_t                stop_at;      /* 0: no stop */
    bool                   plain;        /* ends without their errors: these
                                            were what Postgres refused */
    char                  *ends;         /* of all calls, as JSON */
    size_t                 ends_size;
    coco_partners_peer_t   peers[COCO_PARTNERS];
};

static int coco_partners_init(coco_partners_t *p, char *error,
    size_t error_size);
static int coco_partners_peer_init(coco_partners_t *p, coco_partner_e partner,
    char *error, size_t error_size);
static void coco_partners_free(coco_partners_t *p);
static void *coco_partners_thread(void *arg);
static void coco_partners_lock(coco_partners_t *p, int64_t now);
static void coco_partners_round(coco_partners_t *p, int64_t now);
static bool coco_partners_finish(coco_partners_t *p);
static void coco_partners_finished(coco_partners_t *p);
static unsigned coco_partners_room(coco_partners_t *p,
    coco_partners_peer_t *peer, int64_t now);
static int coco_partners_claim(coco_partners_t *p,
    coco_partners_peer_t *peer, unsigned room);
static int coco_partners_positions(coco_partners_t *p, int64_t now);
static unsigned coco_partners_position_room(coco_partners_t *p,
    coco_partners_peer_t *peer, int64_t now);
static void coco_partners_take(coco_partners_t *p, coco_partners_peer_t *peer,
    int slot, coco_partner_kind_e kind);
static coco_partners_call_t *coco_partners_call_new(const coco_partners_t *p,
    coco_partners_peer_t *peer, const coco_id_t *id);
static void coco_partners_call_fill(coco_partners_call_t *call,
    coco_partners_peer_t *peer, const PGresult *res, int row);
static int coco_partners_body(coco_partners_call_t *call,
    const coco_partners_peer_t *peer, const coco_partner_push_t *push);
static int coco_partners_store(coco_partners_t *p);
static int coco_partners_skip(coco_partners_t *p);
static void coco_partners_calls(coco_partners_t *p);
static void coco_partners_send(coco_partners_t *p, coco_partners_peer_t *peer,
    int64_t now);
static void coco_partners_wait(coco_partners_t *p);
static coco_partners_call_t *coco_partners_next(coco_partners_t *p,
    coco_call_state_e state, coco_partners_peer_t **peer, size_t *at);
static int coco_partners_sync(coco_partners_t *p, const char *what);
static void coco_partners_lost(coco_partners_t *p);


int
coco_partners_start(coco_partners_t **ret, const coco_config_t *config,
    char *error, size_t error_size)
{
    coco_partners_t  *p;

    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    if (coco_stop_init(&p->stop) != COCO_OK) {
        snprintf(error, error_size, "out of memory");
        free(p);
        return COCO_ERROR;
    }

    /* again and again is all the same to it */
    (void) curl_global_init(CURL_GLOBAL_DEFAULT);

    p->config = config;
    p->beat = coco_clock_monotonic_us();
    snprintf(error, error_size, "no thread or memory for what partners are "
             "told");

    if (coco_partners_init(p, error, error_size) != COCO_OK
        || pthread_create(&p->thread, NULL, coco_partners_thread, p) != 0)
    {
        coco_partners_free(p);
        return COCO_ERROR;
    }

    *ret = p;

    return COCO_OK;
}


/* Of what it has made the caller disposes, also of a part of it. */
static int
coco_partners_init(coco_partners_t *p, char *error, size_t error_size)
{
    const coco_config_t  *config = p->config;

    if ((config->uber_base_url != NULL || config->doordash_base_url != NULL)
        && coco_partners_map_load(p->maps, &p->map_text, config->partners_map,
                                  error, error_size) != COCO_OK)
    {
        return COCO_ERROR;
    }

    for (int i = 0; i < COCO_PARTNERS; i++) {
        if (coco_partners_peer_init(p, (coco_partner_e) i, error, error_size)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    p->multi = curl_multi_init();
    p->ends_size = config->partners_concurrency * COCO_PARTNERS
                   * COCO_PARTNERS_END_MAX + 2;
    p->ends = malloc(p->ends_size);
    p->pg = coco_pg_create(config->postgres_conninfo,
                           coco_partners_statements, COCO_P_STATEMENTS,
                           &p->stop, -1);

    if (p->multi == NULL || p->ends == NULL || p->pg == NULL) {
        return COCO_ERROR;
    }

    /* all stay connected, and that of the tokens */
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS,
                      (long) config->partners_concurrency * COCO_PARTNERS + 1);

    return COCO_OK;
}


static int
coco_partners_peer_init(coco_partners_t *p, coco_partner_e partner,
    char *error, size_t error_size)
{
    bool                   uber = partner == COCO_PARTNER_UBER;
    size_t                 len;
    coco_str_t             path;
    const coco_config_t   *c = p->config;
    coco_partners_peer_t  *peer = &p->peers[partner];

    peer->config = c;
    peer->partner = partner;
    peer->base_url = uber ? c->uber_base_url : c->doordash_base_url;
    peer->map = &p->maps[partner];
    peer->seed = (unsigned) coco_clock_monotonic_us() ^ (unsigned) partner;
    coco_partners_gate_init(&peer->gate, (unsigned) (uber ? c->uber_rate
                                                         : c->doordash_rate),
                            (unsigned) c->partners_breaker_failures,
                            (unsigned) c->partners_breaker_open,
                            coco_clock_monotonic_us());

    if (peer->base_url == NULL) {
        return COCO_OK;
    }

    len = strlen(peer->base_url);
    len -= len > 0 && peer->base_url[len - 1] == '/';

    for (int i = 0; i < COCO_PARTNER_KINDS; i++) {
        path = peer->map->forms[i].path;

        if (asprintf(&peer->urls[i], "%.*s%.*s", (int) len, peer->base_url,
                     (int) path.len, path.data ? path.data : "") == -1)
        {
            peer->urls[i] = NULL;
            return COCO_ERROR;
        }
    }

    peer->calls = calloc(c->partners_concurrency, sizeof(*peer->calls));

    return peer->calls == NULL ? COCO_ERROR
           : coco_partners_auth_init(&peer->auth, c, partner, error,
                                     error_size);
}


static void
coco_partners_free(coco_partners_t *p)
{
    coco_partners_peer_t  *peer;

    for (int i = 0; i < COCO_PARTNERS; i++) {
        peer = &p->peers[i];

        for (size_t n = 0; peer->calls != NULL
                           && n < p->config->partners_concurrency; n++)
        {
            coco_partners_call_reset(&peer->calls[n], peer, p->multi);
            curl_easy_cleanup(peer->calls[n].easy);
        }

        if (peer->auth.fetching) {
            curl_multi_remove_handle(p->multi, peer->auth.easy);
        }

        coco_partners_auth_free(&peer->auth);
        free(peer->calls);
        free(peer->urls[COCO_PARTNER_STATUS]);
        free(peer->urls[COCO_PARTNER_LOCATION]);
    }

    curl_multi_cleanup(p->multi);
    coco_pg_destroy(p->pg);
    coco_stop_free(&p->stop);
    free(p->ends);
    free(p->map_text);
    free(p);
}


void
coco_partners_stop(coco_partners_t *p)
{
    coco_stop_set(&p->stop);
    curl_multi_wakeup(p->multi);
    pthread_join(p->thread, NULL);
    coco_partners_free(p);
}


void
coco_partners_status(coco_partners_t *p, coco_partners_status_t *ret)
{
    ret->alive = coco_clock_monotonic_us() - atomic_load(&p->beat)
                 < COCO_PARTNERS_STUCK_MS * 1000LL;
    ret->sending = atomic_load(&p->sending);
    ret->in_flight = atomic_load(&p->in_flight);
}


static void *
coco_partners_thread(void *arg)
{
    int64_t           now;
    sigset_t          pipe;
    coco_partners_t  *p = arg;

    /* libcurl writes to sockets that may be gone: an error, not a signal */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    for ( ;; ) {
        now = coco_clock_monotonic_us();
        atomic_store(&p->beat, now);

        if (atomic_load(&p->stop.set)) {
            p->stop_at = p->stop_at != 0 ? p->stop_at
                         : now + COCO_PARTNERS_DRAIN_MS * 1000LL;

            if (now >= p->stop_at || !p->sending
                || (p->peers[0].in_flight == 0 && p->peers[1].in_flight == 0))
            {
                break;
            }
        }

        if (!p->sending) {
            coco_partners_lock(p, now);
        }

        if (p->sending) {
            coco_partners_round(p, now);
            coco_partners_calls(p);
            atomic_store(&p->in_flight, p->peers[0].in_flight
                                        + p->peers[1].in_flight);
        }

        coco_partners_wait(p);
    }

    coco_pg_close(p->pg);
    atomic_store(&p->sending, false);

    return NULL;
}


static void
coco_partners_lock(coco_partners_t *p, int64_t now)
{
    int  slot;

    if (now < p->pg_at) {
        return;
    }

    p->pg_at = now + COCO_PARTNERS_LOCK_MS * 1000LL;

    if (coco_pg_open(p->pg) != COCO_OK) {
        p->pg_at = now + coco_backoff_next(&p->backoff) * 1000LL;
        return;
    }

    coco_pg_rows(p->pg, COCO_P_LOCK);
    slot = coco_pg_send(p->pg);

    if (coco_partners_sync(p, "lock") != COCO_OK
        || coco_pg_get_bool(coco_pg_result(p->pg, slot), 0, 0) != 1)
    {
        return;
    }

    coco_pg_rows(p->pg, COCO_P_TAKE_OVER);
    (void) coco_pg_send(p->pg);

    if (coco_partners_sync(p, "take over") != COCO_OK) {
        return;
    }

    coco_backoff_reset(&p->backoff);
    p->claim_at = p->position_at = 0;
    atomic_store(&p->sending, true);
}


/* Stores what has ended and claims what may be sent next, in one transaction;
 * then the bodies of that, before any of it leaves. */
static void
coco_partners_round(coco_partners_t *p, int64_t now)
{
    int       claims[COCO_PARTNERS];
    bool      queued;
    unsigned  room;

    if (now < p->hold_until) {
        return;
    }

    queued = coco_partners_finish(p);

    if (!queued && now < p->claim_at) {
        return;
    }

    p->claim_at = now + (int64_t) p->config->partners_poll * 1000;

    for (int i = 0; i < COCO_PARTNERS; i++) {
        room = coco_partners_room(p, &p->peers[i], now);
        claims[i] = room > 0 ? coco_partners_claim(p, &p->peers[i], room) : -1;
        queued |= claims[i] != -1;
    }

    if (queued && coco_partners_sync(p, "claim") != COCO_OK) {
        return;
    }

    coco_partners_finished(p);

    for (int i = 0; i < COCO_PARTNERS; i++) {
        if (claims[i] != -1) {
            coco_partners_take(p, &p->peers[i], claims[i],
                               COCO_PARTNER_STATUS);
        }
    }

    if (coco_partners_positions(p, now) == COCO_OK
        && coco_partners_store(p) == COCO_OK)
    {
        (void) coco_partners_skip(p);
    }
}


/* Of calls that are OVER; false: there is none. */
static bool
coco_partners_finish(coco_partners_t *p)
{
    size_t                 at = 0;
    coco_json_out_t        out;
    coco_partners_peer_t  *peer;
    coco_partners_call_t  *call;

    coco_json_out_init(&out, p->ends, p->ends_size);
    coco_json_array_open(&out);

    while ((call = coco_partners_next(p, COCO_CALL_OVER, &peer, &at))
           != NULL)
    {
        if (p->plain && call->error[0] != '\0') {
            snprintf(call->error, sizeof(call->error), "HTTP %ld",
                     call->status);
        }

        coco_partners_call_encode(&out, call);
    }

    coco_json_array_close(&out);

    if (out.len == 2) {
        return false;
    }

    coco_pg_rows(p->pg, COCO_P_FINISH);
    coco_pg_json(p->pg, (coco_str_t) { p->ends, out.len });
    (void) coco_pg_send(p->pg);

    return true;
}


static void
coco_partners_finished(coco_partners_t *p)
{
    size_t                 at = 0;
    coco_partners_peer_t  *peer;
    coco_partners_call_t  *call;

    while ((call = coco_partners_next(p, COCO_CALL_OVER, &peer, &at))
           != NULL)
    {
        coco_partners_call_reset(call, peer, p->multi);
    }

    p->plain = false;
    coco_backoff_reset(&p->backoff);
}


/* How many pushes may be claimed; those that are OVER make room. */
static unsigned
coco_partners_room(coco_partners_t *p, coco_partners_peer_t *peer,
    int64_t now)
{
    unsigned  in_flight = peer->in_flight;

    if (p->stop_at != 0 || peer->base_url == NULL) {
        return 0;
    }

    if (peer->auth.token[0] == '\0' && now < peer->auth.failed_until) {
        return 0;
    }

    for (size_t i = 0; i < p->config->partners_concurrency; i++) {
        in_flight -= peer->calls[i].state == COCO_CALL_OVER;
    }

    return coco_partners_gate_room(&peer->gate,
                                   (unsigned) p->config->partners_concurrency,
                                   in_flight, now);
}


/* The slot of its result. */
static int
coco_partners_claim(coco_partners_t *p, coco_partners_peer_t *peer,
    unsigned room)
{
    coco_pg_rows(p->pg, COCO_P_CLAIM);
    coco_pg_text(p->pg, coco_partner_name(peer->partner));
    coco_pg_int(p->pg, (int32_t) room);
    /* two tokens and two calls at most, and the rounds between */
    coco_pg_int(p->pg, (int32_t) (4 * p->config->partners_timeout + 10000));

    return coco_pg_send(p->pg);
}


static int
coco_partners_positions(coco_partners_t *p, int64_t now)
{
    int       slots[COCO_PARTNERS];
    bool      queued = false;
    int64_t   interval = (int64_t) p->config->partners_location_interval;
    unsigned  room;

    if (interval == 0 || now < p->position_at) {
        return COCO_OK;
    }

    p->position_at = now + (interval < 5000 ? interval / 5 : 1000) * 1000;

    for (int i = 0; i < COCO_PARTNERS; i++) {
        room = coco_partners_position_room(p, &p->peers[i], now);
        slots[i] = -1;

        if (room > 0) {
            coco_pg_rows(p->pg, COCO_P_POSITIONS);
            coco_pg_text(p->pg, coco_partner_name(p->peers[i].partner));
            coco_pg_int(p->pg, (int32_t) room);
            coco_pg_int(p->pg, (int32_t) interval);
            coco_pg_int(p->pg, (int32_t) (4 * p->config->partners_timeout
                                          + 10000));
            slots[i] = coco_pg_send(p->pg);
            queued = true;
        }
    }

    if (!queued) {
        return COCO_OK;
    }

    if (coco_partners_sync(p, "positions") != COCO_OK) {
        return COCO_ERROR;
    }

    for (int i = 0; i < COCO_PARTNERS; i++) {
        if (slots[i] != -1) {
            coco_partners_take(p, &p->peers[i], slots[i],
                               COCO_PARTNER_LOCATION);
        }
    }

    return COCO_OK;
}


/* Half of the calls and of the tokens are kept for statuses. */
static unsigned
coco_partners_position_room(coco_partners_t *p, coco_partners_peer_t *peer,
    int64_t now)
{
    unsigned  room, half;

    if (peer->base_url == NULL || !peer->map->forms[COCO_PARTNER_LOCATION].told
        || peer->gate.open_until != 0
        || (peer->gate.rate > 1 && peer->gate.tokens < peer->gate.rate / 2.0))
    {
        return 0;
    }

    room = coco_partners_room(p, peer, now);
    half = (unsigned) (p->config->partners_concurrency + 1) / 2;
    half = half > peer->in_flight ? half - peer->in_flight : 0;

    return room < half ? room : half;
}


static void
coco_partners_take(coco_partners_t *p, coco_partners_peer_t *peer, int slot,
    coco_partner_kind_e kind)
{
    coco_id_t              id;
    PGresult              *res = coco_pg_result(p->pg, slot);
    coco_partners_call_t  *call;

    coco_partners_gate_take(&peer->gate, (unsigned) PQntuples(res));

    for (int row = 0; row < PQntuples(res); row++) {
        coco_pg_get_uuid(&id, res, row, COCO_P_ID);
        call = coco_partners_call_new(p, peer, &id);

        if (call != NULL) {
            call->kind = kind;
            coco_partners_call_fill(call, peer, res, row);
        }
    }
}


/* NULL: this push is under way already, and was claimed once more because that
 * takes long. There is a free one, for no more is claimed than there are. */
static coco_partners_call_t *
coco_partners_call_new(const coco_partners_t *p, coco_partners_peer_t *peer,
    const coco_id_t *id)
{
    coco_partners_call_t  *call, *found = NULL;

    for (size_t i = 0; i < p->config->partners_concurrency; i++) {
        call = &peer->calls[i];

        if (call->state == COCO_CALL_FREE) {
            found = call;

        } else if (memcmp(&call->id, id, sizeof(*id)) == 0) {
            return NULL;
        }
    }

    if (found != NULL) {
        found->id = *id;
        found->state = COCO_CALL_STORE;
        peer->in_flight++;
    }

    return found;
}


static void
coco_partners_call_fill(coco_partners_call_t *call,
    coco_partners_peer_t *peer, const PGresult *res, int row)
{
    coco_str_t           body = coco_pg_get(res, row, COCO_P_BODY);
    coco_partner_push_t  push;

    call->at = coco_pg_get_int64(res, row, COCO_P_AT);
    call->attempted = (unsigned) coco_pg_get_int64(res, row,
                                                   COCO_P_ATTEMPTED);

    if (body.data != NULL) {
        call->state = COCO_CALL_TOKEN;
        call->body = strndup(body.data, body.len);
        call->body_len = body.len;

        if (call->body == NULL) {
            coco_partners_call_fail(call, peer, "out of memory");
        }

        return;
    }

    coco_partners_push_read(&push, res, row);

    if (!coco_partner_map_told(peer->map, call->kind, push.status)) {
        coco_partners_call_skip(call);
        coco_metrics_add(COCO_M_PUSH_SKIPPED, (coco_lane_id_e) peer->partner,
                         1);
        return;
    }

    if (coco_partners_body(call, peer, &push) != COCO_OK) {
        coco_partners_call_fail(call, peer, "out of memory");
    }
}


static int
coco_partners_body(coco_partners_call_t *call,
    const coco_partners_peer_t *peer, const coco_partner_push_t *push)
{
    size_t           size = COCO_PARTNERS_BODY;
    coco_json_out_t  out;

    for ( ;; ) {
        call->body = malloc(size);
        if (call->body == NULL) {
            return COCO_ERROR;
        }

        coco_json_out_init(&out, call->body, size);
        coco_partner_map_encode(&out, peer->map, call->kind, push);
        call->body_len = out.len;

        if (coco_json_out_ok(&out)) {
            return COCO_OK;
        }

        free(call->body);
        size = out.len;
    }
}


/* COCO_ERROR: none of them may leave yet. */
static int
coco_partners_store(coco_partners_t *p)
{
    size_t                 at = 0;
    coco_partners_peer_t  *peer;
    coco_partners_call_t  *call;

    if (coco_partners_next(p, COCO_CALL_STORE, &peer, &at) == NULL) {
        return COCO_OK;
    }

    at = 0;
    coco_pg_rows(p->pg, COCO_P_STORE);

    while ((call = coco_partners_next(p, COCO_CALL_STORE, &peer, &at))
           != NULL)
    {
        coco_pg_uuid(p->pg, &call->id);
        coco_pg_text(p->pg, (coco_str_t) { call->body, call->body_len });
    }

    (void) coco_pg_send(p->pg);

    if (coco_partners_sync(p, "store") != COCO_OK) {
        return COCO_ERROR;
    }

    at = 0;

    while ((call = coco_partners_next(p, COCO_CALL_STORE, &peer, &at))
           != NULL)
    {
        call->state = COCO_CALL_TOKEN;
    }

    return COCO_OK;
}


/* Of partners that are told nothing. Each in a transaction of its own: one
 * locks deliveries in their order, two after each other would not. */
static int
coco_partners_skip(coco_partners_t *p)
{
    int                    slot;
    int64_t                rows;
    coco_partners_peer_t  *peer;

    for (int i = 0; i < COCO_PARTNERS && p->stop_at == 0; i++) {
        peer = &p->peers[i];

        if (peer->base_url != NULL) {
            continue;
        }

        coco_pg_rows(p->pg, COCO_P_SKIP);
        coco_pg_text(p->pg, coco_partner_name(peer->partner));
        coco_pg_int(p->pg, COCO_PARTNERS_SKIP);
        slot = coco_pg_send(p->pg);

        if (coco_partners_sync(p, "skip") != COCO_OK) {
            return COCO_ERROR;
        }

        rows = coco_pg_get_int64(coco_pg_result(p->pg, slot), 0, 0);
        coco_metrics_add(COCO_M_PUSH_SKIPPED, (coco_lane_id_e) peer->partner,
                         (uint64_t) rows);

        if (rows == COCO_PARTNERS_SKIP) {
            p->claim_at = 0;
        }
    }

    return COCO_OK;
}


/* Begins what can be, and takes what libcurl is through with. */
static void
coco_partners_calls(coco_partners_t *p)
{
    int                    left;
    void                  *call;
    int64_t                now = coco_clock_monotonic_us();
    CURLMsg               *message;
    CURLcode               code;
    coco_partners_peer_t  *peer;

    for (int i = 0; i < COCO_PARTNERS; i++) {
        coco_partners_send(p, &p->peers[i], now);
    }

    curl_multi_perform(p->multi, &left);
    now = coco_clock_monotonic_us();

    while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }

        code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);

        if (call == NULL) {
            (void) coco_partners_auth_fetched(
                       &p->peers[COCO_PARTNER_UBER].auth, p->multi, code, now);
            continue;
        }

        peer = &p->peers[COCO_PARTNER_UBER];

        if ((coco_partners_call_t *) call < peer->calls
            || (coco_partners_call_t *) call
               >= peer->calls + p->config->partners_concurrency)
        {
            peer = &p->peers[COCO_PARTNER_DOORDASH];
        }

        coco_partners_call_done(call, peer, p->multi, code, now);
    }

    for (int i = 0; i < COCO_PARTNERS; i++) {
        coco_metrics_set(COCO_G_PUSH_LEFT_ALONE, (coco_lane_id_e) i,
                         p->peers[i].gate.open_until != 0);
    }
}


static void
coco_partners_send(coco_partners_t *p, coco_partners_peer_t *peer,
    int64_t now)
{
    int                    rc = COCO_AGAIN;
    coco_partners_call_t  *call;

    for (size_t i = 0; peer->base_url != NULL
                       && i < p->config->partners_concurrency; i++)
    {
        call = &peer->calls[i];

        if (call->state != COCO_CALL_TOKEN) {
            continue;
        }

        rc = coco_partners_auth_ready(&peer->auth, p->multi, now);

        if (rc == COCO_AGAIN) {
            return;
        }

        if (rc != COCO_OK) {
            coco_partners_call_fail(call, peer, peer->auth.error);

        } else if (coco_partners_call_send(call, peer, p->multi, now)
                   != COCO_OK)
        {
            coco_partners_call_fail(call, peer, "out of memory");
        }
    }
}


/* Until something has come, or is due. */
static void
coco_partners_wait(coco_partners_t *p)
{
    size_t                 over = 0, token = 0;
    int64_t                until = p->claim_at;
    coco_partners_peer_t  *peer;

    if (!p->sending) {
        until = p->pg_at;

    } else if (coco_partners_next(p, COCO_CALL_OVER, &peer, &over) != NULL
               || (coco_partners_next(p, COCO_CALL_TOKEN, &peer, &token)
                   != NULL && !peer->auth.fetching))
    {
        until = 0;
    }

    until = until > p->hold_until ? until : p->hold_until;
    until -= coco_clock_monotonic_us();

    curl_multi_poll(p->multi, NULL, 0,
                    until > 0 ? (int) (until / 1000 + 1) : 0, NULL);
}


/* The next call in that state, from *at on; NULL: there is no more. */
static coco_partners_call_t *
coco_partners_next(coco_partners_t *p, coco_call_state_e state,
    coco_partners_peer_t **peer, size_t *at)
{
    size_t                 count = p->config->partners_concurrency;
    coco_partners_call_t  *call;

    for ( /* void */ ; *at < count * COCO_PARTNERS; (*at)++) {
        *peer = &p->peers[*at / count];

        if ((*peer)->calls == NULL) {
            continue;
        }

        call = &(*peer)->calls[*at % count];

        if (call->state == state) {
            (*at)++;
            return call;
        }
    }

    return NULL;
}


/* A connection that is lost has lost the lock. What was refused for what it
 * holds is the partner's words: they are left out. */
static int
coco_partners_sync(coco_partners_t *p, const char *what)
{
    coco_pg_rc_e  rc = coco_pg_sync(p->pg);

    if (rc == COCO_PG_DONE) {
        return COCO_OK;
    }

    coco_log(COCO_LOG_WARN, "partners_failed", "step", "%s", what, "error",
             "%s", coco_pg_error(p->pg)->message, NULL);

    p->plain = rc == COCO_PG_DATA;
    p->hold_until = coco_clock_monotonic_us()
                    + coco_backoff_next(&p->backoff) * 1000LL;

    if (coco_pg_socket(p->pg) == -1) {
        coco_partners_lost(p);
    }

    return COCO_ERROR;
}


/* Another worker may send what is under way here; it has the same keys. */
static void
coco_partners_lost(coco_partners_t *p)
{
    coco_partners_peer_t  *peer;

    for (int i = 0; i < COCO_PARTNERS; i++) {
        peer = &p->peers[i];

        for (size_t n = 0; peer->calls != NULL
                           && n < p->config->partners_concurrency; n++)
        {
            coco_partners_call_reset(&peer->calls[n], peer, p->multi);
        }

        /* another worker's to say */
        coco_metrics_set(COCO_G_PUSH_LEFT_ALONE, (coco_lane_id_e) i, 0);
    }

    p->pg_at = p->hold_until;
    atomic_store(&p->in_flight, 0);
    atomic_store(&p->sending, false);
}
