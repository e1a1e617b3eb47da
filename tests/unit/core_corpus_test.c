/*
 * Replays what the fuzzers found worth keeping, and the test data, through
 * the fuzzers' own checks. No fuzzing compiler is needed for that.
 */

#include "core_test.h"
#include "../fuzz/targets.h"


static void
json_holds(void **state)
{
    fuzz_json(((const test_file_t *) *state)->text);
}


static void
heartbeat_holds(void **state)
{
    fuzz_heartbeat(((const test_file_t *) *state)->text);
}


static void
event_holds(void **state)
{
    fuzz_event(((const test_file_t *) *state)->text);
}


static void
connectivity_holds(void **state)
{
    fuzz_connectivity(((const test_file_t *) *state)->text);
}


static void
queue_holds(void **state)
{
    fuzz_queue(((const test_file_t *) *state)->text);
}


static void
envelope_holds(void **state)
{
    fuzz_envelope(((const test_file_t *) *state)->text);
}


static void
lid_holds(void **state)
{
    fuzz_lid(((const test_file_t *) *state)->text);
}


static void
order_holds(void **state)
{
    fuzz_order(((const test_file_t *) *state)->text);
}


static void
supply_holds(void **state)
{
    fuzz_supply(((const test_file_t *) *state)->text);
}


static void
mds_holds(void **state)
{
    fuzz_mds(((const test_file_t *) *state)->text);
}


int
main(void)
{
    int  failed = 0;

    failed += test_files_run("tests/fuzz/corpus/json", json_holds);
    failed += test_files_run("tests/data/heartbeat/accept", json_holds);
    failed += test_files_run("tests/data/heartbeat/refuse", json_holds);

    failed += test_files_run("tests/fuzz/corpus/heartbeat", heartbeat_holds);
    failed += test_files_run("tests/data/heartbeat/accept", heartbeat_holds);
    failed += test_files_run("tests/data/heartbeat/refuse", heartbeat_holds);

    failed += test_files_run("tests/fuzz/corpus/event", event_holds);
    failed += test_files_run("tests/data/event/accept", event_holds);
    failed += test_files_run("tests/data/event/refuse", event_holds);

    failed += test_files_run("tests/fuzz/corpus/connectivity",
                             connectivity_holds);
    failed += test_files_run("tests/data/connectivity/accept",
                             connectivity_holds);
    failed += test_files_run("tests/data/connectivity/refuse",
                             connectivity_holds);

    failed += test_files_run("tests/fuzz/corpus/queue", queue_holds);
    failed += test_files_run("tests/data/queue/accept", queue_holds);
    failed += test_files_run("tests/data/queue/refuse", queue_holds);

    failed += test_files_run("tests/fuzz/corpus/envelope", envelope_holds);
    failed += test_files_run("tests/data/envelope/accept", envelope_holds);
    failed += test_files_run("tests/data/envelope/refuse", envelope_holds);

    failed += test_files_run("tests/fuzz/corpus/lid", lid_holds);
    failed += test_files_run("tests/fuzz/corpus/order", order_holds);
    failed += test_files_run("tests/data/order/accept", order_holds);
    failed += test_files_run("tests/data/order/refuse", order_holds);

    failed += test_files_run("tests/fuzz/corpus/supply", supply_holds);
    failed += test_files_run("tests/fuzz/corpus/mds", mds_holds);

    return failed;
}
