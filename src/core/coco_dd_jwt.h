/*
 * DoorDash's tokens, DD-JWT-V1. Pure: the caller has the clock and the key.
 */

#ifndef COCO_DD_JWT_H
#define COCO_DD_JWT_H

#include "coco_core.h"

#define COCO_DD_JWT_LIFETIME    1800    /* seconds */
#define COCO_DD_JWT_MAX         1024    /* bytes of a token, with its NUL */
#define COCO_DD_JWT_SECRET_MAX  256     /* bytes of a decoded signing secret */

typedef struct {
    coco_str_t     developer_id;        /* "iss" */
    coco_str_t     key_id;              /* "kid", a claim there */
    unsigned char  secret[COCO_DD_JWT_SECRET_MAX];
    size_t         secret_len;
} coco_dd_jwt_key_t;

/* The secret from DoorDash's form of it, base64url without padding. */
int coco_dd_jwt_secret(coco_dd_jwt_key_t *ret, coco_str_t text,
    coco_error_t *err);

/* A token that begins at `now` (ms); COCO_ERROR: an id is too long. */
int coco_dd_jwt_sign(char ret[COCO_DD_JWT_MAX], const coco_dd_jwt_key_t *key,
    int64_t now);

#endif /* COCO_DD_JWT_H */
