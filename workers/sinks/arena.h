/*
 * Memory that lives as long as a batch: taken bit by bit, given back at once.
 * Of one thread.
 */

#ifndef COCO_ARENA_H
#define COCO_ARENA_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef struct coco_arena_block_s  coco_arena_block_t;

typedef struct {
    coco_arena_block_t  *blocks;    /* the newest first */
} coco_arena_t;

/* Where an arena stands. */
typedef struct {
    coco_arena_block_t  *block;     /* NULL: it is empty */
    size_t               used;
} coco_arena_mark_t;

typedef void (*coco_arena_encode_pt)(coco_json_out_t *out, const void *data);

/* NULL without memory. Aligned for any type. */
void *coco_arena_alloc(coco_arena_t *arena, size_t size);
/* A copy of a string; an absent one stays absent. COCO_ERROR: no memory. */
int coco_arena_copy(coco_arena_t *arena, coco_str_t *ret, coco_str_t s);
/* Gives back what the last allocation, p, has over `used` bytes. */
void coco_arena_trim(coco_arena_t *arena, void *p, size_t used);
/* JSON as `encode` writes it of `data`; size is what it takes in most cases,
 * bytes: else it is written again. COCO_ERROR: no memory. */
int coco_arena_json(coco_arena_t *arena, coco_str_t *ret, size_t size,
    coco_arena_encode_pt encode, const void *data);
/* What was taken since the mark is given back. */
coco_arena_mark_t coco_arena_mark(const coco_arena_t *arena);
void coco_arena_rewind(coco_arena_t *arena, coco_arena_mark_t mark);
/* Everything is given back; the first block is kept for the next batch. */
void coco_arena_reset(coco_arena_t *arena);
void coco_arena_free(coco_arena_t *arena);

#endif /* COCO_ARENA_H */
