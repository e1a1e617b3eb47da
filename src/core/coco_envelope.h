/*
 * The envelope of an event on the bus: {"id","name","serial","ts","data"}.
 */

#ifndef COCO_ENVELOPE_H
#define COCO_ENVELOPE_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef struct {
    coco_id_t   id;
    coco_str_t  name;
    coco_str_t  serial;
    int64_t     ts;         /* ms */
    coco_str_t  data;       /* an object, JSON as it stands */
} coco_envelope_t;

/* Writes all but the data's value and the last brace: put them, then
 * coco_json_object_close(). */
void coco_envelope_open(coco_json_out_t *out, const coco_id_t *id,
    coco_str_t name, coco_str_t serial, int64_t ts);

/* Everything returned points into text. COCO_ERROR names the field. */
int coco_envelope_decode(coco_envelope_t *ret, coco_str_t text,
    coco_error_t *err);

#endif /* COCO_ENVELOPE_H */
