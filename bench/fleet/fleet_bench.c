/*
 * Nanoseconds per search, change and look-up of a fleet index, in fleets of
 * several sizes and shapes; of CPU time, so that a busy machine disturbs less.
 * Usage: fleet_bench [ROBOTS...]
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coco_fleet_index.h"


#define ROUNDS    5
#define QUERIES   20000
#define NOW       INT64_C(1795000000000)
#define CITY      0.05           /* degrees around its middle: 11 km across */
#define BLOCK     0.0005         /* 110 m */
#define ABROAD    20000.0        /* m: who is farther is not asked for */

typedef struct {
    const char  *name;
    double       degrees;        /* of the robots, around the middle */
    double       away;           /* degrees that the queries are off */
} shape_t;

static const shape_t  shapes[] = {
    { "a city, asked within", CITY, 0 },
    { "a city, asked 3 km outside", CITY, 2 * CITY },
    { "a city, asked over 20 km outside", CITY, 6 * CITY },
    { "one block, asked within", BLOCK, 0 },
    { "the world, asked anywhere", 80, 0 },
};

static uint64_t  random_state = 88172645463325252u;
static double    sink;           /* keeps the compiler from dropping the work */


static double
random_within(double degrees)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return ((double) (random_state >> 11) / 4503599627370496.0 - 1) * degrees;
}


static double
now_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static void
robot_put(coco_fleet_index_t *index, uint32_t robot, double degrees,
    int64_t at)
{
    int                  len;
    char                 serial[32];
    coco_supply_state_t  state = {
        .parts = COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS,
        .telemetry = {
            .order = { .order_ms = at, .ts = at },
            .latitude_e7 = (int32_t) (random_within(degrees) * COCO_DEGREE_E7),
            .longitude_e7 = (int32_t) (random_within(degrees) * 2
                                       * COCO_DEGREE_E7),
            .battery_percent = 90,
            .healthy = true
        },
        .business = { .operation_state = COCO_STATE_PARKED,
                      .driveable = COCO_TRUE }
    };

    len = snprintf(serial, sizeof(serial), "coco-robot-%u", robot);

    if (coco_fleet_index_put(index, (coco_str_t) { serial, (size_t) len },
                             &state, at) == COCO_ERROR)
    {
        fprintf(stderr, "fleet_bench: there is no room\n");
        exit(1);
    }
}


/* As a quote does it: the nearest. */
static double
nearest_visit(void *data, uint32_t robot, double meters)
{
    double  *nearest = data;

    if (meters < *nearest) {
        *nearest = meters;
    }

    return *nearest;
}


static double
search_ns(const coco_fleet_index_t *index, const shape_t *shape)
{
    int     round, i;
    double  began, took, nearest, best = INFINITY;

    for (round = 0; round < ROUNDS; round++) {
        began = now_ns();

        for (i = 0; i < QUERIES; i++) {
            nearest = INFINITY;
            coco_fleet_index_near(index,
                                  random_within(shape->degrees) + shape->away,
                                  random_within(shape->degrees) * 2,
                                  ABROAD, nearest_visit, &nearest);
            sink += isfinite(nearest) ? nearest : 0;
        }

        took = (now_ns() - began) / QUERIES;
        best = took < best ? took : best;
    }

    return best;
}


static double
find_ns(const coco_fleet_index_t *index, uint32_t robots)
{
    int     i, len;
    char    serial[32];
    double  began = now_ns();

    for (i = 0; i < QUERIES; i++) {
        len = snprintf(serial, sizeof(serial), "coco-robot-%u",
                       (uint32_t) i * 7919u % robots);
        sink += coco_fleet_index_find(index,
                                      (coco_str_t) { serial, (size_t) len });
    }

    return (now_ns() - began) / QUERIES;
}


static void
fleet_measure(uint32_t robots, const shape_t *shape)
{
    void                 *block;
    double                began, filled, changed, swept;
    size_t                size = coco_fleet_index_size(robots);
    uint32_t              i;
    coco_fleet_index_t   *index;
    coco_supply_rules_t   rules = { 60000, 20 };

    block = aligned_alloc(64, (size + 63) & ~(size_t) 63);
    if (block == NULL) {
        perror("fleet_bench");
        exit(1);
    }

    coco_fleet_index_init(block, robots, &rules);
    index = block;

    began = now_ns();
    for (i = 0; i < robots; i++) {
        robot_put(index, i, shape->degrees, NOW);
    }
    filled = (now_ns() - began) / robots;

    began = now_ns();
    for (i = 0; i < robots; i++) {
        robot_put(index, (uint32_t) ((uint64_t) i * 7919 % robots),
                  shape->degrees, NOW + 1000);
    }
    changed = (now_ns() - began) / robots;

    printf("%7u robots, %-32s search %7.0f  find %4.0f  add %5.0f  "
           "move %5.0f", robots, shape->name, search_ns(index, shape),
           find_ns(index, robots), filled, changed);

    began = now_ns();
    coco_fleet_index_sweep(index, NOW + 100000, robots);
    swept = (now_ns() - began) / robots;
    printf("  sweep %5.0f\n", swept);

    free(block);
}


int
main(int argc, char **argv)
{
    int       i;
    size_t    s;
    uint32_t  sizes[16] = { 1000, 10000, 100000 };
    int       count = 3;

    if (argc > 1) {
        count = argc - 1 < 16 ? argc - 1 : 16;

        for (i = 0; i < count; i++) {
            sizes[i] = (uint32_t) strtoul(argv[i + 1], NULL, 10);
        }
    }

    printf("bytes for a robot: %zu; times in ns\n",
           coco_fleet_index_size(2) - coco_fleet_index_size(1));

    for (s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        for (i = 0; i < count; i++) {
            fleet_measure(sizes[i], &shapes[s]);
        }
    }

    return sink == 0;
}
