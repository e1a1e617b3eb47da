/*
 * The signer, by the cases of tests/data/sigv4. Those named get-* and post-*
 * are AWS's published Signature Version 4 test suite (as aws-c-auth carries
 * it, Apache License 2.0). The others are requests of the kinds that we send,
 * signed by the AWS SDK for JavaScript (@smithy/signature-v4).
 */

#include <jansson.h>

#include "core_test.h"
#include "coco_sigv4.h"


#define AUTHORIZATION_MAX  1024

static const coco_sigv4_credentials_t  credentials = {
    coco_string("AKIDEXAMPLE"), coco_string("secret"), { NULL, 0 }
};

static const coco_sigv4_header_t  host = {
    coco_string("Host"), coco_string("example.amazonaws.com")
};


static coco_str_t
text_of(const json_t *value)
{
    return (coco_str_t) { json_string_value(value),
                          json_string_length(value) };
}


static coco_str_t
member(const json_t *json, const char *name)
{
    return text_of(json_object_get(json, name));
}


static void
case_is_signed(void **state)
{
    char                       date[COCO_SIGV4_DATE_LEN + 1];
    char                       authorization[AUTHORIZATION_MAX];
    size_t                     i;
    json_t                    *json, *pair;
    json_error_t               err;
    coco_sigv4_header_t        headers[COCO_SIGV4_HEADERS_MAX];
    coco_sigv4_request_t       request;
    coco_sigv4_credentials_t   keys;
    const test_file_t         *file = *state;

    json = json_loadb(file->text.data, file->text.len, 0, &err);
    assert_non_null(json);

    json_array_foreach(json_object_get(json, "headers"), i, pair) {
        headers[i].name = text_of(json_array_get(pair, 0));
        headers[i].value = text_of(json_array_get(pair, 1));
    }

    request = (coco_sigv4_request_t) {
        .method = member(json, "method"),
        .path = member(json, "path"),
        .query = member(json, "query"),
        .headers = headers,
        .header_count = json_array_size(json_object_get(json, "headers")),
        .payload = member(json, "body"),
        .region = member(json, "region"),
        .service = member(json, "service"),
        .time = json_integer_value(json_object_get(json, "time")),
        .normalize = json_is_true(json_object_get(json, "normalize"))
    };

    keys = (coco_sigv4_credentials_t) {
        .access_key = member(json, "accessKey"),
        .secret_key = member(json, "secretKey"),
        .session_token = member(json, "token")
    };

    assert_int_equal(coco_sigv4_sign(&request, &keys, date, authorization,
                                     sizeof(authorization)), COCO_OK);
    assert_string_equal(authorization, member(json, "authorization").data);

    json_decref(json);
}


static int
sign(int64_t time, size_t header_count, char *date, char *authorization,
    size_t size)
{
    size_t                i;
    coco_sigv4_header_t   headers[COCO_SIGV4_HEADERS_MAX + 1];
    coco_sigv4_request_t  request = {
        .method = coco_string("GET"), .headers = headers,
        .header_count = header_count, .region = coco_string("us-east-1"),
        .service = coco_string("sqs"), .time = time
    };

    for (i = 0; i < header_count; i++) {
        headers[i] = host;
    }

    return coco_sigv4_sign(&request, &credentials, date, authorization, size);
}


/* expected values by date(1) */
static void
date_is_utc(void **state)
{
    size_t  i;
    char    date[COCO_SIGV4_DATE_LEN + 1], authorization[AUTHORIZATION_MAX];

    static const struct {
        int64_t      time;
        const char  *date;
    } cases[] = {
        { 0, "19700101T000000Z" },
        { 68169599, "19720228T235959Z" },
        { 68169600, "19720229T000000Z" },
        { 951782400, "20000229T000000Z" },
        { 951868800, "20000301T000000Z" },
        { 1440938160, "20150830T123600Z" },
        { 1798761599, "20261231T235959Z" },
        { 4107542400, "21000301T000000Z" },
        { 253402300799, "99991231T235959Z" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(sign(cases[i].time, 1, date, authorization,
                              sizeof(authorization)), COCO_OK);
        assert_string_equal(date, cases[i].date);
    }

    assert_int_equal(sign(-1, 1, date, authorization, sizeof(authorization)),
                     COCO_ERROR);
    assert_int_equal(sign(253402300800, 1, date, authorization,
                          sizeof(authorization)), COCO_ERROR);
}


static void
buffer_too_small_is_told(void **state)
{
    char    date[COCO_SIGV4_DATE_LEN + 1], whole[AUTHORIZATION_MAX];
    char   *cut;
    size_t  len;

    assert_int_equal(sign(0, 1, date, whole, sizeof(whole)), COCO_OK);
    len = strlen(whole);

    /* of just that size, for the sanitizers */

    cut = malloc(len + 1);
    assert_non_null(cut);
    assert_int_equal(sign(0, 1, date, cut, len + 1), COCO_OK);
    assert_string_equal(cut, whole);
    assert_int_equal(sign(0, 1, date, cut, len), COCO_AGAIN);
    assert_int_equal(sign(0, 1, date, cut, 0), COCO_AGAIN);
    free(cut);
}


static void
headers_are_bounded(void **state)
{
    char  date[COCO_SIGV4_DATE_LEN + 1], authorization[AUTHORIZATION_MAX];

    assert_int_equal(sign(0, COCO_SIGV4_HEADERS_MAX, date, authorization,
                          sizeof(authorization)), COCO_OK);
    assert_non_null(strstr(authorization, "SignedHeaders=host;x-amz-date,"));
    assert_int_equal(sign(0, COCO_SIGV4_HEADERS_MAX + 1, date, authorization,
                          sizeof(authorization)), COCO_ERROR);
}


static void
keys_and_scopes_are_bounded(void **state)
{
    char                      date[COCO_SIGV4_DATE_LEN + 1];
    char                      authorization[AUTHORIZATION_MAX], text[512];
    coco_sigv4_request_t      request = {
        .method = coco_string("GET"), .headers = &host, .header_count = 1,
        .region = coco_string("us-east-1"), .service = coco_string("sqs")
    };
    coco_sigv4_credentials_t  keys = credentials;

    memset(text, 'k', sizeof(text));

    keys.secret_key = (coco_str_t) { text, 256 };
    assert_int_equal(coco_sigv4_sign(&request, &keys, date, authorization,
                                     sizeof(authorization)), COCO_OK);

    keys.secret_key.len++;
    assert_int_equal(coco_sigv4_sign(&request, &keys, date, authorization,
                                     sizeof(authorization)), COCO_ERROR);

    request.region = (coco_str_t) { text, sizeof(text) };
    assert_int_equal(coco_sigv4_sign(&request, &credentials, date,
                                     authorization, sizeof(authorization)),
                     COCO_ERROR);
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(date_is_utc),
        cmocka_unit_test(buffer_too_small_is_told),
        cmocka_unit_test(headers_are_bounded),
        cmocka_unit_test(keys_and_scopes_are_bounded)
    };

    failed = cmocka_run_group_tests_name("core: SigV4", tests, NULL, NULL);
    failed += test_files_run("tests/data/sigv4", case_is_signed);

    return failed;
}
