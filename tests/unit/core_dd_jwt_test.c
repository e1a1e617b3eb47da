/*
 * DoorDash's tokens. The expected one was signed by openssl, and verified by
 * PyJWT.
 */

#include "core_test.h"
#include "coco_dd_jwt.h"


/* bytes 0xe0 to 0xff, then "coco?>" */
#define SECRET  "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v9jb2NvPz4"


static int
sign(char *ret, coco_str_t developer_id, coco_str_t key_id, coco_str_t secret,
    int64_t now)
{
    coco_error_t       err;
    coco_dd_jwt_key_t  key = { .developer_id = developer_id, .key_id = key_id };

    assert_int_equal(coco_dd_jwt_secret(&key, secret, &err), COCO_OK);

    return coco_dd_jwt_sign(ret, &key, now);
}


static void
token_is_as_others_sign_it(void **state)
{
    char  token[COCO_DD_JWT_MAX];

    static const char  expected[] =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImRkLXZlciI6IkRELUpXVC1WMSJ9."
        "eyJhdWQiOiJkb29yZGFzaCIsImlzcyI6ImRldi0xIiwia2lkIjoia2V5LTEiLCJleHAi"
        "OjE3MDAwMDE4MDAsImlhdCI6MTcwMDAwMDAwMH0."
        "m_5j0r4nhIAoXjBrMWNVePBEDcNRy4yJJZx9gipO2zc";

    assert_int_equal(sign(token, coco_string("dev-1"), coco_string("key-1"),
                          coco_string(SECRET), INT64_C(1700000000999)),
                     COCO_OK);
    assert_string_equal(token, expected);

    assert_int_equal(sign(token, coco_string("dev-1"), coco_string("key-1"),
                          coco_string(SECRET "="), INT64_C(1700000000000)),
                     COCO_OK);
    assert_string_equal(token, expected);
}


static void
secret_is_decoded(void **state)
{
    size_t             i;
    coco_error_t       err;
    coco_dd_jwt_key_t  key;

    static const struct {
        coco_str_t   text;
        const char  *bytes;
    } cases[] = {
        { coco_string("Zg"), "f" },
        { coco_string("Zg=="), "f" },
        { coco_string("Zm8"), "fo" },
        { coco_string("Zm9v"), "foo" },
        { coco_string("Zm9vYg"), "foob" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_dd_jwt_secret(&key, cases[i].text, &err),
                         COCO_OK);
        assert_int_equal(key.secret_len, strlen(cases[i].bytes));
        assert_memory_equal(key.secret, cases[i].bytes, key.secret_len);
    }
}


static void
bad_secret_is_refused(void **state)
{
    char               longest[COCO_DD_JWT_SECRET_MAX * 4 / 3 + 4];
    size_t             i;
    coco_str_t         text;
    coco_error_t       err;
    coco_dd_jwt_key_t  key;

    static const char *const  cases[] = {
        "", "=", "Z", "Zm9vY", "Zm9 v", "Zm9+", "Zm9/", "Zg=x", "Zg==\n"
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text = (coco_str_t) { cases[i], strlen(cases[i]) };
        assert_int_equal(coco_dd_jwt_secret(&key, text, &err), COCO_ERROR);
        assert_string_equal(err.field, "signing_secret");
    }

    /* as many bytes as there is room for, and one more */

    memset(longest, 'A', sizeof(longest));
    text = (coco_str_t) { longest, (COCO_DD_JWT_SECRET_MAX * 8 + 5) / 6 };
    assert_int_equal(coco_dd_jwt_secret(&key, text, &err), COCO_OK);
    assert_int_equal(key.secret_len, COCO_DD_JWT_SECRET_MAX);

    text.len = ((COCO_DD_JWT_SECRET_MAX + 1) * 8 + 5) / 6;
    assert_int_equal(coco_dd_jwt_secret(&key, text, &err), COCO_ERROR);
}


/* The longest ids that are taken give a token that fits; longer ones none. */
static void
long_ids_are_refused(void **state)
{
    int         rc = COCO_OK;
    char        token[COCO_DD_JWT_MAX], id[1024];
    size_t      len;

    memset(id, 'i', sizeof(id));

    for (len = 1; rc == COCO_OK && len < sizeof(id); len++) {
        rc = sign(token, (coco_str_t) { id, len }, coco_string("k"),
                  coco_string(SECRET), RECEIVED_AT);
        if (rc == COCO_OK) {
            assert_in_range(strlen(token), 1, COCO_DD_JWT_MAX - 1);
        }
    }

    assert_int_equal(rc, COCO_ERROR);
    assert_in_range(len, 300, sizeof(id) - 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(token_is_as_others_sign_it),
        cmocka_unit_test(secret_is_decoded),
        cmocka_unit_test(bad_secret_is_refused),
        cmocka_unit_test(long_ids_are_refused)
    };

    return cmocka_run_group_tests_name("core: DD-JWT-V1", tests, NULL, NULL);
}
