/*
 * coco_id_derive() in steps, for parts that do not lie in one piece.
 */

#ifndef COCO_ID_H
#define COCO_ID_H

#include <openssl/sha.h>

#include "coco_core.h"

typedef struct {
    SHA256_CTX  sha;
} coco_id_hash_t;

void coco_id_begin(coco_id_hash_t *hash);

/* Announces a part of len bytes; they follow in any number of pieces. */
void coco_id_part(coco_id_hash_t *hash, size_t len);
void coco_id_put(coco_id_hash_t *hash, const char *data, size_t len);

void coco_id_end(coco_id_hash_t *hash, coco_id_t *ret);

#endif /* COCO_ID_H */
