/*
 * Shortest augmenting paths after Jonker and Volgenant (Computing 38, 1987),
 * over rows that are asked for piece by piece. Must never compare what it has
 * computed with a big number that stands for infinity.
 *
 * Prices of columns are <= 0 until the end of a path says otherwise, so a
 * label of a column that was not asked for yet is at least that of the last
 * one that was: one node in the heap stands for all of them, and the row is
 * asked for more when its turn comes. A row is thus told exactly as far as the
 * answer depends on it.
 *
 * As many rows as possible: leaving a row out costs one unit that outweighs
 * every sum of costs. Such units are never added to costs, which would take
 * the digits that ties depend on; they are carried beside them. Since one more
 * row can add no more than one unit, a bit of each column does: once a search
 * has reached no free column, the columns that it did reach are `full`, with
 * one unit in their price and in the dual of their rows, and whoever enters
 * them later pushes a row out.
 *
 * What is left is rounding. A price is a difference of sums of costs along a
 * path: of 2,000 rows at costs up to 1e6 it is below 2^31, and its last bit
 * 2^-22; so is that of the total. Whole numbers come out exactly, others
 * within 1e-12 of the least total.
 */

#include <string.h>

#include "coco_assign_rows.h"

#define ASSIGN_PIECE   24     /* columns that a row is told at first, */
#define ASSIGN_MORE    4      /* so many times as many with each piece */
#define ASSIGN_PASSES  2      /* of bidding over the rows without a column */
#define ASSIGN_BIDS    8      /* for each row in each of them, at most */

#define ASSIGN_OUT     UINT32_MAX          /* not in the heap */
#define ASSIGN_DONE    (UINT32_MAX - 1)    /* taken from it */

#define ASSIGN_BLOCK   8      /* columns that are looked at together */

typedef unsigned __int128  assign_size_t;  /* cannot overflow here */

typedef double   assign_four_t
    __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t  assign_mask_t __attribute__((vector_size(32)));

typedef struct assign_s  assign_t;

/* A node of the heap is a row (the columns it was not told yet), or rows + a
 * column: of equal labels the row is first, so that a column that is free is
 * found before others are searched through. */
struct assign_s {
    const coco_assign_source_t
                       *source;
    uint32_t            rows, columns;
    const double       *matrix;       /* the source's */
    uint32_t            most;         /* entries of a row */

    double             *cost;         /* rows × most: sorted entries */
    uint32_t           *column;
    uint32_t           *count;        /* of each row */
    bool               *told;         /* all that it has */
    double             *base;         /* label of a row less its dual */
    double             *paid;         /* cost of its column */
    uint32_t           *taken;        /* its column: the caller's array */
    uint32_t           *first;        /* of each group, in this search: a row
                                         that was looked at */

    double             *price;        /* of each column, <= 0 unless full */
    uint32_t           *holder;       /* its row */
    uint32_t           *from;         /* the row before it on the path */
    uint32_t           *tree;         /* columns searched, in order */
    bool               *full;
    double              highest;      /* no price of a full column is higher */

    double             *label;        /* of each node; INFINITY between
                                         searches */
    uint32_t           *place;        /* in the heap */
    uint32_t           *heap;

    uint32_t            tree_count, heap_count;
    double              bound;        /* label of the best end so far */
    uint32_t            end;

    uint32_t          (*skip)(const assign_t *a, double base,
                              const double *cost, uint32_t i);
};

/* What a row would take: cost less price, the next best, and the cost. */
typedef struct {
    double    best, second, paid;
    uint32_t  column;
} assign_bid_t;


static void assign_init(assign_t *a);
static bool assign_layout(assign_t *a, bool matrix, char *work,
    size_t *ret_size);
static void *assign_part(char *work, assign_size_t *size, assign_size_t bytes);
static void assign_tell(assign_t *a, uint32_t row);
static void assign_bids(assign_t *a);
static uint32_t assign_bid(assign_t *a, uint32_t row);
static void assign_bid_choose(assign_t *a, uint32_t row, assign_bid_t *bid);
static void assign_bid_offer(const assign_t *a, assign_bid_t *bid,
    double cost, uint32_t column);
static bool assign_search(assign_t *a, uint32_t start);
static void assign_look(assign_t *a, uint32_t row, double base);
static bool assign_covered(const assign_t *a, uint32_t row);
static void assign_scan(assign_t *a, uint32_t row, double base,
    uint32_t first);
static void assign_scan_more(assign_t *a, uint32_t row);
static uint32_t assign_skip(const assign_t *a, double base,
    const double *cost, uint32_t i);
#if defined(__x86_64__)
static uint32_t assign_skip_avx2(const assign_t *a, double base,
    const double *cost, uint32_t i);
#endif
static void assign_reach(assign_t *a, uint32_t row, double label,
    uint32_t column);
static void assign_crowd(assign_t *a, uint32_t start);
static void assign_crowd_scan(assign_t *a, uint32_t row);
static void assign_crowd_reach(assign_t *a, uint32_t row, double label,
    uint32_t column);
static void assign_push_out(assign_t *a, uint32_t row);
static void assign_path(assign_t *a, uint32_t column, uint32_t start);
static double assign_cost(const assign_t *a, uint32_t row, uint32_t column);
static void assign_forget(assign_t *a);
static bool assign_heap_put(assign_t *a, uint32_t node, double label);
static uint32_t assign_heap_pop(assign_t *a);
static bool assign_heap_before(const assign_t *a, uint32_t x, uint32_t y);
static void assign_heap_up(assign_t *a, uint32_t i);
static void assign_heap_down(assign_t *a, uint32_t i);


size_t
coco_assign_rows_size(uint32_t rows, uint32_t columns, bool matrix)
{
    size_t    size;
    assign_t  a = { .rows = rows, .columns = columns };

    return assign_layout(&a, matrix, NULL, &size) ? size : 0;
}


uint32_t
coco_assign_rows(const coco_assign_source_t *source, uint32_t rows,
    uint32_t columns, void *work, uint32_t *ret)
{
    size_t    size;
    uint32_t  i, served;
    assign_t  a = { .source = source, .rows = rows, .columns = columns,
                    .matrix = source->matrix, .taken = ret };

    assign_layout(&a, source->matrix != NULL, work, &size);
    assign_init(&a);

    for (i = 0; i < rows; i++) {
        assign_tell(&a, i);
    }

    assign_bids(&a);

    for (i = 0; i < rows; i++) {
        if (ret[i] != COCO_ASSIGN_NONE) {
            continue;
        }

        if (!assign_search(&a, i)) {
            assign_crowd(&a, i);
        }

        assign_forget(&a);
    }

    for (i = 0, served = 0; i < rows; i++) {
        served += ret[i] != COCO_ASSIGN_NONE;
    }

    return served;
}


static void
assign_init(assign_t *a)
{
    uint32_t  i;

    a->highest = -INFINITY;
    a->skip = assign_skip;

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        a->skip = assign_skip_avx2;
    }
#endif

    memset(a->count, 0, a->rows * sizeof(*a->count));
    memset(a->told, 0, a->rows * sizeof(*a->told));
    memset(a->taken, 0xff, a->rows * sizeof(*a->taken));
    memset(a->holder, 0xff, a->columns * sizeof(*a->holder));
    memset(a->full, 0, a->columns * sizeof(*a->full));

    for (i = 0; i < a->columns; i++) {
        a->price[i] = 0;
    }

    for (i = 0; i < a->rows + a->columns; i++) {
        a->label[i] = INFINITY;
        a->place[i] = ASSIGN_OUT;
    }
}


/* Points into work, unless it is NULL. A row's `rows` cheapest columns are all
 * it can need: in an assignment that gives it another, one of them is free,
 * and no dearer. What comes after the first piece is read from the matrix,
 * where there is one. */
static bool
assign_layout(assign_t *a, bool matrix, char *work, size_t *ret_size)
{
    assign_size_t  size, entries, rows, columns, nodes;

    a->most = a->rows < a->columns ? a->rows : a->columns;

    if (matrix && a->most > ASSIGN_PIECE) {
        a->most = ASSIGN_PIECE;
    }

    rows = a->rows;
    columns = a->columns;
    entries = rows * a->most;
    nodes = rows + columns;
    size = 16;      /* never 0 */

    a->cost = assign_part(work, &size, entries * sizeof(double));
    a->column = assign_part(work, &size, entries * sizeof(uint32_t));
    a->count = assign_part(work, &size, rows * sizeof(uint32_t));
    a->told = assign_part(work, &size, rows * sizeof(bool));
    a->base = assign_part(work, &size, rows * sizeof(double));
    a->paid = assign_part(work, &size, rows * sizeof(double));
    a->first = assign_part(work, &size, rows * sizeof(uint32_t));

    a->price = assign_part(work, &size, columns * sizeof(double));
    a->holder = assign_part(work, &size, columns * sizeof(uint32_t));
    a->from = assign_part(work, &size, columns * sizeof(uint32_t));
    a->tree = assign_part(work, &size, columns * sizeof(uint32_t));
    a->full = assign_part(work, &size, columns * sizeof(bool));

    a->label = assign_part(work, &size, nodes * sizeof(double));
    a->place = assign_part(work, &size, nodes * sizeof(uint32_t));
    a->heap = assign_part(work, &size, nodes * sizeof(uint32_t));

    *ret_size = (size_t) size;

    return size <= PTRDIFF_MAX && nodes < ASSIGN_DONE;
}


static void *
assign_part(char *work, assign_size_t *size, assign_size_t bytes)
{
    char  *part = work == NULL ? NULL : work + (size_t) *size;

    *size += (bytes + 15) / 16 * 16;

    return part;
}


/* The row's next piece. */
static void
assign_tell(assign_t *a, uint32_t row)
{
    size_t               at;
    uint32_t             count, more;
    coco_assign_piece_t  piece;

    count = a->count[row];
    at = (size_t) row * a->most + count;
    more = count == 0 ? ASSIGN_PIECE : count * (ASSIGN_MORE - 1);

    piece.cost = a->cost + at;
    piece.column = a->column + at;
    piece.count = 0;
    piece.max = more < a->most - count ? more : a->most - count;
    piece.limit = INFINITY;
    piece.after_cost = count == 0 ? -1 : a->cost[at - 1];
    piece.after_column = count == 0 ? 0 : a->column[at - 1];

    if (piece.max != 0) {
        a->source->tell(a->source->data, row, &piece);
    }

    a->count[row] = count + piece.count;
    a->told[row] = piece.count < piece.max
                   || (a->matrix == NULL && a->count[row] == a->most);

    coco_assign_sort(&piece);
}


/* Augmenting row reduction: each row without a column bids for its best one
 * what makes it as dear as the second best, and may take it from another. */
static void
assign_bids(assign_t *a)
{
    int       pass;
    uint32_t  row, next;
    uint64_t  bids;

    for (pass = 0; pass < ASSIGN_PASSES; pass++) {
        bids = (uint64_t) a->rows * ASSIGN_BIDS;

        for (row = 0; row < a->rows; row++) {
            next = a->taken[row] == COCO_ASSIGN_NONE ? row : COCO_ASSIGN_NONE;

            while (next != COCO_ASSIGN_NONE && bids-- > 0) {
                next = assign_bid(a, next);
            }

            if (bids == UINT64_MAX) {
                break;
            }
        }
    }
}


/* Returns the row that has lost its column, or NONE. A row that could not bid
 * more than another is left to the search. */
static uint32_t
assign_bid(assign_t *a, uint32_t row)
{
    uint32_t      holder;
    assign_bid_t  bid;

    assign_bid_choose(a, row, &bid);

    if (bid.column == COCO_ASSIGN_NONE) {
        return COCO_ASSIGN_NONE;
    }

    holder = a->holder[bid.column];

    if (holder != COCO_ASSIGN_NONE
        && (bid.second == bid.best || isinf(bid.second)))
    {
        return COCO_ASSIGN_NONE;
    }

    if (!isinf(bid.second)) {
        a->price[bid.column] -= bid.second - bid.best;
    }

    if (holder != COCO_ASSIGN_NONE) {
        a->taken[holder] = COCO_ASSIGN_NONE;
    }

    a->taken[row] = bid.column;
    a->paid[row] = bid.paid;
    a->holder[bid.column] = row;

    return holder;
}


/* Looks at no more of the row than it takes: what comes after an entry costs
 * no less, and no price makes it cheaper. */
static void
assign_bid_choose(assign_t *a, uint32_t row, assign_bid_t *bid)
{
    uint32_t         i, column;
    const double    *cost = a->cost + (size_t) row * a->most;
    const uint32_t  *columns = a->column + (size_t) row * a->most;

    bid->best = INFINITY;
    bid->second = INFINITY;
    bid->paid = 0;
    bid->column = COCO_ASSIGN_NONE;

    for (i = 0; i < a->count[row]; i++) {
        if (cost[i] >= bid->second) {
            return;
        }

        assign_bid_offer(a, bid, cost[i], columns[i]);

        if (i + 1 < a->count[row] || a->told[row]) {
            continue;
        }

        if (bid->best < cost[i]
            || (bid->best == cost[i]
                && a->holder[bid->column] == COCO_ASSIGN_NONE))
        {
            bid->second = fmin(bid->second, cost[i]);
            return;
        }

        if (a->matrix == NULL) {
            assign_tell(a, row);
            continue;
        }

        cost = a->matrix + (size_t) row * a->columns;
        bid->best = INFINITY;
        bid->second = INFINITY;

        for (column = 0; column < a->columns; column++) {
            assign_bid_offer(a, bid, cost[column], column);
        }

        return;
    }
}


/* Of equal ones that is chosen which nobody holds. */
static void
assign_bid_offer(const assign_t *a, assign_bid_t *bid, double cost,
    uint32_t column)
{
    double  net = cost - a->price[column];

    if (net < bid->best
        || (net == bid->best && net < INFINITY
            && a->holder[bid->column] != COCO_ASSIGN_NONE
            && a->holder[column] == COCO_ASSIGN_NONE))
    {
        bid->second = bid->best;
        bid->best = net;
        bid->column = column;
        bid->paid = cost;

    } else if (net < bid->second) {
        bid->second = net;
    }
}


/* The cheapest way to a free column, over columns that are not full; false:
 * there is none, and all that can be reached is in the tree. */
static bool
assign_search(assign_t *a, uint32_t start)
{
    double    label;
    uint32_t  node, column, row, i;

    a->bound = INFINITY;
    a->end = COCO_ASSIGN_NONE;
    memset(a->first, 0xff, a->rows * sizeof(*a->first));

    assign_look(a, start, 0);

    while (a->heap_count > 0 && a->label[a->heap[0]] < a->bound) {
        node = assign_heap_pop(a);

        if (node < a->rows) {
            assign_scan_more(a, node);
            continue;
        }

        column = node - a->rows;
        row = a->holder[column];
        a->tree[a->tree_count++] = column;

        assign_look(a, row,
                    a->label[node] - (a->paid[row] - a->price[column]));
    }

    if (a->end == COCO_ASSIGN_NONE) {
        return false;
    }

    for (i = 0; i < a->tree_count; i++) {
        column = a->tree[i];
        label = a->label[a->rows + column];
        a->price[column] += fmin(0, label - a->bound);
    }

    assign_path(a, a->end, start);

    return true;
}


/* At a row that the search has come to. */
static void
assign_look(assign_t *a, uint32_t row, double base)
{
    a->base[row] = base;

    if (assign_covered(a, row)) {
        return;
    }

    if (a->source->group != NULL) {
        a->first[a->source->group[row]] = row;
    }

    assign_scan(a, row, base, 0);
}


/* Does another row lead to all that this one leads to, and no dearer? */
static bool
assign_covered(const assign_t *a, uint32_t row)
{
    uint32_t                     first;
    const coco_assign_source_t  *source = a->source;

    if (source->group == NULL) {
        return false;
    }

    first = a->first[source->group[row]];

    return first != COCO_ASSIGN_NONE && first != row
           && a->base[first] <= a->base[row]
           && source->covers(source->data, first, row);
}


/* From the row's entry `first` on. */
static void
assign_scan(assign_t *a, uint32_t row, double base, uint32_t first)
{
    size_t    at = (size_t) row * a->most;
    uint32_t  i;

    for (i = first; i < a->count[row]; i++) {
        if (base + a->cost[at + i] >= a->bound) {
            return;
        }

        assign_reach(a, row, base + a->cost[at + i], a->column[at + i]);
    }

    if (!a->told[row]) {
        assign_heap_put(a, row, base + a->cost[at + i - 1]);
    }
}


/* What the row was not told yet. */
static void
assign_scan_more(assign_t *a, uint32_t row)
{
    double         base = a->base[row];
    uint32_t       i, k;
    const double  *cost;

    if (a->matrix == NULL) {
        i = a->count[row];
        assign_tell(a, row);
        assign_scan(a, row, base, i);
        return;
    }

    cost = a->matrix + (size_t) row * a->columns;

    for (i = 0; i < a->columns; i += ASSIGN_BLOCK) {
        i = a->skip(a, base, cost, i);

        for (k = i; k < i + ASSIGN_BLOCK && k < a->columns; k++) {
            assign_reach(a, row, base + cost[k], k);
        }
    }
}


/* From column i on: the first block of columns of which a label would be worth
 * to have, or the columns that make no block. Most of the time of a dense
 * matrix is spent here. */
static inline __attribute__((always_inline)) uint32_t
assign_skip_by(const assign_t *a, double base, const double *cost, uint32_t i)
{
    int                   k;
    assign_mask_t         worth;
    assign_four_t         label, bound, old;
    const assign_four_t  *costs, *prices, *labels;

    bound = (assign_four_t) { a->bound, a->bound, a->bound, a->bound };

    for ( /* void */ ; i + ASSIGN_BLOCK <= a->columns; i += ASSIGN_BLOCK) {
        costs = (const assign_four_t *) (cost + i);
        prices = (const assign_four_t *) (a->price + i);
        labels = (const assign_four_t *) (a->label + a->rows + i);
        worth = (assign_mask_t) { 0 };

        for (k = 0; k < ASSIGN_BLOCK / 4; k++) {
            label = costs[k] + base - prices[k];
            old = labels[k];
            worth |= (label < old) & (label < bound);
        }

        if (worth[0] | worth[1] | worth[2] | worth[3]) {
            break;
        }
    }

    return i;
}


static uint32_t
assign_skip(const assign_t *a, double base, const double *cost, uint32_t i)
{
    return assign_skip_by(a, base, cost, i);
}


#if defined(__x86_64__)

__attribute__((target("avx2"))) static uint32_t
assign_skip_avx2(const assign_t *a, double base, const double *cost,
    uint32_t i)
{
    return assign_skip_by(a, base, cost, i);
}

#endif


/* `label`: but for the price. */
static void
assign_reach(assign_t *a, uint32_t row, double label, uint32_t column)
{
    label -= a->price[column];

    if (label >= a->bound || a->full[column]) {
        return;
    }

    if (a->holder[column] == COCO_ASSIGN_NONE) {
        a->bound = label;
        a->end = column;
        a->from[column] = row;

    } else if (assign_heap_put(a, a->rows + column, label)) {
        a->from[column] = row;
    }
}


/* A row has to be left out: one of those that `start` reaches, at once or
 * through full columns. The label of leaving a row out is its base: its dual
 * is given back. Of equal ones the last is. */
static void
assign_crowd(assign_t *a, uint32_t start)
{
    double    label;
    uint32_t  i, node, column, row, entered;

    a->bound = 0;
    a->end = start;
    entered = a->tree_count;

    for (i = 0; i < entered; i++) {
        assign_push_out(a, a->holder[a->tree[i]]);
    }

    assign_crowd_scan(a, start);

    for (i = 0; i < entered; i++) {
        assign_crowd_scan(a, a->holder[a->tree[i]]);
    }

    while (a->heap_count > 0 && a->label[a->heap[0]] < a->bound) {
        node = assign_heap_pop(a);
        column = node - a->rows;
        row = a->holder[column];
        a->tree[a->tree_count++] = column;

        a->base[row] = a->label[node] - (a->paid[row] - a->price[column]);
        assign_push_out(a, row);
        assign_crowd_scan(a, row);
    }

    for (i = 0; i < a->tree_count; i++) {
        column = a->tree[i];
        label = a->label[a->rows + column];

        a->price[column] += i < entered ? label - a->bound
                                        : fmin(0, label - a->bound);
        a->full[column] = true;
        a->highest = fmax(a->highest, a->price[column]);
    }

    if (a->end != start) {
        column = a->taken[a->end];
        a->taken[a->end] = COCO_ASSIGN_NONE;
        assign_path(a, column, start);
    }
}


static void
assign_crowd_scan(assign_t *a, uint32_t row)
{
    size_t         at = (size_t) row * a->most;
    double         base = a->base[row];
    uint32_t       i;
    const double  *cost;

    if (assign_covered(a, row)) {
        return;
    }

    /* another one that covered it was looked at in its place */
    while (a->matrix == NULL && !a->told[row]) {
        assign_tell(a, row);
    }

    for (i = 0; i < a->count[row]; i++) {
        if (base + a->cost[at + i] - a->highest >= a->bound) {
            return;
        }

        assign_crowd_reach(a, row, base + a->cost[at + i], a->column[at + i]);
    }

    if (a->told[row]) {
        return;
    }

    cost = a->matrix + (size_t) row * a->columns;

    for (i = 0; i < a->columns; i++) {
        assign_crowd_reach(a, row, base + cost[i], i);
    }
}


static void
assign_crowd_reach(assign_t *a, uint32_t row, double label, uint32_t column)
{
    label -= a->price[column];

    if (label < a->bound && a->full[column]
        && assign_heap_put(a, a->rows + column, label))
    {
        a->from[column] = row;
    }
}


static void
assign_push_out(assign_t *a, uint32_t row)
{
    if (a->base[row] < a->bound
        || (a->base[row] == a->bound && row > a->end))
    {
        a->bound = a->base[row];
        a->end = row;
    }
}


/* Each row on the path takes the column that it led to. */
static void
assign_path(assign_t *a, uint32_t column, uint32_t start)
{
    uint32_t  row, next;

    do {
        row = a->from[column];
        next = a->taken[row];

        a->taken[row] = column;
        a->paid[row] = assign_cost(a, row, column);
        a->holder[column] = row;
        column = next;
    } while (row != start);
}


static double
assign_cost(const assign_t *a, uint32_t row, uint32_t column)
{
    size_t  i = (size_t) row * a->most;

    if (a->matrix != NULL) {
        return a->matrix[(size_t) row * a->columns + column];
    }

    while (a->column[i] != column) {
        i++;
    }

    return a->cost[i];
}


/* After a search: no node has a label. */
static void
assign_forget(assign_t *a)
{
    uint32_t  node;

    while (a->tree_count > 0) {
        node = a->rows + a->tree[--a->tree_count];
        a->label[node] = INFINITY;
        a->place[node] = ASSIGN_OUT;
    }

    while (a->heap_count > 0) {
        node = a->heap[--a->heap_count];
        a->label[node] = INFINITY;
        a->place[node] = ASSIGN_OUT;
    }
}


/* True if the label is lower than the node's, which is not done yet. */
static bool
assign_heap_put(assign_t *a, uint32_t node, double label)
{
    if (label >= a->label[node] || a->place[node] == ASSIGN_DONE) {
        return false;
    }

    a->label[node] = label;

    if (a->place[node] == ASSIGN_OUT) {
        a->place[node] = a->heap_count;
        a->heap[a->heap_count++] = node;
    }

    assign_heap_up(a, a->place[node]);

    return true;
}


static uint32_t
assign_heap_pop(assign_t *a)
{
    uint32_t  node = a->heap[0];

    /* a row may come again when it was told more */
    if (node < a->rows) {
        a->place[node] = ASSIGN_OUT;
        a->label[node] = INFINITY;

    } else {
        a->place[node] = ASSIGN_DONE;
    }

    if (--a->heap_count > 0) {
        a->heap[0] = a->heap[a->heap_count];
        assign_heap_down(a, 0);
    }

    return node;
}


static bool
assign_heap_before(const assign_t *a, uint32_t x, uint32_t y)
{
    double  label = a->label[x], than = a->label[y];

    return label < than || (label == than && x < y);
}


static void
assign_heap_up(assign_t *a, uint32_t i)
{
    uint32_t  node = a->heap[i], parent;

    for ( /* void */ ; i > 0; i = parent) {
        parent = (i - 1) / 2;

        if (!assign_heap_before(a, node, a->heap[parent])) {
            break;
        }

        a->heap[i] = a->heap[parent];
        a->place[a->heap[i]] = i;
    }

    a->heap[i] = node;
    a->place[node] = i;
}


static void
assign_heap_down(assign_t *a, uint32_t i)
{
    uint32_t  node = a->heap[i], child;

    for ( /* void */ ; (child = 2 * i + 1) < a->heap_count; i = child) {
        if (child + 1 < a->heap_count
            && assign_heap_before(a, a->heap[child + 1], a->heap[child]))
        {
            child++;
        }

        if (!assign_heap_before(a, a->heap[child], node)) {
            break;
        }

        a->heap[i] = a->heap[child];
        a->place[a->heap[i]] = i;
    }

    a->heap[i] = node;
    a->place[node] = i;
}
