/*
 * The table of messages in flight, and the texts of SQS's protocol.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "sources/sqs_slots.h"
#include "sources/sqs_wire.h"

#define TEXT_SIZE  4096


static coco_str_t
str(const char *text)
{
    return (coco_str_t) { text, strlen(text) };
}


static uint64_t
take(coco_sqs_slots_t *slots, const char *receipt, int64_t now)
{
    uint64_t  tag;

    tag = coco_sqs_slots_take(slots, str(receipt), now, now + 10);
    assert_true(tag != 0);

    return tag;
}


static void
test_slots_life(void **state)
{
    uint64_t           tag, out[4];
    coco_sqs_slots_t  *slots;

    slots = coco_sqs_slots_create(2);
    assert_non_null(slots);

    tag = take(slots, "r1", 5);
    assert_int_equal(coco_sqs_slots_used(slots), 1);
    assert_int_equal(coco_sqs_slots_received_at(slots, tag), 5);
    assert_true(coco_str_equal(coco_sqs_slots_receipt(slots, tag),
                               str("r1")));

    /* not handed over: nobody can commit it */
    assert_false(coco_sqs_slots_done(slots, tag));
    assert_int_equal(coco_sqs_slots_waiting(slots), 0);

    coco_sqs_slots_await(slots, tag);
    assert_true(coco_sqs_slots_done(slots, tag));
    assert_false(coco_sqs_slots_done(slots, tag));
    assert_int_equal(coco_sqs_slots_waiting(slots), 1);

    assert_int_equal(coco_sqs_slots_committed(slots, out, 4), 1);
    assert_true(out[0] == tag);
    assert_int_equal(coco_sqs_slots_committed(slots, out, 4), 0);

    coco_sqs_slots_recommit(slots, tag);
    assert_int_equal(coco_sqs_slots_committed(slots, out, 4), 1);
    coco_sqs_slots_drop(slots, tag);
    assert_int_equal(coco_sqs_slots_used(slots), 0);

    coco_sqs_slots_destroy(slots);
}


static void
test_slots_late_done(void **state)
{
    uint64_t           old, tag;
    coco_sqs_slots_t  *slots;

    slots = coco_sqs_slots_create(1);
    old = take(slots, "r1", 0);
    coco_sqs_slots_await(slots, old);
    assert_int_equal(coco_sqs_slots_take(slots, str("r2"), 0, 0), 0);
    coco_sqs_slots_drop(slots, old);

    tag = take(slots, "r2", 0);
    assert_true(tag != old);
    coco_sqs_slots_await(slots, tag);

    assert_false(coco_sqs_slots_done(slots, old));
    assert_int_equal(coco_sqs_slots_waiting(slots), 0);
    assert_null(coco_sqs_slots_receipt(slots, old).data);
    coco_sqs_slots_drop(slots, old);
    assert_int_equal(coco_sqs_slots_used(slots), 1);

    assert_true(coco_sqs_slots_done(slots, tag));
    coco_sqs_slots_destroy(slots);
}


static void
test_slots_due(void **state)
{
    uint64_t           a, b, c, d, out[4];
    coco_sqs_slots_t  *slots;

    slots = coco_sqs_slots_create(4);
    assert_true(coco_sqs_slots_due_at(slots) == INT64_MAX);

    a = take(slots, "a", 0);
    b = take(slots, "b", 1);
    c = take(slots, "c", 2);
    d = take(slots, "d", 3);
    coco_sqs_slots_await(slots, a);
    coco_sqs_slots_await(slots, b);
    coco_sqs_slots_await(slots, c);
    coco_sqs_slots_await(slots, d);
    assert_int_equal(coco_sqs_slots_due_at(slots), 10);
    assert_int_equal(coco_sqs_slots_due(slots, 9, out, 4), 0);

    /* committed ones are passed over */
    coco_sqs_slots_done(slots, b);
    assert_int_equal(coco_sqs_slots_due(slots, 12, out, 4), 2);
    assert_true(out[0] == a && out[1] == c);
    assert_int_equal(coco_sqs_slots_due_at(slots), 13);

    /* what failed goes first, what succeeded last, whatever the order */
    coco_sqs_slots_redue(slots, c, 22);
    coco_sqs_slots_redue(slots, a, 12);
    assert_int_equal(coco_sqs_slots_due(slots, 100, out, 1), 1);
    assert_true(out[0] == a);
    coco_sqs_slots_redue(slots, a, 20);
    assert_int_equal(coco_sqs_slots_due(slots, 100, out, 4), 3);
    assert_true(out[0] == d && out[1] == a && out[2] == c);
    assert_true(coco_sqs_slots_due_at(slots) == INT64_MAX);

    /* twice put is once there; dropped is gone */
    coco_sqs_slots_redue(slots, a, 30);
    coco_sqs_slots_redue(slots, a, 31);
    coco_sqs_slots_redue(slots, c, 32);
    coco_sqs_slots_drop(slots, c);
    assert_int_equal(coco_sqs_slots_due(slots, 100, out, 4), 1);
    assert_true(out[0] == a);

    coco_sqs_slots_destroy(slots);
}


typedef struct {
    unsigned  room;
    char      seen[16];
} lane_t;


static int
offer(void *data, const coco_message_t *message)
{
    lane_t  *lane = data;

    if (lane->room == 0) {
        return COCO_AGAIN;
    }

    lane->room--;
    strncat(lane->seen, message->payload.data, message->payload.len);

    return COCO_OK;
}


static void
test_slots_held(void **state)
{
    char               text[2] = "0";
    lane_t             lane = { 0 };
    uint64_t           tags[3], out[3];
    coco_message_t     m = { 0 };
    coco_sqs_slots_t  *slots;

    slots = coco_sqs_slots_create(3);

    for (int i = 0; i < 3; i++) {
        tags[i] = take(slots, "r", i);
        m.payload = str(text);
        m.serial = str("s");
        m.tag = tags[i];
        assert_int_equal(coco_sqs_slots_hold(slots, tags[i], &m), COCO_OK);
        text[0]++;      /* it was copied */
    }

    assert_true(coco_sqs_slots_held(slots) > 0);
    coco_sqs_slots_offer(slots, offer, &lane);
    assert_string_equal(lane.seen, "");
    assert_false(coco_sqs_slots_done(slots, tags[0]));

    lane.room = 2;
    coco_sqs_slots_offer(slots, offer, &lane);
    assert_string_equal(lane.seen, "01");
    assert_true(coco_sqs_slots_done(slots, tags[0]));
    assert_false(coco_sqs_slots_done(slots, tags[2]));

    /* what is neither committed nor on its way is given back, once */
    assert_int_equal(coco_sqs_slots_undone(slots, out, 3), 2);
    assert_true(out[0] == tags[1] && out[1] == tags[2]);
    assert_int_equal(coco_sqs_slots_undone(slots, out, 3), 0);
    coco_sqs_slots_drop(slots, tags[1]);
    coco_sqs_slots_drop(slots, tags[2]);
    assert_int_equal(coco_sqs_slots_held(slots), 0);

    coco_sqs_slots_destroy(slots);
}


#define RACE_SLOTS   64
#define RACE_ROUNDS  2000

typedef struct {
    coco_sqs_slots_t  *slots;
    uint64_t           tags[RACE_SLOTS];
    _Atomic unsigned   pushed;
    unsigned           done;
} race_t;


/* A lane's thread: commits what was pushed, each twice. */
static void *
race_lane(void *data)
{
    race_t  *race = data;

    while (race->done < RACE_ROUNDS) {
        if (race->done < race->pushed) {
            coco_sqs_slots_done(race->slots,
                                race->tags[race->done % RACE_SLOTS]);
            coco_sqs_slots_done(race->slots,
                                race->tags[race->done % RACE_SLOTS]);
            race->done++;
        }
    }

    return NULL;
}


static void
test_slots_threads(void **state)
{
    size_t     n;
    race_t     race = { 0 };
    uint64_t   tag, out[10];
    unsigned   deleted = 0;
    pthread_t  lane;

    race.slots = coco_sqs_slots_create(RACE_SLOTS / 2);
    assert_int_equal(pthread_create(&lane, NULL, race_lane, &race), 0);

    while (deleted < RACE_ROUNDS) {
        if (race.pushed < RACE_ROUNDS
            && coco_sqs_slots_free(race.slots) > 0)
        {
            tag = take(race.slots, "r", deleted);
            coco_sqs_slots_await(race.slots, tag);
            race.tags[race.pushed % RACE_SLOTS] = tag;
            race.pushed++;
        }

        n = coco_sqs_slots_committed(race.slots, out, 10);
        deleted += (unsigned) n;

        while (n > 0) {
            coco_sqs_slots_drop(race.slots, out[--n]);
        }
    }

    pthread_join(lane, NULL);
    assert_int_equal(deleted, RACE_ROUNDS);
    assert_int_equal(coco_sqs_slots_used(race.slots), 0);
    coco_sqs_slots_destroy(race.slots);
}


static void
test_encode(void **state)
{
    char             text[TEXT_SIZE];
    coco_str_t       receipts[2] = { str("a/+="), str("b\"") };
    coco_json_out_t  out;

    coco_json_out_init(&out, text, sizeof(text));
    coco_sqs_receive_encode(&out, str("http://q/1"), 10, 20, 30);
    text[out.len] = '\0';
    assert_string_equal(text, "{\"QueueUrl\":\"http://q/1\","
        "\"MaxNumberOfMessages\":10,\"WaitTimeSeconds\":20,"
        "\"VisibilityTimeout\":30,\"MessageSystemAttributeNames\":"
        "[\"ApproximateReceiveCount\",\"SentTimestamp\"]}");

    coco_json_out_init(&out, text, sizeof(text));
    coco_sqs_batch_encode(&out, str("q"), receipts, 2, COCO_SQS_DELETE);
    text[out.len] = '\0';
    assert_string_equal(text, "{\"QueueUrl\":\"q\",\"Entries\":["
        "{\"Id\":\"0\",\"ReceiptHandle\":\"a/+=\"},"
        "{\"Id\":\"1\",\"ReceiptHandle\":\"b\\\"\"}]}");

    coco_json_out_init(&out, text, sizeof(text));
    coco_sqs_batch_encode(&out, str("q"), receipts, 1, 0);
    text[out.len] = '\0';
    assert_string_equal(text, "{\"QueueUrl\":\"q\",\"Entries\":["
        "{\"Id\":\"0\",\"ReceiptHandle\":\"a/+=\","
        "\"VisibilityTimeout\":0}]}");
}


static void
test_messages(void **state)
{
    coco_error_t         err;
    coco_sqs_messages_t  messages;
    coco_sqs_received_t  m;

    assert_int_equal(coco_sqs_messages_read(&messages, str("{}"), &err),
                     COCO_OK);
    assert_false(coco_sqs_messages_next(&messages, &m));
    assert_int_equal(coco_sqs_messages_read(&messages,
                                            str("{\"Messages\":null}"), &err),
                     COCO_OK);
    assert_false(coco_sqs_messages_next(&messages, &m));

    assert_int_equal(coco_sqs_messages_read(&messages, str(""), &err),
                     COCO_ERROR);
    assert_int_equal(coco_sqs_messages_read(&messages, str("[]"), &err),
                     COCO_ERROR);
    assert_int_equal(coco_sqs_messages_read(&messages,
                                            str("{\"Messages\":{}}"), &err),
                     COCO_ERROR);

    assert_int_equal(coco_sqs_messages_read(&messages, str(
        "{\"Messages\":[7,{\"Body\":\"no receipt\"},{\"ReceiptHandle\":\"r\"},"
        "{\"ReceiptHandle\":\"r\",\"Body\":7},"
        "{\"ReceiptHandle\":\"r1\",\"Body\":\"b\\n1\",\"MD5OfBody\":\"m\","
        "\"Attributes\":{\"ApproximateReceiveCount\":\"3\","
        "\"SentTimestamp\":\"1700000000123\"}},"
        "{\"ReceiptHandle\":\"r2\",\"Body\":\"\",\"Attributes\":"
        "{\"ApproximateReceiveCount\":\"3x\",\"SentTimestamp\":"
        "\"99999999999999999999\"}}]}"), &err), COCO_OK);

    assert_true(coco_sqs_messages_next(&messages, &m));
    assert_true(coco_str_equal(m.receipt.string, str("r1")));
    assert_true(coco_str_equal(m.body.string, str("b\\n1")));
    assert_true(coco_str_equal(m.md5, str("m")));
    assert_int_equal(m.receives, 3);
    assert_true(m.sent_at == 1700000000123);

    assert_true(coco_sqs_messages_next(&messages, &m));
    assert_true(coco_str_equal(m.receipt.string, str("r2")));
    assert_null(m.md5.data);
    assert_int_equal(m.receives, 0);
    assert_int_equal(m.sent_at, 0);
    assert_false(coco_sqs_messages_next(&messages, &m));
}


static void
test_batch_answers(void **state)
{
    coco_str_t          code;
    coco_error_t        err;
    coco_sqs_outcome_e  o[COCO_SQS_BATCH];

    assert_int_equal(coco_sqs_batch_read(o, &code, str(
        "{\"Successful\":[{\"Id\":\"0\"},{\"Id\":\"9\"},{\"Id\":\"10\"},7],"
        "\"Failed\":[{\"Id\":\"1\",\"SenderFault\":true,\"Code\":\"One\"},"
        "{\"Id\":\"2\",\"SenderFault\":false,\"Code\":\"Two\"},"
        "{\"Id\":\"3\"},{\"Id\":\":\"}]}"), &err), COCO_OK);
    assert_int_equal(o[0], COCO_SQS_SUCCEEDED);
    assert_int_equal(o[1], COCO_SQS_REFUSED);
    assert_int_equal(o[2], COCO_SQS_FAILED);
    assert_int_equal(o[3], COCO_SQS_FAILED);
    assert_int_equal(o[4], COCO_SQS_UNSAID);
    assert_int_equal(o[9], COCO_SQS_SUCCEEDED);
    assert_true(coco_str_equal(code, str("One")));

    assert_int_equal(coco_sqs_batch_read(o, &code, str("{}"), &err), COCO_OK);
    assert_int_equal(o[0], COCO_SQS_UNSAID);
    assert_null(code.data);
    assert_int_equal(coco_sqs_batch_read(o, &code, str("<a>"), &err),
                     COCO_ERROR);
}


static void
test_errors(void **state)
{
    coco_sqs_error_t  e;

    static const struct {
        long              status;
        const char       *text;
        const char       *code;
        coco_sqs_fault_e  fault;
    } cases[] = {
        { 400, "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\"}",
          "QueueDoesNotExist", COCO_SQS_FAULT_SETUP },
        { 400, "{\"__type\":\"RequestThrottled\",\"message\":\"slow\"}",
          "RequestThrottled", COCO_SQS_FAULT_BUSY },
        { 403, "{\"__type\":\"com.amazon.coral.service#"
          "ExpiredTokenException\"}", "ExpiredToken", COCO_SQS_FAULT_KEYS },
        { 400, "{\"__type\":\"UnrecognizedClientException\"}",
          "UnrecognizedClient", COCO_SQS_FAULT_KEYS },
        { 403, "{\"__type\":\"AccessDeniedException\"}", "AccessDenied",
          COCO_SQS_FAULT_SETUP },
        { 418, "{\"__type\":\"a#NewException\"}", "New",
          COCO_SQS_FAULT_SETUP },
        { 503, "{\"__type\":\"a#NewException\"}", "New",
          COCO_SQS_FAULT_BUSY },
        { 500, "<html>", "none", COCO_SQS_FAULT_BUSY },
        { 429, "", "none", COCO_SQS_FAULT_BUSY },
        { 404, "{\"__type\":7}", "none", COCO_SQS_FAULT_SETUP },
        { 400, "{\"__type\":\"Exception\"}", "Exception",
          COCO_SQS_FAULT_SETUP },
        { 400, "{\"__type\":\"#\"}", "", COCO_SQS_FAULT_SETUP },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        coco_sqs_error_read(&e, cases[i].status, str(cases[i].text));
        assert_true(coco_str_equal(e.code, str(cases[i].code)));
        assert_int_equal(e.fault, cases[i].fault);
        assert_non_null(e.remedy);
    }

    coco_sqs_error_read(&e, 400, str(cases[1].text));
    assert_true(coco_str_equal(e.message, str("slow")));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_slots_life),
        cmocka_unit_test(test_slots_late_done),
        cmocka_unit_test(test_slots_due),
        cmocka_unit_test(test_slots_held),
        cmocka_unit_test(test_slots_threads),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_batch_answers),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
