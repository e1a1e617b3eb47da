/*
 * What leaves for robots. A row is claimed (its next time is set) before it
 * is published: what is lost on the way leaves again at that time. Must never
 * publish a command after its expiry, nor log what a shadow holds.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "coco_command.h"
#include "log.h"
#include "metrics.h"
#include "sinks/commands.h"
#include "sinks/postgres.h"
#include "sinks/publisher.h"

#define COCO_COMMANDS_TEXT       4096     /* of a command */
#define COCO_COMMANDS_LOCKED_MS  10       /* until rows that others hold are
                                             looked at again */
#define COCO_COMMANDS_QUIET_US   10000000 /* between complaints of a kind */
#define COCO_COMMANDS_STUCK_MS   120000   /* above what a round may take */
#define COCO_COMMANDS_TAG        COCO_PUBLISHER_WINDOW  /* of no shadow */

typedef enum {
    COCO_C_LISTEN = 0, COCO_C_ASYNC, COCO_C_CLAIM, COCO_C_NEXT,
    COCO_C_SHADOW_MARK, COCO_C_SHADOW_CLAIM, COCO_C_SHADOW_NEXT,
    COCO_C_STATEMENTS
} coco_commands_statement_e;

typedef enum {
    COCO_SHADOW_FREE = 0,
    COCO_SHADOW_SENT,                     /* until the broker answers */
    COCO_SHADOW_TAKEN                     /* until it is marked */
} coco_shadow_state_e;

typedef struct {
    coco_shadow_state_e  state;
    char                 serial[COCO_SERIAL_MAX + 1];
    char                 version[24];     /* as Postgres wrote it */
} coco_commands_shadow_t;

struct coco_commands_s {
    const coco_config_t     *config;
    coco_stop_t              stop;
    int                      stop_fd;     /* readable once the stop is set */
    pthread_t                thread;
    atomic_llong             beat;        /* us, monotonic */
    atomic_bool              connected;

    /* the thread's; times in us, monotonic */
    coco_pg_t               *pg;
    coco_publisher_t        *publisher;
    coco_backoff_t           backoff;     /* of Postgres */
    int64_t                  pg_at;       /* next attempt to connect */
    int64_t                  commands_at; /* next look at the commands */
    int64_t                  shadows_at;
    int64_t                  refused_at;  /* last complaint of a refusal */
    unsigned                 taken;       /* shadows to mark */
    coco_commands_shadow_t   shadows[COCO_PUBLISHER_WINDOW];
};

static void coco_commands_free(coco_commands_t *c);
static void *coco_commands_thread(void *arg);
static void coco_commands_wait(coco_commands_t *c);
static unsigned coco_commands_patience(coco_commands_t *c, unsigned ms);
static void coco_commands_broker(coco_commands_t *c, short revents);
static void coco_commands_postgres(coco_commands_t *c);
static void coco_commands_round(coco_commands_t *c);
static void coco_commands_command(coco_commands_t *c, const PGresult *res,
    int row, int64_t begun);
static void coco_commands_shadows_round(coco_commands_t *c);
static void coco_commands_shadow(coco_commands_t *c, const PGresult *res,
    int row, int64_t begun);
static int64_t coco_commands_next(coco_commands_t *c, int slot, bool full);
static void coco_commands_done(void *data, unsigned tag,
    coco_publisher_end_e end, const char *text);
static int coco_commands_topic(char *ret, size_t size, const char *template,
    coco_str_t serial);
static int coco_commands_sync(coco_commands_t *c);

/* Of both, "next" is when something may leave that does not now: ms. The time
 * left is counted by the clock that has set the expiry. */
static const coco_pg_statement_t  coco_commands_statements[] = {

[COCO_C_LISTEN] = { "listen coco_command", "", "state" },

/* A claim that a crash of Postgres forgets is only made again; no command
 * waits for the disk. */
[COCO_C_ASYNC] = { "set synchronous_commit = off", "", "state" },

[COCO_C_CLAIM] = {
    "with due as materialized ("
    " select id from coco.robot_command"
    "  where acked_at is null and outcome is null and next_send_at <= now()"
    "   and expires_at > now()"
    "  order by next_send_at limit ($1::int4[])[1] for update skip locked),"
    " claimed as ("
    " update coco.robot_command c set attempts = attempts + 1,"
    "  sent_at = now(),"
    "  next_send_at = now() + ($2::int4[])[1] * interval '1 ms'"
    "  from due where c.id = due.id returning c.*)"
    " select id, serial, command, source, reference_id, issued_at,"
    "  expires_at, (extract(epoch from expires_at - clock_timestamp())"
    "               * 1000000)::bigint"
    " from claimed order by issued_at, id",
    "ii", "state" },

[COCO_C_NEXT] = {
    "select ceil(extract(epoch from next_send_at - now()) * 1000)::bigint"
    " from coco.robot_command"
    " where acked_at is null and outcome is null and expires_at > now()"
    " order by next_send_at limit 1",
    "", "state" },

/* A row that somebody holds is not waited for: it leaves once more. What has
 * changed since then is due at once. */
[COCO_C_SHADOW_MARK] = {
    "with taken as (select serial, max(version::bigint) as version"
    "  from unnest($1::text[], $2::text[]) as t (serial, version)"
    "  group by serial),"
    " held as materialized (select s.serial from coco.robot_shadow s"
    "  where s.serial in (select serial from taken)"
    "  order by s.serial for update skip locked)"
    " update coco.robot_shadow s set next_send_at = now(),"
    "  sent_version = greatest(s.sent_version, t.version)"
    " from taken t join held using (serial) where s.serial = t.serial",
    "tt", "state" },

[COCO_C_SHADOW_CLAIM] = {
    "with due as materialized ("
    " select serial from coco.robot_shadow"
    "  where sent_version < version and next_send_at <= now()"
    "  order by next_send_at limit ($1::int4[])[1] for update skip locked)"
    " update coco.robot_shadow s"
    " set next_send_at = now() + ($2::int4[])[1] * interval '1 ms'"
    " from due where s.serial = due.serial"
    " returning s.serial, s.pin, s.version::text",
    "ii", "state" },

[COCO_C_SHADOW_NEXT] = {
    "select ceil(extract(epoch from next_send_at - now()) * 1000)::bigint"
    " from coco.robot_shadow where sent_version < version"
    " order by next_send_at limit 1",
    "", "state" },
};


coco_commands_t *
coco_commands_start(const coco_config_t *config)
{
    coco_commands_t           *c;
    coco_publisher_options_t   options = { config, "commands",
                                           coco_commands_done, NULL };

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }

    if (coco_stop_init(&c->stop) != COCO_OK) {
        free(c);
        return NULL;
    }

    c->config = config;
    options.data = c;
    atomic_init(&c->beat, coco_clock_monotonic_us());
    coco_metrics_set(COCO_G_COMMANDS_CONNECTED, COCO_LANE_EVENTS, 0);

    c->stop_fd = eventfd(0, EFD_CLOEXEC);
    c->publisher = coco_publisher_create(&options);
    c->pg = coco_pg_create(config->postgres_conninfo,
                           coco_commands_statements, COCO_C_STATEMENTS,
                           &c->stop, -1);

    if (c->stop_fd == -1 || c->publisher == NULL || c->pg == NULL
        || pthread_create(&c->thread, NULL, coco_commands_thread, c) != 0)
    {
        coco_commands_free(c);
        return NULL;
    }

    return c;
}


void
coco_commands_stop(coco_commands_t *c)
{
    if (c == NULL) {
        return;
    }

    coco_stop_set(&c->stop);
    eventfd_write(c->stop_fd, 1);
    pthread_join(c->thread, NULL);
    coco_commands_free(c);
}


static void
coco_commands_free(coco_commands_t *c)
{
    coco_publisher_destroy(c->publisher);
    coco_pg_destroy(c->pg);

    if (c->stop_fd != -1) {
        close(c->stop_fd);
    }

    coco_stop_free(&c->stop);
    free(c);
}


void
coco_commands_status(coco_commands_t *c, coco_commands_status_t *ret)
{
    ret->connected = atomic_load(&c->connected);
    ret->alive = coco_clock_monotonic_us() - atomic_load(&c->beat)
                 < COCO_COMMANDS_STUCK_MS * 1000LL;
}


/* The commands' round comes first, and is one of its own: whatever holds a
 * shadow's row up holds up no lid. */
static void *
coco_commands_thread(void *arg)
{
    int64_t           now;
    coco_commands_t  *c = arg;

    while (!atomic_load(&c->stop.set)) {
        now = coco_clock_monotonic_us();
        atomic_store(&c->beat, now);

        if (coco_pg_socket(c->pg) == -1 && now >= c->pg_at) {
            coco_commands_postgres(c);
        }

        if (now >= c->commands_at) {
            coco_commands_round(c);
        }

        if (now >= c->shadows_at || c->taken > 0) {
            coco_commands_shadows_round(c);
        }

        coco_commands_wait(c);
    }

    coco_pg_close(c->pg);

    return NULL;
}


static void
coco_commands_wait(coco_commands_t *c)
{
    bool           news;
    unsigned       ms;
    struct pollfd  fds[3];

    /* some may have come with the rounds */
    news = coco_pg_notified(c->pg, 0) == COCO_OK;

    ms = coco_publisher_poll(c->publisher, &fds[0]);
    fds[1] = (struct pollfd) { coco_pg_socket(c->pg), POLLIN, 0 };
    fds[2] = (struct pollfd) { c->stop_fd, POLLIN, 0 };

    (void) poll(fds, 3, news ? 0 : (int) coco_commands_patience(c, ms));

    if (fds[1].revents != 0) {
        switch (coco_pg_notified(c->pg, 1)) {
        case COCO_OK:
            news = true;
            break;

        case COCO_ERROR:
            coco_log(COCO_LOG_WARN, "commands_failed", "error", "%s",
                     coco_pg_error(c->pg)->message, NULL);
            break;
        }
    }

    if (news) {
        c->commands_at = c->shadows_at = 0;
    }

    coco_commands_broker(c, fds[0].revents);
}


/* Until something is due, ms at most. What only the broker can make room for
 * is waited for with it. */
static unsigned
coco_commands_patience(coco_commands_t *c, unsigned ms)
{
    int64_t  at, left;

    if (coco_pg_socket(c->pg) == -1) {
        at = c->pg_at;

    } else if (coco_publisher_room(c->publisher) == 0) {
        return ms;

    } else if (c->taken > 0) {
        return 0;

    } else {
        at = c->commands_at < c->shadows_at ? c->commands_at : c->shadows_at;
    }

    left = (at - coco_clock_monotonic_us() + 999) / 1000;

    return left < 0 ? 0 : left < ms ? (unsigned) left : ms;
}


/* Whoever comes back finds everything due. */
static void
coco_commands_broker(coco_commands_t *c, short revents)
{
    bool  up;

    coco_publisher_serve(c->publisher, revents);
    up = coco_publisher_up(c->publisher);

    if (up == atomic_load(&c->connected)) {
        return;
    }

    atomic_store(&c->connected, up);
    coco_metrics_set(COCO_G_COMMANDS_CONNECTED, COCO_LANE_EVENTS, up);
    c->commands_at = c->shadows_at = 0;
}


/* Listening comes first: what is stored after it is not missed. */
static void
coco_commands_postgres(coco_commands_t *c)
{
    if (coco_pg_open(c->pg) == COCO_OK) {
        coco_pg_rows(c->pg, COCO_C_LISTEN);
        (void) coco_pg_send(c->pg);
        coco_pg_rows(c->pg, COCO_C_ASYNC);
        (void) coco_pg_send(c->pg);

        if (coco_commands_sync(c) == COCO_OK) {
            c->commands_at = c->shadows_at = 0;
            return;
        }
    }

    c->pg_at = coco_clock_monotonic_us()
               + coco_backoff_next(&c->backoff) * 1000LL;
}


/* No more is claimed than can leave: attempts count what left. */
static void
coco_commands_round(coco_commands_t *c)
{
    int        rows, claim, next;
    int64_t    begun;
    unsigned   room;
    PGresult  *res;

    room = coco_publisher_room(c->publisher);

    if (room == 0 || coco_pg_socket(c->pg) == -1) {
        return;
    }

    begun = coco_clock_monotonic_us();

    coco_pg_rows(c->pg, COCO_C_CLAIM);
    coco_pg_int(c->pg, (int32_t) room);
    coco_pg_int(c->pg, (int32_t) c->config->commands_retry);
    claim = coco_pg_send(c->pg);
    coco_pg_rows(c->pg, COCO_C_NEXT);
    next = coco_pg_send(c->pg);

    if (coco_commands_sync(c) != COCO_OK) {
        return;
    }

    res = coco_pg_result(c->pg, claim);
    rows = PQntuples(res);

    for (int row = 0; row < rows; row++) {
        coco_commands_command(c, res, row, begun);
    }

    c->commands_at = coco_commands_next(c, next, rows == (int) room);
}


/* begun: when its time left was no less than what the row says. */
static void
coco_commands_command(coco_commands_t *c, const PGresult *res, int row,
    int64_t begun)
{
    char             topic[2048], text[COCO_COMMANDS_TEXT];
    int64_t          left;
    coco_str_t       serial;
    coco_command_t   command;
    coco_json_out_t  out;

    coco_pg_get_uuid(&command.id, res, row, 0);
    serial = coco_pg_get(res, row, 1);
    command.command = coco_pg_get(res, row, 2);
    command.source = coco_pg_get(res, row, 3);
    command.reference = coco_pg_get(res, row, 4);
    command.issued_at = coco_pg_get_time(res, row, 5);
    command.expires_at = coco_pg_get_time(res, row, 6);
    left = coco_pg_get_int64(res, row, 7);

    coco_json_out_init(&out, text, sizeof(text));
    coco_command_encode(&out, &command);

    if (!coco_json_out_ok(&out)
        || coco_commands_topic(topic, sizeof(topic),
                               c->config->commands_topic, serial) != COCO_OK)
    {
        coco_log(COCO_LOG_ERROR, "command_too_long", "serial", "%.*s",
                 (int) serial.len, serial.data, NULL);
        return;
    }

    left -= coco_clock_monotonic_us() - begun;

    if (left > 0
        && coco_publisher_send(c->publisher, topic,
                               (coco_str_t) { text, out.len },
                               (unsigned) ((left + 999999) / 1000000),
                               COCO_COMMANDS_TAG) == COCO_OK)
    {
        coco_metrics_add(COCO_M_COMMANDS_SENT, COCO_LANE_EVENTS, 1);
        coco_log(COCO_LOG_DEBUG, "command_sent", "serial", "%.*s",
                 (int) serial.len, serial.data, "left_ms", "%lld",
                 (long long) left / 1000, NULL);
    }
}


static void
coco_commands_shadows_round(coco_commands_t *c)
{
    int        mark, rows, claim, next;
    int64_t    begun;
    unsigned   room;
    PGresult  *res;

    room = coco_publisher_room(c->publisher);

    if (room == 0 || coco_pg_socket(c->pg) == -1) {
        return;
    }

    begun = coco_clock_monotonic_us();
    coco_pg_rows(c->pg, COCO_C_SHADOW_MARK);

    for (size_t i = 0; i < COCO_PUBLISHER_WINDOW; i++) {
        if (c->shadows[i].state == COCO_SHADOW_TAKEN) {
            coco_pg_text(c->pg, (coco_str_t) { c->shadows[i].serial,
                                       strlen(c->shadows[i].serial) });
            coco_pg_text(c->pg, (coco_str_t) { c->shadows[i].version,
                                       strlen(c->shadows[i].version) });
        }
    }

    mark = c->taken > 0 ? coco_pg_send(c->pg) : -1;

    coco_pg_rows(c->pg, COCO_C_SHADOW_CLAIM);
    coco_pg_int(c->pg, (int32_t) room);
    coco_pg_int(c->pg, (int32_t) c->config->commands_retry);
    claim = coco_pg_send(c->pg);
    coco_pg_rows(c->pg, COCO_C_SHADOW_NEXT);
    next = coco_pg_send(c->pg);

    if (coco_commands_sync(c) != COCO_OK) {
        return;
    }

    for (size_t i = 0; mark != -1 && i < COCO_PUBLISHER_WINDOW; i++) {
        if (c->shadows[i].state == COCO_SHADOW_TAKEN) {
            c->shadows[i].state = COCO_SHADOW_FREE;
        }
    }

    c->taken = 0;
    res = coco_pg_result(c->pg, claim);
    rows = PQntuples(res);

    for (int row = 0; row < rows; row++) {
        coco_commands_shadow(c, res, row, begun);
    }

    c->shadows_at = coco_commands_next(c, next, rows == (int) room);
}


/* begun: when it was claimed, or before. Once the claim is over, another
 * worker may have sent a newer version, which this one must not undo. */
static void
coco_commands_shadow(coco_commands_t *c, const PGresult *res, int row,
    int64_t begun)
{
    char                     topic[2048], text[256];
    unsigned                 tag;
    coco_str_t               serial, version;
    coco_json_out_t          out;
    coco_commands_shadow_t  *shadow;

    serial = coco_pg_get(res, row, 0);
    version = coco_pg_get(res, row, 2);

    coco_json_out_init(&out, text, sizeof(text));
    coco_shadow_encode(&out, coco_pg_get(res, row, 1));

    for (tag = 0; c->shadows[tag].state != COCO_SHADOW_FREE; tag++) {
        /* there is one for each message in flight */
    }

    shadow = &c->shadows[tag];

    if (!coco_json_out_ok(&out) || serial.len >= sizeof(shadow->serial)
        || coco_commands_topic(topic, sizeof(topic),
                               c->config->commands_shadow_topic, serial)
           != COCO_OK)
    {
        coco_log(COCO_LOG_ERROR, "shadow_too_long", "serial", "%.*s",
                 (int) serial.len, serial.data, NULL);
        return;
    }

    snprintf(shadow->serial, sizeof(shadow->serial), "%.*s",
             (int) serial.len, serial.data);
    snprintf(shadow->version, sizeof(shadow->version), "%.*s",
             (int) version.len, version.data);

    if (coco_clock_monotonic_us() - begun
        < (int64_t) c->config->commands_retry * 1000
        && coco_publisher_send(c->publisher, topic,
                               (coco_str_t) { text, out.len }, 0, tag)
           == COCO_OK)
    {
        shadow->state = COCO_SHADOW_SENT;
        coco_metrics_add(COCO_M_SHADOWS_SENT, COCO_LANE_EVENTS, 1);
    }
}


/* When to look again. full: as many were claimed as there was room for. */
static int64_t
coco_commands_next(coco_commands_t *c, int slot, bool full)
{
    int64_t    ms = (int64_t) c->config->commands_poll, next;
    PGresult  *res = coco_pg_result(c->pg, slot);

    if (PQntuples(res) == 1) {
        next = coco_pg_get_int64(res, 0, 0);

        if (next <= 0) {
            next = full ? 0 : COCO_COMMANDS_LOCKED_MS;
        }

        if (next < ms) {
            ms = next;
        }
    }

    return coco_clock_monotonic_us() + ms * 1000;
}


static void
coco_commands_done(void *data, unsigned tag, coco_publisher_end_e end,
    const char *text)
{
    int64_t           now;
    coco_commands_t  *c = data;

    if (tag != COCO_COMMANDS_TAG) {
        c->shadows[tag].state = end == COCO_PUBLISHER_TAKEN
                                ? COCO_SHADOW_TAKEN : COCO_SHADOW_FREE;
        c->taken += end == COCO_PUBLISHER_TAKEN;
    }

    now = coco_clock_monotonic_us();

    if (end == COCO_PUBLISHER_REFUSED
        && (c->refused_at == 0 || now - c->refused_at
                                  >= COCO_COMMANDS_QUIET_US))
    {
        c->refused_at = now;
        coco_log(COCO_LOG_WARN, "commands_refused", "topic", "%s",
                 tag == COCO_COMMANDS_TAG ? c->config->commands_topic
                                          : c->config->commands_shadow_topic,
                 "reason", "%s", text, "remedy", "%s",
                 "allow this client to publish there", NULL);
    }
}


/* The template with the serial in the place of its +. */
static int
coco_commands_topic(char *ret, size_t size, const char *template,
    coco_str_t serial)
{
    int     n;
    size_t  before = strcspn(template, "+");

    n = snprintf(ret, size, "%.*s%.*s%s", (int) before, template,
                 (int) serial.len, serial.data,
                 template + before + (template[before] == '+'));

    return n >= 0 && (size_t) n < size ? COCO_OK : COCO_ERROR;
}


/* Whatever failed, the connection is made anew. */
static int
coco_commands_sync(coco_commands_t *c)
{
    if (coco_pg_sync(c->pg) == COCO_PG_DONE) {
        coco_backoff_reset(&c->backoff);
        return COCO_OK;
    }

    coco_log(COCO_LOG_WARN, "commands_failed", "error", "%s",
             coco_pg_error(c->pg)->message, NULL);
    coco_pg_close(c->pg);
    c->pg_at = coco_clock_monotonic_us()
               + coco_backoff_next(&c->backoff) * 1000LL;

    return COCO_ERROR;
}
