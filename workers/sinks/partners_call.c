/*
 * Calls to partners. Must never send a body other than the stored one, nor
 * log or store what shows who we are.
 */

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "log.h"
#include "metrics.h"
#include "sinks/partners_call.h"

#define COCO_CALL_RETRY_AFTER_MAX  3600     /* s; what is longer is no answer
                                               to one call */
#define COCO_CALL_TOKEN_PART       8

static int coco_call_headers(coco_partners_call_t *call,
    const coco_partners_peer_t *peer);
static void coco_call_headers_free(coco_partners_call_t *call);
static size_t coco_call_write(char *data, size_t size, size_t count,
    void *user);
static void coco_call_judge(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLcode code, int64_t now);
static bool coco_call_tells(const coco_partners_call_t *call,
    const char *token);
static bool coco_call_permanent(long status);
static void coco_call_explain(coco_partners_call_t *call, CURLcode code);
static void coco_call_again(coco_partners_call_t *call,
    coco_partners_peer_t *peer, int64_t now);
static int64_t coco_call_delay(const coco_partners_call_t *call,
    coco_partners_peer_t *peer);
static void coco_call_count(const coco_partners_call_t *call,
    const coco_partners_peer_t *peer);


static const char *const  coco_call_ends[] = {
    [COCO_END_DELIVERED] = "DELIVERED",
    [COCO_END_PENDING] = "PENDING",
    [COCO_END_REFUSED] = "REFUSED",
    [COCO_END_FAILED] = "FAILED",
    [COCO_END_SKIPPED] = "SKIPPED",
};


int
coco_partners_call_send(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi, int64_t now)
{
    const coco_partner_form_t  *form = &peer->map->forms[call->kind];

    if (call->easy == NULL) {
        call->easy = coco_partners_easy(peer->config, call->curl_error);
        if (call->easy == NULL) {
            return COCO_ERROR;
        }

        curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, coco_call_write);
        curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);

        /* over TLS one connection may carry them all: it is waited for */
        curl_easy_setopt(call->easy, CURLOPT_PIPEWAIT,
                         (long) (strncmp(peer->base_url, "https", 5) == 0));
    }

    if (coco_call_headers(call, peer) != COCO_OK) {
        return COCO_ERROR;
    }

    call->reply_len = 0;
    call->curl_error[0] = '\0';
    call->token = peer->auth.serial;
    call->begun_at = call->anew ? call->begun_at : now;

    curl_easy_setopt(call->easy, CURLOPT_URL, peer->urls[call->kind]);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE,
                     (long) call->body_len);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST,
                     form->method.data[1] == 'O' ? "POST"
                     : form->method.data[1] == 'U' ? "PUT" : "PATCH");
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);

    if (curl_multi_add_handle(multi, call->easy) != CURLM_OK) {
        return COCO_ERROR;
    }

    call->state = COCO_CALL_SENT;

    return COCO_OK;
}


static int
coco_call_headers(coco_partners_call_t *call,
    const coco_partners_peer_t *peer)
{
    char                       *line;
    char                        key[] = "Idempotency-Key: "
                                        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    char                        bearer[COCO_PARTNERS_TOKEN_MAX + 32];
    bool                        full = true;
    struct curl_slist          *list;
    const coco_partner_map_t   *map = peer->map;

    coco_call_headers_free(call);
    coco_id_format(key + sizeof("Idempotency-Key: ") - 1, &call->id);
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s",
             peer->auth.token);

    /* libcurl would wait for a 100 before a longer body */
    const char  *lines[] = { "Expect:", "Content-Type: application/json", key,
                             bearer };

    for (size_t i = 0; full && i < 4; i++) {
        list = curl_slist_append(call->headers, lines[i]);
        full = list != NULL;
        call->headers = full ? list : call->headers;
    }

    OPENSSL_cleanse(bearer, sizeof(bearer));

    for (size_t i = 0; full && i < map->header_count; i++) {
        if (asprintf(&line, "%.*s: %.*s", (int) map->headers[i].name.len,
                     map->headers[i].name.data,
                     (int) map->headers[i].value.len,
                     map->headers[i].value.data) == -1)
        {
            return COCO_ERROR;
        }

        list = curl_slist_append(call->headers, line);
        free(line);
        full = list != NULL;
        call->headers = full ? list : call->headers;
    }

    return full ? COCO_OK : COCO_ERROR;
}


static void
coco_call_headers_free(coco_partners_call_t *call)
{
    struct curl_slist  *line;

    for (line = call->headers; line != NULL; line = line->next) {
        OPENSSL_cleanse(line->data, strlen(line->data));
    }

    curl_slist_free_all(call->headers);
    call->headers = NULL;
}


/* What is longer than an error quotes is read and dropped. */
static size_t
coco_call_write(char *data, size_t size, size_t count, void *user)
{
    size_t                 room;
    coco_partners_call_t  *call = user;

    count *= size;
    room = sizeof(call->reply) - call->reply_len;
    room = count < room ? count : room;
    memcpy(call->reply + call->reply_len, data, room);
    call->reply_len += room;

    return count;
}


void
coco_partners_call_done(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi, CURLcode code, int64_t now)
{
    call->status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
    curl_multi_remove_handle(multi, call->easy);
    coco_call_headers_free(call);

    if (code == CURLE_OK && call->status == 401) {
        coco_partners_auth_refused(&peer->auth, call->token);

        if (!call->anew) {
            call->anew = true;
            call->state = COCO_CALL_TOKEN;
            return;
        }
    }

    call->state = COCO_CALL_OVER;
    call->took_ms = (now - call->begun_at) / 1000;
    coco_metrics_observe(COCO_H_PARTNER_SECONDS,
                         (coco_lane_id_e) peer->partner,
                         (double) (now - call->begun_at) / 1e6);
    coco_call_judge(call, peer, code, now);
    coco_call_count(call, peer);
}


static void
coco_call_judge(coco_partners_call_t *call, coco_partners_peer_t *peer,
    CURLcode code, int64_t now)
{
    if (code == CURLE_OK && call->status >= 200 && call->status < 300) {
        coco_partners_gate_passed(&peer->gate);
        call->end = COCO_END_DELIVERED;
        call->error[0] = '\0';
        return;
    }

    if (coco_call_tells(call, peer->auth.token)) {
        call->reply_len = 0;
    }

    coco_call_explain(call, code);

    if (code == CURLE_OK && coco_call_permanent(call->status)) {
        coco_partners_gate_passed(&peer->gate);
        call->end = COCO_END_REFUSED;

        coco_log(COCO_LOG_WARN, "push_refused", "partner", "%s",
                 coco_partner_name(peer->partner).data, "error", "%s",
                 call->error, NULL);
        return;
    }

    coco_call_again(call, peer, now);
}


/* Some answers repeat what was asked: then they are not kept. */
static bool
coco_call_tells(const coco_partners_call_t *call, const char *token)
{
    size_t  len = strlen(token);

    len = len < COCO_CALL_TOKEN_PART ? len : COCO_CALL_TOKEN_PART;

    return memmem(call->reply, call->reply_len, "earer ", 6) != NULL
           || (len > 0
               && memmem(call->reply, call->reply_len, token, len) != NULL);
}


static bool
coco_call_permanent(long status)
{
    return status >= 400 && status < 500 && status != 401 && status != 407
           && status != 408 && status != 425 && status != 429;
}


/* For a row and a log: ASCII, for what partners answer may be anything. */
static void
coco_call_explain(coco_partners_call_t *call, CURLcode code)
{
    int     n;
    size_t  i;

    if (code != CURLE_OK) {
        snprintf(call->error, sizeof(call->error), "%s",
                 call->curl_error[0] != '\0' ? call->curl_error
                                             : curl_easy_strerror(code));

    } else {
        n = snprintf(call->error, sizeof(call->error), "HTTP %ld%s%.*s",
                     call->status, call->reply_len > 0 ? ": " : "",
                     (int) call->reply_len, call->reply);
        n = n < (int) sizeof(call->error) ? n : (int) sizeof(call->error) - 1;
        call->error[n] = '\0';
    }

    for (i = 0; call->error[i] != '\0'; i++) {
        if (call->error[i] < ' ' || call->error[i] > '~') {
            call->error[i] = ' ';
        }
    }
}


/* A position is not tried again: the next one is newer. */
static void
coco_call_again(coco_partners_call_t *call, coco_partners_peer_t *peer,
    int64_t now)
{
    curl_off_t  after = 0;

    call->end = call->kind == COCO_PARTNER_LOCATION ? COCO_END_FAILED
                                                    : COCO_END_PENDING;
    call->retry_ms = coco_call_delay(call, peer);

    if (call->status != 0) {
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &after);
        after = after < COCO_CALL_RETRY_AFTER_MAX ? after
                                                  : COCO_CALL_RETRY_AFTER_MAX;
    }

    if (after * 1000 > call->retry_ms) {
        call->retry_ms = after * 1000;
    }

    if (call->status == 429) {
        /* of all our calls, not of this one */
        coco_partners_gate_pause(&peer->gate, now + call->retry_ms * 1000);

    } else if (coco_partners_gate_failed(&peer->gate, now)) {
        coco_log(COCO_LOG_WARN, "partner_left_alone", "partner", "%s",
                 coco_partner_name(peer->partner).data, "ms", "%lld",
                 (long long) (peer->gate.open_until - now) / 1000, "error",
                 "%s", call->error, NULL);
    }
}


static int64_t
coco_call_delay(const coco_partners_call_t *call, coco_partners_peer_t *peer)
{
    uint64_t  ms = peer->config->partners_retry_min;

    for (unsigned i = 1; i < call->attempted; i++) {
        if (ms >= peer->config->partners_retry_max / 2) {
            ms = peer->config->partners_retry_max;
            break;
        }

        ms *= 2;
    }

    return (int64_t) (ms - (unsigned) rand_r(&peer->seed) % (ms / 2 + 1));
}


static void
coco_call_count(const coco_partners_call_t *call,
    const coco_partners_peer_t *peer)
{
    coco_counter_e  counter;

    switch (call->end) {
    case COCO_END_DELIVERED:
        counter = call->kind == COCO_PARTNER_LOCATION ? COCO_M_PUSH_POSITIONS
                                                      : COCO_M_PUSH_DELIVERED;
        break;
    case COCO_END_REFUSED:
        counter = COCO_M_PUSH_REFUSED;
        break;
    case COCO_END_FAILED:
        counter = COCO_M_PUSH_FAILED;
        break;
    case COCO_END_PENDING:
        counter = COCO_M_PUSH_RETRIES;
        break;
    default:
        return;
    }

    coco_metrics_add(counter, (coco_lane_id_e) peer->partner, 1);
}


void
coco_partners_call_fail(coco_partners_call_t *call,
    coco_partners_peer_t *peer, const char *why)
{
    call->state = COCO_CALL_OVER;
    call->end = call->kind == COCO_PARTNER_LOCATION ? COCO_END_FAILED
                                                    : COCO_END_PENDING;
    call->status = 0;
    call->took_ms = 0;
    call->retry_ms = coco_call_delay(call, peer);
    snprintf(call->curl_error, sizeof(call->curl_error), "%s", why);
    coco_call_explain(call, CURLE_FAILED_INIT);
    coco_call_count(call, peer);
}


void
coco_partners_call_skip(coco_partners_call_t *call)
{
    call->state = COCO_CALL_OVER;
    call->end = COCO_END_SKIPPED;
    call->status = 0;
    call->took_ms = 0;
    call->error[0] = '\0';
}


void
coco_partners_call_encode(coco_json_out_t *out,
    const coco_partners_call_t *call)
{
    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_id(out, &call->id);
    coco_json_name(out, "state");
    coco_json_string(out, (coco_str_t) { coco_call_ends[call->end],
                                    strlen(coco_call_ends[call->end]) });
    coco_json_name(out, "at");
    coco_json_int(out, call->at);
    coco_json_name(out, "ms");
    coco_json_int(out, call->took_ms);

    if (call->status != 0) {
        coco_json_name(out, "status");
        coco_json_int(out, call->status);
    }

    if (call->error[0] != '\0') {
        coco_json_name(out, "error");
        coco_json_string(out, (coco_str_t) { call->error,
                                             strlen(call->error) });
    }

    if (call->end == COCO_END_PENDING) {
        coco_json_name(out, "retry");
        coco_json_int(out, call->retry_ms);
    }

    coco_json_object_close(out);
}


void
coco_partners_call_reset(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi)
{
    if (call->state == COCO_CALL_FREE) {
        return;
    }

    if (call->state == COCO_CALL_SENT) {
        curl_multi_remove_handle(multi, call->easy);
    }

    coco_call_headers_free(call);
    free(call->body);
    call->body = NULL;
    call->anew = false;
    call->state = COCO_CALL_FREE;
    peer->in_flight--;
}
