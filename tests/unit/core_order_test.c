/*
 * Partners' webhooks: which are the same event, and which order each asks
 * for, by the cases of tests/data/order.
 */

#include <jansson.h>

#include "core_test.h"
#include "coco_order.h"


/* What stands after "--" begins with the partner's name, or the name with
 * it. */
static coco_partner_e
case_partner(const test_file_t *file)
{
    return strncmp(file->name, "doordash", 8) == 0
           || strstr(file->name, "--doordash") != NULL
           ? COCO_PARTNER_DOORDASH : COCO_PARTNER_UBER;
}


static void
case_is_decoded(void **state)
{
    const test_file_t  *file = *state;

    int                    rc;
    char                   path[400], text[2048];
    char                  *buf = malloc(file->text.len);
    json_t                *expected, *got;
    coco_str_t             all;
    coco_error_t           err;
    coco_json_out_t        out;
    coco_partner_order_t   order;

    snprintf(path, sizeof(path), "tests/data/order/expect/%s", file->name);
    all = test_file_read(path);
    expected = json_loadb(all.data, all.len, JSON_DECODE_ANY, NULL);
    assert_non_null(expected);

    rc = coco_order_decode(&order, case_partner(file), file->text,
                           RECEIVED_AT, buf, &err);
    if (rc != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    assert_int_equal(order.action == COCO_ORDER_NOTHING,
                     json_is_null(expected));

    if (!json_is_null(expected)) {
        coco_json_out_init(&out, text, sizeof(text));
        coco_order_encode(&out, &order);
        assert_true(coco_json_out_ok(&out));

        got = json_loadb(text, out.len, 0, NULL);
        if (!json_equal(got, expected)) {
            fail_msg("got %.*s", (int) out.len, text);
        }

        json_decref(got);
    }

    json_decref(expected);
    free((char *) all.data);
    free(buf);
}


static void
case_is_refused(void **state)
{
    const test_file_t  *file = *state;

    char                  *buf = malloc(file->text.len);
    char                   field[64];
    coco_error_t           err;
    coco_partner_order_t   order;

    test_file_field(file, field, sizeof(field));
    assert_int_equal(coco_order_decode(&order, case_partner(file), file->text,
                                       RECEIVED_AT, buf, &err), COCO_ERROR);
    assert_string_equal(err.field, field);
    assert_true(strlen(err.reason) > 0);

    free(buf);
}


static coco_webhook_event_t
identified(coco_partner_e partner, const char *payload)
{
    coco_error_t          err;
    coco_webhook_event_t  event;

    if (coco_webhook_identify(&event, partner,
                              (coco_str_t) { payload, strlen(payload) }, &err)
        != COCO_OK)
    {
        fail_msg("%s: %s", err.field, err.reason);
    }

    assert_in_range(event.len, 1, COCO_WEBHOOK_EVENT_MAX);

    return event;
}


static bool
same(coco_partner_e partner, const char *a, const char *b)
{
    bool                  ids, names;
    coco_webhook_event_t  first, second;

    first = identified(partner, a);
    second = identified(partner, b);

    ids = memcmp(&first.id, &second.id, sizeof(first.id)) == 0;
    names = first.len == second.len
            && memcmp(first.event_id, second.event_id, first.len) == 0;
    assert_int_equal(ids, names);

    return ids;
}


static void
partners_own_id_is_taken(void **state)
{
    coco_webhook_event_t  event;

    event = identified(COCO_PARTNER_UBER, "{\"a\":1,\"id\":\"evt_1\"}");
    assert_int_equal(event.len, 5);
    assert_memory_equal(event.event_id, "evt_1", 5);

    /* in either envelope, however it is written, whatever else is said */

    assert_true(same(COCO_PARTNER_UBER, "{\"id\":\"evt_1\",\"a\":1}",
                     "{\"event_id\": \"evt\\u005f1\"}"));
    assert_false(same(COCO_PARTNER_UBER, "{\"id\":\"evt_1\"}",
                      "{\"id\":\"evt_2\"}"));
    assert_true(same(COCO_PARTNER_UBER, "{\"id\":\"\",\"event_id\":\"e\"}",
                     "{\"id\":null,\"event_id\":\"e\"}"));

    /* DoorDash has none */

    assert_false(same(COCO_PARTNER_DOORDASH, "{\"id\":\"evt_1\",\"a\":1}",
                      "{\"id\":\"evt_1\"}"));
}


static void
partners_do_not_share_ids(void **state)
{
    coco_webhook_event_t  uber, doordash;

    static const char  payload[] = "{\"fee\":1}";

    uber = identified(COCO_PARTNER_UBER, payload);
    doordash = identified(COCO_PARTNER_DOORDASH, payload);
    assert_memory_not_equal(&uber.id, &doordash.id, sizeof(uber.id));
}


static void
long_ids_are_told_apart(void **state)
{
    size_t                i;
    char                  payloads[3][1024];
    coco_webhook_event_t  event;

    static const size_t  lengths[] = { COCO_WEBHOOK_EVENT_MAX,
                                       COCO_WEBHOOK_EVENT_MAX + 1, 900 };

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        snprintf(payloads[0], 1024, "{\"id\":\"%0*d\"}", (int) lengths[i], 1);
        snprintf(payloads[1], 1024, "{\"id\":\"%0*d\"}", (int) lengths[i], 2);
        snprintf(payloads[2], 1024, "{\"b\":2,\"id\":\"%0*d\"}",
                 (int) lengths[i], 1);

        event = identified(COCO_PARTNER_UBER, payloads[0]);
        assert_int_equal(event.len, lengths[i] <= COCO_WEBHOOK_EVENT_MAX
                                    ? lengths[i] : COCO_ID_TEXT_LEN);
        assert_false(same(COCO_PARTNER_UBER, payloads[0], payloads[1]));
        assert_true(same(COCO_PARTNER_UBER, payloads[0], payloads[2]));
    }
}


static void
without_an_id_parts_tell_events_apart(void **state)
{
    size_t  i;

#define UBER  "{\"kind\":\"k\",\"delivery_id\":\"d\",\"status\":\"s\","      \
              "\"created\":\"t\""

    assert_true(same(COCO_PARTNER_UBER, UBER "}", UBER ",\"x\":1}"));

    static const char *const  others[] = {
        "{\"kind\":\"K\",\"delivery_id\":\"d\",\"status\":\"s\","
            "\"created\":\"t\"}",
        "{\"kind\":\"k\",\"delivery_id\":\"D\",\"status\":\"s\","
            "\"created\":\"t\"}",
        "{\"kind\":\"k\",\"delivery_id\":\"d\",\"status\":\"S\","
            "\"created\":\"t\"}",
        "{\"kind\":\"k\",\"delivery_id\":\"d\",\"status\":\"s\","
            "\"created\":\"T\"}",
        "{\"kind\":\"k\",\"delivery_id\":\"d\",\"created\":\"t\"}",
        "{\"delivery_id\":\"d\",\"status\":\"s\",\"created\":\"t\"}"
    };

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(same(COCO_PARTNER_UBER, UBER "}", others[i]));
    }

    assert_true(same(COCO_PARTNER_DOORDASH,
                     "{\"event_name\":\"n\",\"external_delivery_id\":\"d\","
                     "\"updated_at\":\"t\",\"fee\":1}",
                     "{\"external_delivery_id\":\"d\",\"updated_at\":\"t\","
                     "\"event_name\":\"n\"}"));
    assert_false(same(COCO_PARTNER_DOORDASH,
                      "{\"event_name\":\"n\",\"external_delivery_id\":\"d\","
                      "\"updated_at\":\"t\"}",
                      "{\"event_name\":\"m\",\"external_delivery_id\":\"d\","
                      "\"updated_at\":\"t\"}"));
}


/* Two robots' positions may be of one second. */
static void
without_a_delivery_or_a_time_the_whole_counts(void **state)
{
    size_t  i;
    char    other[256];

    static const char *const  payloads[] = {
        "{\"kind\":\"k\",\"created\":\"t\"}",
        "{\"kind\":\"k\",\"created\":\"t\",\"delivery_id\":null}",
        "{\"kind\":\"k\",\"delivery_id\":\"d\"}",
        "{\"event_name\":\"n\",\"external_delivery_id\":\"d\"}",
        "{}"
    };

    for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        snprintf(other, sizeof(other), "%s ", payloads[i]);

        assert_true(same(COCO_PARTNER_UBER, payloads[i], payloads[i]));
        assert_false(same(COCO_PARTNER_UBER, payloads[i], other));
        assert_false(same(COCO_PARTNER_DOORDASH, payloads[i], other));
    }
}


static void
partners_have_names(void **state)
{
    coco_partner_e  partner;

    for (partner = 0; partner < COCO_PARTNERS; partner++) {
        assert_int_equal(coco_partner_parse(coco_partner_name(partner)),
                         partner);
    }

    assert_int_equal(coco_partner_parse(coco_string("Uber")), COCO_PARTNERS);
    assert_int_equal(coco_partner_parse((coco_str_t) { NULL, 0 }),
                     COCO_PARTNERS);
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(partners_own_id_is_taken),
        cmocka_unit_test(partners_do_not_share_ids),
        cmocka_unit_test(long_ids_are_told_apart),
        cmocka_unit_test(without_an_id_parts_tell_events_apart),
        cmocka_unit_test(without_a_delivery_or_a_time_the_whole_counts),
        cmocka_unit_test(partners_have_names)
    };

    failed = cmocka_run_group_tests_name("core: order", tests, NULL, NULL);
    failed += test_files_run("tests/data/order/accept", case_is_decoded);
    failed += test_files_run("tests/data/order/refuse", case_is_refused);

    return failed;
}
