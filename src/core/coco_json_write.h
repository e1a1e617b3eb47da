/*
 * Appends JSON to a buffer of the caller's; never allocates.
 * When the buffer is too small, everything is still counted: out.len is then
 * the size needed and coco_json_write_ok() is false.
 */

#ifndef COCO_JSON_WRITE_H
#define COCO_JSON_WRITE_H

#include "coco_core.h"

typedef struct {
    char    *start;
    size_t   size;      /* capacity of start */
    size_t   len;       /* written, or needed when above size */
    bool     comma;     /* a value precedes the next one */
} coco_json_out_t;

void coco_json_out_init(coco_json_out_t *out, char *start, size_t size);
bool coco_json_out_ok(const coco_json_out_t *out);   /* len <= size */

/* Raw bytes, as they are (also a JSON text already made: use _json). */
void coco_json_put(coco_json_out_t *out, const char *data, size_t len);

void coco_json_object_open(coco_json_out_t *out);    /* { with its comma */
void coco_json_object_close(coco_json_out_t *out);
void coco_json_array_open(coco_json_out_t *out);
void coco_json_array_close(coco_json_out_t *out);

/* "name": with its comma. name is a plain literal that needs no escape. */
void coco_json_key(coco_json_out_t *out, const char *name, size_t len);
#define coco_json_name(out, literal) \
    coco_json_key(out, literal, sizeof(literal) - 1)

/* Values; each puts a comma first where one is due. */
void coco_json_string(coco_json_out_t *out, coco_str_t value); /* escapes;
    invalid UTF-8 becomes U+FFFD; null if absent */
void coco_json_int(coco_json_out_t *out, int64_t value);
void coco_json_double(coco_json_out_t *out, double value);     /* the
    shortest text that reads back as value; null for NAN and infinities */
void coco_json_bool(coco_json_out_t *out, bool value);
void coco_json_null(coco_json_out_t *out);
void coco_json_id(coco_json_out_t *out, const coco_id_t *id);
void coco_json_json(coco_json_out_t *out, coco_str_t text); /* null if absent */

#endif /* COCO_JSON_WRITE_H */
