/*
 * The line in which the parts of a robot travel. Must never let through what
 * an encoder, ours or the database's, would not have written.
 */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "coco_json_number.h"
#include "coco_json_write.h"
#include "coco_supply.h"


#define FLAGS         6
#define DECIMALS_MAX  9      /* that a float's shortest text may need */
#define BATTERY_MAX   64     /* bytes: what follows does not change a float */

/* What is left of a line; the token in hand. */
typedef struct {
    const char    *p, *end;
    const char    *name;             /* of the token, for *err */
    coco_str_t     token;
    coco_error_t  *err;
} line_t;


static size_t telemetry_encode(char *p, const coco_supply_telemetry_t *part);
static size_t battery_encode(char *p, float battery);
static size_t business_encode(char *p, const coco_supply_business_t *part);
static int part_decode(line_t *line, coco_supply_state_t *state);
static int telemetry_decode(line_t *line, coco_supply_telemetry_t *part);
static int business_decode(line_t *line, coco_supply_business_t *part);
static int demand_decode(line_t *line, coco_supply_demand_t *part);
static int lid_decode(line_t *line, coco_supply_lid_t *part);
static int integer_decode(line_t *line, const char *name, int64_t *ret,
    int64_t min, int64_t max);
static int coordinate_decode(line_t *line, const char *name, int32_t *ret,
    int32_t degrees);
static int battery_decode(line_t *line, float *ret);
static int id_decode(line_t *line, coco_id_t *ret);
static int bool_decode(line_t *line, const char *name, bool *ret);
static int token_next(line_t *line, const char *name);
static int token_error(line_t *line, const char *expected);


size_t
coco_supply_line_encode(char ret[COCO_SUPPLY_LINE_MAX], coco_str_t serial,
    const coco_supply_state_t *state)
{
    char  *p = ret;

    memcpy(p, serial.data, serial.len);
    p += serial.len;

    if (state->parts & COCO_SUPPLY_TELEMETRY) {
        p += telemetry_encode(p, &state->telemetry);
    }

    if (state->parts & COCO_SUPPLY_BUSINESS) {
        p += business_encode(p, &state->business);
    }

    if (state->parts & COCO_SUPPLY_DEMAND) {
        p += sprintf(p, " D %" PRId64 " %" PRIu32 " %" PRId64,
                     state->demand.version, state->demand.demands,
                     state->demand.held_until);
    }

    if (state->parts & COCO_SUPPLY_LID) {
        p += sprintf(p, " L %" PRId64 " %d", state->lid.at, state->lid.open);
    }

    return (size_t) (p - ret);
}


static size_t
telemetry_encode(char *p, const coco_supply_telemetry_t *part)
{
    char  *start = p;

    p += sprintf(p, " T %" PRId32 " %" PRId32 " ", part->latitude_e7,
                 part->longitude_e7);
    p += battery_encode(p, part->battery_percent);
    p += sprintf(p, " %" PRId64 " %" PRId64 " ", part->order.order_ms,
                 part->order.ts);
    coco_id_format(p, &part->order.id);
    p += COCO_ID_TEXT_LEN;
    p += sprintf(p, " %d", part->healthy);

    return (size_t) (p - start);
}


/* The text with the fewest decimals that reads back as the same float. */
static size_t
battery_encode(char *p, float battery)
{
    int              decimals;
    double           scale, value = (double) battery;
    coco_json_out_t  out;

    for (decimals = 0, scale = 1; decimals <= DECIMALS_MAX; decimals++) {
        value = round((double) battery * scale) / scale;

        if ((float) value == battery) {
            break;
        }

        value = (double) battery;
        scale *= 10;
    }

    coco_json_out_init(&out, p, COCO_SUPPLY_LINE_MAX);
    coco_json_double(&out, value);

    return out.len;
}


static size_t
business_encode(char *p, const coco_supply_business_t *part)
{
    char         *start = p;
    size_t        i;
    coco_str_t    state;
    const int8_t  flags[FLAGS] = {
        part->undergoing_maintenance, part->needs_maintenance,
        part->needs_pickup, part->has_food, part->driveable,
        part->needs_movement
    };

    state = part->operation_state == COCO_STATE_NONE
            ? coco_string("-") : coco_state_name(part->operation_state);

    p += sprintf(p, " B %" PRId64 " %.*s ", part->changed_at,
                 (int) state.len, state.data);

    for (i = 0; i < FLAGS; i++) {
        *p++ = flags[i] == COCO_UNSET ? '-' : flags[i] ? 't' : 'f';
    }

    return (size_t) (p - start);
}


int
coco_supply_line_decode(coco_str_t text, coco_str_t *ret_serial,
    coco_supply_state_t *ret, coco_error_t *err)
{
    line_t               line = { text.data, text.data + text.len, NULL,
                                  { NULL, 0 }, err };
    coco_str_t           serial;
    coco_supply_state_t  state = { .parts = 0 };

    if (token_next(&line, "serial") != COCO_OK) {
        return COCO_ERROR;
    }

    serial = line.token;

    if (!coco_serial_valid(serial)) {
        return token_error(&line, "1 to 64 of A-Z a-z 0-9 . _ -");
    }

    while (line.p < line.end) {
        if (part_decode(&line, &state) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    *ret_serial = serial;
    *ret = state;

    return COCO_OK;
}


static int
part_decode(line_t *line, coco_supply_state_t *state)
{
    int                 rc;
    char                letter;
    coco_supply_part_e  part;

    if (token_next(line, "part") != COCO_OK) {
        return COCO_ERROR;
    }

    letter = line->token.len == 1 ? line->token.data[0] : '\0';

    switch (letter) {

    case 'T':
        part = COCO_SUPPLY_TELEMETRY;
        rc = telemetry_decode(line, &state->telemetry);
        break;

    case 'B':
        part = COCO_SUPPLY_BUSINESS;
        rc = business_decode(line, &state->business);
        break;

    case 'D':
        part = COCO_SUPPLY_DEMAND;
        rc = demand_decode(line, &state->demand);
        break;

    case 'L':
        part = COCO_SUPPLY_LID;
        rc = lid_decode(line, &state->lid);
        break;

    default:
        return token_error(line, "T, B, D or L");
    }

    if (rc == COCO_OK && (state->parts & part)) {
        return coco_error_set(line->err, "part", "%c is there twice", letter);
    }

    state->parts |= part;

    return rc;
}


static int
telemetry_decode(line_t *line, coco_supply_telemetry_t *part)
{
    coco_order_t  *order = &part->order;

    if (coordinate_decode(line, "latitude", &part->latitude_e7, 90) != COCO_OK
        || coordinate_decode(line, "longitude", &part->longitude_e7, 180)
           != COCO_OK
        || battery_decode(line, &part->battery_percent) != COCO_OK
        || integer_decode(line, "order", &order->order_ms, INT64_MIN,
                          INT64_MAX) != COCO_OK
        || integer_decode(line, "ts", &order->ts, INT64_MIN, INT64_MAX)
           != COCO_OK
        || id_decode(line, &order->id) != COCO_OK)
    {
        return COCO_ERROR;
    }

    return bool_decode(line, "healthy", &part->healthy);
}


static int
business_decode(line_t *line, coco_supply_business_t *part)
{
    char           c;
    size_t         i;
    int8_t *const  flags[FLAGS] = {
        &part->undergoing_maintenance, &part->needs_maintenance,
        &part->needs_pickup, &part->has_food, &part->driveable,
        &part->needs_movement
    };

    if (integer_decode(line, "changed at", &part->changed_at, INT64_MIN,
                       INT64_MAX) != COCO_OK
        || token_next(line, "operation state") != COCO_OK)
    {
        return COCO_ERROR;
    }

    part->operation_state = coco_state_parse(line->token);

    if (part->operation_state == COCO_STATE_NONE
        && !coco_str_equal(line->token, coco_string("-")))
    {
        return token_error(line, "GROUNDED ON_TRIP PARKED OFF_DUTY DEPLOYED "
                           "or -");
    }

    if (token_next(line, "flags") != COCO_OK) {
        return COCO_ERROR;
    }

    for (i = 0; i < FLAGS; i++) {
        c = line->token.len == FLAGS ? line->token.data[i] : '\0';

        if (c != 't' && c != 'f' && c != '-') {
            return token_error(line, "six of t, f and -");
        }

        *flags[i] = c == '-' ? COCO_UNSET : c == 't' ? COCO_TRUE : COCO_FALSE;
    }

    return COCO_OK;
}


static int
demand_decode(line_t *line, coco_supply_demand_t *part)
{
    int64_t  demands;

    if (integer_decode(line, "version", &part->version, INT64_MIN, INT64_MAX)
        != COCO_OK
        || integer_decode(line, "demands", &demands, 0, UINT32_MAX) != COCO_OK)
    {
        return COCO_ERROR;
    }

    part->demands = (uint32_t) demands;

    return integer_decode(line, "held until", &part->held_until, INT64_MIN,
                          INT64_MAX);
}


static int
lid_decode(line_t *line, coco_supply_lid_t *part)
{
    if (integer_decode(line, "lid at", &part->at, INT64_MIN, INT64_MAX)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    return bool_decode(line, "lid open", &part->open);
}


static int
integer_decode(line_t *line, const char *name, int64_t *ret, int64_t min,
    int64_t max)
{
    int64_t             value;
    const char         *end;
    coco_json_number_t  number;

    if (token_next(line, name) != COCO_OK) {
        return COCO_ERROR;
    }

    end = line->token.data + line->token.len;

    if (coco_json_number_scan(&number, line->token.data, end) != end
        || !coco_json_number_int64(&number, &value)
        || (number.negative && value == 0)      /* nobody writes -0 */
        || value < min || value > max)
    {
        return token_error(line, "a whole number in its range");
    }

    *ret = value;

    return COCO_OK;
}


static int
coordinate_decode(line_t *line, const char *name, int32_t *ret,
    int32_t degrees)
{
    int64_t  value, limit = (int64_t) degrees * COCO_DEGREE_E7;

    if (integer_decode(line, name, &value, -limit, limit) != COCO_OK) {
        return COCO_ERROR;
    }

    *ret = (int32_t) value;

    return COCO_OK;
}


static int
battery_decode(line_t *line, float *ret)
{
    double              value;
    const char         *start, *end;
    coco_json_number_t  number;

    if (token_next(line, "battery") != COCO_OK) {
        return COCO_ERROR;
    }

    start = line->token.data;
    end = start + line->token.len;

    if (coco_json_number_scan(&number, start, end) == end
        && end - start > BATTERY_MAX && number.written == 0)
    {
        end = start + BATTERY_MAX;
    }

    if (coco_json_number_scan(&number, start, end) != end
        || !coco_json_number_in_range(&number, start, end))
    {
        return token_error(line, "a number from 0 to 100");
    }

    value = coco_json_number_double(&number, start, end);

    if (!(value >= 0 && value <= 100)) {
        return token_error(line, "a number from 0 to 100");
    }

    *ret = (float) value;

    return COCO_OK;
}


static int
id_decode(line_t *line, coco_id_t *ret)
{
    if (token_next(line, "id") != COCO_OK) {
        return COCO_ERROR;
    }

    return coco_id_parse(ret, line->token) == COCO_OK
           ? COCO_OK : token_error(line, "a UUID");
}


static int
bool_decode(line_t *line, const char *name, bool *ret)
{
    if (token_next(line, name) != COCO_OK) {
        return COCO_ERROR;
    }

    if (!coco_str_equal(line->token, coco_string("0"))
        && !coco_str_equal(line->token, coco_string("1")))
    {
        return token_error(line, "0 or 1");
    }

    *ret = line->token.data[0] == '1';

    return COCO_OK;
}


/* A token is not empty; after the first, one space stands before each. */
static int
token_next(line_t *line, const char *name)
{
    const char  *end;

    line->name = name;

    if (line->token.data != NULL && line->p < line->end) {
        line->p++;                              /* the space */
    }

    end = line->p < line->end
          ? memchr(line->p, ' ', (size_t) (line->end - line->p)) : NULL;

    line->token.data = line->p;
    line->token.len = (size_t) ((end ? end : line->end) - line->p);

    if (line->token.len == 0) {
        return coco_error_set(line->err, name, "missing, or a space too many");
    }

    line->p += line->token.len;

    return COCO_OK;
}


static int
token_error(line_t *line, const char *expected)
{
    return coco_error_set(line->err, line->name, "%s expected, not \"%.*s\"",
                          expected, (int) line->token.len, line->token.data);
}
