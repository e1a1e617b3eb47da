/*
 * What is written of the lids of a batch, their events, and the hints to those
 * who wait. Must never write what the locks of coco_lid_turn() do not cover.
 */

#include "batch_lid.h"
#include "coco_envelope.h"
#include "metrics.h"

#define COCO_LID_EVENT_SIZE  640    /* of an envelope, without the reference */

static void coco_lid_write_history(coco_writer_t *w);
static void coco_lid_write_places(coco_writer_t *w);
static void coco_lid_write_cycles(coco_writer_t *w);
static void coco_lid_write_commands(coco_writer_t *w);
static void coco_lid_write_acks(coco_writer_t *w);
static int coco_lid_write_ends(coco_writer_t *w);
static void coco_lid_write_end(coco_writer_t *w, const coco_id_t *id,
    coco_str_t serial, coco_str_t outcome, coco_str_t reason,
    const coco_id_t *cycle);
static void coco_lid_write_anomalies(coco_writer_t *w);
static void coco_lid_write_anomaly(coco_writer_t *w, coco_anomaly_e kind,
    const coco_id_t *cause, coco_str_t serial, int64_t ts, coco_str_t reason,
    const coco_id_t *cycle);
static const coco_id_t *coco_lid_cycle_of(const coco_lid_work_t *work,
    const coco_lid_resync_t *resync);
static void coco_lid_write_done(coco_writer_t *w);
static int coco_lid_write_tasks(coco_writer_t *w);
static coco_str_t coco_lid_task_data(coco_writer_t *w, const coco_id_t *command,
    int64_t from);
static int coco_lid_outbox_row(coco_writer_t *w, coco_str_t serial,
    coco_str_t name, const coco_lid_cycle_t *c, bool open);


void
coco_lid_write(coco_writer_t *w)
{
    if (w->lid == NULL) {
        return;
    }

    coco_lid_write_places(w);
    coco_lid_write_history(w);
    coco_lid_write_cycles(w);
    coco_lid_write_commands(w);
    coco_lid_write_acks(w);
    w->lid->ends = coco_lid_write_ends(w);
}


int
coco_lid_tasks(coco_writer_t *w)
{
    if (w->lid != NULL) {
        coco_lid_write_anomalies(w);
    }

    coco_lid_write_done(w);

    return w->lid != NULL ? coco_lid_write_tasks(w) : COCO_OK;
}


static void
coco_lid_write_places(coco_writer_t *w)
{
    size_t                   rows = 0;
    coco_lid_work_t         *work = w->lid;
    const coco_lid_place_t  *p, *s;

    coco_pg_rows(w->pg, COCO_S_LID_WRITE);

    for (size_t i = 0; i < work->count; i++) {
        p = &work->robots[i].place;
        s = &work->robots[i].stored;

        if (p->known == s->known && p->is_open == s->is_open
            && p->changed_at == s->changed_at
            && p->has_suspect == s->has_suspect
            && (!p->has_suspect
                || memcmp(&p->suspect, &s->suspect, sizeof(p->suspect)) == 0))
        {
            continue;
        }

        coco_pg_text(w->pg, work->robots[i].serial);
        coco_pg_bool(w->pg, p->known ? p->is_open : -1);
        coco_pg_time(w->pg, p->changed_at);
        coco_pg_uuid(w->pg, p->has_suspect ? &p->suspect : NULL);
        coco_pg_time(w->pg, p->has_suspect ? p->suspect_at : COCO_PG_NEVER);
        rows++;
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


static void
coco_lid_write_history(coco_writer_t *w)
{
    coco_pg_t             *pg = w->pg;
    coco_lid_work_t       *work = w->lid;
    const coco_lid_row_t  *row;

    if (work->row_count == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_S_EVENTS);

    for (size_t i = 0; i < work->row_count; i++) {
        row = &work->rows[i];
        coco_pg_uuid(pg, &row->id);
        coco_pg_text(pg, (coco_str_t) { NULL, 0 });
        coco_pg_text(pg, row->serial);
        coco_pg_text(pg, row->type);
        coco_pg_time(pg, row->ts);
        coco_pg_time(pg, work->now);
        coco_pg_text(pg, (coco_str_t) { NULL, 0 });
        coco_pg_bool(pg, -1);
        coco_pg_text(pg, row->command);
        coco_pg_text(pg, row->reason);
        coco_pg_json(pg, (coco_str_t) { NULL, 0 });
        coco_pg_text(pg, row->source);
        coco_pg_text(pg, row->reference);
        coco_pg_time(pg, COCO_PG_NEVER);
    }

    coco_pg_send(pg);
}


static void
coco_lid_write_cycles(coco_writer_t *w)
{
    size_t                   rows = 0;
    coco_pg_t               *pg = w->pg;
    const coco_lid_t        *lid;
    coco_lid_work_t         *work = w->lid;
    const coco_lid_cycle_t  *c;

    coco_pg_rows(pg, COCO_S_LID_CYCLES_WRITE);

    for (size_t i = 0; i < work->count; i++) {
        lid = &work->robots[i].lid;

        for (size_t k = 0; k < lid->cycle_count; k++) {
            c = &lid->cycles[k];

            work->completed += c->publish_close
                               || (c->anomaly
                                   && c->reason == COCO_LID_NEVER_CLOSED);
            if (!c->changed) {
                continue;
            }

            coco_pg_uuid(pg, &c->id);
            coco_pg_text(pg, lid->serial);
            coco_pg_text(pg, coco_lid_state_name(c->state));
            coco_pg_text(pg, coco_lid_source_name(c->source));
            coco_pg_text(pg, c->reference);
            coco_pg_text(pg, coco_lid_trigger_name(c->trigger));
            coco_pg_uuid(pg, c->has_command ? &c->command : NULL);
            coco_pg_time(pg, c->opened_at);
            coco_pg_time(pg, c->closed_at);
            coco_pg_text(pg, coco_lid_reason_name(c->reason));
            coco_pg_uuid(pg, c->has_open ? &c->open_event : NULL);
            coco_pg_uuid(pg, c->has_close ? &c->close_event : NULL);
            coco_pg_bool(pg, c->open_published);
            coco_pg_bool(pg, c->close_published);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }
}


/* Those that PIN entries cause. */
static void
coco_lid_write_commands(coco_writer_t *w)
{
    coco_lid_work_t           *work = w->lid;
    const coco_lid_command_t  *c;

    if (work->command_count == 0) {
        return;
    }

    coco_pg_rows(w->pg, COCO_S_COMMANDS_PUT);

    for (size_t i = 0; i < work->command_count; i++) {
        c = &work->commands[i];
        coco_pg_uuid(w->pg, &c->id);
        coco_pg_text(w->pg, c->serial);
        coco_pg_text(w->pg, c->source);
        coco_pg_text(w->pg, c->reference);
        coco_pg_time(w->pg, work->now);
        coco_pg_time(w->pg, c->expires_at);
    }

    coco_pg_send(w->pg);
}


static void
coco_lid_write_acks(coco_writer_t *w)
{
    size_t                     rows = 0;
    coco_id_t                  command;
    coco_lid_work_t           *work = w->lid;
    const coco_item_t         *item;
    const coco_robot_event_t  *e;

    coco_pg_rows(w->pg, COCO_S_COMMANDS_ACK);

    for (size_t i = 0; i < work->item_count; i++) {
        item = work->items[i];
        e = &item->event;

        if (item->kind == COCO_ITEM_ROBOT_EVENT && item->newer
            && e->type == COCO_EVENT_COMMAND_ACK && e->command_id.data != NULL
            && coco_id_parse(&command, e->command_id) == COCO_OK)
        {
            coco_pg_uuid(w->pg, &command);
            coco_pg_text(w->pg, e->serial);
            coco_pg_time(w->pg, e->received_at);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


/* The slot; -1: none ends. A robot answers for its own commands alone. */
static int
coco_lid_write_ends(coco_writer_t *w)
{
    size_t                     rows = 0;
    coco_lid_t                *lid;
    coco_lid_work_t           *work = w->lid;
    const coco_lid_answer_t   *a;
    const coco_lid_command_t  *c;

    coco_pg_rows(w->pg, COCO_S_COMMANDS_END);

    for (size_t i = 0; i < work->count; i++) {
        lid = &work->robots[i].lid;

        for (size_t k = 0; k < lid->answer_count; k++) {
            a = &lid->answers[k];
            coco_lid_write_end(w, &a->command, lid->serial,
                               a->opened ? coco_string("OPENED")
                                         : coco_string("FAILED"),
                               a->opened ? (coco_str_t) { NULL, 0 }
                                         : a->reason,
                               a->opened ? &lid->cycles[a->cycle].id : NULL);
            rows++;
        }
    }

    for (size_t i = 0; i < work->expiry_count; i++) {
        c = &work->expiries[i];

        if (c->expires) {
            coco_lid_write_end(w, &c->id, c->serial, coco_string("EXPIRED"),
                               (coco_str_t) { NULL, 0 }, NULL);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


static void
coco_lid_write_end(coco_writer_t *w, const coco_id_t *id, coco_str_t serial,
    coco_str_t outcome, coco_str_t reason, const coco_id_t *cycle)
{
    coco_pg_uuid(w->pg, id);
    coco_pg_text(w->pg, serial);
    coco_pg_text(w->pg, outcome);
    coco_pg_text(w->pg, reason);
    coco_pg_uuid(w->pg, cycle);
}


static void
coco_lid_write_anomalies(coco_writer_t *w)
{
    bool                      open;
    coco_lid_t               *lid;
    coco_lid_work_t          *work = w->lid;
    const coco_lid_cycle_t   *c;
    const coco_lid_resync_t  *r;

    coco_pg_rows(w->pg, COCO_S_LID_ANOMALIES);

    for (size_t i = 0; i < work->count; i++) {
        lid = &work->robots[i].lid;

        for (size_t k = 0; k < lid->cycle_count; k++) {
            c = &lid->cycles[k];
            open = c->reason == COCO_LID_NEVER_CLOSED;

            if (c->anomaly && c->reason != COCO_LID_WHOLE) {
                coco_lid_write_anomaly(w, open
                    ? COCO_ANOMALY_NEVER_CLOSED
                    : COCO_ANOMALY_CLOSE_WITHOUT_OPEN, &c->id, lid->serial,
                    open ? c->opened_at : c->closed_at, open
                    ? coco_string("the lid was opened and never closed, as "
                                  "far as its robot has told")
                    : coco_string("the lid was closed and never opened, as "
                                  "far as its robot has told"), &c->id);
            }
        }
    }

    for (size_t i = 0; i < work->resync_count; i++) {
        r = &work->resyncs[i];
        coco_lid_write_anomaly(w, COCO_ANOMALY_RESYNC, &r->event, r->serial,
            r->at, r->open
            ? coco_string("two heartbeats in a row have shown the lid open")
            : coco_string("two heartbeats in a row have shown the lid closed"),
            coco_lid_cycle_of(work, r));
    }

    if (work->anomalies > 0) {
        coco_pg_send(w->pg);
    }
}


/* cause: the id that makes it the only one of its kind. */
static void
coco_lid_write_anomaly(coco_writer_t *w, coco_anomaly_e kind,
    const coco_id_t *cause, coco_str_t serial, int64_t ts, coco_str_t reason,
    const coco_id_t *cycle)
{
    coco_id_t   id;
    coco_str_t  name = coco_anomaly_name(kind);

    coco_lid_id(&id, coco_string("anomaly"), name, cause);
    coco_pg_uuid(w->pg, &id);
    coco_pg_text(w->pg, name);
    coco_pg_text(w->pg, serial);
    coco_pg_time(w->pg, ts);
    coco_pg_text(w->pg, reason);
    coco_pg_uuid(w->pg, cycle);
    w->lid->anomalies++;
}


/* The cycle that the event began or ended; NULL: it did neither. */
static const coco_id_t *
coco_lid_cycle_of(const coco_lid_work_t *work, const coco_lid_resync_t *resync)
{
    const coco_lid_t  *lid;
    const coco_id_t   *event;

    for (size_t i = 0; i < work->count; i++) {
        lid = &work->robots[i].lid;

        if (!coco_str_equal(work->robots[i].serial, resync->serial)) {
            continue;
        }

        for (size_t k = 0; k < lid->cycle_count; k++) {
            event = resync->open ? &lid->cycles[k].open_event
                                 : &lid->cycles[k].close_event;

            if (memcmp(event, &resync->event, sizeof(*event)) == 0) {
                return &lid->cycles[k].id;
            }
        }
    }

    return NULL;
}


/* Rows of this part, refused ones and repeats too, and of robots of which
 * nothing is due any more. */
static void
coco_lid_write_done(coco_writer_t *w)
{
    size_t                   rows = 0;
    coco_lid_work_t         *work = w->lid;
    const coco_lid_robot_t  *r;

    coco_pg_rows(w->pg, COCO_S_TASKS_DONE);

    for (size_t i = 0; i < w->due.count; i++) {
        coco_pg_uuid(w->pg, &w->due.v[i]->message->inbox_id);
        rows++;
    }

    for (size_t i = 0; work != NULL && i < work->count; i++) {
        r = &work->robots[i];

        if (r->looked && r->lid.due_at == COCO_NEVER
            && r->due_from != COCO_NEVER)
        {
            coco_pg_uuid(w->pg, &r->task);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


/* Each robot's next look, and the end of the commands made here. */
static int
coco_lid_write_tasks(coco_writer_t *w)
{
    size_t                     rows = 0;
    coco_id_t                  id;
    coco_str_t                 data;
    coco_pg_t                 *pg = w->pg;
    coco_lid_work_t           *work = w->lid;
    const coco_lid_robot_t    *r;
    const coco_lid_command_t  *c;

    coco_pg_rows(pg, COCO_S_TASKS_PUT);

    for (size_t i = 0; i < work->count; i++) {
        r = &work->robots[i];

        if (r->looked && r->lid.due_at != COCO_NEVER) {
            data = coco_lid_task_data(w, NULL, r->lid.due_from);
            if (data.data == NULL) {
                return COCO_ERROR;
            }

            coco_lid_task_id(&id, r->serial, coco_lid_past(r)
                                             ? r->lid.due_from : COCO_NEVER);
            coco_pg_uuid(pg, &id);
            coco_pg_text(pg, r->serial);
            coco_pg_text(pg, coco_string("LID"));
            coco_pg_time(pg, r->lid.due_at);
            coco_pg_json(pg, data);
            rows++;
        }
    }

    for (size_t i = 0; i < work->command_count; i++) {
        c = &work->commands[i];

        data = coco_lid_task_data(w, &c->id, COCO_NEVER);
        if (data.data == NULL) {
            return COCO_ERROR;
        }

        coco_lid_id(&id, coco_string("task"), coco_string("EXPIRY"), &c->id);
        coco_pg_uuid(pg, &id);
        coco_pg_text(pg, c->serial);
        coco_pg_text(pg, coco_string("EXPIRY"));
        coco_pg_time(pg, work->now + w->options->lid_timeout_ms);
        coco_pg_json(pg, data);
        rows++;
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }

    return COCO_OK;
}


/* Of EXPIRY; without a command: of LID. data NULL: no memory. */
static coco_str_t
coco_lid_task_data(coco_writer_t *w, const coco_id_t *command, int64_t from)
{
    char             *p;
    coco_json_out_t   out;

    p = coco_arena_alloc(&w->arena, 64);
    if (p == NULL) {
        return (coco_str_t) { NULL, 0 };
    }

    coco_json_out_init(&out, p, 64);
    coco_json_object_open(&out);

    if (command != NULL) {
        coco_json_name(&out, "command");
        coco_json_id(&out, command);

    } else {
        coco_json_name(&out, "from");
        coco_json_int(&out, from);
    }

    coco_json_object_close(&out);

    return (coco_str_t) { p, out.len };
}


int
coco_lid_outbox(coco_writer_t *w)
{
    size_t                   rows = 0;
    coco_lid_t              *lid;
    coco_lid_work_t         *work = w->lid;
    const coco_lid_cycle_t  *c;

    coco_pg_rows(w->pg, COCO_S_OUTBOX);

    for (size_t i = 0; work != NULL && i < work->count; i++) {
        lid = &work->robots[i].lid;

        for (size_t k = 0; k < lid->cycle_count; k++) {
            c = &lid->cycles[k];

            if (c->publish_open
                && coco_lid_outbox_row(w, lid->serial,
                                       coco_string("Robots.LidOpen"), c, true)
                   != COCO_OK)
            {
                return COCO_ERROR;
            }

            if (c->publish_close
                && (coco_lid_outbox_row(w, lid->serial,
                                        coco_string("Robots.LidClose"), c,
                                        false) != COCO_OK
                    || coco_lid_outbox_row(w, lid->serial,
                                           coco_string("LidCycle.Complete"), c,
                                           false) != COCO_OK))
            {
                return COCO_ERROR;
            }

            rows += c->publish_open || c->publish_close;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }

    return COCO_OK;
}


static int
coco_lid_outbox_row(coco_writer_t *w, coco_str_t serial, coco_str_t name,
    const coco_lid_cycle_t *c, bool open)
{
    char             *p;
    size_t            size;
    coco_id_t         id;
    coco_json_out_t   out;
    coco_lid_data_t   data = { c->id, c->source, c->trigger, c->reference };

    if (open) {
        data.trigger = c->open_trigger;
    }

    size = COCO_LID_EVENT_SIZE + 6 * c->reference.len;

    p = coco_arena_alloc(&w->arena, size);
    if (p == NULL) {
        return COCO_ERROR;
    }

    coco_lid_id(&id, name, (coco_str_t) { NULL, 0 }, &c->id);
    coco_json_out_init(&out, p, size);
    coco_envelope_open(&out, &id, name, serial,
                       open ? c->opened_at : c->closed_at);
    coco_lid_data_encode(&out, &data);
    coco_json_object_close(&out);

    if (!coco_json_out_ok(&out)) {
        return COCO_ERROR;
    }

    coco_arena_trim(&w->arena, p, out.len);
    coco_rows_outbox_row(w->pg, &id, name, serial, (coco_str_t) { p, out.len },
                         NULL);

    return COCO_OK;
}


/* The rows of a command follow one another. */
void
coco_lid_replies(coco_writer_t *w)
{
    int               lane = w->options->metrics_lane;
    char              text[COCO_ID_TEXT_LEN];
    bool              told = false;
    size_t            ended = 0;
    PGresult         *res;
    coco_id_t         id, last = { { 0 } };
    coco_str_t        channel;
    coco_lid_work_t  *work = w->lid;

    if (work == NULL) {
        return;
    }

    coco_metrics_add(COCO_M_LID_CYCLES, lane, work->completed);
    coco_metrics_add(COCO_M_ANOMALIES, lane, work->anomalies);

    res = work->ends >= 0 ? coco_pg_result(w->pg, work->ends) : NULL;

    for (int row = 0; res != NULL && row < PQntuples(res); row++) {
        coco_pg_get_uuid(&id, res, row, 0);
        ended += memcmp(&id, &last, sizeof(id)) != 0;
        last = id;

        channel = coco_pg_get(res, row, 1);

        if (channel.data != NULL && (told || coco_redis_open(w->redis))) {
            coco_id_format(text, &id);
            coco_redis_publish(w->redis, channel,
                               (coco_str_t) { text, sizeof(text) });
            told = true;
        }
    }

    coco_metrics_add(COCO_M_COMMANDS_ENDED, lane, ended);

    if (told) {
        (void) coco_redis_flush(w->redis);
    }
}
