/*
 * Random fleets through random days: what happens to a robot comes in the
 * order of the machine or in any, repeated, with several deliveries at a time
 * and out of reach at any moment. What is told of it must be legal to a city
 * that has the standard's table, and lead where the robot is.
 *
 * COCO_TEST_SEED=n makes other days than those of every run.
 */

#include "core_mds_city.h"
#include "core_random.h"


#define T  INT64_C(1795000000000)

#define ROBOTS        4
#define DAYS          600
#define CONTROL_DAYS  100
#define FACTS_MAX     160           /* of a robot in a day */
#define ORDERS_MAX    CITY_TRIPS
#define MEMORY_MAX    4096          /* bytes */

/* What the street knows of a delivery; stage is an index of stages. */
typedef struct {
    coco_id_t    id;
    int          stage;
    bool         over, canceled;
} order_t;

typedef struct {
    bool                online, serves, maintained, chaos;
    int64_t             now;
    size_t              norders;
    order_t             orders[ORDERS_MAX];
    size_t              held;       /* orders the emitter cannot let go */
    coco_mds_vehicle_t  vehicle;
    coco_mds_vehicle_t  twin;       /* forgets all but what is written */
    city_t              city;
} robot_t;

/* What a broken emitter would tell; count may only fall. */
typedef unsigned (*spoil_pt)(coco_mds_told_t *told, unsigned count);

static uint64_t      seed;
static uint64_t      made;
static unsigned      told_most;
static size_t        events_seen;
static city_table_t  table;
static robot_t       robots[ROBOTS];

static const char *const  stages[] = {
    "Assigned", "EnrouteToPickup", "AtPickup", "LoadedWaitingForPilot",
    "EnrouteToDropoff", "AtDropoff"
};

/* where a robot is that has come so far */
static const char *const  stage_states[] = {
    "reserved", "on_trip", "stopped", "stopped", "on_trip", "stopped"
};

#define STAGES  6


/* --- what is so --- */


static size_t
orders_open(const robot_t *robot)
{
    size_t  i, open = 0;

    for (i = 0; i < robot->norders; i++) {
        open += !robot->orders[i].over;
    }

    return open;
}


static bool
any_at(const robot_t *robot, const char *state)
{
    size_t  i;

    for (i = 0; i < robot->norders; i++) {
        if (!robot->orders[i].over
            && strcmp(stage_states[robot->orders[i].stage], state) == 0)
        {
            return true;
        }
    }

    return false;
}


static const char *
target(const robot_t *robot)
{
    return !robot->online ? "non_contactable"
           : any_at(robot, "stopped") ? "stopped"
           : any_at(robot, "on_trip") ? "on_trip"
           : any_at(robot, "reserved") ? "reserved"
           : robot->serves ? "available" : "non_operational";
}


static bool
is_there(const robot_t *robot)
{
    const char  *state = robot->city.state;

    return strcmp(state, target(robot)) == 0
           && (strcmp(state, "non_operational") != 0
               || robot->city.maintenance == robot->maintained);
}


/* Whatever has set out has begun and ended, once and by its own end; what
 * has not was never a trip. */
static const char *
trips_fault(robot_t *robot)
{
    size_t        i;
    order_t      *order;
    city_trip_t  *trip;

    for (i = 0; i < robot->norders; i++) {
        order = &robot->orders[i];
        trip = city_trip(&robot->city, &order->id);

        if (order->over && trip->ended != (order->stage > 0)) {
            return "a trip without its end, or an end without a trip";
        }

        if (order->over && trip->ended && trip->canceled != order->canceled) {
            return "another end";
        }

        if (trip->started && order->stage == 0) {
            return "a trip that has not set out";
        }
    }

    return NULL;
}


/* --- what happens --- */


static bool
told_same(const coco_mds_told_t *a, const coco_mds_told_t *b)
{
    return a->event == b->event && a->state == b->state && a->at == b->at
           && a->starts == b->starts && a->ends == b->ends
           && a->canceled == b->canceled && a->ntrips == b->ntrips
           && memcmp(a->trips, b->trips, a->ntrips * sizeof(coco_id_t)) == 0
           && memcmp(&a->trip.trip, &b->trip.trip, sizeof(coco_id_t)) == 0
           && a->trip.requested_at == b->trip.requested_at
           && memcmp(&a->trip.delivery, &b->trip.delivery,
                     sizeof(coco_id_t)) == 0;
}


static coco_str_t
memory_text(const coco_mds_vehicle_t *vehicle, char *buf)
{
    coco_json_out_t  out;

    coco_json_out_init(&out, buf, MEMORY_MAX);
    coco_mds_encode(&out, vehicle);
    assert_true(coco_json_out_ok(&out));

    return (coco_str_t) { buf, out.len };
}


/* The twin is told the same, though it is read anew for each fact. */
static const char *
twin_fault(robot_t *robot, const coco_mds_fact_t *fact,
    const coco_mds_told_t *told, unsigned count)
{
    char              a[MEMORY_MAX], b[MEMORY_MAX];
    unsigned          i;
    coco_str_t        text = memory_text(&robot->twin, a);
    coco_error_t      err;
    coco_mds_told_t   again[COCO_MDS_TOLD_MAX];

    if (coco_mds_decode(&robot->twin, text, &err) != COCO_OK) {
        return "a memory that cannot be read";
    }

    if (coco_mds_apply(&robot->twin, fact, again) != count) {
        return "the memory makes another future";
    }

    for (i = 0; i < count; i++) {
        if (!told_same(&told[i], &again[i])) {
            return "the memory makes another future";
        }
    }

    return coco_str_equal(memory_text(&robot->vehicle, a),
                          memory_text(&robot->twin, b))
           ? NULL : "the memory is another";
}


static const char *
fact_tell(robot_t *robot, const char *kind, const char *data, spoil_pt spoil)
{
    unsigned          count;
    const char       *fault;
    coco_error_t      err;
    coco_mds_fact_t   fact;
    coco_mds_told_t   told[COCO_MDS_TOLD_MAX];

    /* clocks differ a little, many facts are of the same time */
    robot->now += chance(30) ? 0 : between(-2, 60000);

    assert_int_equal(coco_mds_fact_decode(
        &fact, (coco_str_t) { kind, strlen(kind) }, robot->now,
        (coco_str_t) { data, strlen(data) }, &err), COCO_OK);

    count = coco_mds_apply(&robot->vehicle, &fact, told);
    assert_true(count <= COCO_MDS_TOLD_MAX);
    told_most = count > told_most ? count : told_most;

    fault = twin_fault(robot, &fact, told, count);

    if (fault == NULL && spoil != NULL) {
        count = spoil(told, count);
    }

    if (fault == NULL) {
        fault = city_take(&robot->city, told, count);
    }

    return fault == NULL && !is_there(robot) ? "not where it is" : fault;
}


static const char *
comms_happen(robot_t *robot, bool online, spoil_pt spoil)
{
    robot->online = online;

    if (online) {
        robot->held = orders_open(robot);
    }

    return fact_tell(robot, "COMMS", online ? "{\"online\":true}"
                                            : "{\"online\":false}", spoil);
}


/* The seeds' rule, read anew: out, and nothing in the way. */
static const char *
business_happen(robot_t *robot, spoil_pt spoil)
{
    char  data[256];
    int   state = between(0, 6), ails = between(0, 8);

    static const char *const  states[] = {
        "\"PARKED\"", "\"DEPLOYED\"", "\"ON_TRIP\"", "\"OFF_DUTY\"",
        "\"GROUNDED\"", "null" };
    static const char *const  flags[] = {
        "\"undergoingMaintenance\":true", "\"needsMaintenance\":true",
        "\"needsPickup\":true", "\"driveable\":false",
        "\"undergoingMaintenance\":false,\"needsMaintenance\":null",
        "\"driveable\":true", "\"needsPickup\":false", "\"driveable\":null" };

    snprintf(data, sizeof(data), "{\"operationState\":%s,%s}", states[state],
             flags[ails]);

    robot->serves = state < 3 && ails > 3;
    robot->maintained = ails == 0;

    return fact_tell(robot, "BUSINESS", data, spoil);
}


static const char *
order_tell(robot_t *robot, const order_t *order, const char *status,
    spoil_pt spoil)
{
    char  data[512], id[COCO_ID_TEXT_LEN];

    coco_id_format(id, &order->id);
    snprintf(data, sizeof(data),
             "{\"trip\":\"%.36s\",\"delivery\":\"%.36s\",\"status\":\"%s\","
             "\"reason\":%s,\"requestedAt\":%lld}", id, id, status,
             chance(50) ? "null" : chance(50) ? "\"customer: late\""
                                              : "\"reassigned\"",
             (long long) T);

    return fact_tell(robot, "DELIVERY", data, spoil);
}


/* What is held while it is away is let go of by its return. */
static const char *
order_begin(robot_t *robot, spoil_pt spoil)
{
    int         stage = robot->chaos ? between(0, STAGES) : 0;
    order_t    *order = &robot->orders[robot->norders];
    uint64_t    number = ++made;
    coco_str_t  cause = { (char *) &number, sizeof(number) };

    if (robot->norders == ORDERS_MAX || robot->held == COCO_MDS_TRIPS) {
        return NULL;
    }

    robot->norders++;
    robot->held++;
    *order = (order_t) { .stage = stage };
    coco_id_derive(&order->id, &cause, 1);

    return order_tell(robot, order, stages[stage], spoil);
}


static const char *
order_end(robot_t *robot, order_t *order, spoil_pt spoil)
{
    bool         completed;

    completed = order->stage == STAGES - 1 ? chance(90)
                                           : robot->chaos && chance(50);
    order->over = true;
    order->canceled = !completed;
    order->stage = completed ? STAGES - 1 : order->stage;
    robot->held -= robot->online;

    return order_tell(robot, order, completed ? "Completed" : "Canceled",
                      spoil);
}


/* A robot that is out of order says what it said before, or what comes later;
 * only what is over stays so, by the database. */
static const char *
order_happen(robot_t *robot, spoil_pt spoil)
{
    int       stage;
    order_t  *order;

    if (robot->norders == 0) {
        return order_begin(robot, spoil);
    }

    order = &robot->orders[between(0, (int) robot->norders)];

    if (order->over) {
        return chance(20) ? order_tell(robot, order, chance(50)
                                       ? "Completed" : "Canceled", spoil)
                          : order_begin(robot, spoil);
    }

    if (chance(10) || (order->stage == STAGES - 1 && chance(80))) {
        return order_end(robot, order, spoil);
    }

    stage = order->stage + (order->stage < STAGES - 1);

    if (robot->chaos) {
        stage = between(0, STAGES);

    } else if (order->stage < 2 && chance(10)) {
        stage = 3;                  /* a load overtakes the arrival */
    }

    order->stage = stage > order->stage ? stage : order->stage;

    return order_tell(robot, order, stages[stage], spoil);
}


static const char *
anything_happen(robot_t *robot, spoil_pt spoil)
{
    int  what = between(0, 100);

    if (what < 12) {
        return comms_happen(robot, chance(robot->online ? 30 : 70), spoil);
    }

    if (what < 25) {
        return business_happen(robot, spoil);
    }

    return what < 35 ? order_begin(robot, spoil)
                     : order_happen(robot, spoil);
}


static const char *
day_of(robot_t *robot, spoil_pt spoil)
{
    int          facts = between(1, FACTS_MAX);
    const char  *fault = NULL;

    *robot = (robot_t) { .online = true, .now = T, .chaos = chance(50),
                         .vehicle = COCO_MDS_VEHICLE_NEW,
                         .twin = COCO_MDS_VEHICLE_NEW };
    city_open(&robot->city, &table);

    while (facts-- > 0 && fault == NULL) {
        fault = anything_happen(robot, spoil);
    }

    if (fault == NULL) {
        fault = comms_happen(robot, true, spoil);
    }

    events_seen += robot->city.events;

    return fault != NULL ? fault : trips_fault(robot);
}


/* Returns what was wrong first, or NULL. */
static const char *
days_run(int days, spoil_pt spoil, int *ret_day)
{
    int          i;
    const char  *fault = NULL;

    for (*ret_day = 0; *ret_day < days && fault == NULL; (*ret_day)++) {
        for (i = 0; i < ROBOTS && fault == NULL; i++) {
            random_state = seed + (uint64_t) (*ret_day * ROBOTS + i + 1)
                                  * UINT64_C(0x9E3779B97F4A7C15);
            fault = day_of(&robots[i], spoil);
        }
    }

    return fault;
}


static void
what_is_told_is_legal_and_leads_there(void **state)
{
    int          day;
    const char  *fault = days_run(DAYS, NULL, &day);

    if (fault != NULL) {
        fail_msg("COCO_TEST_SEED=%llu, day %d: %s",
                 (unsigned long long) seed, day, fault);
    }

    print_message("%zu events, %u for one fact at most\n", events_seen,
                  told_most);
    assert_true(events_seen > DAYS);
}


/* --- emitters that are broken --- */


static unsigned
told_drop(coco_mds_told_t *told, unsigned count, coco_mds_event_e event,
    bool ends)
{
    unsigned  i, kept = 0;

    for (i = 0; i < count; i++) {
        if (ends ? !told[i].ends : told[i].event != event) {
            told[kept++] = told[i];
        }
    }

    return kept;
}


/* reserved -> on_trip */
static unsigned
stop_left_out(coco_mds_told_t *told, unsigned count)
{
    return told_drop(told, count, COCO_MDS_RESERVATION_STOP, false);
}


/* on_trip -> available */
static unsigned
pause_left_out(coco_mds_told_t *told, unsigned count)
{
    return told_drop(told, count, COCO_MDS_TRIP_PAUSE, false);
}


static unsigned
end_left_out(coco_mds_told_t *told, unsigned count)
{
    return told_drop(told, count, COCO_MDS_EVENTS, true);
}


/* legal by the table, but not where it was */
static unsigned
prior_forgotten(coco_mds_told_t *told, unsigned count)
{
    unsigned  i;

    for (i = 0; i < count; i++) {
        if (told[i].event == COCO_MDS_COMMS_RESTORED) {
            told[i].state = COCO_MDS_NON_OPERATIONAL;
            told[i].ntrips = 0;
        }
    }

    return count;
}


static unsigned
times_equal(coco_mds_told_t *told, unsigned count)
{
    unsigned  i;

    for (i = 1; i < count; i++) {
        told[i].at = told[0].at;
    }

    return count;
}


static unsigned
trip_ids_left_out(coco_mds_told_t *told, unsigned count)
{
    unsigned  i;

    for (i = 0; i < count; i++) {
        told[i].ntrips = 0;
    }

    return count;
}


static unsigned
last_left_out(coco_mds_told_t *told, unsigned count)
{
    return count > 1 ? count - 1 : count;
}


static void
a_broken_emitter_is_noticed(void **state)
{
    int     day;
    size_t  i;

    static const struct {
        const char  *what;
        spoil_pt     spoil;
    } broken[] = {
        { "reservation_stop left out", stop_left_out },
        { "trip_pause left out", pause_left_out },
        { "an end left out", end_left_out },
        { "the prior state forgotten", prior_forgotten },
        { "equal times", times_equal },
        { "trip_ids left out", trip_ids_left_out },
        { "the last left out", last_left_out }
    };

    for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        if (days_run(CONTROL_DAYS, broken[i].spoil, &day) == NULL) {
            fail_msg("%s: not noticed", broken[i].what);
        }
    }
}


int
main(void)
{
    const char  *text = getenv("COCO_TEST_SEED");

    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_told_is_legal_and_leads_there),
        cmocka_unit_test(a_broken_emitter_is_noticed)
    };

    seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    city_table_load(&table);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
