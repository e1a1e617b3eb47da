/*
 * The cheapest columns of a row: a heap, the last one first by (cost, column),
 * while they are offered, and sorted in the end. Must never allocate: the
 * arrays are the row's.
 */

#include "coco_assign_rows.h"


static void piece_down(coco_assign_piece_t *piece, double cost,
    uint32_t column);
static bool piece_after(double cost, uint32_t column, double than_cost,
    uint32_t than_column);


void
coco_assign_take(coco_assign_piece_t *piece, double cost, uint32_t column)
{
    uint32_t  i, parent;

    if (piece->count == piece->max) {
        piece_down(piece, cost, column);

    } else {
        for (i = piece->count++; i > 0; i = parent) {
            parent = (i - 1) / 2;

            if (!piece_after(cost, column, piece->cost[parent],
                             piece->column[parent]))
            {
                break;
            }

            piece->cost[i] = piece->cost[parent];
            piece->column[i] = piece->column[parent];
        }

        piece->cost[i] = cost;
        piece->column[i] = column;
    }

    if (piece->count == piece->max) {
        piece->limit = piece->cost[0];
    }
}


/* Heap sort: the last one first goes to the end. */
void
coco_assign_sort(coco_assign_piece_t *piece)
{
    double    cost;
    uint32_t  column, n;

    while (piece->count > 1) {
        n = --piece->count;
        cost = piece->cost[n];
        column = piece->column[n];

        piece->cost[n] = piece->cost[0];
        piece->column[n] = piece->column[0];
        piece_down(piece, cost, column);
    }
}


/* Puts one in the place of the heap's last by (cost, column). */
static void
piece_down(coco_assign_piece_t *piece, double cost, uint32_t column)
{
    uint32_t  i, child;

    for (i = 0; (child = 2 * i + 1) < piece->count; i = child) {
        if (child + 1 < piece->count
            && piece_after(piece->cost[child + 1], piece->column[child + 1],
                           piece->cost[child], piece->column[child]))
        {
            child++;
        }

        if (!piece_after(piece->cost[child], piece->column[child], cost,
                         column))
        {
            break;
        }

        piece->cost[i] = piece->cost[child];
        piece->column[i] = piece->column[child];
    }

    piece->cost[i] = cost;
    piece->column[i] = column;
}


static bool
piece_after(double cost, uint32_t column, double than_cost,
    uint32_t than_column)
{
    return cost > than_cost || (cost == than_cost && column > than_column);
}
