/*
 * Plausible days of a robot's lid, whose events come shuffled, doubled, late
 * and in transactions cut anywhere, against the same events in order: the
 * records must be the same, and nothing may be published twice.
 *
 * COCO_TEST_SEED=n makes other days than those of every run.
 */

#include "core_test.h"
#include "core_lid_store.h"
#include "core_random.h"


#define T          INT64_C(1795000000000)
#define WINDOW     INT64_C(2000)                /* ms, as all below */
#define CYCLE      INT64_C(1800000)
#define HOUR       INT64_C(3600000)
#define LONG_AFTER (T + 1000 * HOUR)

#define RUNS            2000
#define CONTROL_RUNS    200
#define CYCLES_MAX      12
#define MARKS_MAX       STORE_MAX
#define ARRIVALS_MAX    (3 * MARKS_MAX)
#define BATCH_MAX       8

/* What happened, in the order in which it was made up. */
typedef struct {
    size_t           count;
    size_t           cycles;
    int64_t          skew;      /* the robot's clock is so far behind */
    coco_lid_mark_t  marks[MARKS_MAX];
} lid_day_t;

typedef struct {
    int64_t  now;
    size_t   mark;
} lid_arrival_t;

static uint64_t      seed;
static lid_day_t     day;
static lid_store_t   in_order, scrambled;
static size_t        arrivals_made;

static const char *const  references[] = { "delivery-1", "delivery-2",
                                           "delivery-3" };


/* --- a day --- */


/* What robots report is by their clock, what we do by ours. */
static coco_lid_mark_t *
day_add(coco_lid_event_e event, int64_t at)
{
    uint64_t          number = day.count + 1;
    coco_str_t        cause = { (char *) &number, sizeof(number) };
    coco_lid_mark_t  *mark = &day.marks[day.count++];

    *mark = (coco_lid_mark_t) { .event = event, .at = T + at };
    coco_id_derive(&mark->id, &cause, 1);

    if (event != COCO_LID_OPEN_REQUEST && event != COCO_LID_REQUEST_TIMEOUT) {
        mark->at -= day.skew;
    }

    if (event == COCO_LID_SEEN_OPEN || event == COCO_LID_SEEN_CLOSED) {
        mark->source = COCO_SOURCE_RESYNC;
    }

    return mark;
}


static coco_lid_mark_t *
request_add(int64_t at)
{
    coco_lid_mark_t          *mark = day_add(COCO_LID_OPEN_REQUEST, at);

    static const coco_lid_source_e  sources[] = {
        COCO_SOURCE_QR, COCO_SOURCE_QR, COCO_SOURCE_PIN, COCO_SOURCE_PINLESS,
        COCO_SOURCE_OPERATOR
    };

    mark->source = sources[between(0, 5)];
    mark->has_command = true;
    mark->command = mark->id;
    mark->expires_at = mark->at + 9000;

    if (chance(80)) {
        mark->reference.data = references[between(0, 3)];
        mark->reference.len = strlen(mark->reference.data);
    }

    return mark;
}


static void
answer_name(coco_lid_mark_t *mark, const coco_lid_mark_t *request)
{
    if (chance(70)) {
        mark->has_command = true;
        mark->command = request->command;
        mark->trigger = COCO_TRIGGER_COMMAND;
    }
}


/* Requests, of which some fail or stay unanswered; then what opens the lid.
 * Returns when. */
static int64_t
opening_add(int64_t at)
{
    coco_lid_mark_t  *request, *mark;

    while (chance(70)) {
        request = request_add(at);
        at += between(50, 1500);

        if (chance(75)) {
            mark = day_add(COCO_LID_OPENED, at);
            answer_name(mark, request);
            return at;
        }

        if (chance(50)) {
            mark = day_add(COCO_LID_OPEN_FAILED, at);
            answer_name(mark, request);
            at += between(1000, 20000);

        } else {
            day_add(COCO_LID_REQUEST_TIMEOUT, request->expires_at - T);
            at = request->expires_at - T + between(1, 5000);
        }
    }

    if (chance(20)) {
        day_add(COCO_LID_PIN_ASKED, at - 10);
    }

    if (chance(90)) {
        day_add(chance(80) ? COCO_LID_PIN_OPENED : COCO_LID_OPENED, at);
    }

    return at;
}


/* How long a lid stays open: slammed, loaded, left for long. */
static int64_t
open_time(void)
{
    switch (between(0, 4)) {

    case 0:
        return between(0, 400);

    case 1:
        return between(0, 5) * 1000;

    case 2:
        return between(5000, 300000);

    default:
        return between(5000, chance(10) ? 2 * CYCLE : 60000);
    }
}


static int64_t
closing_add(int64_t at)
{
    if (chance(10)) {
        return at;                      /* never told */
    }

    if (chance(10)) {
        day_add(COCO_LID_SEEN_CLOSED, at + between(0, 10000));

        if (chance(50)) {
            return at;
        }
    }

    day_add(chance(50) ? COCO_LID_CLOSED : COCO_LID_PIN_CLOSED, at);

    if (chance(20)) {
        at += between(0, WINDOW + 500);
        day_add(chance(50) ? COCO_LID_CLOSED : COCO_LID_PIN_CLOSED, at);
    }

    return at;
}


static void
day_make(void)
{
    int64_t  at = 5 * HOUR;
    size_t   i;

    memset(&day, 0, sizeof(day));
    day.cycles = (size_t) between(1, CYCLES_MAX + 1);
    day.skew = chance(50) ? 0 : chance(80) ? between(0, WINDOW)
                                           : between(0, CYCLE);

    for (i = 0; i < day.cycles; i++) {
        at = opening_add(at);

        if (chance(15)) {
            day_add(chance(50) ? COCO_LID_OPENED : COCO_LID_PIN_OPENED,
                    at + between(0, 3000));
        }

        if (chance(8)) {
            day_add(COCO_LID_SEEN_OPEN, at + between(0, 60000));
        }

        at = closing_add(at + open_time());
        at += chance(30) ? between(0, 5000)
              : chance(70) ? between(5000, 600000) : between(0, 3 * HOUR);
    }
}


/* --- arrivals --- */


static int
arrival_compare(const void *a, const void *b)
{
    const lid_arrival_t  *left = a, *right = b;

    if (left->now != right->now) {
        return left->now < right->now ? -1 : 1;
    }

    return (left->mark > right->mark) - (left->mark < right->mark);
}


static size_t
arrivals_make(lid_arrival_t *arrivals, bool scramble)
{
    size_t   i, count = 0;
    int64_t  happened, delay;

    for (i = 0; i < day.count; i++) {
        happened = day.marks[i].at;

        if (day.marks[i].event != COCO_LID_OPEN_REQUEST
            && day.marks[i].event != COCO_LID_REQUEST_TIMEOUT)
        {
            happened += day.skew;
        }

        do {
            delay = !scramble ? 0
                    : chance(40) ? between(0, 300)
                    : chance(60) ? between(0, 6000)
                    : chance(60) ? between(0, 600000)
                    : between(0, 8 * HOUR);

            arrivals[count++] = (lid_arrival_t) { happened + delay, i };
        } while (scramble && chance(25) && count < ARRIVALS_MAX - day.count);
    }

    qsort(arrivals, count, sizeof(*arrivals), arrival_compare);

    return count;
}


typedef enum { AS_IT_IS, BY_ARRIVAL } lid_clock_e;


/* BY_ARRIVAL, a negative control: an event is taken to have happened when it
 * came. */
static void
arrive(lid_store_t *store, bool scramble, lid_clock_e clock)
{
    size_t           i, k, count, batch;
    int64_t          now;
    lid_arrival_t    arrivals[ARRIVALS_MAX];
    coco_lid_mark_t  marks[BATCH_MAX];

    count = arrivals_make(arrivals, scramble);
    arrivals_made += count;

    for (i = 0; i < count; i += batch) {
        batch = scramble ? (size_t) between(1, BATCH_MAX + 1) : 1;

        if (batch > count - i) {
            batch = count - i;
        }

        now = arrivals[i + batch - 1].now;

        for (k = 0; k < batch; k++) {
            marks[k] = day.marks[arrivals[i + k].mark];

            if (clock == BY_ARRIVAL) {
                marks[k].at = arrivals[i + k].now;
            }
        }

        store_wait(store, now);
        store_apply(store, marks, batch, now);
    }

    store_wait(store, LONG_AFTER);
}


/* --- what must hold --- */


static int
cycle_compare(const void *a, const void *b)
{
    const coco_lid_cycle_t  *left = a, *right = b;
    int64_t                  l, r;

    l = left->has_open ? left->opened_at : left->closed_at;
    r = right->has_open ? right->opened_at : right->closed_at;

    return (l > r) - (l < r);
}


static bool
cycle_same(const coco_lid_cycle_t *a, const coco_lid_cycle_t *b)
{
    return a->state == b->state && a->source == b->source
           && coco_str_equal(a->reference, b->reference)
           && a->trigger == b->trigger && a->reason == b->reason
           && a->has_command == b->has_command
           && (!a->has_command || store_id_equal(&a->command, &b->command))
           && a->opened_at == b->opened_at && a->closed_at == b->closed_at;
}


/* A close is told once, an open once at most. */
static void
published_check(lid_store_t *store, bool all_opens)
{
    size_t                  i, k, opens, closes;
    const lid_published_t  *published;

    for (i = 0; i < store->cycle_count; i++) {
        opens = closes = 0;

        for (k = 0; k < store->published_count; k++) {
            published = &store->published[k];

            if (store_id_equal(&published->cycle, &store->cycles[i].id)) {
                closes += published->close;
                opens += !published->close;
            }
        }

        if (closes != store->cycles[i].has_close) {
            store_fault(store, closes == 0 ? "a close was never published"
                               : "LidClose of a cycle without a close");
        }

        if (opens > 1
            || (all_opens && opens != store->cycles[i].has_open))
        {
            store_fault(store, "LidOpen was not published once");
        }

        if (store->cycles[i].state != COCO_LID_COMPLETE) {
            store_fault(store, "a cycle never ended");
        }
    }
}


static void
records_compare(lid_store_t *store, lid_store_t *other)
{
    size_t  i;

    if (store->cycle_count != other->cycle_count) {
        store_fault(store, "another number of cycles than in order");
        return;
    }

    qsort(store->cycles, store->cycle_count, sizeof(store->cycles[0]),
          cycle_compare);
    qsort(other->cycles, other->cycle_count, sizeof(other->cycles[0]),
          cycle_compare);

    for (i = 0; i < store->cycle_count; i++) {
        if (!cycle_same(&store->cycles[i], &other->cycles[i])) {
            store_fault(store, "another record than in order");
        }
    }
}


static void
records_print(const char *title, const lid_store_t *store)
{
    size_t                   i;
    const coco_lid_cycle_t  *c;

    print_error("%s:\n", title);

    for (i = 0; i < store->cycle_count; i++) {
        c = &store->cycles[i];
        print_error("  state %d source %d reason %d trigger %d %.*s", c->state,
                    c->source, c->reason, c->trigger,
                    (int) c->reference.len, c->reference.data);
        print_error(" opened %.3f closed %.3f\n",
                    c->has_open ? (double) (c->opened_at - T) / 1000 : 0,
                    c->has_close ? (double) (c->closed_at - T) / 1000 : 0);
    }
}


static void
day_print(void)
{
    size_t  i;

    for (i = 0; i < day.count; i++) {
        print_error("  %.3f event %d %s\n",
                    (double) (day.marks[i].at - T) / 1000, day.marks[i].event,
                    day.marks[i].has_command ? "named" : "");
    }
}


/* One day, in order and scrambled; its fault is in scrambled.fault. */
static void
run(uint64_t number, void (*spoil)(lid_store_t *store), lid_clock_e clock)
{
    random_state = (seed + number) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    day_make();

    store_init(&in_order, WINDOW, CYCLE);
    arrive(&in_order, false, AS_IT_IS);
    published_check(&in_order, day.skew == 0);

    store_init(&scrambled, WINDOW, CYCLE);
    scrambled.spoil = spoil;
    arrive(&scrambled, true, clock);
    published_check(&scrambled, false);
    records_compare(&scrambled, &in_order);
}


static void
any_order_gives_the_same_records(void **state)
{
    size_t    marks = 0, cycles = 0;
    uint64_t  i;

    arrivals_made = 0;

    for (i = 0; i < RUNS; i++) {
        run(i, NULL, AS_IT_IS);

        if (in_order.fault[0] != '\0' || scrambled.fault[0] != '\0') {
            day_print();
            records_print("in order", &in_order);
            records_print("scrambled", &scrambled);
            fail_msg("COCO_TEST_SEED=%llu, run %llu: in order: \"%s\", "
                     "scrambled: \"%s\"", (unsigned long long) seed,
                     (unsigned long long) i, in_order.fault, scrambled.fault);
        }

        marks += day.count;
        cycles += in_order.cycle_count;
    }

    print_message("seed %llu: %d runs, %zu events in %zu arrivals, "
                  "%zu cycles\n", (unsigned long long) seed, RUNS, marks,
                  arrivals_made, cycles);
    assert_true(cycles > RUNS);
}


/* --- negative controls: each of these must be seen --- */


static void
control(const char *name, void (*spoil)(lid_store_t *store),
    lid_clock_e clock)
{
    size_t  i, seen = 0;

    for (i = 0; i < CONTROL_RUNS; i++) {
        run(i, spoil, clock);
        seen += scrambled.fault[0] != '\0';
    }

    print_message("%s: seen in %zu of %d runs\n", name, seen, CONTROL_RUNS);
    assert_true(seen > CONTROL_RUNS / 10);
}


static void
order_of_arrival_is_seen(void **state)
{
    control("walked by arrival", NULL, BY_ARRIVAL);
}


static void
published_forget(lid_store_t *store)
{
    size_t  i;

    for (i = 0; i < store->cycle_count; i++) {
        store->cycles[i].close_published = false;
    }
}


static void
forgotten_publishing_is_seen(void **state)
{
    control("publishing forgotten", published_forget, AS_IT_IS);
}


static void
due_forget(lid_store_t *store)
{
    store->due_at = store->due_from = COCO_NEVER;
}


static void
forgotten_due_time_is_seen(void **state)
{
    control("due time forgotten", due_forget, AS_IT_IS);
}


static void
mark_forget(lid_store_t *store)
{
    if (store->mark_count > 1) {
        store->marks[0] = store->marks[--store->mark_count];
    }
}


static void
forgotten_event_is_seen(void **state)
{
    control("event forgotten", mark_forget, AS_IT_IS);
}


int
main(void)
{
    const char  *text = getenv("COCO_TEST_SEED");

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(any_order_gives_the_same_records),
        cmocka_unit_test(order_of_arrival_is_seen),
        cmocka_unit_test(forgotten_publishing_is_seen),
        cmocka_unit_test(forgotten_due_time_is_seen),
        cmocka_unit_test(forgotten_event_is_seen)
    };

    seed = text != NULL ? strtoull(text, NULL, 10) : 1;

    return cmocka_run_group_tests_name("lid cycle, any order", tests, NULL,
                                       NULL);
}
