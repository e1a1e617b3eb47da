/*
 * From events of the bus to items: which of our services an event is for, and
 * what it says. Must never refuse an event for coming late, twice or early.
 */

#include "batch_work.h"
#include "coco_envelope.h"
#include "coco_message.h"

typedef struct {
    coco_str_t  name;
    int       (*decode)(coco_writer_t *w, coco_item_t *item,
                        const coco_envelope_t *e, coco_error_t *err);
} coco_event_t;

static int coco_event_heartbeat(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);
static int coco_event_state_change(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);
static int coco_event_business_change(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);
static int coco_event_lid_close(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);
static int coco_event_lid_open(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);
static void coco_event_lid_move(coco_writer_t *w, coco_item_t *item,
    int64_t at, bool open);
static int coco_event_nothing(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err);

static const coco_event_t  coco_events[] = {
    { coco_string("IoT.Heartbeat"), coco_event_heartbeat },
    { coco_string("Robots.StateChange"), coco_event_state_change },
    { coco_string("Robots.BusinessStateChange"), coco_event_business_change },
    { coco_string("Robots.LidOpen"), coco_event_lid_open },
    { coco_string("Robots.LidClose"), coco_event_lid_close },
    { coco_string("LidCycle.Complete"), coco_event_lid_close },
    { coco_string("ConnectivityRawStatusChanged"), coco_event_nothing },
};


int
coco_batch_event_decode(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    coco_envelope_t       e;
    const coco_event_t   *event;

    if (coco_envelope_decode(&e, item->message->payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    item->id = e.id;
    item->serial = e.serial;

    for (size_t i = 0; i < sizeof(coco_events) / sizeof(*coco_events); i++) {
        event = &coco_events[i];

        if (!coco_str_equal(event->name, e.name)) {
            continue;
        }

        if (event->decode(w, item, &e, err) != COCO_OK) {
            return COCO_ERROR;
        }

        if (item->parts == 0) {
            item->kind = COCO_ITEM_NOTHING;
        }

        return COCO_OK;
    }

    return coco_error_set(err, "name", "no service consumes %.*s",
                          (int) e.name.len, e.name.data);
}


/*
 * The order of a heartbeat is that of its first receipt, which the state
 * service has stored: receivedAt, not when the event came. What was judged
 * then is not judged by the clock again.
 */
static int
coco_event_heartbeat(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    enum { RECEIVED_AT, CONTROLLABLE, DRIVEU, MEMBERS };

    coco_json_value_t  data, m[MEMBERS];
    coco_heartbeat_t  *hb = &item->heartbeat;

    static const coco_str_t  names[MEMBERS] = {
        [RECEIVED_AT] = coco_string("receivedAt"),
        [CONTROLLABLE] = coco_string("remotelyControllable"),
        [DRIVEU] = coco_string("driveu")
    };

    data.text = e->data;
    coco_message_members(&data, names, MEMBERS, m);

    if (!coco_message_has(&m[RECEIVED_AT])
        || m[RECEIVED_AT].type != COCO_JSON_NUMBER
        || !m[RECEIVED_AT].integer)
    {
        return coco_error_set(err, "data.receivedAt",
                              "whole milliseconds expected");
    }

    if (coco_heartbeat_decode(hb, e->serial, e->data, m[RECEIVED_AT].int64,
                              err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    hb->id = e->id;
    hb->received_at = m[RECEIVED_AT].int64;

    item->kind = COCO_ITEM_COPY;
    item->order = coco_heartbeat_order(hb);
    item->driveu = m[DRIVEU].text;
    item->controllable = coco_message_has(&m[CONTROLLABLE])
                         && m[CONTROLLABLE].type == COCO_JSON_TRUE;

    if (w->options->services & COCO_SERVICE_OPERATIONS) {
        item->parts |= COCO_PART_OPERATIONS;
    }

    if (w->options->services & COCO_SERVICE_FLEET
        && !w->options->fleet_from_kafka)
    {
        item->parts |= COCO_PART_TELEMETRY;
    }

    if (w->options->services & COCO_SERVICE_DELIVERIES) {
        item->parts |= COCO_PART_DELIVERIES;
    }

    if (w->options->services & COCO_SERVICE_DISPATCH) {
        item->parts |= COCO_PART_DISPATCH;
    }

    return COCO_OK;
}


static int
coco_event_state_change(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    coco_state_change_t  *change = &item->state_change;
    const coco_cause_t   *cause = &item->message->cause;

    if (coco_service_state_event_decode(change, e->data, err) != COCO_OK) {
        return COCO_ERROR;
    }

    change->id = e->id;
    change->serial = e->serial;
    change->order = (coco_order_t) { e->ts, cause->ts, cause->id };

    item->kind = COCO_ITEM_STATE_CHANGE;
    item->order = change->order;

    /* without a cause it was a PATCH, and operations has made it itself */
    if (cause->known && w->options->services & COCO_SERVICE_OPERATIONS) {
        item->parts = COCO_PART_OPERATIONS;

        if (w->options->direct && w->options->services & COCO_SERVICE_FLEET) {
            item->parts |= COCO_PART_BUSINESS;
        }

        if (w->options->direct
            && w->options->services & COCO_SERVICE_DISPATCH)
        {
            item->parts |= COCO_PART_DISPATCH;
        }
    }

    return COCO_OK;
}


static int
coco_event_business_change(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    coco_business_change_t  *change = &item->business_change;

    if (coco_service_operations_event_decode(&change->business, e->data, err)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    change->id = e->id;
    change->serial = e->serial;
    change->changed_at = e->ts;

    item->kind = COCO_ITEM_BUSINESS_CHANGE;
    item->order = (coco_order_t) { e->ts, e->ts, e->id };

    if (w->options->services & COCO_SERVICE_FLEET) {
        item->parts |= COCO_PART_BUSINESS;
    }

    if (w->options->services & COCO_SERVICE_DISPATCH) {
        item->parts |= COCO_PART_DISPATCH;
    }

    return COCO_OK;
}


/* The time of the envelope is that of the closing, the robot's. */
static int
coco_event_lid_close(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    coco_lid_close_t  *close = &item->close;

    if (coco_lid_data_decode(&close->data, e->data, err) != COCO_OK) {
        return COCO_ERROR;
    }

    close->id = e->id;
    close->serial = e->serial;
    close->closed_at = e->ts;
    close->complete = coco_str_equal(e->name,
                                     coco_string("LidCycle.Complete"));

    item->kind = COCO_ITEM_LID_CLOSE;

    if (!(w->options->services & COCO_SERVICE_DELIVERIES)) {
        coco_event_lid_move(w, item, e->ts, false);
        return COCO_OK;
    }

    item->parts = COCO_PART_DELIVERIES;

    if (w->options->services & COCO_SERVICE_DISPATCH) {
        item->parts |= COCO_PART_DISPATCH;
    }

    return COCO_OK;
}


static int
coco_event_lid_open(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    coco_lid_data_t  data;

    if (coco_lid_data_decode(&data, e->data, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_event_lid_move(w, item, e->ts, true);

    return COCO_OK;
}


static void
coco_event_lid_move(coco_writer_t *w, coco_item_t *item, int64_t at, bool open)
{
    item->kind = COCO_ITEM_LID_MOVE;
    item->move = (coco_lid_move_t) { at, open };

    if (w->options->services & COCO_SERVICE_DISPATCH) {
        item->parts = COCO_PART_DISPATCH;
    }
}


/* Its consumer, the state service, took it over when it was made. */
static int
coco_event_nothing(coco_writer_t *w, coco_item_t *item,
    const coco_envelope_t *e, coco_error_t *err)
{
    return COCO_OK;
}
