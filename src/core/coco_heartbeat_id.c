/*
 * What makes two payloads the same heartbeat. Must never take a payload that
 * a queue has not touched for another one than its bytes: ids are stored.
 */

#include "coco_heartbeat_id.h"
#include "coco_id.h"
#include "coco_json_text.h"


/* Members that a queue puts in; there are two. */
#define CUTS_MAX  2

typedef struct {
    coco_str_t  cuts[CUTS_MAX];     /* in order, apart, with a comma each */
    size_t      count;
} cuts_t;


static void cuts_find(cuts_t *cuts, const coco_json_value_t *serial,
    const coco_json_value_t *topic);
static void cut_add(cuts_t *cuts, const coco_json_value_t *member);
static void cuts_join(cuts_t *cuts);
static void comma_take(coco_str_t *cut);
static void plain_put(coco_id_hash_t *hash, coco_str_t text, bool spaced);
static size_t plain_len(coco_str_t text);
static bool run_next(coco_str_t *rest, coco_str_t *run);


void
coco_heartbeat_id_derive(coco_heartbeat_t *hb, size_t space,
    const coco_json_value_t *serial, const coco_json_value_t *topic)
{
    char            ts[sizeof(uint64_t)];
    size_t          i, len = hb->payload.len - space;
    cuts_t          cuts = { .count = 0 };
    coco_str_t      cut, rest = hb->payload;
    coco_id_hash_t  hash;

    for (i = 0; i < sizeof(ts); i++) {
        ts[i] = (char) ((uint64_t) hb->ts >> (8 * i));
    }

    cuts_find(&cuts, serial, topic);

    for (i = 0; i < cuts.count; i++) {
        len -= space > 0 ? plain_len(cuts.cuts[i]) : cuts.cuts[i].len;
    }

    coco_id_begin(&hash);
    coco_id_part(&hash, sizeof("heartbeat") - 1);
    coco_id_put(&hash, "heartbeat", sizeof("heartbeat") - 1);
    coco_id_part(&hash, hb->serial.len);
    coco_id_put(&hash, hb->serial.data, hb->serial.len);
    coco_id_part(&hash, sizeof(ts));
    coco_id_put(&hash, ts, sizeof(ts));
    coco_id_part(&hash, len);

    for (i = 0; i < cuts.count; i++) {
        cut = cuts.cuts[i];
        plain_put(&hash, (coco_str_t) { rest.data,
                                        (size_t) (cut.data - rest.data) },
                  space > 0);
        rest.len -= (size_t) (cut.data + cut.len - rest.data);
        rest.data = cut.data + cut.len;
    }

    plain_put(&hash, rest, space > 0);
    coco_id_end(&hash, &hb->id);
}


static void
cuts_find(cuts_t *cuts, const coco_json_value_t *serial,
    const coco_json_value_t *topic)
{
    size_t      i;
    coco_str_t  first;

    cut_add(cuts, serial);
    cut_add(cuts, topic);

    if (cuts->count == 2 && cuts->cuts[0].data > cuts->cuts[1].data) {
        first = cuts->cuts[1];
        cuts->cuts[1] = cuts->cuts[0];
        cuts->cuts[0] = first;
    }

    cuts_join(cuts);

    for (i = 0; i < cuts->count; i++) {
        comma_take(&cuts->cuts[i]);
    }
}


/* From the quote before the member's name to the end of its value. */
static void
cut_add(cuts_t *cuts, const coco_json_value_t *member)
{
    unsigned     quotes;
    coco_str_t   value;
    const char  *p;

    value = member->text.data != NULL ? member->text : member->string;

    if (value.data == NULL) {
        return;
    }

    /* no quote is part of "serial" or "topic", however they are escaped */

    for (p = value.data, quotes = 0; quotes < 2; quotes += *p == '"') {
        p--;
    }

    cuts->cuts[cuts->count++] = (coco_str_t) {
        p, (size_t) (value.data + value.len - p)
    };
}


/* Neighbours become one cut: the comma between them goes with them. */
static void
cuts_join(cuts_t *cuts)
{
    const char  *p;
    coco_str_t  *a = &cuts->cuts[0], *b = &cuts->cuts[1];

    if (cuts->count < 2) {
        return;
    }

    p = coco_json_space_skip(a->data + a->len, b->data);
    p = coco_json_space_skip(p + 1, b->data);

    if (p == b->data) {
        a->len = (size_t) (b->data + b->len - a->data);
        cuts->count = 1;
    }
}


/* The comma behind the cut, or that before it when it ends the object. What
 * follows the last member is the brace at the latest. */
static void
comma_take(coco_str_t *cut)
{
    const char  *p, *end = cut->data + cut->len;

    p = end;

    while (*p != ',' && *p != '}') {
        p++;
    }

    if (*p == ',') {
        cut->len = (size_t) (p + 1 - cut->data);
        return;
    }

    for (p = cut->data - 1; *p != ',' && *p != '{'; p--) { /* void */ }

    if (*p == ',') {
        cut->data = p;
        cut->len = (size_t) (end - p);
    }
}


/* Hashes text, which begins and ends between tokens, less its space. */
static void
plain_put(coco_id_hash_t *hash, coco_str_t text, bool spaced)
{
    char        buf[512];
    size_t      len = 0;
    coco_str_t  run;

    if (!spaced) {
        coco_id_put(hash, text.data, text.len);
        return;
    }

    /* runs are short, and the hash takes long pieces better */

    while (run_next(&text, &run)) {

        if (run.len > sizeof(buf) - len) {
            coco_id_put(hash, buf, len);
            len = 0;
        }

        if (run.len > sizeof(buf)) {
            coco_id_put(hash, run.data, run.len);
            continue;
        }

        memcpy(buf + len, run.data, run.len);
        len += run.len;
    }

    coco_id_put(hash, buf, len);
}


static size_t
plain_len(coco_str_t text)
{
    size_t      len = 0;
    coco_str_t  run;

    while (run_next(&text, &run)) {
        len += run.len;
    }

    return len;
}


/* Takes the next tokens without space between them off *rest. */
static bool
run_next(coco_str_t *rest, coco_str_t *run)
{
    bool         escaped;
    const char  *p, *start, *end = rest->data + rest->len;

    start = coco_json_space_skip(rest->data, end);

    for (p = start; p < end; /* void */) {

        if (*p == '"') {
            p = coco_json_string_end(p + 1, end, &escaped);

        } else if (coco_json_space(*p)) {
            break;

        } else {
            p++;
        }
    }

    *run = (coco_str_t) { start, (size_t) (p - start) };
    *rest = (coco_str_t) { p, (size_t) (end - p) };

    return run->len > 0;
}
