/*
 * Assignments against all permutations of small matrices, to the last bit of
 * work space that was asked for. Larger ones are held against scipy, see
 * tests/planner.
 */

#include <math.h>

#include "core_test.h"
#include "coco_assign.h"
#include "coco_assign_rows.h"

#define RUNS   20000
#define SMALL  6           /* rows and columns */
#define WIDE   300

typedef struct {
    uint32_t  served;
    double    total;
} best_t;

static uint64_t  random_state = 88172645463325252ULL;


static uint32_t
random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return (uint32_t) (random_state >> 33) % n;
}


static void
random_cost(double *cost, uint32_t cells, uint32_t kind)
{
    uint32_t  i;

    for (i = 0; i < cells; i++) {
        cost[i] = kind % 2 ? random_below(4) : random_below(1000000) / 7.0;

        if (kind >= 2 && random_below(3) < kind - 1) {
            cost[i] = INFINITY;
        }
    }
}


static void
brute(const double *cost, uint32_t rows, uint32_t columns, uint32_t row,
    unsigned used, best_t now, best_t *best)
{
    double    c;
    uint32_t  i;

    if (row == rows) {
        if (now.served > best->served
            || (now.served == best->served && now.total < best->total))
        {
            *best = now;
        }

        return;
    }

    for (i = 0; i < columns; i++) {
        c = cost[row * columns + i];

        if (!(used & (1u << i)) && !isinf(c)) {
            brute(cost, rows, columns, row + 1, used | 1u << i,
                  (best_t) { now.served + 1, now.total + c }, best);
        }
    }

    brute(cost, rows, columns, row + 1, used, now, best);
}


/* Work space of exactly the size, so that the sanitizers see its end. */
static best_t
solve(const double *cost, uint32_t rows, uint32_t columns, uint32_t *ret)
{
    void     *work = malloc(coco_assign_size(rows, columns));
    best_t    found = { 0, 0 };
    uint32_t  i, k, served;

    assert_non_null(work);
    served = coco_assign(cost, rows, columns, work, ret);
    free(work);

    for (i = 0; i < rows; i++) {
        if (ret[i] == COCO_ASSIGN_NONE) {
            continue;
        }

        assert_true(ret[i] < columns);
        found.served++;
        found.total += cost[(size_t) i * columns + ret[i]];

        for (k = 0; k < i; k++) {
            assert_true(ret[i] != ret[k]);
        }
    }

    assert_int_equal(found.served, served);
    assert_false(isinf(found.total));

    return found;
}


static void
small_ones_are_those_of_all_permutations(void **state)
{
    double    cost[SMALL * SMALL];
    best_t    best, found;
    uint32_t  run, rows, columns, ret[SMALL];

    for (run = 0; run < RUNS; run++) {
        rows = 1 + random_below(SMALL);
        columns = 1 + random_below(SMALL);
        random_cost(cost, rows * columns, run % 4);

        best = (best_t) { 0, 0 };
        brute(cost, rows, columns, 0, 0, best, &best);
        found = solve(cost, rows, columns, ret);

        assert_int_equal(found.served, best.served);
        assert_float_equal(found.total, best.total, 1e-6);
    }
}


/* The whole numbers are large: no digit may be lost to what stands for
 * infinity. Who is left out matters by one. */
static void
one_more_row_outweighs_any_cost(void **state)
{
    uint32_t      ret[3];
    best_t        found;
    const double  cost[] = {
        1e15,     1e15 + 2, INFINITY,
        INFINITY, 1e15 + 1, INFINITY,
        INFINITY, 1e15,     INFINITY
    };

    found = solve(cost, 3, 3, ret);
    assert_int_equal(found.served, 2);
    assert_true(found.total == 2e15);
    assert_int_equal(ret[1], COCO_ASSIGN_NONE);
}


static void
of_equal_ones_the_first_are_served_in_order(void **state)
{
    double    cost[WIDE * WIDE];
    uint32_t  i, ret[WIDE];

    for (i = 0; i < WIDE * WIDE; i++) {
        cost[i] = 3;
    }

    assert_int_equal(solve(cost, WIDE, WIDE, ret).served, WIDE);

    for (i = 0; i < WIDE; i++) {
        assert_int_equal(ret[i], i);
    }
}


/* What a row would be told of all its columns, in pieces. */
static void
tell(void *data, uint32_t row, coco_assign_piece_t *piece)
{
    uint32_t       i;
    const double  *cost = data;

    for (i = 0; i < WIDE; i++) {
        coco_assign_offer(piece, cost[row * WIDE + i], i);
    }
}


static void
pieces_come_to_the_same_as_the_matrix(void **state)
{
    void     *work;
    double    cost[WIDE * WIDE], total;
    best_t    best;
    uint32_t  run, rows, i, ret[WIDE];

    coco_assign_source_t  source;

    for (run = 0; run < 40; run++) {
        rows = 1 + random_below(WIDE);
        random_cost(cost, WIDE * WIDE, run % 4);
        best = solve(cost, rows, WIDE, ret);

        work = malloc(coco_assign_rows_size(rows, WIDE, false));
        assert_non_null(work);
        source = (coco_assign_source_t) { .tell = tell, .data = cost };
        assert_int_equal(coco_assign_rows(&source, rows, WIDE, work, ret),
                         best.served);
        free(work);

        for (i = 0, total = 0; i < rows; i++) {
            total += ret[i] == COCO_ASSIGN_NONE ? 0 : cost[i * WIDE + ret[i]];
        }

        assert_float_equal(total, best.total, best.total * 1e-12);
    }
}


static void
sizes_are_told_or_refused(void **state)
{
    uint32_t  none = 0;

    assert_true(coco_assign_size(0, 0) > 0);
    assert_int_equal(solve(NULL, 0, 5, &none).served, 0);
    assert_int_equal(solve(NULL, 1, 0, &none).served, 0);
    assert_int_equal(none, COCO_ASSIGN_NONE);
    assert_true(coco_assign_size(2000, 10000) < 4 << 20);
    assert_int_equal(coco_assign_size(UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(coco_assign_size(UINT32_MAX, 1), 0);
    assert_int_equal(coco_assign_size(3000000000, 1000000000), 0);
    assert_int_equal(coco_assign_rows_size(2000000000, 2000000000, false), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(small_ones_are_those_of_all_permutations),
        cmocka_unit_test(one_more_row_outweighs_any_cost),
        cmocka_unit_test(of_equal_ones_the_first_are_served_in_order),
        cmocka_unit_test(pieces_come_to_the_same_as_the_matrix),
        cmocka_unit_test(sizes_are_told_or_refused)
    };

    return cmocka_run_group_tests_name("assign", tests, NULL, NULL);
}
