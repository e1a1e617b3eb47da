/*
 * Finds one element's text in a small XML document. Must never read what a
 * DOCTYPE declares: it refuses documents that have one.
 */

#include "aws_xml.h"

#define COCO_AWS_XML_DEPTH  16


static int coco_aws_xml_tag(const char **p, const char *end, coco_str_t *name,
    bool *closes, bool *empty);
static const char *coco_aws_xml_skip(const char *p, const char *end);
static int coco_aws_xml_copy(const char *p, const char *end, coco_str_t name,
    char *ret, size_t size);
static size_t coco_aws_xml_entity(const char *p, const char *end, char *ret);


int
coco_aws_xml_text(coco_str_t document, const char *parent, const char *name,
    char *ret, size_t size)
{
    bool         closes, empty;
    size_t       depth = 0;
    const char  *p, *end;
    coco_str_t   tag, open[COCO_AWS_XML_DEPTH], want, above;

    p = document.data;
    end = p + document.len;
    want = (coco_str_t) { name, strlen(name) };
    above = (coco_str_t) { parent, strlen(parent) };

    while ((p = memchr(p, '<', (size_t) (end - p))) != NULL) {

        if (end - p > 1 && (p[1] == '?' || p[1] == '!')) {
            p = coco_aws_xml_skip(p, end);
            if (p == NULL) {
                return COCO_ERROR;
            }
            continue;
        }

        if (coco_aws_xml_tag(&p, end, &tag, &closes, &empty) != COCO_OK) {
            return COCO_ERROR;
        }

        if (closes) {
            if (depth == 0 || !coco_str_equal(open[--depth], tag)) {
                return COCO_ERROR;
            }
            continue;
        }

        if (depth > 0 && !empty && coco_str_equal(tag, want)
            && coco_str_equal(open[depth - 1], above))
        {
            return coco_aws_xml_copy(p, end, want, ret, size);
        }

        if (!empty) {
            if (depth == COCO_AWS_XML_DEPTH) {
                return COCO_ERROR;
            }
            open[depth++] = tag;
        }
    }

    return COCO_ERROR;
}


/* Reads the tag at *p and moves behind it; a namespace's prefix is left out
 * of its name. */
static int
coco_aws_xml_tag(const char **p, const char *end, coco_str_t *name,
    bool *closes, bool *empty)
{
    char         quote = 0;
    const char  *s = *p + 1;

    *closes = s < end && *s == '/';
    s += *closes;

    name->data = s;

    while (s < end && strchr(" \t\r\n/>", *s) == NULL) {
        if (*s++ == ':') {
            name->data = s;
        }
    }

    name->len = (size_t) (s - name->data);

    /* attributes: a quoted > ends nothing */
    for ( /* void */ ; s < end && (quote != 0 || *s != '>'); s++) {
        if (quote != 0) {
            quote = *s == quote ? 0 : quote;
        } else if (*s == '"' || *s == '\'') {
            quote = *s;
        }
    }

    if (s == end || name->len == 0) {
        return COCO_ERROR;
    }

    *empty = s[-1] == '/';
    *p = s + 1;

    return COCO_OK;
}


/* A declaration or a comment; NULL for anything else of their kind. */
static const char *
coco_aws_xml_skip(const char *p, const char *end)
{
    size_t       left = (size_t) (end - p);
    const char  *close;

    if (p[1] == '?') {
        close = memmem(p, left, "?>", 2);
        return close != NULL ? close + 2 : NULL;
    }

    if (left >= 4 && memcmp(p, "<!--", 4) == 0) {
        close = memmem(p + 4, left - 4, "-->", 3);
        return close != NULL ? close + 3 : NULL;
    }

    return NULL;
}


/* The text at p, up to the tag that must close the element. */
static int
coco_aws_xml_copy(const char *p, const char *end, coco_str_t name, char *ret,
    size_t size)
{
    bool         closes, empty;
    size_t       len = 0, n;
    const char  *close;
    coco_str_t   tag;

    close = memchr(p, '<', (size_t) (end - p));

    for ( /* void */ ; close != NULL && p < close; p += n) {
        if (len + 1 >= size) {
            return COCO_AGAIN;
        }

        n = 1;
        ret[len] = *p;

        if (*p == '&') {
            n = coco_aws_xml_entity(p, close, &ret[len]);
            if (n == 0) {
                return COCO_ERROR;
            }
        }

        len++;
    }

    if (close == NULL
        || coco_aws_xml_tag(&close, end, &tag, &closes, &empty) != COCO_OK
        || !closes || !coco_str_equal(tag, name))
    {
        return COCO_ERROR;
    }

    ret[len] = '\0';

    return COCO_OK;
}


/* How many characters it takes; 0 when it is none of the five. */
static size_t
coco_aws_xml_entity(const char *p, const char *end, char *ret)
{
    size_t  len;

    static const struct {
        const char  *text;
        char         character;
    } entities[] = {
        { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' },
        { "&quot;", '"' }, { "&apos;", '\'' }
    };

    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        len = strlen(entities[i].text);

        if ((size_t) (end - p) >= len && memcmp(p, entities[i].text, len) == 0)
        {
            *ret = entities[i].character;
            return len;
        }
    }

    return 0;
}
