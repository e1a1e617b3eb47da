/*
 * Readiness: every combination of what may apply, against the order.
 */

#include <math.h>

#include "core_test.h"
#include "coco_readiness.h"


/* CONTRACT "Readiness"; bit n of a combination makes order[n] apply. */
static const char *const  order[] = {
    "UNDERGOING_MAINTENANCE", "NEEDS_MAINTENANCE", "NEEDS_PICKUP",
    "NOT_DRIVEABLE", "OFFLINE", "UNHEALTHY", "LOW_BATTERY", "OFF_DUTY",
    "GROUNDED", "NOT_REMOTELY_CONTROLLABLE"
};

#define ISSUES  (sizeof(order) / sizeof(order[0]))


static bool
issue_is(coco_str_t issue, const char *name)
{
    return coco_str_equal(issue, (coco_str_t) { name, strlen(name) });
}


/* unset: how a flag that does not block is given. */
static coco_readiness_input_t
input_make(unsigned bits, bool unset)
{
    coco_flag_e  no = unset ? COCO_UNSET : COCO_FALSE;

    return (coco_readiness_input_t) {
        .undergoing_maintenance = bits & 1 ? COCO_TRUE : no,
        .needs_maintenance = bits & 2 ? COCO_TRUE : no,
        .needs_pickup = bits & 4 ? COCO_TRUE : no,
        .driveable = bits & 8 ? COCO_FALSE : unset ? COCO_UNSET : COCO_TRUE,
        .online = !(bits & 16),
        .healthy = !(bits & 32),
        .battery_percent = bits & 64 ? 19.9 : unset ? NAN : 20,
        .operation_state = bits & 128 ? COCO_STATE_OFF_DUTY
                           : bits & 256 ? COCO_STATE_GROUNDED
                           : unset ? COCO_STATE_NONE : COCO_STATE_PARKED,
        .remotely_controllable = !(bits & 512),
        .low_battery_percent = 20,
        .teleoperation_required = true
    };
}


static void
names_are_the_contracts(void **state)
{
    size_t  i;

    assert_int_equal(coco_readiness_issues_count, ISSUES);

    for (i = 0; i < ISSUES; i++) {
        assert_true(issue_is(coco_readiness_issues[i], order[i]));
    }
}


static void
first_of_every_combination(void **state)
{
    unsigned                bits, unset;
    coco_str_t              issue;
    coco_readiness_input_t  in;

    for (bits = 0; bits < 1U << ISSUES; bits++) {
        for (unset = 0; unset < 2; unset++) {
            in = input_make(bits, unset);
            issue = coco_readiness_issue(&in);

            if (bits == 0) {
                assert_null(issue.data);

            } else {
                assert_true(issue_is(issue, order[__builtin_ctz(bits)]));
            }
        }
    }
}


static void
teleoperation_only_where_required(void **state)
{
    coco_readiness_input_t  in = input_make(512, false);

    in.teleoperation_required = false;

    assert_null(coco_readiness_issue(&in).data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_are_the_contracts),
        cmocka_unit_test(first_of_every_combination),
        cmocka_unit_test(teleoperation_only_where_required)
    };

    return cmocka_run_group_tests_name("core: readiness", tests, NULL, NULL);
}
