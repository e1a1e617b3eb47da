/*
 * The emitter by examples: every state and every fact (tests/data/mds/told),
 * several trips at a time, times, and what is refused. A story is facts
 * between ";"; what was told of each stands between "|": events, +1 for the
 * beginning of trip 1, -1 for its end, x1 where it was canceled.
 */

#include "core_mds_city.h"


#define T  INT64_C(1795000000000)

#define TEXT_MAX    8192
#define STORY_MAX   64              /* bytes, of a situation or a fact */
#define MEMORY_MAX  4096

typedef struct {
    int64_t             now;        /* each fact is a second later */
    coco_mds_vehicle_t  vehicle;
    city_t              city;
    size_t              len;
    char                text[TEXT_MAX];
} story_t;

static city_table_t  table;


static coco_id_t
trip_id(char number)
{
    coco_id_t  id = { { 0 } };

    id.bytes[0] = (uint8_t) number;

    return id;
}


/* "online", "serves", "1 Assigned", "1 Canceled customer" … */
static coco_mds_fact_t
fact_of(const char *text, int64_t at)
{
    char             word[STORY_MAX] = "", reason[STORY_MAX] = "";
    char             data[512], id[COCO_ID_TEXT_LEN], number;
    coco_id_t        trip;
    const char      *kind = "BUSINESS";
    coco_error_t     err;
    coco_mds_fact_t  fact;

    if (sscanf(text, " %c %63s %63s", &number, word, reason) >= 2
        && number >= '1' && number <= '9')
    {
        trip = trip_id(number);
        coco_id_format(id, &trip);
        kind = "DELIVERY";
        snprintf(data, sizeof(data), "{\"trip\":\"%.36s\",\"delivery\":"
                 "\"%.36s\",\"status\":\"%s\",\"reason\":\"%s\","
                 "\"requestedAt\":7}", id, id, word, reason);

    } else if (strstr(text, "line") != NULL) {
        kind = "COMMS";
        snprintf(data, sizeof(data), "{\"online\":%s}",
                 strstr(text, "online") != NULL ? "true" : "false");

    } else {
        snprintf(data, sizeof(data), "{\"operationState\":\"%s\","
                 "\"undergoingMaintenance\":%s}",
                 strstr(text, "rests") != NULL ? "OFF_DUTY" : "PARKED",
                 strstr(text, "maintained") != NULL ? "true" : "false");
    }

    assert_int_equal(coco_mds_fact_decode(
        &fact, (coco_str_t) { kind, strlen(kind) }, at,
        (coco_str_t) { data, strlen(data) }, &err), COCO_OK);

    return fact;
}


static void
story_open(story_t *story)
{
    story->now = T;
    story->vehicle = COCO_MDS_VEHICLE_NEW;
    story->len = 0;
    story->text[0] = '\0';
    city_open(&story->city, &table);
}


static void
story_put(story_t *story, const char *text, size_t len)
{
    assert_true(story->len + len + 2 < TEXT_MAX);

    if (story->len > 0) {
        story->text[story->len++] = ' ';
    }

    memcpy(story->text + story->len, text, len);
    story->len += len;
    story->text[story->len] = '\0';
}


static void
story_fact(story_t *story, const char *text)
{
    char              trip[3] = "";
    unsigned          i, count;
    coco_str_t        name;
    const char       *fault;
    coco_mds_fact_t   fact;
    coco_mds_told_t   told[COCO_MDS_TOLD_MAX];

    story->now += 1000;
    fact = fact_of(text, story->now);
    count = coco_mds_apply(&story->vehicle, &fact, told);

    fault = city_take(&story->city, told, count);
    if (fault != NULL) {
        fail_msg("%s: %s", text, fault);
    }

    assert_true(coco_mds_vehicle_sound(&story->vehicle));

    for (i = 0; i < count; i++) {
        if (told[i].event != COCO_MDS_EVENTS) {
            name = coco_mds_event_name(told[i].event);
            story_put(story, name.data, name.len);
            continue;
        }

        trip[0] = told[i].starts ? '+' : told[i].canceled ? 'x' : '-';
        trip[1] = (char) told[i].trip.trip.bytes[0];
        story_put(story, trip, 2);
    }
}


static void
story_tell(story_t *story, const char *facts)
{
    char        fact[STORY_MAX];
    const char *end, *p = facts;

    for ( ;; ) {
        end = strchrnul(p, ';');
        assert_true((size_t) (end - p) < sizeof(fact));
        snprintf(fact, sizeof(fact), "%.*s", (int) (end - p), p);
        story_fact(story, fact);

        if (*end == '\0') {
            return;
        }

        story_put(story, "|", 1);
        p = end + 1;
    }
}


static void
story_is(const char *facts, const char *told)
{
    story_t  story;

    story_open(&story);
    story_tell(&story, facts);
    assert_string_equal(story.text, told);
}


/* --- the table --- */


static void
the_table_is_the_standards(void **state)
{
    size_t                        i;
    char                          from[CITY_WORD], event[CITY_WORD],
                                  to[CITY_WORD];
    const coco_mds_transition_t  *row;

    assert_int_equal(table.count, COCO_MDS_TRANSITIONS);

    for (i = 0; i < COCO_MDS_TRANSITIONS; i++) {
        row = &coco_mds_transitions[i];
        city_word(from, coco_mds_state_name(row->from));
        city_word(event, coco_mds_event_name(row->event));
        city_word(to, coco_mds_state_name(row->to));

        /* as many, in the same order: none is twice, none is missing */
        assert_string_equal(from, table.rows[i].from);
        assert_string_equal(event, table.rows[i].event);
        assert_string_equal(to, table.rows[i].to);
    }
}


static void
each_state_has_its_ways_out(void **state)
{
    size_t    i;
    unsigned  ways[COCO_MDS_STATES] = { 0 };

    static const unsigned  expected[COCO_MDS_STATES] = {
        [COCO_MDS_AVAILABLE] = 4, [COCO_MDS_ELSEWHERE] = 5,
        [COCO_MDS_MISSING] = 7, [COCO_MDS_NON_CONTACTABLE] = 8,
        [COCO_MDS_NON_OPERATIONAL] = 7, [COCO_MDS_ON_TRIP] = 5,
        [COCO_MDS_REMOVED] = 3, [COCO_MDS_RESERVED] = 6,
        [COCO_MDS_STOPPED] = 7
    };

    for (i = 0; i < COCO_MDS_TRANSITIONS; i++) {
        ways[coco_mds_transitions[i].from]++;
    }

    for (i = 0; i < COCO_MDS_STATES; i++) {
        assert_int_equal(ways[i], expected[i]);
    }
}


/* state x event x state */
static void
nothing_else_is_allowed(void **state)
{
    int                           from, event, to, allowed = 0;
    coco_str_t                    name;
    const coco_mds_transition_t  *row;

    for (from = 0; from < COCO_MDS_STATES; from++) {
        for (event = 0; event < COCO_MDS_EVENTS; event++) {
            for (to = 0; to < COCO_MDS_STATES; to++) {
                allowed += coco_mds_allowed(from, event, to);
            }
        }
    }

    assert_int_equal(allowed, 52);

    for (row = coco_mds_transitions;
         row < coco_mds_transitions + COCO_MDS_TRANSITIONS; row++)
    {
        assert_true(coco_mds_allowed(row->from, row->event, row->to));
        name = coco_mds_state_name(row->from);
        assert_int_equal(coco_mds_state_parse(name), row->from);
        name = coco_mds_event_name(row->event);
        assert_int_equal(coco_mds_event_parse(name), row->event);
    }

    assert_int_equal(coco_mds_state_parse(coco_string("parked")),
                     COCO_MDS_STATES);
    assert_int_equal(coco_mds_event_parse(coco_string("recommission")),
                     COCO_MDS_EVENTS);
}


/* --- every state and fact --- */


static const struct {
    const char  *name, *facts;
} situations[] = {
    { "new", NULL },
    { "rests", "rests" },
    { "maintained", "maintained" },
    { "available", "serves" },
    { "reserved", "serves;1 Assigned" },
    { "to-pickup", "serves;1 EnrouteToPickup" },
    { "at-pickup", "serves;1 AtPickup" },
    { "loaded", "serves;1 LoadedWaitingForPilot" },
    { "to-dropoff", "serves;1 EnrouteToDropoff" },
    { "at-dropoff", "serves;1 AtDropoff" }
};

static const char *const  facts[] = {
    "online", "offline", "serves", "rests", "maintained",
    "1 Assigned", "1 EnrouteToPickup", "1 AtPickup",
    "1 LoadedWaitingForPilot", "1 EnrouteToDropoff", "1 AtDropoff",
    "1 Completed", "1 Canceled",
    "2 Assigned", "2 EnrouteToPickup", "2 AtPickup",
    "2 LoadedWaitingForPilot", "2 EnrouteToDropoff", "2 AtDropoff",
    "2 Completed", "2 Canceled"
};

#define SITUATIONS  (sizeof(situations) / sizeof(situations[0]))
#define FACTS       (sizeof(facts) / sizeof(facts[0]))


static void
story_begin(story_t *story, size_t situation)
{
    story_open(story);

    if (situations[situation].facts != NULL) {
        story_tell(story, situations[situation].facts);
    }

    story->len = 0;
    story->text[0] = '\0';
}


/* "situation, fact: what is told" by lines; *p is at the next one. */
static bool
row_next(const char **p, const char *end, char *ret, size_t size)
{
    const char  *line;

    while (*p < end) {
        line = *p;
        *p = memchr(line, '\n', (size_t) (end - line));
        assert_non_null(*p);
        (*p)++;

        if (line[0] != '#' && line[0] != '\n') {
            snprintf(ret, size, "%.*s", (int) (*p - 1 - line), line);
            return true;
        }
    }

    return false;
}


static void
every_fact_in_every_state(void **state)
{
    char         row[TEXT_MAX], told[TEXT_MAX + 2 * STORY_MAX];
    size_t       s, f;
    story_t      story;
    coco_str_t   text = test_file_read("tests/data/mds/told.txt");
    const char  *p = text.data, *end = text.data + text.len;

    for (s = 0; s < SITUATIONS; s++) {
        for (f = 0; f < FACTS; f++) {
            story_begin(&story, s);
            story_fact(&story, facts[f]);
            snprintf(told, sizeof(told), "%s, %s:%s%s", situations[s].name,
                     facts[f], story.len > 0 ? " " : "", story.text);

            assert_true(row_next(&p, end, row, sizeof(row)));
            assert_string_equal(told, row);
        }
    }

    assert_false(row_next(&p, end, row, sizeof(row)));
    free((char *) text.data);
}


/* Out of reach nothing is told; back, what it would have been. */
static void
the_same_is_told_later_when_it_is_away(void **state)
{
    char     told[TEXT_MAX + STORY_MAX];
    size_t   s, f;
    story_t  story;

    for (s = 1; s < SITUATIONS; s++) {
        for (f = 2; f < FACTS; f++) {
            story_begin(&story, s);
            story_fact(&story, facts[f]);
            snprintf(told, sizeof(told), "comms_lost comms_restored%s%s",
                     story.len > 0 ? " " : "", story.text);

            story_begin(&story, s);
            story_fact(&story, "offline");
            story_fact(&story, facts[f]);
            story_fact(&story, "online");
            assert_string_equal(story.text, told);
        }
    }
}


/* --- longer stories --- */


static void
a_delivery(void **state)
{
    story_is("rests;serves;1 Assigned;1 EnrouteToPickup;1 AtPickup;"
             "1 LoadedWaitingForPilot;1 EnrouteToDropoff;1 AtDropoff;"
             "1 Completed;rests",
             "recommissioned | service_start | reservation_start | "
             "reservation_stop trip_start +1 | order_pick_up | | "
             "trip_resume | order_drop_off | trip_end -1 | service_end");
}


static void
what_a_robot_did_out_of_reach(void **state)
{
    story_is("serves;1 Assigned;offline;1 EnrouteToPickup;1 AtPickup;"
             "1 Canceled customer;2 Assigned;2 Canceled;3 Assigned;online",
             "recommissioned service_start | reservation_start | "
             "comms_lost | | | | | | | comms_restored reservation_stop "
             "trip_start +1 order_pick_up customer_cancellation x1 "
             "reservation_start provider_cancellation reservation_start");
}


/* stopped before on_trip before reserved */
static void
several_deliveries(void **state)
{
    story_is("serves;1 Assigned;2 Assigned;1 EnrouteToPickup;1 AtPickup;"
             "2 EnrouteToPickup;1 EnrouteToDropoff;2 AtPickup;"
             "2 EnrouteToDropoff;1 AtDropoff;1 Completed;2 AtDropoff;"
             "2 Completed",
             "recommissioned service_start | reservation_start | | "
             "reservation_stop trip_start +1 | order_pick_up | | "
             "trip_start +2 | order_pick_up | trip_resume | order_drop_off |"
             " -1 trip_resume | order_drop_off | trip_end -2");

    /* the one that waits is reserved once more */
    story_is("serves;1 Assigned;2 Assigned;1 AtDropoff;1 Completed;"
             "2 Canceled",
             "recommissioned service_start | reservation_start | | "
             "reservation_stop trip_start +1 order_pick_up trip_resume "
             "order_drop_off | trip_end -1 reservation_start | "
             "provider_cancellation");

    /* of two that wait, one is called off: it is reserved still */
    story_is("serves;1 Assigned;2 Assigned;1 Canceled;2 Canceled driver",
             "recommissioned service_start | reservation_start | | | "
             "driver_cancellation");

    /* on its way for both */
    story_is("serves;1 EnrouteToPickup;2 EnrouteToPickup;1 Canceled;"
             "2 Canceled",
             "recommissioned service_start | reservation_start "
             "reservation_stop trip_start +1 | +2 | x1 | "
             "trip_pause provider_cancellation x2");

    /* at one's door with the other, which never moved on its own */
    story_is("serves;1 AtPickup;2 AtPickup;2 Completed;3 EnrouteToPickup;"
             "3 Canceled",
             "recommissioned service_start | reservation_start "
             "reservation_stop trip_start +1 order_pick_up | | +2 -2 | | "
             "+3 x3");
}


/* reassign to the robot that has it: another trip */
static void
a_delivery_that_is_assigned_anew(void **state)
{
    story_is("serves;1 AtPickup;2 Assigned;1 Canceled reassigned",
             "recommissioned service_start | reservation_start "
             "reservation_stop trip_start +1 order_pick_up | | "
             "provider_cancellation x1 reservation_start");
}


static void
maintenance_ends_where_a_trip_begins(void **state)
{
    story_is("maintained;maintained;1 Assigned;1 Canceled;rests;serves",
             "recommissioned maintenance | | maintenance_end service_start "
             "reservation_start | provider_cancellation service_end "
             "maintenance | maintenance_end | service_start");
}


static void
more_than_we_hold_makes_room(void **state)
{
    story_t  story;

    /* eight at a time: the ninth is not told of, nor is what it does */
    story_open(&story);
    story_tell(&story, "serves;1 Assigned;2 Assigned;3 Assigned;4 Assigned;"
               "5 Assigned;6 Assigned;7 Assigned;8 Assigned;9 Assigned;"
               "9 AtPickup");
    assert_string_equal(story.text, "recommissioned service_start | "
                        "reservation_start | | | | | | | | |");
    assert_int_equal(story.vehicle.ntrips, COCO_MDS_TRIPS);

    /* as soon as there is room, it is */
    story_tell(&story, "8 Canceled;9 EnrouteToPickup");
    assert_string_equal(story.text, "recommissioned service_start | "
                        "reservation_start | | | | | | | | | | "
                        "reservation_stop trip_start +9");

    /* out of reach, one that is over and was never told of goes */
    story_is("serves;1 Assigned;offline;1 Canceled;2 Assigned;2 Canceled;"
             "3 Assigned;4 Assigned;5 Assigned;6 Assigned;7 Assigned;"
             "8 Assigned;9 AtPickup;online",
             "recommissioned service_start | reservation_start | comms_lost "
             "| | | | | | | | | | | comms_restored provider_cancellation "
             "reservation_start reservation_stop trip_start +9 "
             "order_pick_up");
}


static void
times_ascend(void **state)
{
    unsigned            count;
    coco_mds_fact_t     fact = fact_of("serves", T);
    coco_mds_told_t     told[COCO_MDS_TOLD_MAX];
    coco_mds_vehicle_t  vehicle = COCO_MDS_VEHICLE_NEW;

    count = coco_mds_apply(&vehicle, &fact, told);
    assert_int_equal(count, 2);
    assert_int_equal(told[0].at, T);
    assert_int_equal(told[1].at, T + 1);

    /* of before that */
    fact = fact_of("1 EnrouteToPickup", T - 5000);
    count = coco_mds_apply(&vehicle, &fact, told);
    assert_int_equal(count, 4);
    assert_int_equal(told[0].at, T + 2);
    assert_int_equal(told[2].at, T + 4);
    assert_int_equal(told[3].at, T + 4);        /* the trip's beginning */
    assert_true(told[3].starts);

    fact = fact_of("1 Completed", T + 60000);
    count = coco_mds_apply(&vehicle, &fact, told);
    assert_int_equal(count, 5);
    assert_int_equal(told[0].at, T + 60000);
    assert_int_equal(told[3].at, T + 60003);
    assert_int_equal(told[4].at, T + 60003);
    assert_true(told[4].ends);
    assert_int_equal(told[4].trip.requested_at, 7);
}


static void
trip_ids_are_of_those_under_way(void **state)
{
    coco_mds_fact_t     fact;
    coco_mds_told_t     told[COCO_MDS_TOLD_MAX];
    coco_mds_vehicle_t  vehicle = COCO_MDS_VEHICLE_NEW;

    fact = fact_of("1 Assigned", T);
    assert_int_equal(coco_mds_apply(&vehicle, &fact, told), 3);
    assert_int_equal(told[1].event, COCO_MDS_SERVICE_START);
    assert_int_equal(told[1].ntrips, 0);
    assert_int_equal(told[2].ntrips, 1);

    fact = fact_of("2 Assigned", T);
    assert_int_equal(coco_mds_apply(&vehicle, &fact, told), 0);

    /* the end is of both, what follows of the other alone */
    fact = fact_of("1 Completed", T);
    assert_int_equal(coco_mds_apply(&vehicle, &fact, told), 9);
    assert_int_equal(told[6].event, COCO_MDS_TRIP_END);
    assert_int_equal(told[6].ntrips, 2);
    assert_true(told[7].ends);
    assert_int_equal(told[8].event, COCO_MDS_RESERVATION_START);
    assert_int_equal(told[8].ntrips, 1);
    assert_int_equal(told[8].trips[0].bytes[0], '2');
}


/* --- texts --- */


static void
a_robot_that_is_out_and_in_order_serves(void **state)
{
    size_t           i;
    coco_error_t     err;
    coco_mds_fact_t  fact;

    static const struct {
        const char  *data;
        bool         serves, maintained;
    } cases[] = {
        { "{\"operationState\":\"PARKED\"}", true, false },
        { "{\"operationState\":\"DEPLOYED\"}", true, false },
        { "{\"operationState\":\"ON_TRIP\"}", true, false },
        { "{\"operationState\":\"OFF_DUTY\"}", false, false },
        { "{\"operationState\":\"GROUNDED\"}", false, false },
        { "{\"operationState\":null}", false, false },
        { "{}", false, false },
        { "{\"operationState\":\"PARKED\",\"undergoingMaintenance\":true}",
          false, true },
        { "{\"operationState\":\"PARKED\",\"needsMaintenance\":true}",
          false, false },
        { "{\"operationState\":\"PARKED\",\"needsPickup\":true}",
          false, false },
        { "{\"operationState\":\"PARKED\",\"driveable\":false}",
          false, false },
        { "{\"operationState\":\"PARKED\",\"driveable\":null,"
          "\"needsPickup\":null,\"needsMaintenance\":false}", true, false }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_mds_fact_decode(
            &fact, coco_string("BUSINESS"), T,
            (coco_str_t) { cases[i].data, strlen(cases[i].data) }, &err),
            COCO_OK);
        assert_int_equal(fact.serves, cases[i].serves);
        assert_int_equal(fact.maintained, cases[i].maintained);
    }
}


static void
a_reason_says_who_canceled(void **state)
{
    size_t  i;

    static const struct {
        const char        *fact;
        coco_mds_event_e   event;
    } cases[] = {
        { "1 Canceled customer", COCO_MDS_CUSTOMER_CANCELLATION },
        { "1 Canceled CUSTOMER_LEFT", COCO_MDS_CUSTOMER_CANCELLATION },
        { "1 Canceled Consumer-asked", COCO_MDS_CUSTOMER_CANCELLATION },
        { "1 Canceled pilot_abort", COCO_MDS_DRIVER_CANCELLATION },
        { "1 Canceled driver", COCO_MDS_DRIVER_CANCELLATION },
        { "1 Canceled cust", COCO_MDS_PROVIDER_CANCELLATION },
        { "1 Canceled reassigned", COCO_MDS_PROVIDER_CANCELLATION },
        { "1 Canceled", COCO_MDS_PROVIDER_CANCELLATION }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(fact_of(cases[i].fact, T).trip.cancellation,
                         cases[i].event);
    }
}


#define ID  "\"01000000-0000-8000-8000-000000000000\""

static void
facts_that_cannot_be_read_name_what(void **state)
{
    size_t           i;
    coco_error_t     err;
    coco_mds_fact_t  fact;

    static const struct {
        const char  *kind, *data, *field;
        int64_t      at;
    } cases[] = {
        { "COMMS", "{", "", T },
        { "COMMS", "[]", "", T },
        { "COMMS", "{}", "online", T },
        { "COMMS", "{\"online\":null}", "online", T },
        { "COMMS", "{\"online\":1}", "online", T },
        { "COMMS", "{\"online\":true}", "at", -1 },
        { "COMMS", "{\"online\":true}", "at", COCO_MDS_TIME_MAX + 1 },
        { "comms", "{\"online\":true}", "kind", T },
        { "DELIVERY", "{}", "trip", T },
        { "DELIVERY", "{\"trip\":" ID "}", "delivery", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":\"Created\",\"requestedAt\":1}", "status", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":3,\"requestedAt\":1}", "status", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":\"Assigned\"}", "requestedAt", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":\"Assigned\",\"requestedAt\":\"1\"}",
          "requestedAt", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":\"Assigned\",\"requestedAt\":1.5}",
          "requestedAt", T },
        { "DELIVERY", "{\"trip\":" ID ",\"delivery\":" ID ","
          "\"status\":\"Assigned\",\"requestedAt\":-1}", "requestedAt", T }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_mds_fact_decode(
            &fact, (coco_str_t) { cases[i].kind, strlen(cases[i].kind) },
            cases[i].at,
            (coco_str_t) { cases[i].data, strlen(cases[i].data) }, &err),
            COCO_ERROR);
        assert_string_equal(err.field, cases[i].field);
    }
}


static size_t
memory_of(const coco_mds_vehicle_t *vehicle, char *buf)
{
    coco_json_out_t  out;

    coco_json_out_init(&out, buf, MEMORY_MAX);
    coco_mds_encode(&out, vehicle);
    assert_true(coco_json_out_ok(&out));

    return out.len;
}


static void
a_memory_is_what_was_written(void **state)
{
    char                a[MEMORY_MAX], b[MEMORY_MAX];
    size_t              len;
    story_t             story;
    coco_error_t        err;
    coco_mds_vehicle_t  again, fresh = COCO_MDS_VEHICLE_NEW;

    /* as much as there can be */
    story_open(&story);
    story_tell(&story, "serves;1 EnrouteToPickup;2 EnrouteToDropoff;"
               "3 EnrouteToDropoff;4 EnrouteToDropoff;5 EnrouteToDropoff;"
               "6 EnrouteToDropoff;7 EnrouteToDropoff;8 EnrouteToDropoff;"
               "offline;2 Canceled;3 LoadedWaitingForPilot");

    len = memory_of(&story.vehicle, a);
    assert_int_equal(coco_mds_decode(&again, (coco_str_t) { a, len }, &err),
                     COCO_OK);
    assert_int_equal(memory_of(&again, b), len);
    assert_memory_equal(a, b, len);

    len = memory_of(&fresh, a);
    assert_int_equal(coco_mds_decode(&again, (coco_str_t) { a, len }, &err),
                     COCO_OK);
    assert_int_equal(again.state, COCO_MDS_REMOVED);
}


/* One change to a memory that is sound; from "": the whole is the text. */
static void
memories_that_cannot_be_are_refused(void **state)
{
    char                text[MEMORY_MAX], spoilt[2 * MEMORY_MAX], *at;
    size_t              i, len;
    story_t             story;
    coco_error_t        err;
    coco_mds_vehicle_t  again;

    static const struct {
        const char  *from, *to, *field;
    } cases[] = {
        { "", "", "" },
        { "", "{}", "state" },
        { "\"state\":\"on_trip\"", "\"state\":\"parked\"", "state" },
        { "\"state\":\"on_trip\"", "\"state\":\"elsewhere\"", "" },
        { "\"state\":\"on_trip\"", "\"state\":\"available\"", "" },
        { "\"state\":\"on_trip\"", "\"state\":\"removed\"", "" },
        { "\"state\":\"on_trip\"", "\"state\":\"non_contactable\"", "" },
        { "\"maintenance\":false", "\"maintenance\":true", "" },
        { "\"prior\"", "\"before\"", "prior" },
        { "\"toldAt\":", "\"toldAt\":-", "toldAt" },
        { "\"toldAt\":", "\"toldAt\":1000000", "toldAt" },
        { "\"trips\":", "\"trip\":", "trips" },
        { "\"trips\":[", "\"trips\":[1,", "trips" },
        { "\"status\":\"EnrouteToPickup\"", "\"status\":null", "status" },
        { "\"reached\":2", "\"reached\":1", "trips.phase" },
        { "\"reached\":2", "\"reached\":6", "trips.reached" },
        { "\"phase\":2", "\"phase\":\"2\"", "trips.phase" },
        { "\"phase\":2", "\"phase\":1", "" },
        { "provider_cancellation", "located", "trips.cancellation" }
    };

    story_open(&story);
    story_tell(&story, "serves;1 EnrouteToPickup");
    len = memory_of(&story.vehicle, text);
    text[len] = '\0';

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        at = strstr(text, cases[i].from);
        assert_non_null(at);

        if (cases[i].from[0] == '\0') {
            snprintf(spoilt, sizeof(spoilt), "%s", cases[i].to);

        } else {
            snprintf(spoilt, sizeof(spoilt), "%.*s%s%s", (int) (at - text),
                     text, cases[i].to, at + strlen(cases[i].from));
        }

        assert_int_equal(coco_mds_decode(
            &again, (coco_str_t) { spoilt, strlen(spoilt) }, &err),
            COCO_ERROR);
        assert_string_equal(err.field, cases[i].field);
    }
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_table_is_the_standards),
        cmocka_unit_test(each_state_has_its_ways_out),
        cmocka_unit_test(nothing_else_is_allowed),
        cmocka_unit_test(every_fact_in_every_state),
        cmocka_unit_test(the_same_is_told_later_when_it_is_away),
        cmocka_unit_test(a_delivery),
        cmocka_unit_test(what_a_robot_did_out_of_reach),
        cmocka_unit_test(several_deliveries),
        cmocka_unit_test(a_delivery_that_is_assigned_anew),
        cmocka_unit_test(maintenance_ends_where_a_trip_begins),
        cmocka_unit_test(more_than_we_hold_makes_room),
        cmocka_unit_test(times_ascend),
        cmocka_unit_test(trip_ids_are_of_those_under_way),
        cmocka_unit_test(a_robot_that_is_out_and_in_order_serves),
        cmocka_unit_test(a_reason_says_who_canceled),
        cmocka_unit_test(facts_that_cannot_be_read_name_what),
        cmocka_unit_test(a_memory_is_what_was_written),
        cmocka_unit_test(memories_that_cannot_be_are_refused)
    };

    city_table_load(&table);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
