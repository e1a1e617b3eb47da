/*
 * From rows of robot_task to items: what is due for a robot. Must never let
 * through what its transaction could not apply.
 */

#include "batch_work.h"
#include "coco_message.h"

typedef struct {
    coco_str_t    name;
    coco_task_e   task;
    int         (*decode)(coco_task_t *ret, const coco_json_value_t *data,
                          coco_error_t *err);
} coco_task_kind_t;

static int coco_task_lid(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err);
static int coco_task_seen(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err);
static int coco_task_expiry(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err);
static int coco_task_arrival(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err);
static int coco_task_id(coco_id_t *ret, const coco_json_value_t *member,
    const char *field, coco_error_t *err);
static int coco_task_ts(int64_t *ret, const coco_json_value_t *member,
    const char *field, coco_error_t *err);

static const coco_task_kind_t  coco_task_kinds[] = {
    { coco_string("LID"), COCO_TASK_LID, coco_task_lid },
    { coco_string("SEEN"), COCO_TASK_SEEN, coco_task_seen },
    { coco_string("EXPIRY"), COCO_TASK_EXPIRY, coco_task_expiry },
    { coco_string("ARRIVAL"), COCO_TASK_ARRIVAL, coco_task_arrival },
};


int
coco_task_decode_item(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    coco_str_t             cause[4], kind;
    const char            *slash;
    coco_json_value_t      data;
    const coco_message_t  *m = item->message;

    if (!coco_serial_valid(m->serial)) {
        return coco_error_set(err, "serial", "a robot's serial expected");
    }

    if (coco_message_read(&data, m->payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    memset(&item->task, 0, sizeof(item->task));
    item->kind = COCO_ITEM_TASK;
    item->serial = m->serial;

    cause[0] = coco_string("task");
    cause[1] = m->topic;
    cause[2] = m->serial;
    cause[3] = m->payload;

    /* a replay has no row any more */
    if (m->inbox) {
        item->id = m->inbox_id;

    } else {
        coco_id_derive(&item->id, cause, 4);
    }

    kind = m->topic;
    slash = memchr(kind.data, '/', kind.len);

    if (slash != NULL) {
        kind.len = (size_t) (slash - kind.data);
    }

    for (size_t i = 0;
         i < sizeof(coco_task_kinds) / sizeof(*coco_task_kinds); i++)
    {
        if (coco_str_equal(kind, coco_task_kinds[i].name)) {
            item->task.task = coco_task_kinds[i].task;
            return coco_task_kinds[i].decode(&item->task, &data, err);
        }
    }

    return coco_error_set(err, "kind",
                          "one of LID SEEN EXPIRY ARRIVAL expected");
}


static int
coco_task_lid(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    coco_json_value_t  from;

    static const coco_str_t  name = coco_string("from");

    coco_message_members(data, &name, 1, &from);

    return coco_task_ts(&ret->ts, &from, "from", err);
}


static int
coco_task_seen(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    enum { ID, OPEN, TS, MEMBERS };

    bool               has;
    coco_json_value_t  m[MEMBERS];

    static const coco_str_t  names[MEMBERS] = {
        [ID] = coco_string("id"),
        [OPEN] = coco_string("open"),
        [TS] = coco_string("ts")
    };

    coco_message_members(data, names, MEMBERS, m);

    if (coco_task_id(&ret->subject, &m[ID], "id", err) != COCO_OK
        || coco_task_ts(&ret->ts, &m[TS], "ts", err) != COCO_OK
        || coco_message_bool(&ret->open, &has, &m[OPEN], "open", err)
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    return has ? COCO_OK
               : coco_message_unexpected(err, "open", "a boolean", &m[OPEN]);
}


static int
coco_task_expiry(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    coco_json_value_t  command;

    static const coco_str_t  name = coco_string("command");

    coco_message_members(data, &name, 1, &command);

    return coco_task_id(&ret->subject, &command, "command", err);
}


static int
coco_task_arrival(coco_task_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    enum { ID, DELIVERY, AT, TS, MEMBERS };

    coco_json_value_t  m[MEMBERS];

    static const coco_str_t  names[MEMBERS] = {
        [ID] = coco_string("id"),
        [DELIVERY] = coco_string("delivery"),
        [AT] = coco_string("at"),
        [TS] = coco_string("ts")
    };

    coco_message_members(data, names, MEMBERS, m);

    if (coco_task_id(&ret->subject, &m[ID], "id", err) != COCO_OK
        || coco_task_id(&ret->delivery, &m[DELIVERY], "delivery", err)
           != COCO_OK
        || coco_task_ts(&ret->ts, &m[TS], "ts", err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (coco_str_equal(m[AT].text, coco_string("\"pickup\""))) {
        ret->arrival = COCO_DELIVERY_ARRIVE_PICKUP;

    } else if (coco_str_equal(m[AT].text, coco_string("\"dropoff\""))) {
        ret->arrival = COCO_DELIVERY_ARRIVE_DROPOFF;

    } else {
        return coco_error_set(err, "at", "pickup or dropoff expected");
    }

    return COCO_OK;
}


static int
coco_task_id(coco_id_t *ret, const coco_json_value_t *member,
    const char *field, coco_error_t *err)
{
    if (coco_message_has(member) && member->type == COCO_JSON_STRING
        && coco_id_parse(ret, member->string) == COCO_OK)
    {
        return COCO_OK;
    }

    return coco_error_set(err, field, "a UUID expected");
}


static int
coco_task_ts(int64_t *ret, const coco_json_value_t *member,
    const char *field, coco_error_t *err)
{
    if (coco_message_has(member) && member->type == COCO_JSON_NUMBER
        && member->integer)
    {
        *ret = member->int64;
        return COCO_OK;
    }

    return coco_error_set(err, field, "whole milliseconds expected");
}
