/*
 * The feed of the zone. What it applies may come twice, late, or from a
 * process that has lost the lease without knowing: parts carry versions, and
 * stamps their time. It must never stamp a time of which something may still
 * be to come.
 */

#include "ngx_coco_feed.h"
#include "ngx_coco_feed_pages.h"
#include "ngx_coco_feed_workers.h"
#include "ngx_coco_op.h"
#include "ngx_coco_subscription.h"
#include "coco_json_read.h"

/* milliseconds */
#define NGX_COCO_FEED_PERIOD   100      /* of polls, and of the lease */
#define NGX_COCO_FEED_SILENCE  300      /* Redis answers within, or is lost */
#define NGX_COCO_FEED_RETRY    500      /* after a failure */
#define NGX_COCO_FEED_CUT      500      /* not fresh for so long: it is said */
#define NGX_COCO_FEED_FORGET   600000   /* a worker that says nothing */


/* A pg_snapshot, in memory that grows. */
typedef struct {
    ngx_str_t                 text;       /* empty: none */
    size_t                    size;
    int64_t                   server;     /* it is of: ngx_coco_pages_t */
} ngx_coco_feed_snapshot_t;


/* Times are of ngx_coco_clock(). */
struct ngx_coco_feed_s {
    ngx_coco_ident_t          ident;      /* of the timer */
    ngx_coco_feed_backends_t  to;
    ngx_cycle_t              *cycle;
    ngx_log_t                *log;
    ngx_event_t               timer;
    ngx_pool_t               *pool;       /* of the time that the lease is
                                             held; NULL: it is not */

    ngx_coco_subscription_t  *sub;
    int64_t                   pinged;     /* the PING under way; 0: none */
    int64_t                   heard;      /* the last PING that was answered:
                                             what was published before has
                                             come; 0: nothing is listened to */
    int64_t                   renewed;    /* the last attempt to connect */
    ngx_coco_feed_workers_t   workers;    /* heard since it is listened to */

    ngx_coco_pages_t          changes;
    int64_t                   polled;     /* the last poll's begin */
    int64_t                   poll;       /* the next one's, at least */
    ngx_coco_feed_snapshot_t  since;      /* all that it sees is in the zone */
    ngx_coco_feed_snapshot_t  next;       /* the same, after this poll */

    ngx_coco_pages_t          fleet;
    ngx_uint_t                loading;    /* ngx_coco_zone_loading() */
    int64_t                   load;       /* the next one's begin, at least */
    ngx_coco_feed_snapshot_t  loaded;     /* of its first page */

    int64_t                   cut;        /* since when it is not fresh; 0: it
                                             is */
    unsigned                  said:1;     /* that it is cut */
    unsigned                  news:1;     /* that it is fresh is to be said */
    unsigned                  other:1;    /* another database has answered */
};


static ngx_int_t ngx_coco_feed_hold(ngx_coco_feed_t *feed);
static void ngx_coco_feed_release(ngx_coco_feed_t *feed);
static void ngx_coco_feed_timer_handler(ngx_event_t *ev);

static void ngx_coco_feed_listen(ngx_coco_feed_t *feed, int64_t now);
static void ngx_coco_feed_message(void *data, coco_str_t channel,
    coco_str_t message);
static void ngx_coco_feed_invalidations(ngx_coco_feed_t *feed,
    coco_str_t message);
static ngx_int_t ngx_coco_feed_serials(ngx_coco_feed_t *feed,
    const coco_json_value_t *serials);
static void ngx_coco_feed_supply(ngx_coco_feed_t *feed, coco_str_t message);
static void ngx_coco_feed_pong(void *data);
static void ngx_coco_feed_lost(void *data);
static void ngx_coco_feed_stamp(ngx_coco_feed_t *feed);
static void ngx_coco_feed_restart(ngx_coco_feed_t *feed);

static void ngx_coco_feed_poll(ngx_coco_feed_t *feed, int64_t now);
static ngx_int_t ngx_coco_feed_poll_page(void *data, coco_str_t lines,
    coco_str_t snapshot);
static void ngx_coco_feed_poll_done(void *data, ngx_uint_t whole);
static void ngx_coco_feed_load(ngx_coco_feed_t *feed, int64_t now);
static ngx_int_t ngx_coco_feed_load_page(void *data, coco_str_t lines,
    coco_str_t snapshot);
static void ngx_coco_feed_load_done(void *data, ngx_uint_t whole);

static ngx_uint_t ngx_coco_feed_other(const ngx_coco_feed_t *feed,
    coco_str_t snapshot);
static ngx_int_t ngx_coco_feed_snapshot_set(ngx_coco_feed_snapshot_t *to,
    coco_str_t text, int64_t server, ngx_log_t *log);
static void ngx_coco_feed_snapshot_swap(ngx_coco_feed_snapshot_t *to,
    ngx_coco_feed_snapshot_t *from);
static uint64_t ngx_coco_feed_snapshot_end(const u_char *text, size_t len);
static void ngx_coco_feed_snapshot_free(ngx_coco_feed_snapshot_t *snapshot);

static void ngx_coco_feed_watch(ngx_coco_feed_t *feed, int64_t now);
static void ngx_coco_feed_complain(ngx_coco_feed_t *feed, int64_t now);


static ngx_str_t  ngx_coco_feed_channels[] = {
    ngx_string("coco.invalidate"),
    ngx_string("coco.supply")
};

#define NGX_COCO_FEED_CHANNELS                                               \
    (sizeof(ngx_coco_feed_channels) / sizeof(ngx_coco_feed_channels[0]))


static const ngx_coco_subscriber_t  ngx_coco_feed_subscriber = {
    ngx_coco_feed_message, ngx_coco_feed_pong, ngx_coco_feed_lost
};

static const ngx_coco_pages_reader_t  ngx_coco_feed_poll_reader = {
    ngx_coco_feed_poll_page, ngx_coco_feed_poll_done
};

static const ngx_coco_pages_reader_t  ngx_coco_feed_load_reader = {
    ngx_coco_feed_load_page, ngx_coco_feed_load_done
};


ngx_coco_feed_t *
ngx_coco_feed_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_coco_feed_t));
}


void
ngx_coco_feed_init_process(ngx_coco_feed_t *feed,
    const ngx_coco_feed_backends_t *backends, ngx_cycle_t *cycle)
{
    feed->ident.fd = (ngx_socket_t) -1;
    feed->to = *backends;
    feed->cycle = cycle;
    feed->log = cycle->log;

    feed->changes.pg = backends->pg;
    feed->changes.reader = &ngx_coco_feed_poll_reader;
    feed->changes.data = feed;
    feed->changes.log = feed->log;
    feed->changes.timeout = backends->timeout;

    feed->fleet = feed->changes;
    feed->fleet.reader = &ngx_coco_feed_load_reader;

    feed->timer.handler = ngx_coco_feed_timer_handler;
    feed->timer.data = feed;
    feed->timer.log = feed->log;
    feed->timer.cancelable = 1;

    if (backends->redis) {
        ngx_add_timer(&feed->timer, 0);
    }
}


void
ngx_coco_feed_exit_process(ngx_coco_feed_t *feed)
{
    if (feed->timer.timer_set) {
        ngx_del_timer(&feed->timer);
    }

    if (feed->to.zone) {
        ngx_coco_feed_release(feed);
    }
}


static void
ngx_coco_feed_timer_handler(ngx_event_t *ev)
{
    ngx_coco_feed_t *feed = ev->data;

    int64_t  now;

    if (ngx_exiting) {
        /* another process takes it over at once; the timer of what is under
         * way would keep this one */
        ngx_coco_feed_release(feed);
        return;
    }

    ngx_add_timer(&feed->timer, NGX_COCO_FEED_PERIOD);

    if (!ngx_coco_zone_lease(feed->to.zone)
        || (feed->pool == NULL && ngx_coco_feed_hold(feed) != NGX_OK))
    {
        ngx_coco_feed_release(feed);
        return;
    }

    now = ngx_coco_clock();

    ngx_coco_feed_listen(feed, now);
    ngx_coco_feed_poll(feed, now);
    ngx_coco_feed_load(feed, now);
    ngx_coco_zone_sweep(feed->to.zone);
    ngx_coco_feed_watch(feed, now);
}


static ngx_int_t
ngx_coco_feed_hold(ngx_coco_feed_t *feed)
{
    feed->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, feed->log);
    if (feed->pool == NULL) {
        return NGX_ERROR;
    }

    feed->pinged = 0;
    feed->heard = 0;
    feed->polled = 0;
    feed->poll = 0;
    feed->load = 0;
    feed->workers.count = 0;
    feed->cut = ngx_coco_clock();
    feed->renewed = feed->cut;
    feed->said = 0;
    feed->news = 1;
    feed->other = 0;

    feed->sub = ngx_coco_subscription_open(feed->pool, feed->to.redis,
                                           NGX_COCO_FEED_CHANNELS,
                                           ngx_coco_feed_channels,
                                           &ngx_coco_feed_subscriber, feed,
                                           feed->cycle);

    return feed->sub ? NGX_OK : NGX_ERROR;
}


/* Also when it is held by another process already, or was never. */

static void
ngx_coco_feed_release(ngx_coco_feed_t *feed)
{
    if (feed->pool == NULL) {
        return;
    }

    ngx_coco_pages_cancel(&feed->changes);
    ngx_coco_pages_cancel(&feed->fleet);

    ngx_coco_feed_snapshot_free(&feed->since);
    ngx_coco_feed_snapshot_free(&feed->next);
    ngx_coco_feed_snapshot_free(&feed->loaded);

    if (feed->sub) {
        ngx_coco_subscription_close(feed->sub);
        feed->sub = NULL;
    }

    ngx_destroy_pool(feed->pool);
    feed->pool = NULL;

    ngx_coco_zone_release(feed->to.zone);
}


/* --- Redis ---------------------------------------------------------------- */


static void
ngx_coco_feed_listen(ngx_coco_feed_t *feed, int64_t now)
{
    if (ngx_coco_feed_workers_forget(&feed->workers,
                                     now - NGX_COCO_FEED_FORGET))
    {
        /* nobody will tell what such a worker had committed last */
        ngx_coco_feed_restart(feed);
    }

    if (feed->pinged) {

        if (now - feed->pinged >= NGX_COCO_FEED_SILENCE) {
            feed->renewed = now;
            ngx_coco_subscription_renew(feed->sub);
        }

        return;
    }

    switch (ngx_coco_subscription_ping(feed->sub)) {

    case NGX_OK:
        feed->pinged = now;
        break;

    case NGX_DECLINED:
        /* the client's attempts become rare, which is too slow here */

        if (now - feed->renewed >= NGX_COCO_FEED_RETRY) {
            feed->renewed = now;
            ngx_coco_subscription_renew(feed->sub);
        }

        break;
    }
}


static void
ngx_coco_feed_message(void *data, coco_str_t channel, coco_str_t message)
{
    ngx_coco_feed_t *feed = data;

    ngx_coco_metrics_add(feed->to.metrics, NGX_COCO_COUNTER_FEED_MESSAGES, 1);

    if (channel.len == ngx_coco_feed_channels[0].len) {
        ngx_coco_feed_invalidations(feed, message);

    } else {
        ngx_coco_feed_supply(feed, message);
    }
}


/* {"serials":[…]}, or {"all":true}, which is also what is taken for granted
 * when it is neither. */

static void
ngx_coco_feed_invalidations(ngx_coco_feed_t *feed, coco_str_t message)
{
    size_t             pos;
    coco_str_t         name;
    coco_error_t       err;
    coco_json_value_t  all, value;

    pos = 0;

    if (coco_json_read(&all, message, &err) == COCO_OK
        && all.type == COCO_JSON_OBJECT
        && coco_json_member_next(&all, &pos, &name, &value))
    {
        if (coco_str_equal(name, coco_string("serials"))
            && ngx_coco_feed_serials(feed, &value) == NGX_OK)
        {
            return;
        }

        if (!coco_str_equal(name, coco_string("all"))) {
            ngx_coco_metrics_add(feed->to.metrics,
                                 NGX_COCO_COUNTER_FEED_REFUSED, 1);
        }
    }

    ngx_coco_feed_restart(feed);
}


static ngx_int_t
ngx_coco_feed_serials(ngx_coco_feed_t *feed, const coco_json_value_t *serials)
{
    size_t             pos;
    coco_json_value_t  serial;

    if (serials->type != COCO_JSON_ARRAY) {
        return NGX_ERROR;
    }

    pos = 0;

    while (coco_json_element_next(serials, &pos, &serial)) {

        /* no serial needs an escape */

        if (serial.type != COCO_JSON_STRING || serial.escaped) {
            return NGX_ERROR;
        }

        ngx_coco_zone_invalidate(feed->to.zone, serial.string);
    }

    return NGX_OK;
}


/* "@<worker>", a beat; with lines; or "@<worker> bye". */

static void
ngx_coco_feed_supply(ngx_coco_feed_t *feed, coco_str_t message)
{
    const char  *end;
    coco_str_t   head;

    static const coco_str_t  bye = { " bye", 4 };

    end = memchr(message.data, LF, message.len);

    head.data = message.data;
    head.len = end ? (size_t) (end - message.data) : message.len;

    if (head.len == 0 || head.data[0] != '@') {
        ngx_coco_metrics_add(feed->to.metrics, NGX_COCO_COUNTER_FEED_REFUSED,
                             1);
        return;
    }

    head.data++;
    head.len--;

    message.len = end ? message.len - (end + 1 - message.data) : 0;
    message.data = end ? end + 1 : NULL;

    if (head.len > bye.len
        && ngx_memcmp(head.data + head.len - bye.len, bye.data, bye.len) == 0)
    {
        head.len -= bye.len;
        ngx_coco_feed_workers_bye(&feed->workers, head);

    } else if (ngx_coco_feed_workers_hear(&feed->workers, head, feed->heard,
                                          message.len == 0)
               != NGX_OK)
    {
        ngx_coco_metrics_add(feed->to.metrics, NGX_COCO_COUNTER_FEED_REFUSED,
                             1);
    }

    ngx_coco_zone_apply(feed->to.zone, message, feed->log);
}


static void
ngx_coco_feed_pong(void *data)
{
    ngx_coco_feed_t *feed = data;

    if (feed->pinged == 0) {
        return;
    }

    if (feed->heard == 0) {
        /* what was published before is lost */
        ngx_coco_feed_restart(feed);
    }

    feed->heard = feed->pinged;
    feed->pinged = 0;

    ngx_coco_feed_stamp(feed);
}


static void
ngx_coco_feed_lost(void *data)
{
    ngx_coco_feed_t *feed = data;

    feed->pinged = 0;
    feed->heard = 0;
    feed->workers.count = 0;
}


/*
 * The zone is as fresh as the worker that has been silent for longest: what
 * one has to say it says before its next beat. When it was heard is known from
 * the PING before it: this process may have been too busy to listen.
 */

static void
ngx_coco_feed_stamp(ngx_coco_feed_t *feed)
{
    const ngx_coco_feed_worker_t  *worker;

    worker = ngx_coco_feed_workers_silent(&feed->workers);

    if (feed->heard && worker && !ngx_coco_zone_empty(feed->to.zone)) {
        ngx_coco_zone_stamp(feed->to.zone, NGX_COCO_STAMP_FEED,
                            ngx_min(feed->heard, worker->heard));
    }
}


/* Something may have been missed: nothing of before is served any more, and
 * the fleet is loaded anew. */

static void
ngx_coco_feed_restart(ngx_coco_feed_t *feed)
{
    ngx_coco_pages_cancel(&feed->fleet);
    ngx_coco_zone_invalidate_all(feed->to.zone);
}


/* --- Postgres ------------------------------------------------------------- */


static void
ngx_coco_feed_poll(ngx_coco_feed_t *feed, int64_t now)
{
    if (feed->changes.op || feed->since.text.len == 0 || now < feed->poll) {
        return;
    }

    feed->polled = now;
    feed->next.text.len = 0;

    (void) ngx_coco_pages_start(&feed->changes, &feed->since.text);
}


static ngx_int_t
ngx_coco_feed_poll_page(void *data, coco_str_t lines, coco_str_t snapshot)
{
    ngx_coco_feed_t *feed = data;

    if (feed->next.text.len == 0) {

        if (ngx_coco_feed_other(feed, snapshot)) {
            feed->other = 1;
            return NGX_ERROR;
        }

        if (ngx_coco_feed_snapshot_set(&feed->next, snapshot,
                                       feed->changes.server, feed->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_coco_zone_apply(feed->to.zone, lines, feed->log);

    return NGX_OK;
}


static void
ngx_coco_feed_poll_done(void *data, ngx_uint_t whole)
{
    ngx_coco_feed_t *feed = data;

    if (whole) {
        ngx_coco_feed_snapshot_swap(&feed->since, &feed->next);
        ngx_coco_zone_stamp(feed->to.zone, NGX_COCO_STAMP_CHANGES,
                            feed->polled);
        return;
    }

    feed->poll = ngx_coco_clock() + NGX_COCO_FEED_RETRY;

    if (!feed->other) {
        return;
    }

    feed->other = 0;

    ngx_log_error(NGX_LOG_WARN, feed->log, 0,
                  "zone: Postgres was started anew, is another server, or has "
                  "fewer transactions than before: what is known is dropped, "
                  "as it may be of another database");

    feed->since.text.len = 0;

    ngx_coco_pages_cancel(&feed->fleet);
    ngx_coco_zone_forget(feed->to.zone);
}


static void
ngx_coco_feed_load(ngx_coco_feed_t *feed, int64_t now)
{
    /* a zone without a fleet takes from it where polling begins */

    if (feed->fleet.op || feed->heard == 0 || now < feed->load
        || (!ngx_coco_zone_empty(feed->to.zone) && feed->since.text.len))
    {
        return;
    }

    feed->loading = ngx_coco_zone_loading(feed->to.zone);
    feed->loaded.text.len = 0;

    (void) ngx_coco_pages_start(&feed->fleet, NULL);
}


static ngx_int_t
ngx_coco_feed_load_page(void *data, coco_str_t lines, coco_str_t snapshot)
{
    ngx_coco_feed_t *feed = data;

    if (feed->loaded.text.len == 0
        && ngx_coco_feed_snapshot_set(&feed->loaded, snapshot,
                                      feed->fleet.server, feed->log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_coco_zone_apply(feed->to.zone, lines, feed->log);

    return NGX_OK;
}


static void
ngx_coco_feed_load_done(void *data, ngx_uint_t whole)
{
    ngx_coco_feed_t *feed = data;

    if (!whole) {
        feed->load = ngx_coco_clock() + NGX_COCO_FEED_RETRY;
        return;
    }

    ngx_coco_metrics_add(feed->to.metrics, NGX_COCO_COUNTER_FEED_LOADS, 1);

    if (!ngx_coco_zone_loaded(feed->to.zone, feed->loading)) {
        return;
    }

    /* one that is being polled with was there before this load: it has missed
     * nothing */

    if (feed->since.text.len == 0) {
        ngx_coco_feed_snapshot_swap(&feed->since, &feed->loaded);
    }

    ngx_coco_feed_stamp(feed);
    ngx_coco_feed_poll(feed, ngx_coco_clock());
}


/* A server with another start may be a standby that lacks what was committed
 * last. A virtual machine that was set back goes on with the start it had, and
 * has fewer transactions. */

static ngx_uint_t
ngx_coco_feed_other(const ngx_coco_feed_t *feed, coco_str_t snapshot)
{
    return feed->changes.server != feed->since.server
           || ngx_coco_feed_snapshot_end((u_char *) snapshot.data,
                                         snapshot.len)
              < ngx_coco_feed_snapshot_end(feed->since.text.data,
                                           feed->since.text.len);
}


static ngx_int_t
ngx_coco_feed_snapshot_set(ngx_coco_feed_snapshot_t *to, coco_str_t text,
    int64_t server, ngx_log_t *log)
{
    u_char  *p;

    if (text.len > to->size) {
        p = ngx_alloc(2 * text.len, log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_coco_feed_snapshot_free(to);
        to->text.data = p;
        to->size = 2 * text.len;
    }

    ngx_memcpy(to->text.data, text.data, text.len);
    to->text.len = text.len;
    to->server = server;

    return NGX_OK;
}


static void
ngx_coco_feed_snapshot_swap(ngx_coco_feed_snapshot_t *to,
    ngx_coco_feed_snapshot_t *from)
{
    ngx_coco_feed_snapshot_t  old;

    old = *to;
    *to = *from;
    *from = old;
}


/* "xmin:xmax:…": the first transaction that had not begun yet. */

static uint64_t
ngx_coco_feed_snapshot_end(const u_char *text, size_t len)
{
    size_t    i;
    uint64_t  end;

    for (i = 0; i < len && text[i] != ':'; i++) { /* void */ }

    end = 0;

    for (i++; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        end = end * 10 + (text[i] - '0');
    }

    return end;
}


static void
ngx_coco_feed_snapshot_free(ngx_coco_feed_snapshot_t *snapshot)
{
    if (snapshot->text.data) {
        ngx_free(snapshot->text.data);
        ngx_memzero(snapshot, sizeof(*snapshot));
    }
}


/* --- what is said of it --------------------------------------------------- */


/* Once for each loss that lasts and each return, and when this process takes
 * over. A doubt, which the next poll ends, is no loss. */

static void
ngx_coco_feed_watch(ngx_coco_feed_t *feed, int64_t now)
{
    if (ngx_coco_zone_fresh(feed->to.zone)) {

        if (feed->heard == 0 || feed->since.text.len == 0) {
            /* it still is by what the holder before has stamped */
            return;
        }

        if (feed->news) {
            ngx_log_error(NGX_LOG_NOTICE, feed->log, 0,
                          "zone: fresh after %L ms", now - feed->cut);
        }

        feed->cut = 0;
        feed->said = 0;
        feed->news = 0;
        return;
    }

    if (feed->cut == 0) {
        feed->cut = now;
    }

    if (!feed->said && now - feed->cut >= NGX_COCO_FEED_CUT) {
        feed->said = 1;
        feed->news = 1;
        ngx_coco_feed_complain(feed, now);
    }
}


static void
ngx_coco_feed_complain(ngx_coco_feed_t *feed, int64_t now)
{
    ngx_str_t                      name;
    const ngx_coco_feed_worker_t  *worker;

    static const char  asked[] = "zone: not fresh, the backends are asked: ";

    if (feed->heard == 0) {
        ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                      "%sRedis does not answer the subscription; see that it "
                      "runs where \"coco_redis\" says", asked);
        return;
    }

    worker = ngx_coco_feed_workers_silent(&feed->workers);

    if (worker == NULL) {
        ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                      "%sno coco-worker was heard of; see that one runs, with "
                      "the Redis of \"coco_redis\"", asked);
        return;
    }

    if (now - worker->heard > NGX_COCO_ZONE_STALE) {
        name.data = (u_char *) worker->name;
        name.len = worker->len;

        ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                      "%scoco-worker \"%V\" has been silent for %L ms; see "
                      "that it runs and reaches Redis (one that will not come "
                      "back is forgotten after 10 minutes)",
                      asked, &name, now - worker->heard);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                  "%s%s; see that Postgres runs where \"coco_postgres\" says, "
                  "and answers in time", asked,
                  ngx_coco_zone_empty(feed->to.zone)
                  ? "the fleet is still being loaded"
                  : "Postgres does not say in time what has changed");
}
