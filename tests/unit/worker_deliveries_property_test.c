/*
 * The deliveries service in every disorder: never a load without a close, nor
 * two loads for one delivery, and the same end as in order.
 */

#include "worker_deliveries.h"


/*
 * Many deliveries of a few robots, one after the other, as pilots and
 * merchants make them: a robot departs only when its delivery says so. What
 * messages tell of a leg comes shuffled, doubled, and much of it once more in
 * any later leg, when the robot's next delivery may be there.
 */

#define RUNS     2000
#define ROBOTS   3
#define ROUNDS   3                      /* deliveries of each robot */
#define ALL      (ROBOTS * ROUNDS)
#define STORIES  (ALL * 16)

/* A message: a close, or with a delivery an arrival. */
typedef struct {
    coco_lid_close_t        close;
    char                    reference[COCO_ID_TEXT_LEN];
    int                     arrives;    /* index of the delivery; -1: none */
    coco_delivery_event_e   event;
    int64_t                 at;
} test_story_t;

typedef struct {
    coco_delivery_record_t  records[ALL];
    size_t                  loads[ALL], arrivals[ALL], completions[ALL];
    size_t                  anomalies;
    uint32_t                merchant[ALL];  /* the first cycle of its loading,
                                               and one more */
    test_story_t            stories[STORIES];
    size_t                  story_count;
    bool                    forgetful;  /* events that came count again */
    coco_id_t               seen[STORIES];
    size_t                  seen_count;
    uint32_t                cycles;
    int64_t                 clock;
} test_world_t;

static const coco_str_t  test_serials[ROBOTS] = {
    coco_string("r-1"), coco_string("r-2"), coco_string("r-3")
};

static uint32_t  test_random_state;


/* xorshift */
static uint32_t
test_random(uint32_t below)
{
    test_random_state ^= test_random_state << 13;
    test_random_state ^= test_random_state >> 17;
    test_random_state ^= test_random_state << 5;

    return test_random_state % below;
}


static void
test_tell_cycle(test_world_t *world, int n, coco_lid_source_e source)
{
    uint32_t       cycle = ++world->cycles;
    test_story_t  *story;

    for (int complete = 0; complete < 2; complete++) {
        story = &world->stories[world->story_count++];
        story->arrives = -1;
        story->close = test_close(cycle, source, complete);
        story->close.serial = world->records[n].serial;
        story->close.closed_at = world->clock + 10;

        if (source == COCO_SOURCE_QR || source == COCO_SOURCE_PIN
            || source == COCO_SOURCE_PINLESS)
        {
            story->close.data.reference
                = test_reference(story->reference, (uint32_t) n + 1);
        }
    }
}


static void
test_tell_arrival(test_world_t *world, int n, coco_delivery_event_e event)
{
    test_story_t  *story = &world->stories[world->story_count++];

    story->arrives = n;
    story->event = event;
    story->at = world->clock;
}


static bool
test_seen(test_world_t *world, const coco_id_t *id)
{
    for (size_t i = 0; i < world->seen_count && !world->forgetful; i++) {
        if (memcmp(&world->seen[i], id, sizeof(*id)) == 0) {
            return true;
        }
    }

    if (!world->forgetful) {
        world->seen[world->seen_count++] = *id;
    }

    return false;
}


static void
test_hear(test_world_t *world, const test_story_t *story)
{
    size_t                  n;
    coco_delivery_effect_t  effect;

    if (story->arrives >= 0) {
        coco_service_deliveries_arrival(&world->records[story->arrives],
                                        story->event, story->at, &effect);

    } else if (test_seen(world, &story->close.id)) {
        return;

    } else {
        coco_service_deliveries_close(world->records, ALL, &story->close,
                                      world->clock, &effect);
    }

    world->anomalies += effect.anomaly != COCO_ANOMALY_NONE;

    for (int k = 0; k < 2 && effect.to[k] != COCO_DELIVERY_NONE; k++) {
        n = (size_t) (effect.delivery - world->records);
        world->loads[n] += effect.to[k] == COCO_DELIVERY_LOADED;
        world->arrivals[n] += effect.to[k] == COCO_DELIVERY_AT_PICKUP
                              || effect.to[k] == COCO_DELIVERY_AT_DROPOFF;
        world->completions[n] += effect.to[k] == COCO_DELIVERY_COMPLETED;
    }
}


/* The stories from `first` on, doubled and shuffled, old ones among them. */
static void
test_hear_leg(test_world_t *world, size_t first)
{
    size_t   count = 0, at;
    uint32_t swap, order[STORIES * 3];

    for (size_t i = 0; i < world->story_count; i++) {
        if (i >= first || test_random(4) == 0) {
            order[count++] = (uint32_t) i;
        }

        if (i >= first && test_random(2) == 0) {
            order[count++] = (uint32_t) i;
        }
    }

    for (size_t i = count; i > 1; i--) {
        at = test_random((uint32_t) i);
        swap = order[at];
        order[at] = order[i - 1];
        order[i - 1] = swap;
    }

    for (size_t i = 0; i < count; i++) {
        test_hear(world, &world->stories[order[i]]);
    }
}


static void
test_leg(test_world_t *world, int round, bool pickup)
{
    int                      n;
    size_t                   first = world->story_count;
    coco_delivery_record_t  *r;

    static const coco_lid_source_e  merchants[] = {
        COCO_SOURCE_NONE, COCO_SOURCE_QR, COCO_SOURCE_MAGIC_LID,
        COCO_SOURCE_PINLESS, COCO_SOURCE_PIN, COCO_SOURCE_RESYNC
    };

    for (int robot = 0; robot < ROBOTS; robot++) {
        n = round * ROBOTS + robot;
        r = &world->records[n];
        world->clock += 1000;

        if (pickup) {
            r->serial = test_serials[robot];
            r->created_at = world->clock;
            r->status = COCO_DELIVERY_ENROUTE_TO_PICKUP;
            world->merchant[n] = world->cycles + 1;

        } else {
            r->status = coco_delivery_transitions[r->status]
                                                 [COCO_DELIVERY_DEPART];
        }

        test_tell_arrival(world, n, pickup ? COCO_DELIVERY_ARRIVE_PICKUP
                                           : COCO_DELIVERY_ARRIVE_DROPOFF);
        test_tell_cycle(world, n, merchants[test_random(6)]);

        if (pickup) {
            /* looks again whether the bag stands well; and an operator */
            test_tell_cycle(world, n, merchants[test_random(6)]);
            test_tell_cycle(world, n, COCO_SOURCE_OPERATOR);
        }
    }

    test_hear_leg(world, first);
}


/* What is wrong with it; NULL: nothing. */
static const char *
test_wrong(const test_world_t *world, int n)
{
    coco_id_t                      a, b;
    const coco_delivery_record_t  *r = &world->records[n];

    a = test_id(world->merchant[n]);
    b = test_id(world->merchant[n] + 1);

    return r->status != COCO_DELIVERY_COMPLETED ? "is not completed"
        : world->loads[n] != 1 ? "is not loaded once"
        : world->completions[n] != 1 ? "is not completed once"
        : world->arrivals[n] > 2 ? "arrives too often"
        : !r->loaded_here || !(test_same(r->loaded_cycle, a)
                               || test_same(r->loaded_cycle, b))
          ? "is loaded by what was no close of its merchant's" : NULL;
}


/* How many deliveries have come to something else. */
static size_t
test_runs(bool forgetful, uint32_t *ret_events)
{
    size_t               wrong = 0;
    const char          *what;
    static test_world_t  world;

    *ret_events = 0;

    for (uint32_t run = 0; run < RUNS; run++) {
        test_random_state = 20261122 + run;
        memset(&world, 0, sizeof(world));
        world.forgetful = forgetful;
        world.clock = NOW;

        for (int n = 0; n < ALL; n++) {
            world.records[n] = test_record((uint32_t) n + 1,
                                           COCO_DELIVERY_CREATED);
            world.records[n].serial = (coco_str_t) { NULL, 0 };
        }

        for (int leg = 0; leg < 2 * ROUNDS; leg++) {
            test_leg(&world, leg / 2, leg % 2 == 0);
        }

        *ret_events += (uint32_t) world.story_count;

        if (world.anomalies != 0 && !forgetful) {
            fail_msg("seed %u: %zu anomalies", 20261122 + run,
                     world.anomalies);
        }

        for (int n = 0; n < ALL; n++) {
            what = test_wrong(&world, n);
            wrong += what != NULL;

            if (what != NULL && !forgetful) {
                fail_msg("seed %u: delivery %d %s", 20261122 + run, n, what);
            }
        }
    }

    return wrong;
}


static void
many_deliveries_in_every_disorder_end_alike(void **state)
{
    size_t    wrong;
    uint32_t  events;

    assert_int_equal(test_runs(false, &events), 0);

    /* the check can fail: without a memory of events, some go wrong */
    wrong = test_runs(true, &events);
    assert_true(wrong > 0);

    printf("seed 20261122: %d runs, %d deliveries, %u messages and their "
           "repeats; without a memory %zu deliveries go wrong\n", RUNS,
           RUNS * ALL, events, wrong);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(many_deliveries_in_every_disorder_end_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
