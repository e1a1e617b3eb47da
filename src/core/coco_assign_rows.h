/*
 * The assignment over rows that are told piece by piece: of a row only as many
 * of its cheapest columns are asked for as it takes. Shared by coco_assign()
 * and coco_plan().
 */

#ifndef COCO_ASSIGN_ROWS_H
#define COCO_ASSIGN_ROWS_H

#include <math.h>
#include <stdbool.h>

#include "coco_assign.h"

/* The cheapest columns of a row, `max` at most, of those that come after the
 * last ones by (cost, column). */
typedef struct {
    double    *cost;
    uint32_t  *column;
    uint32_t   count, max;
    double     limit;             /* what costs this much is not wanted */
    double     after_cost;        /* -1: from the first */
    uint32_t   after_column;
} coco_assign_piece_t;

/* Offers all columns of the row that are allowed and cost less than
 * piece->limit, which shrinks, to coco_assign_offer(); columns ascending. */
typedef void (*coco_assign_row_pt)(void *data, uint32_t row,
    coco_assign_piece_t *piece);

/* Puts it into the heap, in the place of the last one if that is full. */
void coco_assign_take(coco_assign_piece_t *piece, double cost,
    uint32_t column);

/* When all were offered. */
void coco_assign_sort(coco_assign_piece_t *piece);

static inline void
coco_assign_offer(coco_assign_piece_t *piece, double cost, uint32_t column)
{
    if (cost < piece->limit
        && (cost > piece->after_cost
            || (cost == piece->after_cost && column > piece->after_column)))
    {
        coco_assign_take(piece, cost, column);
    }
}

/* May `row` have every column that `other` may? Asked of two of a group. */
typedef bool (*coco_assign_covers_pt)(void *data, uint32_t row,
    uint32_t other);

/* Rows of a group (numbers below rows) cost the same wherever both may have
 * the column, so that a search need not look at all of them. */
typedef struct {
    coco_assign_row_pt      tell;
    void                   *data;
    const double           *matrix;   /* NULL, or all that `tell` tells: the
                                         rest of a row is read from it */
    const uint32_t         *group;    /* NULL: none */
    coco_assign_covers_pt   covers;
} coco_assign_source_t;

/* Bytes of work space; 0 when that does not fit into size_t. `matrix`: there
 * will be one. */
size_t coco_assign_rows_size(uint32_t rows, uint32_t columns, bool matrix);

/* As coco_assign(); `work` is aligned to 16. */
uint32_t coco_assign_rows(const coco_assign_source_t *source, uint32_t rows,
    uint32_t columns, void *work, uint32_t *ret);

#endif /* COCO_ASSIGN_ROWS_H */
