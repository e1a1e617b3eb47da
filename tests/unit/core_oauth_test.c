/*
 * Access tokens: who fetches when, over the states a token can be in; what is
 * asked; which answers are good.
 */

#include "core_test.h"
#include "coco_oauth.h"


#define TIMEOUT  5000
#define HOUR     3600000
#define NOW      INT64_C(1000000)


static coco_oauth_turn_e
take(coco_oauth_t *oauth, uint64_t refused, int64_t now)
{
    uint64_t           flight = 0;
    coco_oauth_turn_e  turn;

    turn = coco_oauth_take(oauth, refused, TIMEOUT, now, &flight);

    assert_int_equal(flight, turn == COCO_OAUTH_FETCH
                             || turn == COCO_OAUTH_RENEW ? oauth->flights : 0);

    return turn;
}


/* A token of an hour, granted at NOW. */
static coco_oauth_t
granted(void)
{
    coco_oauth_t  oauth = { 0 };

    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
    coco_oauth_granted(&oauth, oauth.flights, HOUR, NOW);

    return oauth;
}


static void
one_fetches_and_others_wait(void **state)
{
    coco_oauth_t  oauth = { 0 };

    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_WAIT);
    assert_int_equal(take(&oauth, 0, NOW + TIMEOUT - 1), COCO_OAUTH_WAIT);
    assert_true(coco_oauth_pending(&oauth, NOW + TIMEOUT - 1));

    coco_oauth_granted(&oauth, 1, HOUR, NOW + 1);
    assert_false(coco_oauth_pending(&oauth, NOW + 1));
    assert_int_equal(take(&oauth, 0, NOW + 1), COCO_OAUTH_USE);
    assert_int_equal(oauth.number, 1);
}


/* Its process was killed: the next one fetches. What comes late counts. */
static void
lost_fetch_is_made_again(void **state)
{
    coco_oauth_t  oauth = { 0 };

    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
    assert_false(coco_oauth_pending(&oauth, NOW + TIMEOUT));
    assert_int_equal(take(&oauth, 0, NOW + TIMEOUT), COCO_OAUTH_FETCH);
    assert_int_equal(oauth.flights, 2);

    /* the first one's failure says nothing of the second */

    coco_oauth_failed(&oauth, 1, 7, NOW + TIMEOUT);
    coco_oauth_abandoned(&oauth, 1);
    assert_int_equal(take(&oauth, 0, NOW + TIMEOUT), COCO_OAUTH_WAIT);

    coco_oauth_granted(&oauth, 1, HOUR, NOW + TIMEOUT);
    assert_int_equal(take(&oauth, 0, NOW + TIMEOUT), COCO_OAUTH_USE);
    assert_true(coco_oauth_pending(&oauth, NOW + TIMEOUT));
}


static void
token_is_renewed_ahead(void **state)
{
    coco_oauth_t  oauth = granted();

    assert_int_equal(take(&oauth, 0, NOW + HOUR - 300001), COCO_OAUTH_USE);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 300000), COCO_OAUTH_RENEW);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 300000), COCO_OAUTH_USE);

    coco_oauth_failed(&oauth, 2, 7, NOW + HOUR - 299999);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 299999), COCO_OAUTH_USE);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 299949), COCO_OAUTH_RENEW);

    /* not until its very end, and then no more */

    coco_oauth_abandoned(&oauth, 3);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 10001), COCO_OAUTH_RENEW);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 10000), COCO_OAUTH_WAIT);
    assert_int_equal(take(&oauth, 0, NOW + HOUR - 10001 + TIMEOUT),
                     COCO_OAUTH_FETCH);
}


static void
short_life_is_used(void **state)
{
    coco_oauth_t  oauth = { 0 };

    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
    coco_oauth_granted(&oauth, 1, 1000, NOW);

    assert_int_equal(take(&oauth, 0, NOW + 799), COCO_OAUTH_USE);
    assert_int_equal(take(&oauth, 0, NOW + 800), COCO_OAUTH_RENEW);
    assert_int_equal(take(&oauth, 0, NOW + 899), COCO_OAUTH_USE);
    assert_int_equal(take(&oauth, 0, NOW + 900), COCO_OAUTH_WAIT);
}


static void
failures_wait_longer_and_longer(void **state)
{
    size_t        i;
    int64_t       now = NOW;
    coco_oauth_t  oauth = { 0 };

    static const int64_t  delays[] = { 50, 100, 200, 400, 800, 1000, 1000 };

    for (i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        assert_int_equal(take(&oauth, 0, now), COCO_OAUTH_FETCH);
        coco_oauth_failed(&oauth, oauth.flights, (int32_t) i, now);

        assert_int_equal(oauth.failure, i);
        assert_false(coco_oauth_pending(&oauth, now));
        assert_int_equal(take(&oauth, 0, now), COCO_OAUTH_FAIL);

        now += delays[i];
        assert_int_equal(take(&oauth, 0, now - 1), COCO_OAUTH_FAIL);
    }

    /* and are forgotten */

    assert_int_equal(take(&oauth, 0, now), COCO_OAUTH_FETCH);
    coco_oauth_granted(&oauth, oauth.flights, 1000, now);
    now += 1000;
    assert_int_equal(take(&oauth, 0, now), COCO_OAUTH_FETCH);
    coco_oauth_failed(&oauth, oauth.flights, 7, now);
    assert_int_equal(take(&oauth, 0, now + 50), COCO_OAUTH_FETCH);
}


static void
abandoned_is_taken_up_at_once(void **state)
{
    coco_oauth_t  oauth = { 0 };

    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
    coco_oauth_abandoned(&oauth, 1);
    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_FETCH);
}


static void
refused_token_is_replaced_once(void **state)
{
    coco_oauth_t  oauth = granted();

    /* one fetches, others who were refused wait, the rest goes on */

    assert_int_equal(take(&oauth, 1, NOW), COCO_OAUTH_FETCH);
    assert_int_equal(take(&oauth, 1, NOW), COCO_OAUTH_WAIT);
    assert_int_equal(take(&oauth, 0, NOW), COCO_OAUTH_USE);

    coco_oauth_granted(&oauth, 2, HOUR, NOW);
    assert_int_equal(take(&oauth, 1, NOW), COCO_OAUTH_USE);
    assert_int_equal(oauth.number, 2);

    /* the new one is refused, too */

    coco_oauth_refused(&oauth, 1, 7, NOW);      /* of an older one: nothing */
    assert_int_equal(oauth.retry, 0);

    coco_oauth_refused(&oauth, 2, 7, NOW);
    assert_int_equal(take(&oauth, 2, NOW + 999), COCO_OAUTH_FAIL);
    assert_int_equal(oauth.failure, 7);
    assert_int_equal(take(&oauth, 0, NOW + 999), COCO_OAUTH_USE);
    assert_int_equal(take(&oauth, 2, NOW + 1000), COCO_OAUTH_FETCH);
}


static void
form_is_encoded(void **state)
{
    char        form[256];
    size_t      len;
    coco_str_t  secret = coco_string("s+c r&=%\xc3\xa9~/");

    static const char  expected[] =
        "grant_type=client_credentials&client_id=a-b.c_9"
        "&client_secret=s%2Bc%20r%26%3D%25%C3%A9%7E%2F"
        "&scope=eats.deliveries%20more";

    len = coco_oauth_form(NULL, coco_string("a-b.c_9"), secret,
                          coco_string("eats.deliveries more"));
    assert_int_equal(len, sizeof(expected) - 1);

    assert_int_equal(coco_oauth_form(form, coco_string("a-b.c_9"), secret,
                                     coco_string("eats.deliveries more")),
                     len);
    assert_memory_equal(form, expected, len);

    len = coco_oauth_form(form, coco_string("a"), coco_string("b"),
                          coco_string(""));
    assert_memory_equal(form, "grant_type=client_credentials&client_id=a"
                        "&client_secret=b", len);
}


static void
good_grants_are_read(void **state)
{
    size_t              i;
    coco_error_t        err;
    coco_oauth_grant_t  grant;

    static const struct {
        coco_str_t  body;
        int64_t     lifetime;
    } cases[] = {
        { coco_string("{\"access_token\":\"t~1\",\"expires_in\":2592000,"
                      "\"token_type\":\"Bearer\",\"scope\":\"x\"}"),
          INT64_C(2592000000) },
        { coco_string("{\"access_token\":\"t~1\",\"token_type\":\"bearer\"}"),
          300000 },
        { coco_string("{\"access_token\":\"t~1\",\"expires_in\":0.5}"), 500 },
        { coco_string("{\"access_token\":\"t~1\",\"expires_in\":1e300}"),
          INT64_C(31622400000) }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_oauth_grant_decode(&grant, cases[i].body, &err),
                         COCO_OK);
        assert_int_equal(grant.len, 3);
        assert_memory_equal(grant.token, "t~1", 3);
        assert_int_equal(grant.lifetime, cases[i].lifetime);
    }
}


static void
bad_grants_are_refused(void **state)
{
    char                text[COCO_OAUTH_TOKEN_MAX + 64];
    size_t              i;
    coco_str_t          body;
    coco_error_t        err;
    coco_oauth_grant_t  grant;

    static const struct {
        const char  *body, *field;
    } cases[] = {
        { "", "" },
        { "[]", "" },
        { "<html>", "" },
        { "{\"access_token\":\"a\",\"access_token\":\"b\"}", "" },
        { "{}", "access_token" },
        { "{\"access_token\":1}", "access_token" },
        { "{\"access_token\":\"\"}", "access_token" },
        { "{\"access_token\":\"a b\"}", "access_token" },
        { "{\"access_token\":\"a\\r\\nX: y\"}", "access_token" },
        { "{\"access_token\":\"\xc3\xa9\"}", "access_token" },
        { "{\"access_token\":\"a\",\"token_type\":\"mac\"}", "token_type" },
        { "{\"access_token\":\"a\",\"expires_in\":0}", "expires_in" },
        { "{\"access_token\":\"a\",\"expires_in\":-1}", "expires_in" },
        { "{\"access_token\":\"a\",\"expires_in\":\"1\"}", "expires_in" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        body = (coco_str_t) { cases[i].body, strlen(cases[i].body) };
        assert_int_equal(coco_oauth_grant_decode(&grant, body, &err),
                         COCO_ERROR);
        assert_string_equal(err.field, cases[i].field);
        assert_null(strstr(err.reason, "X:"));
    }

    for (i = 0; i < 2; i++) {
        body.data = text;
        body.len = (size_t) snprintf(text, sizeof(text),
                                     "{\"access_token\":\"%0*d\"}",
                                     COCO_OAUTH_TOKEN_MAX + (int) i, 1);
        assert_int_equal(coco_oauth_grant_decode(&grant, body, &err),
                         i == 0 ? COCO_OK : COCO_ERROR);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(one_fetches_and_others_wait),
        cmocka_unit_test(lost_fetch_is_made_again),
        cmocka_unit_test(token_is_renewed_ahead),
        cmocka_unit_test(short_life_is_used),
        cmocka_unit_test(failures_wait_longer_and_longer),
        cmocka_unit_test(abandoned_is_taken_up_at_once),
        cmocka_unit_test(refused_token_is_replaced_once),
        cmocka_unit_test(form_is_encoded),
        cmocka_unit_test(good_grants_are_read),
        cmocka_unit_test(bad_grants_are_refused)
    };

    return cmocka_run_group_tests_name("core: OAuth", tests, NULL, NULL);
}
