/*
 * Endpoints, and the XML of STS.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "sources/aws_http.h"
#include "sources/aws_xml.h"


static void
test_endpoints(void **state)
{
    char                 error[256];
    coco_aws_endpoint_t  e;

    static const struct {
        const char  *url;
        const char  *host;
        const char  *path;
    } good[] = {
        { "https://sqs.eu-north-1.amazonaws.com/",
          "sqs.eu-north-1.amazonaws.com", "/" },
        { "https://sqs.eu-north-1.amazonaws.com",
          "sqs.eu-north-1.amazonaws.com", "/" },
        { "https://a:443/", "a", "/" },
        { "http://a:80", "a", "/" },
        { "http://a:443", "a:443", "/" },
        { "http://127.0.0.1:8084", "127.0.0.1:8084", "/" },
        { "http://[::1]:8084/a/b", "[::1]:8084", "/a/b" },
    };
    static const char  *bad[] = {
        "", "a b", "ftp://a/", "http://u:p@a/", "http://a/?b=c",
        "http://a/#b", "file:///etc/passwd", "http://a:99999/",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(coco_aws_endpoint_parse(&e, good[i].url, error,
                                                 sizeof(error)), COCO_OK);
        assert_string_equal(e.host, good[i].host);
        assert_string_equal(e.path, good[i].path);
        coco_aws_endpoint_free(&e);
    }

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error[0] = '\0';
        assert_int_equal(coco_aws_endpoint_parse(&e, bad[i], error,
                                                 sizeof(error)), COCO_ERROR);
        assert_string_not_equal(error, "");
    }

    coco_aws_endpoint_default(error, sizeof(error), "sqs", "eu-north-1");
    assert_string_equal(error, "https://sqs.eu-north-1.amazonaws.com/");
    coco_aws_endpoint_default(error, sizeof(error), "sts", "cn-north-1");
    assert_string_equal(error, "https://sts.cn-north-1.amazonaws.com.cn/");
}


static void
test_xml(void **state)
{
    char        text[16];
    int         rc;
    coco_str_t  document;

    static const struct {
        const char  *document;      /* a's text below c */
        const char  *text;          /* NULL: none */
    } cases[] = {
        { "<c><a>x</a></c>", "x" },
        { "<?xml version='1.0'?>\n<r><c k=\"v>\"><a >x y</a\n></c></r>",
          "x y" },
        { "<n:c><n:a>x</n:a></n:c>", "x" },
        { "<c><!-- <a>no</a> --><b/><a>&lt;&amp;&quot;&apos;&gt;</a></c>",
          "<&\"'>" },
        { "<c><b><a>no</a></b><a>x</a></c>", "x" },
        { "<c><a/><a>x</a></c>", "x" },
        { "<c><a></a></c>", "" },
        { "<c><a>x</b></c>", NULL },
        { "<c><a>x", NULL },
        { "<c><a>x<b/></a></c>", NULL },
        { "<c><a>&#65;</a></c>", NULL },
        { "<c><a>&amp</a></c>", NULL },
        { "<!DOCTYPE c [<!ENTITY e 'x'>]><c><a>x</a></c>", NULL },
        { "<c><![CDATA[<a>no</a>]]></c>", NULL },
        { "</c><c><a>x</a></c>", NULL },
        { "<c></b><a>x</a></c>", NULL },
        { "<a>x</a>", NULL },
        { "<c><", NULL },
        { "<c><a", NULL },
        { "<c><a k='>x</a></c>", NULL },
        { "<><a>x</a></>", NULL },
        { "", NULL },
        { "<c><b><b><b><b><b><b><b><b><b><b><b><b><b><b><b><b><b>", NULL },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        document = (coco_str_t) { cases[i].document,
                                  strlen(cases[i].document) };
        rc = coco_aws_xml_text(document, "c", "a", text, sizeof(text));

        if (cases[i].text == NULL) {
            assert_int_equal(rc, COCO_ERROR);
        } else {
            assert_int_equal(rc, COCO_OK);
            assert_string_equal(text, cases[i].text);
        }
    }

    document = coco_string("<c><a>123456789012345</a></c>");
    assert_int_equal(coco_aws_xml_text(document, "c", "a", text, 16),
                     COCO_OK);
    assert_int_equal(coco_aws_xml_text(document, "c", "a", text, 15),
                     COCO_AGAIN);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_xml),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
