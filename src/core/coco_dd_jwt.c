/*
 * DoorDash's tokens. Must never put the key into an error.
 */

#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "coco_dd_jwt.h"
#include "coco_json_write.h"


static size_t base64url_encode(char *ret, const char *data, size_t len);
static int base64url_digit(char c);


int
coco_dd_jwt_secret(coco_dd_jwt_key_t *ret, coco_str_t text, coco_error_t *err)
{
    int       digit;
    size_t    i;
    unsigned  bits = 0, count = 0;

    ret->secret_len = 0;

    for (i = 0; i < text.len && text.data[i] != '='; i++) {
        digit = base64url_digit(text.data[i]);

        if (digit < 0 || ret->secret_len == sizeof(ret->secret)) {
            return coco_error_set(err, "signing_secret",
                                  "base64url of at most %d bytes expected",
                                  COCO_DD_JWT_SECRET_MAX);
        }

        bits = bits << 6 | (unsigned) digit;
        count += 6;

        if (count >= 8) {
            count -= 8;
            ret->secret[ret->secret_len++] = (unsigned char) (bits >> count);
        }
    }

    while (i < text.len && text.data[i] == '=') {
        i++;
    }

    /* six bits that are left are no byte, nor the rest of one */

    if (ret->secret_len == 0 || count >= 6 || i < text.len) {
        return coco_error_set(err, "signing_secret",
                              "base64url expected, whole and not empty");
    }

    return COCO_OK;
}


/* DoorDash has kid among the claims. */
int
coco_dd_jwt_sign(char ret[COCO_DD_JWT_MAX], const coco_dd_jwt_key_t *key,
    int64_t now)
{
    char             claims[512], *p = ret;
    unsigned         mac_len;
    unsigned char    mac[EVP_MAX_MD_SIZE];
    coco_json_out_t  out;

    static const char  header[] =
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"dd-ver\":\"DD-JWT-V1\"}";

    coco_json_out_init(&out, claims, sizeof(claims));
    coco_json_object_open(&out);
    coco_json_name(&out, "aud");
    coco_json_string(&out, coco_string("doordash"));
    coco_json_name(&out, "iss");
    coco_json_string(&out, key->developer_id);
    coco_json_name(&out, "kid");
    coco_json_string(&out, key->key_id);
    coco_json_name(&out, "exp");
    coco_json_int(&out, now / 1000 + COCO_DD_JWT_LIFETIME);
    coco_json_name(&out, "iat");
    coco_json_int(&out, now / 1000);
    coco_json_object_close(&out);

    if (!coco_json_out_ok(&out)) {
        return COCO_ERROR;
    }

    p += base64url_encode(p, header, sizeof(header) - 1);
    *p++ = '.';
    p += base64url_encode(p, claims, out.len);

    if (HMAC(EVP_sha256(), key->secret, (int) key->secret_len,
             (unsigned char *) ret, (size_t) (p - ret), mac, &mac_len)
        == NULL)
    {
        return COCO_ERROR;
    }

    *p++ = '.';
    p += base64url_encode(p, (char *) mac, mac_len);
    *p = '\0';

    return COCO_OK;
}


/* Without padding; returns how long it is. */
static size_t
base64url_encode(char *ret, const char *data, size_t len)
{
    char      *p = ret;
    size_t     i;
    unsigned   bits = 0, count = 0;

    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789-_";

    for (i = 0; i < len; i++) {
        bits = bits << 8 | (unsigned char) data[i];

        for (count += 8; count >= 6; /* void */ ) {
            count -= 6;
            *p++ = digits[bits >> count & 63];
        }
    }

    if (count > 0) {
        *p++ = digits[bits << (6 - count) & 63];
    }

    return (size_t) (p - ret);
}


static int
base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '-' ? 62 : c == '_' ? 63 : -1;
}
