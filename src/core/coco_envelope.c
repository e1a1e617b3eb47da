/*
 * Writes and reads the envelopes of events. Must never look into their data.
 */

#include "coco_envelope.h"
#include "coco_message.h"


#define NAME_LEN_MAX  128                       /* bytes */
#define TS_MAX        INT64_C(253402300799999)  /* the end of 9999 */


enum { ID, NAME, SERIAL, TS, DATA, MEMBERS };


static int id_decode(coco_id_t *ret, const coco_json_value_t *id,
    coco_error_t *err);
static int name_decode(coco_str_t *ret, const coco_json_value_t *name,
    coco_error_t *err);
static int ts_decode(int64_t *ret, const coco_json_value_t *ts,
    coco_error_t *err);
static int data_decode(coco_str_t *ret, const coco_json_value_t *data,
    coco_error_t *err);


static const coco_str_t  member_names[MEMBERS] = {
    [ID] = coco_string("id"),
    [NAME] = coco_string("name"),
    [SERIAL] = coco_string("serial"),
    [TS] = coco_string("ts"),
    [DATA] = coco_string("data")
};


void
coco_envelope_open(coco_json_out_t *out, const coco_id_t *id,
    coco_str_t name, coco_str_t serial, int64_t ts)
{
    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_id(out, id);
    coco_json_name(out, "name");
    coco_json_string(out, name);
    coco_json_name(out, "serial");
    coco_json_string(out, serial);
    coco_json_name(out, "ts");
    coco_json_int(out, ts);
    coco_json_name(out, "data");
}


int
coco_envelope_decode(coco_envelope_t *ret, coco_str_t text,
    coco_error_t *err)
{
    coco_json_value_t  object, m[MEMBERS];

    *ret = (coco_envelope_t) { .ts = 0 };

    if (coco_message_read(&object, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, member_names, MEMBERS, m);

    if (coco_message_serial(&ret->serial, (coco_str_t) { NULL, 0 },
                            &m[SERIAL], err) != COCO_OK
        || id_decode(&ret->id, &m[ID], err) != COCO_OK
        || name_decode(&ret->name, &m[NAME], err) != COCO_OK
        || ts_decode(&ret->ts, &m[TS], err) != COCO_OK
        || data_decode(&ret->data, &m[DATA], err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int
id_decode(coco_id_t *ret, const coco_json_value_t *id, coco_error_t *err)
{
    if (!coco_message_has(id) || id->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "id", "a UUID", id);
    }

    if (coco_id_parse(ret, id->string) != COCO_OK) {
        return coco_error_set(err, "id", "a UUID expected");
    }

    return COCO_OK;
}


static int
name_decode(coco_str_t *ret, const coco_json_value_t *name,
    coco_error_t *err)
{
    static const char  expected[] = "a string of 1 to 128 bytes, unescaped,";

    if (!coco_message_has(name) || name->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "name", expected, name);
    }

    if (name->escaped || name->string.len == 0
        || name->string.len > NAME_LEN_MAX)
    {
        return coco_error_set(err, "name", "%s expected", expected);
    }

    *ret = name->string;

    return COCO_OK;
}


static int
ts_decode(int64_t *ret, const coco_json_value_t *ts, coco_error_t *err)
{
    static const char  expected[] = "whole milliseconds from 1970 to 9999";

    if (!coco_message_has(ts) || ts->type != COCO_JSON_NUMBER) {
        return coco_message_unexpected(err, "ts", expected, ts);
    }

    if (!ts->integer || ts->int64 < 0 || ts->int64 > TS_MAX) {
        return coco_error_set(err, "ts", "%s expected", expected);
    }

    *ret = ts->int64;

    return COCO_OK;
}


static int
data_decode(coco_str_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    if (!coco_message_has(data) || data->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "data", "an object", data);
    }

    *ret = data->text;

    return COCO_OK;
}
