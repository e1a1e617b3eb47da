/*
 * The places that AWS credentials come from, each one exchange at a time.
 * Nothing is kept between exchanges: files are read anew each time.
 */

#ifndef COCO_AWS_PROVIDERS_H
#define COCO_AWS_PROVIDERS_H

#include "coco_core.h"
#include "sinks/retry.h"

/* NUL-terminated; an empty token: none. */
typedef struct {
    char     access_key[256];
    char     secret_key[512];
    char     token[16384];
    int64_t  expires_at;        /* ms since the epoch; INT64_MAX: never */
} coco_aws_secret_t;

typedef struct {
    const char  *name;          /* "environment", for logs */
    /* Waits for the answer. COCO_ERROR with a message without secrets that
     * says what to do; *ret may then hold anything. */
    int        (*fetch)(coco_aws_secret_t *ret, const char *region,
        coco_stop_t *stop, char *error, size_t error_size);
} coco_aws_provider_t;

/* The first that the environment names, in AWS's order. NULL: it contradicts
 * itself, or names none and IMDS is switched off; the message says more. */
const coco_aws_provider_t *coco_aws_provider_choose(char *error,
    size_t error_size);

#endif /* COCO_AWS_PROVIDERS_H */
