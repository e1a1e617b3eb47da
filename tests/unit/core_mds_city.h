/*
 * A city that believes nothing: takes what is told of a vehicle and says what
 * is wrong with it, by the standard's table as tests/data/mds has it, which
 * is not the emitter's. Run from the top folder.
 */

#ifndef CORE_MDS_CITY_H
#define CORE_MDS_CITY_H

#include "core_test.h"
#include "coco_mds.h"

#define CITY_ROWS   64
#define CITY_TRIPS  256
#define CITY_WORD   32

typedef struct {
    char  from[CITY_WORD], event[CITY_WORD], to[CITY_WORD];
} city_row_t;

typedef struct {
    size_t      count;
    city_row_t  rows[CITY_ROWS];
} city_table_t;

typedef struct {
    coco_id_t  id;
    bool       started, ended, canceled;
    int64_t    started_at;
} city_trip_t;

typedef struct {
    const city_table_t  *table;
    char                 state[CITY_WORD];
    char                 prior[CITY_WORD];  /* before comms_lost */
    bool                 maintenance;
    bool                 owes_start;        /* trip_start, of which trip? */
    int64_t              event_at, told_at;
    size_t               events, ntrips;
    city_trip_t          trips[CITY_TRIPS];
} city_t;


static inline void
city_table_load(city_table_t *table)
{
    char         line[128];
    FILE        *file = fopen("tests/data/mds/transitions.txt", "r");
    city_row_t  *row;

    if (file == NULL) {
        perror("tests/data/mds/transitions.txt");
        exit(1);
    }

    table->count = 0;

    while (fgets(line, sizeof(line), file) != NULL) {
        row = &table->rows[table->count];

        if (line[0] != '#' && line[0] != '\n') {
            assert_true(table->count < CITY_ROWS);
            assert_int_equal(sscanf(line, "%31s %31s %31s", row->from,
                                    row->event, row->to), 3);
            table->count++;
        }
    }

    fclose(file);
}


static inline bool
city_table_has(const city_table_t *table, const char *from,
    const char *event, const char *to)
{
    size_t  i;

    for (i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].from, from) == 0
            && strcmp(table->rows[i].event, event) == 0
            && strcmp(table->rows[i].to, to) == 0)
        {
            return true;
        }
    }

    return false;
}


static inline void
city_open(city_t *city, const city_table_t *table)
{
    *city = (city_t) { .table = table, .state = "removed", .told_at = -1,
                       .event_at = -1 };
}


static inline city_trip_t *
city_trip(city_t *city, const coco_id_t *id)
{
    size_t  i;

    for (i = 0; i < city->ntrips; i++) {
        if (memcmp(&city->trips[i].id, id, sizeof(*id)) == 0) {
            return &city->trips[i];
        }
    }

    assert_true(i < CITY_TRIPS);
    city->trips[city->ntrips++] = (city_trip_t) { .id = *id };

    return &city->trips[i];
}


static inline void
city_word(char *ret, coco_str_t name)
{
    snprintf(ret, CITY_WORD, "%.*s", (int) name.len, name.data);
}


/* Is one of the words? */
static inline bool
city_is(const char *word, const char *const *words)
{
    while (*words != NULL && strcmp(word, *words) != 0) {
        words++;
    }

    return *words != NULL;
}


static inline const char *
city_trip_ids_fault(city_t *city, const coco_mds_told_t *told,
    const char *event, const char *state)
{
    bool      needs, started = false;
    unsigned  i, other;

    static const char *const  engaged[] = {
        "reserved", "on_trip", "stopped", NULL };
    static const char *const  ends[] = {
        "trip_end", "customer_cancellation", "driver_cancellation",
        "provider_cancellation", NULL };

    if (strcmp(event, "comms_lost") == 0) {
        needs = city_is(city->state, engaged);

    } else {
        needs = city_is(state, engaged) || city_is(event, ends);
    }

    if (needs != (told->ntrips > 0)) {
        return needs ? "no trip_ids" : "trip_ids without a trip";
    }

    for (i = 0; i < told->ntrips; i++) {
        if (city_trip(city, &told->trips[i])->ended) {
            return "a trip that is over";
        }

        started |= city_trip(city, &told->trips[i])->started;

        for (other = 0; other < i; other++) {
            if (memcmp(&told->trips[i], &told->trips[other],
                       sizeof(coco_id_t)) == 0)
            {
                return "a trip twice";
            }
        }
    }

    return strcmp(event, "trip_resume") == 0 && !started
           ? "trip_resume, and no trip has begun" : NULL;
}


static inline const char *
city_event_fault(city_t *city, const coco_mds_told_t *told)
{
    char         event[CITY_WORD], state[CITY_WORD];
    const char  *fault;

    city_word(event, coco_mds_event_name(told->event));
    city_word(state, coco_mds_state_name(told->state));

    if (!city_table_has(city->table, city->state, event, state)) {
        return "not in the table";
    }

    if (told->at <= city->told_at || told->at <= city->event_at) {
        return "not ascending";
    }

    fault = city_trip_ids_fault(city, told, event, state);
    if (fault != NULL) {
        return fault;
    }

    if (strcmp(event, "comms_lost") == 0) {
        memcpy(city->prior, city->state, sizeof(city->prior));

    } else if (strcmp(event, "comms_restored") == 0) {
        if (strcmp(city->prior, state) != 0) {
            return "not to where it was";
        }

    } else if (strcmp(event, "maintenance") == 0
               || strcmp(event, "maintenance_end") == 0)
    {
        if (city->maintenance == (strcmp(event, "maintenance") == 0)) {
            return "maintenance twice";
        }

        city->maintenance = !city->maintenance;

    } else if (city->maintenance) {
        return "under maintenance still";
    }

    city->owes_start = strcmp(event, "trip_start") == 0;
    city->event_at = told->at;
    city->events++;
    memcpy(city->state, state, sizeof(city->state));

    return NULL;
}


static inline const char *
city_trip_fault(city_t *city, const coco_mds_told_t *told)
{
    city_trip_t  *trip = city_trip(city, &told->trip.trip);

    if (told->at < city->told_at) {
        return "a trip before what was told";
    }

    if (told->starts == told->ends) {
        return "a trip that neither begins nor ends, or both";
    }

    if (told->starts) {
        if (trip->started) {
            return "a trip begins twice";
        }

        trip->started = true;
        trip->started_at = told->at;
        city->owes_start = false;
        return NULL;
    }

    if (!trip->started || trip->ended) {
        return "a trip ends that is not under way";
    }

    trip->ended = true;
    trip->canceled = told->canceled;

    return NULL;
}


/* What is wrong with it; NULL: nothing. */
static inline const char *
city_take(city_t *city, const coco_mds_told_t *told, unsigned count)
{
    unsigned     i;
    const char  *fault;

    for (i = 0; i < count; i++) {

        if (told[i].event != COCO_MDS_EVENTS) {
            if (city->owes_start) {
                break;
            }

            fault = city_event_fault(city, &told[i]);

        } else {
            fault = city_trip_fault(city, &told[i]);
        }

        if (fault != NULL) {
            return fault;
        }

        city->told_at = told[i].at;
    }

    return city->owes_start ? "trip_start of no trip" : NULL;
}

#endif /* CORE_MDS_CITY_H */
