/*
 * Random fleets, changed at random while time passes, against a list that is
 * searched from end to end: what is found, counted, usable and near must be
 * the same; and every link of the index must hold.
 *
 * COCO_TEST_SEED=n makes other fleets than those of every run.
 */

#include "core_test.h"
#include "core_fleet.h"


#define RUNS         210         /* a multiple of the shapes */
#define STEPS        600
#define ROBOTS_MAX   300
#define LOOK_EVERY   20
#define MERGE_RUNS   300
#define MERGE_MAX    24

/* The naive one. */
typedef struct {
    uint32_t             capacity, count;
    int64_t              now;
    uint32_t             numbers[ROBOTS_MAX + 1];    /* by coming: the name's */
    coco_supply_state_t  states[ROBOTS_MAX + 1];
} model_t;

/* What was visited. `keep` is how many nearest ones are wanted: the bound that
 * is returned is the farthest of so many; 0: the bound stays. */
typedef struct {
    double    latitude, longitude;
    double    bound;
    size_t    keep, count;
    double    meters[ROBOTS_MAX + 1];                /* sorted, if keep */
    bool      visited[ROBOTS_MAX + 1];
    bool      twice, wrong_distance;

    const coco_fleet_index_t  *index;
} visit_t;

static uint64_t  seed;
static size_t    visits_made, usable_seen;


static bool
states_equal(const coco_supply_state_t *a, const coco_supply_state_t *b)
{
    unsigned  parts = a->parts;

    return parts == b->parts
           && (!(parts & COCO_SUPPLY_TELEMETRY)
               || (coco_order_compare(&a->telemetry.order,
                                      &b->telemetry.order) == 0
                   && a->telemetry.latitude_e7 == b->telemetry.latitude_e7
                   && a->telemetry.longitude_e7 == b->telemetry.longitude_e7))
           && (!(parts & COCO_SUPPLY_BUSINESS)
               || (a->business.changed_at == b->business.changed_at
                   && a->business.has_food == b->business.has_food))
           && (!(parts & COCO_SUPPLY_DEMAND)
               || (a->demand.version == b->demand.version
                   && a->demand.held_until == b->demand.held_until))
           && (!(parts & COCO_SUPPLY_LID)
               || (a->lid.at == b->lid.at && a->lid.open == b->lid.open));
}


static double
distance_to(const coco_supply_state_t *state, const visit_t *v)
{
    return coco_distance_meters(v->latitude, v->longitude,
                                state->telemetry.latitude_e7 / 1e7,
                                state->telemetry.longitude_e7 / 1e7);
}


static double
visit(void *data, uint32_t robot, double meters)
{
    size_t    i;
    visit_t  *v = data;

    v->twice |= v->visited[robot];
    v->visited[robot] = true;
    v->wrong_distance |=
        meters != distance_to(coco_fleet_index_state(v->index, robot), v);

    for (i = v->count++; i > 0 && v->meters[i - 1] > meters; i--) {
        v->meters[i] = v->meters[i - 1];
    }

    v->meters[i] = meters;

    if (v->keep > 0 && v->count >= v->keep) {
        v->bound = fmin(v->bound, v->meters[v->keep - 1]);
    }

    return v->bound;
}


static bool
model_usable(const model_t *model, uint32_t robot)
{
    return coco_supply_reasons(&model->states[robot], &fleet_rules,
                               model->now, NULL) == 0;
}


static void
near_is_the_models(const model_t *model, const coco_fleet_index_t *index,
    fleet_shape_e shape)
{
    bool      usable;
    double    bound, meters;
    int32_t   latitude, longitude;
    visit_t   v = { .index = index };
    uint32_t  robot;

    static const double  bounds[] = {
        -1, 0, 1, 30, 1000, 2e4, 1e6, 1.2e7, 2.1e7, INFINITY
    };

    fleet_random_place(fleet_random(4) ? shape : FLEET_WORLD, &latitude,
                       &longitude);
    v.latitude = latitude / 1e7;
    v.longitude = longitude / 1e7;
    v.keep = fleet_random(4);
    v.bound = bound = bounds[fleet_random(sizeof(bounds) / sizeof(bounds[0]))];

    coco_fleet_index_near(index, v.latitude, v.longitude, bound, visit, &v);

    assert_false(v.twice);
    assert_false(v.wrong_distance);
    visits_made += v.count;

    for (robot = 0; robot < model->count; robot++) {
        usable = model_usable(model, robot);
        meters = distance_to(&model->states[robot], &v);
        usable_seen += usable;

        if (usable && meters <= v.bound) {
            assert_true(v.visited[robot]);

        } else if (!usable || meters > bound) {
            assert_false(v.visited[robot]);
        }
    }
}


static void
index_is_the_models(const model_t *model, const coco_fleet_index_t *index)
{
    int             r;
    char            buf[COCO_SERIAL_MAX];
    uint32_t        robot, usable, counts[COCO_REASONS_STANDING];
    uint32_t        model_usable = 0;
    const char     *wrong = fleet_wrong(index);
    coco_str_t      serial;
    coco_reasons_t  reasons;
    uint32_t        model_counts[COCO_REASONS_STANDING] = { 0 };

    if (wrong != NULL) {
        fail_msg("does not hold: %s", wrong);
    }

    assert_int_equal(coco_fleet_index_count(index), model->count);

    for (robot = 0; robot < model->count; robot++) {
        serial = fleet_serial(model->numbers[robot], buf);
        assert_int_equal(coco_fleet_index_find(index, serial), robot);
        assert_true(coco_str_equal(coco_fleet_index_serial(index, robot),
                                   serial));
        assert_true(states_equal(coco_fleet_index_state(index, robot),
                                 &model->states[robot]));

        reasons = coco_supply_reasons(&model->states[robot], &fleet_rules,
                                      model->now, NULL);
        model_usable += reasons == 0;

        for (r = 0; r < COCO_REASONS_STANDING; r++) {
            model_counts[r] += (reasons >> r) & 1;
        }
    }

    coco_fleet_index_counts(index, counts, &usable);
    assert_int_equal(usable, model_usable);
    assert_memory_equal(counts, model_counts, sizeof(counts));
}


static void
sweep_until_done(const model_t *model, coco_fleet_index_t *index)
{
    int64_t   next;
    uint32_t  max = 1 + (uint32_t) fleet_random(50);

    do {
        next = coco_fleet_index_sweep(index, model->now, max);
    } while (next <= model->now);
}


static void
put(model_t *model, coco_fleet_index_t *index, fleet_shape_e shape)
{
    int                   newer;
    char                  buf[COCO_SERIAL_MAX];
    unsigned              expected;
    uint32_t              robot, number;
    coco_supply_state_t   from, *to;

    number = (uint32_t) fleet_random(model->capacity + 10);
    from = fleet_random_state_of(shape, model->now);

    for (robot = 0; robot < model->count; robot++) {
        if (model->numbers[robot] == number) {
            break;
        }
    }

    newer = coco_fleet_index_put(index, fleet_serial(number, buf), &from,
                                 model->now);

    if (robot == model->capacity) {
        assert_int_equal(newer, COCO_ERROR);
        return;
    }

    to = &model->states[robot];

    if (robot == model->count) {
        to->parts = 0;

        if (from.parts != 0) {
            model->numbers[robot] = number;
            model->count++;
        }
    }

    expected = coco_supply_merge(to, &from);
    assert_int_equal(newer, (int) expected);
}


static void
random_fleets_are_the_models(void **state)
{
    int                  run, step;
    model_t              model;
    fleet_shape_e        shape;
    coco_fleet_index_t  *index;

    for (run = 0; run < RUNS; run++) {
        fleet_random_seed(seed + (uint64_t) run);
        shape = (fleet_shape_e) (run % FLEET_SHAPES);

        model = (model_t) {
            .capacity = 1 + (uint32_t) fleet_random(ROBOTS_MAX),
            .now = FLEET_NOW
        };
        index = fleet_create(model.capacity);

        for (step = 0; step < STEPS; step++) {
            put(&model, index, shape);

            if (fleet_random(4) == 0) {
                model.now += (int64_t) fleet_random(4000);
                sweep_until_done(&model, index);
                near_is_the_models(&model, index, shape);
            }

            if (step % LOOK_EVERY == 0) {
                sweep_until_done(&model, index);
                index_is_the_models(&model, index);
            }
        }

        free(index);
    }

    print_message("seed %llu: %d fleets, %zu usable robots near, %zu of them "
                  "visited\n", (unsigned long long) seed, RUNS, usable_seen,
                  visits_made);
    assert_true(visits_made > 0 && visits_made < usable_seen);
}


/* Time alone, without a write, to the end. */
static void
silent_fleet_goes_offline(void **state)
{
    char                 buf[COCO_SERIAL_MAX];
    int64_t              now = FLEET_NOW, next = FLEET_NOW;
    uint32_t             i, usable, counts[COCO_REASONS_STANDING];
    coco_fleet_index_t  *index = fleet_create(ROBOTS_MAX);
    coco_supply_state_t  robot;

    fleet_random_seed(seed);

    for (i = 0; i < ROBOTS_MAX; i++) {
        robot = fleet_random_state_of(FLEET_CITY, now);
        robot.parts |= COCO_SUPPLY_TELEMETRY;
        coco_fleet_index_put(index, fleet_serial(i, buf), &robot, now);
    }

    while (next != INT64_MAX) {
        assert_true(next >= now);
        now = next;
        next = coco_fleet_index_sweep(index, now, 7);
        assert_null(fleet_wrong(index));
    }

    assert_true(now > FLEET_NOW && now <= FLEET_NOW + 60001);
    coco_fleet_index_counts(index, counts, &usable);
    assert_int_equal(usable, 0);
    assert_int_equal(counts[COCO_REASON_OFFLINE], ROBOTS_MAX);
    assert_int_equal(counts[COCO_REASON_HELD], 0);
    free(index);
}


/* The same parts in two orders, some of them twice. */
static void
any_order_of_parts_is_the_same(void **state)
{
    int                   run;
    size_t                i, j, count;
    coco_str_t            serial = coco_string("R-1");
    coco_fleet_index_t   *index[2];
    coco_supply_state_t   parts[MERGE_MAX], swap;

    for (run = 0; run < MERGE_RUNS; run++) {
        fleet_random_seed(seed + (uint64_t) run);
        count = 1 + fleet_random(MERGE_MAX);
        index[0] = fleet_create(1);
        index[1] = fleet_create(1);

        for (i = 0; i < count; i++) {
            parts[i] = fleet_random_state_of(FLEET_WORLD, FLEET_NOW);
            parts[i].parts |= 1u << fleet_random(4);
            coco_fleet_index_put(index[0], serial, &parts[i], FLEET_NOW);
        }

        for (i = 0; i < count; i++) {
            j = i + fleet_random(count - i);
            swap = parts[i];
            parts[i] = parts[j];
            parts[j] = swap;

            coco_fleet_index_put(index[1], serial, &parts[i], FLEET_NOW);
            coco_fleet_index_put(index[1], serial, &parts[fleet_random(i + 1)],
                                 FLEET_NOW);
        }

        assert_true(states_equal(coco_fleet_index_state(index[0], 0),
                                 coco_fleet_index_state(index[1], 0)));
        free(index[0]);
        free(index[1]);
    }
}


/* The look at the links sees each kind of damage. */
static void
damage_is_seen(void **state)
{
    char                  buf[COCO_SERIAL_MAX];
    uint32_t              i, *array;
    coco_fleet_index_t   *index = fleet_create(ROBOTS_MAX);
    coco_supply_state_t   robot;

    fleet_random_seed(seed);

    for (i = 0; i < ROBOTS_MAX; i++) {
        robot = fleet_random_state_of(FLEET_CITY, FLEET_NOW);
        robot.parts = 15;
        coco_fleet_index_put(index, fleet_serial(i, buf), &robot, FLEET_NOW);
    }

    assert_null(fleet_wrong(index));
    assert_true(index->usable > 0);

    for (i = 0; fleet_records(index)[i].reasons != 0; i++) { /* void */ }

    fleet_points(index)[i].x ^= 1;
    assert_non_null(fleet_wrong(index));
    fleet_points(index)[i].x ^= 1;

    index->counts[COCO_REASON_HELD]++;
    assert_non_null(fleet_wrong(index));
    index->counts[COCO_REASON_HELD]--;

    array = fleet_array(index, FLEET_NODE_COUNTS);
    array[0]++;
    assert_non_null(fleet_wrong(index));
    array[0]--;

    array = fleet_array(index, FLEET_HEAP_PLACES);
    array[0] ^= 1;
    assert_non_null(fleet_wrong(index));
    array[0] ^= 1;

    index->nodes_used++;
    assert_non_null(fleet_wrong(index));
    index->nodes_used--;

    assert_null(fleet_wrong(index));
    free(index);
}


int
main(void)
{
    const char  *text = getenv("COCO_TEST_SEED");

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(random_fleets_are_the_models),
        cmocka_unit_test(silent_fleet_goes_offline),
        cmocka_unit_test(any_order_of_parts_is_the_same),
        cmocka_unit_test(damage_is_seen)
    };

    seed = text != NULL ? strtoull(text, NULL, 10) : 1;

    return cmocka_run_group_tests_name("fleet index against a model", tests,
                                       NULL, NULL);
}
