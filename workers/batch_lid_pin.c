/*
 * A PIN was typed that the robot does not know, or its lid was touched: it
 * asks, and is told to open or is not. Must never let a PIN out of memory.
 */

#include <stdio.h>

#include "batch_lid.h"

#define COCO_LID_MARGIN_MS  1000    /* before a command expires, for its answer
                                       to be told */

static int coco_lid_pin_open(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_item_t *item, const coco_delivery_record_t *delivery,
    coco_lid_source_e source);
static int coco_lid_pin_refuse(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_item_t *item, coco_str_t reason);


int
coco_lid_pin(coco_writer_t *w, coco_lid_robot_t *r, const coco_item_t *item)
{
    char                          *p;
    int64_t                        at, age;
    coco_lid_source_e              source;
    const coco_robot_event_t      *e = &item->event;
    const coco_delivery_record_t  *delivery;

    at = e->ts < e->received_at ? e->ts : e->received_at;
    age = w->lid->now - at;

    p = coco_arena_alloc(&w->arena, COCO_PIN_REASON);
    if (p == NULL) {
        return COCO_ERROR;
    }

    if (age > w->options->lid_pin_age_ms) {
        snprintf(p, COCO_PIN_REASON, "it came %lld s late",
                 (long long) (age / 1000));

        return coco_lid_pin_refuse(w, r, item, (coco_str_t) { p, strlen(p) });
    }

    delivery = coco_service_deliveries_pin(r->deliveries, r->delivery_count,
                                           e->pin, &r->position, w->lid->now,
                                           w->options->lid_pin_age_ms,
                                           &source, p);
    if (delivery == NULL) {
        return coco_lid_pin_refuse(w, r, item, (coco_str_t) { p, strlen(p) });
    }

    return coco_lid_pin_open(w, r, item, delivery, source);
}


/* The command, its request in the history, and the mark of that. */
static int
coco_lid_pin_open(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_item_t *item, const coco_delivery_record_t *delivery,
    coco_lid_source_e source)
{
    int64_t              timeout, margin;
    coco_lid_row_t      *row;
    coco_lid_mark_t     *mark;
    coco_lid_work_t     *work = w->lid;
    coco_lid_command_t  *command;

    timeout = w->options->lid_timeout_ms;
    margin = timeout / 10 < COCO_LID_MARGIN_MS ? timeout / 10
                                               : COCO_LID_MARGIN_MS;

    command = &work->commands[work->command_count++];
    memset(command, 0, sizeof(*command));
    coco_lid_id(&command->id, coco_string("pin command"),
                (coco_str_t) { NULL, 0 }, &item->id);
    command->serial = r->serial;
    command->source = coco_lid_source_name(source);
    command->reference = coco_lid_id_text(w, &delivery->id);
    command->expires_at = work->now + timeout - margin;

    row = &work->rows[work->row_count++];
    memset(row, 0, sizeof(*row));
    coco_lid_id(&row->id, coco_string("lid request"),
                (coco_str_t) { NULL, 0 }, &command->id);
    row->serial = r->serial;
    row->type = coco_lid_event_name(COCO_LID_OPEN_REQUEST);
    row->ts = work->now;
    row->command = coco_lid_id_text(w, &command->id);
    row->source = command->source;
    row->reference = command->reference;

    mark = &r->marks[r->mark_count++];
    memset(mark, 0, sizeof(*mark));
    mark->id = row->id;
    mark->event = COCO_LID_OPEN_REQUEST;
    mark->at = row->ts;
    mark->wait_until = COCO_NEVER;
    mark->expires_at = command->expires_at;
    mark->has_command = true;
    mark->command = command->id;
    mark->source = source;
    mark->reference = command->reference;

    return command->reference.data != NULL && row->command.data != NULL
           ? COCO_OK : COCO_ERROR;
}


static int
coco_lid_pin_refuse(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_item_t *item, coco_str_t reason)
{
    coco_lid_row_t   *row;
    coco_lid_work_t  *work = w->lid;

    row = &work->rows[work->row_count++];
    memset(row, 0, sizeof(*row));
    coco_lid_id(&row->id, coco_string("lid refusal"),
                (coco_str_t) { NULL, 0 }, &item->id);
    row->serial = r->serial;
    row->type = coco_string("LID_OPEN_REFUSED");
    row->ts = work->now;
    row->reason = reason;

    return COCO_OK;
}
