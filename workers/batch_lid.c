/*
 * The lids of a batch, in memory: what its events and tasks make of the
 * records of each robot. Must never look at a robot whose lid_robot is not
 * locked, nor decide what coco_lid_reconcile() decides.
 */

#include <stdlib.h>

#include "batch_lid.h"

#define COCO_LID_PAST_MS  86400000    /* what is older is long past */

static int coco_lid_gather(coco_writer_t *w);
static bool coco_lid_concerned(const coco_item_t *item);
static int coco_lid_items(coco_writer_t *w, coco_lid_work_t *work);
static void coco_lid_group(coco_lid_work_t *work);
static void coco_lid_robot_add(coco_lid_robot_t *r, const coco_item_t *item);
static void coco_lid_window(coco_lid_work_t *work, coco_lid_robot_t *r);
static int64_t coco_lid_item_at(const coco_item_t *item);
static int coco_lid_compare(const void *a, const void *b);
static int coco_lid_apply(coco_writer_t *w, coco_lid_robot_t *r);
static int coco_lid_look(coco_writer_t *w, coco_lid_robot_t *r);
static void coco_lid_place(coco_lid_work_t *work, coco_lid_robot_t *r);
static int coco_lid_seen(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_task_t *seen);
static int coco_lid_resync(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_task_t *seen);
static int coco_lid_expire(coco_writer_t *w);
static bool coco_lid_answered(const coco_lid_robot_t *r, const coco_id_t *id);
static int coco_lid_closes(coco_writer_t *w);


static coco_turn_e
coco_lid_no_memory(coco_writer_t *w)
{
    coco_pg_close(w->pg);

    return COCO_TURN_RETRY;
}


coco_turn_e
coco_lid_turn(coco_writer_t *w)
{
    coco_turn_e        rc;
    coco_lid_work_t   *work;

    w->lid = NULL;
    w->closes = NULL;
    w->close_count = 0;

    if (coco_lid_gather(w) != COCO_OK) {
        return coco_lid_no_memory(w);
    }

    work = w->lid;
    if (work == NULL) {
        return COCO_TURN_DONE;
    }

    rc = coco_lid_round(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    for (size_t i = 0; i < work->count; i++) {
        if (coco_lid_apply(w, &work->robots[i]) != COCO_OK) {
            return coco_lid_no_memory(w);
        }
    }

    if (coco_lid_expire(w) != COCO_OK || coco_lid_closes(w) != COCO_OK) {
        return coco_lid_no_memory(w);
    }

    return COCO_TURN_DONE;
}


/* w->lid stays NULL when there is nothing for the lids. */
static int
coco_lid_gather(coco_writer_t *w)
{
    coco_lid_work_t  *work;

    if (w->events.count == 0 && w->tasks.count == 0) {
        return COCO_OK;
    }

    work = coco_arena_alloc(&w->arena, sizeof(*work));
    if (work == NULL) {
        return COCO_ERROR;
    }

    memset(work, 0, sizeof(*work));
    work->ends = -1;
    work->now = coco_clock_ms();
    work->rules.window_ms = w->options->lid_window_ms;
    work->rules.cycle_ms = w->options->lid_cycle_ms;

    if (coco_lid_items(w, work) != COCO_OK) {
        return COCO_ERROR;
    }

    if (w->events.count == 0 && work->item_count == 0) {
        return COCO_OK;
    }

    coco_lid_group(work);
    w->lid = work;

    return COCO_OK;
}


/* What has to wait for the lock of its robot. */
static bool
coco_lid_concerned(const coco_item_t *item)
{
    return item->kind == COCO_ITEM_TASK
           ? item->task.task != COCO_TASK_ARRIVAL
           : item->event.type != COCO_EVENT_OTHER;
}


static int
coco_lid_items(coco_writer_t *w, coco_lid_work_t *work)
{
    size_t               max = w->events.count + w->tasks.count;
    coco_item_t         *item;
    const coco_items_t  *lists[2] = { &w->events, &w->tasks };

    work->items = coco_arena_alloc(&w->arena, max * sizeof(*work->items));
    work->robots = coco_arena_alloc(&w->arena, max * sizeof(*work->robots));
    work->expiries = coco_arena_alloc(&w->arena,
                                      max * sizeof(*work->expiries));
    work->rows = coco_arena_alloc(&w->arena, max * sizeof(*work->rows));
    work->commands = coco_arena_alloc(&w->arena,
                                      max * sizeof(*work->commands));
    work->resyncs = coco_arena_alloc(&w->arena,
                                     max * sizeof(*work->resyncs));

    if (work->items == NULL || work->robots == NULL || work->expiries == NULL
        || work->rows == NULL || work->commands == NULL
        || work->resyncs == NULL)
    {
        return COCO_ERROR;
    }

    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < lists[list]->count; i++) {
            item = lists[list]->v[i];
            item->newer = false;

            if (coco_lid_concerned(item)) {
                work->items[work->item_count++] = item;
            }
        }
    }

    qsort(work->items, work->item_count, sizeof(*work->items),
          coco_lid_compare);

    return COCO_OK;
}


/* By serial; the events before the tasks, both by time. */
static int
coco_lid_compare(const void *a, const void *b)
{
    int                 rc;
    int64_t             p, q;
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    rc = coco_serial_compare(x->serial, y->serial);
    if (rc != 0) {
        return rc;
    }

    if (x->kind != y->kind) {
        return x->kind == COCO_ITEM_ROBOT_EVENT ? -1 : 1;
    }

    p = coco_lid_item_at(x);
    q = coco_lid_item_at(y);

    return p != q ? (p < q ? -1 : 1) : memcmp(&x->id, &y->id, COCO_ID_LEN);
}


static int64_t
coco_lid_item_at(const coco_item_t *item)
{
    const coco_robot_event_t  *e = &item->event;

    if (item->kind == COCO_ITEM_TASK) {
        return item->task.ts;
    }

    return e->ts < e->received_at ? e->ts : e->received_at;
}


static void
coco_lid_group(coco_lid_work_t *work)
{
    coco_item_t         *item;
    coco_lid_robot_t    *r = NULL;
    coco_lid_command_t  *command;

    for (size_t i = 0; i < work->item_count; i++) {
        item = work->items[i];

        if (r == NULL || !coco_str_equal(r->serial, item->serial)) {
            r = &work->robots[work->count++];
            memset(r, 0, sizeof(*r));
            r->serial = item->serial;
            r->items = &work->items[i];
            r->since = COCO_NEVER;
            r->until = COCO_NEVER;
            r->from = COCO_NEVER;
            r->due_from = COCO_NEVER;
            r->position.at = COCO_NEVER;
            coco_lid_task_id(&r->task, item->serial, COCO_NEVER);
        }

        r->count++;
        coco_lid_robot_add(r, item);

        if (item->kind != COCO_ITEM_TASK) {
            continue;
        }

        if (item->task.task == COCO_TASK_EXPIRY) {
            command = &work->expiries[work->expiry_count++];
            memset(command, 0, sizeof(*command));
            command->id = item->task.subject;
            command->item = item;

        /* due by Postgres' clock is due, or it would be tried at once again,
         * until ours is there */
        } else if (item->task.task == COCO_TASK_LID
                   && item->message->received_at > work->now)
        {
            work->now = item->message->received_at;
        }
    }

    for (size_t i = 0; i < work->count; i++) {
        coco_lid_window(work, &work->robots[i]);
    }
}


/* What has to be read for it. */
static void
coco_lid_robot_add(coco_lid_robot_t *r, const coco_item_t *item)
{
    int      event;
    int64_t  at = COCO_NEVER;

    if (item->kind == COCO_ITEM_TASK) {
        r->reads |= item->task.task != COCO_TASK_EXPIRY;

        if (item->task.task == COCO_TASK_LID) {
            at = item->task.ts;

        } else if (item->task.task == COCO_TASK_SEEN) {
            r->until = INT64_MAX;
        }

    } else {
        event = coco_lid_item_event(item);
        r->asks |= event == COCO_LID_PIN_ASKED;

        if (event >= 0) {
            r->reads = true;
            at = coco_lid_item_at(item);
        }
    }

    if (at != COCO_NEVER && (r->since == COCO_NEVER || at < r->since)) {
        r->since = at;
    }

    if (at > r->until) {
        r->until = at;
    }
}


/* A robot whose clock is years behind, or a message that was, would have its
 * whole history read from there on, every time. */
static void
coco_lid_window(coco_lid_work_t *work, coco_lid_robot_t *r)
{
    int64_t  span = coco_lid_span_ms(&work->rules);

    if (r->until == COCO_NEVER) {
        return;
    }

    if (r->until >= work->now - (span > COCO_LID_PAST_MS ? span
                                                         : COCO_LID_PAST_MS))
    {
        r->until = COCO_NEVER;
        return;
    }

    r->until += 2 * span;
    memset(&r->task, 0, sizeof(r->task));
}


int
coco_lid_item_event(const coco_item_t *item)
{
    const coco_robot_event_t  *e = &item->event;

    return coco_lid_event_parse(e->type_name,
                                e->has_lid_opened ? e->lid_opened : -1,
                                (coco_str_t) { NULL, 0 });
}


/*
 * The lid is looked at when anything is new. What heartbeats have seen is
 * compared with what comes of that, for the events that they have overtaken
 * may be in the same batch.
 */
static int
coco_lid_apply(coco_writer_t *w, coco_lid_robot_t *r)
{
    bool                fresh;
    int64_t             at;
    const coco_item_t  *item;

    r->place = r->stored;

    for (size_t i = 0; i < r->count; i++) {
        item = r->items[i];

        fresh = item->kind == COCO_ITEM_TASK
                ? item->task.task == COCO_TASK_LID
                : item->newer && coco_lid_item_event(item) >= 0;
        if (!fresh) {
            continue;
        }

        at = coco_lid_item_at(item);

        if (r->from == COCO_NEVER || at < r->from) {
            r->from = at;
        }

        if (item->kind == COCO_ITEM_ROBOT_EVENT
            && coco_lid_item_event(item) == COCO_LID_PIN_ASKED
            && coco_lid_pin(w, r, item) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    if (r->from != COCO_NEVER && coco_lid_look(w, r) != COCO_OK) {
        return COCO_ERROR;
    }

    for (size_t i = 0; i < r->count; i++) {
        item = r->items[i];

        if (item->kind == COCO_ITEM_TASK
            && item->task.task == COCO_TASK_SEEN
            && coco_lid_seen(w, r, &item->task) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* Again from the stored cycles, when it is the second time. */
static int
coco_lid_look(coco_writer_t *w, coco_lid_robot_t *r)
{
    int64_t           from;
    coco_lid_t       *lid = &r->lid;
    coco_lid_work_t  *work = w->lid;

    memset(lid, 0, sizeof(*lid));
    lid->serial = r->serial;
    lid->until = coco_lid_past(r) ? r->until : 0;
    lid->marks = r->marks;
    lid->mark_count = r->mark_count;
    lid->cycle_count = r->cycle_count;
    lid->cycle_max = r->cycle_count + r->mark_count;
    lid->cycles = coco_arena_alloc(&w->arena,
                                   lid->cycle_max * sizeof(*lid->cycles));
    lid->answers = coco_arena_alloc(&w->arena,
                                    lid->mark_count * sizeof(*lid->answers));

    if (lid->cycles == NULL || lid->answers == NULL) {
        return COCO_ERROR;
    }

    if (r->cycle_count > 0) {
        memcpy(lid->cycles, r->cycles, r->cycle_count * sizeof(*r->cycles));
    }

    from = r->due_from != COCO_NEVER && r->due_from < r->from ? r->due_from
                                                              : r->from;

    if (coco_lid_reconcile(lid, from, work->now, &work->rules) != COCO_OK) {
        return COCO_ERROR;
    }

    r->looked = true;
    coco_lid_place(work, r);

    return COCO_OK;
}


/* A suspect that the newest movement explains is none. */
static void
coco_lid_place(coco_lid_work_t *work, coco_lid_robot_t *r)
{
    coco_lid_place_t  *p = &r->place;

    /* no cycle in what was read: the older ones stand */
    if (r->lid.changed_at == COCO_NEVER) {
        return;
    }

    /* and so do the newer ones, where they were not read */
    if (coco_lid_past(r)
        && p->changed_at > coco_lid_edge(r->until, &work->rules))
    {
        return;
    }

    if (p->known != r->lid.known || p->is_open != r->lid.is_open) {
        p->has_suspect = false;
    }

    p->known = r->lid.known;
    p->is_open = r->lid.is_open;
    p->changed_at = r->lid.changed_at;

    if (p->has_suspect && p->suspect_at <= p->changed_at) {
        p->has_suspect = false;
    }
}


/* A heartbeat that contradicts, or agrees again. */
static int
coco_lid_seen(coco_writer_t *w, coco_lid_robot_t *r, const coco_task_t *seen)
{
    coco_lid_place_t  *p = &r->place;

    if (!p->known
        || (p->changed_at != COCO_NEVER && seen->ts <= p->changed_at))
    {
        return COCO_OK;
    }

    if (seen->open == p->is_open) {
        if (p->has_suspect && seen->ts > p->suspect_at) {
            p->has_suspect = false;
        }

        return COCO_OK;
    }

    if (!p->has_suspect) {
        p->has_suspect = true;
        p->suspect = seen->subject;
        p->suspect_at = seen->ts;
        return COCO_OK;
    }

    if (seen->ts <= p->suspect_at) {
        return COCO_OK;
    }

    return coco_lid_resync(w, r, seen);
}


/* Two in a row: an event of our own, when the first of them was seen. */
static int
coco_lid_resync(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_task_t *seen)
{
    coco_str_t          cause[3];
    coco_lid_row_t     *row;
    coco_lid_mark_t    *mark;
    coco_lid_work_t    *work = w->lid;
    coco_lid_resync_t  *resync;

    row = &work->rows[work->row_count++];
    memset(row, 0, sizeof(*row));
    cause[0] = coco_string("resync");
    cause[1] = (coco_str_t) { (char *) r->place.suspect.bytes, COCO_ID_LEN };
    cause[2] = (coco_str_t) { (char *) seen->subject.bytes, COCO_ID_LEN };
    coco_id_derive(&row->id, cause, 3);
    row->serial = r->serial;
    row->type = coco_lid_event_name(seen->open ? COCO_LID_OPENED
                                               : COCO_LID_CLOSED);
    row->ts = r->place.suspect_at;
    row->source = coco_lid_source_name(COCO_SOURCE_RESYNC);

    mark = &r->marks[r->mark_count++];
    memset(mark, 0, sizeof(*mark));
    mark->id = row->id;
    mark->event = seen->open ? COCO_LID_SEEN_OPEN : COCO_LID_SEEN_CLOSED;
    mark->at = row->ts < work->now ? row->ts : work->now;
    mark->wait_until = COCO_NEVER;
    mark->expires_at = COCO_NEVER;
    mark->source = COCO_SOURCE_RESYNC;

    resync = &work->resyncs[work->resync_count++];
    resync->event = row->id;
    resync->serial = r->serial;
    resync->at = mark->at;
    resync->open = seen->open;

    if (r->from == COCO_NEVER || mark->at < r->from) {
        r->from = mark->at;
    }

    r->place = r->stored;
    r->place.has_suspect = false;

    return coco_lid_look(w, r);
}


/* The time of commands is over, unless an event of this very part answers. */
static int
coco_lid_expire(coco_writer_t *w)
{
    coco_lid_row_t      *row;
    coco_lid_work_t     *work = w->lid;
    coco_lid_robot_t    *r = work->robots;
    coco_lid_command_t  *c;

    for (size_t i = 0; i < work->expiry_count; i++) {
        c = &work->expiries[i];

        while (!coco_str_equal(r->serial, c->item->serial)) {
            r++;
        }

        c->expires = c->pending && coco_str_equal(c->serial, r->serial)
                     && !coco_lid_answered(r, &c->id);
        if (!c->expires) {
            continue;
        }

        row = &work->rows[work->row_count++];
        memset(row, 0, sizeof(*row));
        coco_lid_id(&row->id, coco_string("lid timeout"),
                    (coco_str_t) { NULL, 0 }, &c->id);
        row->serial = r->serial;
        row->type = coco_lid_event_name(COCO_LID_REQUEST_TIMEOUT);
        row->ts = c->expires_at;
        row->command = coco_lid_id_text(w, &c->id);
        row->source = c->source;
        row->reference = c->reference;

        if (row->command.data == NULL) {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static bool
coco_lid_answered(const coco_lid_robot_t *r, const coco_id_t *id)
{
    for (size_t i = 0; r->looked && i < r->lid.answer_count; i++) {
        if (memcmp(&r->lid.answers[i].command, id, sizeof(*id)) == 0) {
            return true;
        }
    }

    return false;
}


/* For the deliveries service, when it is here. */
static int
coco_lid_closes(coco_writer_t *w)
{
    size_t                   max = 0;
    coco_lid_t              *lid;
    coco_lid_work_t         *work = w->lid;
    coco_lid_close_t        *close;
    const coco_lid_cycle_t  *c;

    static const coco_str_t  names[2] = { coco_string("Robots.LidClose"),
                                          coco_string("LidCycle.Complete") };

    if (!w->options->direct
        || !(w->options->services & COCO_SERVICE_DELIVERIES))
    {
        return COCO_OK;
    }

    for (size_t i = 0; i < work->count; i++) {
        max += work->robots[i].looked ? 2 * work->robots[i].lid.cycle_count
                                      : 0;
    }

    w->closes = coco_arena_alloc(&w->arena, max * sizeof(*w->closes));
    if (w->closes == NULL) {
        return COCO_ERROR;
    }

    for (size_t i = 0; i < work->count; i++) {
        lid = &work->robots[i].lid;

        for (size_t k = 0; k < lid->cycle_count; k++) {
            c = &lid->cycles[k];

            for (int n = 0; n < 2 && c->publish_close; n++) {
                close = &w->closes[w->close_count++];
                coco_lid_id(&close->id, names[n], (coco_str_t) { NULL, 0 },
                            &c->id);
                close->serial = lid->serial;
                close->closed_at = c->closed_at;
                close->data = (coco_lid_data_t) { c->id, c->source,
                                                  c->trigger, c->reference };
                close->complete = n == 1;
            }
        }
    }

    return COCO_OK;
}


void
coco_lid_task_id(coco_id_t *ret, coco_str_t serial, int64_t from)
{
    coco_str_t  cause[4] = { coco_string("task"), coco_string("LID"), serial,
                             { (const char *) &from, sizeof(from) } };

    coco_id_derive(ret, cause, from == COCO_NEVER ? 3 : 4);
}


void
coco_lid_id(coco_id_t *ret, coco_str_t what, coco_str_t kind,
    const coco_id_t *cause)
{
    size_t      count = 0;
    coco_str_t  parts[3];

    parts[count++] = what;

    if (kind.data != NULL) {
        parts[count++] = kind;
    }

    parts[count++] = (coco_str_t) { (const char *) cause->bytes,
                                    COCO_ID_LEN };
    coco_id_derive(ret, parts, count);
}


coco_str_t
coco_lid_id_text(coco_writer_t *w, const coco_id_t *id)
{
    char  *p;

    p = coco_arena_alloc(&w->arena, COCO_ID_TEXT_LEN);
    if (p == NULL) {
        return (coco_str_t) { NULL, 0 };
    }

    coco_id_format(p, id);

    return (coco_str_t) { p, COCO_ID_TEXT_LEN };
}
