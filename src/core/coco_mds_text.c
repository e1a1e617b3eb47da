/*
 * The emitter's JSON: facts, and what it remembers of a vehicle. Both are of
 * our own making; what cannot be read is refused, never guessed.
 */

#include <inttypes.h>
#include <strings.h>

#include "coco_mds.h"
#include "coco_message.h"


enum {
    OPERATION_STATE, UNDERGOING, NEEDS_MAINTENANCE, NEEDS_PICKUP, DRIVEABLE,
    BUSINESS_MEMBERS
};

enum {
    TRIP, DELIVERY, STATUS, REASON, REQUESTED_AT, REACHED, PHASE, STARTED,
    CANCELLATION, TRIP_MEMBERS
};

enum {
    STATE, PRIOR, SERVES, MAINTAINED, MAINTENANCE, TOLD_AT, TRIPS,
    VEHICLE_MEMBERS
};


static int comms_decode(coco_mds_fact_t *ret, const coco_json_value_t *data,
    coco_error_t *err);
static void business_decode(coco_mds_fact_t *ret,
    const coco_json_value_t *data);
static int delivery_decode(coco_mds_trip_t *ret,
    const coco_json_value_t *data, coco_error_t *err);
static int trip_decode(coco_mds_trip_t *ret, const coco_json_value_t *m,
    coco_error_t *err);
static int id_decode(coco_id_t *ret, const coco_json_value_t *value,
    const char *field, coco_error_t *err);
static int int_decode(int64_t *ret, const coco_json_value_t *value,
    int64_t max, const char *field, coco_error_t *err);
static coco_mds_event_e cancellation_of(coco_str_t reason);
static bool is_true(const coco_json_value_t *value);
static int state_decode(coco_mds_state_e *ret,
    const coco_json_value_t *value, const char *field, coco_error_t *err);
static int trips_decode(coco_mds_vehicle_t *ret,
    const coco_json_value_t *trips, coco_error_t *err);
static int told_trip_decode(coco_mds_trip_t *ret,
    const coco_json_value_t *trip, coco_error_t *err);


static const coco_str_t  business_names[BUSINESS_MEMBERS] = {
    [OPERATION_STATE] = coco_string("operationState"),
    [UNDERGOING] = coco_string("undergoingMaintenance"),
    [NEEDS_MAINTENANCE] = coco_string("needsMaintenance"),
    [NEEDS_PICKUP] = coco_string("needsPickup"),
    [DRIVEABLE] = coco_string("driveable")
};

static const coco_str_t  trip_names[TRIP_MEMBERS] = {
    [TRIP] = coco_string("trip"),
    [DELIVERY] = coco_string("delivery"),
    [STATUS] = coco_string("status"),
    [REASON] = coco_string("reason"),
    [REQUESTED_AT] = coco_string("requestedAt"),
    [REACHED] = coco_string("reached"),
    [PHASE] = coco_string("phase"),
    [STARTED] = coco_string("started"),
    [CANCELLATION] = coco_string("cancellation")
};

static const coco_str_t  vehicle_names[VEHICLE_MEMBERS] = {
    [STATE] = coco_string("state"),
    [PRIOR] = coco_string("prior"),
    [SERVES] = coco_string("serves"),
    [MAINTAINED] = coco_string("maintained"),
    [MAINTENANCE] = coco_string("maintenance"),
    [TOLD_AT] = coco_string("toldAt"),
    [TRIPS] = coco_string("trips")
};


int
coco_mds_fact_decode(coco_mds_fact_t *ret, coco_str_t kind, int64_t at,
    coco_str_t data, coco_error_t *err)
{
    coco_json_value_t  object;

    *ret = (coco_mds_fact_t) { .at = at };

    if (at < 0 || at > COCO_MDS_TIME_MAX) {
        return coco_error_set(err, "at", "a time from 1970 to 9999 expected");
    }

    if (coco_message_read(&object, data, err) != COCO_OK) {
        return COCO_ERROR;
    }

    if (coco_str_equal(kind, coco_string("COMMS"))) {
        ret->kind = COCO_MDS_FACT_COMMS;
        return comms_decode(ret, &object, err);
    }

    if (coco_str_equal(kind, coco_string("BUSINESS"))) {
        ret->kind = COCO_MDS_FACT_BUSINESS;
        business_decode(ret, &object);
        return COCO_OK;
    }

    if (coco_str_equal(kind, coco_string("DELIVERY"))) {
        ret->kind = COCO_MDS_FACT_DELIVERY;
        return delivery_decode(&ret->trip, &object, err);
    }

    return coco_error_set(err, "kind",
                          "one of COMMS BUSINESS DELIVERY expected");
}


static int
comms_decode(coco_mds_fact_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    bool               has;
    coco_str_t         name = coco_string("online");
    coco_json_value_t  online;

    coco_message_members(data, &name, 1, &online);

    if (coco_message_bool(&ret->online, &has, &online, "online", err)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    return has ? COCO_OK
               : coco_error_set(err, "online", "true or false expected");
}


/*
 * The seeds' normalizeVehicleState, as far as it is not a trip's: a robot
 * that is out and in order is for hire, also on its way without a delivery.
 * What is not said stands in nobody's way.
 */
static void
business_decode(coco_mds_fact_t *ret, const coco_json_value_t *data)
{
    coco_str_t         state;
    coco_json_value_t  m[BUSINESS_MEMBERS];

    coco_message_members(data, business_names, BUSINESS_MEMBERS, m);
    state = m[OPERATION_STATE].string;

    ret->maintained = is_true(&m[UNDERGOING]);

    ret->serves = !ret->maintained && !is_true(&m[NEEDS_MAINTENANCE])
                  && !is_true(&m[NEEDS_PICKUP])
                  && !(coco_message_has(&m[DRIVEABLE])
                       && m[DRIVEABLE].type == COCO_JSON_FALSE)
                  && (coco_str_equal(state, coco_string("PARKED"))
                      || coco_str_equal(state, coco_string("DEPLOYED"))
                      || coco_str_equal(state, coco_string("ON_TRIP")));
}


static int
delivery_decode(coco_mds_trip_t *ret, const coco_json_value_t *data,
    coco_error_t *err)
{
    coco_json_value_t  m[TRIP_MEMBERS];

    coco_message_members(data, trip_names, TRIP_MEMBERS, m);

    if (trip_decode(ret, m, err) != COCO_OK) {
        return COCO_ERROR;
    }

    ret->cancellation = cancellation_of(m[REASON].string);

    return COCO_OK;
}


static int
trip_decode(coco_mds_trip_t *ret, const coco_json_value_t *m,
    coco_error_t *err)
{
    *ret = (coco_mds_trip_t) { .phase = COCO_MDS_PHASE_NONE };

    if (id_decode(&ret->trip, &m[TRIP], "trip", err) != COCO_OK
        || id_decode(&ret->delivery, &m[DELIVERY], "delivery", err)
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    ret->status = coco_delivery_status_parse(m[STATUS].string);

    if (ret->status < COCO_DELIVERY_ASSIGNED) {
        return coco_error_set(err, "status",
                              "the status of a robot's delivery expected");
    }

    return int_decode(&ret->requested_at, &m[REQUESTED_AT],
                      COCO_MDS_TIME_MAX, "requestedAt", err);
}


static int
id_decode(coco_id_t *ret, const coco_json_value_t *value, const char *field,
    coco_error_t *err)
{
    if (coco_id_parse(ret, value->string) != COCO_OK) {
        return coco_error_set(err, field, "a UUID expected");
    }

    return COCO_OK;
}


static int
int_decode(int64_t *ret, const coco_json_value_t *value, int64_t max,
    const char *field, coco_error_t *err)
{
    if (!coco_message_has(value) || value->type != COCO_JSON_NUMBER
        || !value->integer || value->int64 < 0 || value->int64 > max)
    {
        return coco_error_set(err, field, "an integer from 0 to %" PRId64
                              " expected", max);
    }

    *ret = value->int64;

    return COCO_OK;
}


/* Who has called it off, by how the reason begins, which is a text of whoever
 * did: the customer, the one who drives the robot, else us. */
static coco_mds_event_e
cancellation_of(coco_str_t reason)
{
    size_t  i;

    static const struct {
        coco_str_t        who;
        coco_mds_event_e  event;
    } begins[] = {
        { coco_string("customer"), COCO_MDS_CUSTOMER_CANCELLATION },
        { coco_string("consumer"), COCO_MDS_CUSTOMER_CANCELLATION },
        { coco_string("driver"), COCO_MDS_DRIVER_CANCELLATION },
        { coco_string("pilot"), COCO_MDS_DRIVER_CANCELLATION }
    };

    for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        if (reason.len >= begins[i].who.len
            && strncasecmp(reason.data, begins[i].who.data,
                           begins[i].who.len) == 0)
        {
            return begins[i].event;
        }
    }

    return COCO_MDS_PROVIDER_CANCELLATION;
}


static bool
is_true(const coco_json_value_t *value)
{
    return coco_message_has(value) && value->type == COCO_JSON_TRUE;
}


void
coco_mds_encode(coco_json_out_t *out, const coco_mds_vehicle_t *vehicle)
{
    const coco_mds_trip_t  *trip, *end;

    coco_json_object_open(out);
    coco_json_name(out, "state");
    coco_json_string(out, coco_mds_state_name(vehicle->state));
    coco_json_name(out, "prior");
    coco_json_string(out, coco_mds_state_name(vehicle->prior));
    coco_json_name(out, "serves");
    coco_json_bool(out, vehicle->serves);
    coco_json_name(out, "maintained");
    coco_json_bool(out, vehicle->maintained);
    coco_json_name(out, "maintenance");
    coco_json_bool(out, vehicle->maintenance);
    coco_json_name(out, "toldAt");
    coco_json_int(out, vehicle->told_at);
    coco_json_name(out, "trips");
    coco_json_array_open(out);

    end = vehicle->trips + vehicle->ntrips;

    for (trip = vehicle->trips; trip < end; trip++) {
        coco_json_object_open(out);
        coco_json_name(out, "trip");
        coco_json_id(out, &trip->trip);
        coco_json_name(out, "delivery");
        coco_json_id(out, &trip->delivery);
        coco_json_name(out, "requestedAt");
        coco_json_int(out, trip->requested_at);
        coco_json_name(out, "status");
        coco_json_string(out, coco_delivery_status_name(trip->status));
        coco_json_name(out, "reached");
        coco_json_int(out, trip->reached);
        coco_json_name(out, "phase");
        coco_json_int(out, trip->phase);
        coco_json_name(out, "started");
        coco_json_bool(out, trip->started);
        coco_json_name(out, "cancellation");
        coco_json_string(out, coco_mds_event_name(trip->cancellation));
        coco_json_object_close(out);
    }

    coco_json_array_close(out);
    coco_json_object_close(out);
}


int
coco_mds_decode(coco_mds_vehicle_t *ret, coco_str_t memory,
    coco_error_t *err)
{
    coco_json_value_t  object, m[VEHICLE_MEMBERS];

    *ret = (coco_mds_vehicle_t) { .state = COCO_MDS_REMOVED };

    if (coco_message_read(&object, memory, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, vehicle_names, VEHICLE_MEMBERS, m);

    if (state_decode(&ret->state, &m[STATE], "state", err) != COCO_OK
        || state_decode(&ret->prior, &m[PRIOR], "prior", err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    /* which goes on from the time of the last fact */
    if (int_decode(&ret->told_at, &m[TOLD_AT], 2 * COCO_MDS_TIME_MAX,
                   "toldAt", err) != COCO_OK
        || trips_decode(ret, &m[TRIPS], err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    ret->serves = is_true(&m[SERVES]);
    ret->maintained = is_true(&m[MAINTAINED]);
    ret->maintenance = is_true(&m[MAINTENANCE]);

    return coco_mds_vehicle_sound(ret)
           ? COCO_OK
           : coco_error_set(err, "", "a state that its trips make expected");
}


static int
state_decode(coco_mds_state_e *ret, const coco_json_value_t *value,
    const char *field, coco_error_t *err)
{
    *ret = coco_mds_state_parse(value->string);

    if (*ret == COCO_MDS_STATES) {
        return coco_error_set(err, field, "a vehicle_state expected");
    }

    return COCO_OK;
}


static int
trips_decode(coco_mds_vehicle_t *ret, const coco_json_value_t *trips,
    coco_error_t *err)
{
    size_t             pos = 0;
    coco_json_value_t  item;

    if (!coco_message_has(trips) || trips->type != COCO_JSON_ARRAY) {
        return coco_error_set(err, "trips", "an array expected");
    }

    while (coco_json_element_next(trips, &pos, &item)) {

        if (item.type != COCO_JSON_OBJECT || ret->ntrips == COCO_MDS_TRIPS) {
            return coco_error_set(err, "trips", "%d objects at most expected",
                                  COCO_MDS_TRIPS);
        }

        if (told_trip_decode(&ret->trips[ret->ntrips++], &item, err)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
told_trip_decode(coco_mds_trip_t *ret, const coco_json_value_t *trip,
    coco_error_t *err)
{
    int64_t            phase = 0, reached = 0;
    coco_json_value_t  m[TRIP_MEMBERS];

    coco_message_members(trip, trip_names, TRIP_MEMBERS, m);

    if (trip_decode(ret, m, err) != COCO_OK
        || int_decode(&reached, &m[REACHED], COCO_MDS_PHASE_AT_DROPOFF,
                      "trips.reached", err) != COCO_OK
        || int_decode(&phase, &m[PHASE], reached, "trips.phase", err)
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    ret->reached = (coco_mds_phase_e) reached;
    ret->phase = (coco_mds_phase_e) phase;
    ret->started = is_true(&m[STARTED]);
    ret->cancellation = coco_mds_event_parse(m[CANCELLATION].string);

    if (ret->cancellation != COCO_MDS_CUSTOMER_CANCELLATION
        && ret->cancellation != COCO_MDS_DRIVER_CANCELLATION
        && ret->cancellation != COCO_MDS_PROVIDER_CANCELLATION)
    {
        return coco_error_set(err, "trips.cancellation",
                              "an event of that kind expected");
    }

    return COCO_OK;
}
