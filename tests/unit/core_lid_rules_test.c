/*
 * The lid cycle: each rule of docs/machines.md by name, the names of the
 * tables, and the data of its events.
 */

#include "core_lid_marks.h"


/* --- rules, one by one --- */


static void
request_times_out(void **state)
{
    coco_lid_mark_t  request = request_make("r", COCO_SOURCE_QR, QR_REF, 0);

    put(request, 0);
    happen("t", COCO_LID_REQUEST_TIMEOUT, 9000);
    assert_int_equal(store.lid.answer_count, 0);
    assert_int_equal(store.cycle_count, 0);

    /* an open that names nobody is not its answer any more */
    happen("o", COCO_LID_OPENED, 12000);
    happen("c", COCO_LID_CLOSED, 20000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_NONE, none, 12000, 20000);
    assert_int_equal(store.lid.answer_count, 0);
}


static void
late_open_that_names_a_timed_out_request_is_its_answer(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    happen("t", COCO_LID_REQUEST_TIMEOUT, 9000);
    put(answering(mark_make("o", COCO_LID_OPENED, 60000), "r"), 60000);

    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_QR);
    assert_int_equal(store.lid.answer_count, 1);
    assert_true(store.answers[0].opened);
}


static void
open_that_names_a_failed_request_outdoes_the_failure(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    put(answering(mark_make("f", COCO_LID_OPEN_FAILED, 500), "r"), 500);
    put(answering(mark_make("o", COCO_LID_OPENED, 900), "r"), 900);

    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_QR);
    assert_int_equal(store.lid.answer_count, 1);
    assert_true(store.answers[0].opened);
}


static void
failure_without_a_command_answers_the_newest_request(void **state)
{
    put(request_make("r1", COCO_SOURCE_QR, QR_REF, 0), 0);
    put(request_make("r2", COCO_SOURCE_OPERATOR, none, 300), 300);
    happen("f", COCO_LID_OPEN_FAILED, 500);

    assert_int_equal(store.lid.answer_count, 1);
    assert_false(store.answers[0].opened);
    assert_id(&store.answers[0].command, "r2");

    /* the other request still stands */
    happen("o", COCO_LID_OPENED, 900);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_QR);
}


static void
open_without_a_command_answers_one_request_only(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    happen("o1", COCO_LID_OPENED, 500);
    happen("c1", COCO_LID_CLOSED, 4000);
    happen("o2", COCO_LID_OPENED, 7000);

    assert_int_equal(cycle_of(0, 2)->source, COCO_SOURCE_QR);
    assert_int_equal(cycle_of(1, 2)->source, COCO_SOURCE_NONE);
}


/* The open that names r takes it from the one that stands before. */
static void
open_with_a_command_comes_first(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    happen("o1", COCO_LID_OPENED, 500);
    happen("c1", COCO_LID_CLOSED, 4000);
    put(answering(mark_make("o2", COCO_LID_OPENED, 7000), "r"), 7000);

    assert_int_equal(cycle_of(0, 2)->source, COCO_SOURCE_NONE);
    assert_null(cycle_of(0, 2)->reference.data);
    assert_int_equal(cycle_of(1, 2)->source, COCO_SOURCE_QR);
}


/* A robot's clock may be behind ours by the window, no more. */
static void
open_before_its_request_within_the_window(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 5000), 5000);
    put(mark_make("o", COCO_LID_OPENED, 3000), 5600);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_QR);

    store_init(&store, WINDOW, CYCLE);
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 5000), 5000);
    put(mark_make("o", COCO_LID_OPENED, 2999), 5600);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_NONE);
}


static void
two_opens_are_one_cycle(void **state)
{
    happen("o1", COCO_LID_OPENED, 0);
    happen("o2", COCO_LID_PIN_OPENED, 600000);
    assert_published(1, 0);

    happen("c", COCO_LID_CLOSED, 900000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, none, 0, 900000);
    assert_published(1, 1);
}


static void
two_closes_within_the_window_are_one(void **state)
{
    happen("o", COCO_LID_OPENED, 0);
    happen("c1", COCO_LID_CLOSED, 5000);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_OTHER);

    happen("c2", COCO_LID_PIN_CLOSED, 5000 + WINDOW);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_NONE, none, 0, 5000);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_PIN_ENTRY_CONFIRM);
    assert_published(1, 1);
    assert_int_equal(store.anomalies, 0);
}


static void
second_close_beyond_the_window_has_no_open(void **state)
{
    happen("o", COCO_LID_OPENED, 0);
    happen("c1", COCO_LID_CLOSED, 5000);
    happen("c2", COCO_LID_CLOSED, 5000 + WINDOW + 1);
    assert_published(1, 1);

    store_wait(&store, LATER);
    assert_whole(cycle_of(0, 2), COCO_SOURCE_NONE, none, 0, 5000);
    assert_int_equal(cycle_of(1, 2)->reason, COCO_LID_CLOSE_WITHOUT_OPEN);
    assert_published(1, 2);
    assert_int_equal(store.anomalies, 1);
}


static void
close_waits_for_its_open(void **state)
{
    happen("c", COCO_LID_CLOSED, 1000);
    assert_int_equal(store.cycle_count, 0);
    assert_int_equal(store.due_at, T + 1000 + WINDOW);
    assert_int_equal(store.due_from, T + 1000);

    put(mark_make("o", COCO_LID_PIN_OPENED, 0), 1000 + WINDOW - 1);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, none, 0, 1000);
    assert_published(1, 1);
    assert_false(store.published[0].close);
    assert_int_equal(store.anomalies, 0);
    assert_int_equal(store.due_at, COCO_NEVER);
}


static void
close_without_open_is_told_after_its_wait_and_joined_later(void **state)
{
    coco_id_t  id;

    happen("c", COCO_LID_CLOSED, 1000);
    store_wait(&store, T + 1000 + WINDOW);

    assert_int_equal(cycle_of(0, 1)->reason, COCO_LID_CLOSE_WITHOUT_OPEN);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_NONE);
    assert_times(cycle_of(0, 1), COCO_NEVER, 1000);
    assert_published(0, 1);
    assert_null(store.published[0].reference.data);
    assert_int_equal(store.anomalies, 1);
    id = store.cycles[0].id;

    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 60000);
    put(answering(mark_make("o", COCO_LID_OPENED, 500), "r"), 60000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_QR, QR_REF, 500, 1000);
    assert_true(store_id_equal(&store.cycles[0].id, &id));
    assert_published(0, 1);
    assert_int_equal(store.lid.answer_count, 1);
}


/* The wait is counted from when the close came, not from its own time. */
static void
close_from_long_ago_waits_as_well(void **state)
{
    put(mark_make("c", COCO_LID_CLOSED, 0), CYCLE * 4);
    assert_int_equal(store.cycle_count, 0);

    /* what comes in between does not make it forgotten */
    put(mark_make("o", COCO_LID_OPENED, CYCLE * 4 + 500), CYCLE * 4 + 500);
    store_wait(&store, T + CYCLE * 4 + WINDOW);
    assert_int_equal(cycle_of(0, 2)->reason, COCO_LID_CLOSE_WITHOUT_OPEN);
    assert_times(cycle_of(0, 2), COCO_NEVER, 0);
    assert_int_equal(cycle_of(1, 2)->state, COCO_LID_INIT);
}


static void
open_that_never_closes_expires(void **state)
{
    happen("o", COCO_LID_PIN_OPENED, 0);
    assert_int_equal(store.due_at, T + CYCLE + 1);
    assert_int_equal(store.due_from, T);

    store_wait(&store, T + CYCLE);
    assert_int_equal(cycle_of(0, 1)->state, COCO_LID_INIT);

    store_wait(&store, T + CYCLE + 1);
    assert_int_equal(cycle_of(0, 1)->state, COCO_LID_COMPLETE);
    assert_int_equal(cycle_of(0, 1)->reason, COCO_LID_NEVER_CLOSED);
    assert_times(cycle_of(0, 1), 0, COCO_NEVER);
    assert_published(1, 0);
    assert_int_equal(store.anomalies, 1);
    assert_false(store.lid.known);
    assert_int_equal(store.due_at, COCO_NEVER);
}


static void
late_close_completes_what_has_expired(void **state)
{
    happen("o", COCO_LID_PIN_OPENED, 0);
    put(mark_make("c", COCO_LID_CLOSED, CYCLE), 5 * CYCLE);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, none, 0, CYCLE);
    assert_published(1, 1);
    assert_true(store.lid.known && !store.lid.is_open);
}


static void
close_after_the_expiry_has_no_open(void **state)
{
    happen("o", COCO_LID_PIN_OPENED, 0);
    happen("c", COCO_LID_CLOSED, CYCLE + 1);
    store_wait(&store, LATER);
    assert_int_equal(cycle_of(0, 2)->reason, COCO_LID_NEVER_CLOSED);
    assert_int_equal(cycle_of(1, 2)->reason, COCO_LID_CLOSE_WITHOUT_OPEN);
}


static void
open_after_the_expiry_is_another_cycle(void **state)
{
    happen("o1", COCO_LID_PIN_OPENED, 0);
    happen("o2", COCO_LID_PIN_OPENED, CYCLE + 1);
    happen("c", COCO_LID_CLOSED, CYCLE + 9000);
    assert_int_equal(cycle_of(0, 2)->reason, COCO_LID_NEVER_CLOSED);
    assert_whole(cycle_of(1, 2), COCO_SOURCE_MAGIC_LID, none, CYCLE + 1,
                 CYCLE + 9000);
}


/* What is over already when it becomes known is no news. */
static void
open_that_comes_after_its_expiry_is_not_told(void **state)
{
    put(mark_make("o", COCO_LID_PIN_OPENED, 0), CYCLE + 1);
    assert_int_equal(cycle_of(0, 1)->reason, COCO_LID_NEVER_CLOSED);
    assert_published(0, 0);
}


static void
operator_and_qr_in_one_cycle(void **state)
{
    put(request_make("r1", COCO_SOURCE_OPERATOR, coco_string("ticket-7"), 0),
        0);
    put(request_make("r2", COCO_SOURCE_QR, QR_REF, 5000), 5000);
    put(answering(mark_make("o1", COCO_LID_OPENED, 500), "r1"), 500);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_OPERATOR);

    put(answering(mark_make("o2", COCO_LID_OPENED, 5500), "r2"), 5500);
    happen("c", COCO_LID_CLOSED, 9000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_QR, QR_REF, 500, 9000);
    assert_id(&store.cycles[0].command, "r2");
}


/* The one who can load has no reference: the operator's stays. */
static void
reference_is_the_first_that_is_there(void **state)
{
    put(request_make("r1", COCO_SOURCE_OPERATOR, QR_REF, 0), 0);
    put(answering(mark_make("o1", COCO_LID_OPENED, 500), "r1"), 500);
    happen("o2", COCO_LID_PIN_OPENED, 600);
    happen("c", COCO_LID_CLOSED, 9000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, QR_REF, 500, 9000);
}


static void
pin_open_that_names_a_command_is_its_answer(void **state)
{
    put(request_make("r", COCO_SOURCE_PIN, QR_REF, 0), 0);
    put(answering(mark_make("o", COCO_LID_PIN_OPENED, 500), "r"), 500);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_PIN);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_COMMAND);
}


static void
open_and_close_at_one_time_are_a_cycle(void **state)
{
    happen("c", COCO_LID_CLOSED, 1000);
    put(mark_make("o", COCO_LID_OPENED, 1000), 1100);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_NONE, none, 1000, 1000);
}


static void
heartbeats_open_and_close(void **state)
{
    happen("s1", COCO_LID_SEEN_OPEN, 0);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_RESYNC);
    assert_int_equal(store.resyncs, 1);
    assert_published(1, 0);

    happen("s2", COCO_LID_SEEN_CLOSED, 60000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_RESYNC, none, 0, 60000);
    assert_int_equal(store.resyncs, 2);
    assert_published(1, 1);
}


/* The reference stays when only heartbeats saw the close, the source not. */
static void
heartbeats_close_what_was_asked_for(void **state)
{
    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    happen("o", COCO_LID_OPENED, 500);
    happen("s", COCO_LID_SEEN_CLOSED, 60000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_RESYNC, QR_REF, 500, 60000);
    assert_published(1, 1);
}


static void
operator_stays_one_whoever_saw_it_close(void **state)
{
    put(request_make("r", COCO_SOURCE_OPERATOR, none, 0), 0);
    happen("o", COCO_LID_OPENED, 500);
    happen("s", COCO_LID_SEEN_CLOSED, 60000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_OPERATOR, none, 500, 60000);
    assert_int_equal(store.resyncs, 1);
}


static void
close_that_names_its_command_needs_no_open(void **state)
{
    coco_lid_cycle_t  *cycle;

    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    put(answering(mark_make("c", COCO_LID_CLOSED, 60000), "r"), 60000);
    store_wait(&store, LATER);

    cycle = cycle_of(0, 1);
    assert_int_equal(cycle->reason, COCO_LID_CLOSE_WITHOUT_OPEN);
    assert_int_equal(cycle->source, COCO_SOURCE_QR);
    assert_true(coco_str_equal(cycle->reference, QR_REF));
    assert_published(0, 1);

    put(answering(mark_make("o", COCO_LID_OPENED, 500), "r"), 90000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_QR, QR_REF, 500, 60000);
    assert_published(0, 1);
}


static void
late_events_take_over_from_heartbeats(void **state)
{
    coco_id_t  id;

    happen("s1", COCO_LID_SEEN_OPEN, 10000);
    happen("s2", COCO_LID_SEEN_CLOSED, 60000);
    id = cycle_of(0, 1)->id;

    put(mark_make("c", COCO_LID_PIN_CLOSED, 55000), 70000);
    put(mark_make("o", COCO_LID_PIN_OPENED, 5000), 71000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, none, 5000, 55000);
    assert_true(store_id_equal(&store.cycles[0].id, &id));
    assert_published(1, 1);
    assert_int_equal(store.resyncs, 2);
}


/* A close between, late: the later close keeps the id it was told under. */
static void
late_close_parts_a_cycle(void **state)
{
    coco_id_t  told;

    happen("o1", COCO_LID_PIN_OPENED, 0);
    happen("o2", COCO_LID_PIN_OPENED, 60000);
    happen("c2", COCO_LID_CLOSED, 90000);
    told = cycle_of(0, 1)->id;

    put(mark_make("c1", COCO_LID_CLOSED, 30000), 95000);
    assert_whole(cycle_of(0, 2), COCO_SOURCE_MAGIC_LID, none, 0, 30000);
    assert_whole(cycle_of(1, 2), COCO_SOURCE_MAGIC_LID, none, 60000, 90000);
    assert_true(store_id_equal(&cycle_of(1, 2)->id, &told));
    assert_published(2, 2);
}


/* The open was told of under the id that is now the later close's. */
static void
opening_is_told_once_when_its_cycle_is_parted(void **state)
{
    coco_id_t  told;

    happen("o", COCO_LID_PIN_OPENED, 0);
    happen("c2", COCO_LID_CLOSED, 90000);
    told = cycle_of(0, 1)->id;
    assert_published(1, 1);

    put(mark_make("c1", COCO_LID_CLOSED, 30000), 95000);
    assert_whole(cycle_of(0, 2), COCO_SOURCE_MAGIC_LID, none, 0, 30000);
    assert_times(cycle_of(1, 2), COCO_NEVER, 90000);
    assert_true(store_id_equal(&cycle_of(1, 2)->id, &told));
    assert_published(1, 2);

    /* nor when the close gets an open of its own */
    put(mark_make("o2", COCO_LID_PIN_OPENED, 60000), 99000);
    assert_whole(cycle_of(1, 2), COCO_SOURCE_MAGIC_LID, none, 60000, 90000);
    assert_published(1, 2);
}


/* The same robot, many cycles later: what is old stays as it is stored. */
static void
old_cycles_are_left_alone(void **state)
{
    size_t   i;
    int64_t  at;
    char     name[24];

    for (i = 0; i < 40; i++) {
        at = (int64_t) i * (CYCLE / 4);
        snprintf(name, sizeof(name), "o%zu", i);
        happen(name, COCO_LID_PIN_OPENED, at);
        snprintf(name, sizeof(name), "c%zu", i);
        happen(name, COCO_LID_CLOSED, at + 60000);
    }

    assert_int_equal(store.lid.due_at, COCO_NEVER);
    assert_published(40, 40);

    for (i = 0; i < 40; i++) {
        at = (int64_t) i * (CYCLE / 4);
        assert_whole(cycle_of(i, 40), COCO_SOURCE_MAGIC_LID, none, at,
                     at + 60000);
    }
}


/* The same robot again, and what comes of its old days: only these are read,
 * and nothing but them changes. */
static void
what_is_old_is_looked_at_within_bounds(void **state)
{
    size_t   i;
    int64_t  at;
    char     name[24];

    for (i = 0; i < 40; i++) {
        at = (int64_t) i * (CYCLE / 4);
        snprintf(name, sizeof(name), "o%zu", i);
        happen(name, COCO_LID_PIN_OPENED, at);
        snprintf(name, sizeof(name), "c%zu", i);
        happen(name, COCO_LID_CLOSED, at + 60000);
    }

    happen("open", COCO_LID_OPENED, 40 * (CYCLE / 4));

    store.bounded = true;
    at = 5 * (CYCLE / 4);
    put(mark_make("late open", COCO_LID_OPENED, at + 100000), 99 * CYCLE);
    put(mark_make("late close", COCO_LID_CLOSED, at + 120000), 99 * CYCLE);
    store.bounded = false;

    assert_true(store.given < 65 && store.mark_count == 83);
    assert_whole(cycle_of(5, 42), COCO_SOURCE_MAGIC_LID, none, at, at + 60000);
    assert_whole(cycle_of(6, 42), COCO_SOURCE_NONE, none, at + 100000,
                 at + 120000);
    assert_whole(cycle_of(7, 42), COCO_SOURCE_MAGIC_LID, none,
                 6 * (CYCLE / 4), 6 * (CYCLE / 4) + 60000);
    assert_int_equal(cycle_of(41, 42)->reason, COCO_LID_NEVER_CLOSED);
}


/* The last of what is given is open there, and closed only later. */
static void
what_goes_on_beyond_the_bounds_is_left_alone(void **state)
{
    int64_t           end = 2 * coco_lid_span_ms(&store.rules);
    coco_lid_cycle_t  was;

    put(request_make("r", COCO_SOURCE_QR, QR_REF, end - 2000), end - 2000);
    put(answering(mark_make("o", COCO_LID_OPENED, end - 1000), "r"),
        end - 1000);
    happen("c", COCO_LID_CLOSED, end + 1000);
    was = *cycle_of(0, 1);

    store.bounded = true;
    put(mark_make("old", COCO_LID_PIN_OPENED, 0), 99 * CYCLE);
    put(mark_make("old close", COCO_LID_CLOSED, 1000), 99 * CYCLE);
    assert_int_equal(store.lid.answer_count, 0);
    store.bounded = false;

    assert_whole(cycle_of(0, 2), COCO_SOURCE_MAGIC_LID, none, 0, 1000);
    assert_memory_equal(cycle_of(1, 2), &was, sizeof(was));
    assert_published(1, 2);
}


static void
too_little_room_is_said(void **state)
{
    coco_lid_mark_t  mark = mark_make("o", COCO_LID_OPENED, 0);
    coco_lid_t       lid = { .marks = &mark, .mark_count = 1,
                             .answers = store.answers };

    assert_int_equal(coco_lid_reconcile(&lid, T, T, &store.rules),
                     COCO_AGAIN);
}


/* --- names and data --- */


static int
event_parse(const char *type, int lid_opened, const char *source)
{
    return coco_lid_event_parse((coco_str_t) { type, strlen(type) },
                                lid_opened,
                                (coco_str_t) { source, strlen(source) });
}


static void
rows_of_the_history_are_events(void **state)
{
    assert_int_equal(event_parse("LID_OPEN_REQUEST", -1, "QR"),
                     COCO_LID_OPEN_REQUEST);
    assert_int_equal(event_parse("LID_OPENED", -1, ""), COCO_LID_OPENED);
    assert_int_equal(event_parse("LID_OPENED", -1, "RESYNC"),
                     COCO_LID_SEEN_OPEN);
    assert_int_equal(event_parse("PIN_ENTRY_LID_OPEN", 1, ""),
                     COCO_LID_PIN_OPENED);
    assert_int_equal(event_parse("PIN_ENTRY_LID_OPEN", 0, ""),
                     COCO_LID_PIN_ASKED);
    assert_int_equal(event_parse("PIN_ENTRY_LID_OPEN", -1, ""),
                     COCO_LID_PIN_ASKED);
    assert_int_equal(event_parse("LID_OPEN_FAILED", -1, ""),
                     COCO_LID_OPEN_FAILED);
    assert_int_equal(event_parse("LID_OPEN_TIMEOUT", -1, ""),
                     COCO_LID_REQUEST_TIMEOUT);
    assert_int_equal(event_parse("LID_CLOSED", -1, ""), COCO_LID_CLOSED);
    assert_int_equal(event_parse("LID_CLOSED", -1, "RESYNC"),
                     COCO_LID_SEEN_CLOSED);
    assert_int_equal(event_parse("PIN_ENTRY_LID_CLOSE", -1, ""),
                     COCO_LID_PIN_CLOSED);
    assert_int_equal(event_parse("COMMAND_ACK", -1, ""), -1);
    assert_int_equal(event_parse("LID_OPEN_REFUSED", -1, ""), -1);
    assert_int_equal(event_parse("", -1, ""), -1);
}


static void
names_are_read_back(void **state)
{
    int  i;

    for (i = 1; i < COCO_SOURCES; i++) {
        assert_int_equal(coco_lid_source_parse(coco_lid_source_name(i)), i);
    }

    for (i = 1; i < COCO_TRIGGERS; i++) {
        assert_int_equal(coco_lid_trigger_parse(coco_lid_trigger_name(i)), i);
    }

    assert_null(coco_lid_source_name(COCO_SOURCE_NONE).data);
    assert_null(coco_lid_trigger_name(COCO_TRIGGER_NONE).data);
    assert_null(coco_lid_reason_name(COCO_LID_WHOLE).data);
    assert_int_equal(coco_lid_source_parse(coco_string("qr")),
                     COCO_SOURCE_NONE);
    assert_int_equal(coco_lid_trigger_parse(none), COCO_TRIGGER_NONE);
    assert_true(coco_str_equal(coco_lid_state_name(COCO_LID_REQUEST),
                               coco_string("IDLE")));
    assert_true(coco_str_equal(coco_lid_state_name(COCO_LID_COMPLETE),
                               coco_string("LID_CYCLE_COMPLETE")));
    assert_true(coco_str_equal(coco_lid_reason_name(COCO_LID_NEVER_CLOSED),
                               coco_string("NEVER_CLOSED")));
}


static void
data_is_read_back(void **state)
{
    char             buf[300];
    coco_error_t     err;
    coco_json_out_t  out;
    coco_lid_data_t  data = { id_make("cycle"), COCO_SOURCE_QR,
                              COCO_TRIGGER_COMMAND, QR_REF }, back;

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_lid_data_encode(&out, &data);
    assert_true(coco_json_out_ok(&out));
    assert_int_equal(coco_lid_data_decode(&back, (coco_str_t) { buf, out.len },
                                          &err), COCO_OK);
    assert_memory_equal(&back.cycle, &data.cycle, sizeof(back.cycle));
    assert_int_equal(back.source, COCO_SOURCE_QR);
    assert_int_equal(back.trigger, COCO_TRIGGER_COMMAND);
    assert_true(coco_str_equal(back.reference, QR_REF));

    data.source = COCO_SOURCE_NONE;
    data.reference = none;
    coco_json_out_init(&out, buf, sizeof(buf));
    coco_lid_data_encode(&out, &data);
    buf[out.len] = '\0';
    assert_non_null(strstr(buf, "\"source\":null,\"trigger\":\"COMMAND\","
                                "\"referenceId\":null}"));
    assert_int_equal(coco_lid_data_decode(&back, (coco_str_t) { buf, out.len },
                                          &err), COCO_OK);
    assert_int_equal(back.source, COCO_SOURCE_NONE);
    assert_null(back.reference.data);
}


static void
data_at_fault_is_named(void **state)
{
    size_t           i;
    coco_error_t     err;
    coco_lid_data_t  data;

#define CYCLE_ID  "\"cycleId\":\"00000000-0000-8000-8000-000000000000\""

    static const char *const  cases[][2] = {
        { "{}", "data.cycleId" },
        { "{\"cycleId\":7}", "data.cycleId" },
        { "{" CYCLE_ID ",\"source\":\"X\"}", "data.source" },
        { "{" CYCLE_ID ",\"source\":1}", "data.source" },
        { "{" CYCLE_ID "}", "data.trigger" },
        { "{" CYCLE_ID ",\"trigger\":null}", "data.trigger" },
        { "{" CYCLE_ID ",\"trigger\":\"OTHER\",\"referenceId\":\"\"}",
          "data.referenceId" },
        { "{" CYCLE_ID ",\"trigger\":\"OTHER\",\"referenceId\":{}}",
          "data.referenceId" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_lid_data_decode(&data, (coco_str_t) {
                             cases[i][0], strlen(cases[i][0]) }, &err),
                         COCO_ERROR);
        assert_string_equal(err.field, cases[i][1]);
        assert_true(strlen(err.reason) > 0);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(request_times_out),
        TEST(late_open_that_names_a_timed_out_request_is_its_answer),
        TEST(open_that_names_a_failed_request_outdoes_the_failure),
        TEST(failure_without_a_command_answers_the_newest_request),
        TEST(open_without_a_command_answers_one_request_only),
        TEST(open_with_a_command_comes_first),
        TEST(open_before_its_request_within_the_window),
        TEST(two_opens_are_one_cycle),
        TEST(two_closes_within_the_window_are_one),
        TEST(second_close_beyond_the_window_has_no_open),
        TEST(close_waits_for_its_open),
        TEST(close_without_open_is_told_after_its_wait_and_joined_later),
        TEST(close_from_long_ago_waits_as_well),
        TEST(open_that_never_closes_expires),
        TEST(late_close_completes_what_has_expired),
        TEST(close_after_the_expiry_has_no_open),
        TEST(open_after_the_expiry_is_another_cycle),
        TEST(open_that_comes_after_its_expiry_is_not_told),
        TEST(operator_and_qr_in_one_cycle),
        TEST(reference_is_the_first_that_is_there),
        TEST(pin_open_that_names_a_command_is_its_answer),
        TEST(open_and_close_at_one_time_are_a_cycle),
        TEST(heartbeats_open_and_close),
        TEST(heartbeats_close_what_was_asked_for),
        TEST(operator_stays_one_whoever_saw_it_close),
        TEST(close_that_names_its_command_needs_no_open),
        TEST(late_events_take_over_from_heartbeats),
        TEST(late_close_parts_a_cycle),
        TEST(opening_is_told_once_when_its_cycle_is_parted),
        TEST(old_cycles_are_left_alone),
        TEST(what_is_old_is_looked_at_within_bounds),
        TEST(what_goes_on_beyond_the_bounds_is_left_alone),
        TEST(too_little_room_is_said),
        TEST(rows_of_the_history_are_events),
        TEST(names_are_read_back),
        TEST(data_is_read_back),
        TEST(data_at_fault_is_named)
    };

    return cmocka_run_group_tests_name("lid rules", tests, NULL, NULL);
}
