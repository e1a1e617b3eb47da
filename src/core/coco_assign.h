/*
 * Minimum-cost assignment: as many rows as possible get a column each, and of
 * all ways to do so the cheapest. Shortest augmenting paths after Jonker and
 * Volgenant, rectangular, with pairs that are not allowed.
 */

#ifndef COCO_ASSIGN_H
#define COCO_ASSIGN_H

#include <stddef.h>
#include <stdint.h>

#define COCO_ASSIGN_NONE  UINT32_MAX

/* Bytes of work space; 0 when that does not fit into size_t. */
size_t coco_assign_size(uint32_t rows, uint32_t columns);

/* cost: rows × columns, row after row, >= 0; INFINITY: not allowed. `work` is
 * coco_assign_size() bytes, aligned to 16. Fills ret[rows] with columns, or
 * COCO_ASSIGN_NONE. Deterministic. Returns how many rows have a column. */
uint32_t coco_assign(const double *cost, uint32_t rows, uint32_t columns,
    void *work, uint32_t *ret);

#endif /* COCO_ASSIGN_H */
