/*
 * Targets of requests: which have a segment that leads elsewhere.
 */

#include "core_test.h"
#include "coco_uri.h"


static bool
dotted(const char *text)
{
    bool        is;
    char       *copy;
    coco_str_t  target;

    target.len = strlen(text);
    copy = malloc(target.len);          /* what is behind it is not ours */
    assert_true(copy != NULL || target.len == 0);
    memcpy(copy, text, target.len);
    target.data = copy;

    is = coco_uri_dotted(target);
    free(copy);

    return is;
}


static void
what_leads_elsewhere_is_seen(void **state)
{
    size_t  i;

    static const char *const  texts[] = {
        "/.", "/..", "/./a", "/../a", "/a/..", "/a/.?b", "/a/../?b", ".", "..",
        "/%2e", "/%2E%2e/a", "/.%2e", "/%2e.", "/a%2f..%2Fb", "/a%2F%2e%2Fb",
        "/a\\..\\b", "/a%5c..", "/..;/a", "/..%3ba=b/c", "/..#a", "/a/..%23",
        "/a/..%00", "/a;../b", "//..//", "/a/%2e%2e"
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!dotted(texts[i])) {
            fail_msg("\"%s\" leads elsewhere", texts[i]);
        }
    }
}


static void
other_dots_are_let_through(void **state)
{
    size_t  i;

    static const char *const  texts[] = {
        "", "/", "//", "/a", "/...", "/.a", "/a.", "/..a", "/a..", "/a.b/c",
        "/a?/../b", "/?..", "/a%2fb", "/%", "/%2", "/.%2", "/..%", "/%zz",
        "/.%zz", "/%252e%252e/a", "/%2e%2e%2e", "/a%3Fb", "/..%3F", "/.%2ea"
    };

    (void) state;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (dotted(texts[i])) {
            fail_msg("\"%s\" leads nowhere else", texts[i]);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_leads_elsewhere_is_seen),
        cmocka_unit_test(other_dots_are_let_through)
    };

    return cmocka_run_group_tests_name("core: URIs", tests, NULL, NULL);
}
