/*
 * What the tests of the deliveries service share: ids, records and closes.
 */

#ifndef WORKER_DELIVERIES_H
#define WORKER_DELIVERIES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/service.h"

#define NOW       INT64_C(1795000000000)
#define HOUR      3600000
#define SERIAL    coco_string("r-1")
#define METER     (1 / 111195.0797)     /* degrees of latitude */


static inline coco_id_t
test_id(uint32_t number)
{
    coco_id_t  id;

    memset(&id, 0, sizeof(id));
    memcpy(id.bytes, &number, sizeof(number));

    return id;
}


static inline coco_str_t
test_reference(char buf[COCO_ID_TEXT_LEN], uint32_t number)
{
    coco_id_t  id = test_id(number);

    coco_id_format(buf, &id);

    return (coco_str_t) { buf, COCO_ID_TEXT_LEN };
}


static inline coco_delivery_record_t
test_record(uint32_t number, coco_delivery_status_e status)
{
    return (coco_delivery_record_t) {
        .id = test_id(number),
        .status = status,
        .serial = SERIAL,
        .created_at = NOW - HOUR,
        .pickup_latitude = 34.05,
        .pickup_longitude = -118.25,
        .dropoff_latitude = 34.06,
        .dropoff_longitude = -118.25,
        .loaded_at = COCO_NEVER,
        .arrived_at = COCO_NEVER,
        .early_close_at = COCO_NEVER
    };
}


static inline coco_lid_close_t
test_close(uint32_t cycle, coco_lid_source_e source, bool complete)
{
    return (coco_lid_close_t) {
        .id = test_id(cycle * 2 + complete),
        .serial = SERIAL,
        .closed_at = NOW,
        .data = { .cycle = test_id(cycle), .source = source },
        .complete = complete
    };
}


static inline bool
test_same(coco_id_t a, coco_id_t b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

#endif /* WORKER_DELIVERIES_H */
