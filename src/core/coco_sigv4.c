/*
 * Signs requests to AWS. Must never leave a key behind in memory.
 */

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "coco_sigv4.h"
#include "coco_json_write.h"


#define ALGORITHM    "AWS4-HMAC-SHA256"
#define DAY_LEN      8                      /* 20150830 */
#define HEX_LEN      (2 * SHA256_DIGEST_LENGTH)
#define HEADERS_MAX  (COCO_SIGV4_HEADERS_MAX + 2)
#define TO_SIGN_MAX  512
#define SECRET_MAX   256
#define DAY_S        INT64_C(86400)
#define TIME_MAX     INT64_C(253402300799)  /* the end of 9999 */

/* Texts are put together by JSON's writer of raw bytes, which never passes
 * the end and counts what it had no room for. */
typedef coco_json_out_t  text_t;

/* Of the query, encoded as AWS does. */
typedef struct {
    coco_str_t  name;
    coco_str_t  value;
} parameter_t;

typedef struct {
    const coco_sigv4_request_t      *request;
    const coco_sigv4_credentials_t  *credentials;
    coco_str_t                       date;
    coco_sigv4_header_t              headers[HEADERS_MAX];     /* sorted */
    size_t                           header_count;
    parameter_t                     *parameters;               /* sorted */
    size_t                           parameter_count;
    char                             payload_hash[HEX_LEN];
} signing_t;


static void date_write(char ret[COCO_SIGV4_DATE_LEN + 1], int64_t time);
static void headers_sort(signing_t *s);
static int header_compare(const coco_sigv4_header_t *a,
    const coco_sigv4_header_t *b);
static int parameters_sort(signing_t *s);
static coco_str_t parameter_encode(text_t *text, coco_str_t sent);
static int parameter_compare(const void *a, const void *b);
static int str_compare(coco_str_t a, coco_str_t b);
static coco_str_t str_cut(coco_str_t *rest, char delimiter);
static int canonical_hash(char ret[HEX_LEN], const signing_t *s);
static void canonical_write(text_t *text, const signing_t *s);
static void path_write(text_t *text, const coco_sigv4_request_t *request);
static bool segment_stays(coco_str_t segment, coco_str_t behind);
static void query_write(text_t *text, const signing_t *s);
static void headers_write(text_t *text, const signing_t *s);
static void header_value_write(text_t *text, coco_str_t value);
static void header_names_write(text_t *text, const signing_t *s);
static void scope_write(text_t *text, const signing_t *s);
static int signature_write(char ret[HEX_LEN], const signing_t *s,
    coco_str_t to_sign);
static bool hmac(unsigned char digest[SHA256_DIGEST_LENGTH], coco_str_t text);
static void byte_encode(text_t *text, char c);
static void lower_put(text_t *text, coco_str_t name);
static char lower(char c);
static void hash_write(char ret[HEX_LEN], coco_str_t text);
static void hex_write(char ret[HEX_LEN], const unsigned char *digest);


static inline void
put(text_t *text, coco_str_t str)
{
    coco_json_put(text, str.data, str.len);
}


int
coco_sigv4_sign(const coco_sigv4_request_t *request,
    const coco_sigv4_credentials_t *credentials,
    char ret_date[COCO_SIGV4_DATE_LEN + 1], char *ret_authorization,
    size_t authorization_size)
{
    int        rc;
    char       hash[HEX_LEN], signature[HEX_LEN], to_sign[TO_SIGN_MAX];
    text_t     text;
    signing_t  s = { .request = request, .credentials = credentials };

    if (request->header_count > COCO_SIGV4_HEADERS_MAX || request->time < 0
        || request->time > TIME_MAX)
    {
        return COCO_ERROR;
    }

    date_write(ret_date, request->time);
    s.date = (coco_str_t) { ret_date, COCO_SIGV4_DATE_LEN };
    headers_sort(&s);
    hash_write(s.payload_hash, request->payload);

    rc = parameters_sort(&s);

    if (rc == COCO_OK) {
        rc = canonical_hash(hash, &s);
        free(s.parameters);
    }

    if (rc != COCO_OK) {
        return rc;
    }

    coco_json_out_init(&text, to_sign, sizeof(to_sign));
    put(&text, coco_string(ALGORITHM "\n"));
    put(&text, s.date);
    put(&text, coco_string("\n"));
    scope_write(&text, &s);
    put(&text, coco_string("\n"));
    put(&text, (coco_str_t) { hash, sizeof(hash) });

    if (!coco_json_out_ok(&text)
        || signature_write(signature, &s, (coco_str_t) { to_sign, text.len })
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    coco_json_out_init(&text, ret_authorization, authorization_size);
    put(&text, coco_string(ALGORITHM " Credential="));
    put(&text, credentials->access_key);
    put(&text, coco_string("/"));
    scope_write(&text, &s);
    put(&text, coco_string(", SignedHeaders="));
    header_names_write(&text, &s);
    put(&text, coco_string(", Signature="));
    put(&text, (coco_str_t) { signature, sizeof(signature) });
    coco_json_put(&text, "", 1);

    return coco_json_out_ok(&text) ? COCO_OK : COCO_AGAIN;
}


static void
date_write(char ret[COCO_SIGV4_DATE_LEN + 1], int64_t time)
{
    int   days, year, day, month, second;
    char  text[64];

    /* years that begin in March: a leap day is the last of its year */

    days = (int) (time / DAY_S) + 719468;       /* since 0000-03-01 */
    day = days % 146097;                        /* 400 years have so many */
    year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    month = (5 * day + 2) / 153;                /* 0: March */
    day -= (153 * month + 2) / 5;

    year += days / 146097 * 400 + (month >= 10);
    month += month >= 10 ? -9 : 3;
    second = (int) (time % DAY_S);

    snprintf(text, sizeof(text), "%04d%02d%02dT%02d%02d%02dZ", year, month,
             day + 1, second / 3600, second / 60 % 60, second % 60);

    memcpy(ret, text, COCO_SIGV4_DATE_LEN);
    ret[COCO_SIGV4_DATE_LEN] = '\0';
}


/* By name; those of one name keep their order. */
static void
headers_sort(signing_t *s)
{
    size_t               i, j, count = s->request->header_count;
    coco_sigv4_header_t  header, *h = s->headers;

    const coco_sigv4_header_t  added[] = {
        { coco_string("x-amz-date"), s->date },
        { coco_string("x-amz-security-token"), s->credentials->session_token }
    };

    s->header_count = count + 1 + (added[1].value.len > 0);

    for (i = 0; i < s->header_count; i++) {
        header = i < count ? s->request->headers[i] : added[i - count];

        for (j = i; j > 0 && header_compare(&h[j - 1], &header) > 0; j--) {
            h[j] = h[j - 1];
        }

        h[j] = header;
    }
}


static int
header_compare(const coco_sigv4_header_t *a, const coco_sigv4_header_t *b)
{
    size_t         i;
    unsigned char  x, y;

    for (i = 0; i < a->name.len && i < b->name.len; i++) {
        x = (unsigned char) lower(a->name.data[i]);
        y = (unsigned char) lower(b->name.data[i]);

        if (x != y) {
            return x < y ? -1 : 1;
        }
    }

    return (a->name.len > b->name.len) - (a->name.len < b->name.len);
}


/* s->parameters and the text they point into are one allocation, the
 * caller's to free. */
static int
parameters_sort(signing_t *s)
{
    size_t        i, count = 1;
    text_t        text;
    coco_str_t    pair, rest = s->request->query;
    parameter_t  *parameter;

    for (i = 0; i < rest.len; i++) {
        count += rest.data[i] == '&';
    }

    /* a byte becomes three at most */

    s->parameters = malloc(count * sizeof(*s->parameters) + 3 * rest.len);

    if (s->parameters == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&text, (char *) (s->parameters + count), 3 * rest.len);

    while (rest.data != NULL) {
        pair = str_cut(&rest, '&');

        if (pair.len > 0) {
            parameter = &s->parameters[s->parameter_count++];
            parameter->name = parameter_encode(&text, str_cut(&pair, '='));
            parameter->value = parameter_encode(&text, pair);
        }
    }

    qsort(s->parameters, s->parameter_count, sizeof(*s->parameters),
          parameter_compare);

    return COCO_OK;
}


/* What was sent encoded in another way, or not at all, AWS encodes anew. */
static coco_str_t
parameter_encode(text_t *text, coco_str_t sent)
{
    int     high, low;
    size_t  i, start = text->len;

    for (i = 0; i < sent.len; i++) {

        if (sent.data[i] == '%' && sent.len - i > 2) {
            high = coco_hex_digit(sent.data[i + 1]);
            low = coco_hex_digit(sent.data[i + 2]);

            if (high >= 0 && low >= 0) {
                byte_encode(text, (char) (high << 4 | low));
                i += 2;
                continue;
            }
        }

        byte_encode(text, sent.data[i]);
    }

    return (coco_str_t) { text->start + start, text->len - start };
}


static int
parameter_compare(const void *a, const void *b)
{
    int                 rc;
    const parameter_t  *x = a, *y = b;

    rc = str_compare(x->name, y->name);

    return rc != 0 ? rc : str_compare(x->value, y->value);
}


static int
str_compare(coco_str_t a, coco_str_t b)
{
    int  rc = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return rc != 0 ? rc : (a.len > b.len) - (a.len < b.len);
}


/* Takes what stands before the delimiter off *rest; without one it takes
 * all, and *rest is absent. */
static coco_str_t
str_cut(coco_str_t *rest, char delimiter)
{
    coco_str_t   part = *rest;
    const char  *end = part.len > 0 ? memchr(part.data, delimiter, part.len)
                                    : NULL;

    if (end == NULL) {
        *rest = (coco_str_t) { NULL, 0 };
        return part;
    }

    part.len = (size_t) (end - part.data);
    rest->data += part.len + 1;
    rest->len -= part.len + 1;

    return part;
}


static int
canonical_hash(char ret[HEX_LEN], const signing_t *s)
{
    char    *buf;
    text_t   text;

    coco_json_out_init(&text, NULL, 0);
    canonical_write(&text, s);

    buf = malloc(text.len);

    if (buf == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&text, buf, text.len);
    canonical_write(&text, s);
    hash_write(ret, (coco_str_t) { buf, text.len });

    OPENSSL_cleanse(buf, text.len);         /* may hold a session token */
    free(buf);

    return COCO_OK;
}


static void
canonical_write(text_t *text, const signing_t *s)
{
    put(text, s->request->method);
    put(text, coco_string("\n"));
    path_write(text, s->request);
    put(text, coco_string("\n"));
    query_write(text, s);
    put(text, coco_string("\n"));
    headers_write(text, s);
    put(text, coco_string("\n"));
    header_names_write(text, s);
    put(text, coco_string("\n"));
    coco_json_put(text, s->payload_hash, sizeof(s->payload_hash));
}


/* The path is encoded once more than it was sent. */
static void
path_write(text_t *text, const coco_sigv4_request_t *request)
{
    bool        any = false;
    size_t      i;
    coco_str_t  segment, path = request->path, rest = path;

    if (path.len > 0 && *path.data == '/') {
        rest = (coco_str_t) { path.data + 1, path.len - 1 };
    }

    while (rest.data != NULL) {
        segment = str_cut(&rest, '/');

        if (request->normalize && !segment_stays(segment, rest)) {
            continue;
        }

        put(text, coco_string("/"));

        for (i = 0; i < segment.len; i++) {
            byte_encode(text, segment.data[i]);
        }

        any = true;
    }

    /* the last slash is kept, though the empty segment behind it is not */

    if (!any || (request->normalize && path.data[path.len - 1] == '/')) {
        put(text, coco_string("/"));
    }
}


/* Whether a segment of the path is one, and no ".." behind takes it away. */
static bool
segment_stays(coco_str_t segment, coco_str_t behind)
{
    size_t                   depth = 0;
    static const coco_str_t  here = coco_string("."), up = coco_string("..");

    if (segment.len == 0 || coco_str_equal(segment, here)
        || coco_str_equal(segment, up))
    {
        return false;
    }

    while (behind.data != NULL) {
        segment = str_cut(&behind, '/');

        if (!coco_str_equal(segment, up)) {
            depth += segment.len > 0 && !coco_str_equal(segment, here);

        } else if (depth-- == 0) {
            return false;
        }
    }

    return true;
}


static void
query_write(text_t *text, const signing_t *s)
{
    size_t  i;

    for (i = 0; i < s->parameter_count; i++) {
        if (i > 0) {
            put(text, coco_string("&"));
        }

        put(text, s->parameters[i].name);
        put(text, coco_string("="));
        put(text, s->parameters[i].value);
    }
}


/* Those of one name become one, their values joined by commas. */
static void
headers_write(text_t *text, const signing_t *s)
{
    size_t                      i;
    const coco_sigv4_header_t  *h = s->headers;

    for (i = 0; i < s->header_count; i++) {

        if (i > 0 && header_compare(&h[i - 1], &h[i]) == 0) {
            put(text, coco_string(","));

        } else {
            if (i > 0) {
                put(text, coco_string("\n"));
            }

            lower_put(text, h[i].name);
            put(text, coco_string(":"));
        }

        header_value_write(text, h[i].value);
    }

    put(text, coco_string("\n"));
}


/* No space around it, and one for each run of them within. */
static void
header_value_write(text_t *text, coco_str_t value)
{
    bool    space = false, any = false;
    size_t  i;

    for (i = 0; i < value.len; i++) {

        if (memchr(" \t\r\n", value.data[i], 4) != NULL) {
            space = any;
            continue;
        }

        if (space) {
            put(text, coco_string(" "));
        }

        coco_json_put(text, &value.data[i], 1);
        space = false;
        any = true;
    }
}


static void
header_names_write(text_t *text, const signing_t *s)
{
    size_t                      i;
    const coco_sigv4_header_t  *h = s->headers;

    for (i = 0; i < s->header_count; i++) {

        if (i > 0 && header_compare(&h[i - 1], &h[i]) == 0) {
            continue;
        }

        if (i > 0) {
            put(text, coco_string(";"));
        }

        lower_put(text, h[i].name);
    }
}


static void
scope_write(text_t *text, const signing_t *s)
{
    coco_json_put(text, s->date.data, DAY_LEN);
    put(text, coco_string("/"));
    put(text, s->request->region);
    put(text, coco_string("/"));
    put(text, s->request->service);
    put(text, coco_string("/aws4_request"));
}


static int
signature_write(char ret[HEX_LEN], const signing_t *s, coco_str_t to_sign)
{
    int            rc = COCO_ERROR;
    char           key[SECRET_MAX + 4];
    text_t         text;
    unsigned char  digest[SHA256_DIGEST_LENGTH];

    coco_json_out_init(&text, key, sizeof(key));
    put(&text, coco_string("AWS4"));
    put(&text, s->credentials->secret_key);

    if (coco_json_out_ok(&text)
        && HMAC(EVP_sha256(), key, (int) text.len,
                (const unsigned char *) s->date.data, DAY_LEN, digest, NULL)
           != NULL
        && hmac(digest, s->request->region)
        && hmac(digest, s->request->service)
        && hmac(digest, coco_string("aws4_request"))
        && hmac(digest, to_sign))
    {
        hex_write(ret, digest);
        rc = COCO_OK;
    }

    OPENSSL_cleanse(key, sizeof(key));
    OPENSSL_cleanse(digest, sizeof(digest));

    return rc;
}


/* The digest is the key, and then the code of text under it. */
static bool
hmac(unsigned char digest[SHA256_DIGEST_LENGTH], coco_str_t text)
{
    bool           ok;
    unsigned char  key[SHA256_DIGEST_LENGTH];

    memcpy(key, digest, sizeof(key));
    ok = HMAC(EVP_sha256(), key, sizeof(key),
              (const unsigned char *) text.data, text.len, digest, NULL)
         != NULL;
    OPENSSL_cleanse(key, sizeof(key));

    return ok;
}


/* RFC 3986's unreserved characters stay; the others become %XX. */
static void
byte_encode(text_t *text, char c)
{
    char               code[3] = { '%' };
    unsigned char      byte = (unsigned char) c;
    static const char  hex[] = "0123456789ABCDEF";

    if ((lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9')
        || c == '-' || c == '.' || c == '_' || c == '~')
    {
        coco_json_put(text, &c, 1);
        return;
    }

    code[1] = hex[byte >> 4];
    code[2] = hex[byte & 0x0f];
    coco_json_put(text, code, sizeof(code));
}


static void
lower_put(text_t *text, coco_str_t name)
{
    char    c;
    size_t  i;

    for (i = 0; i < name.len; i++) {
        c = lower(name.data[i]);
        coco_json_put(text, &c, 1);
    }
}


/* Whatever the locale. */
static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}


static void
hash_write(char ret[HEX_LEN], coco_str_t text)
{
    unsigned char  digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *) text.data, text.len, digest);
    hex_write(ret, digest);
}


static void
hex_write(char ret[HEX_LEN], const unsigned char *digest)
{
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        *ret++ = hex[digest[i] >> 4];
        *ret++ = hex[digest[i] & 0x0f];
    }
}
