/*
 * One line of a script. The line's own shape is read here, so that a payload
 * can be passed on byte for byte; its texts and numbers are jansson's. Must
 * never judge what is inside a payload: bad ones are recorded on purpose.
 */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "script.h"

typedef struct {
    const char  *at, *end;
} sim_cursor_t;

typedef struct {
    const char  *start;
    size_t       len;
} sim_slice_t;

static bool sim_cursor_take(sim_cursor_t *c, char wanted);
static bool sim_cursor_value(sim_cursor_t *c, sim_slice_t *ret);
static bool sim_cursor_string_skip(sim_cursor_t *c);
static const char *sim_line_member(sim_line_t *line, sim_slice_t name,
    sim_slice_t value);
static char *sim_slice_text(sim_slice_t slice, size_t *ret_len);
static bool sim_slice_is(sim_slice_t slice, const char *quoted);


const char *
sim_line_decode(sim_line_t *ret, const char *line, size_t len)
{
    sim_line_t    decoded = { NULL, NULL, 0, 0 };
    const char   *error;
    sim_slice_t   name, value;
    sim_cursor_t  c = { line, line + len };

    error = sim_cursor_take(&c, '{') ? NULL : "not an object";

    while (error == NULL) {
        if (!sim_cursor_value(&c, &name) || *name.start != '"'
            || !sim_cursor_take(&c, ':') || !sim_cursor_value(&c, &value))
        {
            error = "not an object of \"topic\", \"payload\", \"afterMs\"";
            break;
        }

        error = sim_line_member(&decoded, name, value);

        if (error == NULL && !sim_cursor_take(&c, ',')) {
            break;
        }
    }

    if (error == NULL) {
        if (!sim_cursor_take(&c, '}') || !sim_cursor_take(&c, '\0')) {
            error = "does not end after the object";

        } else if (decoded.topic == NULL || decoded.payload == NULL) {
            error = "\"topic\" and \"payload\" must be there";
        }
    }

    if (error != NULL) {
        sim_line_destroy(&decoded);
        return error;
    }

    *ret = decoded;

    return NULL;
}


void
sim_line_destroy(sim_line_t *line)
{
    free(line->topic);
    free(line->payload);
    line->topic = NULL;
    line->payload = NULL;
}


static const char *
sim_line_member(sim_line_t *line, sim_slice_t name, sim_slice_t value)
{
    char    *end;
    size_t   len;

    if (sim_slice_is(name, "\"topic\"")) {
        free(line->topic);
        line->topic = sim_slice_text(value, &len);

        return line->topic == NULL || len == 0 || strlen(line->topic) != len
               ? "\"topic\" must be a text" : NULL;
    }

    if (sim_slice_is(name, "\"payload\"")) {
        free(line->payload);
        line->payload = sim_slice_text(value, &line->len);

        return line->payload == NULL ? "\"payload\" is no valid text" : NULL;
    }

    if (sim_slice_is(name, "\"afterMs\"")) {
        line->after_ms = strtod(value.start, &end);

        return end != value.start + value.len || !(line->after_ms >= 0)
               || line->after_ms > 86400e3
               ? "\"afterMs\" must be from 0 to a day" : NULL;
    }

    /* Recordings may hold more than is replayed. */
    return NULL;
}


/* Of a text what it says, of another value its bytes; the caller frees. */

static char *
sim_slice_text(sim_slice_t slice, size_t *ret_len)
{
    char    *text;
    json_t  *json;

    if (*slice.start != '"') {
        *ret_len = slice.len;
        return strndup(slice.start, slice.len);
    }

    json = json_loadb(slice.start, slice.len, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      NULL);
    if (json == NULL) {
        return NULL;
    }

    *ret_len = json_string_length(json);

    text = malloc(*ret_len + 1);
    if (text != NULL) {
        memcpy(text, json_string_value(json), *ret_len + 1);
    }

    json_decref(json);

    return text;
}


static bool
sim_slice_is(sim_slice_t slice, const char *quoted)
{
    return slice.len == strlen(quoted)
           && memcmp(slice.start, quoted, slice.len) == 0;
}


/* Skips space, then the wanted character; '\0' wants the end. */

static bool
sim_cursor_take(sim_cursor_t *c, char wanted)
{
    while (c->at < c->end && memchr(" \t\r\n", *c->at, 4) != NULL) {
        c->at++;
    }

    if (c->at == c->end) {
        return wanted == '\0';
    }

    if (*c->at != wanted || wanted == '\0') {
        return false;
    }

    c->at++;

    return true;
}


/* The extent of one value: to the end of its text, to the bracket that closes
 * it, or to what ends a bare word. */

static bool
sim_cursor_value(sim_cursor_t *c, sim_slice_t *ret)
{
    size_t  depth;

    sim_cursor_take(c, ' ');
    ret->start = c->at;
    depth = 0;

    while (c->at < c->end) {
        if (*c->at == '"') {
            if (!sim_cursor_string_skip(c)) {
                return false;
            }

            if (depth == 0) {
                break;
            }

            continue;
        }

        if (depth == 0 && memchr(",:]} \t\r\n", *c->at, 8) != NULL) {
            break;
        }

        if (*c->at == '{' || *c->at == '[') {
            depth++;

        } else if ((*c->at == '}' || *c->at == ']') && --depth == 0) {
            c->at++;
            break;
        }

        c->at++;
    }

    ret->len = (size_t) (c->at - ret->start);

    return depth == 0 && ret->len > 0;
}


static bool
sim_cursor_string_skip(sim_cursor_t *c)
{
    for (c->at++; c->at < c->end; c->at++) {
        if (*c->at == '"') {
            c->at++;
            return true;
        }

        if (*c->at == '\\') {
            c->at++;
        }
    }

    c->at = c->end;

    return false;
}
