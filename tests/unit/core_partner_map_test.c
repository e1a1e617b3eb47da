/*
 * The map of what partners are told: the shipped one against the bodies of
 * tests/data/partners, and what is wrong with others.
 */

#include "core_test.h"
#include "coco_partner_map.h"

#define SHIPPED  "conf/partners.json"


typedef struct {
    const char  *file;          /* in tests/data/partners; NULL ends */
    int          partner;
    int          kind;
    bool         bare;          /* nothing is known but the delivery */
} golden_t;

static const golden_t  goldens[] = {
    { "doordash-status.json", COCO_PARTNER_DOORDASH, COCO_PARTNER_STATUS, 0 },
    { "doordash-status-bare.json", COCO_PARTNER_DOORDASH,
      COCO_PARTNER_STATUS, 1 },
    { "doordash-location.json", COCO_PARTNER_DOORDASH,
      COCO_PARTNER_LOCATION, 0 },
    { "uber-status.json", COCO_PARTNER_UBER, COCO_PARTNER_STATUS, 0 },
    { "uber-status-bare.json", COCO_PARTNER_UBER, COCO_PARTNER_STATUS, 1 },
    { "uber-location.json", COCO_PARTNER_UBER, COCO_PARTNER_LOCATION, 0 },
};


static coco_partner_push_t
full(void)
{
    coco_partner_push_t  push;

    memset(&push, 0, sizeof(push));
    memset(&push.id, 0x11, sizeof(push.id));
    memset(&push.delivery_id, 0x22, sizeof(push.delivery_id));

    push.external_id = coco_string("del_\"1\"");
    push.store = coco_string("store-1");
    push.serial = coco_string("R-1");
    push.vehicle = coco_string("vehicle-1");
    push.status = COCO_DELIVERY_CANCELED;
    push.reason = coco_string("the merchant is closed");
    push.ts = INT64_C(1795000000123);
    push.located = true;
    push.latitude = 34.0522;
    push.longitude = -118.2437;
    push.located_at = INT64_C(1795000000000);
    push.has_battery = true;
    push.battery_percent = 81.5;

    return push;
}


static coco_partner_push_t
bare(void)
{
    coco_partner_push_t  push;

    memset(&push, 0, sizeof(push));
    push.external_id = coco_string("del_1");
    push.status = COCO_DELIVERY_CREATED;
    push.ts = INT64_C(1709251199999);        /* the last of a February */

    return push;
}


static void
shipped_map_makes_these(void **state)
{
    char                 path[256], text[1024];
    coco_str_t           map, want;
    coco_error_t         err;
    coco_json_out_t      out;
    coco_partner_map_t   maps[COCO_PARTNERS];
    coco_partner_push_t  push;

    map = test_file_read(SHIPPED);

    if (coco_partner_map_read(maps, map, &err) != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        push = goldens[i].bare ? bare() : full();
        coco_json_out_init(&out, text, sizeof(text));
        coco_partner_map_encode(&out, &maps[goldens[i].partner],
                                goldens[i].kind, &push);
        assert_true(coco_json_out_ok(&out));
        coco_json_put(&out, "\n", 1);

        snprintf(path, sizeof(path), "tests/data/partners/%s",
                 goldens[i].file);
        want = test_file_read(path);

        if (!coco_str_equal(want, (coco_str_t) { text, out.len })) {
            fail_msg("%s: %.*s", path, (int) out.len, text);
        }

        free((char *) want.data);
    }

    free((char *) map.data);
}


static void
shipped_map_tells_all(void **state)
{
    coco_str_t          text = test_file_read(SHIPPED);
    coco_error_t        err;
    coco_partner_map_t  maps[COCO_PARTNERS];

    assert_int_equal(coco_partner_map_read(maps, text, &err), COCO_OK);

    for (int partner = 0; partner < COCO_PARTNERS; partner++) {
        for (int i = COCO_DELIVERY_CREATED; i < COCO_DELIVERY_STATUSES; i++) {
            assert_true(coco_partner_map_told(&maps[partner],
                                              COCO_PARTNER_STATUS, i));
        }

        assert_true(coco_partner_map_told(&maps[partner],
                                          COCO_PARTNER_LOCATION,
                                          COCO_DELIVERY_ASSIGNED));
    }

    assert_true(coco_str_equal(
                    maps[COCO_PARTNER_DOORDASH].forms[0].path,
                    coco_string("/v3/updateVehicleStatus")));
    free((char *) text.data);
}


/* A partner of all that a map may hold. */
#define STATUSES                                                              \
    "\"Created\":null,\"Assigned\":\"a\\u0041\",\"EnrouteToPickup\":\"b\","   \
    "\"AtPickup\":\"c\",\"LoadedWaitingForPilot\":\"d\","                     \
    "\"EnrouteToDropoff\":\"e\",\"AtDropoff\":\"f\",\"Completed\":\"g\","     \
    "\"Canceled\":\"h\""
#define PARTNER(statuses, headers, method, path, body, location)              \
    "{\"statuses\":{" statuses "},\"headers\":" headers ",\"status\":"        \
    "{\"method\":" method ",\"path\":" path ",\"body\":" body "},"            \
    "\"location\":" location "}"
#define MAP(uber)                                                             \
    "{\"uber\":" uber ",\"doordash\":"                                        \
    PARTNER(STATUSES, "{}", "\"POST\"", "\"/d\"", "{}", "null") "}"


static int
read_map(coco_partner_map_t *maps, const char *text, coco_error_t *err)
{
    return coco_partner_map_read(maps, (coco_str_t) { text, strlen(text) },
                                 err);
}


static void
templates_say_what_is_known(void **state)
{
    char                 text[1024];
    coco_error_t         err;
    coco_json_out_t      out;
    coco_partner_map_t   maps[COCO_PARTNERS];
    coco_partner_push_t  push = full();

    static const char  map[] = MAP(PARTNER(STATUSES, "{\"X-A\":\"b c\"}",
        "\"PATCH\"", "\"/v1/a?b=c\"",
        "{\"all\":[\"$push_id\",\"$delivery_id\",\"$our_status\",\"$store\","
        "\"$serial\",\"$timestamp_ms\",\"$location_timestamp\",1,true,null],"
        "\"word\":\"$status\",\"gone\":{\"a\":[{\"b\":\"$reason\"}]},"
        "\"kept\":{},\"text\":\"no $status\",\"\\u00e9\":[]}", "null"));

    if (read_map(maps, map, &err) != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    assert_int_equal(maps[0].header_count, 1);
    assert_false(coco_partner_map_told(&maps[0], COCO_PARTNER_STATUS,
                                       COCO_DELIVERY_CREATED));
    assert_false(coco_partner_map_told(&maps[0], COCO_PARTNER_LOCATION,
                                       COCO_DELIVERY_ASSIGNED));

    push.status = COCO_DELIVERY_ASSIGNED;
    push.reason.data = NULL;
    push.store.data = NULL;
    coco_json_out_init(&out, text, sizeof(text));
    coco_partner_map_encode(&out, &maps[0], COCO_PARTNER_STATUS, &push);
    coco_json_put(&out, "", 1);

    assert_string_equal(text,
        "{\"all\":[\"11111111-1111-1111-1111-111111111111\","
        "\"22222222-2222-2222-2222-222222222222\",\"Assigned\",\"R-1\","
        "1795000000123,\"2026-11-18T11:06:40.000Z\",1,true,null],"
        "\"word\":\"a\\u0041\",\"kept\":{},\"text\":\"no $status\","
        "\"\\u00e9\":[]}");
}


static void
faults_are_named(void **state)
{
    coco_error_t        err;
    coco_partner_map_t  maps[COCO_PARTNERS];

    static const struct {
        const char  *field;
        const char  *text;
    }  faults[] = {
        { "", "[]" },
        { "", "{" },
        { "uber", "{}" },
        { "", "{\"lyft\":{}}" },
        { "uber", MAP("[]") },
        { "uber.statuses", MAP("{}") },
        { "uber", MAP("{\"more\":1}") },
        { "uber.statuses.Created",
          MAP(PARTNER("", "{}", "\"POST\"", "\"/a\"", "{}", "null")) },
        { "uber.statuses",
          MAP(PARTNER(STATUSES ",\"Lost\":null", "{}", "\"POST\"", "\"/a\"",
                      "{}", "null")) },
        { "uber.statuses",
          MAP(PARTNER("\"Created\":1", "{}", "\"POST\"", "\"/a\"", "{}",
                      "null")) },
        { "uber.headers",
          MAP(PARTNER(STATUSES, "{\"authorization\":\"x\"}", "\"POST\"",
                      "\"/a\"", "{}", "null")) },
        { "uber.headers",
          MAP(PARTNER(STATUSES, "{\"A B\":\"x\"}", "\"POST\"", "\"/a\"", "{}",
                      "null")) },
        { "uber.headers",
          MAP(PARTNER(STATUSES, "{\"A\":\"x\\r\\nB: c\"}", "\"POST\"",
                      "\"/a\"", "{}", "null")) },
        { "uber.headers",
          MAP(PARTNER(STATUSES, "{\"A\":1}", "\"POST\"", "\"/a\"", "{}",
                      "null")) },
        { "uber.status.method",
          MAP(PARTNER(STATUSES, "{}", "\"GET\"", "\"/a\"", "{}", "null")) },
        { "uber.status.path",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"a\"", "{}", "null")) },
        { "uber.status.path",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"/a b\"", "{}", "null")) },
        { "uber.status.body",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"/a\"", "[]", "null")) },
        { "uber.status.body",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"/a\"",
                      "{\"a\":[{\"b\":\"$vehicle\"}]}", "null")) },
        { "uber.location.path",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"/a\"", "{}",
                      "{\"method\":\"POST\"}")) },
        { "uber.location",
          MAP(PARTNER(STATUSES, "{}", "\"PUT\"", "\"/a\"", "{}", "[]")) },
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        assert_int_equal(read_map(maps, faults[i].text, &err), COCO_ERROR);

        if (strcmp(err.field, faults[i].field) != 0) {
            fail_msg("%s: %s, not of %s", faults[i].text, err.field,
                     faults[i].field);
        }

        assert_true(strlen(err.reason) > 0);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(shipped_map_makes_these),
        cmocka_unit_test(shipped_map_tells_all),
        cmocka_unit_test(templates_say_what_is_known),
        cmocka_unit_test(faults_are_named),
    };

    return cmocka_run_group_tests_name("partner_map", tests, NULL, NULL);
}
