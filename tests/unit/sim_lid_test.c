/*
 * The lid of a simulated robot and the people at it: each habit, what a robot
 * answers to commands, and that all of it is repeatable from its seed.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../sim/message.h"

#define TEST_START  1700000000000LL
#define TEST_MAX    64

typedef struct {
    sim_lid_t        lid;
    sim_lid_rules_t  rules;
    int64_t          now;
    bool             stands;
    int              scans;

    /* what it has sent, and when */
    json_t          *sent[TEST_MAX];
    int64_t          sent_at[TEST_MAX];
    int              count;
} test_t;


static void
begin(test_t *t, const char *habits, uint64_t seed)
{
    memset(t, 0, sizeof(*t));
    t->rules.latch_ms = 400;
    t->now = TEST_START;
    t->stands = true;
    assert_null(sim_habits_parse(&t->rules, habits));
    sim_lid_init(&t->lid, &t->rules, seed, 1);
}


static void
end(test_t *t)
{
    while (t->count > 0) {
        json_decref(t->sent[--t->count]);
    }
}


static void
collect(test_t *t)
{
    char                text[SIM_LID_EVENT_MAX];
    size_t              len;
    const sim_event_t  *event;

    while ((event = sim_lid_event(&t->lid, t->now)) != NULL) {
        len = sim_event_encode(event, text, sizeof(text));
        assert_true(len < sizeof(text) && t->count < TEST_MAX);
        t->sent[t->count] = json_loadb(text, len, JSON_REJECT_DUPLICATES,
                                       NULL);
        assert_non_null(t->sent[t->count]);
        t->sent_at[t->count++] = t->now;
        sim_lid_event_sent(&t->lid, event);
    }
}


/* As a fleet does: a turn each second, and whatever is due between. */

static void
pass(test_t *t, int64_t ms)
{
    int64_t  until, due;

    for (until = t->now + ms; t->now < until; /* void */) {
        due = sim_lid_due(&t->lid, t->now);
        assert_true(due > t->now);
        t->now += 1000 - t->now % 1000;
        t->now = due < t->now ? due : t->now;
        t->now = until < t->now ? until : t->now;

        if (t->now % 1000 == 0) {
            sim_lid_stand(&t->lid, t->stands, t->now);
        }

        sim_lid_step(&t->lid, t->now);
        t->scans += sim_lid_scan(&t->lid);
        collect(t);
    }
}


static void
command(test_t *t, sim_command_e what, const char *id, int64_t left)
{
    sim_command_t  c = { .command = what, .expires_at = t->now + left };

    strcpy(c.id, id);
    sim_lid_command(&t->lid, &c, !t->stands, t->now);
    sim_lid_step(&t->lid, t->now);
    collect(t);
}


static const char *
text(test_t *t, int i, const char *name)
{
    assert_true(i < t->count);

    return json_string_value(json_object_get(t->sent[i], name));
}


static int64_t
ts(test_t *t, int i)
{
    assert_true(i < t->count);

    return json_integer_value(json_object_get(t->sent[i], "ts"));
}


#define assert_event(t, i, type)                                              \
    assert_string_equal(text(t, i, "type"), type)

#define assert_member(t, i, name, value)                                      \
    assert_string_equal(text(t, i, name), value)


static void
a_command_opens_and_somebody_closes(void **state)
{
    test_t  t;

    begin(&t, "pin", 1);
    command(&t, SIM_COMMAND_OPEN, "c-1", 5000);
    assert_int_equal(t.count, 1);
    assert_event(&t, 0, "COMMAND_ACK");
    assert_member(&t, 0, "commandId", "c-1");
    assert_true(sim_lid_holds(&t.lid));
    assert_int_not_equal(t.lid.state, SIM_LID_OPEN);

    pass(&t, 400);
    assert_int_equal(t.lid.state, SIM_LID_OPEN);
    assert_event(&t, 1, "LID_OPENED");
    assert_member(&t, 1, "trigger", "COMMAND");
    assert_member(&t, 1, "commandId", "c-1");
    assert_int_equal(ts(&t, 1), TEST_START + 400);

    pass(&t, 8000);
    assert_int_equal(t.count, 3);
    assert_event(&t, 2, "LID_CLOSED");
    assert_member(&t, 2, "trigger", "OTHER");
    assert_null(text(&t, 2, "commandId"));
    assert_in_range(ts(&t, 2) - ts(&t, 1), 3000, 8000);
    assert_false(sim_lid_holds(&t.lid));

    pass(&t, 120000);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.lid.counts.commands, 1);
    assert_int_equal(t.lid.counts.opened, 1);
    assert_int_equal(t.lid.counts.closed, 1);
    end(&t);
}


static void
expired_and_repeated_commands_are_ignored(void **state)
{
    int     i;
    char    id[24];
    test_t  t;

    begin(&t, "pin", 1);
    command(&t, SIM_COMMAND_OPEN, "old", 0);
    command(&t, SIM_COMMAND_OPEN, "old", -1);
    assert_int_equal(t.count, 0);
    assert_int_equal(t.lid.counts.ignored, 2);

    command(&t, SIM_COMMAND_OPEN, "one", 60000);
    command(&t, SIM_COMMAND_OPEN, "one", 60000);
    pass(&t, 10000);
    command(&t, SIM_COMMAND_OPEN, "one", 50000);
    assert_int_equal(t.lid.counts.ignored, 4);
    assert_int_equal(t.lid.counts.opened, 1);
    assert_int_equal(t.count, 3);

    /* remembered among many others */
    for (i = 0; i < SIM_LID_SEEN - 1; i++) {
        snprintf(id, sizeof(id), "close-%d", i);
        command(&t, SIM_COMMAND_CLOSE, id, 1000);
    }

    command(&t, SIM_COMMAND_OPEN, "one", 50000);
    assert_int_equal(t.lid.counts.ignored, 5);
    assert_int_equal(t.lid.counts.opened, 1);
    end(&t);
}


static void
a_moving_robot_refuses(void **state)
{
    test_t  t;

    begin(&t, "pin", 1);
    t.stands = false;
    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    assert_int_equal(t.count, 2);
    assert_event(&t, 0, "COMMAND_ACK");
    assert_event(&t, 1, "LID_OPEN_FAILED");
    assert_member(&t, 1, "reason", "moving");
    assert_member(&t, 1, "commandId", "c");
    assert_false(sim_lid_holds(&t.lid));
    end(&t);
}


static void
every_command_is_answered(void **state)
{
    int     i;
    test_t  t;

    begin(&t, "none", 1);
    command(&t, SIM_COMMAND_OPEN, "a", 5000);
    command(&t, SIM_COMMAND_OPEN, "b", 5000);
    pass(&t, 400);
    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    assert_int_equal(t.count, 6);

    for (i = 2; i < 6; i++) {
        if (i != 4) {
            assert_event(&t, i, "LID_OPENED");
        }
    }

    assert_member(&t, 2, "commandId", "a");
    assert_member(&t, 3, "commandId", "b");
    assert_member(&t, 5, "commandId", "c");
    assert_int_equal(t.lid.counts.opened, 1);
    end(&t);
}


static void
a_command_closes_what_nobody_does(void **state)
{
    test_t  t;

    begin(&t, "none", 1);
    sim_lid_pin(&t.lid, "1234");
    command(&t, SIM_COMMAND_CLOSE, "z", 5000);
    assert_int_equal(t.count, 1);                   /* it is closed: an ack */

    command(&t, SIM_COMMAND_OPEN, "a", 5000);
    pass(&t, 3600000);
    assert_int_equal(t.lid.state, SIM_LID_OPEN);
    assert_int_equal(t.count, 3);

    command(&t, SIM_COMMAND_CLOSE, "b", 5000);
    assert_int_equal(t.lid.state, SIM_LID_CLOSED);
    assert_event(&t, 4, "LID_CLOSED");
    assert_member(&t, 4, "trigger", "COMMAND");
    assert_member(&t, 4, "commandId", "b");
    end(&t);
}


static void
a_pin_is_typed_where_the_robot_stands(void **state)
{
    test_t  t;

    begin(&t, "pin", 3);
    pass(&t, 60000);
    assert_int_equal(t.count, 0);                   /* no PIN, nobody */

    t.stands = false;
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 60000);
    assert_int_equal(t.count, 0);

    t.stands = true;
    pass(&t, 15000);
    assert_int_equal(t.count, 2);
    assert_event(&t, 0, "PIN_ENTRY_LID_OPEN");
    assert_true(json_is_true(json_object_get(t.sent[0], "lid_opened")));
    assert_null(text(&t, 0, "pin"));
    assert_event(&t, 1, "PIN_ENTRY_LID_CLOSE");
    assert_member(&t, 1, "trigger", "PIN_ENTRY_CONFIRM");
    assert_in_range(ts(&t, 1) - ts(&t, 0), 3000, 8000);

    /* it was taken away: nobody comes again */
    sim_lid_pin(&t.lid, NULL);
    pass(&t, 300000);
    assert_int_equal(t.count, 2);

    /* another one, at the same place */
    sim_lid_pin(&t.lid, "9876");
    pass(&t, 15000);
    assert_int_equal(t.count, 4);
    end(&t);
}


static void
a_pin_taken_away_in_time_opens_nothing(void **state)
{
    test_t  t;

    begin(&t, "pin", 3);
    sim_lid_pin(&t.lid, "1234");
    sim_lid_stand(&t.lid, true, t.now);
    assert_int_equal(t.lid.visit, SIM_VISIT_COMING);
    assert_true(sim_lid_holds(&t.lid));
    sim_lid_pin(&t.lid, NULL);
    pass(&t, 300000);
    assert_int_equal(t.count, 0);
    assert_false(sim_lid_holds(&t.lid));
    end(&t);
}


static void
a_keypad_that_asks_waits_for_the_command(void **state)
{
    test_t  t;

    begin(&t, "pin", 1);
    t.rules.pin_ask = true;
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 5000);
    assert_int_equal(t.count, 1);
    assert_event(&t, 0, "PIN_ENTRY_LID_OPEN");
    assert_true(json_is_false(json_object_get(t.sent[0], "lid_opened")));
    assert_member(&t, 0, "pin", "1234");
    assert_int_equal(t.lid.state, SIM_LID_CLOSED);

    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    pass(&t, 10000);
    assert_int_equal(t.count, 4);
    assert_event(&t, 2, "LID_OPENED");
    assert_event(&t, 3, "PIN_ENTRY_LID_CLOSE");
    end(&t);

    /* who is not answered leaves */
    begin(&t, "touch", 1);
    pass(&t, 5000);
    assert_int_equal(t.count, 1);
    assert_event(&t, 0, "PIN_ENTRY_LID_OPEN");
    assert_true(json_is_false(json_object_get(t.sent[0], "lid_opened")));
    assert_null(text(&t, 0, "pin"));
    assert_true(sim_lid_holds(&t.lid));
    pass(&t, 15000);
    assert_int_equal(t.count, 1);
    assert_false(sim_lid_holds(&t.lid));

    /* and somebody else comes */
    pass(&t, 60000);
    assert_int_equal(t.count, 2);
    end(&t);
}


static void
a_code_is_scanned(void **state)
{
    test_t  t;

    begin(&t, "qr", 1);
    pass(&t, 5000);
    assert_int_equal(t.scans, 1);
    assert_int_equal(t.count, 0);
    assert_true(sim_lid_holds(&t.lid));

    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    pass(&t, 400);
    sim_lid_scan_end(&t.lid, true, t.now);
    pass(&t, 10000);
    assert_int_equal(t.count, 3);
    assert_event(&t, 2, "LID_CLOSED");
    assert_member(&t, 2, "trigger", "OTHER");
    end(&t);

    /* nothing to load: leaves at once */
    begin(&t, "qr", 1);
    pass(&t, 5000);
    sim_lid_scan_end(&t.lid, false, t.now);
    assert_false(sim_lid_holds(&t.lid));
    end(&t);
}


static void
fast_closes_before_the_open_is_reported(void **state)
{
    test_t  t;

    begin(&t, "pin,fast", 1);
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 10000);
    assert_int_equal(t.count, 2);
    assert_event(&t, 0, "PIN_ENTRY_LID_CLOSE");
    assert_event(&t, 1, "PIN_ENTRY_LID_OPEN");
    assert_in_range(ts(&t, 0) - ts(&t, 1), 50, 300);
    assert_true(t.sent_at[1] > t.sent_at[0]);
    end(&t);
}


static void
forget_leaves_it_open(void **state)
{
    test_t  t;

    begin(&t, "pin,forget", 1);
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 3600000);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.lid.state, SIM_LID_OPEN);
    assert_true(sim_lid_holds(&t.lid));

    /* until somebody with better habits has it opened */
    t.rules.chance[SIM_HABIT_FORGET] = 0;
    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    pass(&t, 10000);
    assert_int_equal(t.count, 4);
    assert_event(&t, 2, "LID_OPENED");
    assert_event(&t, 3, "PIN_ENTRY_LID_CLOSE");
    end(&t);
}


static void
jam_opens_nothing(void **state)
{
    test_t  t;

    begin(&t, "pin,jam", 1);
    command(&t, SIM_COMMAND_OPEN, "a", 5000);
    command(&t, SIM_COMMAND_OPEN, "b", 5000);
    pass(&t, 400);
    assert_int_equal(t.count, 4);
    assert_event(&t, 2, "LID_OPEN_FAILED");
    assert_member(&t, 2, "reason", "latch jammed");
    assert_member(&t, 2, "commandId", "a");
    assert_event(&t, 3, "LID_OPEN_FAILED");
    assert_member(&t, 3, "commandId", "b");
    assert_int_equal(t.lid.counts.opened, 0);
    assert_false(sim_lid_holds(&t.lid));
    end(&t);

    begin(&t, "pin,jam", 1);
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 10000);
    assert_event(&t, 0, "LID_OPEN_FAILED");
    assert_null(text(&t, 0, "commandId"));
    end(&t);
}


static void
late_reports_in_order_when_the_network_returns(void **state)
{
    test_t  t;

    begin(&t, "pin,late", 1);
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 60000);
    assert_true(t.count >= 2);
    assert_event(&t, 0, "PIN_ENTRY_LID_OPEN");
    assert_event(&t, 1, "PIN_ENTRY_LID_CLOSE");
    assert_in_range(t.sent_at[0] - ts(&t, 0), 5000 - 400, 20000 - 400);
    assert_true(t.sent_at[1] >= t.sent_at[0]);
    end(&t);

    /* the network is away from the order on */
    begin(&t, "pin,late", 2);
    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    assert_int_equal(t.count, 0);
    assert_false(sim_lid_online(&t.lid, t.now));
    pass(&t, 20000);
    assert_true(sim_lid_online(&t.lid, t.now));
    assert_int_equal(t.count, 3);
    assert_event(&t, 0, "COMMAND_ACK");
    assert_event(&t, 1, "LID_OPENED");
    assert_event(&t, 2, "LID_CLOSED");
    end(&t);
}


static void
twice_repeats_every_event_byte_for_byte(void **state)
{
    int     i, j, found;
    test_t  t;

    begin(&t, "pin,twice", 1);
    sim_lid_pin(&t.lid, "1234");
    pass(&t, 15000);
    assert_int_equal(t.count, 4);

    for (i = 0; i < 4; i++) {
        found = 0;

        for (j = 0; j < 4; j++) {
            if (j != i && json_equal(t.sent[i], t.sent[j])) {
                assert_int_not_equal(t.sent_at[i], t.sent_at[j]);
                found++;
            }
        }

        assert_int_equal(found, 1);
    }

    end(&t);
}


static void
chances_are_chances(void **state)
{
    int     i, jams;
    test_t  t;

    jams = 0;

    for (i = 0; i < 400; i++) {
        begin(&t, "pin,jam:0.25", (uint64_t) i);
        command(&t, SIM_COMMAND_OPEN, "c", 5000);
        pass(&t, 400);
        jams += t.lid.counts.failed;
        end(&t);
    }

    assert_in_range(jams, 70, 130);
}


static void
same_seed_same_events(void **state)
{
    int     i, j, differ;
    test_t  one, two, other;

    differ = 0;

    for (i = 0; i < 50; i++) {
        begin(&one, "pin,fast:0.3,late:0.3,twice:0.3,jam:0.2",
              (uint64_t) i);
        begin(&two, "pin,fast:0.3,late:0.3,twice:0.3,jam:0.2",
              (uint64_t) i);
        begin(&other, "pin,fast:0.3,late:0.3,twice:0.3,jam:0.2",
              (uint64_t) i + 50);
        sim_lid_pin(&one.lid, "1234");
        sim_lid_pin(&two.lid, "1234");
        sim_lid_pin(&other.lid, "1234");
        pass(&one, 120000);
        pass(&two, 120000);
        pass(&other, 120000);

        assert_true(one.count > 0);
        assert_int_equal(one.count, two.count);

        for (j = 0; j < one.count; j++) {
            assert_true(json_equal(one.sent[j], two.sent[j]));
            assert_int_equal(one.sent_at[j], two.sent_at[j]);
        }

        differ += one.count != other.count
                  || !json_equal(one.sent[0], other.sent[0]);
        end(&one);
        end(&two);
        end(&other);
    }

    assert_true(differ > 40);
}


static void
an_end_reports_what_has_happened_only(void **state)
{
    test_t  t;

    begin(&t, "pin,late,twice", 1);
    command(&t, SIM_COMMAND_OPEN, "c", 5000);
    pass(&t, 300);
    assert_int_equal(t.count, 0);

    sim_lid_end(&t.lid, t.now);
    assert_int_equal(sim_lid_due(&t.lid, t.now), SIM_NEVER);
    collect(&t);
    assert_int_equal(t.count, 1);
    assert_event(&t, 0, "COMMAND_ACK");
    assert_int_equal(t.lid.event_count, 0);
    end(&t);
}


static void
events_beyond_the_room_are_counted(void **state)
{
    int            i;
    sim_command_t  c = { .id = "", .expires_at = TEST_START + 1000 };
    test_t         t;

    begin(&t, "none", 1);

    for (i = 0; i < SIM_LID_EVENTS; i++) {
        snprintf(c.id, sizeof(c.id), "%d", i);
        sim_lid_command(&t.lid, &c, true, t.now);
    }

    assert_int_equal(t.lid.event_count, SIM_LID_EVENTS);
    assert_int_equal(t.lid.counts.dropped, SIM_LID_EVENTS);
}


static void
bad_habits_are_refused(void **state)
{
    size_t           i;
    sim_lid_rules_t  rules, before;

    static const char *const  bad[] = {
        "", "pins", "pin,", ",pin", "pin:", "pin:x", "pin:1.1", "pin:-0.1",
        "pin:nan", "pin:0.5x", "none,pin", "pin:0.5:0.5", "pi", "pin jam"
    };

    memset(&rules, 0, sizeof(rules));
    assert_null(sim_habits_parse(&rules, "pin:0.5,jam"));
    assert_true(rules.chance[SIM_HABIT_PIN] == 0.5);
    assert_true(rules.chance[SIM_HABIT_JAM] == 1);
    assert_true(rules.chance[SIM_HABIT_QR] == 0);
    before = rules;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_non_null(sim_habits_parse(&rules, bad[i]));
        assert_memory_equal(&rules, &before, sizeof(rules));
    }

    assert_null(sim_habits_parse(&rules, "none"));
    assert_true(rules.nobody && rules.chance[SIM_HABIT_PIN] == 0);
}


static void
messages_are_read_or_refused(void **state)
{
    size_t         i;
    char           pin[SIM_PIN_MAX + 1];
    sim_command_t  c;

#define COMMAND_OF(id, word, expires)                                         \
    "{\"id\":" id ",\"command\":" word ",\"issuedAt\":1,"                     \
    "\"source\":\"QR\",\"expiresAt\":" expires "}"

    static const char  good[] = COMMAND_OF("\"a-1\"", "\"CLOSE_LID\"", "77");
    static const char *const  bad[] = {
        "", "[]", "{}", "\"OPEN_LID\"",
        COMMAND_OF("1", "\"OPEN_LID\"", "77"),
        COMMAND_OF("\"\"", "\"OPEN_LID\"", "77"),
        COMMAND_OF("\"a\\\"b\"", "\"OPEN_LID\"", "77"),
        COMMAND_OF("\"a\\u0001\"", "\"OPEN_LID\"", "77"),
        COMMAND_OF("\"a\"", "\"DANCE\"", "77"),
        COMMAND_OF("\"a\"", "\"OPEN_LID\"", "\"77\""),
        COMMAND_OF("\"" "0123456789012345678901234567890123456789"
                   "0123456789012345678901234" "\"", "\"OPEN_LID\"", "77"),
    };
    static const char *const  pinless[] = {
        "", "{}", "{\"state\":{\"desired\":{}}}",
        "{\"state\":{\"desired\":{\"pin\":\"\"}}}",
        "{\"state\":{\"desired\":{\"pin\":1234}}}",
        "{\"state\":{\"desired\":{\"pin\":\"12a4\"}}}",
        "{\"state\":{\"desired\":{\"pin\":\"01234567890123456\"}}}",
    };

    assert_int_equal(sim_command_decode(&c, good, strlen(good)), 0);
    assert_string_equal(c.id, "a-1");
    assert_int_equal(c.command, SIM_COMMAND_CLOSE);
    assert_int_equal(c.expires_at, 77);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(sim_command_decode(&c, bad[i], strlen(bad[i])), -1);
    }

#define SHADOW_OF(pin)  "{\"state\":{\"desired\":{\"pin\":" pin "}}}"

    assert_int_equal(sim_shadow_decode(pin, SHADOW_OF("\"0417\""),
                                       strlen(SHADOW_OF("\"0417\""))), 0);
    assert_string_equal(pin, "0417");

    for (i = 0; i < sizeof(pinless) / sizeof(pinless[0]); i++) {
        assert_int_equal(sim_shadow_decode(pin, pinless[i],
                                           strlen(pinless[i])), -1);
        assert_string_equal(pin, "0417");
    }

    assert_int_equal(sim_shadow_decode(pin, SHADOW_OF("null"),
                                       strlen(SHADOW_OF("null"))), 0);
    assert_string_equal(pin, "");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_command_opens_and_somebody_closes),
        cmocka_unit_test(expired_and_repeated_commands_are_ignored),
        cmocka_unit_test(a_moving_robot_refuses),
        cmocka_unit_test(every_command_is_answered),
        cmocka_unit_test(a_command_closes_what_nobody_does),
        cmocka_unit_test(a_pin_is_typed_where_the_robot_stands),
        cmocka_unit_test(a_pin_taken_away_in_time_opens_nothing),
        cmocka_unit_test(a_keypad_that_asks_waits_for_the_command),
        cmocka_unit_test(a_code_is_scanned),
        cmocka_unit_test(fast_closes_before_the_open_is_reported),
        cmocka_unit_test(forget_leaves_it_open),
        cmocka_unit_test(jam_opens_nothing),
        cmocka_unit_test(late_reports_in_order_when_the_network_returns),
        cmocka_unit_test(twice_repeats_every_event_byte_for_byte),
        cmocka_unit_test(chances_are_chances),
        cmocka_unit_test(same_seed_same_events),
        cmocka_unit_test(an_end_reports_what_has_happened_only),
        cmocka_unit_test(events_beyond_the_room_are_counted),
        cmocka_unit_test(bad_habits_are_refused),
        cmocka_unit_test(messages_are_read_or_refused),
    };

    return cmocka_run_group_tests_name("sim lid", tests, NULL, NULL);
}
