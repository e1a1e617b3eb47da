/*
 * Nanoseconds per heartbeat: our decoder against jansson doing the same work
 * (parse with duplicates rejected, the same fields, the same two records).
 * Prints the best of several rounds, the two taking turns, so that a busy
 * machine disturbs both alike. Usage: decode_bench FILE
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "coco_heartbeat.h"


#define ROUNDS       9
#define COUNT        20000
#define RECEIVED_AT  INT64_C(1795000000000)


static coco_str_t  payload;
static char        details[8192], record[8192];
static double      sink;        /* keeps the compiler from dropping the work */


static double
now_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static void
die(const char *what)
{
    fprintf(stderr, "decode_bench: %s\n", what);
    exit(1);
}


static void
coco_decode(bool records)
{
    coco_error_t      err;
    coco_json_out_t   out;
    coco_heartbeat_t  hb;

    if (coco_heartbeat_decode(&hb, coco_string("R-1"), payload, RECEIVED_AT,
                              &err) != COCO_OK)
    {
        die(err.reason);
    }

    sink += hb.latitude + hb.battery_percent;

    if (!records) {
        return;
    }

    coco_json_out_init(&out, details, sizeof(details));
    coco_heartbeat_details_encode(&out, &hb, false,
                                  (coco_str_t) { NULL, 0 });
    sink += (double) out.len;

    coco_json_out_init(&out, record, sizeof(record));
    coco_robot_state_encode(&out, &hb, hb.state);
    sink += (double) out.len;
}


static double
member_number(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}


/* The identity is the same hash of ours; it is not what is compared. */
static void
jansson_identity(coco_id_t *id)
{
    coco_str_t  parts[] = {
        coco_string("heartbeat"), coco_string("R-1"), coco_string("12345678"),
        payload
    };

    coco_id_derive(id, parts, 4);
}


static void
jansson_records(json_t *json, json_t *battery, json_t *location)
{
    char     *text;
    json_t   *state;

    state = json_pack("{s:O,s:O,s:I,s:O?,s:O?,s:O,s:O,s:O?}",
                      "serial", json_object_get(json, "serial"),
                      "ts", json_object_get(json, "ts"),
                      "receivedAt", (json_int_t) RECEIVED_AT,
                      "operationState", json_object_get(json, "state"),
                      "healthy", json_object_get(json, "healthy"),
                      "battery", battery, "location", location,
                      "components", json_object_get(json, "components"));

    if (state == NULL || (text = json_dumps(state, JSON_COMPACT)) == NULL) {
        die("jansson cannot write the record");
    }

    sink += text[0];
    free(text);
    json_decref(state);

    json_object_del(json, "serial");
    json_object_del(json, "ts");
    json_object_del(json, "state");

    text = json_dumps(json, JSON_COMPACT);

    if (text == NULL) {
        die("jansson cannot write the details");
    }

    sink += text[0];
    free(text);
}


static void
jansson_decode(bool records)
{
    json_t        *json, *battery, *location, *value;
    coco_id_t      id;
    const char    *name;
    json_error_t   err;

    json = json_loadb(payload.data, payload.len, JSON_REJECT_DUPLICATES,
                      &err);

    if (json == NULL) {
        die(err.text);
    }

    battery = json_object_get(json, "battery");
    location = json_object_get(json, "location");

    sink += member_number(json, "ts") + member_number(battery, "percent")
            + member_number(battery, "voltage")
            + json_is_true(json_object_get(battery, "charging"))
            + member_number(location, "latitude")
            + member_number(location, "longitude")
            + member_number(location, "heading")
            + member_number(location, "speed")
            + member_number(location, "accuracy")
            + json_is_true(json_object_get(json, "healthy"))
            + json_is_true(json_object_get(json_object_get(json, "lid"),
                                           "open"))
            + strlen(json_string_value(json_object_get(json, "state")))
            + strlen(json_string_value(json_object_get(json, "serial")));

    json_object_foreach(json_object_get(json, "components"), name, value) {
        sink += strcmp(json_string_value(value), "ERROR") == 0;
    }

    jansson_identity(&id);
    sink += id.bytes[0];

    if (records) {
        jansson_records(json, battery, location);
    }

    json_decref(json);
}


static double
round_ns(void (*decode)(bool records), bool records)
{
    int     i;
    double  start = now_ns();

    for (i = 0; i < COUNT; i++) {
        decode(records);
    }

    return (now_ns() - start) / COUNT;
}


static void
compare(const char *title, bool records)
{
    int     round;
    double  ns, ours = 1e18, peer = 1e18;

    for (round = 0; round < ROUNDS; round++) {
        ns = round_ns(coco_decode, records);
        ours = ns < ours ? ns : ours;

        ns = round_ns(jansson_decode, records);
        peer = ns < peer ? ns : peer;
    }

    printf("%-22s coco %6.0f ns   jansson %6.0f ns   ratio %.1f\n", title,
           ours, peer, peer / ours);
}


int
main(int argc, char **argv)
{
    FILE         *file;
    static char   buf[65536];

    file = argc == 2 ? fopen(argv[1], "rb") : NULL;

    if (file == NULL) {
        die("usage: decode_bench FILE");
    }

    payload.data = buf;
    payload.len = fread(buf, 1, sizeof(buf), file);
    fclose(file);

    printf("decode: one heartbeat of %zu bytes, best of %d rounds\n",
           payload.len, ROUNDS);
    compare("fields", false);
    compare("fields and records", true);

    return sink == 0;
}
