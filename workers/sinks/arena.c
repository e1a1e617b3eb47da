/*
 * The arena of a batch. Must never move what it has given out.
 */

#include <stdlib.h>

#include "arena.h"

#define COCO_ARENA_BLOCK  (256 * 1024)
#define COCO_ARENA_ALIGN  16

struct coco_arena_block_s {
    coco_arena_block_t  *next;
    size_t               size;
    size_t               used;
    char                 data[] __attribute__((aligned(COCO_ARENA_ALIGN)));
};


void *
coco_arena_alloc(coco_arena_t *arena, size_t size)
{
    void                *p;
    size_t               room;
    coco_arena_block_t  *b = arena->blocks;

    size = (size + COCO_ARENA_ALIGN - 1) & ~(size_t) (COCO_ARENA_ALIGN - 1);

    if (b == NULL || b->size - b->used < size) {
        room = size > COCO_ARENA_BLOCK ? size : COCO_ARENA_BLOCK;

        b = malloc(sizeof(*b) + room);
        if (b == NULL) {
            return NULL;
        }

        b->next = arena->blocks;
        b->size = room;
        b->used = 0;
        arena->blocks = b;
    }

    p = b->data + b->used;
    b->used += size;

    return p;
}


int
coco_arena_copy(coco_arena_t *arena, coco_str_t *ret, coco_str_t s)
{
    char  *p;

    *ret = s;

    if (s.data == NULL) {
        return COCO_OK;
    }

    p = coco_arena_alloc(arena, s.len);
    if (p == NULL) {
        return COCO_ERROR;
    }

    ret->data = memcpy(p, s.data, s.len);

    return COCO_OK;
}


void
coco_arena_trim(coco_arena_t *arena, void *p, size_t used)
{
    used = (used + COCO_ARENA_ALIGN - 1) & ~(size_t) (COCO_ARENA_ALIGN - 1);
    arena->blocks->used = (size_t) ((char *) p - arena->blocks->data) + used;
}


int
coco_arena_json(coco_arena_t *arena, coco_str_t *ret, size_t size,
    coco_arena_encode_pt encode, const void *data)
{
    char             *p;
    coco_json_out_t   out;

    for ( ;; ) {
        p = coco_arena_alloc(arena, size);
        if (p == NULL) {
            return COCO_ERROR;
        }

        coco_json_out_init(&out, p, size);
        encode(&out, data);

        if (coco_json_out_ok(&out)) {
            coco_arena_trim(arena, p, out.len);
            *ret = (coco_str_t) { p, out.len };
            return COCO_OK;
        }

        size = out.len;
    }
}


coco_arena_mark_t
coco_arena_mark(const coco_arena_t *arena)
{
    coco_arena_block_t  *b = arena->blocks;

    return (coco_arena_mark_t) { b, b != NULL ? b->used : 0 };
}


void
coco_arena_rewind(coco_arena_t *arena, coco_arena_mark_t mark)
{
    coco_arena_block_t  *b;

    if (mark.block == NULL) {
        coco_arena_reset(arena);
        return;
    }

    while (arena->blocks != mark.block) {
        b = arena->blocks;
        arena->blocks = b->next;
        free(b);
    }

    arena->blocks->used = mark.used;
}


void
coco_arena_reset(coco_arena_t *arena)
{
    coco_arena_block_t  *b;

    while (arena->blocks != NULL
           && (arena->blocks->next != NULL
               || arena->blocks->size > COCO_ARENA_BLOCK))
    {
        b = arena->blocks;
        arena->blocks = b->next;
        free(b);
    }

    if (arena->blocks != NULL) {
        arena->blocks->used = 0;
    }
}


void
coco_arena_free(coco_arena_t *arena)
{
    coco_arena_reset(arena);
    free(arena->blocks);
    arena->blocks = NULL;
}
