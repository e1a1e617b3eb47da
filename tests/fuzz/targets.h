/*
 * What holds for any input, checked by the fuzzers and, over their corpus,
 * by the unit tests. A broken promise aborts.
 */

#ifndef COCO_FUZZ_TARGETS_H
#define COCO_FUZZ_TARGETS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_connectivity.h"
#include "coco_envelope.h"
#include "coco_fleet_index.h"
#include "coco_heartbeat.h"
#include "coco_json_read.h"
#include "coco_lid.h"
#include "coco_mds.h"
#include "coco_order.h"
#include "coco_queue_body.h"
#include "coco_robot_event.h"
#include "coco_supply.h"

#define FUZZ_RECEIVED_AT  INT64_C(1795000000000)

#define FUZZ_CHECK(condition)                                                \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,       \
                    #condition);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)

typedef void (*fuzz_target_pt)(coco_str_t text);


/* Whatever lies behind the text would be read from the heap's red zone. */
static inline coco_str_t
fuzz_text_copy(const uint8_t *data, size_t size)
{
    char  *copy = malloc(size > 0 ? size : 1);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);

    return (coco_str_t) { copy, size };
}


/* Strict readers take what we write: read it with our own. */
static inline void
fuzz_json_sound(coco_str_t text)
{
    coco_error_t       err;
    coco_json_value_t  value;

    FUZZ_CHECK(coco_json_read(&value, text, &err) == COCO_OK);
}


/* Errors are stored as text; they must be valid inside a JSON string. */
static inline void
fuzz_error_sound(const coco_error_t *err)
{
    char             buf[2048];
    coco_json_out_t  out;

    FUZZ_CHECK(memchr(err->field, '\0', sizeof(err->field)) != NULL);
    FUZZ_CHECK(memchr(err->reason, '\0', sizeof(err->reason)) != NULL);
    FUZZ_CHECK(err->reason[0] != '\0');

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_json_string(&out, (coco_str_t) { err->field, strlen(err->field) });
    fuzz_json_sound((coco_str_t) { buf, out.len });
    FUZZ_CHECK(out.len < strlen(err->field) * 2 + 3);   /* nothing replaced */
}


static inline void
fuzz_number(const coco_json_value_t *value)
{
    char               buf[64];
    coco_error_t       err;
    coco_json_out_t    out;
    coco_json_value_t  again;

    FUZZ_CHECK(isfinite(value->number));

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_json_double(&out, value->number);
    FUZZ_CHECK(coco_json_out_ok(&out));
    FUZZ_CHECK(coco_json_read(&again, (coco_str_t) { buf, out.len }, &err)
               == COCO_OK);
    FUZZ_CHECK(again.number == value->number);

    if (value->integer) {
        FUZZ_CHECK((double) value->int64 == value->number);

        coco_json_out_init(&out, buf, sizeof(buf));
        coco_json_int(&out, value->int64);
        FUZZ_CHECK(coco_json_read(&again, (coco_str_t) { buf, out.len }, &err)
                   == COCO_OK);
        FUZZ_CHECK(again.integer && again.int64 == value->int64);
    }
}


/* Unescaped, written and unescaped again, a string is the same. */
static inline void
fuzz_string(const coco_json_value_t *value)
{
    char              *plain, *buf, *plain2;
    size_t             size = value->string.len * 6 + 2;
    coco_str_t         a, b;
    coco_error_t       err;
    coco_json_out_t    out;
    coco_json_value_t  again;

    plain = malloc(value->string.len + 1);
    buf = malloc(size);
    plain2 = malloc(size);
    FUZZ_CHECK(plain != NULL && buf != NULL && plain2 != NULL);

    a = coco_json_unescape(value, plain);
    FUZZ_CHECK(a.len <= value->string.len);

    coco_json_out_init(&out, buf, size);
    coco_json_string(&out, a);
    FUZZ_CHECK(coco_json_out_ok(&out));
    FUZZ_CHECK(coco_json_read(&again, (coco_str_t) { buf, out.len }, &err)
               == COCO_OK);

    b = coco_json_unescape(&again, plain2);
    FUZZ_CHECK(coco_str_equal(a, b));

    free(plain);
    free(buf);
    free(plain2);
}


static inline void fuzz_value(const coco_json_value_t *value);


static inline void
fuzz_object(const coco_json_value_t *object)
{
    size_t             i, pos = 0, count = 0;
    coco_str_t         name, names[64];
    coco_json_value_t  value, string;
    char               plain[64][64];

    while (coco_json_member_next(object, &pos, &name, &value)) {
        FUZZ_CHECK(pos < object->text.len);
        fuzz_value(&value);

        if (count == 64 || name.len > 64) {
            continue;
        }

        string.string = name;
        string.escaped = name.len > 0 && memchr(name.data, '\\', name.len);
        names[count] = coco_json_unescape(&string, plain[count]);

        for (i = 0; i < count; i++) {
            FUZZ_CHECK(!coco_str_equal(names[i], names[count]));
        }

        count++;
    }
}


static inline void
fuzz_value(const coco_json_value_t *value)
{
    size_t             pos = 0;
    coco_json_value_t  element;

    switch (value->type) {

    case COCO_JSON_NUMBER:
        fuzz_number(value);
        break;

    case COCO_JSON_STRING:
        fuzz_string(value);
        break;

    case COCO_JSON_OBJECT:
        fuzz_object(value);
        break;

    case COCO_JSON_ARRAY:
        while (coco_json_element_next(value, &pos, &element)) {
            FUZZ_CHECK(pos < value->text.len);
            fuzz_value(&element);
        }

        break;

    default:
        break;
    }
}


static inline void
fuzz_json(coco_str_t text)
{
    coco_error_t       err;
    coco_json_value_t  value, again;

    if (coco_json_read(&value, text, &err) != COCO_OK) {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_json_read(&again, value.text, &err) == COCO_OK);
    FUZZ_CHECK(again.text.len == value.text.len);
    fuzz_value(&value);
}


/* Measures, then writes into a buffer of just that size. */
#define FUZZ_ENCODE(call)                                                    \
    do {                                                                     \
        char             *buf;                                               \
        size_t            need;                                              \
        coco_json_out_t   out_, *out = &out_;                                \
                                                                             \
        coco_json_out_init(out, NULL, 0);                                    \
        call;                                                                \
        need = out->len;                                                     \
        FUZZ_CHECK(!coco_json_out_ok(out));                                  \
        buf = malloc(need);                                                  \
        FUZZ_CHECK(buf != NULL);                                             \
        coco_json_out_init(out, buf, need / 2);                              \
        call;                                                                \
        FUZZ_CHECK(out->len == need && !coco_json_out_ok(out));              \
        coco_json_out_init(out, buf, need);                                  \
        call;                                                                \
        FUZZ_CHECK(out->len == need && coco_json_out_ok(out));               \
        fuzz_json_sound((coco_str_t) { buf, need });                         \
        free(buf);                                                           \
    } while (0)


/* What a queue puts in changes nothing of the heartbeat's identity: a member
 * in front, or one behind, and space. */
static inline void
fuzz_heartbeat_id(const coco_heartbeat_t *hb)
{
    char              *text;
    size_t             i, head, len = hb->payload.len;
    const char        *brace;
    coco_error_t       err;
    coco_heartbeat_t   again;
    static const char  first[] = "\"topic\": \"robot/R-1/status\" , ";
    static const char  last[] = " , \"topic\" :[ 1 ]\n";

    brace = memchr(hb->payload.data, '{', len);
    text = malloc(len + sizeof(last) + sizeof(first));
    FUZZ_CHECK(brace != NULL && text != NULL);

    for (i = 0; i < 2; i++) {
        head = (size_t) (brace - hb->payload.data) + 1;

        if (i == 1) {
            for (head = len - 1; hb->payload.data[head] != '}'; head--) {
                /* void */
            }
        }

        memcpy(text, hb->payload.data, head);
        len = strlen(i == 0 ? first : last);
        memcpy(text + head, i == 0 ? first : last, len);
        memcpy(text + head + len, hb->payload.data + head,
               hb->payload.len - head);
        len += hb->payload.len;

        /* refused: it has a topic of its own, or too many members */

        if (coco_heartbeat_decode(&again, hb->serial,
                                  (coco_str_t) { text, len },
                                  FUZZ_RECEIVED_AT, &err) == COCO_OK)
        {
            FUZZ_CHECK(memcmp(&again.id, &hb->id, sizeof(again.id)) == 0);
        }

        len = hb->payload.len;
    }

    free(text);
}


static inline void
fuzz_heartbeat_topic(coco_str_t topic, coco_str_t text)
{
    int               rc;
    coco_str_t        driveu = coco_string("{\"streamer\":{\"status\":1}}");
    coco_error_t      err;
    coco_heartbeat_t  hb;

    rc = coco_heartbeat_decode(&hb, topic, text, FUZZ_RECEIVED_AT, &err);

    FUZZ_CHECK(hb.serial.data == NULL || coco_serial_valid(hb.serial));

    if (rc != COCO_OK) {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_serial_valid(hb.serial));
    FUZZ_CHECK(hb.battery_percent >= 0 && hb.battery_percent <= 100);
    FUZZ_CHECK(hb.latitude >= -90 && hb.latitude <= 90);
    FUZZ_CHECK(hb.longitude >= -180 && hb.longitude <= 180);
    FUZZ_CHECK(hb.ts > INT64_C(1420070399999));
    FUZZ_CHECK(hb.ts <= FUZZ_RECEIVED_AT + 86400000);
    fuzz_json_sound(hb.battery);
    fuzz_json_sound(hb.location);
    fuzz_heartbeat_id(&hb);

    FUZZ_ENCODE(coco_heartbeat_details_encode(out, &hb, true, driveu));
    FUZZ_ENCODE(coco_robot_state_encode(out, &hb, hb.state));
    FUZZ_ENCODE(coco_ephemeral_encode(out, &hb, true, driveu));
    FUZZ_ENCODE(coco_heartbeat_event_encode(out, &hb, hb.state, false,
                                            (coco_str_t) { NULL, 0 }));
}


static inline void
fuzz_heartbeat(coco_str_t text)
{
    fuzz_heartbeat_topic(coco_string("R-1"), text);
    fuzz_heartbeat_topic((coco_str_t) { NULL, 0 }, text);
}


static inline void
fuzz_event_topic(coco_str_t topic, coco_str_t text)
{
    int                 rc;
    coco_error_t        err;
    coco_robot_event_t  event;

    rc = coco_robot_event_decode(&event, topic, text, FUZZ_RECEIVED_AT, &err);

    FUZZ_CHECK(event.serial.data == NULL || coco_serial_valid(event.serial));

    if (rc != COCO_OK) {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_serial_valid(event.serial));
    FUZZ_CHECK(event.type_name.len >= 1 && event.type_name.len <= 64);
    FUZZ_CHECK(event.pin.len <= 128 && event.command_id.len <= 128);

    if (event.details.data != NULL) {
        fuzz_json_sound(event.details);
    }
}


static inline void
fuzz_event(coco_str_t text)
{
    fuzz_event_topic(coco_string("R-1"), text);
    fuzz_event_topic((coco_str_t) { NULL, 0 }, text);
}


/* The same webhook, written by another hand. */
static inline void
fuzz_connectivity_again(const coco_connectivity_t *c)
{
    char                 buf[1024];
    size_t               count;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_json_out_t      out;
    coco_connectivity_t  again;

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_json_object_open(&out);
    coco_json_name(&out, "time");
    coco_json_int(&out, c->time_us);
    coco_json_name(&out, "vin");
    coco_json_string(&out, c->vin);
    coco_json_name(&out, "uuid");
    coco_json_string(&out, c->uuid);
    coco_json_name(&out, "status");
    coco_json_string(&out, c->status);
    coco_json_name(&out, "unit");
    coco_json_string(&out, coco_unit_name(c->unit));
    coco_json_name(&out, "eventName");
    coco_json_string(&out, coco_string("status"));
    coco_json_object_close(&out);

    FUZZ_CHECK(coco_json_out_ok(&out));
    FUZZ_CHECK(coco_connectivity_decode(&again, (coco_str_t) { buf, out.len },
                                        FUZZ_RECEIVED_AT, errors, &count)
               == COCO_OK);
    FUZZ_CHECK(memcmp(&again.id, &c->id, sizeof(again.id)) == 0);
}


static inline void
fuzz_connectivity(coco_str_t text)
{
    size_t               i, count;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_driveu_t        driveu = { .units = { { .known = false } } };
    coco_connectivity_t  c;

    if (coco_connectivity_decode(&c, text, FUZZ_RECEIVED_AT, errors, &count)
        != COCO_OK)
    {
        FUZZ_CHECK(count >= 1 && count <= COCO_CONNECTIVITY_ERRORS);

        for (i = 0; i < count; i++) {
            fuzz_error_sound(&errors[i]);
        }

        return;
    }

    FUZZ_CHECK(count == 0);
    FUZZ_CHECK(c.unit < COCO_UNITS);
    FUZZ_CHECK(c.status.len >= 1 && c.status.len <= 64);
    FUZZ_CHECK(c.uuid.len >= 1 && c.uuid.len <= 128);
    FUZZ_CHECK(c.vin.data == NULL || coco_serial_valid(c.vin));
    FUZZ_CHECK(c.time_us >= INT64_C(1420070400000000));
    FUZZ_CHECK(c.time_us <= (FUZZ_RECEIVED_AT + 86400000) * 1000);

    fuzz_connectivity_again(&c);
    FUZZ_ENCODE(coco_connectivity_event_encode(out, &c));
    FUZZ_ENCODE(coco_driveu_encode(out, &driveu));

    FUZZ_CHECK(coco_driveu_apply(&driveu, &c));
    FUZZ_CHECK(!coco_driveu_apply(&driveu, &c));
    FUZZ_ENCODE(coco_driveu_encode(out, &driveu));
}


/* buf is of the body's size, no byte more. */
static inline void
fuzz_queue(coco_str_t text)
{
    char              *buf = malloc(text.len > 0 ? text.len : 1);
    coco_str_t         inner;
    coco_error_t       err;
    coco_json_value_t  value;
    coco_queue_body_t  body;

    FUZZ_CHECK(buf != NULL);

    if (coco_queue_body_read(&body, text, buf, &err) == COCO_OK) {
        FUZZ_CHECK(body.serial.data == NULL || coco_serial_valid(body.serial));
        FUZZ_CHECK(coco_json_read(&value, body.payload, &err) == COCO_OK);
        FUZZ_CHECK(value.type == COCO_JSON_OBJECT);

        inner = coco_queue_body_unwrap(text, buf);
        FUZZ_CHECK(inner.data == body.payload.data
                   && inner.len == body.payload.len);

    } else {
        fuzz_error_sound(&err);
        FUZZ_CHECK(body.payload.data == text.data
                   && body.payload.len == text.len);
    }

    free(buf);
}


static inline void
fuzz_envelope(coco_str_t text)
{
    coco_error_t     err;
    coco_envelope_t  a;

    if (coco_envelope_decode(&a, text, &err) != COCO_OK) {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_serial_valid(a.serial));
    FUZZ_CHECK(a.name.len >= 1 && a.name.len <= 128);
    FUZZ_CHECK(a.ts >= 0);
    FUZZ_CHECK(a.data.len >= 2 && a.data.data[0] == '{');

    FUZZ_ENCODE(coco_envelope_open(out, &a.id, a.name, a.serial, a.ts);
                coco_json_json(out, a.data);
                coco_json_object_close(out));
}


static inline void
fuzz_lid(coco_str_t text)
{
    coco_error_t       err;
    coco_lid_data_t    a;
    coco_json_value_t  value;

    if (coco_json_read(&value, text, &err) != COCO_OK
        || value.type != COCO_JSON_OBJECT)
    {
        return;
    }

    if (coco_lid_data_decode(&a, value.text, &err) != COCO_OK) {
        fuzz_error_sound(&err);
        FUZZ_CHECK(strncmp(err.field, "data.", 5) == 0);
        return;
    }

    FUZZ_CHECK(a.source < COCO_SOURCES);
    FUZZ_CHECK(a.trigger > COCO_TRIGGER_NONE && a.trigger < COCO_TRIGGERS);
    FUZZ_CHECK(a.reference.data == NULL || a.reference.len > 0);

    FUZZ_ENCODE(coco_lid_data_encode(out, &a));
}


/* room is of the payload's size, no byte more. */
static inline void
fuzz_order_of(coco_partner_e partner, coco_str_t text)
{
    char                  *room = malloc(text.len > 0 ? text.len : 1);
    coco_error_t           err;
    coco_webhook_event_t   event;
    coco_partner_order_t   order;

    FUZZ_CHECK(room != NULL);

    if (coco_webhook_identify(&event, partner, text, &err) != COCO_OK) {
        fuzz_error_sound(&err);
        FUZZ_CHECK(coco_order_decode(&order, partner, text, FUZZ_RECEIVED_AT,
                                     room, &err) == COCO_ERROR);

    } else if (coco_order_decode(&order, partner, text, FUZZ_RECEIVED_AT, room,
                                 &err) != COCO_OK)
    {
        FUZZ_CHECK(event.len >= 1 && event.len <= COCO_WEBHOOK_EVENT_MAX);
        fuzz_error_sound(&err);

    } else if (order.action != COCO_ORDER_NOTHING) {
        FUZZ_CHECK(order.external_id.len >= 1 && order.external_id.len <= 128);
        FUZZ_CHECK(order.store.len <= 128 && order.vehicle.len <= 128);
        FUZZ_CHECK(order.reason.len >= 1 && order.reason.len <= 256);
        FUZZ_CHECK(order.order_at <= FUZZ_RECEIVED_AT + 86400000);
        FUZZ_CHECK(order.action == COCO_ORDER_CANCEL
                   || (order.pickup.known && order.dropoff.known));
        FUZZ_CHECK(fabs(order.pickup.latitude) <= 90
                   || !order.pickup.known);

        FUZZ_ENCODE(coco_order_encode(out, &order));
    }

    free(room);
}


static inline void
fuzz_order(coco_str_t text)
{
    fuzz_order_of(COCO_PARTNER_UBER, text);
    fuzz_order_of(COCO_PARTNER_DOORDASH, text);
}


static inline double
fuzz_supply_visit(void *data, uint32_t robot, double meters)
{
    FUZZ_CHECK(robot == 0 && meters >= 0);
    *(uint32_t *) data += 1;

    return INFINITY;
}


/* A robot of any state may come to the fleet. */
static inline void
fuzz_supply_put(coco_str_t serial, const coco_supply_state_t *robot)
{
    size_t               size = (coco_fleet_index_size(1) + 63) & ~63u;
    int64_t              now = robot->telemetry.order.order_ms;
    uint32_t             visits = 0, usable, counts[COCO_REASONS_STANDING];
    coco_supply_rules_t  rules = { 60000, 20 };
    coco_fleet_index_t  *index = aligned_alloc(64, size);

    FUZZ_CHECK(index != NULL);
    memset(index, 0, size);
    coco_fleet_index_init(index, 1, &rules);

    FUZZ_CHECK(coco_fleet_index_put(index, serial, robot, now)
               == (int) robot->parts);
    FUZZ_CHECK(coco_fleet_index_put(index, serial, robot, now) == 0);
    FUZZ_CHECK(coco_fleet_index_find(index, serial)
               == (robot->parts != 0 ? 0 : COCO_ROBOT_NONE));

    coco_fleet_index_near(index, 0, 0, INFINITY, fuzz_supply_visit, &visits);
    coco_fleet_index_counts(index, counts, &usable);
    FUZZ_CHECK(visits == usable);
    FUZZ_CHECK(coco_fleet_index_sweep(index, INT64_MAX, 9) == INT64_MAX);

    free(index);
}


static inline void
fuzz_supply(coco_str_t text)
{
    char                 line[COCO_SUPPLY_LINE_MAX];
    char                 again[COCO_SUPPLY_LINE_MAX];
    size_t               len;
    coco_str_t           serial;
    coco_error_t         err;
    coco_supply_state_t  robot;

    if (coco_supply_line_decode(text, &serial, &robot, &err) != COCO_OK) {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_serial_valid(serial));

    if (robot.parts & COCO_SUPPLY_TELEMETRY) {
        FUZZ_CHECK(abs(robot.telemetry.latitude_e7) <= 900000000);
        FUZZ_CHECK(abs(robot.telemetry.longitude_e7) <= 1800000000);
        FUZZ_CHECK(robot.telemetry.battery_percent >= 0
                   && robot.telemetry.battery_percent <= 100);
    }

    fuzz_supply_put(serial, &robot);

    len = coco_supply_line_encode(line, serial, &robot);
    FUZZ_CHECK(len <= sizeof(line));
    FUZZ_CHECK(coco_supply_line_decode((coco_str_t) { line, len }, &serial,
                                       &robot, &err) == COCO_OK);
    FUZZ_CHECK(coco_supply_line_encode(again, serial, &robot) == len);
    FUZZ_CHECK(memcmp(line, again, len) == 0);
}

/* Text up to the separator, which *text is then behind. */
static inline coco_str_t
fuzz_token(coco_str_t *text, char separator)
{
    const char  *end = text->len > 0 ? memchr(text->data, separator,
                                              text->len) : NULL;
    coco_str_t   token = { text->data, end != NULL
                                       ? (size_t) (end - text->data)
                                       : text->len };

    text->data += token.len + (end != NULL);
    text->len -= token.len + (end != NULL);

    return token;
}


static inline void
fuzz_mds_apply(coco_mds_vehicle_t *vehicle, const coco_mds_fact_t *fact)
{
    unsigned          i, count;
    int64_t           told_at = vehicle->told_at;
    coco_mds_told_t   told[COCO_MDS_TOLD_MAX];
    coco_mds_state_e  state = vehicle->state;

    count = coco_mds_apply(vehicle, fact, told);

    FUZZ_CHECK(count <= COCO_MDS_TOLD_MAX);
    FUZZ_CHECK(coco_mds_vehicle_sound(vehicle));

    for (i = 0; i < count; i++) {
        if (told[i].event == COCO_MDS_EVENTS) {
            FUZZ_CHECK(told[i].starts != told[i].ends);
            FUZZ_CHECK(told[i].at >= told_at);

        } else {
            FUZZ_CHECK(coco_mds_allowed(state, told[i].event, told[i].state));
            FUZZ_CHECK(told[i].at > told_at);
        }

        state = told[i].state;
        told_at = told[i].at;
    }
}


/* The first line is a memory, or empty: a vehicle that is new; the others are
 * facts: their kind, a space, their data. */
static inline void
fuzz_mds(coco_str_t text)
{
    char                memory[4096], again[4096];
    coco_str_t          line = fuzz_token(&text, '\n'), kind;
    coco_error_t        err;
    coco_json_out_t     out;
    coco_mds_fact_t     fact;
    coco_mds_vehicle_t  vehicle = COCO_MDS_VEHICLE_NEW;

    if (line.len > 0
        && coco_mds_decode(&vehicle, line, &err) != COCO_OK)
    {
        fuzz_error_sound(&err);
        return;
    }

    FUZZ_CHECK(coco_mds_vehicle_sound(&vehicle));

    while (text.len > 0) {
        line = fuzz_token(&text, '\n');
        kind = fuzz_token(&line, ' ');

        if (coco_mds_fact_decode(&fact, kind, FUZZ_RECEIVED_AT, line, &err)
            != COCO_OK)
        {
            fuzz_error_sound(&err);
            continue;
        }

        fuzz_mds_apply(&vehicle, &fact);
    }

    coco_json_out_init(&out, memory, sizeof(memory));
    coco_mds_encode(&out, &vehicle);
    FUZZ_CHECK(coco_json_out_ok(&out));
    line = (coco_str_t) { memory, out.len };
    FUZZ_CHECK(coco_mds_decode(&vehicle, line, &err) == COCO_OK);

    coco_json_out_init(&out, again, sizeof(again));
    coco_mds_encode(&out, &vehicle);
    FUZZ_CHECK(coco_str_equal(line, (coco_str_t) { again, out.len }));
}

#endif /* COCO_FUZZ_TARGETS_H */
