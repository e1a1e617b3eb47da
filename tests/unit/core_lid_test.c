/*
 * The lid cycle: the flows of the seeds, every state × event, every order of
 * arrival.
 */

#include "core_lid_marks.h"


/* --- flows of the seeds --- */


static void
qr_flow(void **state)
{
    coco_lid_mark_t  open;

    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
    assert_int_equal(store.cycle_count, 0);
    assert_published(0, 0);

    open = answering(mark_make("o", COCO_LID_OPENED, 1000), "r");
    open.trigger = COCO_TRIGGER_COMMAND;
    put(open, 1000);

    assert_int_equal(cycle_of(0, 1)->state, COCO_LID_INIT);
    assert_int_equal(cycle_of(0, 1)->source, COCO_SOURCE_QR);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_COMMAND);
    assert_published(1, 0);
    assert_true(store.lid.known && store.lid.is_open);
    assert_int_equal(store.lid.changed_at, T + 1000);
    assert_int_equal(store.lid.answer_count, 1);
    assert_true(store.answers[0].opened);
    assert_true(store_id_equal(&store.lid.cycles[store.answers[0].cycle].id,
                               &store.cycles[0].id));

    happen("c", COCO_LID_CLOSED, 30000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_QR, QR_REF, 1000, 30000);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_OTHER);
    assert_published(1, 1);
    assert_true(coco_str_equal(store.published[1].reference, QR_REF));
    assert_true(store.lid.known && !store.lid.is_open);
}



static void
magic_lid_flow(void **state)
{
    happen("o", COCO_LID_PIN_OPENED, 0);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_PIN_ENTRY_CONFIRM);

    happen("c", COCO_LID_PIN_CLOSED, 60000);
    assert_whole(cycle_of(0, 1), COCO_SOURCE_MAGIC_LID, none, 0, 60000);
    assert_int_equal(cycle_of(0, 1)->trigger, COCO_TRIGGER_PIN_ENTRY_CONFIRM);
    assert_published(1, 1);
    assert_int_equal(store.published[1].source, COCO_SOURCE_MAGIC_LID);
    assert_null(store.published[1].reference.data);
}


static void
failed_open_makes_no_cycle(void **state)
{
    coco_lid_mark_t  failed;

    put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);

    failed = answering(mark_make("f", COCO_LID_OPEN_FAILED, 500), "r");
    failed.reason = coco_string("latch jammed");
    put(failed, 500);

    assert_int_equal(store.lid.answer_count, 1);
    assert_false(store.answers[0].opened);
    assert_true(coco_str_equal(store.answers[0].reason,
                               coco_string("latch jammed")));

    store_wait(&store, LATER);
    assert_int_equal(store.cycle_count, 0);
    assert_published(0, 0);
    assert_true(store.lid.known && !store.lid.is_open);
    assert_int_equal(store.lid.changed_at, COCO_NEVER);
}


/* The request was never stored: context loss. */
static void
close_after_a_lost_request_is_anonymous(void **state)
{
    put(answering(mark_make("o", COCO_LID_OPENED, 0), "lost"), 0);
    happen("c", COCO_LID_CLOSED, 5000);

    assert_whole(cycle_of(0, 1), COCO_SOURCE_NONE, none, 0, 5000);
    assert_published(1, 1);
    assert_null(store.published[1].reference.data);
}


/* --- every state and event --- */


/* Each cycle, in order: who opened it (- for nobody known), from when to
 * when (? for never told); then how often LidOpen and LidClose were told. */
static void
store_print(char *text, size_t size)
{
    char                     opened[24], closed[24];
    size_t                   i, len = 0;
    const coco_lid_cycle_t  *cycle;

    static const char  letters[] = "-QMpPOR";

    for (i = 0; i < store.cycle_count; i++) {
        cycle = cycle_of(i, store.cycle_count);
        strcpy(opened, "?");
        strcpy(closed, "?");

        if (cycle->has_open) {
            snprintf(opened, sizeof(opened), "%d",
                     (int) (cycle->opened_at - T));
        }

        if (cycle->has_close) {
            snprintf(closed, sizeof(closed), "%d",
                     (int) (cycle->closed_at - T));
        }

        assert_int_equal(cycle->reason,
                         !cycle->has_close ? COCO_LID_NEVER_CLOSED
                         : cycle->has_open ? COCO_LID_WHOLE
                         : COCO_LID_CLOSE_WITHOUT_OPEN);
        assert_int_equal(cycle->state, COCO_LID_COMPLETE);

        len += snprintf(text + len, size - len, "%c%s~%s ",
                        letters[cycle->source], opened, closed);
    }

    snprintf(text + len, size - len, "%zu/%zu", published(false),
             published(true));
}


/* What brings the machine into a state, at 0 (and 100). */
static void
state_reach(coco_lid_state_e state)
{
    store_init(&store, WINDOW, CYCLE);

    switch (state) {

    case COCO_LID_REQUEST:
        put(request_make("r", COCO_SOURCE_QR, QR_REF, 0), 0);
        break;

    case COCO_LID_INIT:
        happen("before", COCO_LID_PIN_OPENED, 0);
        break;

    case COCO_LID_COMPLETE:
        happen("before", COCO_LID_PIN_OPENED, 0);
        happen("before, closed", COCO_LID_CLOSED, 100);
        break;

    default:
        break;
    }
}


typedef struct {
    coco_lid_state_e  state;
    coco_lid_event_e  event;        /* at 500 */
    const char       *alone;
    const char       *then_open;    /* LID_OPENED at 900 */
    const char       *then_close;   /* LID_CLOSED at 900 */
} lid_cell_t;

#define CELL(state, event, ...)  { COCO_LID_##state, COCO_LID_##event, \
                                   __VA_ARGS__ }

static const lid_cell_t  cells[] = {

    CELL(IDLE, OPEN_REQUEST, "0/0", "Q900~? 1/0", "-?~900 0/1"),
    CELL(IDLE, OPENED, "-500~? 1/0", "-500~? 1/0", "-500~900 1/1"),
    CELL(IDLE, PIN_OPENED, "M500~? 1/0", "M500~? 1/0", "M500~900 1/1"),
    CELL(IDLE, PIN_ASKED, "0/0", "-900~? 1/0", "-?~900 0/1"),
    CELL(IDLE, OPEN_FAILED, "0/0", "-900~? 1/0", "-?~900 0/1"),
    CELL(IDLE, REQUEST_TIMEOUT, "0/0", "-900~? 1/0", "-?~900 0/1"),
    CELL(IDLE, CLOSED, "-?~500 0/1", "-?~500 -900~? 1/1", "-?~500 0/1"),
    CELL(IDLE, PIN_CLOSED, "-?~500 0/1", "-?~500 -900~? 1/1", "-?~500 0/1"),
    CELL(IDLE, SEEN_OPEN, "R500~? 1/0", "-500~? 1/0", "R500~900 1/1"),
    CELL(IDLE, SEEN_CLOSED, "0/0", "-900~? 1/0", "-?~900 0/1"),

    CELL(REQUEST, OPEN_REQUEST, "0/0", "Q900~? 1/0", "-?~900 0/1"),
    CELL(REQUEST, OPENED, "Q500~? 1/0", "Q500~? 1/0", "Q500~900 1/1"),
    CELL(REQUEST, PIN_OPENED, "M500~? 1/0", "M500~? 1/0", "M500~900 1/1"),
    CELL(REQUEST, PIN_ASKED, "0/0", "Q900~? 1/0", "-?~900 0/1"),
    CELL(REQUEST, OPEN_FAILED, "0/0", "-900~? 1/0", "-?~900 0/1"),
    CELL(REQUEST, REQUEST_TIMEOUT, "0/0", "Q900~? 1/0", "-?~900 0/1"),
    CELL(REQUEST, CLOSED, "-?~500 0/1", "-?~500 Q900~? 1/1", "-?~500 0/1"),
    CELL(REQUEST, PIN_CLOSED, "-?~500 0/1", "-?~500 Q900~? 1/1",
         "-?~500 0/1"),
    CELL(REQUEST, SEEN_OPEN, "R500~? 1/0", "Q500~? 1/0", "R500~900 1/1"),
    CELL(REQUEST, SEEN_CLOSED, "0/0", "Q900~? 1/0", "-?~900 0/1"),

    CELL(INIT, OPEN_REQUEST, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, OPENED, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, PIN_OPENED, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, PIN_ASKED, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, OPEN_FAILED, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, REQUEST_TIMEOUT, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, CLOSED, "M0~500 1/1", "M0~500 -900~? 2/1", "M0~500 1/1"),
    CELL(INIT, PIN_CLOSED, "M0~500 1/1", "M0~500 -900~? 2/1", "M0~500 1/1"),
    CELL(INIT, SEEN_OPEN, "M0~? 1/0", "M0~? 1/0", "M0~900 1/1"),
    CELL(INIT, SEEN_CLOSED, "R0~500 1/1", "R0~500 -900~? 2/1", "M0~500 1/1"),

    CELL(COMPLETE, OPEN_REQUEST, "M0~100 1/1", "M0~100 Q900~? 2/1",
         "M0~100 1/1"),
    CELL(COMPLETE, OPENED, "M0~100 -500~? 2/1", "M0~100 -500~? 2/1",
         "M0~100 -500~900 2/2"),
    CELL(COMPLETE, PIN_OPENED, "M0~100 M500~? 2/1", "M0~100 M500~? 2/1",
         "M0~100 M500~900 2/2"),
    CELL(COMPLETE, PIN_ASKED, "M0~100 1/1", "M0~100 -900~? 2/1",
         "M0~100 1/1"),
    CELL(COMPLETE, OPEN_FAILED, "M0~100 1/1", "M0~100 -900~? 2/1",
         "M0~100 1/1"),
    CELL(COMPLETE, REQUEST_TIMEOUT, "M0~100 1/1", "M0~100 -900~? 2/1",
         "M0~100 1/1"),
    CELL(COMPLETE, CLOSED, "M0~100 1/1", "M0~100 -900~? 2/1", "M0~100 1/1"),
    CELL(COMPLETE, PIN_CLOSED, "M0~100 1/1", "M0~100 -900~? 2/1",
         "M0~100 1/1"),
    CELL(COMPLETE, SEEN_OPEN, "M0~100 R500~? 2/1", "M0~100 -500~? 2/1",
         "M0~100 R500~900 2/2"),
    CELL(COMPLETE, SEEN_CLOSED, "M0~100 1/1", "M0~100 -900~? 2/1",
         "M0~100 1/1")
};


static void
cell_run(const lid_cell_t *cell, const char *expected, int probe)
{
    char  text[200];

    state_reach(cell->state);

    if (cell->event == COCO_LID_OPEN_REQUEST) {
        put(request_make("event", COCO_SOURCE_QR, QR_REF, 500), 500);

    } else {
        happen("event", cell->event, 500);
    }

    if (probe >= 0) {
        happen("probe", probe, 900);
    }

    store_wait(&store, LATER);
    store_print(text, sizeof(text));

    if (strcmp(text, expected) != 0) {
        fail_msg("state %d, event %d, then %d: %s, not %s", cell->state,
                 cell->event, probe, text, expected);
    }
}


static void
every_state_and_event(void **state)
{
    bool    seen[COCO_LID_STATES][COCO_LID_EXPIRY] = { { false } };
    size_t  i, count = sizeof(cells) / sizeof(cells[0]);

    for (i = 0; i < count; i++) {
        assert_false(seen[cells[i].state][cells[i].event]);
        seen[cells[i].state][cells[i].event] = true;

        cell_run(&cells[i], cells[i].alone, -1);
        cell_run(&cells[i], cells[i].then_open, COCO_LID_OPENED);
        cell_run(&cells[i], cells[i].then_close, COCO_LID_CLOSED);
    }

    assert_int_equal(count, COCO_LID_STATES * COCO_LID_EXPIRY);
}


/* The column that no event fills: time passes. */
static void
every_state_and_expiry(void **state)
{
    char    text[200];
    size_t  i, k;

    static const char *const  expected[COCO_LID_STATES][2] = {
        [COCO_LID_IDLE] = { "-1801000~? 1/0", "-?~1801000 0/1" },
        [COCO_LID_REQUEST] = { "-1801000~? 1/0", "-?~1801000 0/1" },
        [COCO_LID_INIT] = { "M0~? -1801000~? 2/0", "M0~? -?~1801000 1/1" },
        [COCO_LID_COMPLETE] = { "M0~100 -1801000~? 2/1",
                                "M0~100 -?~1801000 1/2" }
    };

    for (i = 0; i < COCO_LID_STATES; i++) {
        for (k = 0; k < 2; k++) {
            state_reach(i);
            happen("probe", k == 0 ? COCO_LID_OPENED : COCO_LID_CLOSED,
                   CYCLE + 1000);
            store_wait(&store, LATER + CYCLE);
            store_print(text, sizeof(text));
            assert_string_equal(text, expected[i][k]);
        }
    }
}


/* What an event does and where it leads belong together, also where only the
 * drawing shows it. */
static void
the_table_is_coherent(void **state)
{
    size_t                        from, event;
    coco_lid_state_e              rest;
    const coco_lid_transition_t  *way;

    for (from = 0; from < COCO_LID_STATES; from++) {
        rest = from == COCO_LID_REQUEST ? COCO_LID_IDLE : from;

        for (event = 0; event < COCO_LID_EVENTS; event++) {
            way = &coco_lid_transitions[from][event];

            assert_int_equal(way->action == COCO_LID_DO_REMEMBER,
                             event == COCO_LID_OPEN_REQUEST);
            assert_int_equal(way->action == COCO_LID_DO_FORGET,
                             event == COCO_LID_OPEN_FAILED
                             || event == COCO_LID_REQUEST_TIMEOUT);
            assert_int_equal(way->action == COCO_LID_DO_EXPIRE,
                             event == COCO_LID_EXPIRY
                             && from == COCO_LID_INIT);

            if (event == COCO_LID_PIN_ASKED) {
                assert_int_equal(way->action, COCO_LID_DO_NOTHING);
            }

            switch (way->action) {

            case COCO_LID_DO_NOTHING:
                assert_int_equal(way->next, event == COCO_LID_EXPIRY
                                 && from == COCO_LID_COMPLETE
                                 ? COCO_LID_IDLE : from);
                break;

            case COCO_LID_DO_REMEMBER:
                assert_int_equal(way->next, from == COCO_LID_IDLE
                                            ? COCO_LID_REQUEST : from);
                break;

            case COCO_LID_DO_FORGET:
                assert_int_equal(way->next, rest);
                break;

            case COCO_LID_DO_BEGIN:
                assert_int_not_equal(from, COCO_LID_INIT);
                assert_int_equal(way->next, COCO_LID_INIT);
                break;

            case COCO_LID_DO_JOIN:
                assert_true(from == COCO_LID_INIT
                            || from == COCO_LID_COMPLETE);
                assert_int_equal(way->next, from);
                break;

            case COCO_LID_DO_END:
                assert_int_equal(from, COCO_LID_INIT);
                assert_int_equal(way->next, COCO_LID_COMPLETE);
                break;

            case COCO_LID_DO_WAIT:
                assert_int_equal(rest, COCO_LID_IDLE);
                assert_int_equal(way->next, COCO_LID_COMPLETE);
                break;

            case COCO_LID_DO_EXPIRE:
                assert_int_equal(way->next, COCO_LID_IDLE);
                break;
            }

            assert_true(strlen(coco_lid_action_text(way->action)) > 0);
        }
    }
}


/* --- every order of arrival --- */


/* The next order of numbers, as a dictionary has them; false after the last. */
static bool
order_next(size_t *order, size_t count)
{
    size_t  i, k, kept;

    for (i = count - 1; i > 0 && order[i - 1] > order[i]; i--) {
        /* void */
    }

    if (i == 0) {
        return false;
    }

    for (k = count - 1; order[k] < order[i - 1]; k--) {
        /* void */
    }

    kept = order[i - 1];
    order[i - 1] = order[k];
    order[k] = kept;

    for (k = count - 1; i < k; i++, k--) {
        kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }

    return true;
}


/* Between two arrivals: at once, within the wait of a close, after it, after
 * the expiry of an open. */
static const int64_t  gaps[] = { 0, 700, 5000, CYCLE + 60000 };

#define GAPS  (sizeof(gaps) / sizeof(gaps[0]))


static void
arrive(const coco_lid_mark_t *marks, const size_t *order, size_t count,
    int64_t gap, int64_t begin)
{
    size_t  i;

    store_init(&store, WINDOW, CYCLE);

    for (i = 0; i < count; i++) {
        put(marks[order[i]], begin + (int64_t) i * gap);
    }

    store_wait(&store, T + begin + (int64_t) count * gap + 2 * CYCLE);
}


static void
request_open_close_in_every_order(void **state)
{
    size_t  gap, named;

    for (named = 0; named < 2; named++) {
        for (gap = 0; gap < GAPS; gap++) {
            size_t           order[] = { 0, 1, 2 };
            coco_lid_mark_t  marks[] = {
                request_make("r", COCO_SOURCE_QR, QR_REF, 0),
                mark_make("o", COCO_LID_OPENED, 1000),
                mark_make("c", COCO_LID_CLOSED, 3000)
            };

            if (named) {
                marks[1] = answering(marks[1], "r");
            }

            do {
                arrive(marks, order, 3, gaps[gap], 4000);
                assert_whole(cycle_of(0, 1), COCO_SOURCE_QR, QR_REF, 1000,
                             3000);
                assert_int_equal(published(true), 1);
                assert_true(published(false) <= 1);
            } while (order_next(order, 3));
        }
    }
}


/* Two loadings in a row, the second within the window of the first's close;
 * the second Magic Lid's own report comes twice, as two events. */
static void
two_cycles_in_every_order(void **state)
{
    size_t                 gap;
    const coco_lid_mark_t  marks[] = {
        mark_make("o1", COCO_LID_PIN_OPENED, 0),
        mark_make("c1", COCO_LID_PIN_CLOSED, 1000),
        mark_make("o2", COCO_LID_PIN_OPENED, 2500),
        mark_make("o2 again", COCO_LID_OPENED, 2510),
        mark_make("c2", COCO_LID_CLOSED, 9000)
    };

    for (gap = 0; gap < GAPS; gap++) {
        size_t  order[] = { 0, 1, 2, 3, 4 };

        do {
            arrive(marks, order, 5, gaps[gap], 10000);
            assert_whole(cycle_of(0, 2), COCO_SOURCE_MAGIC_LID, none, 0,
                         1000);
            assert_whole(cycle_of(1, 2), COCO_SOURCE_MAGIC_LID, none, 2500,
                         9000);
            assert_int_equal(published(true), 2);
        } while (order_next(order, 5));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(qr_flow),
        TEST(magic_lid_flow),
        TEST(failed_open_makes_no_cycle),
        TEST(close_after_a_lost_request_is_anonymous),
        TEST(every_state_and_event),
        TEST(every_state_and_expiry),
        TEST(the_table_is_coherent),
        TEST(request_open_close_in_every_order),
        TEST(two_cycles_in_every_order)
    };

    return cmocka_run_group_tests_name("lid cycle", tests, NULL, NULL);
}
