/*
 * The assignment over a matrix. Must never search through more rows than
 * columns: it turns such a matrix over.
 */

#include "coco_assign_rows.h"

#define ASSIGN_BLOCK  32            /* rows and columns turned over at once */

typedef struct {
    const double  *cost;
    uint32_t       columns;
} assign_matrix_t;


static size_t assign_round(size_t size);
static void assign_row(void *data, uint32_t row, coco_assign_piece_t *piece);
static void assign_turn(const double *cost, uint32_t rows, uint32_t columns,
    double *ret);


size_t
coco_assign_size(uint32_t rows, uint32_t columns)
{
    size_t             solver;
    unsigned __int128  size;

    if (rows <= columns) {
        return coco_assign_rows_size(rows, columns, true);
    }

    solver = coco_assign_rows_size(columns, rows, true);
    size = (unsigned __int128) rows * columns * sizeof(double)
           + columns * sizeof(uint32_t) + 2 * 15 + solver;

    return solver == 0 || size > PTRDIFF_MAX ? 0 : (size_t) size;
}


uint32_t
coco_assign(const double *cost, uint32_t rows, uint32_t columns, void *work,
    uint32_t *ret)
{
    char             *end;
    double           *turned;
    uint32_t          i, served, *taken;
    assign_matrix_t   matrix = { cost, columns };

    coco_assign_source_t  source = { .tell = assign_row, .data = &matrix,
                                     .matrix = cost };

    if (rows <= columns) {
        return coco_assign_rows(&source, rows, columns, work, ret);
    }

    turned = work;
    end = (char *) work + assign_round((size_t) rows * columns
                                       * sizeof(*turned));
    taken = (void *) end;
    end += assign_round((size_t) columns * sizeof(*taken));

    assign_turn(cost, rows, columns, turned);

    matrix.cost = turned;
    matrix.columns = rows;
    source.matrix = turned;
    served = coco_assign_rows(&source, columns, rows, end, taken);

    for (i = 0; i < rows; i++) {
        ret[i] = COCO_ASSIGN_NONE;
    }

    for (i = 0; i < columns; i++) {
        if (taken[i] != COCO_ASSIGN_NONE) {
            ret[taken[i]] = i;
        }
    }

    return served;
}


static size_t
assign_round(size_t size)
{
    return (size + 15) / 16 * 16;
}


static void
assign_row(void *data, uint32_t row, coco_assign_piece_t *piece)
{
    uint32_t          column;
    const double     *cost;
    assign_matrix_t  *matrix = data;

    cost = matrix->cost + (size_t) row * matrix->columns;

    for (column = 0; column < matrix->columns; column++) {
        coco_assign_offer(piece, cost[column], column);
    }
}


/* In blocks, so that a cache line is read once. */
static void
assign_turn(const double *cost, uint32_t rows, uint32_t columns, double *ret)
{
    size_t  row, column, from_row, from_column, to_row, to_column;

    for (from_row = 0; from_row < rows; from_row += ASSIGN_BLOCK) {
        to_row = from_row + ASSIGN_BLOCK < rows
                 ? from_row + ASSIGN_BLOCK : rows;

        for (from_column = 0; from_column < columns;
             from_column += ASSIGN_BLOCK)
        {
            to_column = from_column + ASSIGN_BLOCK < columns
                        ? from_column + ASSIGN_BLOCK : columns;

            for (column = from_column; column < to_column; column++) {
                for (row = from_row; row < to_row; row++) {
                    ret[column * rows + row] = cost[row * columns + column];
                }
            }
        }
    }
}
