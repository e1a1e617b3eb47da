/*
 * What is newer of a robot, the standing checks one by one and together, and
 * the line: read back, bounded, and refused in every place.
 */

#include <math.h>

#include "core_test.h"
#include "coco_supply.h"


#define NOW       INT64_C(1795000000000)
#define TELEMETRY "T 340500001 -1182500000 87.25 1795000000000 1795000000001 " \
                  "01234567-89ab-8def-8123-456789abcdef 1"
#define BUSINESS  "B 1795000000002 PARKED tf-tf-"
#define DEMAND    "D 7 2 1795000000003"
#define LID       "L 1795000000004 1"

static const coco_supply_rules_t  rules = {
    .online_ms = 60000, .low_battery_percent = 15.3
};


/* Usable, all parts known. */
static coco_supply_state_t
usable(void)
{
    return (coco_supply_state_t) {
        .parts = COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS
                 | COCO_SUPPLY_DEMAND | COCO_SUPPLY_LID,
        .telemetry = {
            .order = { .order_ms = NOW - 1000, .ts = NOW },
            .battery_percent = 15.3f, .healthy = true
        },
        .business = {
            .changed_at = 5, .operation_state = COCO_STATE_PARKED,
            .undergoing_maintenance = COCO_FALSE,
            .needs_maintenance = COCO_UNSET, .needs_pickup = COCO_FALSE,
            .has_food = COCO_UNSET, .driveable = COCO_TRUE,
            .needs_movement = COCO_TRUE
        },
        .demand = { .version = 5, .held_until = NOW },
        .lid = { .at = 5, .open = false }
    };
}


/* Makes the robot fail one check. */
static void
fail_check(coco_supply_state_t *robot, int reason)
{
    switch (reason) {

    case COCO_REASON_OFFLINE:
        robot->telemetry.order.order_ms = NOW - rules.online_ms - 1;
        break;

    case COCO_REASON_UNHEALTHY:
        robot->telemetry.healthy = false;
        break;

    case COCO_REASON_NOT_DRIVEABLE:
        robot->business.driveable = COCO_FALSE;
        break;

    case COCO_REASON_MAINTENANCE:
        robot->business.needs_maintenance = COCO_TRUE;
        break;

    case COCO_REASON_NEEDS_PICKUP:
        robot->business.needs_pickup = COCO_TRUE;
        break;

    case COCO_REASON_HAS_FOOD:
        robot->business.has_food = COCO_TRUE;
        break;

    case COCO_REASON_ON_TRIP:
        robot->business.operation_state = COCO_STATE_ON_TRIP;
        break;

    case COCO_REASON_OFF_DUTY:
        robot->business.operation_state = COCO_STATE_OFF_DUTY;
        break;

    case COCO_REASON_GROUNDED:
        robot->business.operation_state = COCO_STATE_GROUNDED;
        break;

    case COCO_REASON_LID_OPEN:
        robot->lid.open = true;
        break;

    case COCO_REASON_HELD:
        robot->demand.held_until = NOW + 1;
        break;

    case COCO_REASON_BUSY:
        robot->demand.demands = 1;
        break;

    case COCO_REASON_LOW_BATTERY:
        robot->telemetry.battery_percent = 15.2f;
        break;
    }
}


static coco_reasons_t
reasons_of(const coco_supply_state_t *robot)
{
    return coco_supply_reasons(robot, &rules, NOW, NULL);
}


static void
names_are_the_contracts(void **state)
{
    int         reason;
    char        list[300] = "";
    coco_str_t  name;

    for (reason = 0; reason < COCO_REASONS; reason++) {
        name = coco_reason_name((coco_reason_e) reason);
        strncat(list, name.data, name.len);
        strcat(list, " ");
    }

    assert_string_equal(list,
        "OFFLINE UNHEALTHY NOT_DRIVEABLE MAINTENANCE NEEDS_PICKUP HAS_FOOD "
        "ON_TRIP OFF_DUTY GROUNDED LID_OPEN HELD BUSY LOW_BATTERY "
        "BATTERY_RANGE OUT_OF_AREA TOO_FAR ");
}


static void
each_check_fails_alone_and_beside_others(void **state)
{
    int                  a, b;
    coco_reasons_t       expected;
    coco_supply_state_t  robot = usable();

    const coco_reasons_t  states = 1u << COCO_REASON_ON_TRIP
                                   | 1u << COCO_REASON_OFF_DUTY
                                   | 1u << COCO_REASON_GROUNDED;

    assert_int_equal(reasons_of(&robot), 0);

    for (a = 0; a < COCO_REASONS_STANDING; a++) {
        for (b = 0; b < COCO_REASONS_STANDING; b++) {
            robot = usable();
            fail_check(&robot, a);
            fail_check(&robot, b);

            expected = 1u << b;
            if (!((states >> a) & 1) || !((states >> b) & 1)) {
                expected |= 1u << a;    /* the state can be only one */
            }

            assert_int_equal(reasons_of(&robot), expected);
        }
    }
}


static void
what_is_not_known_blocks_or_not(void **state)
{
    coco_supply_state_t  robot = usable();

    /* never heard: nothing that it would have said is checked */
    robot.parts &= ~(unsigned) COCO_SUPPLY_TELEMETRY;
    robot.lid.open = true;
    robot.telemetry.healthy = false;
    robot.telemetry.battery_percent = 0;
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_OFFLINE);

    /* heard of long ago: that is checked */
    robot = usable();
    fail_check(&robot, COCO_REASON_OFFLINE);
    fail_check(&robot, COCO_REASON_LID_OPEN);
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_OFFLINE
                                         | 1u << COCO_REASON_LID_OPEN);

    robot = usable();
    robot.business.operation_state = COCO_STATE_NONE;
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_OFF_DUTY);

    robot = usable();
    robot.business.undergoing_maintenance = COCO_TRUE;
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_MAINTENANCE);
    robot.parts &= ~(unsigned) COCO_SUPPLY_BUSINESS;
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_OFF_DUTY);

    robot = usable();
    robot.business.driveable = COCO_UNSET;
    robot.business.needs_pickup = COCO_UNSET;
    robot.business.undergoing_maintenance = COCO_UNSET;
    assert_int_equal(reasons_of(&robot), 0);

    robot = usable();
    robot.demand.demands = 3;
    robot.lid.open = true;
    robot.parts = COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS;
    assert_int_equal(reasons_of(&robot), 0);

    robot.parts = 0;
    assert_int_equal(reasons_of(&robot), 1u << COCO_REASON_OFFLINE
                                         | 1u << COCO_REASON_OFF_DUTY);
}


/* The answer stands at `until`, and another one a millisecond later. */
static void
time_changes_it_when_it_says(void **state)
{
    int64_t              until;
    coco_reasons_t       reasons;
    coco_supply_state_t  robot = usable();

    robot.demand.held_until = NOW + 5000;
    reasons = coco_supply_reasons(&robot, &rules, NOW, &until);
    assert_int_equal(reasons, 1u << COCO_REASON_HELD);
    assert_true(until == NOW + 4999);
    assert_int_equal(coco_supply_reasons(&robot, &rules, until, NULL),
                     reasons);

    reasons = coco_supply_reasons(&robot, &rules, until + 1, &until);
    assert_int_equal(reasons, 0);
    assert_true(until == NOW + 59000);
    assert_int_equal(coco_supply_reasons(&robot, &rules, until, NULL), 0);

    reasons = coco_supply_reasons(&robot, &rules, until + 1, &until);
    assert_int_equal(reasons, 1u << COCO_REASON_OFFLINE);
    assert_true(until == INT64_MAX);

    /* at the ends of time nothing overflows */
    robot.telemetry.order.order_ms = INT64_MAX;
    robot.demand.held_until = INT64_MIN;
    assert_int_equal(coco_supply_reasons(&robot, &rules, INT64_MAX, &until),
                     0);
    assert_true(until == INT64_MAX);
    robot.telemetry.order.order_ms = INT64_MIN;
    assert_int_equal(coco_supply_reasons(&robot, &rules, INT64_MIN, &until),
                     0);
    assert_true(until == INT64_MIN + rules.online_ms);
}


static void
parts_are_newer_by_themselves(void **state)
{
    coco_supply_state_t  robot = { .parts = 0 }, from = usable();

    from.parts = COCO_SUPPLY_BUSINESS;
    assert_int_equal(coco_supply_merge(&robot, &from), COCO_SUPPLY_BUSINESS);
    assert_int_equal(robot.parts, COCO_SUPPLY_BUSINESS);
    assert_int_equal(coco_supply_merge(&robot, &from), 0);

    from.parts = 15;
    assert_int_equal(coco_supply_merge(&robot, &from),
                     15 & ~COCO_SUPPLY_BUSINESS);
    assert_int_equal(coco_supply_merge(&robot, &from), 0);

    /* each by its own version; what is older is not taken */
    from.telemetry.order.ts++;
    from.business.changed_at--;
    from.business.has_food = COCO_TRUE;
    from.demand.version++;
    from.demand.demands = 4;
    from.lid.at--;
    from.lid.open = true;
    assert_int_equal(coco_supply_merge(&robot, &from),
                     COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_DEMAND);
    assert_int_equal(robot.demand.demands, 4);
    assert_false(robot.lid.open);
    assert_int_equal(robot.business.has_food, COCO_UNSET);

    from.telemetry.order.id.bytes[15]++;
    from.lid.at += 2;
    from.business.changed_at += 2;
    from.demand.version -= 2;
    assert_int_equal(coco_supply_merge(&robot, &from),
                     COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_LID
                     | COCO_SUPPLY_BUSINESS);
    assert_true(robot.lid.open);

    /* of two lids at the same time the open one */
    from.lid.open = false;
    assert_int_equal(coco_supply_merge(&robot, &from), 0);
    assert_true(robot.lid.open);

    robot.lid.open = false;
    from.lid.open = true;
    assert_int_equal(coco_supply_merge(&robot, &from), COCO_SUPPLY_LID);
    assert_true(robot.lid.open);

    from.parts = 0;
    from.lid.at++;
    assert_int_equal(coco_supply_merge(&robot, &from), 0);
}


/* --- the line ------------------------------------------------------------- */

static int
line_decode(const char *line, coco_supply_state_t *ret, coco_error_t *err)
{
    int         rc;
    char       *copy = malloc(strlen(line) + 1);
    coco_str_t  serial;

    assert_non_null(copy);
    memcpy(copy, line, strlen(line));       /* no NUL behind it */

    rc = coco_supply_line_decode((coco_str_t) { copy, strlen(line) }, &serial,
                                 ret, err);

    if (rc == COCO_OK) {
        assert_ptr_equal(serial.data, copy);
        assert_int_equal(serial.len, strcspn(line, " "));
    }

    free(copy);

    return rc;
}


/* Decoded, and written again. */
static void
line_again(const char *line, const char *expected)
{
    char                 buf[COCO_SUPPLY_LINE_MAX];
    size_t               len;
    coco_str_t           serial = { line, strcspn(line, " ") };
    coco_error_t         err;
    coco_supply_state_t  robot;

    if (line_decode(line, &robot, &err) != COCO_OK) {
        fail_msg("%s: %s: %s", line, err.field, err.reason);
    }

    len = coco_supply_line_encode(buf, serial, &robot);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(buf, expected, len);
}


static void
lines_read_back(void **state)
{
    size_t              i;
    static const char  *const  lines[] = {
        "R-1 " TELEMETRY " " BUSINESS " " DEMAND " " LID, "R-1",
        "R-1 " TELEMETRY, "R-1 " BUSINESS, "R-1 " DEMAND, "R-1 " LID,
        "R-1 B -5 - ------", "R-1 B 0 GROUNDED tttttt",
        "R-1 D -9223372036854775808 0 9223372036854775807",
        "R-1 D 0 4294967295 0", "R-1 L -1 0",
        "R-1 T -900000000 1800000000 0 0 0 "
            "00000000-0000-0000-0000-000000000000 0",
        "R-1 T 900000000 -1800000000 100 0 0 "
            "ffffffff-ffff-ffff-ffff-ffffffffffff 1"
    };

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        line_again(lines[i], lines[i]);
    }

    /* in any order */
    line_again("R-1 " LID " " DEMAND " " TELEMETRY " " BUSINESS,
               "R-1 " TELEMETRY " " BUSINESS " " DEMAND " " LID);
}


static void
a_line_says_what_it_says(void **state)
{
    coco_error_t         err;
    coco_supply_state_t  robot;

    assert_int_equal(line_decode("R-1 " TELEMETRY " " BUSINESS " " DEMAND " "
                                 LID, &robot, &err), COCO_OK);

    assert_int_equal(robot.parts, 15);
    assert_int_equal(robot.telemetry.latitude_e7, 340500001);
    assert_int_equal(robot.telemetry.longitude_e7, -1182500000);
    assert_true(robot.telemetry.battery_percent == 87.25f);
    assert_true(robot.telemetry.order.order_ms == NOW);
    assert_true(robot.telemetry.order.ts == NOW + 1);
    assert_int_equal(robot.telemetry.order.id.bytes[1], 0x23);
    assert_true(robot.telemetry.healthy);
    assert_true(robot.business.changed_at == NOW + 2);
    assert_int_equal(robot.business.operation_state, COCO_STATE_PARKED);
    assert_int_equal(robot.business.undergoing_maintenance, COCO_TRUE);
    assert_int_equal(robot.business.needs_maintenance, COCO_FALSE);
    assert_int_equal(robot.business.needs_pickup, COCO_UNSET);
    assert_int_equal(robot.business.has_food, COCO_TRUE);
    assert_int_equal(robot.business.driveable, COCO_FALSE);
    assert_int_equal(robot.business.needs_movement, COCO_UNSET);
    assert_true(robot.demand.version == 7);
    assert_int_equal(robot.demand.demands, 2);
    assert_true(robot.demand.held_until == NOW + 3);
    assert_true(robot.lid.at == NOW + 4);
    assert_true(robot.lid.open);
}


static void
batteries_read_back(void **state)
{
    int                  i;
    char                 buf[COCO_SUPPLY_LINE_MAX], line[1500];
    size_t               len;
    coco_str_t           serial;
    coco_error_t         err;
    coco_supply_state_t  robot = usable(), again;

    for (i = 0; i <= 100000; i += 7) {
        robot.telemetry.battery_percent = (float) i / 1000 + (float) i / 3e7f;
        robot.telemetry.battery_percent =
            fminf(robot.telemetry.battery_percent, 100);

        len = coco_supply_line_encode(buf, coco_string("R-1"), &robot);
        assert_int_equal(coco_supply_line_decode((coco_str_t) { buf, len },
                                                 &serial, &again, &err),
                         COCO_OK);
        assert_true(again.telemetry.battery_percent
                    == robot.telemetry.battery_percent);
    }

    robot.telemetry.battery_percent = 1e-45f;     /* the least there is */
    len = coco_supply_line_encode(buf, coco_string("R-1"), &robot);
    assert_int_equal(coco_supply_line_decode((coco_str_t) { buf, len },
                                             &serial, &again, &err), COCO_OK);
    assert_true(again.telemetry.battery_percent == 1e-45f);

    /* Postgres writes 1e-323, and all the digits of 1000 */
    snprintf(line, sizeof(line), "R-1 T 0 0 12.5%01300d 0 0 "
             "01234567-89ab-8def-8123-456789abcdef 1", 1);
    assert_int_equal(line_decode(line, &again, &err), COCO_OK);
    assert_true(again.telemetry.battery_percent == 12.5f);
}


static void
longest_line_fits(void **state)
{
    char                 buf[COCO_SUPPLY_LINE_MAX];
    char                 serial[COCO_SERIAL_MAX];
    size_t               len;
    coco_supply_state_t  robot = usable();

    memset(serial, 'x', sizeof(serial));
    robot.telemetry.order.order_ms = robot.telemetry.order.ts = INT64_MIN;
    robot.telemetry.latitude_e7 = -900000000;
    robot.telemetry.longitude_e7 = -1800000000;
    robot.telemetry.battery_percent = 1.17549435e-38f;
    robot.business.changed_at = INT64_MIN;
    robot.business.operation_state = COCO_STATE_OFF_DUTY;
    robot.demand.version = robot.demand.held_until = INT64_MIN;
    robot.demand.demands = UINT32_MAX;
    robot.lid.at = INT64_MIN;

    len = coco_supply_line_encode(buf,
                                  (coco_str_t) { serial, sizeof(serial) },
                                  &robot);
    assert_in_range(len, 300, COCO_SUPPLY_LINE_MAX);
}


static void
other_lines_are_refused(void **state)
{
    size_t               i;
    coco_error_t         err;
    coco_supply_state_t  robot, before;

    static const struct {
        const char  *field, *line;
    } cases[] = {
        { "serial", "" }, { "serial", " " }, { "serial", " R-1" },
        { "serial", "@host:8080" }, { "serial", ".. " LID },
        { "serial", "R-1\n" }, { "serial", "R\t1 " LID },
        { "part", "R-1 " }, { "part", "R-1  " LID }, { "part", "R-1 X" },
        { "part", "R-1 t 1 2" }, { "part", "R-1 TT" },
        { "part", "R-1 " LID " " }, { "part", "R-1 " LID " 1" },
        { "part", "R-1 " LID " " LID },
        { "part", "R-1 " BUSINESS " " LID " " BUSINESS },
        { "part", "R-1 " TELEMETRY " " TELEMETRY },
        { "part", "R-1 " DEMAND " " DEMAND },
        { "latitude", "R-1 T" }, { "latitude", "R-1 T 900000001 0" },
        { "latitude", "R-1 T -900000001 0" }, { "latitude", "R-1 T 34.05 0" },
        { "latitude", "R-1 T 1e3 0" }, { "latitude", "R-1 T +1 0" },
        { "latitude", "R-1 T 01 0" }, { "latitude", "R-1 T -0 0" },
        { "latitude", "R-1 T 0x1 0" }, { "latitude", "R-1 T - 0" },
        { "longitude", "R-1 T 0" }, { "longitude", "R-1 T 0 1800000001" },
        { "longitude", "R-1 T 0 -1800000001" },
        { "battery", "R-1 T 0 0 100.1 0" }, { "battery", "R-1 T 0 0 -1 0" },
        { "battery", "R-1 T 0 0 nan 0" }, { "battery", "R-1 T 0 0 null 0" },
        { "battery", "R-1 T 0 0 1e400 0" }, { "battery", "R-1 T 0 0 .5 0" },
        { "battery", "R-1 T 0 0 5. 0" }, { "battery", "R-1 T 0 0 inf 0" },
        { "order", "R-1 T 0 0 5 x 0" },
        { "order", "R-1 T 0 0 5 9223372036854775808 0" },
        { "ts", "R-1 T 0 0 5 0 -9223372036854775809" },
        { "ts", "R-1 T 0 0 5 0 99999999999999999999999" },
        { "id", "R-1 T 0 0 5 0 0 0123456789ab8def8123456789abcdef 1" },
        { "id", "R-1 T 0 0 5 0 0 01234567-89ab-8def-8123-456789abcdeg 1" },
        { "healthy", "R-1 T 0 0 5 0 0 01234567-89ab-8def-8123-456789abcdef" },
        { "healthy",
          "R-1 T 0 0 5 0 0 01234567-89ab-8def-8123-456789abcdef t" },
        { "changed at", "R-1 B x" }, { "operation state", "R-1 B 5" },
        { "operation state", "R-1 B 5 parked ------" },
        { "operation state", "R-1 B 5  ------" },
        { "flags", "R-1 B 5 PARKED" }, { "flags", "R-1 B 5 PARKED -----" },
        { "flags", "R-1 B 5 PARKED -------" },
        { "flags", "R-1 B 5 PARKED -----T" },
        { "version", "R-1 D 1.0 0 0" }, { "demands", "R-1 D 1 -1 0" },
        { "demands", "R-1 D 1 4294967296 0" }, { "held until", "R-1 D 1 0 x" },
        { "lid at", "R-1 L" }, { "lid open", "R-1 L 5" },
        { "lid open", "R-1 L 5 2" }, { "lid open", "R-1 L 5 01" },
        { "lid open", "R-1 L 5 1\n" }
    };

    memset(&before, 0x5a, sizeof(before));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        robot = before;

        if (line_decode(cases[i].line, &robot, &err) != COCO_ERROR) {
            fail_msg("accepted: \"%s\"", cases[i].line);
        }

        if (strcmp(err.field, cases[i].field) != 0 || err.reason[0] == '\0') {
            fail_msg("\"%s\": %s: %s", cases[i].line, err.field, err.reason);
        }

        /* what is refused changes nothing */
        assert_memory_equal(&robot, &before, sizeof(robot));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_are_the_contracts),
        cmocka_unit_test(each_check_fails_alone_and_beside_others),
        cmocka_unit_test(what_is_not_known_blocks_or_not),
        cmocka_unit_test(time_changes_it_when_it_says),
        cmocka_unit_test(parts_are_newer_by_themselves),
        cmocka_unit_test(lines_read_back),
        cmocka_unit_test(a_line_says_what_it_says),
        cmocka_unit_test(batteries_read_back),
        cmocka_unit_test(longest_line_fits),
        cmocka_unit_test(other_lines_are_refused)
    };

    return cmocka_run_group_tests_name("supply", tests, NULL, NULL);
}
