/*
 * AWS credentials of this process, from the first place that is configured:
 * the environment, a web identity token (IRSA), the container's endpoint,
 * the instance's metadata (IMDSv2). Kept fresh by a thread of its own; shared
 * by everything that signs requests.
 */

#ifndef COCO_AWS_CREDENTIALS_H
#define COCO_AWS_CREDENTIALS_H

#include "coco_sigv4.h"

typedef struct coco_aws_credentials_s  coco_aws_credentials_t;

/* Never changes; holders share it. */
typedef struct {
    coco_sigv4_credentials_t  keys;
    int64_t                   expires_at;   /* ms since the epoch; INT64_MAX:
                                               never */
    uint64_t                  version;      /* 1, 2, … */
} coco_aws_keys_t;

/* Reads the environment and starts the thread; waits for no server. region
 * names the STS endpoint. COCO_ERROR with a message that says what to do, when
 * the environment contradicts itself or names no source. */
int coco_aws_credentials_start(coco_aws_credentials_t **ret,
    const char *region, char *error, size_t error_size);
/* After everything that is held was released. */
void coco_aws_credentials_stop(coco_aws_credentials_t *c);

/* The newest that have not expired; NULL while there are none. Any thread.
 * Released by whoever holds them (NULL is let through). */
const coco_aws_keys_t *coco_aws_keys_hold(coco_aws_credentials_t *c);
void coco_aws_keys_release(coco_aws_credentials_t *c,
    const coco_aws_keys_t *keys);

/* AWS called the keys of this version expired or unknown: new ones are asked
 * for at once, unless it was done just now or newer ones are here. */
void coco_aws_keys_refused(coco_aws_credentials_t *c, uint64_t version);

#endif /* COCO_AWS_CREDENTIALS_H */
