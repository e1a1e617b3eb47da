/*
 * The one pass that finds a JSON text sound, or says where it is not. Must
 * never allocate, nor take more than linear time on hostile texts.
 */

#include <stdio.h>

#include "coco_json_read.h"
#include "coco_json_number.h"
#include "coco_json_text.h"
#include "coco_utf8.h"


/*
 * Duplicate names. The names of all objects that are open lie on one stack,
 * those of the innermost on top. Up to NAMES_LINEAR names of an object are
 * compared by hash, one by one; a wider object puts its names into a table
 * (open addressing, cleared on its first use in a text). An object takes its
 * names out when it closes, in reverse, which keeps every probe sequence
 * whole. Thus n names cost O(n), and the stack bounds how many may be open.
 */
#define NAMES_LINEAR  16
#define NAMES_SLOTS   (2 * COCO_JSON_NAMES_MAX)

typedef struct {
    uint32_t  hash;
    uint32_t  offset;           /* of the first byte behind the quote */
} name_t;

typedef struct {
    unsigned  count;
    bool      table;            /* slots are cleared */
    name_t    names[COCO_JSON_NAMES_MAX];
    uint16_t  slots[NAMES_SLOTS];               /* index + 1; 0: free */
} names_t;

/* An object or array that is being read; lives on the stack. */
typedef struct frame_s  frame_t;

struct frame_s {
    const frame_t  *parent;
    coco_str_t      name;       /* of the member being read, if any */
    size_t          index;      /* of the element being read */
    bool            array;
};

/* A name, byte by byte, escapes undone. */
typedef struct {
    const char  *pos;
    char         data[4];
    size_t       count, next;
} bytes_t;

typedef struct {
    const char     *start, *pos, *end;
    const frame_t  *frame;
    unsigned        depth;
    size_t          space;      /* bytes of it, so far */
    coco_error_t   *err;
    names_t         names;
} check_t;


static int value_check(check_t *c);
static int literal_check(check_t *c, const char *word, size_t len);
static int number_check(check_t *c);
static int object_check(check_t *c);
static int member_check(check_t *c, frame_t *frame, unsigned base);
static int array_check(check_t *c);
static int string_check(check_t *c, bool *ret_escaped);
static int escape_check(check_t *c);

static int name_add(check_t *c, unsigned base, coco_str_t name, bool escaped);
static bool name_known(const check_t *c, unsigned base, uint32_t hash,
    coco_str_t name, bool escaped);
static bool name_equal(const char *known, coco_str_t name, bool escaped);
static int byte_next(bytes_t *bytes);
static void names_pop(check_t *c, unsigned base);
static void slot_take(check_t *c, unsigned base, unsigned i);
static inline unsigned slot_first(unsigned base, uint32_t hash);
static inline uint64_t hash_mix(uint64_t hash, uint64_t word);
static uint32_t name_hash(const check_t *c, coco_str_t name, bool escaped);

static int syntax_error(check_t *c, const char *expected);
static int member_error(check_t *c, const char *reason);
static void path_write(const frame_t *frame, char *buf, size_t size);


static inline void
space_skip(check_t *c)
{
    while (c->pos < c->end && coco_json_space(*c->pos)) {
        c->pos++;
        c->space++;
    }
}


int
coco_json_read(coco_json_value_t *ret, coco_str_t text, coco_error_t *err)
{
    size_t  space;

    return coco_json_read_spaced(ret, &space, text, err);
}


int
coco_json_read_spaced(coco_json_value_t *ret, size_t *ret_space,
    coco_str_t text, coco_error_t *err)
{
    check_t     c;
    coco_str_t  value;

    if (text.data == NULL) {
        text = coco_string("");
    }

    if (text.len > UINT32_MAX) {
        return coco_error_set(err, "", "over 4 GiB");
    }

    c.start = c.pos = text.data;
    c.end = text.data + text.len;
    c.frame = NULL;
    c.depth = 0;
    c.space = 0;
    c.err = err;
    c.names.count = 0;
    c.names.table = false;

    space_skip(&c);
    value.data = c.pos;

    if (value_check(&c) != COCO_OK) {
        return COCO_ERROR;
    }

    value.len = (size_t) (c.pos - value.data);
    space_skip(&c);

    if (c.pos != c.end) {
        return syntax_error(&c, "end of text");
    }

    coco_json_value_read(ret, value);
    *ret_space = c.space;

    return COCO_OK;
}


static int
value_check(check_t *c)
{
    bool  escaped;

    if (c->pos == c->end) {
        return syntax_error(c, "a value");
    }

    switch (*c->pos) {

    case '"':
        c->pos++;
        return string_check(c, &escaped);

    case '{':
        return object_check(c);

    case '[':
        return array_check(c);

    case 't':
        return literal_check(c, "true", 4);

    case 'f':
        return literal_check(c, "false", 5);

    case 'n':
        return literal_check(c, "null", 4);

    default:
        return number_check(c);
    }
}


static int
literal_check(check_t *c, const char *word, size_t len)
{
    if ((size_t) (c->end - c->pos) < len || memcmp(c->pos, word, len) != 0) {
        return syntax_error(c, "a value");
    }

    c->pos += len;

    return COCO_OK;
}


static int
number_check(check_t *c)
{
    const char          *end;
    coco_json_number_t   n;

    end = coco_json_number_scan(&n, c->pos, c->end);

    if (end == NULL) {
        return syntax_error(c, "a value");
    }

    if (!coco_json_number_in_range(&n, c->pos, end)) {
        return member_error(c, "number out of a double's range");
    }

    c->pos = end;

    return COCO_OK;
}


static int
object_check(check_t *c)
{
    int       rc;
    frame_t   frame = { .parent = c->frame };
    unsigned  base = c->names.count;

    if (c->depth == COCO_JSON_DEPTH_MAX) {
        return member_error(c, "nested deeper than 32 levels");
    }

    c->depth++;
    c->frame = &frame;
    c->pos++;

    space_skip(c);

    if (c->pos < c->end && *c->pos == '}') {
        goto done;
    }

    for ( ;; ) {
        rc = member_check(c, &frame, base);
        if (rc != COCO_OK) {
            return rc;
        }

        space_skip(c);

        if (c->pos < c->end && *c->pos == '}') {
            break;
        }

        if (c->pos == c->end || *c->pos != ',') {
            return syntax_error(c, "',' or '}'");
        }

        c->pos++;
        space_skip(c);
    }

    names_pop(c, base);

done:

    c->pos++;
    c->depth--;
    c->frame = frame.parent;

    return COCO_OK;
}


static int
member_check(check_t *c, frame_t *frame, unsigned base)
{
    int         rc;
    bool        escaped;
    coco_str_t  name;

    if (c->pos == c->end || *c->pos != '"') {
        return syntax_error(c, "a member's name");
    }

    c->pos++;
    name.data = c->pos;
    frame->name.data = NULL;

    rc = string_check(c, &escaped);
    if (rc != COCO_OK) {
        return rc;
    }

    name.len = (size_t) (c->pos - 1 - name.data);
    frame->name = name;

    rc = name_add(c, base, name, escaped);
    if (rc != COCO_OK) {
        return rc;
    }

    space_skip(c);

    if (c->pos == c->end || *c->pos != ':') {
        return syntax_error(c, "':'");
    }

    c->pos++;
    space_skip(c);

    return value_check(c);
}


static int
array_check(check_t *c)
{
    int      rc;
    frame_t  frame = { .parent = c->frame, .array = true };

    if (c->depth == COCO_JSON_DEPTH_MAX) {
        return member_error(c, "nested deeper than 32 levels");
    }

    c->depth++;
    c->frame = &frame;
    c->pos++;

    space_skip(c);

    if (c->pos < c->end && *c->pos == ']') {
        goto done;
    }

    for ( ;; ) {
        rc = value_check(c);
        if (rc != COCO_OK) {
            return rc;
        }

        space_skip(c);

        if (c->pos < c->end && *c->pos == ']') {
            break;
        }

        if (c->pos == c->end || *c->pos != ',') {
            return syntax_error(c, "',' or ']'");
        }

        c->pos++;
        frame.index++;
        space_skip(c);
    }

done:

    c->pos++;
    c->depth--;
    c->frame = frame.parent;

    return COCO_OK;
}


/* pos is behind the opening quote, and then behind the closing one. */
static int
string_check(check_t *c, bool *ret_escaped)
{
    size_t  n;

    *ret_escaped = false;

    for ( ;; ) {
        c->pos = coco_json_plain_skip(c->pos, c->end);

        if (c->pos == c->end) {
            return syntax_error(c, "the end of a string");
        }

        if (*c->pos == '"') {
            break;
        }

        if (*c->pos == '\\') {
            *ret_escaped = true;

            if (escape_check(c) != COCO_OK) {
                return COCO_ERROR;
            }

            continue;
        }

        if ((unsigned char) *c->pos < 0x20) {
            return member_error(c, "unescaped control character");
        }

        n = coco_utf8_len(c->pos, c->end);

        if (n == 0) {
            return member_error(c, "invalid UTF-8");
        }

        c->pos += n;
    }

    c->pos++;

    return COCO_OK;
}


static int
escape_check(check_t *c)
{
    int          code, low;
    size_t       left = (size_t) (c->end - c->pos);
    const char  *p = c->pos;

    if (left < 2) {
        return syntax_error(c, "the end of an escape");
    }

    if (p[1] != 'u') {
        if (memchr("\"\\/bfnrt", p[1], 8) == NULL) {
            return member_error(c, "unknown escape");
        }

        c->pos += 2;
        return COCO_OK;
    }

    code = left >= 6 ? coco_json_hex4(p + 2) : -1;

    if (code < 0) {
        return member_error(c, "\\u without four hexadecimal digits");
    }

    if (code == 0) {
        return member_error(c, "\\u0000 cannot be stored");
    }

    c->pos += 6;

    if (code < 0xd800 || code > 0xdfff) {
        return COCO_OK;
    }

    low = left >= 12 && p[6] == '\\' && p[7] == 'u' ? coco_json_hex4(p + 8)
                                                    : -1;

    if (code > 0xdbff || low < 0xdc00 || low > 0xdfff) {
        c->pos = p;
        return member_error(c, "lone surrogate");
    }

    c->pos += 6;

    return COCO_OK;
}


static int
name_add(check_t *c, unsigned base, coco_str_t name, bool escaped)
{
    unsigned  i, count = c->names.count - base;
    uint32_t  hash = name_hash(c, name, escaped);
    names_t  *names = &c->names;

    if (name_known(c, base, hash, name, escaped)) {
        return member_error(c, "duplicate name");
    }

    if (names->count == COCO_JSON_NAMES_MAX) {
        return member_error(c, "too many members; at most 4096 in the objects "
                               "that are open");
    }

    names->names[names->count].hash = hash;
    names->names[names->count].offset = (uint32_t) (name.data - c->start);
    names->count++;

    if (count < NAMES_LINEAR) {
        return COCO_OK;
    }

    if (!names->table) {
        memset(names->slots, 0, sizeof(names->slots));
        names->table = true;
    }

    i = count == NAMES_LINEAR ? base : names->count - 1;

    for ( /* void */ ; i < names->count; i++) {
        slot_take(c, base, i);
    }

    return COCO_OK;
}


static bool
name_known(const check_t *c, unsigned base, uint32_t hash, coco_str_t name,
    bool escaped)
{
    unsigned        i, slot;
    const name_t   *known;
    const names_t  *names = &c->names;

    if (names->count - base <= NAMES_LINEAR) {

        for (i = base; i < names->count; i++) {
            known = &names->names[i];

            if (known->hash == hash
                && name_equal(c->start + known->offset, name, escaped))
            {
                return true;
            }
        }

        return false;
    }

    for (slot = slot_first(base, hash);
         names->slots[slot] != 0;
         slot = (slot + 1) % NAMES_SLOTS)
    {
        i = names->slots[slot] - 1U;
        known = &names->names[i];

        if (i >= base && known->hash == hash
            && name_equal(c->start + known->offset, name, escaped))
        {
            return true;
        }
    }

    return false;
}


/* known lies before name in the same text, up to a quote of its own. */
static bool
name_equal(const char *known, coco_str_t name, bool escaped)
{
    int      byte;
    bytes_t  a = { .pos = known }, b = { .pos = name.data };

    if (!escaped && memcmp(known, name.data, name.len + 1) == 0) {
        return true;
    }

    /* rare: an equal hash and an escape, or a collision */

    do {
        byte = byte_next(&a);

        if (byte != byte_next(&b)) {
            return false;
        }

    } while (byte != -1);

    return true;
}


/* The next byte of a checked name, escapes undone; -1 at its quote. */
static int
byte_next(bytes_t *bytes)
{
    if (bytes->count == 0) {
        if (*bytes->pos == '"') {
            return -1;
        }

        bytes->count = coco_json_char_decode(&bytes->pos, bytes->data);
        bytes->next = 0;
    }

    bytes->count--;

    return (unsigned char) bytes->data[bytes->next++];
}


static void
names_pop(check_t *c, unsigned base)
{
    unsigned  i, slot;
    names_t  *names = &c->names;

    if (names->count - base > NAMES_LINEAR) {

        for (i = names->count; i-- > base; /* void */) {
            slot = slot_first(base, names->names[i].hash);

            while (names->slots[slot] != i + 1) {
                slot = (slot + 1) % NAMES_SLOTS;
            }

            names->slots[slot] = 0;
        }
    }

    names->count = base;
}


static void
slot_take(check_t *c, unsigned base, unsigned i)
{
    unsigned  slot = slot_first(base, c->names.names[i].hash);

    while (c->names.slots[slot] != 0) {
        slot = (slot + 1) % NAMES_SLOTS;
    }

    c->names.slots[slot] = (uint16_t) (i + 1);
}


/* base keeps objects that nest under like names apart. */
static inline unsigned
slot_first(unsigned base, uint32_t hash)
{
    return (hash ^ base * 0x9e3779b1U) % NAMES_SLOTS;
}


/* Seeded by where the text lies: no answer depends on it, and no sender
 * knows it, so none can prepare names that collide. */
static uint32_t
name_hash(const check_t *c, coco_str_t name, bool escaped)
{
    int          byte;
    size_t       left, n = 0;
    bytes_t      bytes = { .pos = name.data };
    uint64_t     word = 0, hash = (uintptr_t) c->start;
    const char  *p;

    if (!escaped) {

        for (left = name.len; left >= 8; left -= 8) {
            hash = hash_mix(hash, coco_json_load(name.data + n));
            n += 8;
        }

        for (p = name.data + name.len; left > 0; left--) {
            word = word << 8 | (unsigned char) *--p;
        }

        return (uint32_t) hash_mix(hash, word);
    }

    while ((byte = byte_next(&bytes)) != -1) {
        word |= (uint64_t) byte << (8 * n);

        if (++n == 8) {
            hash = hash_mix(hash, word);
            word = 0;
            n = 0;
        }
    }

    return (uint32_t) hash_mix(hash, word);
}


static inline uint64_t
hash_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);

    return hash ^ hash >> 32;
}


static int
syntax_error(check_t *c, const char *expected)
{
    if (c->pos == c->end) {
        return coco_error_set(c->err, "", "JSON text ends at byte %zu, where "
                              "%s is expected", (size_t) (c->pos - c->start),
                              expected);
    }

    return coco_error_set(c->err, "", "not JSON: %s expected at byte %zu",
                          expected, (size_t) (c->pos - c->start));
}


/* The text is at fault in the member that is being read. */
static int
member_error(check_t *c, const char *reason)
{
    char  path[256];

    path_write(c->frame, path, sizeof(path));

    return coco_error_set(c->err, path, "%s, at byte %zu", reason,
                          (size_t) (c->pos - c->start));
}


/* "battery.percent", "stops[2].name"; cut when too long. */
static void
path_write(const frame_t *frame, char *buf, size_t size)
{
    int             n;
    size_t          len = 0, count = 0;
    const frame_t  *frames[COCO_JSON_DEPTH_MAX] = { NULL };

    for ( /* void */ ; frame != NULL; frame = frame->parent) {
        frames[count++] = frame;
    }

    buf[0] = '\0';

    while (count-- > 0 && len < size) {
        frame = frames[count];

        if (frame->array) {
            n = snprintf(buf + len, size - len, "[%zu]", frame->index);

        } else if (frame->name.data != NULL) {
            n = snprintf(buf + len, size - len, "%s%.*s", len ? "." : "",
                         (int) (frame->name.len < size ? frame->name.len
                                                       : size),
                         frame->name.data);

        } else {
            break;
        }

        len += (size_t) n;
    }
}
